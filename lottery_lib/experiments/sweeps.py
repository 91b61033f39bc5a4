"""Sweeps: the runs of a grid put on record in order of priority, by a plain loop. ``snakemake`` does it by Snakemake.

Any number of processes may share a checkout, on several machines too: each holds the lock of the run that it makes, and
a record appears by one rename. A run that was killed goes on after its last epoch, kept in ``paths.WORK``.
"""

import math
import os
import re
import subprocess
import time
import traceback
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable
from pathlib import Path
from statistics import median
from typing import Any

import torch

from lottery_lib import files, paths
from lottery_lib.errors import LotteryError
from lottery_lib.experiments import arithmetic, protocols, records
from lottery_lib.experiments.grids import grid, groups_of, trainings
from lottery_lib.provenance import provenance

UNITS = {"s": 1, "m": 60, "h": 3600}
PATIENCE = 0.5  # seconds that a lock is waited for: those who count the processes at work hold it for a moment
MOST_PROCESSES = 8  # side by side, as each holds the data and a network


def seconds(text: str) -> float:
    """A time such as ``90s``, ``9m`` or ``1.5h``, in seconds; LotteryError if it is no time."""
    if not (found := re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text)):
        raise LotteryError(f"budget {text!r}: must be a time with its unit, as in 90s, 9m or 1.5h")
    return float(found[1]) * UNITS[found[2]]


class Costs:
    """What runs will take: the epochs of their trainings × the median seconds an epoch of similar runs on this device.

    Similar runs share protocol and precision. The trainings of runs made before, ``done``, cost nothing again. A run
    that is not measured in epochs takes the median of the runs of its protocol.
    """

    def __init__(self, done: Iterable[Any] = ()):
        self._paces: dict[Hashable, list[float]] = defaultdict(list)
        kept = done if any(paths.WORK.glob("*.safetensors")) else ()  # else records were brought here without those
        self._made: set[Hashable] = {key for config in kept for key in trainings(config)}
        self._here = provenance()["device"]
        for record in records.read_all():
            self._time(record)

    def add(self, config: Any) -> None:
        """Take note that a run was finished just now."""
        self._made |= trainings(config).keys()
        self._time(records.read(config)[0])

    def _time(self, record: dict) -> None:
        if record["provenance"]["device"] != self._here:
            return
        if record.get("total_epochs"):
            kind = record["protocol"], record["config"]["precision"]
            self._paces[kind].append(record["seconds"] / record["total_epochs"])
        elif "total_epochs" not in record and "seconds" in record:
            self._paces[record["protocol"], None].append(record["seconds"])

    def estimate(self, configs: Iterable[Any]) -> tuple[float, int]:
        """Seconds these runs take, one after the other, but for so many of which none like them is on record here."""
        paces, made = {kind: median(values) for kind, values in self._paces.items()}, set(self._made)
        total, unknown = 0.0, 0
        for config in dict.fromkeys(configs):
            needed = trainings(config)
            pace = paces.get((config.protocol, config.precision if needed else None))
            if pace is None:
                unknown += 1
                continue
            total += pace * (sum(epochs for key, epochs in needed.items() if key not in made) if needed else 1)
            made |= needed.keys()
        return total, unknown


def run(name: str, part: str | None = None, budget: str | None = None, dry_run: bool = False) -> dict[Any, str]:
    """Make what is left of a grid, or of a ``part``, or only list it; returns the runs that failed, with the reason.

    On a CPU a whole grid is made by a process on each core, which is faster than one on all (``benchmarks/``), unless
    OMP_NUM_THREADS says how many threads there shall be. LotteryError as ``grid``, ``groups_of`` and ``seconds`` raise
    it, before anything runs, and if runs of other processes failed.
    """
    groups = groups_of(part, grid(name)) if part else grid(name)
    configs = [config for group in groups for config in group]
    limit = seconds(budget) if budget is not None else math.inf
    left = [config for config in configs if not records.exists(config)]
    if dry_run:
        print(progress(configs, left, Costs(set(configs) - set(left)), at_work(left)))
        print(*map(records.command, left), sep="\n", end="\n" if left else "", flush=True)
        return {}
    if left:
        for folder in (paths.RESULTS, paths.WORK):
            files.require_writable(folder)
    words = [name, *(["--budget", budget] if budget else [])]
    needs = [arithmetic.needed(config) for config in left]
    variables = needs[0] if needs and needs.count(needs[0]) == len(needs) else {}  # else each run finds its own
    if variables and (part or "OMP_NUM_THREADS" in os.environ):
        arithmetic.lottery(["sweep", *words, *(["--part", part] if part else [])], variables)
        return {}
    busy = sum(not all(map(records.exists, group)) for group in groups)
    processes = min(busy, os.cpu_count() or 1, MOST_PROCESSES)
    if part or processes < 2 or "OMP_NUM_THREADS" in os.environ or torch.cuda.is_available():
        return loop(groups, limit)
    _side_by_side(words, processes, variables)
    return {}


def _side_by_side(words: list[str], processes: int, variables: dict[str, str]) -> None:
    """``lottery sweep`` with these words by so many processes, each with its share of the cores."""
    command = [*arithmetic.LOTTERY, "sweep", *words]
    environment = os.environ | {"OMP_NUM_THREADS": str((os.cpu_count() or 1) // processes)} | variables
    children = [subprocess.Popen(command, env=environment) for _ in range(processes)]
    if any([child.wait() for child in children]):  # a list, as all are waited for
        raise LotteryError("not all runs were made; the reasons stand above")


def loop(
    groups: list[list[Any]],
    budget: float = math.inf,
    say: Callable[[str], None] = print,
    clock: Callable[[], float] = time.monotonic,
) -> dict[Any, str]:
    """Make the runs that are not on record, in order; returns those that failed, with the reason.

    A group at whose run another process is at work is left to that one, and looked at again in the end. A run that
    fails stops no other. Within a ``budget`` of seconds, no run is started that is known to take more than what is left
    of it. ``say`` is told what is done and left.
    """
    started, failed, date = clock(), {}, time.time()
    configs = [config for group in groups for config in group]
    left = dict.fromkeys(config for config in configs if not records.exists(config))
    costs = Costs(set(configs) - left.keys())

    def told() -> str:
        for config in [config for config in left if records.exists(config)]:
            costs.add(config)
            del left[config]
        return progress(configs, list(left), costs, at_work(left))

    def made(group: list[Any]) -> bool:
        """False if another process is at work on it."""
        for config in group:
            rest = budget - (clock() - started)
            if config not in left or config in failed or rest <= 0 or costs.estimate([config])[0] > rest:
                continue
            lock, failure = _beside(config)
            with files.locked(lock, PATIENCE) as free:
                if not free:
                    return False
                if failure.exists() and failure.stat().st_mtime >= date:  # by another process, just as it would here
                    failed[config] = failure.read_text("utf-8")
                elif not records.exists(config):
                    say(f"{told()}: {records.command(config)}")
                    try:
                        protocols.train(config)
                    except Exception as error:
                        failed[config] = str(error) if isinstance(error, LotteryError) else _unforeseen(error)
                        failure.write_text(failed[config], "utf-8")
                        say(f"  failed: {failed[config]}")
            if records.exists(config):
                lock.unlink(missing_ok=True)
                failure.unlink(missing_ok=True)
        return True

    waiting, before = groups, None
    while waiting != before:
        before, waiting = waiting, [group for group in waiting if not made(group)]
    say(told())
    return failed


def at_work(configs: Iterable[Any]) -> int:
    """How many processes are making one of these runs."""
    found = 0
    for config in configs:
        lock, _ = _beside(config)
        if lock.exists():
            with files.locked(lock) as free:
                found += not free
            if records.exists(config):  # made meanwhile: asking for the lock may have put back what was removed
                lock.unlink(missing_ok=True)
    return found


def _beside(config: Any) -> tuple[Path, Path]:
    """The lock of a run, and where the reason stands for which it failed."""
    folder = paths.WORK / "locks"
    return folder / f"{records.name(config)}.lock", folder / f"{records.name(config)}.failed"


def progress(configs: list[Any], left: list[Any], costs: Costs, processes: int = 1) -> str:
    """How much is done and left, and how long that takes, by so many processes, as far as it is known."""
    told, (estimate, unknown) = f"{len(configs) - len(left)} of {len(configs)} on record", costs.estimate(left)
    if unknown == len(left):
        return told
    by = f" by {processes} processes" if processes > 1 else ""
    beside = f", beside {unknown} run{'s' if unknown > 1 else ''} of unknown length" if unknown else ""
    return f"{told}, about {duration(estimate / max(processes, 1))} left{by}{beside}"


def duration(seconds: float) -> str:
    """A time to the unit that matters."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


def _unforeseen(error: Exception) -> str:
    """The reason in a line; where it arose is printed for whoever mends it."""
    traceback.print_exception(error)
    return " ".join(f"{type(error).__name__}: {error}".split())
