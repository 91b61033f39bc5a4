"""snakemake.py: what Snakemake is given to do, and that a kill, a failure or a second Snakemake spoils nothing."""

import importlib.util
import subprocess
import sys

import pytest
import yaml
from checkout import Checkout

from lottery_lib import paths
from lottery_lib.errors import LotteryError
from lottery_lib.experiments import records, snakemake
from lottery_lib.experiments.logistic import LogisticConfig

GROUPS = [[LogisticConfig(seed=10 * group + run) for run in range(size)] for group, size in enumerate((1, 2, 4, 1, 1))]


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(paths, "WORK", tmp_path / "work")
    return tmp_path


def test_a_job_holds_consecutive_groups(root):
    assert list(snakemake.jobs(GROUPS).items()) == [(f"{n}-{n}", group) for n, group in enumerate(GROUPS, 1)]
    assert {span: len(runs) for span, runs in snakemake.jobs(GROUPS, 3).items()} == {"1-2": 3, "3-3": 4, "4-5": 2}
    assert {span: len(runs) for span, runs in snakemake.jobs(GROUPS, 100).items()} == {"1-5": 9}


def test_there_is_no_job_without_a_run_to_make_and_the_others_keep_their_names(root):
    for config in (GROUPS[0][0], *GROUPS[1], GROUPS[2][0]):
        records.write(config, {}, {})
    assert list(snakemake.jobs(GROUPS, 3)) == ["3-3", "4-5"]
    assert list(snakemake.jobs(GROUPS)) == ["3-3", "4-4", "5-5"]


def test_one_process_at_a_time(root):
    code = f"""import sys; sys.path[:0] = {sys.path!r}
from pathlib import Path
from lottery_lib import paths
from lottery_lib.experiments import snakemake
paths.WORK = Path({str(paths.WORK)!r})
held = snakemake.lock(); print("held", flush=True); input()"""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", code], **pipes) as other:
        assert other.stdout.readline() == "held\n"
        sentence = "^Snakemake is at work in this checkout already; wait until it ends, or stop it$"
        with pytest.raises(LotteryError, match=sentence):
            snakemake.lock()
        other.kill()
    snakemake.lock().close()  # nothing to unlock by hand
    snakemake.lock().close()


def test_without_snakemake(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    sentence = r"^Snakemake is not installed: pip install -e '.\[sweep\]', with Python 3.11 or newer$"
    with pytest.raises(LotteryError, match=sentence):
        snakemake.run("lenet")


def test_refuses_what_is_unknown(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: True)
    for options, sentence in (
        ({"profile": "slrum"}, "unknown profile 'slrum'; did you mean 'slurm'?"),
        ({"target": "tabel"}, "unknown target 'tabel'; did you mean 'table'?"),
        ({"name": "lennet"}, "there is no grid 'lennet'; did you mean 'lenet'?"),
    ):
        with pytest.raises(LotteryError) as error:
            snakemake.run(**{"name": "lenet"} | options)
        assert str(error.value) == sentence


@pytest.mark.parametrize("path", sorted(paths.PROFILES.glob("*/config.yaml")), ids=lambda path: path.parent.name)
def test_profiles_go_on_after_a_failure_and_after_a_kill(path):
    profile = yaml.safe_load(path.read_text("utf-8"))
    assert profile["keep-going"] and profile["rerun-incomplete"] and profile["nolock"]
    assert profile["forcerun"] == ["sweep"]


@pytest.mark.parametrize("profile", ["local", "slurm"])
def test_a_dry_run_leads_from_the_runs_to_the_book(profile, capfd, tmp_path, monkeypatch):
    pytest.importorskip("snakemake")
    (tmp_path / "lottery_lib.py").write_text("raise SystemExit(9)")
    monkeypatch.chdir(tmp_path)  # another library of this name is not taken for this one
    assert snakemake.run("lenet", profile=profile, target="book", dry_run=True) == {}
    stdout, stderr = capfd.readouterr()
    assert "on record" in stdout.splitlines()[0] and "Error" not in stderr


def test_killed_and_with_failures_the_records_are_those_of_the_loop(tmp_path):
    pytest.importorskip("snakemake")
    engine, loop = (Checkout(tmp_path / name, [0, 13], [0.5, 0.2]) for name in ("engine", "loop"))
    words = "--engine", "snakemake", "--cores", "2"
    (engine.root / "unlucky").touch()  # the runs of seed 13 fail
    engine.killed(1, 0, *words)
    code, _, stderr = engine.sweep(*words)
    failed = [line for line in stderr.splitlines() if line.startswith("failed: ")]
    assert code == 1 and len(failed) == 8 and len(engine.recorded()) == 8
    assert failed[0] == "failed: lottery train tiny -p method=random -p density=0.5 -p seed=13: out of luck"
    assert stderr.splitlines()[-1] == "error: 8 runs failed; the reasons stand above"
    assert not (engine.root / "results" / "table.csv").exists()

    (engine.root / "unlucky").unlink()
    before = {path: path.stat().st_mtime_ns for path in engine.root.glob("results/*/record.json")}
    assert engine.sweep(*words)[0] == 0
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())
    assert len((engine.root / "results" / "table.csv").read_text("utf-8").splitlines()) == 1 + engine.runs
    assert loop.sweep()[0] == 0
    assert engine.contents() == loop.contents()
    assert len(engine.contents()) == engine.runs


def test_grids_and_interpreters_of_any_name(tmp_path):
    """A number and spaces, in files' names, in the shell, and where Snakemake reads settings."""
    pytest.importorskip("snakemake")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "my python"], check=True)
    python = tmp_path / "my python" / "bin" / "python"
    for number, grid in enumerate(("2026", "my grid's")):
        checkout = Checkout(tmp_path / str(number), [0], [0.5], grid)
        code, stdout, stderr = checkout.sweep("--engine", "snakemake", "--cores", "2", python=python)
        assert code == 0, stderr
        assert len(checkout.recorded()) == checkout.runs
        assert len((checkout.root / "results" / "table.csv").read_text("utf-8").splitlines()) == 1 + checkout.runs


def test_braces_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: True)
    monkeypatch.setattr(paths, "GRIDS", tmp_path)
    (tmp_path / "{x}.yaml").write_text("{protocol: digits, over: {}, runs: [{}]}")
    with pytest.raises(LotteryError, match="grid '{x}': Snakemake reads braces as patterns"):
        snakemake.run("{x}")
