"""ticket_run.py: what a record says of every method's run, with what it is named, and which configs are refused."""

from dataclasses import fields, replace
from functools import cache

import numpy as np
import pytest
import torch
from runs import Tiny

from lottery_lib import masks, methods, models, paths
from lottery_lib.data import datasets
from lottery_lib.errors import LotteryError
from lottery_lib.experiments import records, ticket_run
from lottery_lib.experiments.catalogue import METHODS
from lottery_lib.experiments.pairs import Cifar, CifarShort
from lottery_lib.experiments.protocols import LeNet

WEIGHTS, EPOCHS = 64 * 300 + 300 * 100 + 100 * 10, 2
COSTS = {  # method: (rounds, epochs of the search, epochs of the retraining)
    "dense": (0, 0, 2), "gradual": (1, 4, 0),
    **dict.fromkeys(("imp", "lr-rewinding"), (2, 4, 2)),
    **dict.fromkeys(("concave", "one-shot", "continuous", "edge-popup", "shuffled", "reinitialised"), (1, 2, 2)),
    **dict.fromkeys(("snip", "grasp", "synflow", "random"), (1, 0, 2)),
}  # fmt: skip
TICKETS = [method for method in COSTS if method != "dense"]
RECIPE = replace(Tiny.recipe, compile_from=500)  # as its runs take it
RELAXED = ("concave", "continuous")


def tiny(method="concave", **fields):
    """With a λ, where the method would else set it on the way, which takes more than a few steps."""
    given = {"density": 1.0 if method == "dense" else 0.2}
    if method in ("concave", "shuffled", "reinitialised"):
        given["lam"] = 1e-4
    return Tiny(method, **given | fields)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Each run of a config, made once, in one work folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paths, "WORK", tmp_path_factory.mktemp("work"))
        yield cache(ticket_run.run)


def searched(config):
    """The ticket of a run, searched for without a work folder."""
    images = datasets.load("digits")
    model = models.create(config.model, images.classes, images.shape, config.seed)
    return ticket_run.find(config, model, images, {})


def timeless(value):
    if isinstance(value, dict):
        return {key: timeless(entry) for key, entry in value.items() if key != "seconds"}
    return [timeless(entry) for entry in value] if isinstance(value, list) else value


# What a record says.


def test_every_method_is_tried_here():
    by_luck = ("feedback", "frozen")  # the density that they reach in two epochs
    assert set(COSTS) == {method for method in METHODS if not method.startswith(by_luck)}


@pytest.mark.parametrize("method", COSTS)
def test_record(made, method):
    config = tiny(method)
    record, arrays = made(config)
    rounds, search, retraining = COSTS[method]
    assert record["config"] == vars(config)
    assert (record["reduced"], record["dataset"], record["model"]) == (True, "digits", "lenet-300-100")
    assert record["images"] == {"train": 1258, "val": 180, "test": 359}
    assert record["recipe"] == vars(RECIPE)
    assert (record["rounds"], record["search_epochs"]) == (rounds, search)
    assert record["total_epochs"] == search + retraining
    assert record["density"] == config.density  # 0.2 · 50,200 is whole
    assert [epoch["epoch"] for epoch in record["history"]] == list(range(retraining))
    assert all({"loss", "val_loss", "val_accuracy", "seconds"} <= epoch.keys() for epoch in record["history"])
    assert 20 < record["val_accuracy"] <= 100 and 20 < record["test_accuracy"] <= 100  # chance is 10
    if retraining:
        assert record["val_accuracy"] == record["history"][-1]["val_accuracy"]
    retrained = sum(epoch["seconds"] for epoch in record["history"])
    assert record["seconds"] == retrained if search == 0 else record["seconds"] > retrained
    assert ("mask" in arrays) == (method != "dense")
    assert ("histogram" in arrays) == (method in RELAXED)
    assert ("bimodality" in record) == (method in RELAXED)


def test_the_dense_run_has_no_mask(made):
    record, _ = made(tiny("dense"))
    assert not {"layers", "mask_sha256"} & record.keys()


@pytest.mark.parametrize("method", TICKETS)
def test_the_mask_and_its_layers(made, method):
    record, arrays = made(tiny(method))
    layers = record["layers"]
    assert [(layer["layer"], layer["shape"], layer["weights"]) for layer in layers] == [
        ("fc1.weight", [300, 64], 19200), ("fc2.weight", [100, 300], 30000), ("fc3.weight", [10, 100], 1000),
    ]  # fmt: skip
    assert sum(layer["kept"] for layer in layers) == 0.2 * WEIGHTS
    assert arrays["mask"].nbytes == WEIGHTS / 8
    mask = masks.unpack(arrays["mask"], {layer["layer"]: layer["shape"] for layer in layers})
    assert masks.digest(mask) == record["mask_sha256"]
    assert [int(m.sum()) for m in mask.values()] == [layer["kept"] for layer in layers]


def test_the_mask_is_the_tickets(made):
    ticket = searched(tiny())
    assert made(tiny())[0]["mask_sha256"] == masks.digest(ticket.mask)
    assert made(tiny())[0]["bimodality"] == masks.bimodality(ticket.relaxed)


def test_masks_differ_unless_the_control_wants_the_same(made):
    digests = {method: made(tiny(method))[0]["mask_sha256"] for method in TICKETS}
    assert digests.pop("reinitialised") == digests["concave"]
    assert len(set(digests.values())) == len(digests)
    kept = {method: [layer["kept"] for layer in made(tiny(method))[0]["layers"]] for method in ("concave", "shuffled")}
    assert kept["concave"] == kept["shuffled"]
    again = made(tiny("reinitialised"))[0]
    assert again["history"][0]["loss"] != made(tiny())[0]["history"][0]["loss"]


def test_only_seed_0_stores_its_mask(made):
    record, arrays = made(tiny("random", seed=1))
    assert arrays == {} and record["mask_sha256"] != made(tiny("random"))[0]["mask_sha256"]


# A threshold that some entries of m fall below, after so short a search.
MILD = {"lam": 1e-3, "mask_lr": 10.0, "alpha": 0.5}


def test_the_histogram_gives_the_density_of_a_threshold(made):
    record, arrays = made(tiny(**MILD))
    counts = arrays["histogram"]
    assert counts.shape == (3, 102) and counts.sum() == WEIGHTS
    assert counts.sum(1).tolist() == [layer["weights"] for layer in record["layers"]]
    assert 0 < record["density"] < 1 and record["density"] != 0.2
    assert counts[:, 1 + 50 :].sum() / WEIGHTS == record["density"]
    assert counts[:, 1 + 50 :].sum(1).tolist() == [layer["kept"] for layer in record["layers"]]
    relaxed = searched(tiny(**MILD)).relaxed
    for bin in (1, 25, 75, 100):
        assert counts[:, 1 + bin :].sum() / WEIGHTS == masks.density(masks.threshold(relaxed, bin / 100))


@pytest.mark.parametrize(
    "config, rounds, search, total",
    [
        (tiny(rewind_epoch=1), 1, 2, 3),
        (tiny("shuffled", rewind_epoch=1, rounds=2), 2, 3, 4),
        (tiny("continuous", rounds=2), 2, 4, 6),
        (tiny("imp", rewind_epoch=1), 2, 3, 4),
        (tiny("imp", density=0.5), 1, 2, 4),
        (tiny("snip", rewind_epoch=1), 1, 1, 2),
    ],
)
def test_rounds_and_rewinding_are_paid_for(made, config, rounds, search, total):
    record, _ = made(config)
    assert (record["rounds"], record["search_epochs"], record["total_epochs"]) == (rounds, search, total)
    assert [epoch["epoch"] for epoch in record["history"]] == list(range(config.rewind_epoch, EPOCHS))
    assert record["density"] == config.density


def test_per_layer(made):
    assert [layer["density"] for layer in made(tiny(per_layer=True))[0]["layers"]] == [0.2] * 3
    assert [layer["density"] for layer in made(tiny())[0]["layers"]] != [0.2] * 3


def test_precision_reaches_search_and_retraining(made):
    config = tiny(precision="bf16")
    assert config.search_config().recipe.precision == "bf16"
    assert made(config)[0]["recipe"] == vars(RECIPE) | {"precision": "bf16"}
    assert made(config)[0]["history"][-1]["loss"] != made(tiny())[0]["history"][-1]["loss"]


@pytest.mark.parametrize("method", COSTS)
def test_the_test_split_is_read_once_at_the_end(method, monkeypatch):
    reads = []

    class Watched:
        def __init__(self, name, split):
            self.name, self.split = name, split

        def __len__(self):
            return len(self.split)

        def __getattr__(self, name):
            reads.append(self.name)
            return getattr(self.split, name)

    whole = datasets.load("digits")
    watched = replace(whole, **{name: Watched(name, getattr(whole, name)) for name in ("train", "val", "test")})
    monkeypatch.setattr(datasets, "load", lambda *_: watched)
    monkeypatch.setattr(paths, "WORK", None)
    ticket_run.run(tiny(method))
    assert reads.count("test") == 1 and reads[-1] == "test" and {"train", "val"} < set(reads)


@pytest.mark.parametrize("method", COSTS)
def test_the_same_config_gives_the_same_record(made, method, tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "WORK", tmp_path)
    record, arrays = ticket_run.run(tiny(method))
    before, same = made(tiny(method))
    assert timeless(record) == timeless(before)
    assert arrays.keys() == same.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, same[name])


def test_seeds_differ(made):
    assert made(tiny("dense", seed=1))[0]["history"][0]["loss"] != made(tiny("dense"))[0]["history"][0]["loss"]


# Configs.


@pytest.mark.parametrize(
    "given, sentence",
    [
        ({"density": 1.0}, "density = 1.0: must be below 1 for a ticket"),
        ({"method": "dense"}, "density = 0.05: must be 1 for the dense network"),
        ({"density": 0.0}, "density = 0.0: must lie in (0, 1], a fraction of the weights to keep"),
        ({"density": 5.0}, "density = 5.0: must lie in (0, 1], a fraction of the weights to keep"),
        ({"density": float("nan")}, "density = nan: must be a finite number"),
        ({"method": "imp", "density": 0.3}, "density = 0.3: imp reaches 0.5, 0.2"),
        ({"method": "lr-rewinding"}, "density = 0.05: lr-rewinding reaches 0.5, 0.2"),
        ({"method": "concav"}, "unknown method 'concav'; did you mean 'concave'?"),
        ({"density": "0.05"}, "density = '0.05': must be a number"),
        ({"rounds": 0}, "rounds = 0: must be 1 to 100"),
        ({"rounds": 2.5}, "rounds = 2.5: must be a whole number"),
        ({"seed": -1}, "seed = -1: must be a whole number, from 0 to 2^63 - 1"),
        ({"method": "one-shot", "rounds": 2}, "rounds = 2: one-shot does not read it; leave it out"),
        ({"rewind_epoch": 2}, "rewind_epoch = 2: must be 0 to 1"),
        ({"search_length": 0}, "search_length = 0: must be ≥ 1, in epochs"),
        ({"search_images": 0.0}, "search_images = 0.0: must lie in (0, 1]"),
        ({"method": "imp", "density": 0.2, "coarse": True}, "coarse = True: imp does not read it; leave it out"),
        ({"regularizer": "logg"}, "unknown regulariser 'logg'; did you mean 'log'?"),
        ({"eps": 0.0}, "eps = 0.0: must be > 0"),
        ({"regularizer": "l1", "eps": 0.1}, "regulariser 'l1' has no shape parameter; leave out 0.1"),
        ({"lam": -1.0}, "lam = -1.0: must be ≥ 0"),
        ({"method": "shuffled", "lam": 1.0, "mask_lr": -1.0}, "mask_lr = -1.0: must be ≥ 0"),
        ({"alpha": 2.0}, "alpha = 2.0: must lie in (0, 1]"),
        ({"method": "one-shot", "score": "size"}, "unknown score 'size'; known: magnitude, increase"),
        ({"precision": "fp16"}, "unknown precision 'fp16'; did you mean 'bf16'?"),
        ({"method": "gradual", "rewind_epoch": 1}, "rewind_epoch = 1: gradual does not read it; leave it out"),
        ({"method": "imp", "density": 0.2, "lam": 1.0}, "lam = 1.0: imp does not read it; leave it out"),
        ({"method": "snip", "regularizer": "mcp"}, "regularizer = 'mcp': snip does not read it; leave it out"),
        ({"score": "increase"}, "score = 'increase': concave does not read it; leave it out"),
        ({"start": -0.1}, "start = -0.1: concave does not read it; leave it out"),
        (
            {"mask_lr": 3.0},
            "mask_lr = 3.0: needs a lam; without one the search sets both for one density over all layers",
        ),
        (
            {"per_layer": True},
            "per_layer = True: needs a lam; without one the search sets both for one density over all layers",
        ),
    ],
)
def test_a_bad_config_is_refused_in_one_sentence(given, sentence):
    with pytest.raises(LotteryError) as error:
        Tiny(**given)
    assert str(error.value) == sentence


def test_the_search_is_told_what_the_run_says():
    config = tiny("shuffled", regularizer="lp", eps=0.3, lam=0.5, mask_lr=2.0, rounds=2, alpha=0.1, seed=3)
    assert config.search_config() == methods.concave.Config(
        density=0.2, recipe=RECIPE, seed=3, rounds=Tiny.ladder, regularizer="lp", shape=0.3,
        lam=0.5, mask_lr=2.0, alpha=0.1,
    )  # fmt: skip
    assert tiny(rounds=3).search_config().rounds == methods.geometric(0.2, 3)  # not as many as the ladder has
    assert tiny("lr-rewinding").search_config() == methods.magnitude.Config(
        density=0.2, recipe=RECIPE, rounds=(0.5, 0.2), rewind_weights=False
    )
    assert tiny("imp").search_config().rounds == Tiny.ladder
    by_a_fifth = tiny("imp", density=0.3, rounds=5).search_config()  # a density that is not on the ladder
    assert by_a_fifth.rounds == methods.geometric(0.3, 5)
    assert tiny("gradual").search_config().length == 2 and tiny("gradual", length=5).search_config().length == 5
    increase = tiny("one-shot", score="increase").search_config()
    assert (increase.score, increase.rewind_weights, increase.rounds) == ("increase", True, ())
    assert tiny("continuous", start=-0.1, lam=1e-8).search_config().start == -0.1
    for name in ("snip", "grasp", "synflow"):
        assert tiny(name).search_config().criterion == name


# Names.


@pytest.mark.parametrize(
    "config, name",
    [
        (LeNet(seed=2, lam=5.8e-5, density=0.01), "lenet-7a7acc62"),
        (LeNet("continuous", 0.2, lam=1e-8, mask_lr=1.0, start=-0.1), "lenet-d049fd9c"),
        (LeNet("dense", 1.0), "lenet-3593e338"),
        (LeNet("imp", 0.01, seed=3), "lenet-c883e9ee"),
        (LeNet(regularizer="l1", lam=2.8e-5), "lenet-a0e55e69"),
        (CifarShort(lam=4e-5, rounds=4), "cifar-short-886f9ecf"),
        (Cifar("imp", 0.05), "cifar-3d69d30b"),
    ],
)
def test_names_are_pinned(config, name):
    assert records.name(config) == name


def test_a_field_that_is_not_read_is_as_in_earlier_records():
    assert tiny("imp", lam=1e-4, mask_lr=10.0) == tiny("imp") and tiny("imp").lam is None


def test_a_method_has_its_own_defaults():
    assert (tiny(lam=1.0).lam, tiny(lam=1.0).mask_lr) == (1.0, 10.0)
    assert (Tiny().lam, Tiny().mask_lr) == (None, None) and Tiny().calibrated and not tiny().calibrated
    assert (tiny("continuous").lam, tiny("continuous").mask_lr) == (1e-8, 1.0)
    assert records.name(tiny("continuous")) == records.name(tiny("continuous", lam=1e-8, mask_lr=1.0))


@pytest.mark.filterwarnings("ignore:asked for a density of")  # a few steps steer little
def test_a_record_says_what_a_calibrated_search_has_set(made):
    record, _ = made(Tiny(density=0.2))
    found = record["calibration"]
    assert found["alpha"] == 0.1 and found["gap"][0] < 0.1 <= found["gap"][1] and found["mask_lr"] > 0
    assert len(found["epochs"]) == Tiny.recipe.epochs
    assert found["epochs"][-1]["mask_lr"] == pytest.approx(found["mask_lr"])
    assert "calibration" not in made(tiny())[0]


def test_every_field_that_a_method_reads_changes_the_name():
    other = {
        "method": "shuffled", "density": 0.1, "seed": 1, "regularizer": "l1", "eps": 0.2, "lam": 1.0, "mask_lr": 2.0,
        "start": 1.0, "alpha": 0.5, "score": "increase", "rounds": 2, "length": 5, "rewind_epoch": 1,
        "per_layer": True, "precision": "bf16", "fast": False, "search_length": 3, "search_images": 0.5, "coarse": True,
    }  # fmt: skip
    assert set(other) == {field.name for field in fields(LeNet)}
    for method, row in METHODS.items():
        least = LeNet(method, 1 if method == "dense" else 0.2, lam=2.0 if "lam" in row.reads else None)
        ignored = {"method", *least.unread} | ({"density"} if method == "dense" else set())
        changed = [{name: value} for name, value in other.items() if name not in ignored]
        assert {*row.reads} <= {name for each in changed for name in each}
        names = {records.name(replace(least, **each)) for each in changed}
        assert len(names | {records.name(least)}) == len(changed) + 1


def test_a_short_run_may_take_another_rate_batch_or_number_of_epochs():
    run = CifarShort("dense", 1, epochs=3, lr=0.4, batch_size=256)
    assert run.training == replace(CifarShort("dense", 1).training, epochs=3, lr=0.4, batch_size=256)
    assert CifarShort("imp", 0.05, epochs=3).search_config().recipe.epochs == 3


def test_a_cheaper_search_counts_as_what_it_costs(made):
    whole, _ = made(tiny())
    short, _ = made(tiny(search_length=1))
    assert (short["search_epochs"], short["total_epochs"]) == (1, 3)
    assert len(short["search"]) == 1 and len(short["history"]) == len(whole["history"]) == 2
    some, _ = made(tiny(search_images=0.25))
    assert (some["search_epochs"], some["total_epochs"]) == (0.5, 2.5)
    assert len({record["mask_sha256"] for record in (whole, short, some)}) == 3
    assert some["images"] == whole["images"]  # it is retrained on all


def test_a_part_of_the_images_has_each_class_in_its_share():
    data = datasets.load("digits")
    part = ticket_run._seen(tiny(search_images=0.25), data)
    assert len(part.train) == round(0.25 * len(data.train)) and part.val is data.val
    counts = [torch.bincount(split.labels) for split in (part.train, data.train)]
    assert (counts[0] - 0.25 * counts[1]).abs().max() <= 1


def test_a_search_at_half_the_resolution_is_for_convolutions():
    data = datasets.load("digits")
    assert ticket_run._seen(tiny(), data).train is data.train
    with pytest.raises(LotteryError, match="lenet-300-100 takes images of one size; take a convolutional network"):
        ticket_run._seen(tiny(coarse=True), data)
    coarse = ticket_run._seen(CifarShort(model="conv-small", coarse=True), data)
    assert coarse.shape == (1, 4, 4) and len(coarse.train) == len(data.train)
    images = data.train.images[0, 0, :2, 2:4].float()
    assert coarse.train.images[0, 0, 0, 1] == images.mean().round()


def test_the_way_to_compare_with_is_plain_fp32(monkeypatch):
    monkeypatch.setattr(ticket_run.speed, "precision", lambda asked, device: "bf16")
    fast, plain = CifarShort(), CifarShort(fast=False)
    assert (fast.training.precision, fast.training.fast) == ("bf16", True)
    assert (plain.training.precision, plain.training.fast) == ("fp32", False)


def test_the_lenet_protocol_reaches_the_densities_it_reports():
    assert {0.4, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005} < set(LeNet.ladder)
    assert all(b / a == pytest.approx(0.8, abs=0.02) for a, b in zip((1, *LeNet.ladder), LeNet.ladder))
    assert (LeNet.dataset, LeNet.model, LeNet.reduced) == ("mnist", "lenet-300-100", False)
