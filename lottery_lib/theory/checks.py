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
            ends = [solver.projected_gradient(drawn.problems, regularizer, drawn.lam, m) for m in begin.values()]
            of = {"kind": drawn.kind, "noise": drawn.noise, "penalty": name}
            counts += [of | row for m, done in ends for row in counted(case, m, done)] + [of | _recovery(case)]
            found = _points(case, ends[0][0]).assign(cheapest=_cheapest(case, [m for m, _ in ends]), **of)
            points.append(found.assign(scale=drawn.scale.numpy()))
    keys = ["bound", "kind", "noise", "penalty"]
    return pd.DataFrame(counts).groupby(keys, sort=False).sum().reset_index(), pd.concat(points, ignore_index=True)


def counted(case: Case, m: Tensor, done: Tensor) -> list[dict]:
    """How T1 to T4 fare at these masks (n, d), of which those that are ``done`` are stationary: a row a bound."""
    problems, regularizer = case.problems, case.regularizer
    apart, noiseless = bounds.distance(problems, m), (case.slope.abs() < 1e-12).all(1)
    costs = [solver.objective(problems, regularizer, case.lam, at) for at in (m, problems.target)]

    def above(bound: Tensor, on: Tensor, below: Tensor | float = torch.inf) -> dict:
        wrong = [(apart > share * bound + SLACK) & (apart < below - SLACK) & on for share in (1, TIGHTER)]
        return _row(on, *wrong)

    rows = [{"bound": "T1"} | above(bounds.cheap(case, m), done & (costs[0] <= costs[1]))]
    rows.append({"bound": "T2"} | above(bounds.stationary(case, m), done))
    if isinstance(regularizer, Log):
        first, second = bounds.gap(regularizer, case.x)
        rows.append({"bound": "T3"} | above(first, done & noiseless & ~first.isnan(), second))
        near = bounds.near(regularizer, case.t, problems.kept())
        rows.append({"bound": "T3, sharp"} | above(near, done & noiseless & bounds.assured(regularizer, case.x, apart)))
    else:
        rows.append({"bound": "x"} | above(case.x, done & noiseless))
    zeros = [bounds.sure_zeros(case, m, share) & done[:, None] for share in (1, 1 / TIGHTER)]
    rows.append({"bound": "T4"} | _row(zeros[0], *(sure & (m > 0) for sure in zeros)))
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


def _cheapest(case: Case, ends: list[Tensor]) -> np.ndarray:
    """The distance (n,) of the mask that costs least among ``ends``, each (n, d)."""
    costs = torch.stack([solver.objective(case.problems, case.regularizer, case.lam, m) for m in ends])
    apart = torch.stack([bounds.distance(case.problems, m) for m in ends])
    return apart.gather(0, costs.argmin(0, keepdim=True))[0].numpy()


def _points(case: Case, m: Tensor) -> pd.DataFrame:
    apart, nothing = bounds.distance(case.problems, m), torch.full_like(case.lam, torch.nan)
    costs = [solver.objective(case.problems, case.regularizer, case.lam, at) for at in (m, case.problems.target)]
    first = near = nothing
    if isinstance(case.regularizer, Log):
        first = bounds.gap(case.regularizer, case.x)[0]
        near = bounds.near(case.regularizer, case.t, case.problems.kept())
        near = torch.where(bounds.assured(case.regularizer, case.x, apart), near, nothing)
        first = torch.where(apart <= first + SLACK, first, nothing)
    cheap = torch.where(costs[0] <= costs[1], bounds.cheap(case, m), nothing)
    found = {"error": apart, "k": case.problems.kept(), "x": case.x, "T1": cheap, "T2": bounds.stationary(case, m)}
    return pd.DataFrame({key: value.numpy() for key, value in (found | {"first": first, "near": near}).items()})
