"""A grid by Snakemake: jobs of runs, then the table, the figures and the book, on one machine or a cluster.

What is to be done follows from the records alone. Snakemake never owns a record: it would delete those of a job that
fails or is run again. Its outputs are stamps in ``paths.WORK``, and files that are replaced by a rename.
"""

import importlib.util
import json
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from lottery_lib import files, paths
from lottery_lib.errors import LotteryError, hint
from lottery_lib.experiments import grids, records, sweeps

TARGETS = ("runs", "table", "figures", "book")
BATCH = {"local": 16}  # profile -> runs a job, at least, as a process takes seconds to start; else a job is a group


def run(
    name: str, profile: str = "local", cores: int | None = None, target: str = "table", dry_run: bool = False
) -> dict[Any, str]:
    """Bring ``target`` up to date for a grid; returns the runs that failed, with the reason.

    Raises:
        LotteryError: unknown profile or target, or braces in the name; Snakemake is missing, at work here already, or
            failed after the runs.
    """
    if importlib.util.find_spec("snakemake") is None:
        raise LotteryError("Snakemake is not installed: pip install -e '.[sweep]', with Python 3.11 or newer")
    profiles = {path.parent.name: path.parent for path in sorted(paths.PROFILES.glob("*/config.yaml"))}
    if profile not in profiles:
        raise LotteryError(f"unknown profile {profile!r}{hint(profile, profiles)}")
    if target not in TARGETS:
        raise LotteryError(f"unknown target {target!r}{hint(target, TARGETS)}")
    groups, started = grids.grid(name), time.time()
    if {"{", "}"} & {*name}:
        raise LotteryError(f"grid {name!r}: Snakemake reads braces as patterns; give the file another name")
    batch = max(BATCH.get(profile, 1), sum(map(len, groups)) // 1000)  # nobody schedules more jobs gladly
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(paths.SNAKEFILE), "--directory", str(paths.ROOT)]
    command += ["--profile", str(profiles[profile]), "--config", f"grid={json.dumps(name)}", f"batch={batch}"]
    command += ["--cores", str(cores)] if cores else []
    command += ["--dry-run"] if dry_run else []
    if dry_run:
        sweeps.run(name, dry_run=True)
    else:
        lock().close()
    code = subprocess.run([*command, "--", target], cwd=paths.ROOT).returncode  # whose library it imports
    failed = {} if dry_run else _failures(name, jobs(groups, batch), started)
    if code and not failed:
        raise LotteryError(f"Snakemake ended with exit code {code}; what it says stands above")
    return failed


def jobs(groups: list[list[Any]], batch: int = 1) -> dict[str, list[Any]]:
    """Consecutive groups that hold at least ``batch`` runs together: ``FIRST-LAST``, counted from 1, to their runs.

    Where all runs are on record there is no job.
    """
    found, first, runs = {}, 1, []
    for last, group in enumerate(groups, 1):
        runs = [*runs, *group]
        if len(runs) >= batch or last == len(groups):
            found[f"{first}-{last}"] = runs
            first, runs = last + 1, []
    return {span: runs for span, runs in found.items() if not all(map(records.exists, runs))}


def folder(name: str) -> Path:
    """The folder of stamps and logs of a grid's jobs."""
    return paths.WORK / "sweeps" / name


def lock() -> ExitStack:
    """What one Snakemake holds in a checkout, until it is closed; LotteryError while another one does."""
    held = ExitStack()
    if not held.enter_context(files.locked(paths.WORK / "snakemake.lock")):
        raise LotteryError("Snakemake is at work in this checkout already; wait until it ends, or stop it")
    return held


def _failures(name: str, left: dict[str, list[Any]], started: float) -> dict[Any, str]:
    """Why runs of jobs that have been tried since are not on record, from the jobs' logs."""
    failed = {}
    for span, configs in left.items():
        log = folder(name) / f"{span}.log"
        if log.exists() and log.stat().st_mtime >= started:
            lines = log.read_text("utf-8", "replace").splitlines()
            for config in (config for config in configs if not records.exists(config)):
                told = f"failed: {records.command(config)}: "
                reasons = [line.removeprefix(told) for line in lines if line.startswith(told)]
                failed[config] = reasons[-1] if reasons else f"its job ended early; see {log}"
    return failed
