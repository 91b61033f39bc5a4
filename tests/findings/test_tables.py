"""tables.py and comparisons.py: what is chosen on validation, and what is said about the mean."""

import math

import numpy as np
import pandas as pd
import pytest
from runs import Tiny, line, runs

from lottery_lib import paths
from lottery_lib.errors import LotteryError
from lottery_lib.experiments import pairs, records, ticket_run
from lottery_lib.findings import comparisons, pages, tables


def test_the_choice_is_made_on_validation_alone_and_holds_for_all_seeds():
    table = runs(
        {"run": "a", "lam": 1e-4, "val_accuracy": 97.0, "test_accuracy": 99.0},
        {"run": "b", "lam": 2e-4, "val_accuracy": 98.0, "test_accuracy": 90.0},
        {"run": "c", "lam": 2e-4, "seed": 1, "val_accuracy": 50.0, "test_accuracy": 91.0},
        {"run": "d", "lam": 3e-4, "seed": 1, "val_accuracy": 99.0, "test_accuracy": 99.0},  # seed 0 did not try it
        {"run": "e", "alpha": 0.1, "val_accuracy": 99.9, "test_accuracy": 99.9},
        {"run": "f", "density_asked": 0.01, "val_accuracy": 90.0, "test_accuracy": 90.0},
    )
    assert sorted(tables.chosen(table).run) == ["b", "c", "f"]


def test_candidates_are_compared_over_the_seeds_that_all_of_them_have():
    accuracies = {1e-4: [97.0, 99.0, 98.0], 2e-4: [98.0, 96.0], 3e-4: [97.5, 97.0, 99.9]}
    table = runs(
        *({"run": f"{lam:g} {seed}", "lam": lam, "seed": seed, "val_accuracy": accuracy}
          for lam, each in accuracies.items() for seed, accuracy in enumerate(each))
    )  # fmt: skip
    assert list(tables.chosen(table).run) == ["0.0001 0", "0.0001 1", "0.0001 2"]  # 98 over seeds 0 and 1
    assert set(tables.chosen(table[table.seed == 0]).run) == {"0.0002 0"}


def test_of_equal_candidates_the_one_on_record_for_more_seeds_counts():
    table = runs(
        {"run": "a", "lam": 1e-4, "val_accuracy": 97.0},
        {"run": "b", "lam": 2e-4, "val_accuracy": 97.0},
        {"run": "c", "lam": 2e-4, "seed": 1, "val_accuracy": 90.0},
        {"run": "d", "lam": 3e-4, "val_accuracy": 97.0},
    )
    assert sorted(tables.chosen(table).run) == ["b", "c"]


def test_missing_hyperparameters_are_one_setting():
    table = runs(
        {"run": "a", "method": "imp", "regularizer": None, "lam": None, "val_accuracy": 97.0, "test_accuracy": 97.0},
        {
            "run": "b",
            "method": "imp",
            "regularizer": None,
            "lam": math.nan,
            "seed": 1,
            "val_accuracy": 96.0,
            "test_accuracy": 96.0,
        },
    )
    assert sorted(tables.chosen(table).run) == ["a", "b"]


def test_interval_of_the_mean():
    accuracies = [97.0, 97.2, 97.7, 97.1, 97.5]
    table = runs(*({"seed": s, "val_accuracy": a, "test_accuracy": a} for s, a in enumerate(accuracies)))
    (found,) = comparisons.summary(tables.chosen(table)).to_dict("records")
    assert found["n"] == 5 and found["mean"] == pytest.approx(np.mean(accuracies)) and found["total_epochs"] == 20
    assert found["half_width"] == pytest.approx(2.7764451 * np.std(accuracies, ddof=1) / math.sqrt(5))
    shown = comparisons.pivot(comparisons.summary(tables.chosen(table)))
    assert shown.to_dict() == {"0.05": {"mask, log": "97.30 ±\xa00.36"}}


def test_one_seed_has_no_interval():
    found = comparisons.summary(tables.chosen(runs({"val_accuracy": 97.0, "test_accuracy": 96.5})))
    assert math.isnan(found.half_width[0])
    assert comparisons.pivot(found).to_dict() == {"0.05": {"mask, log": "96.50 (n = 1)"}}


def test_every_method_has_a_name():
    table = runs(
        {"method": "concave", "regularizer": "mcp"},
        {"method": "one-shot", "score": "increase"},
        {"method": "snip"},
    )
    assert [tables.name(row) for _, row in table.iterrows()] == [
        "mask, mcp",
        "one-shot magnitude increase",
        "SNIP",
    ]


def test_status_counts_runs_and_seeds():
    table = runs({"val_accuracy": 1.0}, {"seed": 1, "val_accuracy": 1.0})
    assert pages.status(table).startswith("On record: 2 runs on seeds 0, 1, not each ")
    assert " runs on seed 0 (n says" in pages.status(table[:1])
    assert pages.status(table[:0]) == "No run is on record yet."


def test_what_a_run_came_to_says_of_what_network_and_whether_it_was_reduced():
    record = {
        "model": "vgg16", "dataset": "cifar10", "reduced": True,
        "config": {"method": "snip"}, "density": 0.05, "search_epochs": 0, "total_epochs": 10, "seconds": 61.0,
        "val_accuracy": 70.0, "test_accuracy": 69.0,
    }  # fmt: skip
    told = pages.sentence(record, "vgg16-cifar10-short")
    assert told.startswith("On VGG-16 at ¼ width on CIFAR-10 (vgg16-cifar10-short, reduced), **snip** reached")
    full = pages.sentence(record | {"reduced": False}, "vgg16-cifar10")
    assert full.startswith("On VGG-16 on CIFAR-10 (vgg16-cifar10), ")
    live, _ = ticket_run.run(Tiny("random", 0.2))  # not on record
    assert pages.sentence(live, "tiny").startswith("On LeNet-300-100 on digits (tiny, reduced), **random** reached")


def test_networks_of_a_data_set_are_told_apart():
    place = {"protocol": "lenet", "dataset": "mnist", "reduced": False, "decides": True, "bad": False}
    cells = pd.DataFrame({
        "model": ["vgg16", "vgg16", "wrn-28-2", "wrn-28-2"], "n": [3.0, 3.0, 1.0, 0.0],
        "good": [True, True, False, False],
    }).assign(**place)  # fmt: skip
    found = pages.apart(cells)
    assert list(found.index) == ["VGG-16 on MNIST", "WRN-28-2 on MNIST"]
    assert found.finding.tolist() == ["holds", "not enough evidence"]
    assert found[["for", "against", "undecided"]].to_numpy().tolist() == [[2, 0, 0], [0, 0, 2]]
    assert found.seeds.tolist() == ["3", "0 to 1"] and pages.apart(cells.assign(decides=False)).empty


def test_a_page_answers_in_two_sentences():
    table = runs(*line("IMP", [97.0, 97.2], 0.01), *line("random", [40.0], 0.01), *line("dense", [98.0], 1.0))
    found = comparisons.summary(tables.chosen(table))
    assert pages.in_short(found, 0.01, {"IMP": "IMP", "random": "a random mask", "SNIP": "SNIP"}) == (
        "At a density of 0.01, test accuracy is 97.10 % (n = 2) for IMP and 40.00 % (n = 1) for a random mask, against "
        "98.00 % (n = 1) for the dense network. In epochs of training, search and retraining together cost 10 for a "
        "random mask and 50 for IMP."
    )
    assert pages.in_short(found, 0.5, {"IMP": "IMP"}) == "Nothing is on record yet."


def test_what_sets_a_line_apart_is_in_its_name():
    def called(**fields):
        return tables.name(runs(fields).iloc[0])

    imp = {"method": "imp", "regularizer": None}
    assert called(rounds=1, rewind_epoch=0, per_layer=False) == called(eps=0.1) == "mask, log"
    assert called(rounds=4) == "mask, log, in rounds" and called(eps=0.01) == "mask, log, ε = 0.01"
    assert called(rounds=4, rewind_epoch=1, per_layer=True) == "mask, log, in rounds, early rewinding, per layer"
    assert called(**imp, rounds=4) == "IMP" and called(regularizer="l1", method="shuffled") == "mask, ℓ1: shuffled"
    assert called(**imp, rounds=14) == "IMP" and called(**imp, rounds=14, asked_rounds=14) == "IMP, 14 rounds"
    assert called(method="gradual", regularizer=None, length=2.0) == "gradual magnitude"
    assert called(method="gradual", regularizer=None, length=5.0) == "gradual magnitude, 5 recipes long"
    assert called(**imp, rewind_epoch=2) == "IMP, early rewinding" and called(**imp, per_layer=True) == "IMP, per layer"


def test_the_order_of_names():
    names = [
        "dense",
        "mask, log",
        "mask, log, in rounds",
        "mask, ℓ1",
        "mask, mcp",
        "IMP",
        "IMP, early rewinding",
        "random",
        "mask, log: shuffled",
        "of somebody else",
    ]
    assert sorted(reversed(names), key=tables.rank) == names


@pytest.mark.parametrize(
    "other",
    [{"epochs": 3.0}, {"lr": 0.4}, {"batch_size": 64.0}, {"fast": False}, {"alpha": 0.1}, {"model": "resnet20"}],
)
def test_the_choice_never_mixes_networks_or_recipes(other):
    table = runs(
        {"run": "a", "lam": 1e-4, "val_accuracy": 80.0, "fast": True},
        {"run": "b", "lam": 2e-4, "val_accuracy": 90.0, "fast": True, **other},
        {"run": "c", "lam": 1e-4, "val_accuracy": 80.0, "seed": 1},
    )
    chosen = tables.chosen(table)
    assert sorted(chosen[chosen.model == "lenet-300-100"].run) == ["a", "c"]
    assert list(chosen[chosen.model == "resnet20"].run) == (["b"] if "model" in other else [])


def test_rounds_and_the_rewind_epoch_are_tuned_within_their_line():
    table = runs(
        {"run": "a", "rounds": 1, "val_accuracy": 99.0},
        {"run": "b", "rounds": 2, "val_accuracy": 90.0},
        {"run": "c", "rounds": 4, "val_accuracy": 95.0},
        {"run": "d", "rounds": 1, "rewind_epoch": 1, "val_accuracy": 80.0},
        {"run": "e", "rounds": 1, "rewind_epoch": 2, "val_accuracy": 85.0},
    )
    assert sorted(tables.chosen(table).run) == ["a", "c", "e"]


def test_a_seed_counts_once_as_most_of_its_place_was_computed():
    table = runs(
        {"run": "a", "precision": "bf16", "val_accuracy": 99.0},
        {"run": "b", "val_accuracy": 98.0},
        {"run": "c", "seed": 1},
    )
    assert list(tables.chosen(table).run) == ["b", "c"]
    assert list(tables.chosen(table.assign(precision=["bf16", "fp32", "bf16"])).run) == ["a", "c"]


@pytest.mark.parametrize(
    "density, alpha, tied",
    [
        (0.05, 1.0, 1.0),  # of ten entries at 1 a tie-break chose five
        (0.10, 1.0, 0.0),
        (0.2, 0.33, 0.0),
        (0.4, 0.07, 0.0),
        (0.5, 0.0, 0.0),
        (0.625, 0.0, 12 / 62),  # a fifth of the ticket was zero
    ],
)
def test_the_k_largest_are_a_threshold(density, alpha, tied):
    counts = np.zeros(102, dtype=int)
    counts[[0, 1, 8, 34, 101]] = 50, 10, 20, 10, 10
    assert tables.cut(counts, density) == (alpha, pytest.approx(tied))


def test_what_no_small_threshold_gives_is_a_line_of_its_own():
    def names(*rows):
        return tables.chosen(runs(*rows)).name.tolist()

    assert names({"implied_alpha": 0.1, "tied": 0.05}) == ["mask, log"]
    assert (
        names({"implied_alpha": 0.11, "tied": 0.0})
        == names({"implied_alpha": 0.0, "tied": 0.06})
        == ["mask, log, top-k"]
    )
    seeds = [{"implied_alpha": alpha, "tied": 0.0, "seed": seed} for seed, alpha in enumerate((0.05, 0.2))]
    assert names(*seeds) == ["mask, log, top-k"] * 2  # on all seeds, or not at all
    both = [{"lam": lam, "implied_alpha": alpha, "tied": 0.0} for lam, alpha in ((1.0, 0.05), (2.0, 0.2))]
    assert names(*both) == ["mask, log", "mask, log, top-k"]
    assert names({"lam": None, "mask_lr": None, "implied_alpha": 0.1, "tied": 0.0}) == ["mask, log, calibrated"]


def test_records_say_where_their_tickets_were_cut():
    found = tables.runs()
    masks = found[(found.method == "concave") & found.alpha.isna()]
    assert masks.implied_alpha.between(0, 1).all() and masks.tied.between(0, 1).all()
    assert masks[masks.lam.isna()].implied_alpha.eq(0.1).all()
    assert found[found.method == "imp"].implied_alpha.isna().all()
    assert set(found.vectors) <= {"AVX2", "AVX512", "NVIDIA H200"} and (found.threads > 0).all()


def test_summary_and_pivot_keep_networks_apart():
    table = runs({"test_accuracy": 98.0}, {"test_accuracy": 90.0, "model": "resnet20", "protocol": "cifar-short"})
    found = comparisons.summary(tables.chosen(table))
    assert found["mean"].tolist() == [90.0, 98.0]
    shown = comparisons.pivot(found)["0.05"].to_dict()
    assert shown == {
        ("ResNet-20, cifar-short", "mask, log"): "90.00 (n = 1)",
        ("LeNet-300-100, lenet", "mask, log"): "98.00 (n = 1)",
    }
    assert comparisons.summary(tables.chosen(table[:0])).empty


def test_places_are_named():
    table = runs(
        {}, {"model": "resnet20", "dataset": "cifar10", "protocol": "cifar-short", "reduced": True}, {"model": "x"}
    )
    assert list(tables.places(table)) == [
        "ResNet-20 on CIFAR-10 (cifar-short, reduced)",
        "LeNet-300-100 on MNIST (lenet)",
        "x on MNIST (lenet)",
    ]


def test_places_that_compare_have_every_line():
    both = runs(*line("mask, log", [98.0], 0.1), *line("IMP", [97.0], 0.1)).assign(name=["mask, log", "IMP"])
    one = both[:1].assign(model="resnet20")
    found = tables.comparing(pd.concat([both, one]), "mask, log", "IMP")
    assert found.model.tolist() == both.model.tolist()
    assert tables.comparing(one, "mask, log", "IMP").empty and tables.comparing(one[:0], "IMP").empty


def test_a_selection_is_on_record(monkeypatch):
    table = runs({"density_asked": 0.1}, {"density_asked": 0.2}, {"protocol": "cifar-short"})
    monkeypatch.setattr(tables, "runs", lambda: table)
    assert len(pages.Selection().table) == 3
    assert pages.Selection("lenet", 0.1).table.density_asked.tolist() == [0.1, 0.2]
    for given, sentence in (
        (("lennet",), "protocol = 'lennet': no run of it is on record; did you mean 'lenet'?"),
        (("lenet", 0.05), "density = 0.05: on record are 0.2, 0.1"),
    ):
        with pytest.raises(LotteryError) as error:
            pages.Selection(*given)
        assert str(error.value) == sentence


def test_pending_says_what_is_left_and_ends_with_it(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "GRIDS", tmp_path)
    monkeypatch.setattr(paths, "RESULTS", tmp_path)
    assert pages.pending() == ""
    rows = "over: {}, runs: [{method: snip, density: [0.1, 0.2]}]"
    (tmp_path / "tiny.yaml").write_text(f"{{protocol: cifar-short, {rows}}}")
    (tmp_path / "again.yaml").write_text(f"{{protocol: cifar-short, {rows}}}")  # the same runs
    (tmp_path / "logistic.yaml").write_text("{protocol: mnist-logistic, over: {}, runs: [{}]}")  # no tickets
    assert pages.pending() == "Not begun: ResNet-20 on CIFAR-10 (cifar-short, reduced)."
    for density in (0.1, 0.2):
        config = pairs.CifarShort("snip", density)
        records.folder(config).mkdir()
        (records.folder(config) / "record.json").write_text("{}")
        assert ("1 of 2" in pages.pending()) == (density == 0.1)
    assert pages.pending() == ""
