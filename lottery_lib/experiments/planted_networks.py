"""Masks that were planted in networks, and what ℓ1 and the logarithm find of them (question O3), where L is not convex.

Depth 1 is the convex control. The path over λ of each problem is walked twice, from m = 1 and from the target itself;
at a few of its points the curvature of L is measured that would have to stand for γ in the bounds of ``theory.bounds``.
"""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import product
from typing import Annotated, ClassVar

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from lottery_lib import errors
from lottery_lib.regularizers import L1, Log, Regularizer
from lottery_lib.theory import bounds, curvature, networks, solver
from lottery_lib.theory.networks import Networks

LAMBDAS = torch.logspace(-4, -0.5, 15, dtype=torch.float64)
SETTINGS = tuple(product((1, 2, 3), (40, 160), (0.2, 0.5)))  # depth, samples, noise
PENALTIES = ("ℓ1", "log")
STARTS = ("m = 1", "the target")
WAYS = ("equal density", "best λ", "best λ, from the target")  # to choose one point of a path
ITERATIONS = 2000
LOOKS = (0, 1, 3, 10, 30, 100, 300, 1000)  # iterations before which the curvature is measured; and at the end
ALPHA = 0.05  # entries above it count as kept


@dataclass(frozen=True)
class PlantedNetworks:
    """One draw of the problems; LotteryError if a value is out of its range."""

    protocol: ClassVar[str] = "planted-networks"
    version: ClassVar[int] = 1  # raised when the same fields would give other numbers
    device: ClassVar[str] = "cpu"  # whatever else there is
    threads: ClassVar[int] = 1  # on so few numbers they would only wait for each other

    problems: Annotated[int, "of each setting"] = 8
    eps: Annotated[float, "ε of the log penalty"] = 0.1
    seed: Annotated[int, "of the draw"] = 0

    def __post_init__(self):
        errors.settle(self)
        rules = {
            "problems": (self.problems >= 1, "at least 1"),
            "eps": (self.eps > 0, "> 0"),
        }
        errors.hold(self, rules)


def run(config: PlantedNetworks, progress: bool = False) -> tuple[dict, dict[str, np.ndarray]]:
    """Draw, search and measure.

    Returns a JSON-able record that names the axes of the arrays, and the arrays of ``measured``.
    """
    started = time.perf_counter()
    arrays = measured(config, SETTINGS, progress)
    names = ("depth", "samples", "noise")
    return {
        "config": asdict(config),
        "settings": [dict(zip(names, setting)) for setting in SETTINGS],
        **{"penalties": PENALTIES, "starts": STARTS, "ways": WAYS, "lambdas": LAMBDAS.tolist(), "looks": LOOKS},
        "seconds": time.perf_counter() - started,
    }, arrays


def measured(config: PlantedNetworks, settings: Sequence[tuple], progress: bool = False) -> dict[str, np.ndarray]:
    """What both penalties find of ``config.problems`` problems in each of these settings (depth, samples, noise).

    Of the whole paths, (settings, penalties, starts, problems, λ): ``path_error``, ``path_f1`` and ``path_kept``. Of
    the points chosen in each of the ``WAYS``, (settings, penalties, ways, problems): what ``point`` says.
    """
    generator = torch.Generator().manual_seed(config.seed)
    found = []
    for setting in tqdm(settings, disable=not progress, unit="setting"):
        drawn, held_out = networks.networks(config.problems, *setting, generator)
        found.append([_found(drawn, held_out, regularizer) for regularizer in (L1(), Log(config.eps))])
    return {
        key: np.stack([[each[key].numpy().astype(np.float32) for each in row] for row in found]) for key in found[0][0]
    }


def _found(problems: Networks, held_out: Networks, regularizer: Regularizer) -> dict[str, Tensor]:
    """What this penalty finds of these problems: each of the arrays of ``measured``, without its first two axes."""
    n, count = len(problems.target), len(LAMBDAS)
    many = problems.at(torch.arange(n).repeat_interleave(count))
    walks = [
        solver.backtracking(many, regularizer, LAMBDAS.repeat(n), start, ITERATIONS, LOOKS)
        for start in (torch.ones_like(many.target), many.target)
    ]
    masks = torch.stack([m for m, _, _ in walks])
    error = (masks - many.target).norm(dim=2)
    paths = {"error": error, "f1": f1(masks, many.target), "kept": (masks > ALPHA).sum(2)}
    paths = {f"path_{key}": values.view(len(STARTS), n, count) for key, values in paths.items()}
    (wide, near), first = paths["path_error"], torch.arange(n) * count
    chosen = [(0, equal_density(paths["path_kept"][0], problems.kept())), (0, wide.argmin(1)), (1, near.argmin(1))]
    points = []
    for start, index in chosen:
        m, done, seen = walks[start]
        at, lam = first + index, LAMBDAS[index]
        found = point(problems, held_out, regularizer, lam, m[at], torch.cat([seen[:, at], m[None, at]]))
        points.append(found | {"lam": lam, "done": done[at]})
    return paths | {key: torch.stack([each[key] for each in points]) for key in points[0]}


def f1(m: Tensor, target: Tensor) -> Tensor:
    """F1 of the support (…): the harmonic mean of how much of it is right, and how much of the target's it has."""
    kept = m > ALPHA
    return 2 * (kept & (target > 0)).sum(-1) / (kept.sum(-1) + target.sum(-1))


def equal_density(kept: Tensor, asked: Tensor) -> Tensor:
    """Of each path (n, λ) of numbers of kept entries the index (n,) where it is nearest to ``asked`` (n,).

    If that is at several λ, the middle one.
    """
    miss = (kept - asked[:, None]).abs()
    at = [torch.nonzero(row == row.min())[:, 0] for row in miss]
    return torch.stack([each[len(each) // 2] for each in at])


def point(
    problems: Networks, held_out: Networks, regularizer: Regularizer, lam: Tensor, m: Tensor, search: Tensor
) -> dict[str, Tensor]:
    """What can be said of masks m (n, d) to which a search came by way of ``search`` (looks, n, d), each (n,).

    ``error`` D and ``weight_error`` ‖(m − m̃)⊙θ‖, ``f1``, how many entries are ``kept``, and how many of these are
    ``undecided``, below 1 − ``ALPHA``; ``loss`` and ``held_out`` loss; ``price`` R(m); ``force`` ‖v‖, which over γ is
    the bound T2. And what might stand for γ there: ``monotonicity``, the curvature ``between`` target and mask, and the
    least curvature along the ``search`` (looks, n), each time on the entries that are not zero.
    """
    kept, slope = m > ALPHA, problems.gradient(problems.target)
    return {
        "error": bounds.distance(problems, m),
        "weight_error": ((m - problems.target) * problems.weights).norm(dim=1),
        "f1": f1(m, problems.target),
        "kept": kept.sum(1),
        "undecided": (kept & (m < 1 - ALPHA)).sum(1),
        "loss": problems.value(m),
        "held_out": held_out.value(m),
        "price": regularizer.value(m).sum(1),
        "force": bounds.stationary(bounds.Case(problems, regularizer, lam, torch.ones_like(lam), slope), m),
        "monotonicity": curvature.monotonicity(problems, m),
        "between": curvature.between(problems, m),
        "search": torch.stack([curvature.least(problems, each, each > 0) for each in search]),
    }
