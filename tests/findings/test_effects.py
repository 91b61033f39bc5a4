"""effects.py: a mean difference is that of the cells, on however many seeds each of them rests."""

import numpy as np
import pytest
from runs import line, runs
from scipy import stats

from lottery_lib.findings import effects, tables
from lottery_lib.findings.cells import cells

CONTRASTS = {"one search": ("mask, log, calibrated", "IMP")}
SCALE = [row for density in (0.1, 0.05) for row in line("random", [85.0], density)] + line("dense", [98.0], 1.0)


def effect(**differences: list[float]) -> effects.Effect:
    """Of two cells with these differences, a seed each."""
    rows = SCALE + [
        row
        for density, given in zip((0.1, 0.05), differences.values())
        for name, points in (("mask, log, calibrated", given), ("IMP", [0.0] * len(given)))
        for row in line(name, [90 + each for each in points], density)
    ]
    found = tables.chosen(runs(*rows))
    return effects.effect(found, CONTRASTS, cells(found, CONTRASTS), 2)


def test_each_cell_counts_alike():
    few, many = [0.9, 1.0, 1.1], [0.1, 0.0, -0.1, 0.1, 0.0, -0.1, 0.1, -0.1]
    found = effect(few=few, many=many)
    assert found.mean == pytest.approx(0.5) and found.n == "3 to 8"
    assert found.mean == pytest.approx(np.mean(found.each))


def test_with_the_same_seeds_it_is_the_interval_over_their_means():
    one, other = [0.3, 0.1, 0.6, 0.2], [0.1, -0.2, 0.4, 0.5]
    found, means = effect(one=one, other=other), np.mean([one, other], axis=0)
    half_width = stats.t.ppf(0.975, 3) * means.std(ddof=1) / 2
    assert (found.mean, found.half_width) == (pytest.approx(means.mean()), pytest.approx(half_width))


def test_too_few_seeds_in_one_cell_leave_no_interval():
    assert np.isnan(effect(few=[0.1, 0.2], many=[0.1, 0.0, -0.1]).half_width)


def test_a_mean_over_better_and_worse_has_no_interval():
    found = effect(worse=[-1.0, -1.1, -0.9], better=[2.0, 2.1, 1.9])
    assert found.mixed and np.isnan(found.half_width) and str(found) == "+0.50"
    assert not effect(better=[1.0, 1.1, 0.9], best=[2.0, 2.1, 1.9]).mixed


def test_the_interval_covers_the_truth_where_cells_rest_on_other_numbers_of_seeds():
    """Half of what a cell's seed is away is common to both cells."""
    rng, missed = np.random.default_rng(0), 0
    for _ in range(100):
        common = rng.normal(size=8)
        found = effect(few=list(1 + common[:4] + rng.normal(size=4)), many=list(common + rng.normal(size=8)))
        missed += abs(found.mean - 0.5) > found.half_width
    assert missed <= 10
