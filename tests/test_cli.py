"""cli.py: what a reader types, what is printed, and the exit code."""

import errno
import os
import re
import subprocess
import sys
from dataclasses import fields
from unittest.mock import Mock

import pandas as pd
import pytest
from runs import Tiny

from lottery_lib import notebooks, paths
from lottery_lib.cli import app
from lottery_lib.errors import LotteryError
from lottery_lib.experiments import protocols, records, ticket_run, verify
from lottery_lib.experiments.logistic import LogisticConfig
from lottery_lib.figures import gallery
from lottery_lib.findings import tables
from lottery_lib.training.recipes import Recipe

CHAPTER = """{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [
    {"cell_type": "markdown", "id": "a", "metadata": {}, "source": "# A tiny chapter"},
    {"cell_type": "code", "id": "b", "metadata": {"tags": ["parameters"]}, "execution_count": null, "outputs": [],
     "source": "lam: float = 0.1  # weight of the penalty\\niterations: int = 7"},
    {"cell_type": "code", "id": "c", "metadata": {}, "execution_count": null, "outputs": [], "source": "%s"}]}"""


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A checkout with one notebook and no records."""
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "01_tiny.ipynb").write_text(CHAPTER % "print(lam)")
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    monkeypatch.setattr(paths, "NOTEBOOKS", tmp_path / "notebooks")
    monkeypatch.setattr(paths, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(paths, "WORK", tmp_path / "work")
    monkeypatch.setattr(paths, "GRIDS", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def lottery(capsys):
    """Call the command line; gives the exit code, stdout and stderr."""

    def call(*words):
        with pytest.raises(SystemExit) as end:
            app(words)
        return end.value.code, *capsys.readouterr()

    return call


def test_runs_a_notebook_quietly(root):
    pytest.importorskip("papermill")
    result = subprocess.run(
        [sys.executable, "-c", "from lottery_lib.cli import app; app()", "notebook", "notebooks/01_tiny.ipynb"]
        + ["-p", "lam=0.5", "-p", "iterations=2", "--out", "out.ipynb"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert (result.returncode, result.stdout, result.stderr) == (0, "wrote out.ipynb\n", "")
    assert "0.5" in (root / "out.ipynb").read_text()


def test_a_record_that_cannot_be_made_again_keeps_no_other_from_it(root, lottery, monkeypatch):
    def verified(run):
        if run == "bad":
            raise LotteryError("bad was made with AVX512")
        return verify.Outcome(run, run == "good", f"is {run}")

    monkeypatch.setattr(verify, "verify", verified)
    said = "error: of 3 records 1 came out otherwise and 1 could not be made again; the reasons stand above\n"
    assert lottery("verify", "bad", "other", "good") == (
        1, "other  is other\ngood  is good\n", f"bad was made with AVX512\n{said}",
    )  # fmt: skip
    said = "error: of 1 records 1 could not be made again; the reasons stand above\n"
    assert lottery("verify", "bad") == (1, "", f"bad was made with AVX512\n{said}")
    assert lottery("verify", "good") == (0, "good  is good\n", "")


def test_an_error_is_one_line_and_exit_code_1(root, lottery):
    pytest.importorskip("papermill")
    sentence = "error: unknown parameter 'lamda'; did you mean 'lam'?\n"
    assert lottery("notebook", "01", "-p", "lamda=1") == (1, "", sentence)


def test_lists_notebooks_and_parameters(root, lottery):
    pytest.importorskip("papermill")
    assert lottery("notebook") == (0, "01_tiny  A tiny chapter\n", "")
    _, stdout, _ = lottery("notebook", "01", "--help-params")
    assert stdout.splitlines() == ["lam         float  0.1  weight of the penalty", "iterations  int    7"]


def test_train_makes_the_record_once(root, lottery, monkeypatch):
    words = "train", "mnist-logistic", "-p", "dataset=digits", "-p", "iterations=10", "-p", "digits=4,9"
    config = LogisticConfig(dataset="digits", iterations=10, digits=(4, 9))
    said = (0, f"record: results/{records.name(config)}\n", "")
    assert lottery(*words) == said
    assert records.read(config)[0]["config"]["digits"] == [4, 9]

    monkeypatch.setitem(protocols.PROTOCOLS, "mnist-logistic", (LogisticConfig, None))  # no second run
    assert lottery(*words) == said


@pytest.mark.parametrize(
    "words, sentence",
    [
        (["mnist-logistics"], "unknown protocol 'mnist-logistics'; did you mean 'mnist-logistic'?"),
        (["mnist-logistic", "-p", "lamda=1"], "unknown parameter 'lamda'; did you mean 'lam'?"),
        (["mnist-logistic", "-p", "lam=-1"], "lam = -1.0: must be > 0"),
        (["mnist-logistic", "-p", "lam=abc"], "lam = 'abc': must be a finite number"),
        (["mnist-logistic", "-p", "digits=3"], "digits = '3': must be 2 comma-separated values, each a whole number"),
        (
            ["mnist-logistic", "-p", "dataset=digits", "-p", "digits=3,3"],
            "digits = (3, 3): must be two different digits, as in (3, 8)",
        ),
    ],
)
def test_train_refuses(root, lottery, words, sentence):
    assert lottery("train", *words) == (1, "", f"error: {sentence}\n")
    assert not (root / "results").exists()


class Brief(Tiny):
    recipe = Recipe(epochs=1, batch_size=64)


@pytest.fixture
def sweep(root, lottery, monkeypatch):
    """``lottery sweep tiny``, a grid of six tickets that share no training, so of as many groups."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # so that it stays in this process
    (root / "tiny.yaml").write_text(
        "{protocol: tiny, over: {seed: [0, 1, 2]}, runs: [{method: random, density: [0.5, 0.2]}]}"
    )
    monkeypatch.setitem(protocols.PROTOCOLS, "tiny", (Brief, Mock(wraps=ticket_run.run)))
    return lambda *words: lottery("sweep", "tiny", *words)


TINY = [Brief("random", density, seed) for seed in (0, 1, 2) for density in (0.5, 0.2)]
COMMANDS = [
    f"lottery train tiny -p method=random -p density={density}{seed}"
    for seed in ("", " -p seed=1", " -p seed=2")
    for density in (0.5, 0.2)
]


def commands(stdout):
    """What a sweep has started; times are nobody's business here."""
    return [line.partition(": ")[2] for line in stdout.splitlines() if ": lottery " in line]


def test_sweep_lists_what_is_left_and_makes_it_once(sweep):
    run = protocols.PROTOCOLS["tiny"][1]
    assert sweep("--dry-run") == (0, "\n".join(["0 of 6 on record", *COMMANDS, ""]), "")
    assert not run.called and not paths.RESULTS.exists()

    protocols.train(TINY[1])
    code, stdout, stderr = sweep()
    assert (code, commands(stdout), stderr) == (0, [COMMANDS[0], *COMMANDS[2:]], "")
    assert stdout.splitlines()[-1] == "6 of 6 on record"
    assert sorted(path.name for path in paths.RESULTS.iterdir()) == sorted(map(records.name, TINY))
    assert [call.args[0] for call in run.call_args_list] == [TINY[1], TINY[0], *TINY[2:]]

    assert sweep() == sweep("--dry-run") == (0, "6 of 6 on record\n", "")
    assert run.call_count == 6


def test_a_part_of_a_sweep_is_some_of_its_groups(sweep):
    assert sweep("--dry-run", "--part", "3-6")[1].splitlines() == ["0 of 4 on record", *COMMANDS[2:]]
    assert sweep("--dry-run", "--part", "3-4")[1].splitlines() == ["0 of 2 on record", *COMMANDS[2:4]]


def test_a_budget_leaves_over_what_does_not_fit(sweep):
    assert sweep("--budget", "0s") == (0, "0 of 6 on record\n", "")
    assert sweep("--budget", "1h")[1].splitlines()[-1] == "6 of 6 on record"


def test_a_run_that_fails_stops_no_other(sweep, monkeypatch):
    def run(config, progress):
        if config == TINY[2]:
            raise LotteryError("the loss is not finite")
        return ticket_run.run(config, progress)

    monkeypatch.setitem(protocols.PROTOCOLS, "tiny", (Brief, run))
    code, stdout, stderr = sweep()
    assert code == 1 and commands(stdout) == COMMANDS
    assert len(os.listdir(paths.RESULTS)) == 5
    assert stderr.splitlines() == [
        f"failed: {COMMANDS[2]}: the loss is not finite", "error: 1 runs failed; the reasons stand above",
    ]  # fmt: skip
    assert not records.exists(TINY[2])
    listed = sweep("--dry-run")[1].splitlines()
    assert listed[0].startswith("5 of 6 on record, about ") and listed[1:] == [COMMANDS[2]]


@pytest.mark.parametrize(
    "words, sentence",
    [
        ("--part 3-2", "part '3-2': must be the groups I-N, as in 3-5, with 1 ≤ I ≤ N"),
        ("--budget abc", "budget 'abc': must be a time with its unit, as in 90s, 9m or 1.5h"),
        ("--engine snakmake", "unknown engine 'snakmake'; did you mean 'snakemake'?"),
        ("--engine snakemake --budget 9m", "--budget is for --engine loop, not for snakemake"),
        ("--engine snakemake --part 1-2", "--part is for --engine loop, not for snakemake"),
        ("--profile slurm", "--profile is for --engine snakemake, not for loop"),
        ("--dry-run --cores 2", "--cores is for --engine snakemake, not for loop"),
    ],
)
def test_sweep_refuses(sweep, words, sentence):
    assert sweep(*words.split()) == (1, "", f"error: {sentence}\n")
    assert not paths.RESULTS.exists()


def test_an_unknown_grid(sweep, lottery):
    assert lottery("sweep", "tinny") == (1, "", "error: there is no grid 'tinny'; did you mean 'tiny'?\n")


def test_table_is_written_whole_or_not_at_all(sweep, lottery, root, monkeypatch):
    protocols.train(TINY[0])
    assert lottery("table") == (0, "wrote results/table.csv: 1 runs\n", "")
    written = (root / "results" / "table.csv").read_bytes()
    found = pd.read_csv(root / "results" / "table.csv")
    assert list(found) == tables.COLUMNS and found.run.tolist() == [records.name(TINY[0])]
    assert (found.density_asked[0], found.density[0], found.total_epochs[0]) == (0.5, 0.5, 1)

    def interrupted(self, file, **_):
        file.write_text("run,")
        raise KeyboardInterrupt

    before = sorted(os.listdir(root / "results"))
    protocols.train(TINY[1])
    with monkeypatch.context() as patch:
        patch.setattr(pd.DataFrame, "to_csv", interrupted)
        assert lottery("table")[0] == 130
    assert sorted(os.listdir(root / "results")) == sorted([*before, records.name(TINY[1])])
    assert (root / "results" / "table.csv").read_bytes() == written
    assert lottery("table")[1] == "wrote results/table.csv: 2 runs\n"
    assert len(pd.read_csv(root / "results" / "table.csv")) == 2


def test_figure_draws_them_all(root, lottery, monkeypatch):
    monkeypatch.setattr(gallery, "FIGURES", {name: gallery.FIGURES[name] for name in ("pipeline", "penalties")})
    monkeypatch.setattr(gallery.draw_all, "__defaults__", (root / "figures",))
    assert lottery("figure") == (0, "wrote figures/pipeline.svg\nwrote figures/penalties.svg\n", "")
    assert all(path.read_text("utf-8").startswith("<?xml") for path in (root / "figures").iterdir())

    monkeypatch.setitem(gallery.FIGURES, "mnist-maps", lambda: records.read(LogisticConfig()))
    code, _, stderr = lottery("figure")
    assert code == 1
    assert stderr.endswith("make it with: lottery train mnist-logistic\n") and stderr.startswith("error: no record ")


def test_claims_are_listed_and_renewed_in_the_readme(tmp_path, lottery, monkeypatch):
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    code, listed, _ = lottery("claims")
    first, second, *rest = listed.splitlines()
    assert (code, len(rest)) == (0, 11)
    assert re.match(r"C1   +\w[\w ]+? on MNIST \(\d+ of \d+ runs, n = ", first)
    assert re.match(r"C2   +[\w ,]+ on planted ", second)

    readme = tmp_path / "README.md"
    assert lottery("claims", "--write") == (1, "", f"error: {readme}: No such file or directory\n")
    readme.write_text("# Title\n")
    code, _, stderr = lottery("claims", "--write")
    assert code == 1 and stderr.startswith("error: the README has lost its markers <!-- claims --> and <!-- end of")
    assert readme.read_text() == "# Title\n"
    readme.write_text("# Title\n<!-- claims -->\n<!-- end of claims -->\n")
    (tmp_path / "book").mkdir()
    assert lottery("claims", "--write") == (0, listed, "")
    assert "## C1\n" in (tmp_path / "book" / "claims.md").read_text("utf-8")
    assert "| [C1](" in readme.read_text("utf-8") and "| [O3](" in readme.read_text("utf-8")


@pytest.mark.parametrize(
    "error, code, stderr",
    [
        (LotteryError("lam must be at least 0"), 1, "error: lam must be at least 0\n"),
        (PermissionError(errno.EACCES, "Permission denied", "/x"), 1, "error: /x: Permission denied\n"),
        (OSError("no such host"), 1, "error: no such host\n"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_exit_codes(monkeypatch, lottery, error, code, stderr):
    monkeypatch.setattr(notebooks, "run", Mock(side_effect=error))
    assert lottery("notebook", "x") == (code, "", stderr)


def test_a_bug_keeps_its_traceback(monkeypatch):
    monkeypatch.setattr(notebooks, "run", Mock(side_effect=ZeroDivisionError))
    with pytest.raises(ZeroDivisionError):
        app(["notebook", "x"])


@pytest.mark.parametrize("words", [["zzz"], ["notebook", "--zzz"], ["notebook", "-p", "lam=1"], ["train"]])
def test_wrong_usage_exits_2(lottery, words):
    code, stdout, stderr = lottery(*words)
    assert (code, stdout) == (2, "") and "Usage: " in stderr


@pytest.mark.parametrize("name", protocols.PROTOCOLS)
def test_train_tells_every_parameter_of_a_protocol(lottery, name):
    """Each listed only what no protocol above it had."""
    code, told, _ = lottery("train", name, "--help-params")
    assert code == 0 and name in lottery("train", "--help")[1]
    assert [line.split()[0] for line in told.splitlines()] == [
        item.name for item in fields(protocols.PROTOCOLS[name][0]) if item.init
    ]
    if name == "digits":
        told = re.sub(r"\s+", " ", told)
        assert "density a finite number 0.05 share of the weights to keep, in (0, 1]; 1 for dense" in told
        assert "lr-rewinding" in told and "exponential" in told  # the methods and penalties by name


def test_help_imports_nothing_heavy(lottery):
    code = "import sys, lottery_lib.cli; print({'torch', 'papermill', 'pandas'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "set()\n"
    stdout = lottery("--help")[1]
    assert all(f"\n  {name} " in stdout for name in ("notebook", "train", "sweep", "table", "figure", "claims"))
