"""Figures of the convex sanity experiment: its record in, a matplotlib figure out."""

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from lottery_lib.experiments import logistic
from lottery_lib.figures.style import BLACK, BLUE, COLUMN, GREEN, ORANGE, SKY, STYLE, VERMILION, new_figure

LOGISTIC_COLOURS = dict(zip([*logistic.METHODS, logistic.REFEREE], [ORANGE, VERMILION, GREEN, SKY, BLUE, BLACK]))


@mpl.rc_context(STYLE)
def logistic_convergence(record: dict, arrays: dict[str, np.ndarray]) -> Figure:
    """Claim C1, per iteration: objective, sign flips, and share of weights that are exactly zero."""
    figure, ((objective, flips, zeros),) = new_figure(1, 3, (COLUMN, 3.2))
    iterations = np.arange(1, record["config"]["iterations"] + 1)
    for row, (name, colour) in enumerate(LOGISTIC_COLOURS.items()):
        if name == logistic.REFEREE:
            final = record["methods"][name]
            objective.axhline(final["objective"], color=colour, lw=1, ls=":", label=name)
            zeros.axhline(final["zeros"], color=colour, lw=1, ls=":")
            continue
        objective.plot(iterations, arrays["objective"][row], color=colour, lw=1.3, label=name)
        flips.plot(iterations, arrays["flips"][row], color=colour, lw=0.8, rasterized=True)
        zeros.plot(iterations, arrays["zeros"][row], color=colour, lw=1.3)
    objective.set(yscale="log", title="objective, each its own", xlabel="iteration", xscale="log")
    objective.yaxis.set_major_formatter("{x:g}")
    objective.yaxis.set_minor_locator(LogLocator(subs=(2, 3, 5)))
    objective.yaxis.set_minor_formatter("{x:g}")
    flips.set(title="weights that change sign", xlabel="iteration", xscale="log", yscale="symlog", ylim=(-0.2, None))
    zeros.set(title="share of exact zeros", xlabel="iteration", xscale="log", ylim=(-0.02, 1.02))
    for axis in (objective.xaxis, flips.xaxis, flips.yaxis, zeros.xaxis):
        axis.set_major_formatter("{x:g}")  # exponents would be too small to read
    figure.legend(*objective.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


@mpl.rc_context(STYLE)
def logistic_paths(record: dict, arrays: dict[str, np.ndarray], last: int = 40) -> Figure:
    """Paths of single weights: the whole run above, the last iterations of the unneeded ones below."""
    figure, axes = new_figure(2, len(logistic.METHODS), (COLUMN, 4.2), sharex="row")
    total = record["config"]["iterations"]
    iterations = np.arange(1, total + 1)
    dropped = slice(logistic.TRACED // 2, None)
    shift = np.abs(arrays["path"][:, -last:, dropped]).max() * 1.15
    for row, name in enumerate(logistic.METHODS):
        (whole, end), path = axes[:, row], arrays["path"][row]
        whole.plot(iterations, path, color=LOGISTIC_COLOURS[name], lw=0.7, rasterized=True)
        end.plot(iterations[-last:], path[-last:, dropped], color=LOGISTIC_COLOURS[name], lw=0.9, marker=".", ms=2.5)
        whole.set(title=_two_lines(name), xscale="log")
        whole.xaxis.set_major_formatter("{x:g}")
        end.set(ylim=(-shift, shift), xlabel="iteration")
        if row:
            end.tick_params(labelleft=False)
    axes[0, 0].set_ylabel("weight: all traced")
    axes[1, 0].set_ylabel("weight: unneeded, late")
    return figure


@mpl.rc_context(STYLE)
def logistic_maps(record: dict, arrays: dict[str, np.ndarray]) -> Figure:
    """The images of the weights (blue: speaks for the first class, red: for the second) and of what is kept."""
    names = [*logistic.METHODS, logistic.REFEREE]
    figure, axes = new_figure(2, len(names), (COLUMN, 3.4), subplot_kw={"xticks": [], "yticks": []})
    side = int(np.sqrt(arrays["weights"].shape[1]))
    masks = iter(arrays["masks"])
    for column, (name, w) in enumerate(zip(names, arrays["weights"])):
        kept = next(masks) if logistic.is_masked(name) else (w != 0).astype(float)
        above, below = axes[:, column]
        limit = np.abs(w).max()
        above.imshow(w.reshape(side, side), cmap="RdBu_r", vmin=-limit, vmax=limit)
        below.imshow(kept.reshape(side, side), cmap="gray_r", vmin=0, vmax=1)
        final = record["methods"][name]
        above.set_title(_two_lines(name), fontsize=8.5)
        right = logistic.accuracy(final["test_accuracy"], record["images"]["test"], 1)
        below.set_xlabel(f"{final['kept']} of {len(w)} kept\n{right} test")
    axes[0, 0].set_ylabel("weight w")
    axes[1, 0].set_ylabel("mask m, or w ≠ 0")
    for ax in axes.flat:
        ax.spines[:].set_visible(True)
    return figure


def _two_lines(method: str) -> str:
    return method.replace(", ", "\n").replace("proximal ", "")
