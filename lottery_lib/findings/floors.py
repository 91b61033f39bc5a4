"""What networks and tickets must at least be worth: a linear classifier on the same images, and a random mask."""

import math
from collections.abc import Callable
from typing import Any

import pandas as pd

from lottery_lib.experiments import pairs
from lottery_lib.findings import cells, tables
from lottery_lib.findings.comparisons import listed, number
from lottery_lib.findings.tables import PLACE

PIXELS = [protocol.protocol for protocol in pairs.LINEAR]  # a linear classifier for each data set


def networks(runs: pd.DataFrame, known: pd.DataFrame) -> pd.DataFrame:
    """Mean test accuracy in percent, a row each place that has a ``dense`` network: of it, of ``pixels``, the linear
    classifier on the same data set, NaN where none is among the runs ``known``, and how far the one is ``above``.

    Both are of ``tables.chosen``.
    """
    linear = known[known.protocol.isin(PIXELS)].groupby("dataset").test_accuracy.mean().rename("pixels")
    dense = runs[runs.name == "dense"].groupby(PLACE).test_accuracy.mean().rename("dense")
    found = dense.reset_index().merge(linear.reset_index(), on="dataset", how="left")
    return found.assign(above=found.dense - found.pixels)


def tickets(runs: pd.DataFrame) -> pd.DataFrame:
    """A row each place, line and density that a random mask is on record for: how many points of test accuracy the line
    is ``above`` it, the mean over the ``n`` seeds that both have. ``runs`` are of ``tables.chosen``."""
    columns = [*PLACE, "name", "density_asked", "above", "n"]
    contrasts = {line: (line, "random") for line in runs.name.unique() if line not in ("dense", "random")}
    if not contrasts:
        return pd.DataFrame(columns=columns)
    found = cells.summed(cells.pairs(runs, contrasts))
    return found.rename(columns={"contrast": "name", "mean": "above"})[columns]


def told(networks: pd.DataFrame, tickets: pd.DataFrame) -> str:
    """Two sentences: of both what does not lie above its floor, or if all do, what is nearest to it."""
    return " ".join([
        _said(networks.dropna(subset="above"), "dense network", "a linear classifier on the same images", _network),
        _said(tickets, "method", "a random mask of the same density", _ticket),
    ])  # fmt: skip


def _said(found: pd.DataFrame, what: str, floor: str, called: Callable[[Any], str]) -> str:
    ordered = found.sort_values("above", kind="stable")
    below = [called(row) for row in ordered[ordered.above <= 0].itertuples()]
    if below:
        return f"Not above {floor}: {listed(below)}."
    if ordered.empty:
        return f"Nothing is on record to compare with {floor}."
    return f"Every {what} is above {floor}; nearest to it is {called(next(ordered.itertuples()))}."


def _network(row: Any) -> str:
    where = tables.task(row.model, row.dataset, row.protocol)
    return f"{where} ({number(row.dense, math.nan)} % against {number(row.pixels, math.nan)} %)"


def _ticket(row: Any) -> str:
    where = tables.task(row.model, row.dataset, row.protocol)
    few = "" if row.n >= cells.SEEDS else ", not enough seeds"
    return f"{row.name} at {row.density_asked:g} with {where} ({number(row.above, math.nan, '+')}, n = {row.n}{few})"
