"""The smallest problem on which C2 can be seen: one entry to keep, one to drop, stationary points and bounds."""

import matplotlib as mpl
import numpy as np
import torch
import traitlets as t
from matplotlib.figure import Figure
from torch import Tensor

from lottery_lib.errors import LotteryError
from lottery_lib.figures.style import BLUE, STYLE, new_figure
from lottery_lib.regularizers import L1, Log, Regularizer
from lottery_lib.theory import bounds, solver
from lottery_lib.theory.planted import Quadratic
from lottery_lib.widgets.base import InteractiveFigure, module, sheet

GREY = "#595959"
RANGES = {"lam": (0.01, 1.0), "eps": (1e-4, 1e4), "gamma": (0.2, 2.0), "rho": (-0.9, 0.9)}  # of the sliders, but for ε


def problem(gamma: float, rho: float) -> Quadratic:
    """L = ½(m − m̃)ᵀH(m − m̃) with m̃ = (1, 0): H is 1 on the diagonal and ρ beside it, times what makes γ the least."""
    hessian = gamma / (1 - abs(rho)) * torch.tensor([[1, rho], [rho, 1]], dtype=torch.float64)
    target = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    return Quadratic(target, hessian[None], torch.zeros_like(target))


def minima(gamma: float, rho: float, regularizer: Regularizer, lam: float) -> Tensor:
    """Where projected gradient ends from a grid of starts, each once (n, 2), the nearest to the target first."""
    axis = torch.linspace(0, 1, 9, dtype=torch.float64)
    start = torch.cartesian_prod(axis, axis)
    many = problem(gamma, rho).at(torch.zeros(len(start), dtype=torch.long))
    lams = torch.full((len(start),), lam, dtype=torch.float64)
    m, done = solver.projected_gradient(many, regularizer, lams, start)
    found = m[done].round(decimals=6).unique(dim=0)
    return found[(found - many.target[0]).norm(dim=1).argsort()]


class TwoEntries(InteractiveFigure):
    """Stationary points of L + λR on the box for ℓ1 and the logarithm, with their bounds; λ, ε, γ and ρ on sliders.

    LotteryError if one of them is out of its range: its slider's, or for ε 10⁻⁴ to 10⁴.
    """

    _esm, _css = module("two_entries"), sheet("two_entries")

    lam = t.Float().tag(sync=True)
    eps = t.Float().tag(sync=True)
    gamma = t.Float().tag(sync=True)
    rho = t.Float().tag(sync=True)

    def __init__(self, lam: float = 0.3, eps: float = 0.1, gamma: float = 1.0, rho: float = 0.3):
        given = {"lam": lam, "eps": eps, "gamma": gamma, "rho": rho}
        for name, (low, high) in RANGES.items():
            if not low <= given[name] <= high:
                raise LotteryError(f"{name} = {given[name]!r}: must be between {low:g} and {high:g}")
        super().__init__(**given)

    @mpl.rc_context(STYLE)
    def still(self) -> Figure:
        """The box with both penalties' minima and bounds, and what the kept entry costs."""
        figure, ((box, cost),) = new_figure(1, 2, (7, 3.4))
        x = torch.tensor([self.lam / self.gamma], dtype=torch.float64)
        first, second = (bound.item() for bound in bounds.gap(Log(self.eps), x))
        angle = np.linspace(np.pi / 2, np.pi, 100)
        ring = [(1 + r * np.cos(angle), r * np.sin(angle)) for r in (first, second, x.item())]
        if not np.isnan(first):
            (inner, outer), gap = ring[:2], {"color": "#f3d9cc", "lw": 0, "label": "where log cannot end"}
            box.fill(np.r_[inner[0], outer[0][::-1]], np.r_[inner[1], outer[1][::-1]], **gap)
        box.plot(*ring[2], color=GREY, ls="--", label="ℓ1's bound x")
        m, axis = torch.zeros(201, 2, dtype=torch.float64), torch.linspace(0, 1, 201, dtype=torch.float64)
        m[:, 0] = axis
        line = problem(self.gamma, self.rho).at(torch.zeros(201, dtype=torch.long))
        for name, regularizer, look in (
            ("ℓ1", L1(), {"color": GREY, "ls": "--"}),
            (f"log, ε = {self.eps:g}", Log(self.eps), {"color": BLUE}),
        ):
            found = minima(self.gamma, self.rho, regularizer, self.lam)
            box.plot(*found.T, "o", color=look["color"], label=f"{name}, minima", clip_on=False)
            lams = torch.full((201,), self.lam, dtype=torch.float64)
            cost.plot(axis, solver.objective(line, regularizer, lams, m), label=name, **look)
        box.set(title="the box, and the target in its corner", xlabel="entry to keep", ylabel="entry to drop")
        box.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
        cost.set(title="what it costs, L + λR", xlabel="entry to keep, the other at 0", ylim=(0, None))
        figure.legend(*box.get_legend_handles_labels(), loc="outside lower center", ncols=2)
        return figure
