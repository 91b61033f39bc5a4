"""A ticket as one safetensors file: its tensors, its texts as JSON, and a checksum over both.

Such a file may come from anywhere: what is read is a whole ticket of the right types, or refused in one sentence.
"""

import hashlib
import json
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from lottery_lib import errors
from lottery_lib.errors import LotteryError
from lottery_lib.files import bits, whole

VERSION = 1  # of the file; a reader refuses files newer than itself
_PICKLES = (".pt", ".pth", ".pkl", ".ckpt", ".bin")


def digest(layout: Mapping[str, list[int]]) -> str:
    """SHA-256 of names and shapes in their order."""
    return hashlib.sha256(json.dumps([*layout.items()]).encode()).hexdigest()


def _is_whole(value: Any, least: int) -> bool:
    return type(value) is int and least <= value < errors.SEEDS


def _is_shape(value: Any) -> bool:
    return isinstance(value, list) and all(_is_whole(size, 0) for size in value)


def _is_architecture(value: Any) -> bool:
    """Whether this is what ``tickets.architecture`` gives."""
    if not isinstance(value, dict) or not isinstance(layout := value.get("layout"), dict):
        return False
    return all(map(_is_shape, layout.values())) and value.get("sha256") == digest(layout)


_TEXTS: dict[str, tuple[str, Callable[[Any], bool]]] = {  # as JSON: what each must be
    "config": ("a dict", lambda value: isinstance(value, dict)),
    "provenance": ("a dict", lambda value: isinstance(value, dict)),
    "architecture": ("a layout of whole numbers, and its sha256", _is_architecture),
    "search_epochs": ("a number, 0 or more", lambda value: type(value) in (int, float) and 0 <= value < math.inf),
    "seed": ("a seed, or null", lambda value: value is None or _is_whole(value, 0)),
    "state_sha256": ("a text", lambda value: isinstance(value, str)),
    "info": ("a dict", lambda value: isinstance(value, dict)),
    "mask": ("names", lambda value: isinstance(value, list) and all(isinstance(name, str) for name in value)),
}


def write(path: Path, tensors: Mapping[str, Tensor], fields: Mapping[str, Any]) -> None:
    """Write a ticket's tensors and the fields of ``_TEXTS``, all or nothing.

    Raises:
        LotteryError: a field is not JSON-able, a tensor holds NaN, or ``path`` cannot be written or is a pickle's.
    """
    refuse_pickle(path)
    _refuse_nan(tensors)
    try:
        texts = {name: json.dumps(fields[name], default=_plain) for name in _TEXTS}
    except (TypeError, ValueError) as reason:
        raise LotteryError(f"config, provenance and info must be JSON-able: {reason}") from None
    texts["lottery_ticket"] = str(VERSION)
    content = safetensors.torch.save(dict(tensors), texts | {"sha256": sha256(tensors, texts)})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole(path) as unfinished:
            unfinished.write_bytes(content)
    except (OSError, ValueError) as reason:  # the latter of a path with a null byte
        raise LotteryError(f"cannot write the ticket {path}: {getattr(reason, 'strerror', reason)}") from reason


def read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The fields of ``_TEXTS`` and the tensors of a file that is whole, a ticket, and of the right types.

    Raises:
        LotteryError: it is not.
    """
    texts, tensors = _read(path)
    try:
        fields = {name: _field(name, texts) for name in _TEXTS}
        if tensors.get("mask", torch.empty(0)).dtype != torch.uint8:
            raise LotteryError("its mask is missing, or not of bytes")
        layout = fields["architecture"]["layout"]
        if unknown := [name for name in fields["mask"] if name not in layout]:
            raise LotteryError(f"its mask covers {unknown[0]!r}, which its architecture does not have")
        parts = {f"{part}/{name}" for part in ("state", "relaxed") for name in layout}
        if unknown := sorted(tensors.keys() - parts - {"mask"}):
            raise LotteryError(f"nothing in its architecture is called {unknown[0]!r}")
        _refuse_nan(tensors)
    except LotteryError as reason:
        raise broken(path, reason) from None
    return fields, tensors


def broken(path: Path, reason: LotteryError) -> LotteryError:
    """What to say of a file whose checksum is right, and whose content is not."""
    return LotteryError(f"{path} is no whole ticket: {reason}; get the ticket again")


def refuse_pickle(path: Path) -> None:
    """LotteryError for the name of a file that can run code."""
    if path.suffix in _PICKLES:
        raise LotteryError(f"{path}: {path.suffix} files can run code when loaded; tickets are .safetensors files")


def sha256(tensors: Mapping[str, Tensor], texts: Mapping[str, str] | None = None) -> str:
    """SHA-256 over names, types, shapes and bits, and over ``texts``, whatever their order."""
    digest = hashlib.sha256(json.dumps(texts, sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(bits(tensor))
    return digest.hexdigest()


def _read(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Texts and tensors of a ticket of a known format, as they were written."""
    refuse_pickle(path)
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise LotteryError(f"cannot read the ticket {path}: it is no file but a device")
    try:
        content = path.read_bytes()
        tensors = safetensors.torch.load(content)
    except (OSError, ValueError) as reason:  # the latter of a path with a null byte
        raise LotteryError(f"cannot read the ticket {path}: {getattr(reason, 'strerror', reason)}") from reason
    except (SafetensorError, KeyError) as reason:  # a type of numbers that PyTorch does not know
        raise LotteryError(f"{path} is damaged or no safetensors file ({reason}); get the ticket again") from reason
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])  # as the format has it
    texts = header.get("__metadata__", {})
    version = texts.get("lottery_ticket")
    if version is None:
        raise LotteryError(f"{path} is a safetensors file but not a ticket; give one that Ticket.save wrote")
    if re.fullmatch("[1-9][0-9]*", version) and version != str(VERSION):
        raise LotteryError(f"{path} is a ticket of format {version}, newer than {VERSION}; update lottery_lib")
    if texts.pop("sha256", None) != sha256(tensors, texts):
        raise LotteryError(f"{path} does not match its own checksum: it is damaged or was edited; get the ticket again")
    if version != str(VERSION):
        raise LotteryError(f"{path} is a ticket of a format {version!r} that there is not; get the ticket again")
    return texts, tensors


def _field(name: str, texts: Mapping[str, str]) -> Any:
    kind, fits = _TEXTS[name]
    try:
        value = json.loads(texts[name])
    except (KeyError, ValueError, RecursionError):
        raise LotteryError(f"its {name} is missing, or no JSON") from None
    if not fits(value):
        raise LotteryError(f"its {name} must be {kind}")
    return value


def _refuse_nan(tensors: Mapping[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and tensor.float().isnan().any():
            raise LotteryError(f"{name!r} holds NaN; a ticket cannot")


def _plain(value: Any) -> Any:
    """NumPy's numbers as JSON has them."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")
