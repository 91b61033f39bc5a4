"""Masks that were planted, and what ℓ1 and the logarithm find of them (claim C2): thousands of small convex problems.

The bounds of ``theory.bounds`` are checked on all of them, at one λ a problem for both penalties. In linear regressions
each penalty is then taken at its best λ, which is known only because the target is.
"""

import time
from dataclasses import asdict, dataclass
from itertools import product
from typing import Annotated, ClassVar

import numpy as np
import torch
from tqdm import tqdm

from lottery_lib import errors
from lottery_lib.regularizers import L1, Log, Regularizer
from lottery_lib.theory import bounds, checks, planted, solver

LAMBDAS = torch.logspace(-3, 0.5, 29, dtype=torch.float64)
SETTINGS = tuple(product((240, 75), (0.5, 1.0, 2.0, 4.0), (0.0, 0.5)))  # samples, noise, correlation of neighbours
PENALTIES = ("ℓ1", "log", "log, ε/10")  # of the regressions
ENTRIES, KEPT = 60, 10  # of a regression's mask


@dataclass(frozen=True)
class Planted:
    """One draw of the problems; LotteryError if a value is out of its range."""

    protocol: ClassVar[str] = "planted"
    version: ClassVar[int] = 1  # raised when the same fields would give other numbers
    device: ClassVar[str] = "cpu"  # whatever else there is

    problems: Annotated[int, "of each of the four kinds"] = 1000
    regressions: Annotated[int, "of each setting"] = 25
    eps: Annotated[float, "ε of the log penalty"] = 0.1
    seed: Annotated[int, "of the draw"] = 0

    def __post_init__(self):
        errors.settle(self)
        rules = {
            "problems": (self.problems >= 1, "at least 1"),
            "regressions": (self.regressions >= 1, "at least 1"),
            "eps": (self.eps > 0, "> 0"),
        }
        errors.hold(self, rules)


def run(config: Planted, progress: bool = False) -> tuple[dict, dict[str, np.ndarray]]:
    """Draw, solve and check.

    Returns a JSON-able record: ``checks``, the counts of ``theory.checks.run``, and ``regressions``, a row each setting
    and penalty with the mean ``error`` at the best λ of each regression, the share whose support is then ``exact``, and
    the share whose best λ lies at an ``edge`` of those tried. Arrays: the points of ``theory.checks.run``, a column
    each; ``errors`` (settings, penalties, λ), means over the regressions, and ``lambdas``.
    """
    started = time.perf_counter()
    generator = torch.Generator().manual_seed(config.seed)
    counts, points = checks.run(config.problems, config.eps, generator)
    penalties = dict(zip(PENALTIES, (L1(), Log(config.eps), Log(config.eps / 10))))
    rows, errors = [], np.empty((len(SETTINGS), len(penalties), len(LAMBDAS)))
    for number, setting in enumerate(tqdm(SETTINGS, disable=not progress, unit="setting")):
        drawn = planted.regressions(config.regressions, ENTRIES, KEPT, *setting, generator)
        for column, (name, regularizer) in enumerate(penalties.items()):
            apart, exact = path(drawn, regularizer)
            errors[number, column] = apart.mean(0)
            best = apart.argmin(1, keepdim=True)
            rows.append(dict(zip(("samples", "noise", "correlation"), setting)) | {"penalty": name})
            rows[-1] |= {"error": float(apart.gather(1, best).mean()), "exact": float(exact.gather(1, best).mean())}
            rows[-1]["edge"] = float(((best == 0) | (best == len(LAMBDAS) - 1)).double().mean())
    smaller = {"f": np.float32, "O": str}  # of the columns' types
    columns = {key: points[key].to_numpy() for key in points}
    arrays = {key: value.astype(smaller.get(value.dtype.kind, value.dtype)) for key, value in columns.items()}
    arrays |= {"errors": errors.astype(np.float32), "lambdas": LAMBDAS.numpy()}
    return {
        "config": asdict(config),
        "checks": counts.to_dict("records"),
        "regressions": rows,
        "seconds": time.perf_counter() - started,
    }, arrays


def path(problems: planted.Quadratic, regularizer: Regularizer) -> tuple[torch.Tensor, torch.Tensor]:
    """At each of ``LAMBDAS``, from m = 1: the distance (n, λ), and 1.0 where the support is the target's, else 0.0."""
    n, index = len(problems.target), torch.arange(len(problems.target)).repeat_interleave(len(LAMBDAS))
    many = problems.at(index)
    m, _ = solver.projected_gradient(many, regularizer, LAMBDAS.repeat(n), torch.ones_like(many.target), 2000)
    exact = ((m > 0) == (many.target > 0)).all(1).double()
    return bounds.distance(many, m).view(n, -1), exact.view(n, -1)
