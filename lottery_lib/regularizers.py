"""Penalties R(m) = Σᵢ r(mᵢ) on a relaxed mask m ∈ [0, 1]ᵈ.

Every r is concave and increasing with r(0) = 0 and r(1) = 1, so that λ has one meaning for all of them: the price of
a weight that is kept. ℓ1 is the linear, hence not strictly, concave end of the family (arXiv 2501.11135 studies ℓ1
and the logarithm; the other three are the concave penalties of the sparse-estimation literature). All are
differentiable on the box, so projected gradient replaces subgradients; on m ≥ 0 beyond 1 they go on as written.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cache
from typing import Any, ClassVar

import torch
from torch import Tensor

from lottery_lib import errors
from lottery_lib.errors import LotteryError, hint

RULES: dict[str, Callable[[float], bool]] = {
    "> 0": lambda shape: shape > 0,
    "≥ 1": lambda shape: shape >= 1,
    "between 0 and 1, both excluded": lambda shape: 0 < shape < 1,
}


@dataclass(frozen=True)
class Regularizer:
    """Base class. A subclass gives ``raw`` and ``raw_slope``, elementwise on tensors; they are normalised here.

    They take m ≥ 0 of any shape.
    """

    RULE: ClassVar[str] = "> 0"  # for its shape, one of ``RULES``

    def __post_init__(self) -> None:
        errors.settle(self)
        for item in fields(self):
            value = getattr(self, item.name)
            if not RULES[self.RULE](value):
                raise LotteryError(f"{item.name} = {value!r}: must be {self.RULE}")

    def raw(self, m: Tensor) -> Tensor:
        raise NotImplementedError

    def raw_slope(self, m: Tensor) -> Tensor:
        raise NotImplementedError

    @property
    def scale(self) -> float:
        """1 / raw(1), for a raw penalty with raw(0) = 0."""
        return _scale(self)

    def value(self, m: Tensor) -> Tensor:
        """r(m), of m's shape."""
        return self.raw(m) * self.scale

    def gradient(self, m: Tensor) -> Tensor:
        """r'(m), of m's shape."""
        return self.raw_slope(m) * self.scale

    def penalty(self, m: Tensor) -> Tensor:
        """R(m) = Σᵢ r(mᵢ), a scalar tensor."""
        return self.value(m).sum()

    def slope(self, at: float) -> float:
        """r'(at): the pull on an entry. ``slope(0)`` must be finite to hold an entry at zero by projection alone."""
        return float(self.gradient(torch.tensor(at, dtype=torch.float64)))


@cache  # asked for by every step
def _scale(regularizer: Regularizer) -> float:
    return 1 / float(regularizer.raw(torch.tensor(1.0, dtype=torch.float64)))


@dataclass(frozen=True)
class L1(Regularizer):
    """r(m) = m: the same pull on every entry, 1."""

    def raw(self, m: Tensor) -> Tensor:
        return m

    def raw_slope(self, m: Tensor) -> Tensor:
        return torch.ones_like(m)


@dataclass(frozen=True)
class Log(Regularizer):
    """r(m) = log(1 + m/ε) / log(1 + 1/ε) (Candès, Wakin & Boyd 2008, as a penalty). ε → ∞ is ℓ1, ε → 0 is ℓ0."""

    eps: float = 0.1  # ε > 0

    def raw(self, m: Tensor) -> Tensor:
        return torch.log1p(m / self.eps)

    def raw_slope(self, m: Tensor) -> Tensor:
        return (m + self.eps).reciprocal()


@dataclass(frozen=True)
class Lp(Regularizer):
    """r(m) ∝ (m + δ)ᵖ − δᵖ with 0 < p < 1; δ = 10⁻³ keeps the slope at zero finite (Foucart & Lai 2009)."""

    p: float = 0.5  # the exponent, between 0 and 1
    DELTA = 1e-3
    RULE = "between 0 and 1, both excluded"

    def raw(self, m: Tensor) -> Tensor:
        return self.DELTA**self.p * torch.expm1(self.p * torch.log1p(m / self.DELTA))  # exactly 0 at 0

    def raw_slope(self, m: Tensor) -> Tensor:
        return self.p * (m + self.DELTA) ** (self.p - 1)


@dataclass(frozen=True)
class MCP(Regularizer):
    """Minimax concave penalty, r(m) ∝ m − m²/2γ up to m = γ, flat beyond (Zhang 2010).

    γ ≥ 1 keeps r increasing on the box.
    """

    gamma: float = 1.0  # γ
    RULE = "≥ 1"

    def raw(self, m: Tensor) -> Tensor:
        inside = m.clamp(max=self.gamma)
        return inside - inside**2 / (2 * self.gamma)

    def raw_slope(self, m: Tensor) -> Tensor:
        return (1 - m / self.gamma).clamp(min=0)


@dataclass(frozen=True)
class Exponential(Regularizer):
    """r(m) ∝ 1 − exp(−m/s) (Bradley & Mangasarian 1998); s → 0 is ℓ0."""

    s: float = 0.2  # the scale, above 0

    def raw(self, m: Tensor) -> Tensor:
        return -torch.expm1(-m / self.s)

    def raw_slope(self, m: Tensor) -> Tensor:
        return torch.exp(-m / self.s) / self.s


REGULARIZERS: dict[str, type[Regularizer]] = {"l1": L1, "log": Log, "lp": Lp, "mcp": MCP, "exponential": Exponential}


def create(name: str, shape: float | None = None) -> Regularizer:
    """The penalty l1, log, lp, mcp or exponential; ``shape`` is its one parameter (ε, p, γ or s), None for the default.

    Raises:
        LotteryError: an unknown name, a shape out of its range, or a shape for ℓ1, which has none.

    >>> import torch
    >>> import lottery_lib as lottery
    >>> log = lottery.regularizers.create("log", shape=0.1)
    >>> log.value(torch.tensor([0.0, 0.5, 1.0]))
    tensor([0.0000, 0.7472, 1.0000])
    """
    if name not in [*REGULARIZERS]:  # a list has no hash to be sought by
        raise LotteryError(f"unknown regulariser {name!r}{hint(name, REGULARIZERS)}")
    cls: type[Any] = REGULARIZERS[name]
    if shape is None:
        return cls()
    if not fields(cls):
        raise LotteryError(f"regulariser {name!r} has no shape parameter; leave out {shape!r}")
    return cls(shape)
