"""Continuous Sparsification (Savarese, Silva & Maire 2020): w = σ(βs)⊙θ, the temperature β rising to 200.

Each round ends with a nearly binary σ(βs). The next starts from min(βs, s₀), so that what was kept starts alive and
what was not stays down, with θ rewound. β = 200^t after the share t of the recipe, so that a round which is rewound to
an early epoch begins above 1. The paper keeps s > 0; we keep the top k of s, to compare at equal density.

Two things are otherwise than in its authors' code: that divides the mask by σ(s₀), so that a training begins at the
initial weights themselves, and its optimiser has momentum on s too. Here the mask begins at σ(s₀), and s moves by plain
gradient steps, as the concave mask does. Tried on LeNet with three seeds, either made tickets of few weights worse.
"""

import warnings
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lottery_lib import masks, states
from lottery_lib.data.splits import TrainingData
from lottery_lib.errors import LotteryError
from lottery_lib.methods import attaching
from lottery_lib.methods.attached import AttachedSearch
from lottery_lib.methods.base import SearchConfig, Trainer, require_config
from lottery_lib.relaxation import Parameterization, like, require_real, share
from lottery_lib.states import snapshot
from lottery_lib.tickets import Ticket

HOTTEST = 200.0  # β at the end of a round


@dataclass(frozen=True)
class Config(SearchConfig):
    """λ and the step size of s stay as given; the top k of s are kept."""

    start: float = 0.0  # s₀: the lower, the sparser
    lam: float = 1e-8  # weight of Σσ(βs)
    mask_lr: float = 1.0  # step size of s

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("lam", "mask_lr"):
            if not getattr(self, name) >= 0:
                raise LotteryError(f"{name} = {getattr(self, name)!r}: must be ≥ 0")


class SigmoidMask(Parameterization):
    """W = σ(βs)⊙θ; the optimiser moves θ, plain gradient steps move s, both in fp32 at least."""

    def __init__(self, model: nn.Module, s: dict[str, Tensor], lam: float, mask_lr: float):
        super().__init__(model, list(s))
        require_real(self.names, self.weights)
        self.s = [like(w, s[name], wide=True) for name, w in zip(self.names, self.weights)]
        self.theta = [like(w, w.detach(), wide=True).requires_grad_() for w in self.weights]
        self.leaves, self.lam, self.mask_lr, self.beta = self.theta, lam, mask_lr, 1.0
        self.gates = [torch.sigmoid(s) for s in self.s]  # σ(βs), as the weights were last written by

    @torch.no_grad()
    def advance(self, fraction: float) -> None:
        self.beta = HOTTEST**fraction
        self.push_forward()

    @torch.no_grad()
    def pull_back(self) -> None:
        for w, s, theta, gate in zip(self.weights, self.s, self.theta, self.gates):
            gradient: Any = w.grad  # not None: it was filled
            gradient = gradient.to(theta.dtype)  # in half precision, or where the network was converted
            theta.grad = gate * gradient
            s -= self.mask_lr * (theta * gradient + self.lam) * self.beta * gate * (1 - gate)

    @torch.no_grad()
    def push_forward(self) -> None:
        self.gates = [torch.sigmoid(self.beta * s) for s in self.s]
        for w, gate, theta in zip(self.weights, self.gates, self.theta):
            torch.mul(gate, theta, out=w)

    def state(self) -> dict[str, Tensor]:
        return self._named("s", self.s) | self._named("theta", self.theta)

    def describe(self) -> dict:
        return {"lam": self.lam, "mask_lr": self.mask_lr}

    def metrics(self) -> dict[str, Tensor]:
        return {"density": share(s > 0 for s in self.s)}


def search(model: nn.Module, data: TrainingData, config: Config, **options: Any) -> Ticket:
    """A ticket by Continuous Sparsification; ``options`` as in ``train`` (loss, objective, metric, work, progress).

    >>> from lottery_lib import continuous, load, models
    >>> data = load("digits")
    >>> model = models.create("lenet-300-100", data.classes, data.shape, width=0.1)
    >>> config = continuous.Config(start=-0.05, density=0.1)
    >>> continuous.search(model, data, config)
    Ticket(density=0.1, layers=3, search_epochs=10)
    """
    require_config(config, Config)
    with Trainer(model, data, config, options) as trainer:
        rewind = trainer.rewind_state()
        mask = masks.ones(model, trainer.names)
        s = _started(trainer, config.start)
        for density in config.densities:
            states.load(model, rewind)
            rule = SigmoidMask(model, s, config.lam, config.mask_lr)
            trainer.train(rule)
            values = dict(zip(rule.names, rule.s))
            _say_if_unmoved(rule, s, trainer.round_steps)
            mask = masks.top_k(values, density, mask, config.per_layer)
            s = {name: (HOTTEST * value).clamp(max=config.start) for name, value in values.items()}
        return _ticket(trainer, rule, mask, rewind, trainer.search_epochs)


def attach(
    model: nn.Module, optimizer: Optimizer, *, steps: int, density: float = 0.05, **options: Any
) -> AttachedSearch:
    """One round of it in a training loop of one's own, as ``concave.attach``; β rises over so many steps.

    Raises:
        LotteryError: an option is unknown or out of range, or the optimiser cannot be used.
    """
    config, trainer, first = attaching.prepared(Config, model, optimizer, steps, density=density, **options)
    rewind = snapshot(model)
    s = _started(trainer, config.start)
    rule = SigmoidMask(model, s, config.lam, config.mask_lr)

    def finish(search: AttachedSearch) -> Ticket:
        attaching.say_if_short(search)
        _say_if_unmoved(
            rule, {name: torch.full_like(m, config.start) for name, m in zip(rule.names, rule.s)}, search.step
        )
        mask = masks.top_k(dict(zip(rule.names, rule.s)), density, per_layer=config.per_layer)
        return _ticket(trainer, rule, mask, rewind, 0, steps=search.step)

    return AttachedSearch(first, optimizer, rule, steps, finish=finish, rewind=rewind)


def _started(trainer: Trainer, start: float) -> dict[str, Tensor]:
    at = torch.tensor(start, dtype=torch.float64)
    return {name: like(weight, at, wide=True) for name, weight in zip(trainer.names, trainer.parameters())}


def _say_if_unmoved(rule: SigmoidMask, start: dict[str, Tensor], steps: int) -> None:
    if all(torch.equal(s, start[name]) for name, s in zip(rule.names, rule.s)):
        setting = f"λ = {rule.lam:g} and η_m = {rule.mask_lr:g}"
        warnings.warn(
            f"after {steps} steps with {setting} no entry of the mask has moved, so it does not tell what to keep; "
            "raise η_m, or train longer",
            stacklevel=3,
        )


def _ticket(
    trainer: Trainer, rule: SigmoidMask, mask: masks.Mask, rewind: dict[str, Tensor], epochs: float, **info: Any
) -> Ticket:
    gates = {name: torch.sigmoid(HOTTEST * value) for name, value in zip(rule.names, rule.s)}
    return trainer.ticket(mask, rewind, epochs, relaxed=gates, info=info)
