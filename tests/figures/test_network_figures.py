"""networks.py: what is drawn is what was found."""

import numpy as np
import pytest

from lottery_lib.experiments.planted_networks import WAYS
from lottery_lib.figures import networks as figures
from lottery_lib.findings import planted_networks


@pytest.fixture(scope="module")
def record():
    return planted_networks.found()


def test_no_dot_lies_above_its_bound(record):
    counts = []
    for ax in figures.bounds_met(record).axes:
        for line in ax.lines[:-2]:
            assert (line.get_ydata() <= line.get_xdata() + 1e-5).all()
            counts.append(len(line.get_xdata()))
    assert sum(counts) > 300


def test_curves_are_means_over_problems(record):
    for depth, ax in enumerate(figures.along_lambda(record).axes, start=1):
        curves = [line.get_ydata() for line in ax.lines]
        np.testing.assert_array_equal(curves[0], record.errors[(depth - 1) * 4 + 2, 0, 0])
        assert ("does not matter" in ax.get_title()) == (curves[0].min() < 1.1 * curves[1].min())


def test_ratios_and_titles_are_those_of_the_cells(record):
    cells = planted_networks.compared(record)
    for ax, way in zip(figures.ratios(record).axes, WAYS):
        rows = cells[cells.way == way]
        drawn = np.concatenate([each.lines[0].get_xdata() for each in ax.containers])
        np.testing.assert_array_equal(np.sort(drawn), np.sort(rows.ratio))
        assert ax.get_title().endswith(f"log better in {rows[rows.depth > 1].good.sum()} of 8 cells\nof depth 2 and 3")


def test_the_least_curvature_is_drawn_from_start_to_end(record):
    for depth, ax in enumerate(figures.curvature(record).axes, start=1):
        middle = record.searches(depth).groupby("penalty", sort=False)[["look 0", "end"]].median().to_numpy()
        for line, ends in zip(ax.lines, middle):
            assert line.get_ydata()[[0, -1]].tolist() == pytest.approx(ends.tolist())


def test_every_candidate_has_its_rank(record):
    (ax,) = figures.ranks(record).axes
    assert [label.get_text() for label in ax.get_yticklabels()] == list(planted_networks.PREDICTORS.values())
    assert [len(each.lines[0].get_xdata()) for each in ax.containers] == [len(planted_networks.PREDICTORS)] * 3
