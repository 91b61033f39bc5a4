"""Figures of the ticket chapters: the table of runs, or a record, in; a matplotlib figure out."""

from collections.abc import Mapping

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from . import analysis
from .style import BLACK, BLUE, GREEN, ORANGE, PURPLE, SKY, STYLE, VERMILION, new_figure

GREY = "#777777"
LINES = dict(zip(  # method -> colour and line style: methods that search without training are grey
    analysis.NAMES.values(),
    [
        (BLACK, ":"), (BLUE, "-"), (SKY, "-"), (VERMILION, "-"), (VERMILION, "--"), (ORANGE, "-"), (PURPLE, "-"),
        (GREEN, "-"), (GREEN, "--"), (GREY, "-"), (GREY, "--"), (GREY, "-."), (GREY, ":"), (BLUE, ":"), (BLUE, "--"),
    ],
))  # fmt: skip
MARKERS = {"-": "o", "--": "s", "-.": "D", ":": "v"}  # where there are points and no lines


@mpl.rc_context(STYLE)
def accuracy_against_density(found: pd.DataFrame, floor: float = 90.0) -> Figure:
    """Test accuracy of each method at each density, with 95 % intervals; below ``floor`` percent the axis ends."""
    figure, ((whole, close),) = new_figure(1, 2, (9, 4.2), sharex=True)
    dense = found[found.name == "dense"]
    top = found["mean"].max()
    for called, rows in found[found.name != "dense"].groupby("name", sort=False):
        colour, style = LINES.get(called, (PURPLE, "--"))
        for ax in (whole, close):
            ax.errorbar(
                rows.density, rows["mean"], rows.half_width.fillna(0), color=colour, ls=style, lw=1.3, marker="o",
                ms=2.5, capsize=2, label=called,
            )  # fmt: skip
    for ax in (whole, close):
        if len(dense):
            ax.axhline(dense["mean"].iloc[0], color=BLACK, ls=":", lw=1, label="dense")
        ax.set(xscale="log", xlabel="density: share of weights kept")
        ax.xaxis.set_major_formatter("{x:g}")
    whole.invert_xaxis()
    whole.set(ylabel="test accuracy, %", ylim=(floor, top + 0.3), title="all methods")
    close.set(ylim=(top - 2.5, top + 0.3), title="the best of them, closer")
    figure.legend(*whole.get_legend_handles_labels(), loc="outside right center")
    return figure


@mpl.rc_context(STYLE)
def accuracy_against_epochs(
    found: pd.DataFrame, densities: tuple[float, ...] = (0.05, 0.01), span: float = 5.0
) -> Figure:
    """Test accuracy against all training epochs spent, search and retraining, one panel a density.

    Methods more than ``span`` points below the best of a panel lie outside of it.
    """
    figure, axes = new_figure(1, len(densities), (9, 3.8))
    shown = {}
    for ax, density in zip(axes.flat, densities):
        rows = found[found.density_asked == density]
        for row in rows.itertuples():
            colour, style = LINES.get(row.name, (PURPLE, "--"))
            filled = colour if style == "-" else "none"
            error = 0 if row.n == 1 else row.half_width
            shown[row.name] = ax.errorbar(
                row.total_epochs, row.mean, error, color=colour, marker=MARKERS[style], mfc=filled, ls="", capsize=2,
                label=row.name,
            )  # fmt: skip
        ax.set(xscale="log", xlabel="training epochs in all", title=f"density {density:g}")
        ax.set_ylim(max(rows["mean"].max() - span, rows["mean"].min() - 0.2), rows["mean"].max() + 0.3)
        ax.xaxis.set_major_formatter("{x:g}")
        ax.xaxis.set_minor_formatter("")
    axes[0, 0].set_ylabel("test accuracy, %")
    figure.legend(shown.values(), shown.keys(), loc="outside right center")
    return figure


@mpl.rc_context(STYLE)
def mask_histograms(records: Mapping[str, tuple[dict, dict[str, np.ndarray]]]) -> Figure:
    """The relaxed masks at the end of their searches, a column a record, a row a layer; counts are logarithmic.

    The first and the last bar are the entries that are exactly 0 and exactly 1.
    """
    layers = [layer["layer"] for layer in next(iter(records.values()))[0]["layers"]]
    size = (4.2 * len(records), 1.6 * len(layers))
    figure, axes = new_figure(len(layers), len(records), size, sharex=True, sharey="row")
    for column, (called, (_, arrays)) in enumerate(records.items()):
        for row, (layer, counts) in enumerate(zip(layers, arrays["histogram"])):
            ax, bins = axes[row, column], len(counts) - 2
            ax.bar((np.arange(bins) + 0.5) / bins, counts[1:-1], 1 / bins, color=SKY, lw=0)
            ax.bar([-0.02, 1.02], [counts[0], counts[-1]], 0.02, color=[VERMILION, BLUE], lw=0)
            ax.set(yscale="log", ylim=(0.5, None))
            if not column:
                ax.set_ylabel(layer.removesuffix(".weight"))
        axes[0, column].set_title(called)
        axes[-1, column].set_xlabel("mask entry m")
    return figure


@mpl.rc_context(STYLE)
def kept_pixels(masks: Mapping[str, np.ndarray]) -> Figure:
    """How many of each pixel's first-layer weights are kept; ``masks``: name -> that layer's mask (units, pixels)."""
    figure, axes = new_figure(1, len(masks), (2.3 * len(masks), 2.5), subplot_kw={"xticks": [], "yticks": []})
    for ax, (called, mask) in zip(axes.flat, masks.items()):
        counts = mask.sum(0)
        side = int(np.sqrt(len(counts)))
        shown = ax.imshow(counts.reshape(side, side), cmap="magma_r", vmin=0)
        ax.set_title(called)
        ax.spines[:].set_visible(True)
        figure.colorbar(shown, ax=ax, shrink=0.7)
    return figure


@mpl.rc_context(STYLE)
def alpha_sweep(table: pd.DataFrame) -> Figure:
    """Runs of one search at several thresholds α: the density each α gives, and the test accuracy of its ticket."""
    runs = table[table.alpha.notna()].groupby("alpha", as_index=False)[["density", "test_accuracy"]].mean()
    figure, ((density, accuracy),) = new_figure(1, 2, (7, 2.8))
    density.plot(runs.alpha, runs.density, color=BLUE, marker="o", ms=3)
    accuracy.plot(runs.density, runs.test_accuracy, color=BLUE, marker="o", ms=3)
    for row in runs.itertuples():
        place = (row.density, row.test_accuracy)
        accuracy.annotate(f"α = {row.alpha:g}", place, (3, 3), textcoords="offset points", size=7)
    density.set(xscale="log", xlabel="threshold α", ylabel="density", ylim=(0, None))
    accuracy.set(xscale="log", xlabel="density", ylabel="test accuracy, %")
    accuracy.invert_xaxis()
    for axis in (density.xaxis, accuracy.xaxis):
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter("")
    return figure
