"""Batches of any structure: dicts, tuples, lists and dataclasses, however nested, of tensors or NumPy arrays."""

from collections import UserDict
from collections.abc import Callable
from copy import copy
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lottery_lib.files import bits


def mapped(function: Callable[[Any], Any], batch: Any) -> Any:
    """A batch of the same structure and types with ``function`` of each leaf; what is no leaf stays as it is.

    Leaves are tensors, NumPy arrays of numbers, which become tensors, and whatever else moves to a device by itself.
    """
    if isinstance(batch, np.ndarray) and batch.dtype.kind in "biufc":
        batch = torch.from_numpy(batch.copy())
    if isinstance(batch, (dict, UserDict)):  # as transformers' BatchEncoding is
        other = copy(batch)
        for key, part in batch.items():
            other[key] = mapped(function, part)
        return other
    if hasattr(batch, "to"):
        return function(batch)
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):  # a named tuple
        return type(batch)(*(mapped(function, part) for part in batch))
    if isinstance(batch, (tuple, list)):
        return type(batch)(mapped(function, part) for part in batch)
    if is_dataclass(batch) and not isinstance(batch, type):
        another = copy(batch)
        for item in fields(batch):
            object.__setattr__(another, item.name, mapped(function, getattr(batch, item.name)))
        return another
    return batch


def leaves(batch: Any) -> list[Any]:
    """The leaves of a batch, in order."""
    found: list[Any] = []

    def keep(leaf: Any) -> Any:
        found.append(leaf)
        return leaf

    mapped(keep, batch)
    return found


def size(batch: Any) -> int:
    """How much a batch counts among others: the first dimension of its first tensor, as a rule its samples."""
    return next((len(leaf) for leaf in leaves(batch) if isinstance(leaf, Tensor) and leaf.ndim), 1)


def lengths(batch: Any) -> set[int]:
    """The first dimensions of its leaves; −1 for a leaf that has none, or is no tensor."""
    return {len(leaf) if isinstance(leaf, Tensor) and leaf.ndim else -1 for leaf in leaves(batch)}


def sliceable(batch: Any) -> bool:
    """Whether samples lie along the first dimension of all its leaves, which are tensors."""
    return len(found := lengths(batch)) == 1 and -1 not in found


def rows(batch: Any, which: Any) -> Any:
    """Some samples of a batch that is ``sliceable``."""
    return mapped(lambda leaf: leaf[which], batch)


def moved(batch: Any, device: str | torch.device) -> Any:
    """The whole batch on a device; a GPU fetches pinned memory meanwhile, what comes to the CPU is there at once."""
    meanwhile = torch.device(device).type == "cuda"

    def move(leaf: Any) -> Any:
        return leaf.to(device, non_blocking=True) if meanwhile and isinstance(leaf, Tensor) else leaf.to(device)

    return mapped(move, batch)


def fingerprint(batch: Any, within: tuple[int, ...] = ()) -> bytes:
    """What tells a batch from others: types, shapes and bits of its tensors, keys, and whatever else is in it.

    ``within``: the objects that it lies in, which it may lead back to.
    """
    if isinstance(batch, (dict, UserDict)):
        return b"".join(f"{key} ".encode() + fingerprint(part, within) for key, part in batch.items())
    if isinstance(batch, (tuple, list)):
        return b"".join(fingerprint(part, within) for part in batch)
    if isinstance(batch, np.ndarray):
        return f"{batch.shape} {batch.dtype} ".encode() + batch.tobytes()
    if isinstance(batch, Tensor) and batch.layout != torch.strided:
        entries = batch.to_sparse_coo().coalesce()
        kind = f"{batch.layout} {tuple(batch.shape)} ".encode()
        return kind + fingerprint([entries.indices(), entries.values()])
    if isinstance(batch, Tensor):
        return f"{tuple(batch.shape)} {batch.dtype} ".encode() + bits(batch)
    if isinstance(parts := getattr(batch, "__dict__", None), dict) and not isinstance(batch, type):
        known = id(batch) in within
        return type(batch).__qualname__.encode() + (b"" if known else fingerprint(parts, (*within, id(batch))))
    return repr(batch).encode()
