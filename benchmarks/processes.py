"""One training on all cores, or one on each core: which of the two gets more done."""

import os
import subprocess
import sys
from pathlib import Path
from statistics import median

ROUNDS = 3
ROOT = Path(__file__).parents[1]
CHILD = """
import sys, torch
from benchmarks import bench
index, threads = map(int, sys.argv[1:])
torch.set_num_threads(threads)
case = bench.SIDE_BY_SIDE[index]
recipe = bench.Recipe(precision=bench.speed.precision(case.precision, "cpu"))
ours = bench.Ours(case, bench.pictures(case, "cpu"), "cpu", "dense", recipe)
ours.epoch()
print("ready", flush=True)
for _ in sys.stdin:
    print(ours.epoch(), flush=True)
"""


def throughput(index: int) -> dict:
    """Steps a second, all processes together, for one on all cores and for as many processes as cores."""
    from . import bench

    case, cores = bench.SIDE_BY_SIDE[index], os.cpu_count()
    found = {"model": case.model, "batch_size": case.batch_size, "cores": cores}
    for name, count in (("one_on_all_cores", 1), ("one_on_each_core", cores)):
        children = [_child(index, cores // count) for _ in range(count)]
        for child in children:
            child.stdout.readline()
        rounds = []
        for _ in range(ROUNDS):
            for child in children:
                child.stdin.write("\n")
                child.stdin.flush()
            rounds.append(sum(1 / float(child.stdout.readline()) for child in children))
        for child in children:
            child.stdin.close()
            child.wait()
        found[name] = {"median": median(rounds), "least": min(rounds), "most": max(rounds), "n": ROUNDS}
    bench.say(f"{case.label}: {found['one_on_all_cores']['median']:.1f} steps a second on all cores, "
              f"{found['one_on_each_core']['median']:.1f} with one training a core")  # fmt: skip
    return found


def _child(index: int, threads: int) -> subprocess.Popen:
    command = [sys.executable, "-c", CHILD, str(index), str(threads)]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
