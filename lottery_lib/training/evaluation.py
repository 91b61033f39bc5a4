"""How good a network is on a split: its loss, its accuracy where there is one, and a metric of the reader's own."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from lottery_lib.data import structure
from lottery_lib.data.splits import EvaluationSplit
from lottery_lib.errors import LotteryError
from lottery_lib.training.modes import evaluating
from lottery_lib.training.tasks import Loss, Metric, Objective, Task


@torch.no_grad()
def evaluate(
    model: nn.Module, split: EvaluationSplit, loss: Loss = cross_entropy, objective: Objective | None = None,
    metric: Metric | None = None,
) -> dict[str, float]:  # fmt: skip
    """The mean ``loss`` over a split; ``accuracy`` in percent, where labels are classes; a ``metric``, if one is given.

    Classes are whole numbers. Their scores lie along the dimension that the labels lack: the second, as for PyTorch's
    own losses, or the last, as of sequences (N, T, V). With one score a label, that is class 1 where it is above 0.
    Labels that are no class of the scores, as −100 and 255, and the ``ignore_index`` of the loss are left out.

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
    hits: Tensor | int = 0
    labelled: Tensor | int = 0
    samples, told = 0, True
    with evaluating(model):
        for batch in in_order():
            value, judged = task.outcome(model, batch)
            samples += structure.size(batch)
            if value is None:
                told = False
                continue
            losses = losses + value * structure.size(batch)
            answers = None if judged is None else _answers(*judged, ignored)
            if answers is not None:
                answer, labels, counted = answers
                hits, labelled = hits + ((answer == labels) & counted).sum(), labelled + counted.sum()
        if not samples:
            raise LotteryError("the split to evaluate on gives no batch of data; leave it out, or give at least one")
        metrics = {"loss": float(losses) / samples} if told else {}
        if int(labelled):
            metrics["accuracy"] = 100 * int(hits) / int(labelled)
        return metrics if metric is None else metrics | {"metric": float(metric(model, split.in_order()))}


def _ignored(loss: Loss) -> int:
    """The label that a loss leaves out, if it tells it, as a module or a partial function does."""
    return getattr(loss, "keywords", {}).get("ignore_index", getattr(loss, "ignore_index", -100))


def _answers(outputs: Any, labels: Any, ignored: int) -> tuple[Tensor, Tensor, Tensor] | None:
    """The class that each label is compared with, the labels, and which of them count; None where they are no classes.

    Dimensions of size 1 say nothing, but for the first, that of the samples.
    """
    if not (isinstance(outputs, Tensor) and isinstance(labels, Tensor)) or labels.is_floating_point():
        return None
    outputs, labels = _without_ones(outputs), _without_ones(labels)
    counted = (labels >= 0) & (labels != ignored)
    if outputs.shape == labels.shape:  # a single score each
        answer, classes = (outputs > 0).to(labels.dtype), 2
        if bool(((labels != ignored) & ((labels < 0) | (labels >= classes))).any()):
            return None  # no classes, but counts, or signs
    elif outputs.shape[:1] + outputs.shape[2:] == labels.shape:
        answer, classes = outputs.argmax(1), outputs.shape[1]
    elif outputs.shape[:-1] == labels.shape:
        answer, classes = outputs.argmax(-1), outputs.shape[-1]
    else:
        return None
    return answer, labels, counted & (labels < classes)


def _without_ones(tensor: Tensor) -> Tensor:
    return tensor.reshape(tensor.shape[:1] + tuple(size for size in tensor.shape[1:] if size != 1))
