"""Figures of relaxed masks at the end of their searches, and of the binary ones that come of them."""

from collections.abc import Mapping

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lottery_lib import weights
from lottery_lib.errors import LotteryError
from lottery_lib.figures.lines import GREY, NOTHING, look
from lottery_lib.figures.style import BLACK, BLUE, COLUMN, SKY, STYLE, new_figure
from lottery_lib.findings import relaxed_masks

LAYERS = 3  # drawn of a network that has more
Places = Mapping[str, Mapping[str, tuple[dict, dict[str, np.ndarray]]]]  # place -> line -> a record and its arrays


@mpl.rc_context(STYLE)
def mask_histograms(places: Places, most: int = LAYERS) -> Figure:
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
def mask_ridges(places: Places) -> Figure:
    """The same as ridges, one above the other: a column a layer, of ``LAYERS`` at most, a ridge a record.

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
        layers = _some_layers(next(iter(found.values()))[0], LAYERS)
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
    names = [weights.layer(layer["layer"]) for layer in record["layers"]]
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
