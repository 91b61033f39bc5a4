"""Figures of the chapter "Why concave?": bounds, planted problems, and what a step conserves."""

import math
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from lottery_lib.experiments.planted import SETTINGS
from lottery_lib.figures.claims import Row, on_one_axis
from lottery_lib.figures.lines import GREY, label_ends
from lottery_lib.figures.style import BLACK, BLUE, COLUMN, GREEN, ORANGE, PURPLE, SKY, STYLE, VERMILION, new_figure
from lottery_lib.findings import planted
from lottery_lib.findings.cells import SEEDS
from lottery_lib.findings.planted import Found
from lottery_lib.regularizers import L1, Log, create
from lottery_lib.theory import bounds, solver
from lottery_lib.theory.conservation import WALKS
from lottery_lib.theory.induced import induced

MANY_AND_FEW = ((240, 1.0, 0.0), (75, 4.0, 0.0))  # of ``SETTINGS``: samples, little noise or much
DOTS = 1200  # drawn of a kind; all are counted
PENALTY = {"log": BLUE, "ℓ1": SKY}


def forest(found: Found) -> Figure:
    """The cells that decide C2, on one axis: log's error in units of ℓ1's with its interval; below 1 log is better."""
    groups: dict[str, list[Row]] = {}

    def add(group: str, label: str, cell: Any) -> None:
        width = cell.half_width if cell.n >= SEEDS else math.nan
        groups.setdefault(group, []).append(Row(label, cell.ratio, width, f"{cell.n:g}"))

    for cell in planted.at_equal_lambda(found).itertuples():
        add(f"equal λ, {cell.kind}, {cell.noise}: λ√k/γ", cell.band, cell)
    for cell in planted.at_best_lambda(found).itertuples():
        add(f"best λ, {cell.samples} samples, correlation {cell.correlation:g}: noise", f"{cell.noise:g}", cell)
    return on_one_axis(groups, 1, ("ratio", ""), "error of log / error of ℓ1")


@mpl.rc_context(STYLE)
def isotropic(log: Log) -> Figure:
    """One kept entry of L = γ/2 ‖m − m̃‖² in closed form: how far it falls short, and log's share of ℓ1's shortfall."""
    figure, ((short, share),) = new_figure(1, 2, (COLUMN, 3.2))
    t = np.linspace(1e-3, 1.2, 600)
    points = [solver.kept_entry(log, each) for each in t]
    best = [m[-1] if m and m[-1] > 0 and _cheaper(log, each, m[-1]) else 0.0 for each, m in zip(t, points)]
    drops = t[np.argmin(best)]
    near = np.array([1 - m[-1] if m and m[-1] > 0 else np.nan for m in points])
    far = np.array([1 - m[-2] if len(m) > 1 and m[-2] > 0 else np.nan for m in points])
    short.plot(t, np.minimum(t, 1), color=SKY, label="ℓ1")
    short.plot(t, near, color=BLUE, label="log, near: a₁")
    short.plot(t, far, color=BLUE, ls=":", label="log, far: a₂, a hilltop")
    held = t >= 1 / log.slope(0)
    short.plot(t[held], np.ones(held.sum()), color=BLUE, ls="--", label="log, at zero")
    short.axvline(drops, color=GREY, lw=0.8)
    short.text(drops + 0.02, 0.03, f"from t = {drops:.2f} on\nzero is cheaper", fontsize=8.5, color=GREY)
    short.set(title="log stays nearer, until it lets go", xlabel="t = λ/γ", ylabel="shortfall 1 − m")
    short.set_ylim(-0.03, 1.08)
    figure.legend(*short.get_legend_handles_labels(), loc="outside lower center", ncols=4)
    share.plot(t, near / np.minimum(t, 1), color=BLUE)
    share.axhline(log.slope(1), color=BLACK, ls=":", lw=1)
    share.text(0.6, log.slope(1) - 0.07, f"r′(1) = {log.slope(1):.2f}", fontsize=8.5)
    share.axhline(1, color=SKY, lw=1)
    share.set(title="log's shortfall starts at r′(1) of ℓ1's", xlabel="t = λ/γ", ylabel="log / ℓ1", ylim=(0, 1.2))
    return figure


def _cheaper(log: Log, t: float, m: float) -> bool:
    """Whether a kept entry costs less at m than at zero."""
    paid = float(log.value(torch.tensor(m, dtype=torch.float64)))
    return (m - 1) ** 2 / 2 + t * paid <= 0.5


@mpl.rc_context(STYLE)
def error_against_bound(points: pd.DataFrame, bound: str, title: str) -> Figure:
    """A dot a problem of those without noise: the error of the mask found against the ``bound``, T1 or T2, on it."""
    clear = points[~points.noise & points[bound].notna()]
    figure, axes = new_figure(1, 2, (COLUMN, 3.1), sharex=True, sharey=True)
    for ax, (kind, rows) in zip(axes[0], clear.groupby("kind", sort=False)):
        for name, of in rows.groupby("penalty", sort=False):
            shown = of.iloc[:: max(len(of) // DOTS, 1)]
            ax.plot(shown[bound], shown.error, ".", ms=2, color=PENALTY[name], alpha=0.5, label=name, rasterized=True)
        ends = np.array([0.02, 10])
        ax.plot(ends, ends, color=BLACK, lw=1)
        tight = (rows.error / rows[bound]).median()
        ax.set(title=f"{kind}: {title}, {tight:.2f} of it in the median", xscale="log", yscale="log")
        ax.set(xlabel="bound on the error", xlim=(0.01, 12), ylim=(0.005, 4))
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_formatter("{x:g}")
    axes[0, 0].set_ylabel("error ‖m* − m̃‖")
    axes[0, 0].text(0.3, 0.4, "error = bound", rotation=38, fontsize=8.5, ha="right")
    axes[0, 0].legend(loc="upper left", markerscale=4)
    return figure


@mpl.rc_context(STYLE)
def forbidden(found: Found) -> Figure:
    """T3: without noise, every mask that log found against x, and the band in which there can be none."""
    log = Log(found.eps)
    points = found.points[(found.points.penalty == "log") & ~found.points.noise & (found.points.kind == "quadratic")]
    figure, ((whole, sharp),) = new_figure(1, 2, (COLUMN, 3.2))
    end = (1 + log.eps) ** 2 / (4 * log.scale)
    x = torch.linspace(0, end, 400, dtype=torch.float64)
    first, second = bounds.gap(log, x)
    whole.fill_between(x, first, second, color="#f3d9cc", lw=0, label="forbidden")
    for column, colour, label in (("cheapest", PURPLE, "the cheapest found"), ("error", BLUE, "from m = 1")):
        shown = points.iloc[:: max(len(points) // (2 * DOTS), 1)]
        whole.plot(shown.x, shown[column], ".", ms=2.5, color=colour, label=label, rasterized=True)
    whole.plot([0, end], [0, end], color=SKY, lw=1.5, label="ℓ1's bound, D ≤ x")
    whole.set(title="log ends near or far, never between", xlabel="x = λ√k/γ", ylabel="error D", xlim=(0, 1.0))
    whole.set_ylim(0, 1.6)
    whole.legend(loc="upper left", markerscale=3)
    near = points[points.near.notna()]
    shown = near.iloc[:: max(len(near) // DOTS, 1)]
    colours = shown.k / shown.k.max()
    sharp.scatter(shown.near, shown.error, s=5, c=colours, cmap="viridis", lw=0, rasterized=True)
    top = 1.05 * shown.near.max()
    sharp.plot([0, top], [0, top], color=BLACK, lw=1)
    sharp.set(title="the sharp form is reached", xlabel="√k a₁", ylabel="error D", xlim=(0, top), ylim=(0, top))
    sharp.text(0.05 * top, 0.88 * top, "dark: one entry kept,\nlight: seven", fontsize=8.5, va="top")
    return figure


@mpl.rc_context(STYLE)
def zeros_and_recovery(log: Log) -> Figure:
    """T4 and T5: what may pull a dead entry before it leaves zero, and what pulls leave the target where it is."""
    figure, ((hold, window),) = new_figure(1, 2, (COLUMN, 2.9))
    t, most = torch.logspace(-3, 0.5, 300, dtype=torch.float64), 8.0
    for name, regularizer in (("ℓ1", L1()), (f"log, ε = {log.eps:g}", log)):
        tau = bounds.threshold(regularizer, t, torch.ones_like(t)) / t
        hold.plot(t, tau, color=SKY if name == "ℓ1" else BLUE, label=name)
        most = max(most, 1.2 * tau.max().item())
    hold.set(xscale="log", yscale="log", xlabel="t = λ/γ", ylabel="τ / λ", ylim=(0.7, most))
    hold.set_title("log's zeros withstand more")
    marks = [2**power for power in range(math.ceil(math.log2(most)))]
    hold.set_yticks(marks, [f"{mark:g}" for mark in marks])
    hold.yaxis.set_minor_locator(NullLocator())
    hold.legend()
    end = max(20.0, 2 * log.slope(0))
    for y, (low, high, colour) in enumerate(((1.0, 1.0, SKY), (log.slope(1), log.slope(0), BLUE))):
        window.barh(y + 0.17, end - low, left=low, height=0.3, color=colour, alpha=0.9)
        window.barh(y - 0.17, high - 0.05, left=0.05, height=0.3, color=colour, alpha=0.45)
        window.text(
            0.95 * end,
            y + 0.17,
            f"kept: {low:.2g} or more",
            ha="right",
            va="center",
            fontsize=8.5,
            color="white" if y else BLACK,
        )
        window.text(0.06, y - 0.17, f"dead: {high:.2g} or less", va="center", fontsize=8.5)
    window.axvline(1, color=GREY, lw=0.8)
    window.set(xscale="log", xlim=(0.05, end), yticks=[0, 1], yticklabels=["ℓ1", "log"], xlabel="pull of the data / λ")
    window.set_title("log leaves the target a wide window")
    window.xaxis.set_major_formatter("{x:g}")
    return figure


@mpl.rc_context(STYLE)
def at_equal_lambda(pairs: pd.DataFrame, near: float) -> Figure:
    """Log's mean error over ℓ1's at the same λ, against λ√k/γ: from m = 1, and at the cheapest point found."""
    figure, axes = new_figure(1, 2, (COLUMN, 3.0), sharey=True)
    edges = np.linspace(0, 2, 11)
    ways = (("error", "masks found from m = 1"), ("cheapest", "the cheapest found from four starts"))
    looks = {"quadratic": BLUE, "logistic": ORANGE}
    for ax, (column, title) in zip(axes[0], ways):
        for (kind, noise), rows in pairs.groupby(["kind", "noise"], sort=False):
            bins = rows.groupby(pd.cut(rows.scale, edges), observed=True)[[column, f"{column}_l1"]].mean()
            ratio = bins.iloc[:, 0] / bins.iloc[:, 1]
            middle = [interval.mid for interval in bins.index]
            style = "-" if noise == "without noise" else "--"
            ax.plot(middle, ratio, style, color=looks[kind], marker="o", ms=3, label=f"{kind}, {noise}")
        ax.axhline(1, color=BLACK, lw=0.8)
        ax.axvspan(0, near, color="#eeeeee", lw=0)
        ax.set(title=title, xlabel="λ√k/γ, γ at the target", xlim=(0, 2), ylim=(0, 1.2))
    axes[0, 0].set_ylabel("error of log / error of ℓ1")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2, handlelength=3)
    return figure


@mpl.rc_context(STYLE)
def at_best_lambda(found: Found) -> Figure:
    """Mean error of planted regressions against λ in the settings ``MANY_AND_FEW``; the dots are the lowest points."""
    figure, axes = new_figure(1, 2, (COLUMN, 3.0), sharex=True)
    looks = {"ℓ1": (SKY, "-"), f"log, ε = {found.eps:g}": (BLUE, "-"), f"log, ε = {found.eps / 10:g}": (BLUE, "--")}
    for ax, setting in zip(axes[0], MANY_AND_FEW):
        curves = found.errors[SETTINGS.index(setting)]
        for curve, (name, (colour, style)) in zip(curves, looks.items()):
            ax.plot(found.lambdas, curve, color=colour, ls=style, label=name)
            ax.plot(found.lambdas[curve.argmin()], curve.min(), "o", ms=5, color=colour)
        lead = curves[1].min() < 0.97 * curves[0].min()
        finding = "log is nearer" if lead else "concavity gains nothing"
        ax.set_title(f"{setting[0]} samples, noise {setting[1]:g}: {finding}")
        ax.set(xscale="log", xlabel="λ", ylim=(0, None))
    axes[0, 0].set_ylabel("error, mean over regressions")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


@mpl.rc_context(STYLE)
def cheapest_splits(splits: dict[str, dict[str, pd.DataFrame]]) -> Figure:
    """Penalty -> where from -> ``m`` and ``u`` of each weight left (``theory.conservation.splits``), on the curve."""
    figure, axes = new_figure(1, len(splits), (COLUMN, 3.2), sharey=True, sharex=True)
    u = torch.linspace(0, 2, 400, dtype=torch.float64)
    for ax, (penalty, found) in zip(axes[0], splits.items()):
        ax.plot(u, induced(create(penalty), u)[1], color=BLACK, lw=1.2, label="the cheapest split")
        for (name, rows), (colour, marker) in zip(found.items(), ((ORANGE, "D"), (BLUE, "."))):
            ax.plot(rows.u, rows.m, marker, ls="", ms=4 if marker == "D" else 3, color=colour, alpha=0.7, label=name)
        ax.set(xlabel="|w| √(µ/λ)", xlim=(-0.03, 2), ylim=(-0.03, 1.05))
        at_one = 100 * (pd.concat(found.values()).m == 1).mean()
        ax.set_title(f"{penalty.replace('l1', 'ℓ1')}: {at_one:.0f} % of the weights at m = 1")
    axes[0, 0].set_ylabel("mask entry m")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


@mpl.rc_context(STYLE)
def drift(walks: pd.DataFrame) -> Figure:
    """How far each walk of ``theory.conservation.drift`` is from what gradient flow conserves."""
    figure, ((above,), (below,)) = new_figure(2, 1, (COLUMN, 4.6), sharex=True, sharey=True)
    colours = dict(zip(WALKS, (BLACK, GREY, GREEN, SKY, ORANGE, BLUE, PURPLE, VERMILION)))
    small = ("full batch", "steps a tenth as long", "batches of 32", "batches, steps a tenth", "weight decay")
    large = ("full batch", "penalty", "projection", "all of them")
    lines = {name: rows for name, rows in walks[walks.time > 0].groupby("walk")}
    for ax, names in ((above, small), (below, large)):
        for name in names:
            ax.plot(lines[name].time, lines[name].drift, color=colours[name])
        ax.set(yscale="log", ylabel="change, %\n(median of weights)", xlim=(0, None))
        ax.yaxis.set_major_formatter("{x:g}")
    above.set_title(r"The penalty and the box take $m^2/\eta_m - \theta^2/\eta$ farthest")
    for ax, names in ((above, small), (below, large)):  # now that the limits are set
        last = {name: lines[name].iloc[-1] for name in names}
        label_ends(ax, {name: (row.time, row.drift, colours[name]) for name, row in last.items()}, 16)
    below.set_xlabel("steps of full length")
    return figure
