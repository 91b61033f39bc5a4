"""Means over seeds with their intervals, and how to say them, and what ``cells`` come to, in words and tables."""

import math

import pandas as pd
from scipy import stats

from lottery_lib.findings import tables
from lottery_lib.findings.cells import DEARER, JUDGED, NO_SCALE, SEEDS, TOO_FEW, missed
from lottery_lib.findings.tables import SETTING, rank


def lines(cells: pd.DataFrame) -> list[str]:
    """What cells come to, a line a place, as ``LeNet-300-100 on MNIST (lenet), n = 5: one search, better at 0.01``."""
    found = []
    for place, rows in tables.places(cells).items():
        parts = [", ".join(filter(None, [how, _judgements(one)])) for how, one in rows.groupby("contrast", sort=False)]
        found.append(f"{place}, {seeds(rows.n)}: {'; '.join(parts)}")
    return found


def tally(cells: pd.DataFrame) -> str:
    """``better in 5 of 7 cells, equal in 2``: of those that are judged."""
    counts = cells.judgement[cells.judgement.isin(JUDGED)].value_counts()
    parts = [f"{judgement} in {counts[judgement]}" for judgement in JUDGED if judgement in counts]
    total = f" of {counts.sum()} cells"
    return ", ".join([parts[0] + total, *parts[1:]]) if parts else "no cell is judged yet"


def tallies(cells: pd.DataFrame) -> str:
    """A sentence each place with the ``tally`` of each contrast that is judged there, and one on where none is."""
    told, left = [], []
    for place, rows in tables.places(cells).items():
        judged = rows[rows.judgement.isin(JUDGED)]
        counts = [f"{how}, {tally(one)}" for how, one in judged.groupby("contrast", sort=False)]
        (told if counts else left).append(f"{place}: {'; '.join(counts)}" if counts else place)
    unjudged = [f"On record but not judged: {listed(left)}."] if left else []
    return " ".join([*(f"{line}." for line in told), *unjudged])


def seeds(n: pd.Series) -> str:
    return f"n = {span(n)}"


def span(values: pd.Series) -> str:
    least, most = f"{values.min():g}", f"{values.max():g}"
    return least if least == most else f"{least} to {most}"


def compact(cells: pd.DataFrame) -> pd.DataFrame:
    """Cells as a table to read at a glance: comparisons down, densities across; ● marks those that decide a claim.

    Differences are in points, with the intervals they are judged by. What is not judged says why in short; a comparison
    of which nothing is judged, nor decides, is left out.
    """
    telling = cells.judgement.isin(JUDGED) | cells.get("decides", False)
    cells = cells[telling.groupby([cells[key] for key in (*tables.PLACE, "contrast")]).transform("any")]
    short = {TOO_FEW: "n < 3", DEARER: "dearer", NO_SCALE: "no M"}
    shown = cells.assign(
        network=tables.where(cells),
        text=[
            number(row.mean, row.half_width, "+") + f", {row.judgement}"
            if row.judgement in JUDGED
            else short[row.judgement]
            for row in cells[["mean", "half_width", "judgement"]].itertuples()
        ],
    )
    if "decides" in cells:
        shown["text"] += cells.decides.map({True: " ●", False: ""})
    index = ["network", "contrast"]
    table = shown.pivot(index=index, columns="density_asked", values="text")
    table = table.loc[shown.set_index(index).index.drop_duplicates(), sorted(table.columns, reverse=True)].fillna("")
    called = "● decides; density" if "decides" in cells else "density"
    return table.rename(columns="{:g}".format).rename_axis([None, None]).rename_axis(called, axis="columns")


def readable(cells: pd.DataFrame) -> pd.DataFrame:
    """Cells in full, a row each: differences in points with the intervals they are judged by, and what they rest on.

    A difference that is not judged is not shown, nor the two test accuracies that it is one of, in percent: means over
    the seeds that both have. α is the largest of the tickets of the first line, and so is what ties decided of them.
    """
    judged = cells.judgement.isin(JUDGED)
    columns = {
        "network": tables.where(cells),
        "comparison": cells.contrast,
        "density": cells.density_asked.map("{:g}".format),
        "difference": [
            number(*cell, "+") if told else "–" for *cell, told in zip(cells["mean"], cells.half_width, judged)
        ],
        "test accuracy, %": [
            f"{difference + other:.2f} against {other:.2f}" if told else "–"
            for difference, other, told in zip(cells["mean"], cells.other, judged)
        ],
        "M": cells.margin.map("{:.2f}".format).where(judged, "–"),
        "n": cells.n.astype(int),
        "judgement": cells.judgement,
        "epochs": [
            f"{first:g} against {second:g}" if n else "–"
            for first, second, n in zip(cells.epochs, cells.epochs_other, cells.n)
        ],
        "α": ["–" if pd.isna(alpha) else f"{alpha:.2g}" for alpha in cells.alpha],
        "by ties": ["–" if pd.isna(tied) else f"{tied:.0%}" for tied in cells.tied],
    }
    return pd.DataFrame(columns).set_index("network").rename_axis(None)


def _judgements(cells: pd.DataFrame) -> str:
    """``better at 0.02 (+0.55 ± 0.10) and 0.01 (+1.98 ± 0.10), not enough seeds at 0.1``."""
    found: dict[str, list[str]] = {}
    for cell in cells.itertuples():
        told = f" ({number(cell.mean, cell.half_width, '+')})" if cell.judgement in JUDGED else ""
        found.setdefault(cell.judgement, []).append(f"{cell.density_asked:g}{told}")
    return ", ".join(f"{judgement} at {listed(shown)}" for judgement, shown in found.items())


def listed(words: list[str]) -> str:
    """Words in a sentence: ``a, b and c``."""
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def interval(groups: pd.api.typing.SeriesGroupBy) -> pd.DataFrame:
    """Of each group its ``mean``, ``n``, and ``half_width`` of its 95 % interval (Student's t); NaN if n = 1."""
    found = groups.agg(mean="mean", n="count", deviation="std")
    t = found.n.map(lambda n: stats.t.ppf(0.975, n - 1) if n > 1 else math.nan)
    return found.assign(half_width=t * found.deviation / found.n.map(math.sqrt)).drop(columns="deviation")


def summary(runs: pd.DataFrame) -> pd.DataFrame:
    """Over the seeds of each setting: the mean test accuracy in percent, half the width of its 95 % interval, and n.

    It is Student's t. The interval of a single seed is unknown, NaN. ``total_epochs`` and ``density`` are means too.
    """
    if runs.empty:
        return pd.DataFrame(columns=[*SETTING, "mean", "n", "half_width", "total_epochs", "density"])
    grouped = runs.groupby(SETTING)
    found = interval(grouped.test_accuracy).join(grouped[["total_epochs", "density"]].mean()).reset_index()
    order = [(*place, rank(called), -density) for *place, called, density in found[SETTING].to_numpy()]
    return found.iloc[sorted(range(len(found)), key=order.__getitem__)].reset_index(drop=True)


def pivot(found: pd.DataFrame) -> pd.DataFrame:
    """What ``summary`` found as a table to read: methods down, densities across, mean ± half width of the interval.

    More than one place is told apart by a first column. Fewer than three seeds are counted, and have no interval; a
    density that was missed by more than 2 % is told.
    """
    kept = found.density.map("kept {:.2g}".format).where(missed(found), "")
    rows = zip(found["mean"], found.half_width, found.n, kept)
    cells = found.assign(text=[estimate(*row) for row in rows])
    cells["network"] = tables.where(found)
    index = ["name"] if cells.network.nunique() < 2 else ["network", "name"]
    shown = cells.pivot(index=index, columns="density_asked", values="text")
    order = cells.set_index(index).index.drop_duplicates()
    shown = shown.loc[order, sorted(shown.columns, reverse=True)].fillna("–")
    return shown.rename(columns="{:g}".format).rename_axis([None] * len(index)).rename_axis("density", axis="columns")


def told(found: pd.DataFrame) -> str:
    """A sentence on how to read ``pivot`` of these rows."""
    enough = found.n[found.n >= SEEDS]
    n = f"n = {span(enough)}, and without an interval where fewer are counted" if len(enough) else "n as counted"
    return (
        "Test accuracy in percent, a mean over seeds with its 95 % interval (Student's t over the seeds of that line "
        f"alone, {n}). Intervals of cells are others: of differences, paired, with a deviation that is pooled, and "
        "widened for how many are judged together. *Kept* is told of a density that was missed by more than 2 %."
    )


def estimate(mean: float, half_width: float, n: float, note: str = "", sign: str = "", unit: str = "") -> str:
    """``number`` of a mean over ``n`` seeds; fewer than three have no interval and are counted, before the ``note``."""
    few = n < SEEDS
    notes = ", ".join(filter(None, [f"n = {n:g}" if few else "", note]))
    text = number(mean, math.nan if few else half_width, sign) + unit
    return f"{text} ({notes})" if notes else text


def number(mean: float, half_width: float, sign: str = "") -> str:
    """``mean ± half width`` of an accuracy in percent, to be broken before ± only; no interval where it is unknown."""
    shown = f"{mean:{sign}.2f}".replace("-", "−")
    return shown if math.isnan(half_width) else f"{shown} ±\N{NO-BREAK SPACE}{half_width:.2f}"
