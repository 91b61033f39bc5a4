"""Bounds on the distance D = ‖m* − m̃‖₂ between what a penalty λR finds and the mask that was planted.

The paper's own constants are not known to us: these are ours, with their proofs in the chapter "Why concave?". L is
γ-strongly convex on the box, S the k entries that the target m̃ keeps, g = ∇L(m̃), t = λ/γ and x = t√k. On S an entry
falls short of its target by aᵢ = 1 − mᵢ, off S it exceeds it by bᵢ = mᵢ. c = r′(0) ε is the logarithm's constant.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from lottery_lib.errors import LotteryError
from lottery_lib.regularizers import L1, Log, Regularizer
from lottery_lib.theory.planted import Problems


class Case(NamedTuple):
    """n problems with a penalty and its λ (n,), and what the bounds ask of them again and again."""

    problems: Problems
    regularizer: Regularizer
    lam: Tensor
    strength: Tensor  # γ (n,)
    slope: Tensor  # g (n, d)

    @property
    def t(self) -> Tensor:
        """The ratio λ/γ (n,)."""
        return self.lam / self.strength

    @property
    def x(self) -> Tensor:
        """How far ℓ1 may be off, λ√k/γ (n,)."""
        return self.t * self.problems.kept().sqrt()


def case(problems: Problems, regularizer: Regularizer, lam: Tensor) -> Case:
    """The case of these problems under this penalty."""
    return Case(problems, regularizer, lam, problems.strength(), problems.gradient(problems.target))


def distance(problems: Problems, m: Tensor) -> Tensor:
    """D (n,) of the masks m (n, d)."""
    return (m - problems.target).norm(dim=1)


def cheap(case: Case, m: Tensor) -> Tensor:
    """T1, the bound (n,) on D for any m (n, d) that costs no more than the target, L + λR; so for a global minimiser.

    D² ≤ (2/γ) (Σ_S [λ(1 − r(mᵢ)) + gᵢaᵢ] − Σ_off [λr(bᵢ) + gᵢbᵢ]). For ℓ1 without noise it is at most 2x.
    """
    paid = case.lam[:, None] * (case.problems.target - case.regularizer.value(m))
    gained = (paid - case.slope * (m - case.problems.target)).sum(1)
    return (2 * gained.clamp(min=0) / case.strength).sqrt()


def stationary(case: Case, m: Tensor) -> Tensor:
    """T2, the bound (n,) on D for any stationary m (n, d): ‖v‖/γ.

    vᵢ = (λr′(mᵢ) + gᵢ)₊ on S where aᵢ > 0, and (−gᵢ − λr′(mᵢ))₊ off S where bᵢ > 0. For ℓ1 without noise at most x.
    """
    sign = 2 * case.problems.target - 1  # +1 on S, −1 off
    pull = sign * (case.lam[:, None] * case.regularizer.gradient(m) + case.slope)
    return (pull.clamp(min=0) * (m != case.problems.target)).norm(dim=1) / case.strength


def gap(log: Log, x: Tensor) -> tuple[Tensor, Tensor]:
    """T3: without noise every stationary point of the logarithm has D ≤ D₁ or D ≥ D₂, both (n,), in ``x`` (n,) alone.

    D₁,₂ = ((1 + ε) ∓ √((1 + ε)² − 4cx))/2, and NaN where x > (1 + ε)²/4c, as there is no gap.
    """
    end = 1 + log.eps
    root = (end**2 - 4 * log.scale * x).sqrt()  # NaN where it is negative
    return (end - root) / 2, (end + root) / 2


def near(log: Log, t: Tensor, k: Tensor) -> Tensor:
    """T3, the sharp form: D ≤ √k a₁ (n,), a₁ = ((1 + ε) − √((1 + ε)² − 4ct))/2, with equality if L is isotropic.

    It holds without noise at every stationary point none of whose kept entries falls short by more than (1 + ε)/3;
    those of ``assured`` are such. NaN where t > (1 + ε)²/4c.
    """
    return k.sqrt() * gap(log, t)[0]


def assured(log: Log, x: Tensor, distance: Tensor) -> Tensor:
    """Whether x (n,) and T3's gap alone tell that ``near`` holds: D is on the near side, and D₁ ≤ (1 + ε)/3."""
    first, _ = gap(log, x)
    return (distance <= first) & (first <= (1 + log.eps) / 3)


def threshold(regularizer: Regularizer, lam: Tensor, strength: Tensor) -> Tensor:
    """T4: τ (n,), the least of λr′(m) + γm on the box, for ℓ1 and the logarithm; LotteryError for another penalty."""
    if isinstance(regularizer, L1):
        return lam.clone()
    if not isinstance(regularizer, Log):
        raise LotteryError(f"{regularizer!r}: must be ℓ1 or the logarithm, for which τ has a closed form")
    lowest = ((lam * regularizer.scale / strength).sqrt() - regularizer.eps).clamp(0, 1)
    return lam * regularizer.gradient(lowest) + strength * lowest


def sure_zeros(case: Case, m: Tensor, share: float = 1.0) -> Tensor:
    """T4: off S, the entries (n, d) that must be exactly 0 at a stationary m, since νᵢD − gᵢ < τ.

    νᵢ is the norm of the curvature's i-th row without its diagonal. ``share`` multiplies τ.
    """
    curvature = case.problems.curvature(m)
    rows = (curvature - torch.diag_embed(curvature.diagonal(dim1=1, dim2=2))).norm(dim=2)
    pull = rows * distance(case.problems, m)[:, None] - case.slope
    least = share * threshold(case.regularizer, case.lam, case.strength)
    return (case.problems.target == 0) & (pull < least[:, None])


def recovers(case: Case, share: float = 1.0) -> Tensor:
    """T5: whether (n,) m̃ itself is stationary: −gᵢ ≥ λr′(1) on S, and −gᵢ ≤ λr′(0) off S.

    ``share`` makes what is asked on S smaller, and what is allowed off S larger.
    """
    pull, (at_zero, at_one) = -case.slope, (case.regularizer.slope(at) for at in (0.0, 1.0))
    kept, dead = pull >= share * case.lam[:, None] * at_one, pull <= case.lam[:, None] * at_zero / share
    return torch.where(case.problems.target == 1, kept, dead).all(1)
