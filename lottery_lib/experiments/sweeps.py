"""Sweeps: the runs of a grid put on record in order of priority, by a plain loop. ``snakemake`` does it by Snakemake.

Processes may share a checkout: a record appears by one rename, so none spoils another's. Give each its own ``--part``,
or they do the same work at the same time. A run that was killed goes on after its last epoch, kept in ``paths.WORK``.
"""

import math
import os
import re
import subprocess
import time
import traceback
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable
from dataclasses import fields
from functools import cache
from statistics import median
from typing import Any

import torch

from lottery_lib import files, paths
from lottery_lib.errors import LotteryError
from lottery_lib.experiments import arithmetic, protocols, records
from lottery_lib.experiments.catalogue import METHODS
from lottery_lib.experiments.grids import grid, groups_of
from lottery_lib.experiments.ticket_run import TicketRun
from lottery_lib.provenance import provenance

UNITS = {"s": 1, "m": 60, "h": 3600}
MOST_PROCESSES = 8  # side by side, as each holds the data and a network


def seconds(text: str) -> float:
    """A time such as ``90s``, ``9m`` or ``1.5h``, in seconds; LotteryError if it is no time."""
    if not (found := re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text)):
        raise LotteryError(f"budget {text!r}: must be a time with its unit, as in 90s, 9m or 1.5h")
    return float(found[1]) * UNITS[found[2]]


@cache
def trainings(config: Any) -> dict[Hashable, float]:
    """The trainings that a run is made of, named by what decides them, with the epochs of each: runs may share some.

    Empty for a run that is not measured in epochs.
    """
    if not isinstance(config, TicketRun):
        return {}
    if config.method == "dense":
        return {("dense", config): config.training.epochs}
    row, search = METHODS[config.method], config.search_config()
    seen, cost = (config.search_images, config.coarse), config.cost_of_search
    own = {f.name: getattr(search, f.name) for f in fields(search) if f.name not in ("density", "rounds", "alpha")}
    settings = (row.module, seen, *own.items())
    if row.retraining == "none":
        return {(settings, config.density): search.recipe.epochs * search.length}
    start = "start", seen, search.recipe, config.seed
    needed = {start: config.rewind_epoch * cost} if config.rewind_epoch else {}
    if row.decided_by:
        searched = (search.recipe.epochs - config.rewind_epoch) * cost
        needed |= {(settings, row.decided_by(search, done)): searched for done in range(len(search.densities))}
    length = config.training.epochs - config.rewind_epoch
    again = row.retraining == "the next round"
    return needed | {(settings, search.densities) if again else ("retraining", config): length}


class Costs:
    """What runs will take: the epochs of their trainings × the median seconds an epoch of similar runs on this device.

    Similar runs share protocol and precision. The trainings of runs made before, ``done``, cost nothing again.
    """

    def __init__(self, done: Iterable[Any] = ()):
        self._paces: dict[Hashable, list[float]] = defaultdict(list)
        kept = done if paths.WORK.exists() else ()  # else the records were brought here, without the trainings
        self._made: set[Hashable] = {key for config in kept for key in trainings(config)}
        here = provenance()["device"]
        for record in records.read_all():
            if record["provenance"]["device"] == here:
                self._time(record)

    def add(self, config: Any) -> None:
        """Take note that a run was finished just now."""
        self._made |= trainings(config).keys()
        self._time(records.read(config)[0])

    def _time(self, record: dict) -> None:
        if record.get("total_epochs"):
            kind = record["protocol"], record["config"]["precision"]
            self._paces[kind].append(record["seconds"] / record["total_epochs"])

    def estimate(self, configs: Iterable[Any]) -> float | None:
        """Seconds these runs take, one after the other; None if that of one is unknown."""
        paces, made, total = {kind: median(values) for kind, values in self._paces.items()}, set(self._made), 0.0
        for config in configs:
            needed = trainings(config)
            if not needed or (config.protocol, config.precision) not in paces:
                return None
            epochs = sum(epochs for key, epochs in needed.items() if key not in made)
            total += paces[config.protocol, config.precision] * epochs
            made |= needed.keys()
        return total


def run(name: str, part: str | None = None, budget: str | None = None, dry_run: bool = False) -> dict[Any, str]:
    """Make what is left of a grid, or of a ``part``, or only list it; returns the runs that failed, with the reason.

    On a CPU a whole grid is made by a process on each core, which is faster than one on all (``benchmarks/``), unless
    OMP_NUM_THREADS says how many threads there shall be. LotteryError as ``grid``, ``groups_of`` and ``seconds`` raise
    it, before anything runs, and if runs of other processes failed.
    """
    groups = grid(name)[groups_of(part or "1/1")]
    configs = [config for group in groups for config in group]
    limit = seconds(budget) if budget is not None else math.inf
    left = [config for config in configs if not records.exists(config)]
    if dry_run:
        print(progress(configs, left, Costs(set(configs) - set(left))))
        print(*map(records.command, left), sep="\n", end="\n" if left else "", flush=True)
        return {}
    if left:
        files.require_writable(paths.RESULTS)
    words = [name, *(["--budget", budget] if budget else [])]
    variables = next(filter(None, map(arithmetic.needed, left)), {})
    if variables and (part or "OMP_NUM_THREADS" in os.environ):
        arithmetic.lottery(["sweep", *words, *(["--part", part] if part else [])], variables)
        return {}
    busy = sum(not all(map(records.exists, group)) for group in groups)
    processes = min(busy, os.cpu_count() or 1, MOST_PROCESSES)
    if part or processes < 2 or "OMP_NUM_THREADS" in os.environ or torch.cuda.is_available():
        return loop(configs, limit)
    _side_by_side(words, processes, variables)
    return {}


def _side_by_side(words: list[str], processes: int, variables: dict[str, str]) -> None:
    """``lottery sweep`` with these words by so many processes, each with its part and its share of the cores."""
    command = [*arithmetic.LOTTERY, "sweep", *words, "--part"]
    environment = os.environ | {"OMP_NUM_THREADS": str((os.cpu_count() or 1) // processes)} | variables
    parts = [f"{i}/{processes}" for i in range(1, processes + 1)]
    children = [subprocess.Popen([*command, part], env=environment) for part in parts]
    if any([child.wait() for child in children]):  # a list, as all are waited for
        raise LotteryError("not all runs were made; the reasons stand above")


def loop(
    configs: list[Any],
    budget: float = math.inf,
    say: Callable[[str], None] = print,
    clock: Callable[[], float] = time.monotonic,
) -> dict[Any, str]:
    """Make the runs that are not on record, in order; returns those that failed, with the reason.

    A run that fails stops no other. Within a ``budget`` of seconds, no run is started that is known to take more than
    what is left of it. ``say`` is told what is done and left.
    """
    started, failed = clock(), {}
    left = [config for config in configs if not records.exists(config)]
    costs = Costs(set(configs) - set(left))
    for config in tuple(left):
        rest = budget - (clock() - started)
        if records.exists(config):  # made by another process in the meantime
            left.remove(config)
        elif rest > 0 and (costs.estimate([config]) or 0) <= rest:
            say(f"{progress(configs, left, costs)}: {records.command(config)}")
            try:
                protocols.train(config)
            except Exception as error:
                failed[config] = str(error) if isinstance(error, LotteryError) else _unforeseen(error)
                say(f"  failed: {failed[config]}")
            else:
                costs.add(config)
                left.remove(config)
    say(progress(configs, left, costs))
    return failed


def progress(configs: list[Any], left: list[Any], costs: Costs) -> str:
    """How much is done and left, and how long that takes if it is known."""
    estimate = costs.estimate(left)
    return f"{len(configs) - len(left)} of {len(configs)} on record" + (
        f", about {duration(estimate)} left" if left and estimate is not None else ""
    )


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
