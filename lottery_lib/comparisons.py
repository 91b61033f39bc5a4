"""Two methods against each other: paired differences at equal density, what each comes to, and how to say it."""

import math

import pandas as pd

from . import analysis

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
    """``analysis.paired`` within a range of densities, both ends included, with the ``outcome`` of each difference."""
    cells = analysis.paired(runs, contrasts)
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
    for place, rows in analysis.places(cells).items():
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
        "network": cells.model.map(analysis.network) + ", " + cells.protocol,
        "comparison": cells.contrast,
        "density": cells.density_asked.map("{:g}".format),
        "difference": [analysis.number(*cell, "+") for cell in zip(cells["mean"], cells.half_width)],
        "n": cells.n,
        "outcome": cells.outcome,
        "epochs": [f"{first:g} against {second:g}" for first, second in zip(cells.epochs, cells.epochs_other)],
    }
    return pd.DataFrame(columns).set_index("network").rename_axis(None)


def _outcomes(cells: pd.DataFrame) -> str:
    """``above at 0.02 (+0.55 ± 0.10) and 0.01 (+1.98), level at 0.1 (+0.10)``."""
    found: dict[str, list[str]] = {}
    for cell in cells.itertuples():
        shown = f"{cell.density_asked:g} ({analysis.number(cell.mean, cell.half_width, '+')})"
        found.setdefault(cell.outcome, []).append(shown)
    return ", ".join(f"{result} at {_and(shown)}" for result, shown in found.items())


def _and(words: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))
