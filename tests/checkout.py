"""A checkout for processes that are killed: a copy of the library, a protocol of tiny runs, and a grid."""

import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import time

import numpy as np
import yaml

from lottery_lib import paths

TINY = '''"""A protocol of somebody else's package, of tiny runs; one seed is unlucky where a file says so."""

from functools import cache

from lottery_lib import paths
from lottery_lib.data import datasets
from lottery_lib.errors import LotteryError
from lottery_lib.experiments import protocols, ticket_run
from lottery_lib.training.recipes import Recipe


class Tiny(protocols.DigitsLeNet):
    protocol = "tiny"
    width = 0.1
    recipe = Recipe(epochs=2, batch_size=720)
    ladder = (0.6, 0.5, 0.4, 0.3, 0.2)


def run(config, progress):
    if config.seed == 13 and (paths.ROOT / "unlucky").exists():
        raise LotteryError("out of luck")
    return ticket_run.run(config, progress)


def register():
    datasets.load = cache(datasets.load)
    protocols.register(Tiny, run)
'''
PACKAGES = sysconfig.get_path("purelib"), sysconfig.get_path("platlib")  # for another Python than this one
ENTRY = "[lottery_lib.plugins]\ntiny = tiny:register\n"


class Checkout:
    """The grid ``tiny`` of four methods, and ``lottery sweep tiny`` as a process."""

    def __init__(self, root, seeds, densities, grid="tiny"):
        here = paths.ROOT
        for part in ("lottery_lib", "workflow"):
            shutil.copytree(here / part, root / part, ignore=shutil.ignore_patterns("__pycache__", "*.js", "grids"))
        shutil.copy(here / "pyproject.toml", root)
        (root / "tiny.py").write_text(TINY)
        (root / "tiny-1.dist-info").mkdir()
        (root / "tiny-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny\nVersion: 1\n")
        (root / "tiny-1.dist-info" / "entry_points.txt").write_text(ENTRY)
        rows = [{"method": method, "density": densities} for method in ("random", "concave", "imp", "snip")]
        rows[1]["lam"] = 1e-4  # two steps are too few for a search to set it
        (root / "workflow" / "grids").mkdir()
        (root / "workflow" / "grids" / f"{grid}.yaml").write_text(
            yaml.safe_dump({"protocol": "tiny", "over": {"seed": seeds}, "runs": rows})
        )
        self.grid, self.root, self.runs = grid, root, len(seeds) * len(rows) * len(densities)

    def start(self, *words, threads="1", python=sys.executable):
        code = "from lottery_lib.cli import app; app()"
        given = {"OMP_NUM_THREADS": threads} if threads else {}
        return subprocess.Popen(
            [python, "-c", code, "sweep", self.grid, *words], cwd=self.root, text=True, start_new_session=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (self.root, *PACKAGES)))} | given,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def sweep(self, *words, **given):
        """Run to the end: exit code, stdout and stderr."""
        process = self.start(*words, **given)
        stdout, stderr = process.communicate()
        return process.returncode, stdout, stderr

    def killed(self, more, delay, *words):
        """Kill -9 a sweep, with all its children, some time after so many ``more`` records; its stdout."""
        process, target = self.start(*words), len(self.recorded()) + more
        while len(self.recorded()) < target:
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)
        time.sleep(delay)
        os.killpg(process.pid, signal.SIGKILL)
        return process.communicate()[0]

    def recorded(self):
        return {path.parent.name for path in self.root.glob("results/[!.]*/record.json")}

    def contents(self):
        """Everything on record but times and provenance: run -> (record, arrays as they are on disk)."""
        found = {}
        for run in self.recorded():
            folder = self.root / "results" / run
            assert sorted(path.name for path in folder.iterdir()) == ["arrays.npz", "record.json"]
            record = json.loads((folder / "record.json").read_text("utf-8"))
            for timed in (record, *record["history"], *record.get("search", [])):
                timed.pop("seconds")
            record.pop("provenance")
            with np.load(folder / "arrays.npz") as stored:
                arrays = {name: (array.dtype.str, array.shape, array.tobytes()) for name, array in stored.items()}
            found[run] = record, arrays
        return found


def commands(stdout):
    """What a sweep has started."""
    return [line.partition(": ")[2] for line in stdout.splitlines() if ": lottery train" in line]
