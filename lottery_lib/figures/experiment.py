"""Figures of one run: its record in, a matplotlib figure out."""

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lottery_lib import weights
from lottery_lib.errors import LotteryError
from lottery_lib.figures.style import BLACK, BLUE, COLUMN, PURPLE, SKY, STYLE, VERMILION, new_figure


@mpl.rc_context(STYLE)
def curves(record: dict) -> Figure:
    """Epoch by epoch: loss and validation accuracy of the search and of the retraining, and the mask's density and λ.

    What a record does not hold is left out; the search of a method without one is no line.
    """
    phases = {"search": record.get("search", []), "retraining": record["history"]}
    watched = [epoch for epoch in record.get("search", []) if "density" in epoch]
    watched = watched or record.get("calibration", {}).get("epochs", [])  # of records that do not hold their search
    shown = {"loss": "training loss", "val_accuracy": "validation accuracy, %"}
    moving = [key for key in ("density", "lam") if any(key in epoch for epoch in watched)]
    figure, ((*axes,),) = new_figure(1, len(shown) + bool(moving), (COLUMN, 2.7))
    for ax, (key, called) in zip(axes, shown.items()):
        for (phase, epochs), colour in zip(phases.items(), (VERMILION, BLUE)):
            values = [epoch[key] for epoch in epochs if key in epoch]
            if values:
                ax.plot(range(1, len(values) + 1), values, color=colour, marker=".", label=phase)
        _by_epoch(ax, called)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper left", ncols=2)
    if moving:
        _mask(axes[-1], watched, moving, "from α up" if "calibration" in record else "above 0")
    return figure


def _mask(ax: Axes, watched: list[dict], moving: list[str], counted: str) -> None:
    numbers = range(1, len(watched) + 1)
    ax.plot(numbers, [epoch["density"] for epoch in watched], color=BLACK, marker=".")
    _by_epoch(ax, f"share of entries {counted}")
    ax.set(ylim=(0, 1.02))
    if "lam" in moving:
        other = ax.twinx()
        other.plot(numbers, [epoch["lam"] for epoch in watched], color=PURPLE, ls="--", marker=".")
        other.set(yscale="log", ylabel="λ")
        other.yaxis.label.set_color(PURPLE)
        other.spines["right"].set_visible(True)


def _by_epoch(ax: Axes, called: str) -> None:
    ax.set(xlabel="epoch", ylabel=called)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))


@mpl.rc_context(STYLE)
def layers(record: dict) -> Figure:
    """The share of weights that each layer keeps, from the input to the output; dotted: of the whole network.

    LotteryError if the run found no ticket.
    """
    if not record.get("layers"):
        raise LotteryError("the dense network has no ticket; take another method")
    names = [weights.layer(layer["layer"]) for layer in record["layers"]]
    figure, ((ax,),) = new_figure(1, 1, (max(4.0, min(COLUMN, 0.4 * len(names) + 2)), 2.9))
    ax.bar(range(len(names)), [layer["density"] for layer in record["layers"]], color=SKY)
    ax.axhline(record["density"], color="#555555", ls=":", lw=1)
    ax.set_xticks(
        range(len(names)), names, rotation=60 if len(names) > 6 else 0, ha="right" if len(names) > 6 else "center"
    )
    ax.set(ylabel="share of weights kept", ylim=(0, None))
    return figure


@mpl.rc_context(STYLE)
def threshold(record: dict, arrays: dict[str, np.ndarray]) -> Figure:
    """What density the relaxed mask of this search gives at each threshold α; the point is the ticket's own density.

    LotteryError if the search moved no mask.
    """
    if "histogram" not in arrays:
        raise LotteryError("this method relaxes no mask, so there is no threshold to move; take concave")
    counts = arrays["histogram"].sum(0)
    alphas = np.linspace(0, 1, len(counts) - 1)
    densities = counts[1:][::-1].cumsum()[::-1] / counts.sum()
    figure, ((ax,),) = new_figure(1, 1, (4.2, 2.7))
    ax.step(alphas, densities, where="post", color=BLUE)
    ax.axhline(record["density"], color="#555555", ls=":", lw=1)
    ax.set(xlabel="threshold α", ylabel="share of entries from α up")
    if densities[0] > 10 * densities[-1]:
        ax.set_yscale("log")
    else:
        ax.set_ylim(0, 1.1 * densities[0])
    return figure
