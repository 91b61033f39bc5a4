"""A reader's own data, in the form that training wants: pairs of tensors, or any iterable of batches."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lottery_lib.data.splits import Pair
from lottery_lib.errors import LotteryError
from lottery_lib.files import bits
from lottery_lib.randomness import generator

Pairs = Iterable[Pair]


@dataclass(frozen=True, eq=False)
class TensorSplit:
    """Inputs (N, …) and labels (N, …) on one device; batches shuffled by (seed, epoch) alone, the last one dropped."""

    inputs: Tensor
    labels: Tensor

    def steps(self, batch_size: int) -> int:
        return len(self.inputs) // min(batch_size, len(self.inputs))

    def batches(self, batch_size: int, *, epoch: int = 0, seed: int = 0) -> Iterator[Pair]:
        order = torch.from_numpy(generator(seed, epoch).permutation(len(self.inputs))).to(self.inputs.device)
        batch_size = min(batch_size, len(order))
        for rows in order[: self.steps(batch_size) * batch_size].split(batch_size):
            yield self.inputs[rows], self.labels[rows]

    def in_order(self, batch_size: int = 1000) -> Iterator[Pair]:
        yield from zip(self.inputs.split(batch_size), self.labels.split(batch_size))


@dataclass(frozen=True, eq=False)
class IterableSplit:
    """Any iterable that gives (inputs, labels) each time it is gone through, such as a DataLoader.

    Its own batch size and order hold. If it draws from torch's generator, as a DataLoader does, training seeds that.
    LotteryError if it gives no batch.
    """

    source: Pairs
    device: str | torch.device = "cpu"

    def steps(self, batch_size: int) -> int:
        try:
            steps = len(self.source)  # type: ignore[arg-type]  # not every iterable has one
        except TypeError:
            steps = sum(1 for _ in self.source)
        if not steps:
            raise LotteryError("the iterable gives no batch of data; it must give at least one")
        return steps

    def batches(self, batch_size: int, *, epoch: int = 0, seed: int = 0) -> Iterator[Pair]:
        return self.in_order()

    def in_order(self) -> Iterator[Pair]:
        for inputs, labels in self.source:
            yield inputs.to(self.device), labels.to(self.device)


@dataclass(frozen=True, eq=False)
class Batches:
    """What ``train`` and the methods take as data: a training split and, or None, one to validate on."""

    train: TensorSplit | IterableSplit
    val: TensorSplit | IterableSplit | None = None
    key: str | None = None

    @property
    def fingerprint(self) -> str:
        """A hash of the ``key`` if there is one, else of all samples, to tell data apart."""
        if self.key is not None:
            return hashlib.sha256(self.key.encode()).hexdigest()[:16]
        digest = hashlib.sha256()
        splits: Iterable[TensorSplit | IterableSplit] = filter(None, (self.train, self.val))
        for split in splits:
            digest.update(f"{type(split).__name__} {split.steps(1)} ".encode())
            for pair in split.in_order():
                for part in pair:
                    digest.update(f"{tuple(part.shape)} {part.dtype} ".encode() + bits(part))
        return digest.hexdigest()[:16]


def own(
    train: Pair | Pairs, val: Pair | Pairs | None = None, device: str | torch.device = "cpu", key: str | None = None
) -> Batches:
    """A reader's data: each of ``train`` and ``val`` a pair of tensors (inputs, labels) or an iterable of such batches.

    A training with a ``work`` folder is told from others by all of its samples, read once; where that takes too long,
    give a ``key`` that no other data have.

    Raises:
        LotteryError: a generator, which can be gone through only once, or tensors of different lengths.

    >>> import torch
    >>> import lottery_lib as lottery
    >>> pair = torch.randn(100, 8), torch.randint(3, (100,))
    >>> loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*pair), batch_size=40)
    >>> data = lottery.own(pair, val=loader)
    >>> data.train.steps(batch_size=32), [len(labels) for _, labels in data.val.in_order()]
    (3, [40, 40, 20])
    """
    return Batches(_split(train, device), None if val is None else _split(val, device), key)


def _split(source: Any, device: str | torch.device) -> TensorSplit | IterableSplit:
    if isinstance(source, tuple) and len(source) == 2 and all(isinstance(part, Tensor) for part in source):
        inputs, labels = source
        if len(inputs) != len(labels) or not len(inputs):
            raise LotteryError(
                f"{len(inputs)} inputs and {len(labels)} labels: there must be as many, and at least one"
            )
        return TensorSplit(inputs.to(device), labels.to(device))
    if not isinstance(source, Iterable) or isinstance(source, Iterator):
        raise LotteryError("data must be a pair of tensors, or an iterable of batches that can be gone through again")
    return IterableSplit(source, device)
