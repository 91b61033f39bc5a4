"""How large a difference is that a claim is about: over its cells, in points of test accuracy, with its interval."""

import math
from dataclasses import dataclass

import pandas as pd
from scipy import stats

from lottery_lib.findings.cells import BETTER, KEY, SEEDS, WORSE, Contrasts, pairs
from lottery_lib.findings.comparisons import number, span


@dataclass(frozen=True)
class Effect:
    """The mean difference of ``cells`` of the ``of`` that a claim names on a data set, first line minus second.

    ``half_width`` is that of its 95 % interval over seeds, NaN where a cell rests on fewer than three, or where the
    cells are ``mixed``: some better and some worse, so that it would be one of a mixture. ``n`` is the number of seeds,
    as text, since cells may differ in it; ``epochs`` those of the first line over those of the second; ``each`` are the
    differences of the cells.
    """

    mean: float
    half_width: float
    n: str
    cells: int
    of: int
    epochs: float
    each: tuple[float, ...] = ()
    mixed: bool = False

    def __str__(self) -> str:
        return number(self.mean, self.half_width, "+")


def on_record(cells: pd.DataFrame, share: float = 1.0) -> pd.DataFrame:
    """Those of ``findings.cells`` that are on record, on however few seeds, at no more than ``share`` of the epochs."""
    return cells[(cells.n > 0) & ~(cells.epochs > share * cells.epochs_other)]


def effect(runs: pd.DataFrame, contrasts: Contrasts, cells: pd.DataFrame, of: int) -> Effect | None:
    """The effect over ``cells`` on one data set, ``of`` so many; None if there are none."""
    if cells.empty:
        return None
    both = pairs(runs, contrasts).merge(cells[KEY], on=KEY)
    enough = cells.n.min() >= SEEDS
    mixed = enough and {BETTER, WORSE} <= {*cells.judgement}
    return Effect(
        mean=cells["mean"].mean(),
        half_width=_half_width(both) if enough and not mixed else math.nan,
        n=span(cells.n),
        cells=len(cells),
        of=of,
        epochs=cells.epochs.sum() / cells.epochs_other.sum(),
        each=tuple(cells["mean"]),
        mixed=mixed,
    )


def _half_width(both: pd.DataFrame) -> float:
    """Of the 95 % interval about the mean of the cells' means, from their ``pairs`` (Student's t).

    Cells share seeds, so what a seed adds to all of them is summed before it is squared: with the same seeds in every
    cell that is the interval over the seeds' means. Degrees of freedom are those of the cell with the fewest seeds.
    """
    cells = both.groupby(KEY).difference
    n = cells.transform("count")
    away = (both.difference - cells.transform("mean")) / (n * (n - 1)) ** 0.5
    error = (away.groupby(both.seed).sum() ** 2).sum() ** 0.5 / cells.ngroups
    return float(stats.t.ppf(0.975, n.min() - 1) * error)
