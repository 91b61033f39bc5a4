"""One function a figure: a record in, a matplotlib figure out. ``draw_all`` remakes the files in ``figures/``."""

from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from matplotlib.ticker import LogLocator

from . import (
    analysis,
    claim_figures,
    comparisons,
    costs,
    experiments,
    logistic,
    paths,
    records,
    regularizers,
    thresholds,
    ticket_figures,
    verdicts,
)
from .style import BLACK, BLUE, GREEN, ORANGE, PURPLE, SKY, STYLE, VERMILION, new_figure

LOGISTIC_COLOURS = dict(zip([*logistic.METHODS, logistic.REFEREE], [ORANGE, VERMILION, GREEN, SKY, BLUE, BLACK]))


@mpl.rc_context(STYLE)
def logistic_convergence(record: dict, arrays: dict[str, np.ndarray]) -> Figure:
    """Claim C1, per iteration: objective, sign flips, and share of weights that are exactly zero."""
    figure, ((objective, flips, zeros),) = new_figure(1, 3, (9, 3.4))
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
    figure.legend(*objective.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


@mpl.rc_context(STYLE)
def logistic_paths(record: dict, arrays: dict[str, np.ndarray], last: int = 40) -> Figure:
    """Paths of single weights: the whole run above, the last iterations of the unneeded ones below."""
    figure, axes = new_figure(2, len(logistic.METHODS), (10, 4.2), sharex="row")
    total = record["config"]["iterations"]
    iterations = np.arange(1, total + 1)
    dropped = slice(logistic.TRACED // 2, None)
    shift = np.abs(arrays["path"][:, -last:, dropped]).max() * 1.15
    for row, name in enumerate(logistic.METHODS):
        (whole, end), path = axes[:, row], arrays["path"][row]
        whole.plot(iterations, path, color=LOGISTIC_COLOURS[name], lw=0.7, rasterized=True)
        end.plot(iterations[-last:], path[-last:, dropped], color=LOGISTIC_COLOURS[name], lw=0.9, marker=".", ms=2.5)
        whole.set(title=_two_lines(name), xscale="log")
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
    figure, axes = new_figure(2, len(names), (10.5, 4.1), subplot_kw={"xticks": [], "yticks": []})
    side = int(np.sqrt(arrays["weights"].shape[1]))
    masks = iter(arrays["masks"])
    for column, (name, w) in enumerate(zip(names, arrays["weights"])):
        kept = next(masks) if logistic.is_masked(name) else (w != 0).astype(float)
        above, below = axes[:, column]
        limit = np.abs(w).max()
        above.imshow(w.reshape(side, side), cmap="RdBu_r", vmin=-limit, vmax=limit)
        below.imshow(kept.reshape(side, side), cmap="gray_r", vmin=0, vmax=1)
        final = record["methods"][name]
        above.set_title(_two_lines(name), fontsize=8)
        below.set_xlabel(f"{final['kept']} of {len(w)} kept\n{final['test_accuracy']:.1f} % test")
    axes[0, 0].set_ylabel("weight w")
    axes[1, 0].set_ylabel("mask m, or w ≠ 0")
    for ax in axes.flat:
        ax.spines[:].set_visible(True)
    return figure


@mpl.rc_context(STYLE)
def penalties() -> Figure:
    """Every regulariser of the library at its default shape: r(m), and its slope r'(m), the pull towards zero."""
    figure, ((value, slope),) = new_figure(1, 2, (7.5, 2.8))
    m = torch.linspace(0, 1, 201, dtype=torch.float64)
    for (name, cls), colour in zip(regularizers.REGULARIZERS.items(), (SKY, BLUE, PURPLE, GREEN, ORANGE)):
        shape = ", ".join(f"{key} = {number:g}" for key, number in vars(cls()).items())
        value.plot(m, cls().value(m), color=colour, label=f"{name} ({shape})" if shape else name)
        slope.plot(m, cls().gradient(m), color=colour)
    value.set(title="penalty r(m)", xlabel="mask entry m")
    slope.set(title="slope r′(m)", xlabel="mask entry m", yscale="log", ylim=(0.05, 20))
    slope.yaxis.set_major_formatter("{x:g}")
    figure.legend(*value.get_legend_handles_labels(), loc="outside right center")
    return figure


STATIONS = (  # of the pipeline: heading, text, colour
    ("dense start", "weights θ₀\nmask m = 1", "#eeeeee"),
    ("search", "descend on θ,\nproject m to [0, 1]", "#d6ecfa"),
    ("threshold", "keep m ≥ α", "#d6ecfa"),
    ("rewind", "θ₀ where kept,\n0 elsewhere", "#fde8cc"),
    ("retrain", "the ticket alone", "#fde8cc"),
)


@mpl.rc_context(STYLE)
def pipeline() -> Figure:
    """The method's stations in a row, with the way back for another round."""
    figure, ((ax,),) = new_figure(1, 1, (8.5, 2.1))
    ax.set(xlim=(-0.05, 5.05), ylim=(-0.62, 1.05))
    ax.axis("off")
    for x, (heading, text, colour) in enumerate(STATIONS):
        ax.add_patch(FancyBboxPatch((x + 0.08, 0.08), 0.76, 0.84, boxstyle="round,pad=0.03", fc=colour, ec="#555555"))
        ax.text(x + 0.46, 0.75, heading, ha="center", va="center", weight="bold")
        ax.text(x + 0.46, 0.36, text, ha="center", va="center", fontsize=8)
        if x:
            ax.annotate("", (x + 0.05, 0.5), (x - 0.13, 0.5), arrowprops={"arrowstyle": "-|>", "color": "#222222"})
    curve = {"arrowstyle": "-|>", "color": "#222222", "connectionstyle": "arc3,rad=-0.22"}
    ax.annotate("", (1.46, 0.03), (3.46, 0.03), arrowprops=curve)
    ax.text(2.46, -0.55, "another round, on the weights that are left", ha="center", fontsize=8)
    return figure


def _two_lines(method: str) -> str:
    return method.replace(", ", "\n").replace("proximal ", "")


def _tickets() -> pd.DataFrame:
    return analysis.summary(analysis.chosen(experiments.table()))


def _differences(contrasts: dict[str, tuple[str, str]], first: str, second: str) -> Figure:
    cells = comparisons.compare(analysis.chosen(experiments.table()), contrasts)
    return claim_figures.differences(cells, first, second)


# File stem -> the figure, from committed records or from mathematics alone.
FIGURES: dict[str, Callable[[], Figure]] = {
    "pipeline": pipeline,
    "penalties": penalties,
    "mnist-convergence": lambda: logistic_convergence(*records.read(logistic.LogisticConfig())),
    "mnist-paths": lambda: logistic_paths(*records.read(logistic.LogisticConfig())),
    "mnist-maps": lambda: logistic_maps(*records.read(logistic.LogisticConfig())),
    "accuracy-density": lambda: ticket_figures.accuracy_against_density(_tickets()),
    "accuracy-epochs": lambda: ticket_figures.accuracy_against_epochs(_tickets()),
    "mask-or-magnitude": lambda: _differences(verdicts.SCORES, "mask", "magnitude"),
    "mask-or-imp": lambda: _differences(verdicts.AGAINST_IMP, "log mask", "IMP"),
    "log-or-l1": lambda: _differences(verdicts.PENALTIES, "log mask", "ℓ1 mask"),
    "alpha-sensitivity": lambda: claim_figures.alpha_sensitivity(thresholds.sweeps(experiments.table())),
    "alpha-equal-density": lambda: claim_figures.alpha_at_equal_density(thresholds.implied(experiments.table())),
    "mask-histograms": lambda: ticket_figures.mask_histograms(thresholds.samples(experiments.table())),
    "mask-modes": lambda: claim_figures.modes_by_layer(thresholds.decided(thresholds.searches(experiments.table()))),
    "step-times": lambda: costs.step_times(costs.Selection().found),
    "growth": lambda: costs.growth(costs.Selection().found),
}


def draw_all(folder: Path = paths.FIGURES) -> list[Path]:
    """Remake every figure of ``FIGURES`` as SVG in ``folder`` from the records; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for stem, draw in FIGURES.items():
        with mpl.rc_context(STYLE):
            draw().savefig(folder / f"{stem}.svg", metadata={"Date": None})
        written.append(folder / f"{stem}.svg")
    return written
