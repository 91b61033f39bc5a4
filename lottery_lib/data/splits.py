"""What training asks of data: the experiments' (``images``) and a reader's own (``batches``) both answer to it."""

from collections.abc import Iterator
from typing import Any, Protocol

import torch
from torch import Tensor

from lottery_lib.errors import LotteryError

Pair = tuple[Tensor, Tensor]  # inputs (N, …) and labels (N, …)
Batch = Any  # a pair, or whatever else an objective takes (``structure``)


class EvaluationSplit(Protocol):
    """Samples that are gone through once."""

    def in_order(self) -> Iterator[Batch]:
        """Every sample, in batches."""


class TrainingSplit(EvaluationSplit, Protocol):
    """Samples that are gone through again and again."""

    def steps(self, batch_size: int) -> int:
        """Batches in an epoch of training."""

    def batches(self, batch_size: int, *, epoch: int = 0, seed: int = 0) -> Iterator[Batch]:
        """One epoch of training, the same for the same (seed, epoch)."""


class TrainingData(Protocol):
    """A split to train on and one to validate on, or None; ``fingerprint`` tells data from other data."""

    @property
    def train(self) -> TrainingSplit: ...

    @property
    def val(self) -> TrainingSplit | None: ...

    @property
    def fingerprint(self) -> str: ...


def require_splits(data: object) -> None:
    """LotteryError unless these are ``TrainingData``, as a pair of tensors or a loader are not."""
    if not all(hasattr(data, name) for name in ("train", "val")):
        raise LotteryError(f"data of type {type(data).__name__} have no splits; give own(train, val), or load(name)")


def require_there(device: str | torch.device) -> None:
    """LotteryError unless PyTorch finds such a device here."""
    try:
        torch.empty(0, device=torch.device(device))
    except (RuntimeError, AssertionError, TypeError) as reason:  # no such type, or none of it in this machine or build
        found = "'cpu' or 'cuda'" if torch.cuda.is_available() else "'cpu'"
        raise LotteryError(f"device = {device!r}: PyTorch finds none here; must be one it does, as {found}") from reason
