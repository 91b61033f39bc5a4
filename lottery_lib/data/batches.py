"""A reader's own data, in the form that training wants: whole tensors, or any iterable of batches.

Either answers as ``splits.TrainingSplit`` says.
"""

import hashlib
from collections import UserDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset

from lottery_lib.data import structure
from lottery_lib.data.splits import Batch, require_there
from lottery_lib.errors import LotteryError
from lottery_lib.randomness import generator, seeded, started


@dataclass(frozen=True, eq=False)
class TensorSplit:
    """Samples as tensors (N, …) on one device, such as a pair of inputs and labels, or a dict.

    Batches are shuffled by (seed, epoch) alone. A last one that is not full is dropped, unless it is the only one.
    """

    samples: Batch

    def __len__(self) -> int:
        return structure.size(self.samples)

    def steps(self, batch_size: int) -> int:
        return len(self) // min(batch_size, len(self))

    def batches(self, batch_size: int, *, epoch: int = 0, seed: int = 0) -> Iterator[Batch]:
        device = structure.leaves(self.samples)[0].device
        order = torch.from_numpy(generator(seed, epoch).permutation(len(self))).to(device)
        batch_size = min(batch_size, len(order))
        for rows in order[: self.steps(batch_size) * batch_size].split(batch_size):
            yield structure.rows(self.samples, rows)

    def in_order(self, batch_size: int = 1000) -> Iterator[Batch]:
        for first in range(0, len(self), batch_size):
            yield structure.rows(self.samples, slice(first, first + batch_size))


@dataclass(frozen=True, eq=False)
class IterableSplit:
    """Any iterable that gives batches each time it is gone through, such as a DataLoader.

    Its own batch size and order hold. If it draws from the generators of PyTorch, NumPy or Python, training seeds them;
    one of its own, as a DataLoader may have, starts anew each time. LotteryError if it gives no batch.
    """

    source: Iterable[Batch]
    device: str | torch.device = "cpu"

    def steps(self, batch_size: int) -> int:
        stream = isinstance(getattr(self.source, "dataset", None), IterableDataset)
        try:
            steps = self._counted if stream else len(self.source)  # type: ignore[arg-type]  # not every one has one
        except TypeError:
            steps = self._counted
        if not steps:
            raise LotteryError("the iterable gives no batch of data; it must give at least one")
        return steps

    @cached_property
    def _counted(self) -> int:
        """By going through it: what a loader of a stream declares is wrong where several workers read."""
        with seeded(torch.device(self.device), 0), started(self.generators):
            return sum(1 for _ in self.source)

    @property
    def generators(self) -> list[torch.Generator]:
        """What it draws its order and its samples from, beside torch's own generator."""
        batches = getattr(self.source, "batch_sampler", None)
        parts = (getattr(self.source, name, None) for name in ("sampler", "dataset"))
        owners = (self.source, *parts, batches, getattr(batches, "sampler", None))
        found = (getattr(owner, "generator", None) for owner in owners)
        return [own for own in found if isinstance(own, torch.Generator)]

    @property
    def ends_in_one(self) -> bool:
        """Whether it is known that the last batch has a single sample."""
        size, samples = getattr(self.source, "batch_size", None), getattr(self.source, "sampler", None)
        if not size or getattr(self.source, "drop_last", False) or not hasattr(samples, "__len__"):
            return False
        return len(samples) % size == 1  # type: ignore[arg-type]  # it has, as was asked

    def batches(self, batch_size: int, *, epoch: int = 0, seed: int = 0) -> Iterator[Batch]:
        with started(self.generators, seed, epoch):
            for batch in self.source:
                yield structure.moved(batch, self.device)

    def in_order(self) -> Iterator[Batch]:
        return self.batches(1)


@dataclass(frozen=True, eq=False)
class Batches:
    """What ``train`` and the methods take as data: a training split and, or None, one to validate on."""

    train: TensorSplit | IterableSplit
    val: TensorSplit | IterableSplit | None = None
    key: str | None = None

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the ``key`` if there is one, else of all samples, to tell data apart; they are read once."""
        if self.key is not None:
            return hashlib.sha256(str(self.key).encode()).hexdigest()[:16]
        digest = hashlib.sha256()
        splits: Iterable[TensorSplit | IterableSplit] = filter(None, (self.train, self.val))
        for split in splits:
            digest.update(f"{type(split).__name__} {split.steps(1)} ".encode())
            device = torch.device(getattr(split, "device", "cpu"))
            with seeded(device, 0):  # whoever asks; what they draw next is the same where this is known already
                for batch in split.in_order():
                    digest.update(structure.fingerprint(batch))
        return digest.hexdigest()[:16]


def own(train: Any, val: Any = None, device: str | torch.device = "cpu", key: str | None = None) -> Batches:
    """A reader's data: each of ``train`` and ``val`` a pair of tensors (inputs, labels) or an iterable of such batches.

    Or batches of any other structure, for an ``objective`` of one's own: dicts, longer tuples, what is nested in them,
    tensors or NumPy arrays. A tuple or dict of tensors is taken for the whole data, and cut into batches. An iterable
    without a length is gone through once to count its batches, so it must end.

    Args:
        val: What is validated on after each epoch; None for nothing.
        device: Where batches are moved to, and whole tensors at once; the network must lie there, too.
        key: A text that no other data have. Without one, the first training with a ``work`` folder reads all samples
            before it begins, to tell its data from others; they must not be changed in place thereafter.

    Raises:
        LotteryError: a generator, which can be gone through only once, tensors of different lengths, a list in a
            tuple's place, or a device that is not there.

    >>> import torch
    >>> import lottery_lib as lottery
    >>> from torch.utils.data import DataLoader, TensorDataset
    >>> pair = torch.randn(100, 8), torch.randint(3, (100,))
    >>> loader = DataLoader(TensorDataset(*pair), batch_size=40)
    >>> data = lottery.own(pair, val=loader)
    >>> data.train.steps(batch_size=32), [len(y) for _, y in data.val.in_order()]
    (3, [40, 40, 20])
    """
    require_there(device)
    return Batches(_split(train, device), None if val is None else _split(val, device), key)


def _split(source: Any, device: str | torch.device) -> TensorSplit | IterableSplit:
    if isinstance(source, (dict, UserDict)) or (
        isinstance(source, tuple) and any(isinstance(part, (Tensor, np.ndarray)) for part in source)
    ):
        samples = structure.moved(source, device)
        counts = [len(leaf) if getattr(leaf, "ndim", 0) else 0 for leaf in structure.leaves(samples)]
        if len(set(counts)) != 1 or not counts[0]:
            given = " and ".join(map(str, counts)) or "no tensors with"
            raise LotteryError(f"{given} samples: there must be as many in every tensor, and at least one")
        return TensorSplit(samples)
    if type(source) is list and _is_whole(source):
        raise LotteryError("a list is taken for batches; a pair of whole tensors must be a tuple: own((x, y))")
    if not isinstance(source, Iterable) or isinstance(source, Iterator):
        raise LotteryError(
            "data must be a pair of tensors, or an iterable of batches that can be gone through again, as a DataLoader"
        )
    return IterableSplit(source, device)


def _is_whole(parts: list[Any]) -> bool:
    """Whether these are inputs and labels, rather than batches of one tensor each, which are of one kind."""
    if len(parts) < 2 or not all(isinstance(part, (Tensor, np.ndarray)) and part.ndim for part in parts):
        return False
    kinds = {(str(part.dtype), part.ndim) for part in parts}
    return len({len(part) for part in parts}) == 1 and len(kinds) > 1
