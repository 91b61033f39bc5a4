"""This library's training loop, as it is timed: in each of its phases."""

from collections.abc import Callable
from dataclasses import replace

from torch import nn

from lottery_lib import regularizers
from lottery_lib.data import batches
from lottery_lib.data.images import Split
from lottery_lib.relaxation import FixedMask, Parameterization, RelaxedMask
from lottery_lib.training.loop import train
from lottery_lib.training.recipes import Recipe
from lottery_lib.weights import prunable

from .cases import Case, mask, network

PHASES: dict[str, Callable[[nn.Module], Parameterization]] = {
    "dense": Parameterization,
    "relaxed": lambda model: RelaxedMask(model, prunable(model), regularizers.Log(), lam=1e-5, mask_lr=10.0),
    "masked": lambda model: FixedMask(model, mask(model)),
}


class Ours:
    """This library's loop; ``epoch`` goes once through the data and returns seconds a step."""

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
        return history.epochs[-1]["seconds"] / self.data.train.steps(self.recipe.batch_size)
