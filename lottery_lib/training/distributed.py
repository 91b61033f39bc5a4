"""One training in several processes, as in ``torchrun --no-python --nproc-per-node 2 lottery train lenet``.

Every process walks through the same batches and takes its share of each; gradients are averaged, so all hold the same
weights, masks and optimiser after every step, those of one process on the whole batch, as far as nothing looks beyond
a sample: batch normalisation sees a process's share, and every process drops out the same of its own. All weights must
take part in every step. The first process writes checkpoints and records, to folders that all can read. Where there is
one process, all of this does nothing.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from lottery_lib.data import structure
from lottery_lib.data.splits import Batch
from lottery_lib.errors import LotteryError


@contextmanager
def joined() -> Iterator[None]:
    """Join the processes that torchrun started, if it did; each process gets a GPU of its own where there are GPUs."""
    if int(os.environ.get("WORLD_SIZE", 1)) == 1:
        yield
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield
    finally:
        distributed.destroy_process_group()


def world() -> int:
    """How many processes train together."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def first() -> bool:
    """Whether this is the process that writes files and reports."""
    return world() == 1 or distributed.get_rank() == 0


def barrier() -> None:
    """Wait for all processes, so that what the first has written is there for all."""
    if world() > 1:
        distributed.barrier()


def parallel(model: nn.Module) -> nn.Module:
    """The model, or a wrapper whose backward pass leaves the processes' mean gradient in every process."""
    return model if world() == 1 else DistributedDataParallel(model)


@torch.no_grad()
def agree(model: nn.Module) -> None:
    """Have all processes take over the first one's buffers: each has statistics of normalisation from its own share."""
    if world() > 1:
        for buffer in model.buffers():
            distributed.broadcast(buffer, 0)


def of_first(text: str) -> str:
    """The first process's text, for all."""
    if world() == 1:
        return text
    texts: list[Any] = [text]
    distributed.broadcast_object_list(texts, 0)
    return texts[0]


def share(batch: Batch) -> Batch:
    """This process's rows of a batch.

    Raises:
        LotteryError: the batch does not divide by the number of processes, so that the mean of means would not be its
            mean; or its samples do not lie along the first dimension of its tensors.
    """
    if world() == 1:
        return batch
    if not structure.sliceable(batch):
        raise LotteryError(
            "samples do not lie along the first dimension of all parts of a batch, so processes cannot share it"
        )
    if (size := structure.size(batch)) % world():
        raise LotteryError(f"a batch of {size} does not divide by {world()} processes; change one of the two")
    return structure.rows(batch, slice(distributed.get_rank(), None, world()))


def mean(value: Tensor) -> Tensor:
    """The mean of a scalar over all processes."""
    if world() > 1:
        distributed.all_reduce(value)
    return value / world()
