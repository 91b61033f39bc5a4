"""Figures of the chapters on C3 to C8: the table of runs in, a matplotlib figure out, with panels for each place."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import SymmetricalLogLocator

from lottery_lib.errors import LotteryError
from lottery_lib.figures.lines import GREY, NOTHING, accuracy_axis, by_place, densities, heading, label_ends, ticks
from lottery_lib.figures.style import BLACK, BLUE, COLUMN, STYLE, new_figure, panels
from lottery_lib.findings import comparisons, relaxed_masks, tables
from lottery_lib.findings.cells import DEARER, JUDGED, NO_SCALE, TOO_FEW
from lottery_lib.findings.claims import Claim
from lottery_lib.findings.comparisons import number
from lottery_lib.findings.effects import Effect

MARKERS = "os^Dv*Pphd"  # of contrasts, which are all of the mask, and so in its colour
MOST = 4  # lines in a panel
SPARSE = 0.05  # density at and below which α may matter
PAPER = {"fc": "white", "lw": 0, "pad": 1}  # behind words that cross something
SHORT = {
    TOO_FEW: "too few seeds",
    DEARER: "too dear",
    NO_SCALE: "no random mask",
}  # why a cell is not judged, where room is scarce
SHADES = mpl.colormaps["viridis"]


@mpl.rc_context(STYLE)
def differences(cells: pd.DataFrame, first: str, second: str) -> Figure:
    """Paired differences in accuracy against density, with the intervals they are judged by, a panel a place.

    ``cells`` of ``findings.cells``; what is not judged, as of fewer than three seeds, is not drawn. A panel has
    ``MOST`` contrasts, named at their ends: first those that decide a claim, blue, then others, grey. The grey band is
    the margin, M to either side. The axis ends at three times the largest difference at most: what sticks out is an
    interval that tells nothing.
    """
    cells = cells[cells.judgement.isin(JUDGED)]
    groups = by_place(cells)
    figure, axes = panels(len(groups))
    decides = cells.get("decides", pd.Series(True, cells.index)).groupby(cells.contrast, sort=False).any()
    markers = dict(zip(decides.index, MARKERS))
    for ax, (label, group) in zip(axes, groups.items()):
        band = group.groupby("density_asked").margin.first()
        ends = [band.index[0] / 1.3, *band.index, band.index[-1] * 1.3]
        edge = [band.iloc[0], *band, band.iloc[-1]]
        ax.fill_between(ends, np.negative(edge), edge, color="#eeeeee", lw=0)
        ax.axhline(0, color="#555555", lw=0.8)
        lines = {
            contrast: rows
            for contrast, rows in group.sort_values("density_asked", kind="stable").groupby("contrast", sort=False)
        }
        told = sorted(lines, key=lambda contrast: not decides[contrast])[:MOST]
        for nth, contrast in enumerate(told):
            rows = lines[contrast]
            style = {
                "color": BLUE if decides[contrast] else GREY,
                "marker": markers[contrast],
                "ms": 5,
                "lw": 1,
                "capsize": 2,
            }
            ax.errorbar(rows.density_asked * 1.04**nth, rows["mean"], rows.half_width, **style)  # side by side
        shown = pd.concat([lines[contrast] for contrast in told])
        sizes, least = shown["mean"].abs(), shown.margin.max()
        limit = min(3 * max(least, *sizes), 1.2 * max(least, *(sizes + shown.half_width)))
        ax.set(title=heading(label), ylim=(-limit, limit))
        densities(ax, group.density_asked)
        ax.set_ylabel(f"{first} − {second},\npoints of test accuracy")
        last = {contrast: lines[contrast].iloc[0] for contrast in told}
        colours = {contrast: BLUE if decides[contrast] else GREY for contrast in told}
        ends = {contrast: (row.density_asked, row["mean"], colours[contrast]) for contrast, row in last.items()}
        label_ends(ax, ends, 16)
    return figure


@dataclass(frozen=True)
class Row:
    """Of a forest: a difference or ratio, half its interval, its seeds, what it is a mean of, and whether that is
    ``mixed``. One without an interval (NaN) is not drawn, unless it is mixed; in its place stands ``why``."""

    label: str
    mean: float
    half_width: float
    n: str
    each: tuple[float, ...] = ()
    mixed: bool = False
    why: str = SHORT[TOO_FEW]


def forest(claims: list[Claim], overall: Mapping[str, Mapping[str, Effect]] | None = None) -> Figure:
    """Differences in test accuracy on one axis of points, a row a claim and data set (``findings.claims.load``).

    Above them, for each data set, that of the mask to IMP ``overall`` (``findings.headline.overall``).
    A dot with its 95 % interval over seeds, and the number of them; a grey stroke for each cell it is the mean of.
    Nothing is drawn where a cell rests on fewer than three seeds, and no interval where some cells are better and
    others worse. What holds under a condition stands apart from the rest of its claim. Claims that are not about
    accuracy, or with nothing on record, have no row.
    """
    groups: dict[str, list[Row]] = {}
    for contrast, effects in (overall or {}).items():
        groups[f"mask − IMP, {contrast}"] = [_row(dataset, effect) for dataset, effect in effects.items()]
    for claim in claims:
        for answer in claim.verdict.answers if claim.verdict else ():
            if answer.effect:
                called = ", ".join(filter(None, [f"{claim.id}  {claim.short}", answer.under]))
                groups.setdefault(called, []).append(_row(answer.dataset, answer.effect))
    return on_one_axis(groups, linear_to=1)


def _row(called: str, effect: Effect) -> Row:
    return Row(called, effect.mean, effect.half_width, effect.n, effect.each, effect.mixed)


def by_density(cells: pd.DataFrame) -> Figure:
    """The same for cells (``findings.rules.shown``) on record, a row a density: with the intervals they are judged by.

    Those that decide a claim have a row, or where none is on record, or no claim is asked about, all. What is not
    judged says why, and is not drawn.
    """
    groups: dict[str, list[Row]] = {}
    found = cells[cells.n > 0].sort_values([*tables.PLACE, "contrast"], kind="stable")
    decides = found.get("decides", pd.Series(True, found.index))
    for cell in (found[decides] if decides.any() else found).itertuples():
        width = cell.half_width if cell.judgement in JUDGED else math.nan
        place = f"{tables.task(cell.model, cell.dataset, cell.protocol)}, {cell.contrast}"
        row = Row(
            f"{cell.density_asked:g}", cell.mean, width, f"{cell.n:g}", why=SHORT.get(cell.judgement, cell.judgement)
        )
        groups.setdefault(place, []).append(row)
    return on_one_axis(groups)


@mpl.rc_context(STYLE)
def on_one_axis(
    groups: dict[str, list[Row]],
    none: float = 0,
    told: tuple[str, str] = ("points", "+"),
    across: str = "difference in test accuracy, points",
    linear_to: float | None = None,
) -> Figure:
    """The forest of these groups of rows; ``none`` is where there is no effect, and ``told`` what the numbers are, with
    the format of their sign. Beyond ``linear_to`` the axis is logarithmic. LotteryError if there is no row."""
    if not groups:
        raise LotteryError(NOTHING)
    count = sum(1 + len(rows) for rows in groups.values())
    figure = Figure(figsize=(4.6, 0.7 + 0.19 * count))
    ax = figure.add_axes((0.22, 0.55 / figure.get_figheight(), 0.44, 1 - 0.58 / figure.get_figheight()))
    ax.axvline(none, color="#555555", lw=0.8)

    def write(text: str, line: float, x: float, **style: Any) -> None:
        """At ``x``, in widths of the axes."""
        ax.text(x, line, text, transform=ax.get_yaxis_transform(), va="center", **style)

    at = iter(range(count))  # from the top
    for label, rows in groups.items():
        write(label, next(at), -0.45, weight="bold", bbox=PAPER)
        for row, line in zip(rows, at):
            known = not math.isnan(row.half_width)
            write(row.label, line, -0.03, ha="right")
            if known or row.mixed:
                ax.plot(row.each, [line] * len(row.each), "|", color=GREY, ms=6, mew=0.8, alpha=0.7)
                style = {"color": BLUE, "marker": "o", "ms": 5, "capsize": 2}
                ax.errorbar(row.mean, line, xerr=row.half_width if known else None, **style)
                write(number(row.mean, row.half_width, told[1]), line, 1.03)
            else:
                write(row.why, line, 1.03, color=GREY)
            write(row.n, line, 1.73, ha="right")
    write(told[0], -1, 1.03, color=GREY)
    write("seeds", -1, 1.73, ha="right", color=GREY)
    ax.set(ylim=(count - 0.4, -1.6), yticks=[], xlabel=across)
    if linear_to is not None:
        ax.set_xscale("symlog", linthresh=linear_to)
        ax.set_xlabel(f"{across}\n(logarithmic beyond ±{linear_to:g})")
        ax.xaxis.set_major_locator(SymmetricalLogLocator(base=10, linthresh=linear_to, subs=[1, 3]))
        ax.xaxis.set_major_formatter("{x:g}")
    ax.spines["left"].set_visible(False)
    return figure


@mpl.rc_context(STYLE)
def alpha_sensitivity(swept: pd.DataFrame) -> Figure:
    """One search cut at several α's (``relaxed_masks.sweeps``): density, changed weights and accuracy, against α."""
    groups = by_place(swept)
    figure, axes = new_figure(len(groups), 3, (COLUMN, 0.3 + 2.3 * len(groups)))
    shown = {"density": "density", "changed": "share of them dropped", "test_accuracy": "test accuracy, %"}
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
def alpha_at_equal_density(runs: pd.DataFrame) -> Figure:
    """Tickets of seed 0 of equal density, up to ``SPARSE``, from searches that press less or more: accuracy against α.

    ``runs`` of ``relaxed_masks.at_equal_density``; a line a density, named at its end, on an axis of log errors.
    Tickets that are filled up among ties have no α. The dotted line parts small α's from larger ones.
    """
    runs = runs[(runs.tied <= tables.FEW_TIES) & (runs.seed == 0) & (runs.density_asked <= SPARSE)]
    groups = by_place(runs)
    figure, axes = panels(len(groups))
    asked = sorted(runs.density_asked.unique(), reverse=True)
    colours = dict(zip(asked, SHADES(np.linspace(0, 0.6, len(asked)))))
    for ax, (label, group) in zip(axes, groups.items()):
        ends = {}
        for density, rows in group.sort_values("implied_alpha").groupby("density_asked", sort=False):
            error = 100 - rows.test_accuracy
            ax.plot(rows.implied_alpha, error, color=colours[density], marker="o", ms=3, lw=1)
            ends[f"{density:g}"] = rows.implied_alpha.iloc[-1], error.iloc[-1], colours[density]
        ax.axvline(tables.SMALL_ALPHA, color="#555555", ls=":", lw=1)
        accuracy_axis(ax.yaxis, group.test_accuracy.min(), group.test_accuracy.max())
        ax.set(title=label, xlabel="threshold α that yields the density", xlim=(-0.03, 1.03), ylabel="test accuracy, %")
        label_ends(ax, ends)
    return figure


@mpl.rc_context(STYLE)
def modes_by_layer(layers: pd.DataFrame) -> Figure:
    """Heat maps of ``relaxed_masks.decided``, a column a search, a row a layer: entries undecided, and at the top.

    Searches of a penalty stand side by side, the softest first, as means over seeds. A layer counts as bimodal where it
    has a white dot on both sides (``verdicts.bimodal``).
    """
    groups = by_place(layers)
    heights = [1.1 + 0.16 * group.number.nunique() for group in groups.values()]
    figure = Figure((COLUMN, sum(heights)), layout="constrained")
    sides = {
        "between": ("from 0.05 to 0.95, of all entries", lambda share: share <= relaxed_masks.DECIDED),
        "top": ("from 0.95 up, of those from 0.05 up", lambda share: share > 0.5),
    }
    parts = figure.subfigures(len(groups), 1, height_ratios=heights, squeeze=False)
    for part, (place, group) in zip(parts.flat, groups.items()):
        part.suptitle(place, size=9, weight="bold")
        axes = part.subplots(1, 2, sharey=True)
        for ax, (column, (called, passes)) in zip(axes, sides.items()):
            found = group.pivot_table(column, "number", ["name", "pressure"], sort=True)
            shown = ax.imshow(found, cmap="viridis", vmin=0, vmax=1, aspect="auto")
            rows, columns = np.nonzero(passes(found.to_numpy()))
            ax.plot(columns, rows, ls="", marker="o", ms=2.5, color="white", mec=BLACK, mew=0.4)
            names = found.columns.get_level_values("name")
            for name in names.unique():
                first, last = np.nonzero(names == name)[0][[0, -1]]
                ax.axvline(last + 0.5, color="white", lw=2)
                ax.text((first + last) / 2, -0.7, name, ha="center", va="bottom", size=8.5)
            ax.set(xticks=[], xlabel="searches, from soft to hard pressure")
            ax.set_title(called, pad=16)
        names = group.drop_duplicates("number").sort_values("number").layer
        every = range(0, len(names), math.ceil(len(names) / 8))
        axes[0].set_yticks(every, names.iloc[every])
        part.colorbar(shown, ax=axes, shrink=0.9, pad=0.01)
    return figure
