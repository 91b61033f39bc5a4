"""Two methods against each other: paired differences at equal density, what each comes to, and how to say it."""

import math
from collections.abc import Mapping

import pandas as pd
from scipy import stats

from lottery_lib.findings import tables
from lottery_lib.findings.tables import PLACE, SETTING, network, rank

MARGIN = 0.3  # points of test accuracy: smaller differences do not matter here
WIDEST = 1.0  # points: half the width of an interval beyond which it tells nothing


def outcome(mean: float, half_width: float, n: int) -> str:
    """What a difference in accuracy, in points, comes to: ``above``, ``below``, ``level`` or ``undecided``.

    *Above* and *below* ask that its 95 % interval excludes zero and, for fewer than three seeds, that it is larger than
    ``MARGIN`` too; a single seed has no interval, and the margin decides. Otherwise it is *level* if it is within the
    margin and its interval no wider than ± ``WIDEST``, and else *undecided*: too uncertain to be called anything.
    """
    half_width = 0 if math.isnan(half_width) else half_width
    if abs(mean) > half_width and (n >= 3 or abs(mean) > MARGIN):
        return "above" if mean > 0 else "below"
    return "level" if abs(mean) <= MARGIN and half_width <= WIDEST else "undecided"


def compare(
    runs: pd.DataFrame, contrasts: dict[str, tuple[str, str]], densities: tuple[float, float] = (0, 1)
) -> pd.DataFrame:
    """``paired`` within a range of densities, both ends included, with the ``outcome`` of each difference."""
    cells = paired(runs, contrasts)
    cells = cells[cells.density_asked.between(*densities)].reset_index(drop=True)
    return cells.assign(outcome=[outcome(*cell) for cell in zip(cells["mean"], cells.half_width, cells.n)])


def above(cells: pd.DataFrame) -> pd.Series:
    return cells.outcome == "above"


def below(cells: pd.DataFrame) -> pd.Series:
    return cells.outcome == "below"


def comparable(cells: pd.DataFrame) -> pd.Series:
    """Which differences are no loss that matters: decided, and not below by more than ``MARGIN``."""
    return (cells.outcome != "undecided") & (cells["mean"] >= -MARGIN)


def lost(cells: pd.DataFrame) -> pd.Series:
    return ~comparable(cells)


def judge(good: pd.Series, undecided: pd.Series) -> str:
    """Confirmed if all are good, with conditions if some are; if none is, open while one is undecided."""
    if good.all():
        return "confirmed" if len(good) else "open"
    if good.any():
        return "confirmed with conditions"
    return "open" if undecided.any() else "not confirmed"


def lines(cells: pd.DataFrame, title: str = "") -> list[str]:
    """What cells come to, a line a place, as ``LeNet-300-100 on MNIST (lenet), n = 1: one shot, above at 0.01``."""
    found = []
    for place, rows in tables.places(cells).items():
        parts = [", ".join(filter(None, [how, _outcomes(one)])) for how, one in rows.groupby("contrast", sort=False)]
        found.append(f"{title}{place}, {seeds(rows.n)}: {'; '.join(parts)}")
    return found


def seeds(n: pd.Series) -> str:
    return f"n = {span(n)}"


def span(values: pd.Series) -> str:
    least, most = f"{values.min():g}", f"{values.max():g}"
    return least if least == most else f"{least} to {most}"


def readable(cells: pd.DataFrame) -> pd.DataFrame:
    """Cells of ``compare`` as a table to read: differences in points, and the training epochs of both sides."""
    columns = {
        "network": cells.model.map(tables.network) + ", " + cells.protocol,
        "comparison": cells.contrast,
        "density": cells.density_asked.map("{:g}".format),
        "difference": [number(*cell, "+") for cell in zip(cells["mean"], cells.half_width)],
        "n": cells.n,
        "outcome": cells.outcome,
        "epochs": [f"{first:g} against {second:g}" for first, second in zip(cells.epochs, cells.epochs_other)],
    }
    return pd.DataFrame(columns).set_index("network").rename_axis(None)


def _outcomes(cells: pd.DataFrame) -> str:
    """``above at 0.02 (+0.55 ± 0.10) and 0.01 (+1.98), level at 0.1 (+0.10)``."""
    found: dict[str, list[str]] = {}
    for cell in cells.itertuples():
        shown = f"{cell.density_asked:g} ({number(cell.mean, cell.half_width, '+')})"
        found.setdefault(cell.outcome, []).append(shown)
    return ", ".join(f"{result} at {_and(shown)}" for result, shown in found.items())


def _and(words: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def interval(groups: pd.api.typing.SeriesGroupBy) -> pd.DataFrame:
    """Of each group its ``mean``, ``n``, and ``half_width`` of its 95 % interval (Student's t); NaN if n = 1."""
    found = groups.agg(mean="mean", n="count", deviation="std")
    t = found.n.map(lambda n: stats.t.ppf(0.975, n - 1) if n > 1 else math.nan)
    return found.assign(half_width=t * found.deviation / found.n.map(math.sqrt)).drop(columns="deviation")


def summary(runs: pd.DataFrame, value: str = "test_accuracy") -> pd.DataFrame:
    """Mean of ``value`` over the seeds of each setting, half the width of its 95 % interval (Student's t), and n.

    The interval of a single seed is unknown, NaN. ``total_epochs`` and ``density`` are means too.
    """
    if runs.empty:
        return pd.DataFrame(columns=[*SETTING, "mean", "n", "half_width", "total_epochs", "density"])
    grouped = runs.groupby(SETTING)
    found = interval(grouped[value]).join(grouped[["total_epochs", "density"]].mean()).reset_index()
    order = [(*place, rank(called), -density) for *place, called, density in found[SETTING].to_numpy()]
    return found.iloc[sorted(range(len(found)), key=order.__getitem__)].reset_index(drop=True)


def pivot(found: pd.DataFrame) -> pd.DataFrame:
    """What ``summary`` found as a table to read: methods down, densities across, mean ± half width of the interval.

    More than one place is told apart by a first column.
    """
    cells = found.assign(text=[number(row.mean, row.half_width) for row in found[["mean", "half_width"]].itertuples()])
    cells["network"] = found.model.map(network) + ", " + found.protocol
    index = ["name"] if cells.network.nunique() < 2 else ["network", "name"]
    shown = cells.pivot(index=index, columns="density_asked", values="text")
    order = cells.set_index(index).index.drop_duplicates()
    shown = shown.loc[order, sorted(shown.columns, reverse=True)].fillna("–")
    return shown.rename(columns="{:g}".format).rename_axis([None] * len(index)).rename_axis("density", axis="columns")


def number(mean: float, half_width: float, sign: str = "") -> str:
    """``mean ± half width`` of an accuracy in percent, to be broken before ± only; no interval where it is unknown."""
    shown = f"{mean:{sign}.2f}".replace("-", "−")
    return shown if math.isnan(half_width) else f"{shown} ±\N{NO-BREAK SPACE}{half_width:.2f}"


def paired(runs: pd.DataFrame, contrasts: Mapping[str, tuple[str, str]]) -> pd.DataFrame:
    """First line minus second in test accuracy, over the seeds that have both, at equal density and in the same place.

    ``contrasts``: what to call one -> the names of its two lines. A row each contrast, place and density: ``mean``,
    ``half_width`` and ``n`` as in ``interval``, and the training epochs of both, ``epochs`` and ``epochs_other``.
    """
    found = []
    for contrast, lines in contrasts.items():
        first, second = (runs[runs.name == line] for line in lines)
        both = first.merge(second, on=[*PLACE, "density_asked", "seed"], suffixes=("", "_other"))
        both["difference"] = both.test_accuracy - both.test_accuracy_other
        grouped = both.groupby([*PLACE, "density_asked"])
        epochs = grouped[["total_epochs", "total_epochs_other"]].mean()
        epochs.columns = ["epochs", "epochs_other"]
        found.append(interval(grouped.difference).join(epochs).reset_index().assign(contrast=contrast))
    order, falling = [*PLACE, "density_asked"], [*(True for _ in PLACE), False]
    return pd.concat(found, ignore_index=True).sort_values(order, ascending=falling, kind="stable", ignore_index=True)
