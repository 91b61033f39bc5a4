"""A sweep in a clone of this checkout, which may be edited meanwhile, and the records brought back from it.

A record comes back only if it is what it says: its name is the hash of its config here, its files are whole, and it was
made by code that this repository has, unchanged.
"""

import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from lottery_lib import files, paths
from lottery_lib.errors import LotteryError
from lottery_lib.experiments import arithmetic, protocols, records, verify


@dataclass
class Collected:
    """Of a clone's records: those ``brought``, how many were ``known`` already, and why others were ``refused``."""

    brought: list[str] = field(default_factory=list)
    known: int = 0
    refused: dict[str, str] = field(default_factory=dict)


def sweep(clone: Path, words: list[str]) -> Collected:
    """``lottery sweep`` with these words in a clone, which is made or brought up to this checkout's commit first.

    What runs is what this checkout has committed, on the interpreter, the packages and the data of this process;
    results and checkpoints are the clone's own.

    Raises:
        LotteryError: the folder is no clone of this repository, or has commits or changes of its own; or runs failed.
    """
    clone = clone.resolve()
    _prepare(clone)
    command = [*arithmetic.command_line(clone), "sweep", *words]
    given = {"LOTTERY_DATA": str(paths.data_dir().resolve())}
    with files.locked(clone / paths.WORK.name / "clone.lock") as free:
        if not free:
            raise LotteryError(f"a sweep is at work in {clone} already; wait until it ends, or name another folder")
        _update(clone)
        code = subprocess.run(command, cwd=clone, env=os.environ | given).returncode
    found = collect(clone)
    if code:
        raise LotteryError(f"not all runs were made in {clone}; the reasons stand above")
    return found


def collect(clone: Path) -> Collected:
    """Copy the records of a clone that are not here yet; nothing that is here is overwritten.

    Raises:
        LotteryError: the folder is no checkout of this project.
    """
    results = clone / paths.RESULTS.name
    if not (clone / "lottery_lib").is_dir():
        raise LotteryError(f"{clone}: must be a checkout of this project, with lottery_lib/ in it")
    found = Collected()
    for folder in sorted(path.parent for path in results.glob("[!.]*/record.json")):
        if reason := _refusal(folder):
            found.refused[folder.name] = reason
        elif (paths.RESULTS / folder.name).exists():
            found.known += 1
        else:
            with records.appearing(paths.RESULTS / folder.name) as unfinished:
                for name in ("record.json", "arrays.npz"):
                    shutil.copyfile(folder / name, unfinished / name)
            found.brought.append(folder.name)
    return found


def _refusal(folder: Path) -> str | None:
    """Why a record may not come, if it may not."""
    try:
        record, arrays = records.read_folder(folder)
        config = protocols.config_class(record["protocol"])(**record["config"])
        commit = record["provenance"]["commit"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as reason:
        return f"cannot be read: {' '.join(str(reason).split())}"
    if not folder.name == record["run"] == records.name(config):
        return f"its config is that of {records.name(config)} here"
    if (paths.RESULTS / folder.name).exists():
        try:
            same = verify.compare(*records.read_run(folder.name), record, arrays).same
        except LotteryError as reason:
            return f"of that name is one here that cannot be read: {reason}"
        return None if same else "another record of that name is here; it stays"
    if commit.endswith("+") or not _known(commit):
        return f"made by code that is not in this repository (commit {commit})"
    return None


def _prepare(clone: Path) -> None:
    if not clone.exists():
        _git(paths.ROOT, "clone", "--quiet", ".", str(clone))
    if not (clone / ".git").exists():
        raise LotteryError(f"{clone} is there, and no clone of this checkout; name another folder")


def _update(clone: Path) -> None:
    """To this checkout's commit."""
    if not _known(_git(clone, "rev-parse", "HEAD")):
        raise LotteryError(
            f"{clone} is at a commit that is not in this repository, and would lose it; name another folder"
        )
    if _git(clone, "status", "--porcelain", "--untracked-files=no"):
        raise LotteryError(f"{clone} has changed files; a sweep runs committed code: undo them, or name another folder")
    _git(clone, "fetch", "--quiet", str(paths.ROOT), "HEAD")
    _git(clone, "reset", "--quiet", "--hard", "FETCH_HEAD")


def _known(commit: str) -> bool:
    found = subprocess.run(
        ["git", "-C", str(paths.ROOT), "cat-file", "-e", f"{commit}^{{commit}}"], capture_output=True
    )
    return found.returncode == 0


def _git(folder: Path, *words: str) -> str:
    try:
        done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, check=True)
    except FileNotFoundError:
        raise LotteryError("git is not installed, and a clone needs it") from None
    except subprocess.CalledProcessError as reason:
        told = (reason.stderr.strip().splitlines() or ["it failed"])[-1]
        raise LotteryError(f"git {words[0]} in {folder}: {told}") from None
    return done.stdout.strip()
