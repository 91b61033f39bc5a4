"""Planted networks: teacher and student have the same weights θ, and the student looks for the teacher's mask m̃.

Square layers of ``WIDTH`` units without biases, with tanh between them. At depth 1 the loss is quadratic in the mask,
from depth 2 on it is not convex. As in ``theory.planted`` every tensor is float64 with the problems along its first
dimension; a mask (n, d) holds the layers one after the other, d = depth · WIDTH².
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from lottery_lib.theory.planted import Problems

WIDTH = 8
FANS = 2  # inputs that the teacher leaves a unit, and units that it leaves an input: each entry kept has its say
HELD_OUT = 80  # samples that no student is trained on


@dataclass(frozen=True)
class Networks(Problems):
    """L(m) = ‖f(X; m⊙θ) − Y‖²/2N, of N samples (rows of X)."""

    weights: Tensor  # θ (n, d)
    inputs: Tensor  # X (n, N, WIDTH)
    labels: Tensor  # Y (n, N, WIDTH)

    @property
    def depth(self) -> int:
        return self.target.shape[1] // WIDTH**2

    def outputs(self, m: Tensor) -> Tensor:
        """f(X; m⊙θ) (n, N, WIDTH)."""
        layers = (m * self.weights).view(-1, self.depth, WIDTH, WIDTH).unbind(1)
        hidden = self.inputs
        for number, layer in enumerate(layers):
            hidden = (hidden.tanh() if number else hidden) @ layer.mT
        return hidden

    def value(self, m: Tensor) -> Tensor:
        return (self.outputs(m) - self.labels).square().sum(2).mean(1) / 2

    def gradient(self, m: Tensor) -> Tensor:
        return self.both(m)[1]

    def both(self, m: Tensor) -> tuple[Tensor, Tensor]:
        at = m.detach().requires_grad_()
        value = self.value(at)
        return value.detach(), torch.autograd.grad(value.sum(), at)[0]

    def hessian(self, m: Tensor) -> Callable[[Tensor], Tensor]:
        """The function v (n, d) ↦ ∇²L(m) v (n, d). The problems do not meet, so one product serves them all."""
        at = m.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(self.value(at).sum(), at, create_graph=True)
        return lambda v: torch.autograd.grad(gradient, at, v, retain_graph=True)[0]


def networks(n: int, depth: int, samples: int, noise: float, generator: torch.Generator) -> tuple[Networks, Networks]:
    """n problems, and the same ones with ``HELD_OUT`` other samples.

    Inputs are N(0, 1). Weights are of either sign, their sizes even between ½ and 3/2 over √2, so that the teacher's
    units are driven by sums of variance about 1. Labels are the teacher's outputs with normal ``noise``, in units of
    the standard deviation of these outputs.
    """
    target = torch.stack([_mask(depth, generator) for _ in range(n)])
    size, sign = (torch.rand(target.shape, generator=generator, dtype=torch.float64) for _ in range(2))
    weights = torch.where(sign < 0.5, -1, 1) * (0.5 + size) / FANS**0.5
    shape = n, samples + HELD_OUT, WIDTH
    inputs, errors = (torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(2))
    clear = Networks(target, weights, inputs, inputs).outputs(target)
    labels = clear + noise * clear.std((1, 2), keepdim=True) * errors
    parts = zip(inputs.split([samples, HELD_OUT], 1), labels.split([samples, HELD_OUT], 1))
    trained, held_out = (Networks(target, weights, *part) for part in parts)
    return trained, held_out


def _mask(depth: int, generator: torch.Generator) -> Tensor:
    """A teacher's mask (d,): of every layer a ring in which unit i keeps the inputs i and i + 1, then both shuffled."""
    layers, one = [], torch.eye(WIDTH, dtype=torch.float64)
    ring = torch.stack([one.roll(shift, 1) for shift in range(FANS)]).sum(0)
    for _ in range(depth):
        rows, columns = (torch.randperm(WIDTH, generator=generator) for _ in range(2))
        layers.append(ring[rows][:, columns].flatten())
    return torch.cat(layers)
