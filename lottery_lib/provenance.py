"""What a number depends on beside its config: versions, machine and commit."""

import importlib.metadata
import os
import platform
import re
import subprocess
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import torch

from lottery_lib import __version__, paths

GPU = "CUDA"  # what a record made on one has in the place of vectors


def provenance(device: str | torch.device | None = None) -> dict[str, str | int]:
    """Versions of what computes, the machine, the date and the checkout's commit, JSON-able.

    ``device`` is where it was computed; None: on a GPU, if there is one.
    """
    place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    on_gpu = place.type == "cuda"
    return {
        "lottery_lib": __version__,
        "commit": _commit(),
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d"),
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "torchvision": _version("torchvision"),
        "numpy": np.__version__,
        "device": torch.cuda.get_device_name(place) if on_gpu else _processor(),
        "threads": torch.get_num_threads(),
        "vectors": GPU if on_gpu else torch.backends.cpu.get_cpu_capability(),
    }


def arithmetic(device: torch.device) -> list[str | int]:
    """What the sums of a training are rounded by: the version of PyTorch, and a GPU, or a CPU's vectors and threads."""
    if device.type == "cuda":
        return [str(torch.__version__), torch.cuda.get_device_name(device)]
    return [str(torch.__version__), torch.backends.cpu.get_cpu_capability(), torch.get_num_threads()]


def vectors(made: dict) -> str:
    """What a record was made with, by its provenance: the vector instructions of an x86-64 that PyTorch used, or CUDA.

    Older records tell it in the text of their ``device``. The oldest do not: those were made on machines with AVX2.
    """
    told = re.search(r", (\w+)\)$", made["device"])
    return made.get("vectors") or (told[1] if told else "AVX2")


def _version(package: str) -> str:
    """Without importing it, which takes torchvision seconds; nothing that computes a reader's search needs it."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _commit() -> str:
    """The checkout's commit, with ``+`` where tracked files differ from it; ``unknown`` outside a checkout.

    Where this package is installed elsewhere, the working directory may be a checkout of something else.
    """
    if not (Path(__file__).resolve().parents[1] / "pyproject.toml").exists():
        return "unknown"
    try:
        described = ["git", "-C", str(paths.ROOT), "describe", "--always", "--abbrev=12", "--dirty=+", "--exclude=*"]
        return subprocess.run(described, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _processor() -> str:
    """The processor's model, from the kernel where it tells, and the vectors that PyTorch uses of it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        model = platform.processor() or platform.machine()
    return f"{model} ({os.cpu_count()} cores, {torch.backends.cpu.get_cpu_capability()})"
