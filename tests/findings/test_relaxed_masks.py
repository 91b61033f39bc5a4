"""relaxed_masks.py: what is said of α and of histograms is what the records hold."""

import numpy as np
import pytest
from runs import line, put, runs

from lottery_lib import paths
from lottery_lib.findings import relaxed_masks


@pytest.fixture
def results(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "RESULTS", tmp_path)
    return tmp_path


def histogram(*counts: tuple[float, int]) -> np.ndarray:
    """``masks.histogram`` of 100 bins with these counts at these values."""
    found = np.zeros(102, dtype=int)
    for value, count in counts:
        found[{0: 0, 1: 101}.get(value, 1 + round(100 * value))] += count
    return found


def test_sweeps_compare_the_masks_of_one_search(results):
    kept = {"a": [1, 1, 1, 1], "b": [1, 1, 0, 0], "c": [0, 0, 0, 1], "d": [1, 1, 1, 1]}
    for run, mask in kept.items():
        put(results, run, {"layer": histogram((0, 4))}, np.array(mask, dtype=bool))
    put(results, "e", {"layer": histogram((0, 4))})
    put(results, "f", {"layer": histogram((0, 4))})
    table = runs(
        {"run": "b", "alpha": 0.1},
        {"run": "a", "alpha": 0.01},
        {"run": "c", "alpha": 0.5},
        {"run": "d", "alpha": 0.1, "lam": 7.0},  # the only one of its search
        {"run": "e", "alpha": 0.1, "seed": 1},
        {"run": "f", "alpha": 0.2, "seed": 1},  # without masks
        {"run": "g", "alpha": 0.2, "epochs": 3.0},
        {"run": "h"},
    )
    found = relaxed_masks.sweeps(table)
    assert found.run.tolist() == ["a", "b", "c", "e", "f"]
    assert found.changed[:3].tolist() == [0, 0.5, 0.75] and found.changed[3:].isna().all()
    assert relaxed_masks.sweeps(table[:0]).empty and "changed" in relaxed_masks.sweeps(table[:0])


def test_searches_at_equal_density_are_those_that_kept_the_largest():
    table = runs(
        {"run": "a"},
        {"run": "g", "rounds": 4},
        {"run": "h", "regularizer": "l1"},
        {"run": "i", "per_layer": True},
        {"run": "j", "method": "imp"},
        {"run": "k", "alpha": 0.1},
        {"run": "l", "lam": None, "mask_lr": None},
    )
    assert relaxed_masks.at_equal_density(table).run.tolist() == ["a"]


def test_sides_of_alpha_are_those_of_all_seeds():
    def search(lam, *alphas, tied=0.0, rate=10.0):
        return [
            {"seed": seed, "lam": lam, "mask_lr": rate, "implied_alpha": alpha, "tied": tied, "run": f"{lam:g}"}
            for seed, alpha in enumerate(alphas)
        ]

    rows = [*search(1.0, 0.1, 0.05), *search(2.0, 0.3, 0.11), *search(3.0, 0.05, 0.3), *search(4.0, 0.0, 0.0, tied=0.5)]
    found = relaxed_masks.by_alpha(runs(*rows, *search(5.0, 0.2, rate=30.0), *line("random", [90.0])))
    assert dict(zip(found.run.fillna(""), found.name)) == {
        "1": "α ≤ 0.1, ηₘ = 10", "2": "α > 0.1, ηₘ = 10", "5": "α > 0.1, ηₘ = 30", "": "random",
    }  # fmt: skip


def test_shares_of_a_histogram():
    shares = relaxed_masks.shares(histogram((0, 60), (0.04, 5), (0.05, 5), (0.74, 10), (0.94, 5), (0.95, 5), (1, 10)))
    assert shares == {"zero": 0.6, "between": pytest.approx(0.2), "top": pytest.approx(15 / 35)}
    assert relaxed_masks.shares(histogram((0, 5)))["top"] == 0  # nothing above zero: no second mode


def test_bimodal_is_decided_and_has_a_second_mode(results):
    layers = {
        "both": histogram((0, 950), (0.5, 10), (1, 40)),
        "spread": histogram((0, 1000), *((j / 100, 1) for j in range(100))),
        "undecided": histogram((0, 900), (0.8, 100)),
        "nearly empty": histogram((0, 990), (0.5, 8), (1, 2)),
    }
    put(results, "a", layers)
    put(results, "b", layers)
    table = runs({"run": "b", "lam": 2.0}, {"run": "a", "lam": 1.0}, {"run": "z", "lam": 1.0, "density_asked": 0.1})
    searches = relaxed_masks.searches(table)
    assert searches.run.tolist() == ["a", "b"]  # one run a search, the harder later
    found = relaxed_masks.decided(searches)
    assert found[found.run == "a"].layer.tolist() == list(layers)
    assert relaxed_masks.is_bimodal(found).tolist() == [True, False, False, False] * 2
    shown = relaxed_masks.by_search(found)
    assert shown["λ"].tolist() == ["1", "2"] and shown.bimodal.tolist() == [1, 1] and shown.layers.tolist() == [4, 4]
    assert shown["at the top"].tolist() == [1, 1] and shown["between, in a layer"].iloc[0] == "0.8% to 10.0%"


def test_what_decides_no_claim_does_not_count_for_c8_either():
    table = runs(*(row | {"run": row["protocol"]} for protocol in ("lenet", "lenet-half")
                   for row in line("mask, log", [97.0], protocol=protocol)))  # fmt: skip
    assert relaxed_masks.counted(table).run.tolist() == ["lenet"] and len(relaxed_masks.searches(table)) == 2


def test_samples_take_the_softest_a_middle_and_the_hardest_of_seed_0(results):
    for number in range(5):
        put(results, f"r{number}", {"layer": histogram((0, 4))})
    table = runs(
        *({"run": f"r{number}", "lam": 10.0**number} for number in range(4)),
        {"run": "r4", "regularizer": "l1"},
        {"run": "no", "lam": 9.0, "seed": 1},
    )
    ((place, found),) = relaxed_masks.samples(table).items()
    assert place == "LeNet-300-100 on MNIST (lenet)"
    assert [name.partition(": ")[0] for name in found] == ["mask, log"] * 3 + ["mask, ℓ1"]
    assert [name.splitlines()[0].partition(": ")[2] for name in found][:3] == ["λ = 1", "λ = 100", "λ = 1000"]
