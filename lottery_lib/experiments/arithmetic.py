"""What a sum is rounded by on a CPU: the vectors of the instruction set, and the threads that share the work.

After some thousand steps another rounding is another ticket. So a protocol may hold its runs to vectors that any x86-64
of the last ten years has, and to one thread: then their records have the same bits on all of these. PyTorch reads which
vectors it may use when it starts, so a process that has started with more has such runs made by another.
"""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from lottery_lib.errors import LotteryError

LIBRARY = Path(__file__).resolve().parents[2]  # the folder that this library lies in
VECTORS = ("DEFAULT", "AVX2", "AVX512")  # what PyTorch may use of an x86-64, the least first


def python(code: str, library: Path = LIBRARY) -> list[str]:
    """What runs this code on this Python, with that library, whatever lies in the working directory."""
    return [sys.executable, "-c", f"import sys; sys.path = [{str(library)!r}, *filter(None, sys.path)]; {code}"]


def command_line(library: Path = LIBRARY) -> list[str]:
    """That library's ``lottery``."""
    return python("from lottery_lib.cli import app; app()", library)


LOTTERY = command_line()


def here() -> str:
    """What this process computes with; other processors have other names."""
    return torch.backends.cpu.get_cpu_capability()


def more(first: str, second: str) -> bool:
    """Whether the first are more of ``VECTORS`` than the second."""
    return first in VECTORS and second in VECTORS and VECTORS.index(first) > VECTORS.index(second)


def environment(vectors: str, threads: int | None) -> dict[str, str]:
    """The variables of a process that computes with these, or on as many threads as it likes."""
    return {"ATEN_CPU_CAPABILITY": vectors.lower()} | ({"OMP_NUM_THREADS": str(threads)} if threads else {})


def device(config: Any) -> str:
    """Where a run computes: on a GPU, if there is one, unless its protocol names a device."""
    return getattr(config, "device", None) or ("cuda" if torch.cuda.is_available() else "cpu")


def needed(config: Any) -> dict[str, str]:
    """The variables of a process that may make this run, if this one may not: it computes with more vectors."""
    held = getattr(config, "vectors", "")
    return environment(held, config.threads) if device(config) == "cpu" and more(here(), held) else {}


@contextlib.contextmanager
def held(config: Any) -> Iterator[None]:
    """A block that computes on as many threads as the run's protocol says."""
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(getattr(config, "threads", None) or before)
        yield
    finally:
        torch.set_num_threads(before)


def lottery(words: list[str], variables: dict[str, str]) -> None:
    """The command line with these words, in a process with these variables; LotteryError if it fails."""
    if subprocess.run([*LOTTERY, *words], env=os.environ | variables).returncode:
        raise LotteryError("not all runs were made; the reasons stand above")
