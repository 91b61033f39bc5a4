"""A reader's own data, in the form that training wants: pairs of tensors, or any iterable of batches."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .errors import LotteryError

Pairs = Iterable[tuple[Tensor, Tensor]]


@dataclass(frozen=True, eq=False)
class TensorSplit:
    """Inputs (N, …) and labels (N, …) on one device. Batches are shuffled by (seed, epoch) alone, the last one dropped."""

    inputs: Tensor
    labels: Tensor

    def steps(self, batch_size: int) -> int:
        return len(self.inputs) // min(batch_size, len(self.inputs))

    def batches(self, batch_size: int, *, epoch: int = 0, seed: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        generator = torch.Generator().manual_seed((seed << 32) + epoch)
        order = torch.randperm(len(self.inputs), generator=generator).to(self.inputs.device)
        batch_size = min(batch_size, len(order))
        for rows in order[: self.steps(batch_size) * batch_size].split(batch_size):
            yield self.inputs[rows], self.labels[rows]

    def in_order(self, batch_size: int = 1000) -> Iterator[tuple[Tensor, Tensor]]:
        yield from zip(self.inputs.split(batch_size), self.labels.split(batch_size))


@dataclass(frozen=True, eq=False)
class IterableSplit:
    """Any iterable that gives (inputs, labels) each time it is gone through, such as a DataLoader.

    Its own batch size and order hold; a search is as repeatable as the iterable is.
    """

    source: Pairs
    device: str | torch.device = "cpu"

    def steps(self, batch_size: int) -> int:
        try:
            return len(self.source)
        except TypeError:
            return sum(1 for _ in self.source)

    def batches(self, batch_size: int, *, epoch: int = 0, seed: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        return self.in_order()

    def in_order(self) -> Iterator[tuple[Tensor, Tensor]]:
        for inputs, labels in self.source:
            yield inputs.to(self.device), labels.to(self.device)


@dataclass(frozen=True, eq=False)
class Batches:
    """What ``training.train`` and the methods take as data: a training split and, or None, one to validate on."""

    train: TensorSplit | IterableSplit
    val: TensorSplit | IterableSplit | None = None

    @property
    def fingerprint(self) -> str:
        """A hash of the first training batch and the number of batches, to tell data apart in one work folder."""
        first = next(iter(self.train.in_order()), ())
        digest = hashlib.sha256(b"".join(part.cpu().contiguous().view(torch.uint8).numpy().tobytes() for part in first))
        return f"{digest.hexdigest()[:16]} {self.train.steps(1)}"


def own(train: Any, val: Any = None, device: str | torch.device = "cpu") -> Batches:
    """A reader's data: each of ``train`` and ``val`` a pair of tensors (inputs, labels) or an iterable of such batches.

    Raises:
        LotteryError: a generator, which can be gone through only once, or tensors of different lengths.
    """
    return Batches(_split(train, device), None if val is None else _split(val, device))


def _split(source: Any, device: str | torch.device) -> TensorSplit | IterableSplit:
    if isinstance(source, tuple) and len(source) == 2 and all(isinstance(part, Tensor) for part in source):
        inputs, labels = source
        if len(inputs) != len(labels) or not len(inputs):
            raise LotteryError(f"{len(inputs)} inputs and {len(labels)} labels: there must be as many, and at least one")
        return TensorSplit(inputs.to(device), labels.to(device))
    if not isinstance(source, Iterable) or isinstance(source, Iterator):
        raise LotteryError("data must be a pair of tensors, or an iterable of batches that can be gone through again")
    return IterableSplit(source, device)
