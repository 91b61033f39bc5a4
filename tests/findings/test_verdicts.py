"""verdicts.py: each rule on made-up runs: every status, turned effects, one seed, nothing on record."""

import numpy as np
import pandas as pd
import pytest
from runs import line, put, runs

from lottery_lib import paths
from lottery_lib.experiments import grids
from lottery_lib.findings import claims, verdicts

RESNET = {"model": "resnet20", "dataset": "cifar10", "protocol": "cifar-short", "reduced": True}
RULES = [id for id in claims.VERDICTS if id != "C1"]
LOW, HIGH = [90.0, 90.1, 90.2], [91.0, 91.1, 91.3]


def both(*given: tuple, **fields) -> pd.DataFrame:
    """The lines, (name, accuracies, densities) each, on two networks."""
    return runs(
        *(
            row
            for place in ({}, RESNET)
            for name, seen, *at in given
            for d in at
            for row in line(name, seen, d, **place, **fields)
        )
    )


@pytest.mark.parametrize("id", RULES)
def test_nothing_on_record_is_no_verdict(id, monkeypatch):
    others = [*line("IMP", HIGH), *line("random", LOW)]
    overridden = [*line("mask, log", HIGH, lr=0.4, run="gone"), *line("IMP", LOW), *line("mask, ℓ1", LOW, lr=0.4)]
    for rows in ([], others, overridden):
        monkeypatch.setattr(verdicts.tables, "runs", lambda rows=rows: runs(*rows))
        assert claims.VERDICTS[id]() is None


# C3.


def test_c3():
    def status(*given):
        return verdicts.threshold_or_percentage(both(*given)).status

    magnitude = ("one-shot magnitude", LOW, 0.1, 0.02)
    assert status(("mask, log", HIGH, 0.1, 0.02), magnitude) == "confirmed"
    assert status(("mask, log", LOW, 0.1), ("mask, log", HIGH, 0.02), magnitude) == "confirmed with conditions"
    assert status(("mask, log", LOW, 0.1, 0.02), magnitude) == "not confirmed"
    assert status(("mask, log", [88.0, 88.1, 88.3], 0.1, 0.02), magnitude) == "not confirmed"
    assert status(("mask, log", [90.0, 90.9, 92.0], 0.1), magnitude) == "open"  # above, but within its interval
    assert (
        status(("mask, log", LOW, 0.1), ("mask, log", HIGH, 0.4), ("one-shot magnitude", LOW, 0.1, 0.4))
        == "not confirmed"
    )


def test_c3_compares_alike_with_alike():
    table = both(("mask, log", HIGH, 0.05), ("IMP", LOW, 0.05), ("mask, log, per layer", HIGH, 0.05))
    assert verdicts.threshold_or_percentage(table) is None
    table = both(
        ("mask, log, in rounds", HIGH, 0.05),
        ("IMP", LOW, 0.05),
        ("mask, log", LOW, 0.05),
        ("one-shot magnitude", HIGH, 0.05),
    )
    verdict = verdicts.threshold_or_percentage(table)
    assert verdict.status == "confirmed with conditions"
    assert "one shot, below at 0.05 (−1.03 ±\xa00.14); in rounds, above at 0.05 (+1.03 ±\xa00.14)" in verdict.finding


# What a verdict rests on.


def test_one_seed_is_preliminary_and_the_margin_decides():
    given = line("mask, log", [90.4]), line("one-shot magnitude", [90.0])
    verdict = verdicts.threshold_or_percentage(runs(*given[0], *given[1]))
    assert (verdict.status, verdict.seeds) == ("confirmed with conditions", 1)  # conditions: one network alone
    assert verdict.caveat == "preliminary, from one seed" and "one network alone" in verdict.finding
    table = runs(*given[0], *given[1], *line("mask, log", HIGH, 0.02), *line("one-shot magnitude", LOW, 0.02))
    assert verdicts.threshold_or_percentage(table).caveat == "preliminary, in part from one seed"
    table = runs(*line("mask, log", HIGH), *line("one-shot magnitude", LOW))
    assert verdicts.threshold_or_percentage(table).caveat == ""


def test_a_verdict_names_protocols_devices_and_commands(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "GRIDS", tmp_path)
    (tmp_path / "some.yaml").write_text("{protocol: lenet}")
    (tmp_path / "other.yaml").write_text("{protocol: cifar}")
    rows = [*line("mask, log", HIGH), *line("one-shot magnitude", LOW)]
    verdict = verdicts.threshold_or_percentage(runs(*rows, *line("IMP", LOW, protocol="cifar", device="there")))
    assert (verdict.protocol, verdict.device, verdict.command) == ("lenet", "here", "lottery sweep some")
    verdict = verdicts.threshold_or_percentage(runs(*rows, *(row | RESNET | {"device": "a GPU"} for row in rows)))
    assert (verdict.protocol, verdict.device, verdict.seeds) == ("cifar-short, lenet", "a GPU, here", 3)
    place = "ResNet-20 on CIFAR-10 (cifar-short, reduced)"
    assert f"{place}, n = 3: one shot, above at 0.05 (+1.03 ±\xa00.14)" in verdict.finding
    (tmp_path / "some.yaml").unlink()
    assert grids.command(["lenet"]) == "lottery train lenet"


def test_networks_that_disagree_are_a_condition():
    table = runs(
        *line("mask, log", HIGH),
        *line("one-shot magnitude", LOW),
        *line("mask, log", LOW, **RESNET),
        *line("one-shot magnitude", HIGH, **RESNET),
    )
    assert verdicts.threshold_or_percentage(table).status == "confirmed with conditions"


# C4 and C5.

WORSE = ("random", [85.0, 85.0, 85.1], 0.4, 0.2, 0.1, 0.05)


def test_c4():
    def status(*given):
        return verdicts.comparable_to_imp(both(*given, WORSE)).status

    imp, mask = ("IMP", HIGH, 0.4, 0.2), ("mask, log", HIGH, 0.4, 0.2)
    assert status(imp, mask) == "confirmed"
    assert status(imp, ("mask, log", [92.0, 92.1, 92.3], 0.4, 0.2)) == "confirmed"
    assert status(imp, ("mask, log", [90.8, 90.9, 91.1], 0.4, 0.2)) == "confirmed"  # surely below, by 0.2 points
    assert status(imp, ("mask, log", HIGH, 0.4), ("mask, log", LOW, 0.2)) == "confirmed with conditions"
    assert status(imp, ("mask, log", LOW, 0.4, 0.2)) == "not confirmed"
    assert status(imp, ("mask, log", [89.0, 91.0, 93.0], 0.4, 0.2)) == "open"
    assert status(imp, mask, ("IMP, early rewinding", HIGH, 0.4)) == "confirmed"
    assert status(imp, mask, ("IMP, early rewinding", [92.0, 92.1, 92.3], 0.4)) == "confirmed with conditions"


def test_c4_rewinds_both_sides_early_where_it_can():
    given = ("IMP", HIGH, 0.2), ("mask, log", HIGH, 0.2), ("IMP, early rewinding", [93.0, 93.1, 93.3], 0.2), WORSE
    verdict = verdicts.comparable_to_imp(both(*given, ("mask, log, early rewinding", [93.0, 93.1, 93.3], 0.2)))
    assert verdict.status == "confirmed" and "against IMP, early rewinding, level at 0.2 (+0.00" in verdict.finding


@pytest.mark.parametrize("function, density", [(verdicts.comparable_to_imp, 0.2), (verdicts.better_than_imp, 0.05)])
def test_where_a_random_mask_comes_near_nothing_is_tested(function, density):
    near = ("random", [accuracy - 0.2 for accuracy in LOW], density)
    verdict = function(both(("mask, log", HIGH, density), ("IMP", LOW, density), near))
    assert verdict.status == "open" and "not counted, a random mask against IMP" in verdict.finding
    assert function(both(("mask, log", HIGH, density), ("IMP", LOW, density), WORSE)).status == "confirmed"


def test_c5():
    def verdict(*given):
        return verdicts.better_than_imp(both(*given, WORSE))

    def status(*given):
        return verdict(*given).status

    imp, mask = ("IMP", LOW, 0.1, 0.05, 0.02), ("mask, log", HIGH, 0.1, 0.05)
    assert status(imp, mask) == "confirmed"
    assert status(imp, mask, ("mask, log, in rounds", LOW, 0.05)) == "confirmed with conditions"
    assert status(imp, ("mask, log", LOW, 0.1, 0.05)) == "not confirmed"  # level is not better
    assert status(imp, ("mask, log", [88.0, 88.1, 88.3], 0.1, 0.05)) == "not confirmed"
    assert status(imp, ("mask, log", [90.0, 90.9, 92.0], 0.1, 0.05)) == "open"
    assert status(imp, mask, ("gradual magnitude", HIGH, 0.05)) == "confirmed"
    assert status(imp, mask, ("gradual magnitude", [92.0, 92.1, 92.3], 0.05)) == "confirmed with conditions"
    fewer = verdict(imp, ("mask, log", LOW, 0.1, 0.05), ("mask, log", HIGH, 0.02))
    assert fewer.status == "not confirmed" and "beside the claim" in fewer.finding  # 0.02 decides nothing


def test_c5_counts_no_mask_that_cost_more_epochs_than_imp():
    rows = [*line("mask, log", HIGH, total_epochs=60), *line("IMP", LOW, total_epochs=50)]
    assert verdicts.better_than_imp(runs(*rows)) is None
    assert verdicts.better_than_imp(runs(*(row | {"total_epochs": 50} for row in rows))).status.startswith("confirmed")


# C6.


def test_c6():
    def verdict(log, l1=LOW):
        return verdicts.log_against_l1(
            both(("mask, log", log, 0.4), ("mask, log", LOW, 0.05), ("mask, ℓ1", l1, 0.4, 0.05))
        )

    conditions = verdict(HIGH)
    assert conditions.status == "confirmed with conditions"
    assert conditions.finding.startswith("above ℓ1 in 2 and below it in 0 of 4 comparisons")
    assert "one search, above at 0.4 (+1.03 ±\xa00.14), level at 0.05 (+0.00 ±\xa00.00)" in conditions.finding
    assert verdict(HIGH, [89.0, 89.1, 89.2]).status == "confirmed"
    assert verdict(LOW).status == verdict(LOW, HIGH).status == "not confirmed"
    assert verdict([90.0, 90.9, 92.0]).status == "open"


# C9.


def test_c9_asks_for_accuracy_at_half_the_epochs():
    def status(*given):
        return verdicts.cheaper(both(*given)).status

    imp, spends = ("IMP", HIGH, 0.1, 0.02), {"total_epochs": 26}
    assert status(("mask, log", HIGH, 0.1, 0.02), imp) == "confirmed"
    assert status(("mask, log", HIGH, 0.1), ("mask, log", LOW, 0.02), imp) == "confirmed with conditions"
    assert status(("mask, log", LOW, 0.1, 0.02), imp) == "not confirmed"
    rows = [{**row, **spends} for row in line("mask, log", HIGH)] + line("IMP", LOW)
    assert verdicts.cheaper(runs(*rows)).status == "not confirmed"  # better, but at more than half of IMP's 50 epochs


def test_c9_names_the_epochs_of_each_protocol():
    def given(protocol, dear):
        imp = [*line("IMP", LOW), *line("IMP", LOW, 0.1, total_epochs=dear)]
        return [
            {**row, "protocol": protocol} for row in (*line("mask, log", HIGH), *line("mask, log", HIGH, 0.1), *imp)
        ]

    finding = verdicts.cheaper(runs(*given("lenet", 30), *given("lenet-half", 40))).finding
    assert "(lenet): one search and its retraining 20, IMP 30 to 50" in finding
    assert "(lenet-half): one search and its retraining 20, IMP 40 to 50" in finding


# C7 and C8, which read the records' arrays.


@pytest.fixture
def results(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "RESULTS", tmp_path)
    return tmp_path


def counts(m: float, kept: int = 10) -> np.ndarray:
    """100 entries, of which 90 are zero and ``kept`` at m."""
    found = np.zeros(102, dtype=int)
    found[[0, 1 + int(100 * m)]] = 100 - kept, kept
    return found


def alphas(results, small: float, large: float, **fields) -> list[dict]:
    """Two searches that reach density 0.1 at α = 0.05 and at α = 0.5, with these accuracies of their tickets."""
    found = []
    for m, accuracy, lam in ((0.05, small, 2.0), (0.5, large, 1.0)):
        run = f"{fields.get('model', 'lenet')}-{m}-{accuracy}"
        put(results, run, {"layer": counts(m)})
        found.append({"run": run, "lam": lam, "density_asked": 0.1, "test_accuracy": accuracy, **fields})
    return found


def test_c7(results):
    assert (
        verdicts.small_alpha(runs(*alphas(results, 91.0, 90.0), *alphas(results, 91.0, 90.0, **RESNET))).status
        == "confirmed"
    )
    assert (
        verdicts.small_alpha(runs(*alphas(results, 90.1, 90.05), *alphas(results, 90.0, 91.1, **RESNET))).status
        == "not confirmed"
    )
    mixed = verdicts.small_alpha(runs(*alphas(results, 91.2, 90.2), *alphas(results, 90.2, 91.2, **RESNET)))
    assert mixed.status == "confirmed with conditions" and mixed.caveat == "preliminary, from one seed"
    assert "LeNet-300-100 on MNIST (lenet), n = 1: above at 0.1 (+1.00)" in mixed.finding


def test_c7_is_open_where_only_one_search_was_cut(results):
    for run, kept in (("a", [1, 1, 1, 1]), ("b", [1, 0, 0, 0])):
        put(results, run, {"layer": counts(0.5)}, np.array(kept, dtype=bool))
    swept = [
        {"run": "a", "alpha": 0.01, "density": 0.04, "test_accuracy": 90.0},
        {"run": "b", "alpha": 0.1, "density": 0.01, "test_accuracy": 91.0},
    ]
    verdict = verdicts.small_alpha(runs(*swept))
    assert verdict.status == "open" and verdict.seeds == 1
    assert "from α = 0.01 to 0.1 the density goes from 0.04 to 0.01, 75 % of the weights kept change" in verdict.finding
    assert "between 90.00 and 91.00 %" in verdict.finding


def test_c8(results):
    def status(*masks):
        for place, layers in enumerate(masks):
            for seed in range(2):
                if not (results / f"{layers}-{place}-{seed}").exists():
                    put(
                        results,
                        f"{layers}-{place}-{seed}",
                        {str(number): counts(*layer) for number, layer in enumerate(layers)},
                    )
        return verdicts.bimodal(
            runs(
                *(
                    {"run": f"{layers}-{place}-{seed}", "seed": seed, **fields}
                    for (place, layers), fields in zip(enumerate(masks), ({}, RESNET))
                    for seed in range(2)
                )
            )
        )

    good, undecided, single = (0.99, 4), (0.8, 10), (0.3, 4)
    assert status((good, good), (good,)).status == "confirmed"
    assert status((good, good)).status == "confirmed with conditions"  # one network
    assert status((good, undecided), (good,)).status == "confirmed with conditions"
    assert status((single, single), (undecided,)).status == "not confirmed"
    found = status((good, undecided), (single,))
    assert found.seeds == 2 and "mask, log, 2 of 4 layers bimodal (4 have a second mode; 0 to 10 %" in found.finding


def test_c8_is_about_the_searches_that_validation_chose(results):
    put(results, "best", {"layer": counts(0.99, 4)})
    put(results, "other", {"layer": counts(0.3)})
    table = runs({"run": "best", "lam": 1.0, "val_accuracy": 99.0}, {"run": "other", "lam": 2.0, "val_accuracy": 90.0})
    assert "1 of 1 layers bimodal" in verdicts.bimodal(table).finding
