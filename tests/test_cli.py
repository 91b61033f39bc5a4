"""cli.py: what a reader types, what is printed, and the exit code."""

import errno
import subprocess
import sys
from unittest.mock import Mock

import pytest

from lottery_lib import notebooks, paths
from lottery_lib.cli import app
from lottery_lib.errors import LotteryError

CHAPTER = """{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [
    {"cell_type": "markdown", "id": "a", "metadata": {}, "source": "# A tiny chapter"},
    {"cell_type": "code", "id": "b", "metadata": {"tags": ["parameters"]}, "execution_count": null, "outputs": [],
     "source": "lam: float = 0.1  # weight of the penalty\\niterations: int = 7"},
    {"cell_type": "code", "id": "c", "metadata": {}, "execution_count": null, "outputs": [], "source": "%s"}]}"""


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A checkout with one notebook."""
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "01_tiny.ipynb").write_text(CHAPTER % "print(lam)")
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    monkeypatch.setattr(paths, "NOTEBOOKS", tmp_path / "notebooks")
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


def test_an_error_is_one_line_and_exit_code_1(root, lottery):
    pytest.importorskip("papermill")
    sentence = "error: unknown parameter 'lamda'; did you mean 'lam'?\n"
    assert lottery("notebook", "01", "-p", "lamda=1") == (1, "", sentence)


def test_lists_notebooks_and_parameters(root, lottery):
    pytest.importorskip("papermill")
    assert lottery("notebook") == (0, "01_tiny  A tiny chapter\n", "")
    _, stdout, _ = lottery("notebook", "01", "--help-params")
    assert stdout.splitlines() == ["lam         float  0.1  weight of the penalty", "iterations  int    7"]


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


@pytest.mark.parametrize("words", [["frobnicate"], ["notebook", "--frobnicate"], ["notebook", "-p", "lam=1"]])
def test_wrong_usage_exits_2(lottery, words):
    code, stdout, stderr = lottery(*words)
    assert (code, stdout) == (2, "") and "Usage: " in stderr


def test_help_imports_nothing_heavy(lottery):
    code = "import sys, lottery_lib.cli; print({'torch', 'papermill', 'pandas'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "set()\n"
    assert "notebook" in lottery("--help")[1]
