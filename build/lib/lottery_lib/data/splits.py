"""What training asks of data: the experiments' (``images``) and a reader's own (``batches``) both answer to it."""

from collections.abc import Iterator
from typing import Protocol

from torch import Tensor

Pair = tuple[Tensor, Tensor]  # inputs (N, …) and labels (N, …)


class TrainingSplit(Protocol):
    """Samples that are gone through in batches."""

    def steps(self, batch_size: int) -> int:
        """Batches in an epoch of training."""

    def batches(self, batch_size: int, *, epoch: int = 0, seed: int = 0) -> Iterator[Pair]:
        """One epoch of training, the same for the same (seed, epoch)."""

    def in_order(self) -> Iterator[Pair]:
        """Every sample once, for evaluation."""


class TrainingData(Protocol):
    """A split to train on and one to validate on, or None; ``fingerprint`` tells data from other data."""

    @property
    def train(self) -> TrainingSplit: ...

    @property
    def val(self) -> TrainingSplit | None: ...

    @property
    def fingerprint(self) -> str: ...
