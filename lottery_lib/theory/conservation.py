"""What gradient flow on w = mθ conserves, weight by weight, and what takes it from there.

With θ̇ = −η m G and ṁ = −η_m θ G, G = ∂L/∂w, the difference m²/η_m − θ²/η of each weight does not change: both squares
change at the rate −2mθG. A penalty, weight decay, the box, and steps that are not infinitely small each break that.
"""

from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from lottery_lib.data import datasets
from lottery_lib.regularizers import create

HIDDEN = 32
STEP, MASK_STEP = 0.1, 10.0  # of θ and m, so that both squares count alike at the start
LOOKS = 60  # states that are looked at along a walk


@dataclass(frozen=True)
class Walk:
    """Gradient descent on (θ, m) with what may break the law: all off, it is plain descent on the full batch."""

    lam: float = 0.0  # λ of the penalty
    weight_decay: float = 0.0  # µ on θ
    project: bool = False  # m to the box after each step
    batch: int | None = None  # images a step, drawn; None for all
    shorter: float = 1.0  # divides both step sizes, and multiplies the number of steps
    regularizer: str = "log"


WALKS = {
    "full batch": Walk(),
    "steps a tenth as long": Walk(shorter=10),
    "batches of 32": Walk(batch=32),
    "batches, steps a tenth": Walk(batch=32, shorter=10),
    "weight decay": Walk(weight_decay=1e-3),
    "penalty": Walk(lam=1e-4),
    "projection": Walk(project=True),
    "all of them": Walk(1e-4, 1e-3, True, 32),
}


@dataclass
class State:
    """The masks and weights of the network's two layers."""

    m: list[Tensor]
    theta: list[Tensor]

    def conserved(self) -> Tensor:
        """m²/η_m − θ²/η of every weight (weights,)."""
        return self._squares(-1)

    def scale(self) -> Tensor:
        """m²/η_m + θ²/η, against which a change of ``conserved`` is measured."""
        return self._squares(1)

    def _squares(self, sign: int) -> Tensor:
        return torch.cat([(m**2 / MASK_STEP + sign * t**2 / STEP).flatten() for m, t in zip(self.m, self.theta)])


def drift(steps: int = 300) -> pd.DataFrame:
    """Every walk of ``WALKS`` on the 8×8 digits from the same start, m = 1: a row each look.

    Columns: ``walk``; ``time``, steps times their length in units of the full one; ``drift``, the median over weights
    of the change of m²/η_m − θ²/η in percent of m²/η_m + θ²/η at the start; and the ``loss`` on all images.
    """
    found = []
    for name, walk in WALKS.items():
        state = start()
        before, scale = state.conserved(), state.scale()
        for time, loss in descend(state, walk, steps):
            changed = 100 * (state.conserved() - before).abs() / scale
            found.append({"walk": name, "time": time, "drift": changed.median().item(), "loss": loss})
    return pd.DataFrame(found)


def splits(regularizer: str, steps: int = 400) -> pd.DataFrame:
    """Where a walk with penalty, decay and box ends: a row each weight that is left, with its ``m`` and ``u``.

    u, the size of w times √(µ/λ), is all that the cheapest split depends on (``theory.induced``).
    """
    state = start()
    walk = Walk(lam=2e-3, weight_decay=1e-2, project=True, shorter=5, regularizer=regularizer)
    for _ in descend(state, walk, steps):
        pass
    m, theta = (torch.cat([layer.flatten() for layer in layers]) for layers in (state.m, state.theta))
    u = (m * theta).abs() * (walk.weight_decay / walk.lam) ** 0.5
    return pd.DataFrame({"u": u[m > 0].numpy(), "m": m[m > 0].numpy()})


def start(seed: int = 0) -> State:
    """Weights of a small network for the digits, without biases, in float64, and m = 1."""
    generator = torch.Generator().manual_seed(seed)
    shapes = [(HIDDEN, 64), (10, HIDDEN)]
    theta = [torch.randn(s, generator=generator, dtype=torch.float64) / s[1] ** 0.5 for s in shapes]
    return State([torch.ones_like(t) for t in theta], theta)


def descend(state: State, walk: Walk, steps: float, seed: int = 0):
    """Walk ``steps`` steps, or as far in shorter ones, changing ``state``; yields some ``LOOKS`` times and losses."""
    split = datasets.load("digits").train
    images, labels = split.inputs.flatten(1).double(), split.labels
    generator, penalty = torch.Generator().manual_seed(seed), create(walk.regularizer)
    total, step, mask_step = round(steps * walk.shorter), STEP / walk.shorter, MASK_STEP / walk.shorter
    for count in range(total + 1):
        if count % max(total // LOOKS, 1) == 0:
            yield count / walk.shorter, _loss(state, images, labels)[0]
        if count == total:
            return
        batch = slice(None) if walk.batch is None else torch.randperm(len(labels), generator=generator)[: walk.batch]
        _, gradients = _loss(state, images[batch], labels[batch])
        for layer, g in enumerate(gradients):
            m, theta = state.m[layer], state.theta[layer]
            pull = walk.lam * penalty.gradient(m.clamp(min=0))  # below zero, where r is not defined, the slope of zero
            state.theta[layer] = theta - step * (m * g + walk.weight_decay * theta)
            moved = m - mask_step * (theta * g + pull)
            state.m[layer] = moved.clamp(0, 1) if walk.project else moved


def _loss(state: State, images: Tensor, labels: Tensor) -> tuple[float, tuple[Tensor, ...]]:
    """The loss, and G = ∂L/∂w of each layer."""
    weights = [(m * t).requires_grad_() for m, t in zip(state.m, state.theta)]
    loss = cross_entropy((images @ weights[0].T).relu() @ weights[1].T, labels)
    return loss.item(), torch.autograd.grad(loss, weights)
