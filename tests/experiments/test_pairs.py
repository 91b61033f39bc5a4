"""pairs.py: each network and data set of claim C10 has a full and a short protocol."""

import pytest
import torch
from runs import Tiny

from lottery_lib import models
from lottery_lib.experiments import protocols, ticket_run
from lottery_lib.experiments.pairs import ALL, PAIRS
from lottery_lib.findings import tables

SHAPES = {"cifar10": (10, 3, 32, 32), "cifar100": (100, 3, 32, 32), "tiny-imagenet": (200, 3, 64, 64)}


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: f"{pair[0]}-{pair[1]}")
def test_a_pair_has_a_full_and_a_short_protocol(pair):
    network, dataset, _, width, rate = pair
    full, short = (protocols.config_class(f"{network}-{dataset}{ending}") for ending in ("", "-short"))
    assert (full.width, full.reduced) == (1, False) and (short.width, short.reduced) == (width, True)
    assert full.recipe.epochs >= 100 and full.recipe.schedule == "step"
    assert (short.recipe.epochs, short.recipe.lr) == (10, rate)
    assert full.recipe.weight_decay == short.recipe.weight_decay
    assert full.threads == short.threads == 1  # however many runs a machine makes at once: else they do not compare
    assert (full.dataset, full.model) == (short.dataset, short.model) == (dataset, network)
    classes, *shape = SHAPES[dataset]
    model = models.create(short.model, classes, tuple(shape), width=short.width)
    assert model(torch.zeros(2, *shape)).shape == (2, classes)


def test_imp_and_the_mask_take_the_same_rounds():
    for short in (each for each in ALL if each.protocol.endswith("-short")):
        imp, mask = short("imp", 0.05).search_config(), short(density=0.05, rounds=4).search_config()
        assert imp.densities == mask.densities == (0.45, 0.2, 0.1, 0.05)


def test_a_narrower_network_is_made_said_and_recorded(monkeypatch, tmp_path):
    class Narrow(Tiny):
        protocol = "narrow"
        width = 0.5

    monkeypatch.setitem(protocols.PROTOCOLS, "narrow", (Narrow, ticket_run.run))
    record, _ = ticket_run.run(Narrow("dense", 1))
    assert record["width"] == 0.5
    _, model = ticket_run.prepare(Narrow())
    assert model.fc1.out_features == 150
    assert tables.label("narrow", "lenet-300-100", "digits", True) == (
        "LeNet-300-100 at ½ width on digits (narrow, reduced)"
    )
