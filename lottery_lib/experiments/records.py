"""Where results lie: ``results/<run>/record.json`` and, beside it, ``arrays.npz``. Written once, by one rename.

A run's name is its protocol and a hash of what differs from the protocol's defaults, so that a field added later with
its old behaviour as default renames nothing. Everything downstream (tables, figures, notebooks) reads these folders.
"""

import hashlib
import json
import shlex
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import Field, fields
from pathlib import Path
from typing import Any, get_args
from zipfile import BadZipFile

import numpy as np

from lottery_lib import masks, paths
from lottery_lib.errors import LotteryError
from lottery_lib.experiments import arithmetic, params
from lottery_lib.provenance import provenance

RECORD = {  # what is read of every record; a record may hold more
    "run": str, "protocol": str, "config": dict,
    "provenance": {"device": str, "torch": str, "numpy": str, "commit": str, "threads": int},
}  # fmt: skip
TICKET = {  # and of a ticket protocol's
    "dataset": str, "model": str, "reduced": bool, "density": float, "search_epochs": float, "total_epochs": float,
    "val_accuracy": float, "test_accuracy": float, "seconds": float, "history": [dict],
    "images": {"train": int, "test": int},
    "config": {
        "method": str, "density": float, "seed": int, "rounds": int, "precision": str, "regularizer": str | None,
        "score": str | None, "per_layer": bool, "rewind_epoch": int,
        **dict.fromkeys(("eps", "lam", "mask_lr", "start", "alpha"), float | None),
    },
    "recipe": {"batch_size": int, "precision": str},
}  # fmt: skip
SOMETIMES = {
    "calibration": {"alpha": float}, "bimodality": float,
    "layers": [{"layer": str, "shape": [int], "weights": int, "kept": int}],
}  # fmt: skip


def name(config: Any) -> str:
    """``<protocol>-<8 hex digits>``, the hash taken over the config's non-default fields and the protocol's version."""
    text = json.dumps({"version": getattr(config, "edition", config.version), **_changed(config)}, sort_keys=True)
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
        with appearing(final) as unfinished:
            whole = {"run": final.name, "protocol": config.protocol, **record}
            whole["provenance"] = provenance(arithmetic.device(config))
            (unfinished / "record.json").write_text(json.dumps(whole, indent=1, ensure_ascii=False) + "\n", "utf-8")
            np.savez_compressed(unfinished / "arrays.npz", **arrays)
    except OSError as reason:
        raise LotteryError(f"cannot write the record {final}: {reason.strerror}; make its folder writable") from reason
    return final


@contextmanager
def appearing(final: Path) -> Iterator[Path]:
    """A hidden folder to write a record into, which takes its name by one rename once the block has ended well.

    If another process has put the record there in the meantime, that one stays.
    """
    final.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=final.parent))
    try:
        yield unfinished
        unfinished.chmod(0o755)
        try:
            unfinished.rename(final)
        except OSError:
            if not (final / "record.json").exists():
                raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def read(config: Any) -> tuple[dict, dict[str, np.ndarray]]:
    """The record of a finished run and its arrays.

    Raises:
        LotteryError: there is none, with the command that makes it.
    """
    if not exists(config):
        raise LotteryError(f"no record {folder(config)}; make it with: {command(config)}")
    return read_run(name(config))


def read_run(run: str) -> tuple[dict, dict[str, np.ndarray]]:
    """The record of the run of that name, as the table of runs gives it, and its arrays.

    Raises:
        LotteryError: one of the two files is damaged.
    """
    return read_folder(paths.RESULTS / run)


def read_record(run: str) -> dict:
    """The record alone of the run of that name, without unpacking its arrays; LotteryError if it is damaged."""
    return _record(paths.RESULTS / run / "record.json")


def read_arrays(run: str) -> dict[str, np.ndarray]:
    """The arrays alone of the run of that name; LotteryError if they are damaged."""
    return _arrays(paths.RESULTS / run / "arrays.npz")


def read_folder(folder: Path) -> tuple[dict, dict[str, np.ndarray]]:
    """The record in a folder, which may be another checkout's, and its arrays; LotteryError if one is damaged."""
    return _record(folder / "record.json"), _arrays(folder / "arrays.npz")


def mask(record: dict, packed: np.ndarray) -> masks.Mask:
    """The mask on the CPU of a run's ticket, as its array ``mask`` has it; LotteryError if sizes differ."""
    return masks.unpack(packed, {layer["layer"]: layer["shape"] for layer in record["layers"]})


def finished() -> list[Path]:
    """The file of every record there is, in the order of the runs' names."""
    return sorted(paths.RESULTS.glob("[!.]*/record.json"))  # a hidden folder is still being written


def read_all() -> list[dict]:
    """Every record there is, without its arrays, in the order of the runs' names; LotteryError if one is damaged."""
    return [_record(path) for path in finished()]


def _record(path: Path) -> dict:
    try:
        record = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError, FileNotFoundError) as reason:
        raise damaged(path, reason) from reason
    found = params.misfit(record, RECORD)
    if not found and "method" in record["config"]:
        found = params.misfit(record, TICKET | {key: SOMETIMES[key] for key in SOMETIMES.keys() & record.keys()})
    if found:
        raise damaged(path, found)
    return record


def _arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path) as stored:
            return dict(stored)
    except (ValueError, EOFError, KeyError, RuntimeError, OSError, BadZipFile, zlib.error) as reason:
        if isinstance(reason, OSError) and reason.filename and not isinstance(reason, FileNotFoundError):
            raise  # it may not be opened, which says nothing of what is in it
        raise damaged(path, reason) from reason


def damaged(path: Path, reason: Exception | str) -> LotteryError:
    """What to say of a record's file that cannot be read."""
    why = " ".join(str(reason).split()) or type(reason).__name__
    return LotteryError(f"{path} is damaged ({why}); delete the folder {path.parent.name}, and make the run again")


def command(config: Any) -> str:
    """The command that makes this record."""
    types, default = params.field_types(type(config)), getattr(config, "default", lambda item: item.default)
    values = {item.name: getattr(config, item.name) for item in fields(config)}
    told = {item.name: values[item.name] for item in fields(config) if values[item.name] != default(item)}
    pairs = (f"-p {key}={shlex.quote(params.spelt(_typed(value, types[key])))}" for key, value in told.items())
    return " ".join(["lottery train", config.protocol, *pairs])


def _changed(config: Any) -> dict[str, Any]:
    """The non-default fields. Whole numbers have their field's type: so ``lam=1`` and ``lam=1.0`` are one run."""
    types = params.field_types(type(config))
    values = {f.name: value for f in fields(config) if (value := getattr(config, f.name)) not in _nameless(f)}
    return {name: _typed(value, types[name]) for name, value in values.items()}


def _nameless(item: Field) -> tuple[Any, ...]:
    return item.default, item.metadata.get("nameless", item.default)


def _typed(value: Any, kind: Any) -> Any:
    if isinstance(value, (int, float)) and value % 1 == 0:
        return next((number(value) for number in (int, float) if number in (kind, *get_args(kind))), value)
    return value
