"""comparisons.py: what a difference comes to, and what many of them come to."""

from math import nan

import pandas as pd
import pytest
from runs import line, runs

from lottery_lib.findings import comparisons, tables


@pytest.mark.parametrize(
    "mean, half_width, n, expected",
    [
        (0.31, nan, 1, "above"),
        (-0.31, nan, 1, "below"),
        (0.29, nan, 1, "level"),
        (-0.29, nan, 1, "level"),
        (0.31, 0.1, 2, "above"),
        (0.2, 0.1, 2, "level"),
        (0.31, 0.4, 2, "undecided"),  # two seeds: margin and interval
        (0.2, 0.1, 3, "above"),
        (-0.2, 0.1, 3, "below"),
        (0.2, 0.3, 3, "level"),
        (-0.4, 0.5, 3, "undecided"),
        (0.0, 1.1, 5, "undecided"),
        (2.0, 1.1, 5, "above"),  # too wide to be called level
    ],
)
def test_outcome(mean, half_width, n, expected):
    assert comparisons.outcome(mean, half_width, n) == expected


def test_compare_keeps_to_its_densities():
    table = runs(*(row for d in (0.4, 0.2, 0.1) for name in ("mask, log", "IMP") for row in line(name, [98.0], d)))
    cells = comparisons.compare(tables.chosen(table), {"": ("mask, log", "IMP")}, (0.1, 0.2))
    assert cells.density_asked.tolist() == [0.2, 0.1] and cells.outcome.tolist() == ["level", "level"]


def test_comparable_is_decided_and_no_loss_that_matters():
    cells = pd.DataFrame(
        {"mean": [1.0, 0.1, -0.2, -0.4, 0.1], "outcome": ["above", "level", "below", "below", "undecided"]}
    )
    assert comparisons.comparable(cells).tolist() == [True, True, True, False, False]


@pytest.mark.parametrize(
    "good, undecided, expected",
    [
        ([True, True], [False, False], "confirmed"),
        ([True, False], [False, True], "confirmed with conditions"),
        ([False, False], [False, False], "not confirmed"),
        ([False, False], [False, True], "open"),
        ([], [], "open"),
    ],
)
def test_judge(good, undecided, expected):
    assert comparisons.judge(pd.Series(good, dtype=bool), pd.Series(undecided, dtype=bool)) == expected


def test_what_is_said_are_the_numbers():
    table = runs(
        *line("mask, log", [98.0, 98.5, 99.0]),
        *line("IMP", [97.0, 97.5, 98.0]),
        *line("mask, log", [90.0], 0.1),
        *line("IMP", [90.1], 0.1),
    )
    cells = comparisons.compare(tables.chosen(table), {"how": ("mask, log", "IMP")})
    assert comparisons.lines(cells, "of ") == [
        "of LeNet-300-100 on MNIST (lenet), n = 1 to 3: how, level at 0.1 (−0.10), above at 0.05 (+1.00 ±\xa00.00)"
    ]
    shown = comparisons.readable(cells)
    assert shown.difference.tolist() == ["−0.10", "+1.00 ±\xa00.00"] and shown.epochs.tolist() == ["20 against 50"] * 2
