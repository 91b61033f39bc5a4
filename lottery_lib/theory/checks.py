"""Every bound against every stationary point that projected gradient finds: how often it holds, and how tight it is."""

from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from lottery_lib.regularizers import L1, Log
from lottery_lib.theory import bounds, planted, solver
from lottery_lib.theory.bounds import Case
from lottery_lib.theory.planted import Problems

ENTRIES = 8  # of the mask in each problem
SLACK = 1e-7  # what rounding and an unfinished last step may add to a distance
SCALES = (0.02, 2.0)
TIGHTER = 0.9  # the factor by which a constant is made smaller, to see whether that would be noticed
MAKERS = {"quadratic": planted.quadratics, "logistic": planted.logistics}


class Drawn(NamedTuple):
    """Problems of one kind, noisy or not, with the λ (n,) of each."""

    kind: str
    noise: bool
    problems: Problems
    lam: Tensor
    scale: Tensor  # λ√k/γ (n,) with the least curvature at the target for γ: drawn evenly between ``SCALES``


def draw(n: int, generator: torch.Generator) -> list[Drawn]:
    """n problems of each of four kinds: quadratic and logistic, without noise and with it."""
    found = []
    for kind, make in MAKERS.items():
        for noise in (False, True):
            problems = make(n, ENTRIES, noise, generator)
            scale = torch.empty(n, dtype=torch.float64).uniform_(*SCALES, generator=generator)
            there = torch.linalg.eigvalsh(problems.curvature(problems.target))[:, 0]
            found.append(Drawn(kind, noise, problems, scale * there / problems.kept().sqrt(), scale))
    return found


def starts(problems: Problems, generator: torch.Generator) -> dict[str, Tensor]:
    """Where projected gradient sets out: at one, as the method does; at zero, at the target, and somewhere."""
    somewhere = torch.rand(problems.target.shape, generator=generator, dtype=torch.float64)
    ones = torch.ones_like(problems.target)
    return {"one": ones, "zero": 0 * ones, "target": problems.target, "random": somewhere}


def run(n: int, eps: float, generator: torch.Generator) -> tuple[pd.DataFrame, pd.DataFrame]:
    """All bounds on ``draw(n)``, for ℓ1 and the logarithm, from all ``starts``: the counts, and the points.

    Counts: a row each bound, kind, noise and penalty, with how often it was ``checked``, ``violated``, and would be
    ``violated_if_tighter``. Points: a row each problem and penalty, with where projected gradient ends from m = 1: its
    distance ``error``; that of the ``cheapest`` point found; ``k``, ``scale``, ``x``, and the bounds T1, T2, D₁
    (``first``) and ``near`` on the error, NaN where they do not apply.
    """
    counts, points = [], []
    for drawn in draw(n, generator):
        begin = starts(drawn.problems, generator)
        for name, regularizer in (("ℓ1", L1()), ("log", Log(eps))):
            case = bounds.case(drawn.problems, regularizer, drawn.lam)
            walks = (solver.projected_gradient(drawn.problems, regularizer, drawn.lam, m) for m in begin.values())
            ends = [_end(case, *walk) for walk in walks]
            of = {"kind": drawn.kind, "noise": drawn.noise, "penalty": name}
            counts += [of | row for end in ends for row in counted(case, end)] + [of | _recovery(case)]
            found = _points(case, ends[0]).assign(cheapest=_cheapest(ends), **of)
            points.append(found.assign(scale=drawn.scale.numpy()))
    keys = ["bound", "kind", "noise", "penalty"]
    return pd.DataFrame(counts).groupby(keys, sort=False).sum().reset_index(), pd.concat(points, ignore_index=True)


class End(NamedTuple):
    """Masks (n, d) where projected gradient ended, who is stationary, and what is asked of them, each (n,)."""

    m: Tensor
    done: Tensor
    apart: Tensor  # from the target
    cost: Tensor
    no_dearer: Tensor  # than the target
    cheap: Tensor  # T1
    stationary: Tensor  # T2
    first: Tensor  # T3's gap, from here
    second: Tensor  # to here; of the logarithm alone, else NaN
    near: Tensor  # T3, the sharp form
    assured: Tensor  # whether that must hold without noise


def _end(case: Case, m: Tensor, done: Tensor) -> End:
    apart, nothing = bounds.distance(case.problems, m), torch.full_like(case.lam, torch.nan)
    cost, least = (solver.objective(case.problems, case.regularizer, case.lam, at) for at in (m, case.problems.target))
    first, second, near, assured = nothing, nothing, nothing, torch.zeros_like(done)
    if isinstance(case.regularizer, Log):
        first, second = bounds.gap(case.regularizer, case.x)
        near = bounds.near(case.regularizer, case.t, case.problems.kept())
        assured = bounds.assured(case.regularizer, case.x, apart)
    met = bounds.cheap(case, m), bounds.stationary(case, m)
    return End(m, done, apart, cost, cost <= least, *met, first, second, near, assured)


def counted(case: Case, end: End) -> list[dict]:
    """How T1 to T4 fare at these masks, of which those that are ``done`` are stationary: a row a bound."""
    done, noiseless = end.done, (case.slope.abs() < 1e-12).all(1)

    def above(bound: Tensor, on: Tensor, below: Tensor | float = torch.inf) -> dict:
        apart = end.apart
        wrong = [(apart > share * bound + SLACK) & (apart < below - SLACK) & on for share in (1, TIGHTER)]
        return _row(on, *wrong)

    rows = [{"bound": "T1"} | above(end.cheap, done & end.no_dearer)]
    rows.append({"bound": "T2"} | above(end.stationary, done))
    if isinstance(case.regularizer, Log):
        rows.append({"bound": "T3"} | above(end.first, done & noiseless & ~end.first.isnan(), end.second))
        rows.append({"bound": "T3, sharp"} | above(end.near, done & noiseless & end.assured))
    else:
        rows.append({"bound": "x"} | above(case.x, done & noiseless))
    zeros = [bounds.sure_zeros(case, end.m, share) & done[:, None] for share in (1, 1 / TIGHTER)]
    rows.append({"bound": "T4"} | _row(zeros[0], *(sure & (end.m > 0) for sure in zeros)))
    return rows


def _recovery(case: Case) -> dict:
    """T5: a step of projected gradient leaves the target where it is exactly when the window is open."""
    target = case.problems.target
    after, _ = solver.projected_gradient(case.problems, case.regularizer, case.lam, target, iterations=1)
    stays = (after == target).all(1)
    wrong = [bounds.recovers(case, share) != stays for share in (1, TIGHTER)]
    return {"bound": "T5"} | _row(torch.ones_like(stays), *wrong)


def _row(checked: Tensor, violated: Tensor, tighter: Tensor) -> dict:
    names = ("checked", "violated", "violated_if_tighter")
    return {name: int(which.sum()) for name, which in zip(names, (checked, violated, tighter))}


def _cheapest(ends: list[End]) -> np.ndarray:
    """The distance (n,) of the mask that costs least among ``ends``."""
    costs, apart = torch.stack([end.cost for end in ends]), torch.stack([end.apart for end in ends])
    return apart.gather(0, costs.argmin(0, keepdim=True))[0].numpy()


def _points(case: Case, end: End) -> pd.DataFrame:
    nan = torch.nan
    found = {
        "error": end.apart,
        "k": case.problems.kept(),
        "x": case.x,
        "T1": torch.where(end.no_dearer, end.cheap, nan),
        "T2": end.stationary,
        "first": torch.where(end.apart <= end.first + SLACK, end.first, nan),
        "near": torch.where(end.assured, end.near, nan),
    }
    return pd.DataFrame({key: value.numpy() for key, value in found.items()})
