"""Cells: two methods at one place and density, paired over seeds; how large the difference is, and what it comes to.

A cell's interval takes the standard deviation pooled over the densities of its contrast at its place, as three seeds
alone tell little of it, and is widened by Holm's correction for the cells that are judged together.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy import stats

from lottery_lib.findings.tables import COMPUTED, PLACE
from lottery_lib.methods.concave import TOLERANCE

KEY = [*PLACE, "density_asked", "contrast"]  # of a cell
Contrasts = Mapping[str, tuple[str, str]]  # what to call one -> the names of its two lines
LEVEL = 0.05
SEEDS = 3  # fewer tell nothing, whatever the value
DEVIATION = 0.02  # the least, in points: two images of ten thousand
MARGIN, LEAST, MOST = 0.1, 0.2, 1.0  # M: a share of the distance from dense to random, and its bounds in points

BETTER, WORSE, EQUAL, NOT_WORSE, OPEN = "better", "worse", "equal", "not worse", "open"
TOO_FEW, DEARER, NO_SCALE = "not enough seeds", "costs too many epochs", "no random mask on record"  # not judged
JUDGED = (BETTER, WORSE, EQUAL, NOT_WORSE, OPEN)


def pairs(runs: pd.DataFrame, contrasts: Contrasts) -> pd.DataFrame:
    """First line minus second in test accuracy, a row a seed, at equal density, place and arithmetic (``COMPUTED``).

    Tickets that miss their density by more than 2 % are left out. ``runs`` of ``tables.chosen``. ``difference`` is in
    points; ``epochs``, ``alpha`` and ``tied`` are the first line's, ``epochs_other`` the second's.
    """
    runs = runs[~missed(runs)]
    keep = [*PLACE, "density_asked", "seed", *COMPUTED, "test_accuracy", "total_epochs", "implied_alpha", "tied"]
    found = []
    for contrast, lines in contrasts.items():
        first, second = (runs.loc[runs.name == line, keep] for line in lines)
        on = [*PLACE, "density_asked", "seed", *COMPUTED]
        both = first.merge(second, on=on, suffixes=("", "_other")).assign(contrast=contrast)
        both["difference"] = both.test_accuracy - both.test_accuracy_other
        found.append(both)
    both = pd.concat(found, ignore_index=True)
    return both.rename(
        columns={"total_epochs": "epochs", "total_epochs_other": "epochs_other", "implied_alpha": "alpha"}
    )


def missed(runs: pd.DataFrame) -> pd.Series:
    """Which rows, of runs or of their means, miss the density asked for by more than 2 %."""
    return (runs.density / runs.density_asked - 1).abs() > TOLERANCE


def cells(
    runs: pd.DataFrame, contrasts: Contrasts, share: float = 1.0, only: pd.DataFrame | None = None,
    stepwise: bool = True,
) -> pd.DataFrame:  # fmt: skip
    """A row each contrast, place and density on record, or each of ``only``: the difference, and its ``judgement``.

    ``mean`` is the difference in points; ``low`` to ``high`` its interval, ``half_width`` to either side, NaN where it
    is not judged; ``n`` seeds; ``margin`` is M; ``other`` and ``dense`` are mean accuracies of the second line and the
    whole network; ``random`` that of the random mask minus ``other``; ``epochs`` and ``epochs_other`` are training
    epochs in all; ``alpha`` and ``tied`` the largest of the tickets; ``doubtful`` is a cell in which the second line is
    IMP, and not above SNIP by M: it may have failed.
    The first line may cost ``share`` of the epochs of the second. Those of ``only`` are judged together at each place,
    others with those of their contrast alone; ``stepwise`` as in ``widths``.
    """
    found = summed(pairs(runs, contrasts))
    if only is not None:
        found = found.merge(only, how="right").fillna({"n": 0})
    found = found.merge(scale(runs), on=[*PLACE, "density_asked"], how="left")
    found["random"] -= found.other
    imp = [how for how, (_, other) in contrasts.items() if other == "IMP"]
    found["doubtful"] = found.contrast.isin(imp) & (found.control < found.margin)
    family = PLACE if only is not None else [*PLACE, "contrast"]
    dear, few = found.epochs > share * found.epochs_other, found.n < SEEDS
    found["judgement"] = np.select([few, dear, found.margin.isna()], [TOO_FEW, DEARER, NO_SCALE], default=OPEN)
    found = found.assign(low=np.nan, high=np.nan)
    for _, rows in found[found.judgement == OPEN].groupby(family):
        width = widths(rows["mean"].to_numpy(), rows.error.to_numpy(), rows.freedom.to_numpy(), stepwise)
        found.loc[rows.index, ["low", "high"]] = np.stack([rows["mean"] - width, rows["mean"] + width], 1)
    found["half_width"] = (found.high - found.low) / 2
    judged = found.judgement == OPEN
    found.loc[judged, "judgement"] = [judge(*row) for row in found.loc[judged, ["low", "high", "margin"]].to_numpy()]
    order, falling = [*PLACE, "density_asked"], [*(True for _ in PLACE), False]
    return found.sort_values(order, ascending=falling, kind="stable", ignore_index=True)


def summed(both: pd.DataFrame) -> pd.DataFrame:
    """``pairs`` over seeds: ``mean``, ``n``, and the ``error`` of the mean with its degrees of ``freedom``.

    The variance behind it is the mean of those at all densities, or the cell's own where that is larger. As variances
    differ, freedom is what Satterthwaite (1946) gives for that mean: that of all seeds if they are equal, of one cell's
    if it has the largest by far.
    """
    groups = both.groupby(["contrast", *PLACE, "density_asked"], sort=False)
    found = groups.agg(
        mean=("difference", "mean"), n=("difference", "count"), deviation=("difference", "std"),
        epochs=("epochs", "mean"), epochs_other=("epochs_other", "mean"), other=("test_accuracy_other", "mean"),
        alpha=("alpha", "max"), tied=("tied", "max"),
    ).reset_index()  # fmt: skip
    variance = found.deviation.clip(lower=DEVIATION) ** 2  # NaN of a cell that has one seed
    place = [found.contrast, *(found[key] for key in PLACE)]
    whole, squares = (part.groupby(place).transform("sum") for part in (variance, variance**2 / (found.n - 1)))
    found["freedom"] = (whole**2 / squares).where(whole > 0)
    found["error"] = (np.fmax(variance.groupby(place).transform("mean"), variance) / found.n) ** 0.5
    return found.drop(columns="deviation")


def scale(runs: pd.DataFrame) -> pd.DataFrame:
    """Of each place and density the mean accuracies ``dense`` and of the ``random`` mask; the ``margin`` M within which
    methods count as equal, a tenth of the distance from the dense network to it, from 0.2 to 1 point; and as a
    ``control``, where it is on record, what IMP has above SNIP, which prunes before any training."""
    random = runs[runs.name == "random"].groupby([*PLACE, "density_asked"]).test_accuracy.mean().rename("random")
    dense = runs[runs.name == "dense"].groupby(PLACE).test_accuracy.mean().rename("dense")
    found = random.reset_index().merge(dense.reset_index(), on=PLACE)
    found["margin"] = (MARGIN * (found.dense - found.random)).clip(LEAST, MOST)
    control = summed(pairs(runs, {"control": ("IMP", "SNIP")})).rename(columns={"mean": "control"})
    place = [*PLACE, "density_asked"]
    return found.merge(control[[*place, "control"]], on=place, how="left")


def widths(means: np.ndarray, errors: np.ndarray, freedom: np.ndarray, stepwise: bool = True) -> np.ndarray:
    """Half the widths of intervals such that, by Holm's step-down procedure, 5 % of such families err anywhere.

    The smallest p-value is held to 5 % over their number, the next to 5 % over one less, and so on; from the first that
    fails, all are held to its level. An interval excludes zero exactly if its cell passes. That order is by zero: where
    another bound is asked about, not ``stepwise``, all are held to 5 % over their number.
    """
    if not stepwise:
        return stats.t.isf(LEVEL / (2 * len(means)), freedom) * errors
    p = 2 * stats.t.sf(np.abs(means) / errors, freedom)
    levels, passing = np.empty(len(p)), True
    for rank, cell in enumerate(np.argsort(p, kind="stable")):
        if passing:
            level = LEVEL / (len(p) - rank)
            passing = p[cell] <= level
        levels[cell] = level
    return stats.t.isf(levels / 2, freedom) * errors


def judge(low: float, high: float, margin: float) -> str:
    """What an interval comes to: *better* or *worse* if it excludes zero, *equal* if it lies within ±M, *not worse* if
    its lower end lies above −M, else *open*."""
    if low > 0 or high < 0:
        return BETTER if low > 0 else WORSE
    if low > -margin:
        return EQUAL if high < margin else NOT_WORSE
    return OPEN
