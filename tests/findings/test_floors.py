"""floors.py: what networks and tickets are held against, and what is told of those that do not pass."""

import runs as made

from lottery_lib.experiments import pairs, protocols
from lottery_lib.findings import floors, tables

LINEAR = {"protocol": "linear-cifar10", "model": "logistic", "dataset": "cifar10", "reduced": True}
VGG = {"protocol": "vgg16-cifar10-short", "model": "vgg16", "dataset": "cifar10", "reduced": True}


def told(dense: float, snip: float) -> str:
    table = made.runs(
        *made.line("dense", [39.0, 41.0], 1, **LINEAR),
        *made.line("dense", [dense, dense], 1, **VGG),
        *made.line("SNIP", [snip, snip], **VGG),
        *made.line("random", [70.0, 72.0], **VGG),
        *made.line("mask, log, calibrated", [80.0, 80.0], **VGG),
    )
    runs = tables.chosen(table)
    own = runs[runs.protocol == VGG["protocol"]]
    return floors.told(floors.networks(own, runs), floors.tickets(own))


def test_all_that_is_above_its_floor_is_told_by_what_is_nearest_to_it():
    assert told(dense=85.0, snip=71.5) == (
        "Every dense network is above a linear classifier on the same images; nearest to it is VGG-16 at ¼ width on "
        "CIFAR-10 (85.00 % against 40.00 %). Every method is above a random mask of the same density; nearest to it is "
        "SNIP at 0.05 "
        "with VGG-16 at ¼ width on CIFAR-10 (+0.50, n = 2, not enough seeds)."
    )


def test_what_is_not_above_its_floor_is_named():
    found = told(dense=40.0, snip=70.0)
    assert "Not above a linear classifier on the same images: VGG-16 at ¼ width on CIFAR-10 (40.00" in found
    assert "Not above a random mask of the same density: SNIP at 0.05 with VGG-16" in found and "(−1.00, n" in found
    assert "mask" not in found.replace("random mask", "")


def test_where_nothing_is_on_record_that_is_told():
    nothing = tables.chosen(made.runs())
    assert floors.told(floors.networks(nothing, nothing), floors.tickets(nothing)).count("Nothing is on record") == 2


def test_every_pair_has_a_linear_classifier_on_its_images():
    assert {each.dataset for each in pairs.LINEAR} == {each.dataset for each in pairs.OF_PAIRS}
    for each in pairs.LINEAR:
        assert protocols.config_class(each.protocol)().training.epochs == pairs.CifarShort.recipe.epochs
