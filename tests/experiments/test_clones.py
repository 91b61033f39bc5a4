"""clones.py: a sweep that editing does not touch, and records that are looked at before they come back."""

import json
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import pytest
from checkout import Checkout
from runs import Tiny

from lottery_lib import files, paths
from lottery_lib.errors import LotteryError
from lottery_lib.experiments import clones, protocols, records

pytestmark = pytest.mark.skipif(not shutil.which("git"), reason="no git")
CONFIG = Tiny("random", 0.2)


def git(folder, *words):
    command = ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b", *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """A checkout with one record, made by a commit of this one, which has none."""
    for name in ("here", "clone"):
        (tmp_path / name / "lottery_lib").mkdir(parents=True)
    here = tmp_path / "here"
    git(here, "init")
    git(here, "commit", "--allow-empty", "-m", "a")
    monkeypatch.setattr(paths, "ROOT", here)
    monkeypatch.setattr(paths, "WORK", tmp_path / "work")
    monkeypatch.setitem(protocols.PROTOCOLS, "tiny", (Tiny, protocols.PROTOCOLS["digits"][1]))
    monkeypatch.setattr(paths, "RESULTS", tmp_path / "clone" / "results")
    protocols.train(CONFIG)
    monkeypatch.setattr(paths, "RESULTS", here / "results")
    return tmp_path / "clone"


@pytest.fixture
def change(clone):
    """``change(provenance={...}, **fields)``: write the clone's record anew, changed by hand."""
    path = clone / "results" / records.name(CONFIG) / "record.json"

    def changed(provenance=None, **fields):
        record = json.loads(path.read_text("utf-8"))
        record["provenance"] |= provenance or {}
        path.write_text(json.dumps(record | fields))
        return path.parent

    return changed


def test_a_record_comes_once_as_it_is(clone):
    found = clones.collect(clone)
    assert (found.brought, found.known, found.refused) == ([records.name(CONFIG)], 0, {})
    for name in ("record.json", "arrays.npz"):
        theirs, ours = (folder / "results" / records.name(CONFIG) / name for folder in (clone, paths.ROOT))
        assert theirs.read_bytes() == ours.read_bytes()
    again = clones.collect(clone)
    assert (again.brought, again.known, again.refused) == ([], 1, {})
    assert [path.name for path in paths.RESULTS.iterdir()] == [records.name(CONFIG)]


def refusal(clone):
    found = clones.collect(clone)
    assert not found.brought
    return found.refused[records.name(CONFIG)]


def test_what_it_is_not_does_not_come(clone, change):
    config = json.loads((change() / "record.json").read_text("utf-8"))["config"]
    change(config=config | {"seed": 7})
    assert refusal(clone) == f"its config is that of {records.name(Tiny('random', 0.2, 7))} here"
    change(config=config | {"sed": 7})
    assert refusal(clone).startswith("cannot be read: ") and "sed" in refusal(clone)
    change(config=config, provenance={"commit": "0123456789ab"})
    assert refusal(clone) == "made by code that is not in this repository (commit 0123456789ab)"
    change(provenance={"commit": git(paths.ROOT, "rev-parse", "--short=12", "HEAD") + "+"})
    assert refusal(clone).startswith("made by code that is not in this repository (commit ")
    change().joinpath("arrays.npz").write_bytes(b"")
    assert refusal(clone).startswith("cannot be read: ")
    assert not paths.RESULTS.exists() or not list(paths.RESULTS.iterdir())


def test_nothing_is_overwritten(clone, change):
    clones.collect(clone)
    kept = (paths.RESULTS / records.name(CONFIG) / "record.json").read_bytes()
    change(test_accuracy=99.9)
    assert refusal(clone) == "another record of that name is here; it stays"
    change(test_accuracy=json.loads(kept)["test_accuracy"])
    np.savez(clone / "results" / records.name(CONFIG) / "arrays.npz", mask=np.zeros(3))
    assert refusal(clone) == "another record of that name is here; it stays"
    assert (paths.RESULTS / records.name(CONFIG) / "record.json").read_bytes() == kept


def test_a_damaged_record_here_is_named_and_stops_no_other(clone, monkeypatch):
    with monkeypatch.context() as there:
        there.setattr(paths, "RESULTS", clone / "results")
        protocols.train(Tiny("random", 0.5))
    clones.collect(clone)
    first, second = sorted(path.name for path in paths.RESULTS.iterdir())
    (paths.RESULTS / first / "record.json").write_text("{")
    shutil.rmtree(paths.RESULTS / second)
    found = clones.collect(clone)
    assert found.brought == [second]
    assert found.refused[first].startswith("of that name is one here that cannot be read: ")


def test_what_another_process_brings_in_the_meantime_stays(clone, monkeypatch):
    appearing = records.appearing

    @contextmanager
    def overtaken(final):
        with appearing(final) as unfinished:
            yield unfinished
            shutil.copytree(clone / "results" / final.name, final)
            (final / "theirs").touch()

    monkeypatch.setattr(records, "appearing", overtaken)
    assert clones.collect(clone).brought == [records.name(CONFIG)]
    assert [path.name for path in paths.RESULTS.iterdir()] == [records.name(CONFIG)]
    assert (paths.RESULTS / records.name(CONFIG) / "theirs").exists()


def test_folders_that_will_not_do(clone, tmp_path, monkeypatch):
    with pytest.raises(LotteryError, match="must be a checkout of this project"):
        clones.collect(tmp_path)
    with pytest.raises(LotteryError, match="is there, and no clone of this checkout; name another folder"):
        clones.sweep(clone, ["tiny"])
    other = tmp_path / "other"
    git(tmp_path, "clone", "-q", "here", "other")
    (other / "file").write_text("a")
    git(other, "add", "file")
    with pytest.raises(LotteryError, match="has changed files; a sweep runs committed code"):
        clones.sweep(other, ["tiny"])
    with (
        files.locked(other / paths.WORK.name / "clone.lock"),
        pytest.raises(LotteryError, match="a sweep is at work in"),
    ):
        clones.sweep(other, ["tiny"])
    git(other, "commit", "-m", "b")
    git(tmp_path, "init", "-q", "foreign")
    git(tmp_path / "foreign", "commit", "--allow-empty", "-m", "c")
    for folder in (other, tmp_path / "foreign"):
        head = git(folder, "rev-parse", "HEAD")
        with pytest.raises(LotteryError, match="is at a commit that is not in this repository, and would lose it"):
            clones.sweep(folder, ["tiny"])
        assert git(folder, "rev-parse", "HEAD") == head
    monkeypatch.setattr(clones.subprocess, "run", lambda *given, **more: (_ for _ in ()).throw(FileNotFoundError()))
    with pytest.raises(LotteryError, match="git is not installed"):
        clones.sweep(tmp_path / "new", ["tiny"])


def test_a_sweep_in_a_clone_runs_what_is_committed_and_comes_back(tmp_path):
    checkout = Checkout(tmp_path / "here", [0], [0.5])
    (checkout.root / ".gitignore").write_text("results\n_work\n__pycache__\n")
    git(checkout.root, "init")
    git(checkout.root, "add", ".")
    git(checkout.root, "commit", "-m", "a")
    plugin = checkout.root / "tiny.py"
    plugin.write_text(plugin.read_text().replace("def run(", "raise SystemExit(7)\n\n\ndef run("))  # being edited
    lottery = [sys.executable, "-c", "from lottery_lib.cli import app; app()"]

    def run(*words):
        environment = os.environ | {"PYTHONPATH": str(checkout.root), "OMP_NUM_THREADS": "1"}
        return subprocess.run([*lottery, *words], cwd=checkout.root, env=environment, capture_output=True, text=True)

    done = run("sweep", "tiny", "--clone", "../clone")
    assert "4 of 4 on record" in done.stdout, done.stderr
    assert len(list((tmp_path / "clone" / "results").glob("[!.]*/record.json"))) == 4
    git(checkout.root, "checkout", "tiny.py")
    assert run("collect", "../clone").stdout.startswith(("4 records brought, 0 ", "0 records brought, 4 "))
    assert len(checkout.recorded()) == 4
    shutil.rmtree(checkout.root / "results" / sorted(checkout.recorded())[0])
    assert run("collect", "../clone").stdout == "1 records brought, 3 were here already\n"
