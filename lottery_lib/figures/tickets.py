"""Figures of the ticket chapters: the table of runs, or a record, in; a matplotlib figure out."""

import itertools
import math
import textwrap
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Rectangle
from matplotlib.ticker import NullLocator

from lottery_lib.errors import LotteryError
from lottery_lib.figures.lines import (
    GREY,
    NOTHING,
    accuracy_axis,
    by_place,
    densities,
    first_lines,
    heading,
    label_ends,
    look,
    ticks,
    widths,
)
from lottery_lib.figures.style import BLACK, COLUMN, STYLE, VERMILION, new_figure, panels
from lottery_lib.findings import tables
from lottery_lib.findings.cells import SEEDS, missed

ACROSS = 5  # small panels beside each other
CROWD = 6  # names that a panel has room for beside another one
SPAN = 5.0  # points below the best that an axis reaches
BEHIND = 3.0  # points below the best at which colours end


@mpl.rc_context(STYLE)
def accuracy_against_density(found: pd.DataFrame) -> Figure:
    """Test accuracy of tickets at each density, with 95 % intervals, on an axis of log errors: a large panel a place.

    It has ``lines.first_lines``; each other line has a small panel, with the first of those in grey. No interval is
    drawn from fewer than three seeds. A place without tickets has no panel. ``found`` is of ``comparisons.summary``.
    """
    pruned = found.groupby(tables.PLACE).name.transform(lambda names: names.ne("dense").any()).astype(bool)
    groups = {label: _split(rows) for label, rows in by_place(found[pruned]).items()}
    rows_below = [math.ceil(len(others) / ACROSS) for _, _, others in groups.values()]
    heights = [2.7 + 1.2 * count for count in rows_below]
    figure = Figure((COLUMN, sum(heights)), layout="constrained")
    parts = figure.subfigures(len(groups), 1, height_ratios=heights, squeeze=False)
    for part, count, (label, (dense, first, others)) in zip(parts.flat, rows_below, groups.items()):
        part.suptitle(label, size=9, weight="bold")
        above, below = part.subfigures(2, 1, height_ratios=[2.7, 1.2 * count]) if count else (part, None)
        ax = above.subplots()
        ends = {}
        for called, line in first.items():
            _line(ax, line, **look(called) | {"ms": 3, "lw": 1.3, "label": called})
            ends[called] = line.density.iloc[-1], 100 - line["mean"].iloc[-1], look(called)["color"]
        everything = pd.concat([dense, *first.values(), *others.values()])
        _accuracies(ax, everything)
        densities(ax, everything.density_asked[everything.name != "dense"])
        for accuracy in dense["mean"]:
            ax.axhline(100 - accuracy, color=BLACK, ls=":", lw=1, label="dense")
            ends["dense"] = ax.get_xlim()[1], 100 - accuracy, BLACK
        label_ends(ax, ends)
        if below:
            _multiples(below, count, others, next(iter(first.values())), ax)
    return figure


def _split(rows: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, pd.DataFrame], dict[str, pd.DataFrame]]:
    """The dense network, the first lines, and the others of a place, the highest density first."""
    tickets = rows[rows.name != "dense"].sort_values("density", ascending=False)
    lines = {called: line for called, line in tickets.groupby("name")}
    first = first_lines(lines) or sorted(lines, key=tables.rank)[:4]
    others = sorted(lines.keys() - set(first), key=tables.rank)
    return rows[rows.name == "dense"], *({called: lines[called] for called in names} for names in (first, others))


def _line(ax: Axes, line: pd.DataFrame, **style: Any) -> None:
    ax.errorbar(line.density, 100 - line["mean"], widths(line), **style | {"elinewidth": 0.6, "capsize": 1.5})


def _accuracies(ax: Axes, rows: pd.DataFrame) -> None:
    width = widths(rows)
    accuracy_axis(ax.yaxis, (rows["mean"] - width).min(), (rows["mean"] + width).max())
    ax.set_ylabel("test accuracy, %")


def _multiples(part: SubFigure, count: int, others: dict[str, pd.DataFrame], first: pd.DataFrame, like: Axes) -> None:
    """A small panel for each of ``others``, with the axes of ``like``."""
    axes = part.subplots(count, ACROSS, sharex=True, sharey=True, squeeze=False)
    for ax, (called, line) in itertools.zip_longest(axes.flat, others.items(), fillvalue=("", first)):
        if not called:
            ax.set_axis_off()
            continue
        ax.plot(first.density, 100 - first["mean"], color="#bbbbbb", lw=1)
        _line(ax, line, **look(called) | {"ms": 2, "lw": 1})
        ax.set_title(textwrap.fill(called, 20), size=8.5)
    ax.set(xscale="log", yscale="log", xlim=like.get_xlim(), ylim=like.get_ylim())
    for axis, of in ((ax.xaxis, like.xaxis), (ax.yaxis, like.yaxis)):
        axis.set_minor_locator(NullLocator())
        places, labels = of.get_majorticklocs(), [label.get_text() for label in of.get_majorticklabels()]
        axis.set_ticks([places[0], places[-1]], [labels[0], labels[-1]])


@mpl.rc_context(STYLE)
def accuracy_against_epochs(found: pd.DataFrame, densities: tuple[float | None, ...] = (0.05, 0.01)) -> Figure:
    """What tickets are worth and cost, relative to the dense network: a panel a place and density, a dot a line.

    Across, the training epochs, search and retraining, in multiples of the dense network's; up, the difference in test
    accuracy to it; bars are the 95 % intervals of the tickets' own means. The step line is the Pareto front of what has
    three seeds: none of that is better for as little. What has fewer is hollow, and what missed its density is left
    out. Lines on the front, and ``lines.first_lines``, have their names; those more than ``SPAN`` points below the best
    stand as arrows at the bottom, with their differences. None is the lowest density on record in a place. A density
    that is not on record there has no panel, nor has a place without its dense network. ``found`` is of
    ``comparisons.summary``.
    """
    relative = _relative(found[~missed(found)])
    wanted = relative.density_asked.isin(densities)
    if None in densities:
        wanted |= relative.density_asked == relative.groupby(tables.PLACE).density_asked.transform("min")
    parts = [
        (f"{heading(label)}\ndensity {density:g}", rows)
        for label, group in by_place(relative[wanted]).items()
        for density, rows in sorted(group.groupby("density_asked"), reverse=True, key=lambda part: part[0])
    ]
    crowded = max(len(_worth(rows)[2]) for _, rows in parts) > CROWD
    figure, axes = new_figure(len(parts), 1, (COLUMN, 3.2 * len(parts))) if crowded else panels(len(parts))
    for ax, (title, rows) in zip(axes.flat, parts):
        _cost(ax, rows, crowded)
        ax.set_title(title)
    return figure


def _relative(found: pd.DataFrame) -> pd.DataFrame:
    """Tickets with their ``gain`` in accuracy over the dense network, and their ``cost`` in its epochs."""
    dense = found.loc[found.name == "dense", [*tables.PLACE, "mean", "total_epochs"]]
    both = found[found.name != "dense"].merge(dense, on=tables.PLACE, suffixes=("", "_dense"))
    return both.assign(gain=both["mean"] - both.mean_dense, cost=both.total_epochs / both.total_epochs_dense)


def front(rows: pd.DataFrame) -> pd.DataFrame:
    """Of ``rows`` with ``cost``, ``gain`` and enough seeds ``n`` those that no other is better than for as little."""
    ordered = rows[rows.n >= SEEDS].sort_values(["cost", "gain"], ascending=[True, False])
    return ordered[ordered.gain > ordered.gain.cummax().shift(fill_value=-math.inf)]


def _worth(rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame, set[str]]:
    """Of a panel's rows: those too low for it, the worst first, those in it, and which of these lines are named."""
    in_it = rows.gain >= rows.gain.max() - SPAN
    shown = rows[in_it]
    return rows[~in_it].sort_values("gain"), shown, {*first_lines(shown.name), *front(shown).name}


def _cost(ax: Axes, rows: pd.DataFrame, wide: bool) -> None:
    low, shown, named = _worth(rows)
    best, errors = front(shown), shown.half_width.where(shown.n >= SEEDS, 0)
    for row, error in zip(shown.itertuples(), errors):
        style = look(row.name) if row.name in named else {"color": GREY, "marker": "o", "ms": 3}
        counts = row.n >= SEEDS
        fill = {"mfc": style["color"]} if counts else {"mfc": "white", "zorder": 1.5}  # beneath what counts
        ax.errorbar(row.cost, row.gain, error, **style | {"ls": "", "elinewidth": 0.6, "label": row.name} | fill)
    most, top = 1.2 * rows.cost.max(), max(0, (shown.gain + errors).max())
    line = 0.155 / (2.5 if wide else 1.6)  # of text, in heights of the axes
    foot, least = 0.04 + line * len(low), (shown.gain - errors).min()
    height = (top - least + 0.1) / (0.92 - foot)  # so that nothing lies beneath what is said at the foot
    if len(best):
        ax.plot(
            [*best.cost, most], [*best.gain, best.gain.max()], drawstyle="steps-post", color=BLACK, lw=0.8, zorder=0
        )
    ax.axhline(0, color=BLACK, ls=":", lw=1)
    ax.set(xscale="log", xlabel="training epochs / dense", ylabel="accuracy − dense, points")
    ax.set_xlim(rows.cost.min() / 1.2, most)
    ax.set_ylim(least - foot * height, top + 0.08 * height)
    ticks(ax.xaxis, rows.cost, 1.25 if wide else 1.6)
    for place, row in enumerate(low.itertuples()):
        text = f"↓ {row.name}: −{abs(row.gain):.1f}"
        ax.text(0.02, 0.02 + line * place, text, transform=ax.transAxes, size=8.5, color=GREY)
    ends = {row.name: (row.cost, row.gain, look(row.name)["color"]) for row in shown.itertuples() if row.name in named}
    label_ends(ax, ends, 40 if wide else 16)


@mpl.rc_context(STYLE)
def accuracy_by_lambda(found: pd.DataFrame) -> Figure:
    """Heat maps of the validation accuracy of searches with λ by hand, of one place: a panel an η_m, λ by density.

    ``found`` is of ``tuning.by_lambda``. Colour is the distance to the best at that density, ``BEHIND`` points and more
    in one colour; the numbers are accuracies. Framed: the best at its density. In brackets: not the paper's ticket.
    """
    if found.empty:
        raise LotteryError(NOTHING)
    rates = {rate: rows for rate, rows in found.groupby("mask_lr")}
    columns = sorted(found.density_asked.unique(), reverse=True)
    heights = [rows.lam.nunique() + 1 for rows in rates.values()]
    figure = Figure((COLUMN, 0.6 + 0.27 * sum(heights)), layout="constrained")
    axes = figure.subplots(len(rates), 1, squeeze=False, sharex=True, height_ratios=heights)[:, 0]
    for ax, (rate, rows) in zip(axes, rates.items()):
        lambdas = sorted(rows.lam.unique())
        grid = rows.pivot(index="lam", columns="density_asked", values="behind").reindex(index=lambdas, columns=columns)
        shown = ax.imshow(grid, cmap="viridis_r", vmin=0, vmax=BEHIND, aspect="auto")
        for row in rows.itertuples():
            x, y = columns.index(row.density_asked), lambdas.index(row.lam)
            text = f"({row.accuracy:.1f})" if row.soft else f"{row.accuracy:.1f}"
            ax.text(x, y, text, ha="center", va="center", size=8.5, color="white" if row.behind > BEHIND / 2 else BLACK)
            if row.behind == 0:
                ax.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, fill=False, ec=VERMILION, lw=1.5, zorder=3))
        ax.set(title=f"ηₘ = {rate:g}", ylabel="λ")
        ax.set_yticks(range(len(lambdas)), [f"{lam:.2g}" for lam in lambdas])
    axes[-1].set_xticks(range(len(columns)), [f"{density:g}" for density in columns])
    axes[-1].set_xlabel("density")
    figure.colorbar(shown, ax=axes, label="points below the best at that density", extend="max", shrink=0.8)
    return figure
