"""Planted problems: losses of a mask whose target m̃ ∈ {0, 1}ᵈ is known, thousands of them at once.

Every tensor is float64 with the problems along its first dimension: n problems with d entries have masks (n, d).
"""

from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.nn.functional import softplus


@dataclass(frozen=True)
class Problems:
    """n losses L on [0, 1]ᵈ, and what the bounds ask of them. A subclass gives the methods.

    Those here are γ-strongly convex. Of a loss that is not convex (``theory.networks``), γ has no meaning.
    """

    target: Tensor  # m̃ (n, d), of zeros and ones

    def value(self, m: Tensor) -> Tensor:
        """L(m) (n,)."""
        raise NotImplementedError

    def gradient(self, m: Tensor) -> Tensor:
        """∇L(m) (n, d)."""
        raise NotImplementedError

    def both(self, m: Tensor) -> tuple[Tensor, Tensor]:
        """L(m) (n,) and ∇L(m) (n, d)."""
        return self.value(m), self.gradient(m)

    def curvature(self, m: Tensor) -> Tensor:
        """∇²L averaged between m̃ and m, (n, d, d): times m − m̃ it is ∇L(m) − ∇L(m̃)."""
        raise NotImplementedError

    def strength(self) -> Tensor:
        """γ (n,), the least curvature that can be guaranteed on the whole box."""
        raise NotImplementedError

    def smoothness(self) -> Tensor:
        """The largest curvature on the box (n,)."""
        raise NotImplementedError

    def kept(self) -> Tensor:
        """k (n,), how many entries the target keeps."""
        return self.target.sum(1)

    def at(self, index: Tensor) -> "Problems":
        """The problems of these numbers, in this order; they may repeat."""
        return type(self)(**{item.name: getattr(self, item.name)[index] for item in fields(self)})


@dataclass(frozen=True)
class Quadratic(Problems):
    """L(m) = ½(m − m̃)ᵀH(m − m̃) + gᵀ(m − m̃)."""

    hessian: Tensor  # H (n, d, d)
    slope: Tensor  # g (n, d), 0 without noise

    def value(self, m: Tensor) -> Tensor:
        away = m - self.target
        return (away * (_apply(self.hessian, away) / 2 + self.slope)).sum(1)

    def gradient(self, m: Tensor) -> Tensor:
        return _apply(self.hessian, m - self.target) + self.slope

    def curvature(self, m: Tensor) -> Tensor:
        return self.hessian

    def strength(self) -> Tensor:
        return torch.linalg.eigvalsh(self.hessian)[:, 0]

    def smoothness(self) -> Tensor:
        return torch.linalg.eigvalsh(self.hessian)[:, -1]


@dataclass(frozen=True)
class Logistic(Problems):
    """The mean logistic loss of the logits X m, where the weights that m masks are part of X."""

    inputs: Tensor  # X (n, N, d)
    labels: Tensor  # (n, N) in [0, 1]: probabilities under m̃ without noise, else drawn

    def value(self, m: Tensor) -> Tensor:
        logits = _apply(self.inputs, m)
        return (softplus(logits) - self.labels * logits).mean(1)

    def gradient(self, m: Tensor) -> Tensor:
        wrong = torch.sigmoid(_apply(self.inputs, m)) - self.labels
        return _apply(self.inputs.mT, wrong) / self.labels.shape[1]

    def curvature(self, m: Tensor) -> Tensor:
        logits, planted = _apply(self.inputs, m), _apply(self.inputs, self.target)
        apart = logits - planted
        secant = (torch.sigmoid(logits) - torch.sigmoid(planted)) / torch.where(apart == 0, 1, apart)
        return self._weighted(torch.where(apart.abs() < 1e-6, _sigmoid_slope(planted), secant))

    def strength(self) -> Tensor:
        # σ′ falls with the size of a logit, and on the box no logit is larger than all inputs of one sign together.
        largest = torch.maximum(self.inputs.clamp(min=0).sum(2), -self.inputs.clamp(max=0).sum(2))
        return torch.linalg.eigvalsh(self._weighted(_sigmoid_slope(largest)))[:, 0]

    def smoothness(self) -> Tensor:
        return torch.linalg.eigvalsh(self._weighted(torch.full_like(self.labels, 0.25)))[:, -1]

    def _weighted(self, weights: Tensor) -> Tensor:
        return self.inputs.mT @ (weights[:, :, None] * self.inputs) / self.labels.shape[1]


def targets(n: int, d: int, generator: torch.Generator) -> Tensor:
    """n targets (n, d), each of which keeps between 1 and d − 1 entries, the first ones."""
    kept = torch.randint(1, d, (n, 1), generator=generator)
    return (torch.arange(d) < kept).double()


def quadratics(n: int, d: int, noise: bool, generator: torch.Generator) -> Quadratic:
    """n quadratic problems with γ = 1. Every fourth has H = I; the others' largest curvature is up to some 30.

    With noise the data pull each entry at the target, by g ~ N(0, 0.2²).
    """
    target = targets(n, d, generator)
    factor = torch.randn(n, d, 2 * d, generator=generator, dtype=torch.float64)
    hessian = factor @ factor.mT / (2 * d)
    hessian = hessian / torch.linalg.eigvalsh(hessian)[:, :1, None]
    mixed = torch.rand(n, 1, 1, generator=generator, dtype=torch.float64) * (torch.arange(n) % 4 > 0)[:, None, None]
    hessian = mixed * hessian + (1 - mixed) * torch.eye(d, dtype=torch.float64)
    slope = 0.2 * noise * torch.randn(n, d, generator=generator, dtype=torch.float64)
    return Quadratic(target, hessian, slope)


def logistics(n: int, d: int, noise: bool, generator: torch.Generator) -> Logistic:
    """n logistic problems with 32 inputs N(0, ¼). Labels are the probabilities under m̃; with noise, drawn from them."""
    target = targets(n, d, generator)
    inputs = torch.randn(n, 32, d, generator=generator, dtype=torch.float64) / 2
    labels = torch.sigmoid(_apply(inputs, target))
    return Logistic(target, inputs, torch.bernoulli(labels, generator=generator) if noise else labels)


def regressions(
    n: int, d: int, kept: int, samples: int, noise: float, correlation: float, generator: torch.Generator
) -> Quadratic:
    """n linear regressions y = X m̃ + noise·N(0, 1), in which neighbouring inputs are correlated.

    L(m) = ‖X m − y‖²/2N, which is quadratic about m̃.
    """
    target = torch.zeros(n, d, dtype=torch.float64)
    for row in target:
        row[torch.randperm(d, generator=generator)[:kept]] = 1
    order = torch.arange(d, dtype=torch.float64)
    root = torch.linalg.cholesky(torch.tensor(correlation, dtype=torch.float64) ** (order[:, None] - order).abs())
    inputs = torch.randn(n, samples, d, generator=generator, dtype=torch.float64) @ root.T
    errors = noise * torch.randn(n, samples, generator=generator, dtype=torch.float64)
    return Quadratic(target, inputs.mT @ inputs / samples, -_apply(inputs.mT, errors) / samples)


def _apply(matrices: Tensor, vectors: Tensor) -> Tensor:
    return (matrices @ vectors[:, :, None])[:, :, 0]


def _sigmoid_slope(logits: Tensor) -> Tensor:
    return torch.sigmoid(logits) * torch.sigmoid(-logits)
