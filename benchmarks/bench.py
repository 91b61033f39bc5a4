"""Times a training step of this library side by side with the usual loop, and with the machine's limit.

All that is compared is measured in turns, within one run, so that a machine that slows down does so for all. Warm-up,
which includes compiling, is timed apart; so is one more epoch of our loop under the profiler.
"""

import json
import re
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from statistics import median

import torch
from torch import nn

from lottery_lib import paths
from lottery_lib.data import batches
from lottery_lib.errors import LotteryError
from lottery_lib.files import whole
from lottery_lib.provenance import provenance
from lottery_lib.training import speed
from lottery_lib.training.loop import train
from lottery_lib.training.recipes import Recipe

from . import limits, processes, profiles
from .cases import AT_ONCE, CASES, WIDTHS, Case, mask, network, pictures, say
from .ours import PHASES, Ours
from .reference import Reference

ON_GPU = 5, 100  # times as many steps a measurement as on a CPU, but no fewer than


def run(device: str = "cpu") -> dict:
    """Every measurement, as it is written to ``results/``; progress goes to stderr."""
    if device not in ("cpu", "cuda") or (device == "cuda" and not torch.cuda.is_available()):
        raise LotteryError(f"device {device!r}: must be cpu, or cuda where there is a GPU")
    more, least = ON_GPU if device == "cuda" else (1, 1)
    cases, widths = ([replace(case, steps=max(more * case.steps, least)) for case in some] for some in (CASES, WIDTHS))
    found = {
        "provenance": provenance() | {"date": datetime.now(timezone.utc).isoformat(timespec="minutes")},
        "steps": [row for case in cases for row in compare(case, device)],
        "widths": [row for case in widths for row in compare(case, device, alone=True)],
        "memory": memory(device),
    }
    if device == "cpu":
        found["at_once"] = [row for index in range(len(AT_ONCE)) for row in processes.throughput(index)]
    return found


def compare(case: Case, device: str, alone: bool = False) -> list[dict]:
    """Milliseconds a step of each loop and phase, and the limit just before, round by round; ``alone``: only ours."""
    precision = speed.precision(case.precision, device)
    machine, recipe = limits.Machine(device, precision), Recipe(precision=precision)
    split = pictures(case, device)
    model = network(case, device)
    loops = {("ours", phase): Ours(case, split, device, phase, recipe) for phase in PHASES}
    if alone:
        del loops["ours", "masked"], loops["ours", "calibrated"]
    else:
        loops["uncompiled", "dense"] = Ours(case, split, device, "dense", replace(recipe, fast=False))
        # First, as it forks workers: with whoever writes next the machine copies the pages that they share.
        loops = {("reference", "masked"): Reference(model, split, case.batch_size, mask(model), device)} | loops
    step = limits.work(network(case, device), *next(split.batches(case.batch_size)), precision)
    times, least, warm_up = {loop: [] for loop in loops}, {loop: [] for loop in loops}, {}
    for loop, timed in loops.items():
        began = time.perf_counter()
        timed.epoch()
        warm_up[loop] = time.perf_counter() - began
    for _ in range(case.rounds):
        for loop, timed in loops.items():
            least[loop].append(limits.milliseconds(step, machine.rates()))
            times[loop].append(1000 * timed.epoch())
    say(f"{case.label}, {precision}: limit {median(sum(least.values(), [])):.1f} ms; " + ", ".join(
        f"{' '.join(loop)} {median(each):.1f}" for loop, each in times.items()
    ))  # fmt: skip
    shared = {"model": case.model, "width": case.width, "batch_size": case.batch_size, "precision": precision}
    shared |= {"weights": sum(p.numel() for p in model.parameters()), **step}
    rows = []
    for (loop, phase), timed in loops.items():
        key = loop, phase
        row = shared | {"loop": loop, "phase": phase, "ms": times[key], "limit": least[key]}
        row["warm_up_seconds"] = warm_up[key]
        if loop == "ours" and phase != "calibrated" and device == "cpu" and not alone:
            now = limits.milliseconds(step, machine.rates())
            row["where"] = {"limit": now} | profiles.where(timed, case.steps)
        rows.append(row)
    return rows


def memory(device: str) -> list[dict]:
    """Bytes a weight that each phase takes at its peak, beside the weights: four linear layers, one input."""
    side, depth = 1024, 4
    found = []
    for phase in PHASES:
        model = nn.Sequential(*(nn.Linear(side, side, bias=False) for _ in range(depth))).to(device)
        owned = batches.own((torch.randn(2, side), torch.zeros(2, dtype=torch.long)), device=device)
        peak = peak_bytes(lambda: one_epoch(model, owned, phase), device)  # noqa: B023 (called at once)
        found.append({"phase": phase, "bytes_a_weight": peak / (depth * side * side)})
    say("bytes a weight: " + ", ".join(f"{row['phase']} {row['bytes_a_weight']:.1f}" for row in found))
    return found


def one_epoch(model: nn.Module, owned: batches.Batches, phase: str) -> None:
    train(model, owned, Recipe(epochs=1, batch_size=1, lr=0.01), parameterization=PHASES[phase](model))


def peak_bytes(call: Callable[[], None], device: str) -> int:
    """The most that was allocated at one time during the call, beyond what was before."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        call()
        return torch.cuda.max_memory_allocated() - before
    with torch.profiler.profile(profile_memory=True) as profiler:
        call()
    peak = held = 0
    for event in profiler.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            peak = max(peak, held)
    return peak


def write(found: dict) -> Path:
    """Put it into ``results/<device>.json``, in place of what was measured there before."""
    device = re.sub(r"[^a-z0-9]+", "-", found["provenance"]["device"].lower()).strip("-")
    paths.BENCHMARKS.mkdir(exist_ok=True)
    path = paths.BENCHMARKS / f"{device}.json"
    with whole(path) as unfinished:
        unfinished.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", "utf-8")
    return path
