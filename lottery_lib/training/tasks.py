"""What a training lowers, and what it is measured by."""

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from lottery_lib.data.splits import Batch
from lottery_lib.errors import LotteryError, hint

Loss = Callable[[Any, Any], Tensor]  # of (outputs, labels), a scalar
Objective = Callable[[Any, Batch], Any]  # of (model, batch), a scalar; in evaluation it may be None, and is left out
Metric = Callable[[nn.Module, Iterable[Batch]], float]  # of the model, as it is evaluated, and all batches
NOT_FINITE = "is a number in the data not finite, or every label one that the loss ignores?"
OPTIONS = ("loss", "objective", "metric", "work", "progress")  # of ``train``, which searches and ``retrain`` take too


@dataclass(frozen=True)
class Task:
    """A loss of outputs and labels, or in place of it an objective of model and batch; and a metric, or none.

    Raises:
        LotteryError: both a loss and an objective are given.
    """

    # A plain default would lend it its docstring.
    loss: Loss = field(default_factory=lambda: cross_entropy)
    objective: Objective | None = None
    metric: Metric | None = None

    def __post_init__(self) -> None:
        if self.objective is not None and self.loss is not cross_entropy:
            raise LotteryError("both a loss and an objective are given; the objective is what is lowered: give one")

    def value(self, model: Callable[[Any], Any], batch: Batch) -> Tensor:
        """What is lowered, of one batch.

        Raises:
            LotteryError: the batch is no pair, and there is no objective; or it is one sample, too few to normalise.
        """
        return self.outcome(model, batch)[0]

    def outcome(self, model: Callable[[Any], Any], batch: Batch) -> tuple[Tensor, tuple[Any, Any] | None]:
        """The same, with outputs and labels where a loss tells them."""
        try:
            if self.objective is not None:
                return self.objective(model, batch), None
            inputs, labels = _pair(batch)
            outputs = model(inputs)
            if (
                self.loss is cross_entropy
                and isinstance(outputs, Tensor)
                and outputs.ndim > 1
                and outputs.shape[1] == 1
            ):
                raise LotteryError("cross-entropy of a single class is always 0; give another loss, as loss=mse_loss")
            return self.loss(outputs, labels), (outputs, labels)
        except ValueError as reason:
            if "more than 1 value per channel when training" not in str(reason):
                raise
            raise LotteryError(
                "batch normalisation cannot train on a batch of one sample; choose another batch size, or drop the "
                "last batch (drop_last=True)"
            ) from reason


@contextmanager
def told(what: str) -> Iterator[None]:
    """A block that runs the reader's data, network, loss or metric: whatever it raises is said in a sentence.

    Raises:
        LotteryError: ``what`` fails, and why.
    """
    try:
        yield
    except LotteryError:
        raise
    except Exception as reason:
        line = str(reason).strip().partition("\n")[0]
        raise LotteryError(f"{what}: {type(reason).__name__}: {line}") from reason


def require_one(value: Any, one: bool) -> None:
    """LotteryError, with what the loss of a batch is, unless it is ``one`` number."""
    if not one:
        shown = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        shown += " of complex numbers" if isinstance(value, Tensor) and value.is_complex() else ""
        raise LotteryError(f"the loss of a batch must be one number, a tensor of shape (), but it is {shown}")


def require_options(options: Collection[str], config: Collection[str] = ()) -> None:
    """LotteryError for an option that is none of ``OPTIONS``; ``config`` are the fields that a config tells."""
    for name in sorted(set(options).difference(OPTIONS)):
        why = (
            f"the config tells it; give Config({name}=…)" if name in config else "no option here" + hint(name, OPTIONS)
        )
        raise LotteryError(f"{name}: {why}")


def _pair(batch: Batch) -> tuple[Any, Any]:
    if isinstance(batch, (tuple, list)) and len(batch) == 2:
        return batch[0], batch[1]
    keys = list(batch) if hasattr(batch, "keys") else []
    what = f"have keys {', '.join(map(str, keys))}" if keys else f"are of type {type(batch).__name__}"
    if isinstance(batch, (tuple, list)):
        what = f"have {len(batch)} parts"
    raise LotteryError(
        f"batches {what}, and a loss takes (inputs, labels); give an objective of (model, batch) in its place, as in "
        "objective=lambda model, batch: model(**batch).loss"
    )
