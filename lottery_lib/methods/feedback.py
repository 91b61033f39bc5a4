"""The calibrated search with λ set by feedback in place of prediction, to compare ``calibration`` with.

The usual way to hold a quantity at a target: look at the density, raise λ where it is too high. Target is the cubic
schedule of gradual pruning, from 1 down to the density asked at the landing. All three start from the λ at which an
entry without support would land at α, take η_m as the calibrated search does, and know no settling.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from lottery_lib.data.splits import TrainingData
from lottery_lib.errors import LotteryError, hint
from lottery_lib.methods import concave
from lottery_lib.methods.base import require_config
from lottery_lib.methods.calibration import CalibratedMask
from lottery_lib.tickets import Ticket

GAINS = {"multiplicative": 20.0, "pi": 10.0, "dual": 20.0}  # a whole search, by units of the error
LONGEST, WOUND_UP = 2.0, 4.0  # an update answers to no larger error; nor does the integral grow larger


@dataclass(frozen=True)
class Config(concave.Config):
    """As of a calibrated search; ``controller`` is one of ``GAINS``.

    multiplicative: λ grows by a factor exp(gain · e · dt), with e = log(density / target);
    pi: log λ follows e and its integral; dual: λ is a Lagrange multiplier, raised by the violation of the target.
    """

    controller: str = "multiplicative"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.controller not in [*GAINS]:  # a list has no hash to be sought by
            raise LotteryError(f"unknown controller {self.controller!r}{hint(self.controller, GAINS)}")
        if self.lam is not None:
            raise LotteryError(f"lam = {self.lam!r}: feedback sets it; leave it out")

    def calibrated_mask(self, *given: Any) -> CalibratedMask:
        return FeedbackMask(*given, controller=self.controller)


class FeedbackMask(CalibratedMask):
    """W = m⊙θ with λ by feedback on the share of entries left; ``given`` and ``named`` as of ``CalibratedMask``."""

    def __init__(self, *given: Any, controller: str = "multiplicative", **named: Any):
        super().__init__(*given, **named)
        self.calibration = replace(self.calibration, settling=math.inf)
        self.controller, self.integral = controller, 0.0

    def price(self, m: Tensor, support: Tensor, every: int) -> float:
        plan, done, share = self.calibration, self.step / self.steps, every / self.steps
        target = self.kept / len(m)
        target += (1 - target) * max(0.0, 1 - done / plan.landing) ** 3
        counted = done > plan.landing and self.controller != "dual"  # what is not yet decided counts by its penalty
        reached = float((m >= plan.alpha).float().mean() if counted else self.regularizer.penalty(m) / len(m))
        first = (1 - plan.alpha) / (self.mask_lr * plan.landing * self.steps)
        first /= self.regularizer.slope((1 + plan.alpha) / 2)
        error, gain = math.log(max(reached, 1 / len(m)) / target), GAINS[self.controller] * share
        if self.controller == "dual":
            violation = max(-LONGEST, min(LONGEST, reached / target - 1))
            return max(0.0, (self.lam or first) + gain * first * violation)
        if self.controller == "multiplicative":
            return (self.lam or first) * math.exp(max(-1.0, min(1.0, gain * error)))
        self.integral = max(-WOUND_UP, min(WOUND_UP, self.integral + gain * error))
        return first * math.exp(self.integral + max(-WOUND_UP, min(WOUND_UP, error)))

    def state(self) -> dict[str, Tensor]:
        return super().state() | {"integral": torch.tensor(self.integral, dtype=torch.float64)}

    def load(self, state: dict[str, Tensor]) -> None:
        super().load(state)
        self.integral = float(state["integral"])

    def describe(self) -> dict:
        return super().describe() | {"settling": None, "controller": self.controller, "gain": GAINS[self.controller]}


def search(model: nn.Module, data: TrainingData, config: Config, **options: Any) -> Ticket:
    """A ticket as ``concave.search`` finds it, under the controller of the config.

    >>> from lottery_lib import Recipe
    >>> from lottery_lib.methods import feedback
    >>> feedback.Config(recipe=Recipe(epochs=10), controller="pi").controller
    'pi'
    """
    require_config(config, Config)
    return concave.search(model, data, config, **options)
