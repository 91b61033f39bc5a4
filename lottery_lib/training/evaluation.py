"""How good a network is on a split: its loss, its accuracy where there is one, and a metric of the reader's own."""

import math
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, nll_loss

from lottery_lib.data import structure
from lottery_lib.data.splits import Batch, EvaluationSplit
from lottery_lib.errors import LotteryError
from lottery_lib.training.modes import evaluating
from lottery_lib.training.tasks import Loss, Metric, Objective, Task, require_one, told

SINGLE, SECOND, LAST = "a score for each label", "classes second", "classes last"  # readings of outputs and labels
UNMEASURED = "is a number in the data or the weights not finite, or every label one that the loss ignores?"
VOID = 255  # a label of pixels that nobody has labelled
Counts = dict[str, tuple[Any, Any]]  # reading -> labels that are met, and those that count


def evaluate(
    model: nn.Module, split: EvaluationSplit, loss: Loss = cross_entropy, objective: Objective | None = None,
    metric: Metric | None = None,
) -> dict[str, float]:  # fmt: skip
    """The mean ``loss`` over a split; ``accuracy`` in percent, where labels are classes; a ``metric``, if one is given.

    The loss of a batch counts by its samples, even if some labels are left out of it.

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
        LotteryError: the split gives no batch, or is no split; or a batch does not go through network and loss.
    """
    task = Task(loss, objective, metric)
    with told("the split cannot be evaluated"):
        found = measured(model, split, task)
    if not math.isfinite(found.get("loss", 0.0)):
        warnings.warn(f"the loss on the split is {found['loss']:g}: {UNMEASURED}", stacklevel=2)
    return found


@torch.no_grad()
def measured(model: nn.Module, split: EvaluationSplit, task: Task) -> dict[str, float]:
    """``evaluate``, where whoever calls it says what fails."""
    in_order = getattr(split, "in_order", None)
    if not callable(in_order):
        raise LotteryError(
            f"a {type(split).__name__} is no split to evaluate on; give data.train or data.val, "
            "of data = own(train, val)"
        )
    accuracy = _Accuracy(task.loss)
    losses: Tensor | float = 0.0
    samples, lossless = 0, False
    with evaluating(model):
        for batch in in_order():
            value, judged = task.outcome(model, batch)
            samples += structure.size(batch)
            if value is None:
                lossless = True
                continue
            require_one(value, not isinstance(value, Tensor) or (value.numel() == 1 and not value.is_complex()))
            if isinstance(value, Tensor) and value.is_floating_point():
                value = value.to(torch.promote_types(value.dtype, torch.float32))  # in half precision sums stop growing
            losses = losses + value * structure.size(batch)
            if judged is not None:
                accuracy.add(*judged)
        if not samples:
            raise LotteryError("the split to evaluate on gives no batch of data; leave it out, or give at least one")
        metrics = {} if lossless else {"loss": float(losses) / samples}
        metrics |= accuracy.metrics()
        return metrics if task.metric is None else metrics | {"metric": float(task.metric(model, _Again(in_order)))}


class _Again:
    """The batches of a split, as often as somebody goes through them."""

    def __init__(self, in_order: Callable[[], Iterator[Batch]]):
        self.in_order = in_order

    def __iter__(self) -> Iterator[Batch]:
        return self.in_order()


class _Accuracy:
    """Counted over batches by every reading of outputs and labels that fits them all."""

    def __init__(self, loss: Loss):
        # a module or a partial function tells which label it leaves out
        self.ignored = getattr(loss, "keywords", {}).get("ignore_index", getattr(loss, "ignore_index", -100))
        module = isinstance(loss, (nn.CrossEntropyLoss, nn.NLLLoss))
        self.second = module or getattr(loss, "func", loss) in (cross_entropy, nll_loss)  # classes can but come second
        self.counts: Counts | None = None
        self.square = False  # whether some batch has as many classes as labels to a sample

    def add(self, outputs: Any, labels: Any) -> None:
        if (here := _read(outputs, labels, self.ignored)) is None:
            return
        before = dict.fromkeys(here, (0, 0)) if self.counts is None else self.counts
        self.counts = {way: _added(before[way], here[way]) for way in before if way in here}
        self.square |= len({id(met) for met in here.values()}) > 1

    def metrics(self) -> dict[str, float]:
        counts = self.counts or {}
        if len(counts) > 1 and self.square:
            counts = {SECOND: counts[SECOND]} if self.second else {}
        met, of = next(iter(counts.values()), (0, 0))
        return {"accuracy": 100 * int(met) / int(of)} if int(of) else {}


def _read(outputs: Any, labels: Any, ignored: int) -> Counts | None:
    """For each reading that fits a batch, how many labels are met and how many count; none where they are no classes.

    Dimensions of size 1 say nothing, but for the first, that of the samples. None of a batch that cannot be read.
    """
    if not (isinstance(outputs, Tensor) and isinstance(labels, Tensor)) or labels.is_floating_point():
        return None
    if outputs.is_complex() or labels.is_complex():
        return None
    outputs, labels = _without_ones(outputs), _without_ones(labels).long()  # in which −100 is none of uint8
    counted = (labels >= 0) & (labels != ignored)
    if outputs.shape == labels.shape:
        other = (labels < 0) | (labels > 1)
        if bool((other & (labels != ignored) & (labels != VOID)).any()):
            return {}  # no classes, but counts, or signs
        return {SINGLE: _met((outputs > 0).to(labels.dtype), labels, counted & ~other)}
    if outputs.ndim < 2:
        return None
    shape, along = outputs.shape, {SECOND: 1, LAST: outputs.ndim - 1}
    along = {way: dim for way, dim in along.items() if shape[:dim] + shape[dim + 1 :] == labels.shape}
    met = {dim: _met(outputs.argmax(dim), labels, counted & (labels < shape[dim])) for dim in {*along.values()}}
    return {way: met[dim] for way, dim in along.items()} or None


def _met(answer: Tensor, labels: Tensor, counted: Tensor) -> tuple[Tensor, Tensor]:
    return ((answer == labels) & counted).sum(), counted.sum()


def _added(one: tuple[Any, Any], other: tuple[Any, Any]) -> tuple[Any, Any]:
    return one[0] + other[0], one[1] + other[1]


def _without_ones(tensor: Tensor) -> Tensor:
    return tensor.reshape(tensor.shape[:1] + tuple(size for size in tensor.shape[1:] if size != 1))
