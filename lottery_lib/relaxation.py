"""What stands between the optimiser and the weights: dense, under a fixed mask, or relaxed to w = m⊙θ.

The effective weight is the leaf. The network stays a plain module whose parameters hold W; one ordinary backward pass
gives G = ∂L/∂W, and the chain rule through a mask is element-wise. So there are no masked layers, hooks or copies of
the network, the addresses of its weights never change, and any ``nn.Module`` will do.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lottery_lib import states
from lottery_lib.errors import LotteryError
from lottery_lib.masks import Mask
from lottery_lib.regularizers import Regularizer


class Parameterization:
    """Dense weights: the optimiser acts on W itself. Subclasses put a mask in between.

    Around each step the training loop calls ``advance``, after the backward pass ``fill_gradients`` and ``pull_back``,
    and after the optimiser's step ``push_forward``. ``leaves`` are what the optimiser steps on, a tensor for each name.
    """

    def __init__(self, model: nn.Module, names: Sequence[str] = ()):
        self.names = list(names)
        own = states.parameters(model)
        self.weights: list[Tensor] = [own[name] for name in self.names]
        self.leaves = self.weights

    def advance(self, fraction: float) -> None:
        """Told before each step how much of the training is done, 0 to 1."""

    def follow(self) -> None:
        """Go where the weights have gone, as to the GPU that somebody else's trainer puts a network on."""
        for kept in vars(self).values():
            if isinstance(kept, list) and kept is not self.weights and all(isinstance(t, Tensor) for t in kept):
                kept[:] = [t if t.device == w.device else _moved(t, w.device) for t, w in zip(kept, self.weights)]

    def fill_gradients(self) -> None:
        """Zero for a weight that got no gradient in this step, as by stochastic depth; a dense one for a sparse one."""
        for weight in self.weights:
            if weight.grad is None:
                weight.grad = torch.zeros_like(weight)
            elif weight.grad.is_sparse:  # as of an embedding
                weight.grad = weight.grad.to_dense()

    def pull_back(self) -> None:
        """Turn the gradient at W into the gradient of the leaves."""

    def push_forward(self) -> None:
        """Write W from the leaves."""

    def state(self) -> dict[str, Tensor]:
        """Tensors that a checkpoint must hold beside the model's own; ``load`` takes them back."""
        return {}

    @torch.no_grad()
    def load(self, state: dict[str, Tensor]) -> None:
        """Take back, in place, what ``state`` gave; the model's own tensors are loaded by whoever saved them."""
        for key, tensor in self.state().items():
            tensor.copy_(state[key])

    def describe(self) -> dict:
        """What, beside the weights, decides where training goes: JSON-able, part of a training's identity."""
        return {}

    def metrics(self) -> dict[str, Tensor]:
        """Scalars for the log, on the device."""
        return {}

    def _named(self, prefix: str, tensors: Sequence[Tensor]) -> dict[str, Tensor]:
        return {f"{prefix}.{name}": tensor for name, tensor in zip(self.names, tensors)}


class FixedMask(Parameterization):
    """W under a mask that stays: what is zero stays zero, as its gradient is removed before momentum can see it."""

    def __init__(self, model: nn.Module, mask: Mask):
        super().__init__(model, list(mask))
        self.mask = [like(w, mask[name]) for name, w in zip(self.names, self.weights)]
        with torch.no_grad():
            torch._foreach_mul_(self.weights, self.mask)
            torch._foreach_add_(self.weights, 0.0)  # −0 to 0: a ticket's weights have the same bits, so its file serves

    def pull_back(self) -> None:
        gradients: list[Any] = [w.grad for w in self.weights]  # not None: they were filled
        torch._foreach_mul_(gradients, self.mask)

    def state(self) -> dict[str, Tensor]:
        return self._named("mask", self.mask)


class RelaxedMask(Parameterization):
    """W = m⊙θ with m ∈ [0, 1]: the optimiser moves θ, a projected gradient step moves m (arXiv 2501.11135).

        ∂L/∂θ = m⊙G,   ∂/∂m (L + λR) = θ⊙G + λr'(m),   m ← clip(m − η_m ∂/∂m, 0, 1)

    Entries that start with θ = m = 0 stay so: what earlier rounds have pruned needs no further care. With λ = 0 and
    η_m = 0 every step is the dense one, bit for bit.
    """

    def __init__(
        self, model: nn.Module, names: Sequence[str], regularizer: Regularizer, lam: float, mask_lr: float,
        within: Mask | None = None,
    ):  # fmt: skip
        super().__init__(model, names)
        require_real(self.names, self.weights)
        self.regularizer, self.lam, self.mask_lr = regularizer, lam, mask_lr
        ones = torch.ones(())
        self.m = [like(w, ones if within is None else within[n], wide=True) for n, w in zip(self.names, self.weights)]
        self.theta = [(w.detach() * m).requires_grad_() for w, m in zip(self.weights, self.m)]
        self.leaves = self.theta
        self.push_forward()

    @property
    def _parts(self) -> list[slice]:
        """On a CPU one tensor after the other, which stays in its cache then; on a GPU together, but the penalty."""
        count, size = len(self.m), len(self.m) if self.m[0].is_cuda else 1
        return [slice(first, first + size) for first in range(0, count, size)]

    @torch.no_grad()
    def pull_back(self) -> None:
        for part in self._parts:
            thetas, masks = self.theta[part], self.m[part]
            pairs: Any = zip(self.weights[part], masks)  # whose gradients are not None: they were filled
            gradients: list[Any] = [w.grad if w.dtype == m.dtype else w.grad.to(m.dtype) for w, m in pairs]
            mask_gradients = torch._foreach_mul(thetas, gradients)
            torch._foreach_mul_(gradients, masks)  # in place: now ∂L/∂θ, before m moves
            for theta, gradient in zip(thetas, gradients):
                theta.grad = gradient
            self.penalize(part, mask_gradients)
            torch._foreach_add_(masks, mask_gradients, alpha=-self.mask_lr)
            torch._foreach_clamp_min_(masks, 0.0)
            torch._foreach_clamp_max_(masks, 1.0)

    def penalize(self, part: slice, mask_gradients: tuple[Tensor, ...]) -> None:
        """Add the penalty's pull to θ⊙G of these tensors, in place. A subclass may add another."""
        torch._foreach_add_(mask_gradients, [self.regularizer.gradient(m) for m in self.m[part]], alpha=self.lam)

    @torch.no_grad()
    def push_forward(self) -> None:
        for w, m, theta in zip(self.weights, self.m, self.theta):
            torch.mul(m, theta, out=w)

    def state(self) -> dict[str, Tensor]:
        return self._named("m", self.m) | self._named("theta", self.theta)

    def describe(self) -> dict:
        return {"regularizer": repr(self.regularizer), "lam": self.lam, "mask_lr": self.mask_lr}

    def metrics(self) -> dict[str, Tensor]:
        penalty: Any = sum(self.regularizer.penalty(m) for m in self.m)
        return {"density": share(m > 0 for m in self.m), "penalty": self.lam * penalty}


def share(marked: Iterable[Tensor]) -> Tensor:
    """Which share of all entries of these bool tensors is True: a scalar on their device."""
    count: Any = 0
    entries = 0
    for each in marked:
        count, entries = count + each.sum(), entries + each.numel()
    return count / entries


def require_real(names: Sequence[str], weights: Sequence[Tensor]) -> None:
    """LotteryError if a weight is not of real numbers, which a relaxed mask is learnt by."""
    for name, weight in zip(names, weights):
        if not weight.is_floating_point():
            raise LotteryError(
                f"{name!r} holds {weight.dtype}, and a mask is learnt by real numbers; leave it out of names"
            )


def _moved(tensor: Tensor, device: torch.device) -> Tensor:
    return tensor.detach().to(device).requires_grad_(tensor.requires_grad)


def like(weight: Tensor, values: Tensor, wide: bool = False) -> Tensor:
    """A copy of ``values`` with the weight's type, device and layout in memory, which elementwise steps need.

    ``wide``: in fp32 at least. In half precision the small steps of a mask would round away.
    """
    kind = torch.promote_types(weight.dtype, torch.float32) if wide else weight.dtype
    return torch.empty_like(weight, dtype=kind, requires_grad=False).copy_(values)
