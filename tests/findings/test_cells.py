"""cells.py: pairs over seeds, intervals, and what they are called."""

import math

import numpy as np
import pytest
from runs import line, runs
from scipy import stats

from lottery_lib.findings import cells, tables

CONTRAST = {"a": ("mask, log", "IMP")}


def test_pairs_take_the_seeds_that_both_have():
    table = runs(
        *line("mask, log", [98.0, 97.0, 10.0]),
        *line("IMP", [97.0, 96.6], total_epochs=140),
        *line("IMP", [50.0], model="resnet20"),
    )
    runs_ = tables.chosen(table)
    found = cells.pairs(runs_, CONTRAST | {"b": ("mask, log", "SNIP")})
    assert found.difference.tolist() == pytest.approx([1.0, 0.4]) and set(found.contrast) == {"a"}
    assert (found.epochs.tolist(), found.epochs_other.tolist()) == ([20, 20], [140, 140])
    assert cells.pairs(runs_[:0], CONTRAST).empty and cells.cells(runs_[:0], CONTRAST).empty


@pytest.mark.parametrize("other", [{"precision": "bf16"}, {"vectors": "AVX512"}, {"threads": 2}])
def test_what_was_computed_otherwise_is_no_pair(other):
    table = runs(*line("mask, log", [98.0]), *line("IMP", [97.0], **other))
    assert cells.pairs(tables.chosen(table), CONTRAST).empty


def given(*rows) -> cells.pd.DataFrame:
    """Cells of one contrast from (density, differences) each, where a random mask is 5 points below dense."""
    made = [*line("dense", [99.0], 1.0)]
    for density, differences in rows:
        made += line("random", [94.0], density)
        made += line("mask, log", [95.0 + difference for difference in differences], density)
        made += line("IMP", [95.0] * len(differences), density)
    return cells.cells(tables.chosen(runs(*made)), CONTRAST)


def test_the_variance_is_the_mean_over_densities_or_its_own_where_that_is_larger():
    tight, wide = [0.9, 1.0, 1.1], [0.0, 1.0, 2.0]
    found = given((0.1, tight), (0.05, wide), (0.02, [1.0, 2.0]))
    pooled = math.sqrt((0.01 + 1.0 + 0.5) / 3)
    own = 1.0  # of the wide one, which is more
    freedom = (0.01 + 1.0 + 0.5) ** 2 / (0.01**2 / 2 + 1.0**2 / 2 + 0.5**2 / 1)
    expected = [pooled / math.sqrt(3), own / math.sqrt(3), pooled / math.sqrt(2)]
    assert found.error.tolist() == pytest.approx(expected)
    assert found.freedom.tolist() == pytest.approx([freedom] * 3) and found.n.tolist() == [3, 3, 2]
    level = stats.t.isf(0.05 / 2 / 2, freedom)  # the surer one fails, so both are held to its level
    assert found.half_width[:2].tolist() == pytest.approx([level * expected[0], level * expected[1]])
    assert found.half_width.isna().tolist() == [False, False, True]


def test_a_deviation_of_its_own_lends_no_certainty_from_other_densities():
    found = given((0.2, [0.1, -0.1, 0.05, 0.0]), (0.05, [3.16, 1.74, 4.92]))
    assert found.judgement.tolist()[1] == "open"  # p is 0.07 by three seeds alone, and 0.02 with those of 0.2


def test_holm_holds_the_smallest_p_to_the_most_and_stops_where_one_fails():
    errors, freedom = np.ones(4), np.full(4, 1000)
    at = {level: stats.t.isf(level / 2, 1000) for level in (0.05 / 4, 0.05 / 3, 0.05 / 2, 0.05)}
    means = np.array([at[0.05 / 3] + 0.01, at[0.05 / 4] + 0.01, -at[0.05] - 0.01, 0.0])
    assert cells.widths(means, errors, freedom) == pytest.approx(
        [at[0.05 / 3], at[0.05 / 4], at[0.05 / 2], at[0.05 / 2]]
    )
    alone = cells.widths(np.array([2.0]), np.ones(1), np.full(1, 1000))
    assert alone == pytest.approx(at[0.05])


def test_not_stepwise_all_are_held_to_the_same_level():
    level = stats.t.isf(0.05 / 8, 1000)
    assert cells.widths(np.arange(4.0), np.ones(4), np.full(4, 1000), False) == pytest.approx([level] * 4)


def test_five_percent_of_families_err():
    rng = np.random.default_rng(0)
    means = rng.standard_normal((4000, 6))
    errs = [(np.abs(row) > cells.widths(row, np.ones(6), np.full(6, 10**6))).any() for row in means]
    assert np.mean(errs) == pytest.approx(0.05, abs=0.01)


@pytest.mark.parametrize(
    "low, high, expected",
    [
        (0.01, 0.2, "better"),
        (-0.2, -0.01, "worse"),
        (-0.2, 0.2, "equal"),
        (-0.2, 0.4, "not worse"),
        (-0.4, 0.2, "open"),
        (-0.4, 0.4, "open"),
    ],
)
def test_judge(low, high, expected):
    assert cells.judge(low, high, 0.3) == expected


def test_the_margin_is_a_tenth_of_what_there_is_to_win():
    def margin(random, dense=99.0):
        table = runs(*line("random", [random]), *line("dense", [dense], 1.0))
        return cells.scale(tables.chosen(table)).margin.item()

    assert margin(94.0) == pytest.approx(0.5)
    assert margin(98.9) == margin(99.5) == 0.2 and margin(50.0) == 1.0


def test_a_random_mask_is_measured_against_the_opponent():
    found = given((0.1, [1.0, 1.1, 0.9]))
    assert found.random.item() == pytest.approx(-1.0) and found.judgement.item() == "better"
