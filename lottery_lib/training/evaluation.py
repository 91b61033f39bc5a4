"""How good a network is on a split: its loss, its accuracy where there is one, and a metric of the reader's own."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, nll_loss

from lottery_lib.data import structure
from lottery_lib.data.splits import EvaluationSplit
from lottery_lib.errors import LotteryError
from lottery_lib.training.modes import evaluating
from lottery_lib.training.tasks import Loss, Metric, Objective, Task

SINGLE, SECOND, LAST = "a score for each label", "classes second", "classes last"  # readings of outputs and labels
Counts = dict[str, tuple[Any, Any]]  # reading -> labels that are met, and those that count


@torch.no_grad()
def evaluate(
    model: nn.Module, split: EvaluationSplit, loss: Loss = cross_entropy, objective: Objective | None = None,
    metric: Metric | None = None,
) -> dict[str, float]:  # fmt: skip
    """The mean ``loss`` over a split; ``accuracy`` in percent, where labels are classes; a ``metric``, if one is given.

    Classes are whole numbers. Their scores lie along the dimension that the labels lack: the second, as for PyTorch's
    own losses, or the last, as of sequences (N, T, V), whichever fits all batches; if both do, there is no accuracy but
    with such a loss. With one score a label, that is class 1 where it is above 0. Labels that are no class of the
    scores, as −100 and 255, and the ``ignore_index`` of the loss are left out.

    Args:
        objective: Of (model, batch), a scalar, in place of the loss; there is no accuracy then. A batch counts by the
            first dimension of its first tensor.
        metric: Of (model, batches), a number.

    >>> import torch
    >>> import lottery_lib as lottery
    >>> data = lottery.own((torch.eye(4), torch.tensor([0, 1, 2, 2])))
    >>> lottery.evaluate(torch.nn.Identity(), data.train)["accuracy"]
    75.0

    Raises:
        LotteryError: the split gives no batch, or is no split.
    """
    in_order = getattr(split, "in_order", None)
    if not callable(in_order):
        raise LotteryError(
            f"a {type(split).__name__} is no split to evaluate on; give data.train or data.val, "
            "of data = own(train, val)"
        )
    task = Task(loss, objective, metric)
    ignored = _ignored(loss)
    losses: Tensor | float = 0.0
    fits: Counts | None = None  # of the readings that fit every batch so far
    samples, told = 0, True
    with evaluating(model):
        for batch in in_order():
            value, judged = task.outcome(model, batch)
            samples += structure.size(batch)
            if value is None:
                told = False
                continue
            losses = losses + value * structure.size(batch)
            if judged is not None:
                here = _read(*judged, ignored)
                before = dict.fromkeys(here, (0, 0)) if fits is None else fits
                fits = {way: _added(before[way], here[way]) for way in before if way in here}
        if not samples:
            raise LotteryError("the split to evaluate on gives no batch of data; leave it out, or give at least one")
        metrics = {"loss": float(losses) / samples} if told else {}
        accuracies = {way: 100 * int(hits) / int(of) for way, (hits, of) in (fits or {}).items() if int(of)}
        if len({*accuracies.values()}) > 1:  # as many classes as there are labels to a sample, in every batch
            accuracies = {SECOND: accuracies[SECOND]} if _is_pytorchs(loss) else {}
        if accuracies:
            metrics["accuracy"] = next(iter(accuracies.values()))
        return metrics if metric is None else metrics | {"metric": float(metric(model, split.in_order()))}


def _ignored(loss: Loss) -> int:
    """The label that a loss leaves out, if it tells it, as a module or a partial function does."""
    return getattr(loss, "keywords", {}).get("ignore_index", getattr(loss, "ignore_index", -100))


def _is_pytorchs(loss: Loss) -> bool:
    """Whether the scores must lie along the second dimension."""
    module = isinstance(loss, (nn.CrossEntropyLoss, nn.NLLLoss))
    return module or getattr(loss, "func", loss) in (cross_entropy, nll_loss)


def _read(outputs: Any, labels: Any, ignored: int) -> Counts:
    """For each reading that fits a batch, how many labels are met and how many count; none where they are no classes.

    Dimensions of size 1 say nothing, but for the first, that of the samples.
    """
    if not (isinstance(outputs, Tensor) and isinstance(labels, Tensor)) or labels.is_floating_point():
        return {}
    outputs, labels = _without_ones(outputs), _without_ones(labels)
    counted = (labels >= 0) & (labels != ignored)
    if outputs.shape == labels.shape:
        if bool(((labels != ignored) & ((labels < 0) | (labels > 1))).any()):
            return {}  # no classes, but counts, or signs
        return {SINGLE: _met((outputs > 0).to(labels.dtype), labels, counted)}
    if outputs.ndim < 2:
        return {}
    shape, along = outputs.shape, {SECOND: 1, LAST: outputs.ndim - 1}
    along = {way: dim for way, dim in along.items() if shape[:dim] + shape[dim + 1 :] == labels.shape}
    met = {dim: _met(outputs.argmax(dim), labels, counted & (labels < shape[dim])) for dim in {*along.values()}}
    return {way: met[dim] for way, dim in along.items()}


def _met(answer: Tensor, labels: Tensor, counted: Tensor) -> tuple[Tensor, Tensor]:
    return ((answer == labels) & counted).sum(), counted.sum()


def _added(one: tuple[Any, Any], other: tuple[Any, Any]) -> tuple[Any, Any]:
    return one[0] + other[0], one[1] + other[1]


def _without_ones(tensor: Tensor) -> Tensor:
    return tensor.reshape(tensor.shape[:1] + tuple(size for size in tensor.shape[1:] if size != 1))
