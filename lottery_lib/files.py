"""Files that appear whole or not at all, and the bytes of tensors that their checksums are taken over."""

import errno
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

import torch
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
        yield unfinished
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


def lock(path: Path, taken: str) -> IO:
    """A file that one process has open at a time; the system closes it however that process ends.

    Raises:
        LotteryError: another process has it open: ``taken``.
    """
    import fcntl  # not on Windows

    path.parent.mkdir(parents=True, exist_ok=True)
    held = path.open("w")
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        held.close()
        raise LotteryError(taken) from None
    return held


def bits(tensor: Tensor) -> bytes:
    """The bytes of a tensor's values in their order, wherever it lies and however it is laid out."""
    return tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes()
