"""Figures of the ticket chapters: the table of runs, or a record, in; a matplotlib figure out."""

import math
from collections.abc import Mapping

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lottery_lib.errors import LotteryError
from lottery_lib.figures.lines import GREY, NOTHING, accuracy_limits, by_place, densities, heading, look, ticks
from lottery_lib.figures.style import BLACK, BLUE, COLUMN, SKY, STYLE, new_figure, panels
from lottery_lib.findings import relaxed_masks, tables
from lottery_lib.findings.cells import SEEDS


@mpl.rc_context(STYLE)
def accuracy_against_density(found: pd.DataFrame) -> Figure:
    """Test accuracy of each line at each density, with 95 % intervals: a panel a place, and one of the top of it.
    No interval is drawn from fewer than three seeds.

    Their axes end where the error is 6 and 2.5 times that of the best; where the second would show little less than the
    first, it is left out. ``found`` is of ``comparisons.summary``.
    """
    parts = [(label, rows, limits) for label, rows in by_place(found).items() for limits in _cuts(rows)]
    figure, axes = panels(len(parts))
    drawn, shown = set(), {}
    for ax, (label, rows, limits) in zip(axes, parts):
        lines, dense = rows[rows.name != "dense"], rows[rows.name == "dense"]
        for called, line in lines.groupby("name", sort=False):
            style = look(called) | {"ms": 3, "lw": 1.3, "elinewidth": 0.6, "capsize": 1.5}
            width = line.half_width.where(line.n >= SEEDS, 0)
            shown[called] = ax.errorbar(line.density, line["mean"], width, label=called, **style)
        if len(dense):
            shown["dense"] = ax.axhline(dense["mean"].iloc[0], color=BLACK, ls=":", lw=1, label="dense")
        ax.set(ylabel="test accuracy, %", ylim=limits)
        ax.set_title(heading(f"{label}: the top" if label in drawn else label))
        densities(ax, lines.density_asked)
        drawn.add(label)
    _legend(figure, shown)
    return figure


def _cuts(rows: pd.DataFrame) -> list[tuple[float, float]]:
    least, best = (rows["mean"] - rows.half_width.where(rows.n >= SEEDS, 0)).min(), rows["mean"].max()
    whole, close = (accuracy_limits(least, best, factor) for factor in (6, 2.5))
    return [whole, close] if whole[1] - whole[0] > 1.5 * (close[1] - close[0]) else [whole]


@mpl.rc_context(STYLE)
def accuracy_against_epochs(
    found: pd.DataFrame, densities: tuple[float | None, ...] = (0.05, 0.01), span: float = 5.0
) -> Figure:
    """Test accuracy against all training epochs spent, search and retraining: a panel a place and density.

    None is the lowest density on record in a place. A density that is not on record there has no panel. Lines more than
    ``span`` points below the best of a panel lie outside of it.
    """
    wanted = found.density_asked.isin(densities)
    if None in densities:
        wanted |= found.density_asked == found.groupby(tables.PLACE).density_asked.transform("min")
    parts = [
        (f"{heading(label)}\n{100 * density:g} % kept", rows)
        for label, group in by_place(found[wanted]).items()
        for density, rows in sorted(group.groupby("density_asked"), reverse=True, key=lambda part: part[0])
    ]
    figure, axes = panels(len(parts))
    shown = {}
    for ax, (title, rows) in zip(axes, parts):
        for row in rows.itertuples():
            error = row.half_width if row.n >= SEEDS else 0
            style = look(row.name) | {"ls": "", "elinewidth": 0.6, "label": row.name}
            shown[row.name] = ax.errorbar(row.total_epochs, row.mean, error, **style)
        best, room = rows["mean"].max(), 0.06 * span
        ax.set(xscale="log", xlabel="training epochs in all", ylabel="test accuracy, %", title=title)
        ax.set_ylim(max(best - span, rows["mean"].min()) - room, best + room)
        ticks(ax.xaxis, rows.total_epochs)
    _legend(figure, shown)
    return figure


def _legend(figure: Figure, shown: dict[str, Artist]) -> None:
    """The lines of all panels, below them, in room of its own."""
    names = sorted(shown, key=tables.rank)
    columns = 3 if max(map(len, names)) < 40 else 2  # else the figure widens, and its type shrinks on the page
    figure.set_figheight(figure.get_figheight() + 0.17 * math.ceil(len(names) / columns))
    figure.legend([shown[called] for called in names], names, loc="outside lower center", ncols=columns)


@mpl.rc_context(STYLE)
def mask_histograms(places: Mapping[str, Mapping[str, tuple[dict, dict[str, np.ndarray]]]], most: int = 3) -> Figure:
    """The relaxed masks at the end of their searches, a column a record, a row a layer; counts are logarithmic.

    The first, grey, and the last bar are the entries that are exactly 0 and exactly 1. Of a network with many layers,
    ``most`` are shown, evenly spaced from the first to the last. In a panel: the share of its entries from 0.05 to
    below 0.95. LotteryError if there is no record.
    """
    if not places:
        raise LotteryError(NOTHING)
    drawn = {place: _some_layers(next(iter(found.values()))[0], most) for place, found in places.items()}
    height = sum(map(len, drawn.values()))
    figure = Figure((COLUMN, 1.6 * height + 0.3 * len(places)), layout="constrained")
    parts = figure.subfigures(len(places), 1, squeeze=False, height_ratios=[len(layers) for layers in drawn.values()])
    for part, (place, found) in zip(parts.flat, places.items()):
        part.suptitle(place, size=9, weight="bold")
        axes = part.subplots(len(drawn[place]), len(found), squeeze=False, sharex=True, sharey="row")
        for column, (called, (_, arrays)) in zip(axes.T, found.items()):
            column[0].set_title(called)
            column[-1].set_xlabel("mask entry m")
            for ax, (layer, _) in zip(column, drawn[place]):
                _histogram(ax, arrays["histogram"][layer])
        for ax, (_, called) in zip(axes[:, 0], drawn[place]):
            ax.set_ylabel(called)
    return figure


@mpl.rc_context(STYLE)
def mask_ridges(places: Mapping[str, Mapping[str, tuple[dict, dict[str, np.ndarray]]]], most: int = 3) -> Figure:
    """The same as ridges, one above the other: a column a layer, of ``most`` at most, a ridge a record.

    A ridge is as high as the logarithm of the count; grey at its left are the entries that are exactly 0, dark at its
    right those that are exactly 1.
    """
    if not places:
        raise LotteryError(NOTHING)
    height = [0.9 + 0.42 * len(found) for found in places.values()]
    figure = Figure((COLUMN, sum(height)), layout="constrained")
    parts = figure.subfigures(len(places), 1, height_ratios=height, squeeze=False)
    for part, (place, found) in zip(parts.flat, places.items()):
        part.suptitle(place, size=9, weight="bold")
        layers = _some_layers(next(iter(found.values()))[0], most)
        axes = part.subplots(1, len(layers), squeeze=False, sharey=True)[0]
        for ax, (layer, called) in zip(axes, layers):
            for base, (name, (_, arrays)) in zip(range(len(found))[::-1], found.items()):
                _ridge(ax, arrays["histogram"][layer], base, look(name)["color"])
            ax.set(title=called, xlabel="mask entry m")
            ax.spines["left"].set_visible(False)
            ax.tick_params(left=False)
        axes[0].set_yticks(np.arange(len(found))[::-1] + 0.3, [*found])
    return figure


def _ridge(ax: Axes, counts: np.ndarray, base: float, colour: str) -> None:
    size = np.log1p(counts) / np.log1p(counts.max()) * 0.85
    middles = (np.arange(len(counts) - 2) + 0.5) / (len(counts) - 2)
    ax.fill_between(middles, base, base + size[1:-1], color=colour, alpha=0.7, lw=0)
    ax.bar([-0.03, 1.03], size[[0, -1]], 0.03, bottom=base, color=[GREY, BLACK], lw=0)
    ax.plot([-0.045, 1.045], [base, base], color="#999999", lw=0.5)


def _some_layers(record: dict, most: int) -> list[tuple[int, str]]:
    names = [layer["layer"].removesuffix(".weight") for layer in record["layers"]]
    places = np.linspace(0, len(names) - 1, min(most, len(names))).round().astype(int)
    return [(place, names[place]) for place in places]


def _histogram(ax: Axes, counts: np.ndarray) -> None:
    bins = len(counts) - 2
    ax.stairs(counts[1:-1], np.linspace(0, 1, bins + 1), fill=True, color=SKY)
    ax.bar([-0.02, 1.02], [counts[0], counts[-1]], 0.02, color=[GREY, BLUE], lw=0)
    ax.set(yscale="log", ylim=(0.5, None))
    ax.yaxis.set_major_formatter("{x:,g}")
    between = f"{100 * relaxed_masks.shares(counts)['between']:.1f} % between"
    ax.annotate(between, (0.97, 0.95), xycoords="axes fraction", ha="right", va="top", size=8.5)


@mpl.rc_context(STYLE)
def kept_pixels(masks: Mapping[str, np.ndarray]) -> Figure:
    """How many of each pixel's first-layer weights are kept; ``masks``: name -> that layer's mask (units, pixels)."""
    figure, axes = new_figure(1, len(masks), (COLUMN, 2.2), subplot_kw={"xticks": [], "yticks": []})
    for ax, (called, mask) in zip(axes.flat, masks.items()):
        counts = mask.sum(0)
        side = int(np.sqrt(len(counts)))
        shown = ax.imshow(counts.reshape(side, side), cmap="magma_r", vmin=0)
        ax.set_title(called)
        ax.spines[:].set_visible(True)
        figure.colorbar(shown, ax=ax, shrink=0.7)
    return figure
