"""Edge-popup (Ramanujan et al. 2020): a score for each weight is trained, and never the weight itself.

The forward pass takes of each layer the share of weights with the largest ``|s|``, and scales them by 1/√density, as
fewer of them must carry the signal; in the backward pass the choice counts as the identity: ``∂L/∂|s|`` is
``θ₀⊙G/√density``. The authors draw θ₀ as signed constants; here it is what the network was initialised with, as for all
methods.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lottery_lib import masks
from lottery_lib.data.splits import TrainingData
from lottery_lib.errors import LotteryError
from lottery_lib.masks import Mask
from lottery_lib.methods.base import SearchConfig, Trainer, require_config
from lottery_lib.randomness import seeded
from lottery_lib.relaxation import Parameterization, like
from lottery_lib.tickets import Ticket


@dataclass(frozen=True)
class Config(SearchConfig):
    """Each layer keeps the same density; the optimiser of the recipe moves the scores."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rounds:
            raise LotteryError(f"rounds = {self.rounds!r}: edge-popup is one training; leave it out")


class PopupMask(Parameterization):
    """W = θ₀ / √density where ``|s|`` is among the largest of its layer, else 0; the optimiser moves s."""

    def __init__(self, model: nn.Module, names: list[str], density: float, seed: int):
        super().__init__(model, names)
        self.density = density
        self.theta = [like(w, w.detach(), wide=True) for w in self.weights]
        with seeded(self.theta[0].device, seed):
            self.leaves = [_drawn_like(theta).requires_grad_() for theta in self.theta]
        self.push_forward()

    @torch.no_grad()
    def pull_back(self) -> None:
        for w, theta, score in zip(self.weights, self.theta, self.leaves):
            gradient: Any = w.grad  # not None: it was filled
            score.grad = theta * gradient * score.sign() / math.sqrt(self.density)

    @torch.no_grad()
    def push_forward(self) -> None:
        for w, theta, kept in zip(self.weights, self.theta, self.mask().values()):
            w.copy_(torch.mul(theta, kept).div_(math.sqrt(self.density)))

    def mask(self) -> Mask:
        """The weights that the network is made of now."""
        scores = {name: score.detach().abs() for name, score in zip(self.names, self.leaves)}
        return masks.top_k(scores, self.density, per_layer=True)

    def state(self) -> dict[str, Tensor]:
        return self._named("score", self.leaves) | self._named("theta", self.theta)

    def describe(self) -> dict:
        return {"density": self.density}


def _drawn_like(theta: Tensor) -> Tensor:
    score = torch.empty_like(theta)
    nn.init.kaiming_uniform_(score, a=math.sqrt(5))
    return score


def search(model: nn.Module, data: TrainingData, config: Config, **options: Any) -> Ticket:
    """A ticket by edge-popup; ``options`` as in ``train`` (loss, objective, metric, work, progress).

    >>> from lottery_lib import load, models
    >>> from lottery_lib.methods import popup
    >>> data = load("digits")
    >>> model = models.create("lenet-300-100", data.classes, data.shape, width=0.1)
    >>> popup.search(model, data, popup.Config(density=0.1))
    Ticket(density=0.1, layers=3, search_epochs=10)
    """
    require_config(config, Config)
    with Trainer(model, data, config, options) as trainer:
        rewind = trainer.rewind_state()
        rule = PopupMask(model, trainer.names, config.density, config.seed)
        trainer.train(rule)
        return trainer.ticket(rule.mask(), rewind, config.recipe.epochs)
