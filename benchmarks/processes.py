"""How many trainings at once get most done on the cores of one machine: a process each, the cores shared out."""

import os
import subprocess
import sys
from statistics import median

from lottery_lib import paths
from lottery_lib.experiments.sweeps import MOST_PROCESSES

from .cases import AT_ONCE, say

ROUNDS = 3
CHILD = """
import sys, torch
from benchmarks import cases, ours
from lottery_lib.training import speed
from lottery_lib.training.recipes import Recipe
index, threads = map(int, sys.argv[1:])
torch.set_num_threads(threads)
case = cases.AT_ONCE[index]
recipe = Recipe(precision=speed.precision(case.precision, "cpu"))
loop = ours.Ours(case, cases.pictures(case, "cpu"), "cpu", "dense", recipe)
loop.epoch()
print("ready", flush=True)
for _ in sys.stdin:
    print(loop.epoch(), flush=True)
"""


def throughput(index: int) -> list[dict]:
    """Steps a second, all trainings together, round by round: for one training, two, four … up to two a core."""
    case, cores = AT_ONCE[index], os.cpu_count()
    found, count = [], 1
    while count <= min(2 * cores, MOST_PROCESSES):
        threads = max(1, cores // count)
        children = [_child(index, threads) for _ in range(count)]
        for child in children:
            child.stdout.readline()
        rates = [_together(children) for _ in range(ROUNDS)]
        for child in children:
            child.stdin.close()
            child.wait()
        found.append(
            {"model": case.model, "batch_size": case.batch_size, "cores": cores,
             "trainings": count, "threads": threads, "steps_per_second": rates}
        )  # fmt: skip
        say(f"{case.label}: {median(rates):.1f} steps a second, {count} at once")
        count *= 2
    return found


def _together(children: list[subprocess.Popen]) -> float:
    """Have each go once through its data at the same time; their steps a second, added up."""
    for child in children:
        child.stdin.write("\n")
        child.stdin.flush()
    return sum(1 / float(child.stdout.readline()) for child in children)


def _child(index: int, threads: int) -> subprocess.Popen:
    command = [sys.executable, "-c", CHILD, str(index), str(threads)]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    return subprocess.Popen(
        command, cwd=paths.ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
