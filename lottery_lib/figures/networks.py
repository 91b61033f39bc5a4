"""Figures of the chapter "What if the loss is not convex?": planted networks of depth 1 to 3."""

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from lottery_lib.experiments.planted_networks import LAMBDAS, LOOKS, PENALTIES, SETTINGS, WAYS
from lottery_lib.figures.lines import GREY
from lottery_lib.figures.style import BLACK, COLUMN, GREEN, ORANGE, STYLE, new_figure
from lottery_lib.figures.theory import PENALTY
from lottery_lib.findings.planted_networks import KNOWN, PREDICTORS, SHARES, TOLD, Found, compared, predictors
from lottery_lib.theory.networks import FANS, WIDTH

DEPTH = {1: GREY, 2: ORANGE, 3: GREEN}
SHOWN = (160, 0.2)  # samples and noise of a figure of one setting a depth


@mpl.rc_context(STYLE)
def along_lambda(found: Found) -> Figure:
    """Mean error against λ at each depth: of searches from m = 1, and of those that start at the target."""
    figure, axes = new_figure(1, 3, (COLUMN, 2.9), sharex=True)
    for depth, ax in enumerate(axes[0], start=1):
        curves = found.errors[SETTINGS.index((depth, *SHOWN))]
        for name, (one, near) in zip(PENALTIES, curves):
            ax.plot(LAMBDAS, one, color=PENALTY[name], label=f"{name}, from m = 1")
            ax.plot(LAMBDAS, near, "--", color=PENALTY[name], label=f"{name}, from the target")
        times = curves[:, 0].min() / curves[:, 1].min()
        told = ":\nthe start does not matter" if times < 1.1 else f", from the target:\n{times:.0f} times nearer"
        ax.set(xscale="log", xlabel="λ", ylim=(0, None), title=f"depth {depth}{told}")
    axes[0, 0].set_ylabel("error ‖m* − m̃‖, mean")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


@mpl.rc_context(STYLE)
def ratios(found: Found) -> Figure:
    """Log's mean error in units of ℓ1's, a row a setting, a panel each of the ``WAYS``, with 95 % intervals."""
    figure, axes = new_figure(1, len(WAYS), (COLUMN, 3.6), sharey=True, sharex=True)
    cells = compared(found)
    for ax, way in zip(axes[0], WAYS):
        rows = cells[cells.way == way].reset_index(drop=True)
        for depth, of in rows.groupby("depth"):
            ax.errorbar(of.ratio, of.index, xerr=of.half_width, fmt="o", ms=4, color=DEPTH[depth], lw=1)
        ax.axvline(1, color=BLACK, lw=0.8)
        deep = rows[rows.depth > 1]
        way = TOLD[way].replace(", from", ",\nfrom")
        ax.set_title(f"{way}:\nlog better in {deep.good.sum()} of {len(deep)} cells\nof depth 2 and 3")
        ax.set(xlabel="error, log / ℓ1", ylim=(len(rows) - 0.5, -0.5))
    labels = [f"depth {row.depth}, {row.samples} samples, {row.noise:g}" for row in rows.itertuples()]
    axes[0, 0].set_yticks(rows.index, labels)
    return figure


@mpl.rc_context(STYLE)
def curvature(found: Found) -> Figure:
    """The least curvature on the entries that are kept, along the search: median and middle half of the problems."""
    figure, axes = new_figure(1, 3, (COLUMN, 2.9))
    looks = [f"look {look}" for look in (*LOOKS, "end")]
    x = np.arange(len(looks))
    for depth, ax in enumerate(axes[0], start=1):
        rows = found.searches(depth)
        for name, of in rows.groupby("penalty", sort=False):
            low, middle, high = of[looks].quantile([0.25, 0.5, 0.75]).to_numpy()
            ax.fill_between(x, low, high, color=PENALTY[name], alpha=0.25, lw=0)
            ax.plot(x, middle, marker="o", ms=3, color=PENALTY[name], label=name)
        ax.axhline(0, color=BLACK, lw=0.8)
        positive = 100 * (rows.along > 0).mean()
        ax.set_title(f"depth {depth}: positive throughout\nin {positive:.0f} % of the searches")
        ax.set_xticks(x[::2], [look.removeprefix("look ") for look in looks[::2]])
        ax.set(xlabel="iteration")
    axes[0, 0].set_ylabel("least curvature, entries not 0")
    axes[0, 0].legend(loc="upper left")
    return figure


@mpl.rc_context(STYLE)
def bounds_met(found: Found) -> Figure:
    """Error against T2's bound with the monotonicity for γ, where that is positive: a dot a mask that is stationary."""
    figure, axes = new_figure(1, 3, (COLUMN, 2.9), sharex=True, sharey=True)
    for depth, ax in enumerate(axes[0], start=1):
        rows = found.searches(depth)
        rows = rows[(rows.done == 1) & (rows.error > 0)]
        known = rows[np.isfinite(rows.bound)]
        for name, of in known.groupby("penalty", sort=False):
            ax.plot(of.bound, of.error, ".", ms=3.5, color=PENALTY[name], alpha=0.7, label=name)
        ends = np.array([0.02, 1e4])
        ax.plot(ends, ends, color=BLACK, lw=1)
        ax.axhline((depth * FANS * WIDTH) ** 0.5, color=GREY, lw=0.8, ls=":")  # a mask of zeros
        share = 100 * len(known) / max(len(rows), 1)
        ax.set_title(
            f"depth {depth}: a bound for {share:.0f} %,\n{(known.bound / known.error).median():.2g} times the error"
        )
        ax.set(xscale="log", yscale="log", xlabel="bound", xlim=(0.03, 1e3), ylim=(0.03, 12))
    axes[0, 0].set_ylabel("error ‖m* − m̃‖")
    axes[0, 0].legend(loc="lower right", markerscale=2)
    return figure


@mpl.rc_context(STYLE)
def ranks(found: Found) -> Figure:
    """How well each candidate ranks the errors of the problems of a setting, by depth, with 95 % intervals."""
    figure, ((ax,),) = new_figure(1, 1, (COLUMN, 3.4))
    told, order = predictors(found), list(PREDICTORS)
    for shift, (depth, rows) in enumerate(told.groupby("depth")):
        y = rows.column.map(order.index) + 0.22 * (shift - 1)
        ax.errorbar(
            rows["rank"], y, xerr=rows.half_width, fmt="o", ms=4, lw=1, color=DEPTH[depth], label=f"depth {depth}"
        )
    ax.axvline(0, color=BLACK, lw=0.8)
    ax.axhspan(len(order) - len(KNOWN) - 0.5, len(order) - 0.5, color="#eeeeee", lw=0, zorder=0)
    ax.text(0.98, len(order) - 0.6, "the target is needed", ha="right", fontsize=8.5, color="#555555")
    ax.set_yticks(range(len(order)), [PREDICTORS[name] for name in order])
    ax.set(xlim=(-1, 1), ylim=(len(order) - 0.5, -0.5), xlabel="rank correlation with the error")
    figure.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


@mpl.rc_context(STYLE)
def from_between(errors: pd.DataFrame) -> Figure:
    """Where searches end that start between the target and m = 1 (``findings.planted_networks.from_between``)."""
    figure, axes = new_figure(1, 3, (COLUMN, 2.7), sharex=True)
    for ax, (depth, rows) in zip(axes[0], errors.groupby("depth")):
        for name, of in rows.groupby("penalty", sort=False):
            ax.plot(of.share, of.error, "o-", ms=4, color=PENALTY[name], label=name)
        ax.set(title=f"depth {depth}", xlabel="start, from target to m = 1", ylim=(0, 1.05 * rows.error.max()))
        ax.set_xticks(SHARES, [f"{share:g}" for share in SHARES])
    axes[0, 0].set_ylabel("error ‖m* − m̃‖, mean")
    axes[0, 0].legend(loc="lower right")
    return figure
