"""Pruning by the size of trained weights: one shot, iterative (IMP), and with learning-rate rewinding.

One round is one-shot pruning after a dense training. More are iterative magnitude pruning (Frankle & Carbin 2019):
train, drop the smallest of the weights left, rewind them to θ₀ or to an early epoch (Frankle et al. 2020), again.
"""

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from lottery_lib import masks, states
from lottery_lib.data.splits import TrainingData
from lottery_lib.errors import LotteryError
from lottery_lib.methods.base import SearchConfig, Trainer, require_config
from lottery_lib.relaxation import FixedMask
from lottery_lib.states import snapshot
from lottery_lib.tickets import Ticket

SCORES = {  # of trained and of initial weights
    "magnitude": lambda trained, start: trained.abs(),
    "increase": lambda trained, start: trained.square() - start.square(),  # Zhou et al. 2019 take |w| − |w₀|
}


@dataclass(frozen=True)
class Config(SearchConfig):
    """In one round, one shot; in several, iterative magnitude pruning (IMP)."""

    score: str = "magnitude"  # what ranks weights: their "magnitude", or the "increase" of its square in training
    rewind_weights: bool = True  # False: learning-rate rewinding, the weights stay as trained (Renda et al. 2020)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.score not in [*SCORES]:  # a list has no hash to be sought by
            raise LotteryError(f"unknown score {self.score!r}; known: {', '.join(SCORES)}")


def search(model: nn.Module, data: TrainingData, config: Config, **options: Any) -> Ticket:
    """A ticket by magnitude; ``options`` as in ``train`` (loss, objective, metric, work, progress).

    With ``rounds`` it is iterative magnitude pruning:

    >>> from lottery_lib import Recipe, load, magnitude, models
    >>> data = load("digits")
    >>> model = models.create("lenet-300-100", data.classes, data.shape, width=0.1)
    >>> recipe = Recipe(epochs=2)
    >>> config = magnitude.Config(density=0.2, rounds=(0.5, 0.2), recipe=recipe)
    >>> magnitude.search(model, data, config)
    Ticket(density=0.2, layers=3, search_epochs=4)
    """
    require_config(config, Config)
    with Trainer(model, data, config, options) as trainer:
        rewind = trainer.rewind_state()
        mask = masks.ones(model, trainer.names)
        for density in config.densities:
            states.load(model, rewind)
            trainer.train(FixedMask(model, mask))
            scores = _scores(trainer.weights(), rewind, config.score)
            mask = masks.top_k(scores, density, mask, config.per_layer)
            if not config.rewind_weights:
                rewind = snapshot(model)
        return trainer.ticket(mask, rewind, trainer.search_epochs)


def _scores(trained: dict[str, Tensor], start: dict[str, Tensor], score: str) -> dict[str, Tensor]:
    return {name: SCORES[score](weight, start[name]) for name, weight in trained.items()}
