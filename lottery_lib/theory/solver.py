"""Stationary points of L + λR on the box: by projected gradient for any loss, in closed form where L is isotropic."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from lottery_lib.regularizers import Log, Regularizer
from lottery_lib.theory.planted import Problems

TOLERANCE = 1e-10  # the longest projected gradient step, an entry, from a point that counts as stationary
SLOW = 1e-7  # the longest step of ``backtracking`` at such a point, an entry, over the length of the step
ROUNDING = 1e-14  # of a loss of about 1
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


def backtracking(
    problems: Problems, regularizer: Regularizer, lam: Tensor, start: Tensor, iterations: int, looks: Sequence[int] = ()
) -> tuple[Tensor, Tensor, Tensor]:
    """``projected_gradient`` where the largest curvature is not known; also the masks (looks, n, d) on the way.

    Each problem has a step of its own. It is halved until L lies below its quadratic model at the next point, so that
    L + λR falls, and after that tried a tenth longer. A problem is done when no entry moves faster than ``SLOW``.
    """
    m, done, seen = start.clone(), torch.zeros(len(start), dtype=torch.bool), []
    left, left_problems, now, pull, step = torch.arange(len(start)), problems, start, lam, torch.ones_like(lam)
    value, gradient = problems.both(now)
    for iteration in range(iterations):
        if iteration in looks:
            m[left] = now
            seen.append(m.clone())
        moved = (now - step[:, None] * (gradient + pull[:, None] * regularizer.gradient(now))).clamp(0, 1)
        away, (moved_value, moved_gradient) = moved - now, left_problems.both(moved)
        model = value + (gradient * away).sum(1) + away.square().sum(1) / (2 * step)
        taken = moved_value <= model + ROUNDING
        still = taken & (away.abs().amax(1) <= SLOW * step)
        now, gradient = (torch.where(taken[:, None], *both) for both in ((moved, now), (moved_gradient, gradient)))
        value, step = torch.where(taken, moved_value, value), torch.where(taken, 1.1 * step, step / 2)
        if (iteration + 1) % LOOKED == 0 and still.any():
            m[left], done[left[still]] = now, True
            if still.all():
                break
            left, now, value, gradient, pull, step = (of[~still] for of in (left, now, value, gradient, pull, step))
            left_problems = problems.at(left)
    m[left] = now
    return m, done, torch.stack([*seen, *[m] * (len(looks) - len(seen))]) if looks else m[None][:0]


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
