"""Times a training step of this library side by side with the usual loop, and with the machine's limit.

All that is compared is measured in turns, within one run, so that a machine that slows down does so for all. Warm-up,
which includes compiling, is timed apart; so is one more epoch of our loop under the profiler. Images are random: only
their shape matters to time.
"""

import json
import re
import sys
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from statistics import median

import torch
from torch import nn

from lottery_lib import batches, data, models, regularizers, speed
from lottery_lib.errors import LotteryError
from lottery_lib.provenance import provenance
from lottery_lib.recipes import Recipe
from lottery_lib.relaxation import FixedMask, Parameterization, RelaxedMask
from lottery_lib.training import train

from . import limits, processes, profiles
from .reference import Reference

RESULTS = Path(__file__).parent / "results"
DENSITY = 0.05  # of the fixed masks
PHASES = ("dense", "relaxed", "masked")


@dataclass(frozen=True)
class Case:
    """A network, its images and batch; ``steps`` make one measurement, repeated ``rounds`` times."""

    model: str
    shape: tuple[int, int, int]
    classes: int
    batch_size: int
    steps: int
    rounds: int
    augment: bool = True
    width: float = 1.0
    precision: str = "auto"

    @property
    def label(self) -> str:
        return self.model + (f" ×{self.width:g}" if self.width != 1 else "")


CASES = [  # as steps go on a CPU; a GPU takes STEPS_ON_GPU times as many
    Case("lenet-300-100", (1, 28, 28), 10, 128, 100, 7, augment=False, precision="fp32"),  # as on record
    Case("resnet20", (3, 32, 32), 10, 128, 4, 5),
    Case("vgg16", (3, 32, 32), 10, 128, 1, 3),
    Case("resnet18", (3, 64, 64), 200, 256, 1, 3),
]
WIDTHS = [Case("resnet20", (3, 32, 32), 10, 128, steps, 3, width=width) for width, steps in ((1, 3), (2, 1), (4, 1))]
AT_ONCE = [replace(CASES[0], steps=400), replace(CASES[1], steps=12)]
STEPS_ON_GPU = 25


def run(device: str = "cpu") -> dict:
    """Every measurement, as it is written to ``results/``; progress goes to stderr."""
    if device not in ("cpu", "cuda") or (device == "cuda" and not torch.cuda.is_available()):
        raise LotteryError(f"device {device!r}: must be cpu, or cuda where there is a GPU")
    scale = STEPS_ON_GPU if device == "cuda" else 1
    cases = [replace(case, steps=case.steps * scale) for case in CASES]
    widths = [replace(case, steps=case.steps * scale) for case in WIDTHS]
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
        del loops["ours", "masked"]
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
        if loop == "ours" and device == "cpu" and not alone:
            now = limits.milliseconds(step, machine.rates())
            row["where"] = {"limit": now} | profiles.where(timed, case.steps)
        rows.append(row)
    return rows


class Ours:
    """This library's loop; ``epoch`` goes once through the data and returns seconds a step."""

    def __init__(self, case: Case, split: data.Split, device: str, phase: str, recipe: Recipe):
        self.model = network(case, device)
        names = models.prunable(self.model)
        self.rule = {
            "dense": lambda: Parameterization(self.model),
            "relaxed": lambda: RelaxedMask(self.model, names, regularizers.Log(), lam=1e-5, mask_lr=10.0),
            "masked": lambda: FixedMask(self.model, mask(self.model)),
        }[phase]()
        self.rule.metrics = dict  # none: they are taken once an epoch, which is hundreds of steps, and here a few
        self.data = batches.Batches(split)
        self.recipe = replace(recipe, epochs=1, batch_size=case.batch_size, lr=0.01, weight_decay=1e-4)

    def epoch(self) -> float:
        with as_in_a_long_training():
            history = train(self.model, self.data, self.recipe, parameterization=self.rule)
        return history.seconds / self.data.train.steps(self.recipe.batch_size)


@contextmanager
def as_in_a_long_training():
    """Compile whatever would be compiled if there were steps enough."""
    usual, speed.COMPILE_FROM = speed.COMPILE_FROM, 0
    try:
        yield
    finally:
        speed.COMPILE_FROM = usual


def network(case: Case, device: str) -> nn.Module:
    model = models.create(case.model, case.classes, case.shape, width=case.width)
    return model.to(device, memory_format=torch.channels_last)


def pictures(case: Case, device: str) -> data.Split:
    count = case.batch_size * case.steps
    images = torch.randint(0, 256, (count, *case.shape), dtype=torch.uint8, device=device)
    half = torch.full(case.shape[:1], 0.5, device=device)
    return data.Split(images, torch.arange(count, device=device) % case.classes, half, half, case.augment)


def mask(model: nn.Module) -> dict[str, torch.Tensor]:
    weights = {name: model.get_parameter(name) for name in models.prunable(model)}
    return {name: torch.rand_like(weight) < DENSITY for name, weight in weights.items()}


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
    names = models.prunable(model)
    rules: dict[str, Callable[[], Parameterization]] = {
        "dense": lambda: Parameterization(model),
        "relaxed": lambda: RelaxedMask(model, names, regularizers.Log(), lam=1e-5, mask_lr=10.0),
        "masked": lambda: FixedMask(model, mask(model)),
    }
    train(model, owned, Recipe(epochs=1, batch_size=1, lr=0.01), parameterization=rules[phase]())


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


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def write(found: dict) -> Path:
    """Put it into ``results/<device>.json``, in place of what was measured there before."""
    device = re.sub(r"[^a-z0-9]+", "-", found["provenance"]["device"].lower()).strip("-")
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{device}.json"
    path.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", "utf-8")
    return path
