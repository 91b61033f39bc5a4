"""Files that appear whole or not at all, and the bytes of tensors that their checksums are taken over."""

import errno
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile

import torch
from filelock import FileLock, Timeout
from torch import Tensor

from lottery_lib.errors import LotteryError


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A block that writes what ``path`` shall be to the path it is given, which takes its place if the block ends well.

    Processes and threads side by side may write the same file: each has a name of its own until then. A link stays one:
    what it leads to is written.

    Raises:
        OSError: it cannot be written there, or is a device.
    """
    path = Path(os.path.realpath(path))
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise OSError(errno.EINVAL, "it is no file but a device, and stays one", str(path))
    unfinished = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}")
    try:
        unfinished.touch()
        mode = unfinished.stat().st_mode
        yield unfinished
        if unfinished.stat().st_mode != mode:  # safetensors lets nobody else read what it writes
            unfinished.chmod(mode)
        unfinished.replace(path)
    except OSError as reason:
        if reason.filename == str(unfinished):
            raise OSError(reason.errno, reason.strerror, str(path)) from reason
        raise
    finally:
        unfinished.unlink(missing_ok=True)


def require_writable(folder: Path) -> None:
    """Make a folder, and try whether files can be put there, before hours of work lead to some.

    Raises:
        LotteryError: they cannot.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as reason:
        sentence = f"cannot write to {folder}: {reason.strerror}; make it a folder you may write to"
        raise LotteryError(sentence) from reason


@contextmanager
def locked(path: Path, patience: float = 0.0) -> Iterator[bool]:
    """A block that one process at a time is in, and is told True; others are told False, and must not do its work.

    They wait so many seconds before. However that process ends, the next one may. The file stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    held = FileLock(path)
    try:
        held.acquire(timeout=patience)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        held.release()


def bits(tensor: Tensor) -> bytes:
    """The bytes of a tensor's values in their order, wherever it lies and however it is laid out."""
    return tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes()
