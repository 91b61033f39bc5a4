"""All that is drawn follows from a seed and an epoch: so a training that goes on draws what it would have drawn."""

import random
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import numpy as np
import torch

from lottery_lib import errors


@contextmanager
def undisturbed(device: torch.device) -> Iterator[None]:
    """Whatever is drawn within, the generators of PyTorch, NumPy and Python go on as they were afterwards."""
    by_python, by_numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            yield
    finally:
        random.setstate(by_python)
        np.random.set_state(by_numpy)


@contextmanager
def put_back(generators: Iterable[torch.Generator]) -> Iterator[None]:
    """Generators of somebody else's, as a DataLoader's own, likewise."""
    before = [(own, own.get_state()) for own in generators]
    try:
        yield
    finally:
        for own, state in before:
            own.set_state(state)


@contextmanager
def seeded(device: torch.device, seed: int, epoch: int = 0) -> Iterator[None]:
    """The generators of PyTorch, NumPy and Python start from (seed, epoch) within, and go on as they were afterwards.

    Raises:
        LotteryError: the seed is no valid one.
    """
    start = _start(seed, epoch)
    with undisturbed(device):
        # On a CPU the generators of GPUs are not kept, and torch.manual_seed would seed them too, for good.
        (torch.default_generator if device.type == "cpu" else torch).manual_seed(start)
        np.random.seed(start)  # which a reader's data may draw from, as Python's: their augmentation
        random.seed(start)
        yield


@contextmanager
def started(generators: list[torch.Generator], seed: int = 0, epoch: int = 0) -> Iterator[None]:
    """Generators of somebody else's likewise."""
    with put_back(generators):
        for own in generators:
            own.manual_seed(_start(seed, epoch))
        yield


def generator(seed: int, epoch: int) -> np.random.Generator:
    """NumPy's PCG64, which draws the same numbers on every device and version of PyTorch."""
    return np.random.default_rng(_sequence(seed, epoch))


def _start(seed: int, epoch: int) -> int:
    return int(_sequence(seed, epoch).generate_state(1)[0])


def _sequence(seed: int, epoch: int) -> np.random.SeedSequence:
    return np.random.SeedSequence(errors.seed(seed), spawn_key=(epoch,))
