"""Figures of the chapters on C3 to C8: the table of runs in, a matplotlib figure out, with panels for each place."""

import math
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from lottery_lib.errors import LotteryError
from lottery_lib.figures.lines import GREY, NOTHING, accuracy_limits, by_place, densities, look, ticks
from lottery_lib.figures.style import BLUE, COLUMN, STYLE, new_figure, panels
from lottery_lib.findings import comparisons, relaxed_masks, tables
from lottery_lib.findings.cells import JUDGED
from lottery_lib.findings.claims import Claim
from lottery_lib.findings.comparisons import number

MARKERS = "os^Dv*Pphd"  # of contrasts, which are all of the mask, and so in its colour
SHADES = mpl.colormaps["viridis"]


@mpl.rc_context(STYLE)
def differences(cells: pd.DataFrame, first: str, second: str) -> Figure:
    """Paired differences in accuracy against density, with the intervals they are judged by, a panel a place.

    Contrasts that decide a claim are blue, others grey. ``cells`` of ``findings.cells``; what is not judged, as of
    fewer than three seeds, is not drawn. Within the grey
    band, M to either side, methods count as equal. The axis ends at three times the largest difference at most: what
    sticks out is an interval that tells nothing.
    """
    cells = cells[cells.judgement.isin(JUDGED)]
    groups = by_place(cells)
    figure, axes = panels(len(groups))
    decides = cells.get("decides", pd.Series(True, cells.index)).groupby(cells.contrast, sort=False).any()
    looks = {
        contrast: {"color": BLUE if telling else GREY, "marker": marker, "ms": 5, "lw": 1}
        for (contrast, telling), marker in zip(decides.items(), MARKERS)
    }
    for ax, (label, group) in zip(axes, groups.items()):
        band = group.groupby("density_asked").margin.first()
        ends = [band.index[0] / 1.3, *band.index, band.index[-1] * 1.3]
        edge = [band.iloc[0], *band, band.iloc[-1]]
        ax.fill_between(ends, np.negative(edge), edge, color="#eeeeee", lw=0)
        ax.axhline(0, color="#555555", lw=0.8)
        for nth, (contrast, rows) in enumerate(group.sort_values("density_asked").groupby("contrast", sort=False)):
            x = rows.density_asked * 1.04**nth  # side by side
            ax.errorbar(x, rows["mean"], rows.half_width, capsize=2, **looks[contrast])
        sizes, least = group["mean"].abs(), group.margin.max()
        limit = min(3 * max(least, *sizes), 1.2 * max(least, *(sizes + group.half_width)))
        ax.set(title=label, ylim=(-limit, limit))
        densities(ax, group.density_asked)
        ax.set_ylabel(f"{first} − {second},\npoints of test accuracy")
    handles = [mpl.lines.Line2D([], [], **look) for look in looks.values()]
    if handles:
        figure.legend(handles, looks, loc="outside lower center", ncols=2)
    return figure


@dataclass(frozen=True)
class Row:
    """Of a forest: a difference in points, half its interval (NaN: none is drawn), and its seeds."""

    label: str
    mean: float
    half_width: float
    n: str


def forest(claims: list[Claim]) -> Figure:
    """Differences in test accuracy on one axis of points, a row a claim and data set (``findings.claims.load``).

    A dot with its 95 % interval over seeds, and the number of them. Where a cell rests on fewer than three seeds the
    dot is hollow and has no interval. Claims that are not about accuracy, or with nothing on record, have no row.
    """
    groups: dict[str, list[Row]] = {}
    for claim in claims:
        for answer in claim.verdict.answers if claim.verdict else ():
            if effect := answer.effect:
                row = Row(answer.dataset, effect.mean, effect.half_width, effect.n)
                groups.setdefault(f"{claim.id}  {claim.short}", []).append(row)
    return _forest(groups)


def by_density(cells: pd.DataFrame) -> Figure:
    """The same for cells (``findings.rules.shown``) on record, a row a density: with the intervals they are judged by.

    Those that decide a claim are drawn, or where none is on record, all.
    """
    groups: dict[str, list[Row]] = {}
    found = cells[cells.n > 0].sort_values([*tables.PLACE, "contrast"], kind="stable")
    for cell in (found[found.decides] if found.decides.any() else found).itertuples():
        width = cell.half_width if cell.judgement in JUDGED else math.nan
        place = f"{tables.network(cell.model)} on {tables.dataset(cell.dataset)}, {cell.contrast}"
        row = Row(f"{100 * cell.density_asked:g} %", cell.mean, width, f"{cell.n:g}")
        groups.setdefault(place, []).append(row)
    return _forest(groups)


@mpl.rc_context(STYLE)
def _forest(groups: dict[str, list[Row]]) -> Figure:
    if not groups:
        raise LotteryError(NOTHING)
    count = sum(1 + len(rows) for rows in groups.values())
    figure = Figure(figsize=(4.6, 0.7 + 0.19 * count))
    ax = figure.add_axes((0.17, 0.55 / figure.get_figheight(), 0.49, 1 - 0.58 / figure.get_figheight()))
    ax.axvline(0, color="#555555", lw=0.8)

    def write(text: str, line: float, x: float, **style: Any) -> None:
        """At ``x``, in widths of the axes."""
        ax.text(x, line, text, transform=ax.get_yaxis_transform(), va="center", **style)

    at = iter(range(count))  # from the top
    for label, rows in groups.items():
        write(label, next(at), -0.34, weight="bold", bbox={"fc": "white", "lw": 0, "pad": 1})
        for row, line in zip(rows, at):
            known = not math.isnan(row.half_width)
            style = {"color": BLUE, "marker": "o", "ms": 5, "mfc": BLUE if known else "white", "capsize": 2}
            ax.errorbar(row.mean, line, xerr=row.half_width if known else None, **style)
            write(row.label, line, -0.03, ha="right")
            write(number(row.mean, row.half_width, "+"), line, 1.03)
            write(row.n, line, 1.68, ha="right")
    write("points", -1, 1.03, color=GREY)
    write("seeds", -1, 1.68, ha="right", color=GREY)
    ax.set(ylim=(count - 0.4, -1.6), yticks=[], xlabel="difference in test accuracy, points")
    ax.spines["left"].set_visible(False)
    return figure


@mpl.rc_context(STYLE)
def alpha_sensitivity(swept: pd.DataFrame) -> Figure:
    """One search cut at several α's (``relaxed_masks.sweeps``): density, changed weights and accuracy, against α."""
    groups = by_place(swept)
    figure, axes = new_figure(len(groups), 3, (COLUMN, 0.3 + 2.3 * len(groups)))
    shown = {"density": "density", "changed": "share of kept weights changed", "test_accuracy": "test accuracy, %"}
    for across, (label, rows) in zip(axes, groups.items()):
        for ax, (column, called) in zip(across, shown.items()):
            found = comparisons.interval(rows.groupby("alpha")[column]).dropna(subset="mean")
            ax.errorbar(found.index, found["mean"], found.half_width.fillna(0), color=BLUE, marker="o", ms=3, capsize=2)
            ax.set(xscale="log", xlabel="threshold α", ylabel=called)
            ticks(ax.xaxis, rows.alpha, apart=2.1)
        across[0].set(title=label, ylim=(0, None))
        across[1].set_ylim(0, 1)
    return figure


@mpl.rc_context(STYLE)
def alpha_at_equal_density(runs: pd.DataFrame, most: float = 0.1) -> Figure:
    """Tickets of seed 0 of equal density, up to ``most``, from searches that press less or more: accuracy against α.

    ``runs`` of ``relaxed_masks.at_equal_density``; a line a density. Tickets that are filled up among ties have no α.
    The dotted line parts small α's from larger ones.
    """
    runs = runs[(runs.tied <= tables.FEW_TIES) & (runs.seed == 0) & (runs.density_asked <= most)]
    groups = by_place(runs)
    figure, axes = panels(len(groups))
    asked = sorted(runs.density_asked.unique(), reverse=True)
    colours = dict(zip(asked, SHADES(np.linspace(0, 0.9, len(asked)))))
    for ax, (label, group) in zip(axes, groups.items()):
        for density, rows in group.sort_values("implied_alpha").groupby("density_asked", sort=False):
            ax.plot(rows.implied_alpha, rows.test_accuracy, color=colours[density], marker="o", ms=3, lw=1)
        ax.axvline(tables.SMALL_ALPHA, color="#555555", ls=":", lw=1)
        limits = accuracy_limits(group.test_accuracy.min(), group.test_accuracy.max(), 4)
        ax.set(title=label, xlabel="threshold α that yields the density", xlim=(-0.03, 1.03))
        ax.set(ylabel="test accuracy, %", ylim=limits)
    handles = [mpl.lines.Line2D([], [], color=colour, marker="o", ms=3) for colour in colours.values()]
    figure.legend(handles, [f"{100 * density:g} %" for density in asked], title="density", loc="outside right center")
    return figure


@mpl.rc_context(STYLE)
def modes_by_layer(layers: pd.DataFrame) -> Figure:
    """Layer by layer, a line a search (``relaxed_masks.decided``): entries that are undecided, and at the top.

    A layer counts as bimodal where it lies in the grey on both sides (``verdicts.bimodal``).
    """
    groups = by_place(layers)
    figure, axes = new_figure(len(groups), 2, (COLUMN, 0.4 + 2.6 * len(groups)))
    for (between, top), (label, group) in zip(axes, groups.items()):
        for ax, column in ((between, "between"), (top, "top")):
            for (name, _), rows in group.groupby(["name", "run"], sort=False):
                ax.plot(rows.number, rows[column], color=look(name)["color"], marker="o", ms=2.5, lw=0.8, alpha=0.6)
            names = group.drop_duplicates("number").sort_values("number").layer
            every = range(0, len(names), math.ceil(len(names) / 3))
            ax.set_xticks(every, names.iloc[every])
        between.axhspan(0, relaxed_masks.DECIDED, color="#eeeeee", lw=0)
        between.set(title=label, ylabel="share between 0.05 and 0.95", ylim=(0, None))
        top.axhspan(0.5, 1, color="#eeeeee", lw=0)
        top.set(title="the second mode", ylabel="of the entries from 0.05 up,\nshare from 0.95 up", ylim=(0, 1))
    names = layers.name.unique()
    handles = [mpl.lines.Line2D([], [], color=look(name)["color"], marker="o", ms=3) for name in names]
    figure.legend(handles, names, loc="outside lower center", ncols=2)
    return figure
