"""Is a record what its config gives? It is made again, as its provenance says it was made, and compared.

That is in a process of its own, with the instruction set, the threads and the precision of the record: PyTorch rounds
sums otherwise with other vectors, and a sum that is rounded otherwise makes another ticket in the end.
"""

import json
import math
import os
import random
import re
import subprocess
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lottery_lib import paths
from lottery_lib.errors import LotteryError, hint
from lottery_lib.experiments import arithmetic, protocols, records
from lottery_lib.provenance import GPU, provenance, vectors

PASSING = {"run", "protocol", "config", "provenance", "seconds"}  # not a result


@dataclass(frozen=True)
class Outcome:
    """What came of making a run again: whether all its numbers are the ``same`` to the bit, and what is to be said."""

    run: str
    same: bool
    said: str


def sample(count: int, protocol: str | None = None) -> list[str]:
    """The names of ``count`` records, drawn at random from all or from a protocol's; fewer if there are no more.

    Those are passed over that this machine cannot compute as they were computed.

    Raises:
        LotteryError: there are none, or one is damaged.
    """
    names = [path.parent.name for path in records.finished()]
    among = [name for name in names if protocol in (None, name.rpartition("-")[0])]
    if not among:
        making = f"; make one with: lottery train {protocol}"
        end = making if protocol in protocols.PROTOCOLS else hint(protocol or "", protocols.PROTOCOLS)
        raise LotteryError(f"no record of {protocol or 'any protocol'}{end}")
    drawn: list[str] = []
    for name in random.sample(among, len(among)):
        made = records.read_record(name)["provenance"]
        if not (lacking := _lacking(name, made)):
            drawn.append(name)
        if len(drawn) == count:
            break
    if not drawn:
        raise LotteryError(lacking)
    return sorted(drawn)


def verify(run: str) -> Outcome:
    """Make a record's run again and compare; nothing is written. The run may be given by its folder, too.

    Raises:
        LotteryError: there is no such record, or this machine cannot compute as it was computed.
    """
    if (paths.RESULTS / Path(run).name).resolve() == Path(run).resolve():
        run = Path(run).name
    record, arrays = _stored(run)
    made = record["provenance"]
    asked = vectors(made)
    if lacking := _lacking(run, made):
        raise LotteryError(lacking)
    given = {} if asked == GPU else arithmetic.environment(asked, made["threads"]) | {"CUDA_VISIBLE_DEVICES": ""}
    with tempfile.TemporaryDirectory() as folder:
        code = f"from {__name__} import _make; _make(*sys.argv[1:])"
        command = [*arithmetic.python(code), str(paths.RESULTS), run, folder]
        done = subprocess.run(command, env=os.environ | given, capture_output=True, text=True)
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["it was killed"])[-1]
            raise LotteryError(f"{run} could not be made again: {reason.removeprefix(f'{LotteryError.__module__}.')}")
        again = json.loads((Path(folder) / "record.json").read_text("utf-8"))
        with np.load(Path(folder) / "arrays.npz") as found:
            remade = dict(found)
    return compare(record, arrays, again, remade)


def _lacking(run: str, made: dict) -> str:
    """Why this machine cannot compute as the run was computed; empty if it can."""
    asked, here = vectors(made), arithmetic.here()
    if arithmetic.more(asked, here):
        return f"{run} was made with {asked}, and this machine has {here} only; verify it where there is"
    if asked == GPU and not torch.cuda.is_available():
        return f"{run} was made on a GPU ({made['device']}), and here is none; verify it where there is one"
    return ""


def compare(record: dict, arrays: dict, again: dict, remade: dict) -> Outcome:
    """What stands on record of a run, and its arrays, against what came out when it was made again."""
    same = arrays.keys() == remade.keys() and all(_same_bits(arrays[name], remade[name]) for name in arrays)
    if same and _same(record, again):
        return Outcome(record["run"], True, "same bits")
    said = f"{_difference(record, arrays, again, remade)}; {_why(record['provenance'])}"
    return Outcome(record["run"], False, said)


def _stored(run: str) -> tuple[dict, dict[str, np.ndarray]]:
    if not (paths.RESULTS / run / "record.json").exists():
        raise LotteryError(f"no record {run!r}; it must be the name of a folder in {paths.RESULTS}")
    return records.read_run(run)


def _same(record: Any, again: Any) -> bool:
    """Whether all that a record says came out again, but for the time it took; records say more and more."""
    if isinstance(record, dict):
        return all(key in again and _same(record[key], again[key]) for key in record.keys() - PASSING)
    if isinstance(record, list):
        return len(record) == len(again) and all(map(_same, record, again))
    return record == again or (record != record and again != again)  # NaN is NaN again


def _same_bits(one: np.ndarray, other: np.ndarray) -> bool:
    return (one.dtype, one.shape) == (other.dtype, other.shape) and one.tobytes() == other.tobytes()


def _difference(record: dict, arrays: dict, again: dict, remade: dict) -> str:
    if "test_accuracy" not in record:
        return "other numbers"
    accuracy = _accuracies(record, again)
    if record.get("mask_sha256") == again.get("mask_sha256"):
        return f"{'same ticket' if 'mask_sha256' in record else 'no ticket'}, {accuracy}"
    if "mask" not in arrays:
        return f"another ticket, {accuracy}"
    first, second = (records.mask(record, each["mask"]) for each in (arrays, remade))
    kept = sum(int(mask.sum()) for mask in first.values())
    gone = sum(int((first[name] & ~second[name]).sum()) for name in first)
    return f"another ticket, {100 * gone / kept:.2g} % of its weights differ, {accuracy}"


def _accuracies(record: dict, again: dict) -> str:
    """Both, and whether they are as near as two draws of so many test images would be: within two standard errors."""
    before, now = record["test_accuracy"], again["test_accuracy"]
    if "test" not in record.get("images", {}):
        return f"accuracy {now:.2f} %, on record {before:.2f} %"
    images, apart = record["images"]["test"], abs(now - before)
    right = ((before + now) / 100 * images + 1) / (2 * images + 2)  # of both, never quite 0 or 1
    error = 100 * math.sqrt(2 * right * (1 - right) / images)
    same = "same accuracy within" if apart <= 2 * error else "another accuracy by"
    return f"{same} {apart:.2f} points ({now:.2f} %, on record {before:.2f} %)"


def _why(made: dict) -> str:
    here = provenance()
    made, here = ({**each, "device": re.sub(r" \(.*\)$", "", each["device"])} for each in (made, here))  # it told more
    differ = [f"{key} {made[key]}, here {here[key]}" for key in ("torch", "numpy", "device") if made[key] != here[key]]
    return f"it was made with {'; '.join(differ)}" if differ else "though it was made with the same software and device"


def _make(results: str, run: str, folder: str) -> None:
    """In the process that computes as the record was computed."""
    with tempfile.TemporaryDirectory() as work:
        paths.RESULTS, paths.WORK = Path(results), Path(work)
        record = records.read_record(run)
        torch.set_num_threads(record["provenance"]["threads"])
        config = protocols.config_class(record["protocol"])(**record["config"])
        if getattr(config, "precision", None) == "auto":
            config = replace(config, precision=record["recipe"]["precision"])
        again, arrays = protocols.PROTOCOLS[record["protocol"]][1](config, False)
        (Path(folder) / "record.json").write_text(json.dumps(again), "utf-8")
        np.savez(Path(folder) / "arrays.npz", **arrays)
