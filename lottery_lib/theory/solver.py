"""Stationary points of L + λR on the box: by projected gradient for any loss, in closed form where L is isotropic."""

import math

import torch
from torch import Tensor

from lottery_lib.regularizers import Log, Regularizer
from lottery_lib.theory.planted import Problems

TOLERANCE = 1e-10  # the longest projected gradient step, an entry, from a point that counts as stationary
LOOKED = 50  # iterations between two looks at which problems are done


def projected_gradient(
    problems: Problems, regularizer: Regularizer, lam: Tensor, start: Tensor, iterations: int = 4000
) -> tuple[Tensor, Tensor]:
    """Where projected gradient ends from ``start`` (n, d) under λ (n,): the masks (n, d), and who is stationary (n,).

    The step is one over the largest curvature of L. As R is concave, L + λR falls with each. A problem whose step is
    below ``TOLERANCE`` is done, and the others go on.
    """
    m, done = start.clone(), torch.zeros(len(start), dtype=torch.bool)
    left, left_problems, step = torch.arange(len(start)), problems, 1 / problems.smoothness()
    for iteration in range(iterations):
        now, at = m[left], left
        moved = (
            now - step[at, None] * (left_problems.gradient(now) + lam[at, None] * regularizer.gradient(now))
        ).clamp(0, 1)
        m[left] = moved
        if (iteration + 1) % LOOKED == 0:
            still = (moved - now).abs().amax(1) <= TOLERANCE
            done[left[still]] = True
            if still.all():
                break
            if still.any():
                left = left[~still]
                left_problems = problems.at(left)
    return m, done


def objective(problems: Problems, regularizer: Regularizer, lam: Tensor, m: Tensor) -> Tensor:
    """L(m) + λR(m) (n,)."""
    return problems.value(m) + lam * regularizer.value(m).sum(1)


def kept_entry(log: Log, t: float) -> list[float]:
    """The stationary points in [0, 1] of ½(m − 1)² + t r(m), one kept entry of an isotropic loss, in rising order.

    They are the roots (1 − ε ∓ √((1 + ε)² − 4tc))/2, c = r′(0) ε, that lie in the box, and 0 if the pull holds there.
    """
    root = (1 + log.eps) ** 2 - 4 * t * log.scale
    points = [(1 - log.eps + sign * math.sqrt(root)) / 2 for sign in (-1, 1)] if root >= 0 else []
    inside = [m for m in points if 0 < m <= 1]
    return [0.0, *inside] if t * log.slope(0) >= 1 else inside
