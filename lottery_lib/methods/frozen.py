"""The calibrated search with the weights under the mask frozen at θ₀: what a mask learns when nothing else may.

Biases and normalisation are trained as ever. The network at the end of the search is a *strong* ticket (Ramanujan et
al. 2020): it classifies with weights that were never trained. Edge-popup, in ``popup``, finds them its own way.
"""

from dataclasses import dataclass
from typing import Any

from torch import nn

from lottery_lib.data.splits import TrainingData
from lottery_lib.errors import LotteryError
from lottery_lib.methods import concave
from lottery_lib.methods.base import require_config
from lottery_lib.methods.calibration import CalibratedMask
from lottery_lib.tickets import Ticket


@dataclass(frozen=True)
class Config(concave.Config):
    """As of a calibrated search."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.lam is not None:
            raise LotteryError(f"lam = {self.lam!r}: a search with frozen weights sets it; leave it out")

    def calibrated_mask(self, *given: Any) -> CalibratedMask:
        return FrozenMask(*given)


class FrozenMask(CalibratedMask):
    """W = m⊙θ₀: the optimiser finds no gradient at θ, and leaves it."""

    def pull_back(self) -> None:
        super().pull_back()
        for theta in self.theta:
            theta.grad = None

    def describe(self) -> dict:
        return super().describe() | {"frozen": True}


def search(model: nn.Module, data: TrainingData, config: Config, **options: Any) -> Ticket:
    """A ticket as ``concave.search`` finds it, on weights that stay as they are.

    >>> from lottery_lib import Recipe, load, models
    >>> from lottery_lib.methods import frozen
    >>> data = load("digits")
    >>> model = models.create("lenet-300-100", data.classes, data.shape)
    >>> config = frozen.Config(density=0.2, recipe=Recipe(epochs=5, batch_size=64))
    >>> ticket = frozen.search(model, data, config)
    >>> round(ticket.density, 2)
    0.2

    Raises:
        LotteryError: a layer keeps no weight.
    """
    require_config(config, Config)
    return concave.search(model, data, config, **options)
