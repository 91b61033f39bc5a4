"""All that is drawn follows from a seed and an epoch: so a training that goes on draws what it would have drawn."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from lottery_lib import errors


@contextmanager
def seeded(device: torch.device, seed: int, epoch: int = 0) -> Iterator[None]:
    """PyTorch's generators start from (seed, epoch) within, and go on as they were afterwards.

    Raises:
        LotteryError: the seed is no valid one.
    """
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(int(_sequence(seed, epoch).generate_state(1)[0]))
        yield


def generator(seed: int, epoch: int) -> np.random.Generator:
    """NumPy's PCG64, which draws the same numbers on every device and version of PyTorch."""
    return np.random.default_rng(_sequence(seed, epoch))


def _sequence(seed: int, epoch: int) -> np.random.SeedSequence:
    return np.random.SeedSequence(errors.seed(seed), spawn_key=(epoch,))
