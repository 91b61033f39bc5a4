"""Gradual magnitude pruning inside one training (Zhu & Gupta 2017): the control at equal cost.

The density falls from 1 along a cubic while the network trains; its weights at the end are the result, without
rewinding. The training is ``length`` recipes long, two by default: as much as one search and one retraining.
"""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lottery_lib import masks
from lottery_lib.data.splits import TrainingData
from lottery_lib.errors import LotteryError
from lottery_lib.methods import attaching
from lottery_lib.methods.attached import AttachedSearch
from lottery_lib.methods.base import SearchConfig, Trainer, require_config
from lottery_lib.relaxation import FixedMask, share
from lottery_lib.states import snapshot
from lottery_lib.tickets import Ticket

BEGIN, END, UPDATES = 0.1, 0.7, 50  # pruned in 50 steps between these shares of the training


@dataclass(frozen=True)
class Config(SearchConfig):
    """The density falls within one training, which may be longer than the recipe's."""

    length: int = 2  # of the one training, in recipes

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.length < 1 or self.rounds or self.rewind_epoch:
            raise LotteryError("gradual pruning is one training: length must be ≥ 1, without rounds and rewind_epoch")


class GradualMask(FixedMask):
    """A mask that shrinks on schedule to the largest of the weights it still covers."""

    def __init__(self, model: nn.Module, names: list[str], config: Config):
        super().__init__(model, masks.ones(model, names))
        self.target, self.by_layer, self.done = config.density, config.per_layer, torch.zeros((), dtype=torch.int64)

    def advance(self, fraction: float) -> None:
        update = int(UPDATES * min(max((fraction - BEGIN) / (END - BEGIN), 0), 1))
        if update > self.done:
            self.done.fill_(update)
            density = self.target + (1 - self.target) * (1 - update / UPDATES) ** 3
            scores = {name: w.detach().abs() for name, w in zip(self.names, self.weights)}
            mask = masks.top_k(scores, density, self.boolean, self.by_layer)
            with torch.no_grad():
                for old, name in zip(self.mask, self.names):
                    old.copy_(mask[name])
                torch._foreach_mul_(self.weights, self.mask)

    def push_forward(self) -> None:  # momentum of what has just been pruned still moves it
        with torch.no_grad():
            torch._foreach_mul_(self.weights, self.mask)

    @property
    def boolean(self) -> masks.Mask:
        return {name: mask.bool() for name, mask in zip(self.names, self.mask)}

    def state(self) -> dict[str, Tensor]:
        return super().state() | {"done": self.done}

    def describe(self) -> dict:
        return {"density": self.target, "per_layer": self.by_layer}

    def metrics(self) -> dict[str, Tensor]:
        return {"density": share(m > 0 for m in self.mask)}


def attach(
    model: nn.Module, optimizer: Optimizer, *, steps: int, density: float = 0.05, **options: Any
) -> AttachedSearch:
    """Such a pruning in a training loop of one's own, as ``concave.attach``; its ticket is the trained network.

    Raises:
        LotteryError: an option is unknown or out of range, or the optimiser cannot be used.
    """
    config, trainer, first = attaching.prepared(Config, model, optimizer, steps, density=density, **options)
    rule = GradualMask(model, trainer.names, config)

    def finish(search: AttachedSearch) -> Ticket:
        attaching.say_if_short(search)
        rule.advance(1)
        rule.push_forward()
        return trainer.ticket(rule.boolean, snapshot(model), 0, trained=True, info={"steps": search.step})

    return AttachedSearch(first, optimizer, rule, steps, finish=finish)


def search(model: nn.Module, data: TrainingData, config: Config, **options: Any) -> Ticket:
    """A pruned and trained network as a ticket; ``options`` as in ``train`` (loss, objective, metric, work, progress).

    >>> from lottery_lib import Recipe, gradual, load, models
    >>> data = load("digits")
    >>> model = models.create("lenet-300-100", data.classes, data.shape, width=0.1)
    >>> config = gradual.Config(density=0.1, recipe=Recipe(epochs=2))
    >>> gradual.search(model, data, config)
    Ticket(density=0.1, layers=3, search_epochs=4)
    """
    require_config(config, Config)
    recipe = replace(config.recipe, epochs=config.recipe.epochs * config.length)
    with Trainer(model, data, replace(config, recipe=recipe, length=1), options) as trainer:
        rule = GradualMask(model, trainer.names, config)
        trainer.train(rule)
        rule.advance(1)  # prunes no more, unless the training was but a few steps
        return trainer.ticket(rule.boolean, snapshot(model), recipe.epochs, trained=True)
