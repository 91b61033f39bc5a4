"""This library's training loop, as it is timed: in each of its phases."""

import time
from collections.abc import Callable
from dataclasses import replace

from torch import nn

from lottery_lib import regularizers
from lottery_lib.data import batches
from lottery_lib.data.images import Split
from lottery_lib.masks import count
from lottery_lib.methods.calibration import CalibratedMask
from lottery_lib.relaxation import FixedMask, Parameterization, RelaxedMask
from lottery_lib.training.loop import train
from lottery_lib.training.recipes import Recipe
from lottery_lib.weights import prunable

from .cases import DENSITY, Case, mask, network

LONG = 10**6  # steps of a search that sets no price while it is timed
STEPS_A_PRICE = 20  # 200 prices in some 4,000 steps, LeNet's search; in longer ones they are rarer


class Calibrated(CalibratedMask):
    """A search as it is half way: its first step sets a price, the next thousands do not; and ``update`` sets one."""

    def __init__(self, model: nn.Module):
        names = prunable(model)
        kept = count(DENSITY, sum(model.get_parameter(name).numel() for name in names))
        super().__init__(model, names, regularizers.Log(), kept, LONG)
        self.step = LONG // 2 - 1


PHASES: dict[str, Callable[[nn.Module], Parameterization]] = {
    "dense": Parameterization,
    "relaxed": lambda model: RelaxedMask(model, prunable(model), regularizers.Log(), lam=1e-5, mask_lr=10.0),
    "calibrated": Calibrated,
    "masked": lambda model: FixedMask(model, mask(model)),
}


class Ours:
    """This library's loop; ``epoch`` goes once through the data and returns seconds a step.

    To those of a calibrated search a price is added by its share, as a whole search has one in many steps.
    """

    def __init__(self, case: Case, split: Split, device: str, phase: str, recipe: Recipe):
        self.model = network(case, device)
        self.rule = PHASES[phase](self.model)
        self.rule.metrics = dict  # none: they are taken once an epoch, which is hundreds of steps, and here a few
        self.data = batches.Batches(split)
        shared = {"batch_size": case.batch_size, "lr": 0.01, "weight_decay": 1e-4, "compile_from": 0}
        # On a GPU each training first makes its CUDA graphs, so that it takes another epoch to see what a step costs.
        self.recipe = replace(recipe, epochs=2 if device == "cuda" else 1, **shared)

    def epoch(self) -> float:
        history = train(self.model, self.data, self.recipe, parameterization=self.rule)
        seconds = history.epochs[-1]["seconds"] / self.data.train.steps(self.recipe.batch_size)
        if isinstance(self.rule, Calibrated):
            began = time.perf_counter()
            self.rule.update(1)
            seconds += (time.perf_counter() - began) / STEPS_A_PRICE
        return seconds
