"""What a training lowers, and what it is measured by."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from lottery_lib.data.splits import Batch
from lottery_lib.errors import LotteryError

Loss = Callable[[Any, Any], Tensor]  # of (outputs, labels), a scalar
Objective = Callable[[Any, Batch], Any]  # of (model, batch), a scalar; in evaluation it may be None, and is left out
Metric = Callable[[nn.Module, Iterable[Batch]], float]  # of the model, as it is evaluated, and all batches


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
            return self.loss(outputs, labels), (outputs, labels)
        except ValueError as reason:
            if "more than 1 value per channel when training" not in str(reason):
                raise
            raise LotteryError(
                "batch normalisation cannot train on a batch of one sample; choose another batch size, or drop the "
                "last batch (drop_last=True)"
            ) from reason


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
