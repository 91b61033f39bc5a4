"""A dry run before the first step, so that what cannot work is said at once. It leaves no trace (``modes.aside``)."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice

import torch
from torch import Tensor, nn

from lottery_lib import states
from lottery_lib.data import structure
from lottery_lib.data.splits import Batch, EvaluationSplit, TrainingData
from lottery_lib.errors import LotteryError
from lottery_lib.training.evaluation import measured
from lottery_lib.training.modes import as_trained, aside
from lottery_lib.training.recipes import Recipe
from lottery_lib.training.tasks import NOT_FINITE, Task, require_one, told


def rehearse(
    model: nn.Module, data: TrainingData, recipe: Recipe, task: Task, stepped: Iterable[Tensor] = ()
) -> None:  # fmt: skip
    """Take one batch of training, both ways, and one of validation through network, loss and metric.

    ``stepped`` are the parameters that the optimiser is to act on with the gradients as they come.

    Raises:
        LotteryError: one of them fails, which says why, or the loss is no number that can be lowered.
    """
    with aside(model, data):
        batch = first_batch(data, recipe)
        with _first("training"):
            value = first_value(model, batch, recipe, task)
            if getattr(data.train, "ends_in_one", False) and structure.sliceable(batch):
                first_value(model, structure.rows(batch, slice(1)), recipe, task)
        require_one(value, isinstance(value, Tensor) and not value.ndim and not value.is_complex())
        if not value.requires_grad:
            raise LotteryError("the loss has no gradient: all weights are frozen, or it was computed without them")
        if not value.isfinite():
            trained = {name: each for name, each in model.named_parameters() if each.requires_grad}
            broken = [name for name, each in trained.items() if not each.isfinite().all()]
            why = f"{broken[0]!r} is not finite; load or draw the weights anew" if broken else ""
            raise LotteryError(
                f"the loss of the first batch is {value.item():g}, before any step was taken: " + (why or NOT_FINITE)
            )
        with _gradients_aside(model):
            with told("the backward pass of the first batch fails, before any step was taken"):
                value.backward()
            _require_dense(model, recipe, stepped)
        del value
        if data.val is None and task.metric is not None:
            raise LotteryError("a metric is measured on validation data, and none are given; give them, or no metric")
        if data.val is not None:
            with _first("validation"):
                measured(model, _Beginning(data.val), task)


def first_batch(data: TrainingData, recipe: Recipe) -> Batch:
    """A batch of training, the first in the data's order."""
    with _first("training"):
        batch = next(data.train.in_order())
    whole = not structure.sliceable(batch) or structure.size(batch) <= recipe.batch_size
    return batch if whole else structure.rows(batch, slice(recipe.batch_size))


def first_value(model: nn.Module, batch: Batch, recipe: Recipe, task: Task) -> Tensor:
    """What is lowered, of a batch as it is trained on, with its graph."""
    as_trained(model)
    device = next(model.parameters()).device
    with _first("training"), torch.autocast(device.type, torch.bfloat16, enabled=recipe.precision == "bf16"):
        return task.value(model, batch)


@contextmanager
def _gradients_aside(model: nn.Module) -> Iterator[None]:
    before = [(parameter, parameter.grad) for parameter in model.parameters()]
    model.zero_grad(set_to_none=True)
    try:
        yield
    finally:
        for parameter, gradient in before:
            parameter.grad = gradient


def _require_dense(model: nn.Module, recipe: Recipe, stepped: Iterable[Tensor]) -> None:
    """LotteryError for a sparse gradient, as of an embedding, where the optimiser takes none."""
    refuses = "adamw" if recipe.optimizer == "adamw" else "weight decay" if recipe.weight_decay else None
    sparse = {id(each) for each in stepped if each.grad is not None and each.grad.is_sparse}
    if refuses and (names := [name for name, each in states.parameters(model).items() if id(each) in sparse]):
        raise LotteryError(f"{names[0]!r} gets a sparse gradient, which {refuses} cannot take; give sparse=False")


class _Beginning:
    """A split of no more than the first batch."""

    def __init__(self, split: EvaluationSplit):
        self.split = split

    def in_order(self) -> Iterator[Batch]:
        return islice(self.split.in_order(), 1)


@contextmanager
def _first(split: str) -> Iterator[None]:
    with told(f"the first batch of {split} fails, before any step was taken"):
        try:
            yield
        except StopIteration:
            raise LotteryError(f"the {split} data give no batch; they must give at least one") from None
