"""Where results lie: ``results/<run>/record.json`` and, beside it, ``arrays.npz``. Written once, by one rename.

A run's name is its protocol and a hash of what differs from the protocol's defaults, so that a field added later with
its old behaviour as default renames nothing. Everything downstream (tables, figures, notebooks) reads these folders.
"""

import hashlib
import json
import os
import platform
import shutil
import subprocess
import tempfile
from dataclasses import fields
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision

from . import __version__, paths
from .errors import LotteryError


def name(config: Any) -> str:
    """``<protocol>-<8 hex digits>``, the hash taken over the config's non-default fields and the protocol's version."""
    changed = {f.name: getattr(config, f.name) for f in fields(config) if getattr(config, f.name) != f.default}
    text = json.dumps({"version": config.version, **changed}, sort_keys=True)
    return f"{config.protocol}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def folder(config: Any) -> Path:
    return paths.RESULTS / name(config)


def exists(config: Any) -> bool:
    return (folder(config) / "record.json").exists()


def write(config: Any, record: dict, arrays: dict[str, np.ndarray]) -> Path:
    """Put a finished run on record, with its provenance; returns its folder. A record that is there already stays.

    Raises:
        LotteryError: the results folder cannot be written to.
    """
    final = folder(config)
    if exists(config):
        return final
    try:
        paths.RESULTS.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=paths.RESULTS))
        try:
            whole = {"run": final.name, "protocol": config.protocol, **record, "provenance": provenance()}
            (unfinished / "record.json").write_text(json.dumps(whole, indent=1, ensure_ascii=False) + "\n", "utf-8")
            np.savez_compressed(unfinished / "arrays.npz", **arrays)
            unfinished.chmod(0o755)
            unfinished.rename(final)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
    except OSError as reason:
        if exists(config):  # the same run, finished elsewhere in the meantime
            return final
        raise LotteryError(f"cannot write the record {final}: {reason.strerror}; make its folder writable") from reason
    return final


def read(config: Any) -> tuple[dict, dict[str, np.ndarray]]:
    """The record of a finished run and its arrays.

    Raises:
        LotteryError: there is none, with the command that makes it.
    """
    if not exists(config):
        raise LotteryError(f"no record {folder(config)}; make it with: {command(config)}")
    record = json.loads((folder(config) / "record.json").read_text("utf-8"))
    with np.load(folder(config) / "arrays.npz") as stored:
        return record, dict(stored)


def command(config: Any) -> str:
    """The command that makes this record."""
    changed = {f.name: getattr(config, f.name) for f in fields(config) if getattr(config, f.name) != f.default}
    return " ".join(["lottery train", config.protocol, *(f"-p {key}={_text(value)}" for key, value in changed.items())])


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value)


def provenance() -> dict[str, str | int]:
    """What a number depends on beside its config: versions, machine and commit."""
    return {
        "lottery_lib": __version__,
        "commit": _commit(),
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d"),
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "torchvision": str(torchvision.__version__),
        "numpy": np.__version__,
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else _processor(),
        "threads": torch.get_num_threads(),
    }


def _commit() -> str:
    """The checkout's commit, with ``+`` where tracked files differ from it; ``unknown`` outside a checkout."""
    try:
        described = ["git", "-C", str(paths.ROOT), "describe", "--always", "--abbrev=12", "--dirty=+", "--exclude=*"]
        return subprocess.run(described, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _processor() -> str:
    """The processor's model, from the kernel where it tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        model = platform.processor() or platform.machine()
    return f"{model} ({os.cpu_count()} cores)"
