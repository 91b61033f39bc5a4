"""What a new user reads when the machine lacks something: one sentence, before anything is installed."""

import os
import runpy
import shutil
import subprocess
import sys
import zipfile

import pytest

from lottery_lib.paths import ROOT


@pytest.fixture
def complaint(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return runpy.run_path(str(ROOT / "tools" / "check_python.py"))["complaint"]


def test_good_python_passes(complaint):
    assert complaint() is None


def test_old_python(complaint, monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 8, 18))
    assert "is Python 3.8: name a Python 3.10 or newer" in complaint()


def test_no_venv(complaint, monkeypatch):
    monkeypatch.setitem(sys.modules, "ensurepip", None)
    assert "apt install python3-venv" in complaint()


def test_other_python_in_venv(complaint, tmp_path):
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "python").touch()
    assert "rm -r .venv" in complaint()


def test_read_only_folder(complaint, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert complaint() == f"cannot write to {tmp_path}: clone into a folder of your own"


def test_no_python_at_all():
    wrong = ["make", "check", "PYTHON=no-such-python"]
    run = subprocess.run(wrong, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode != 0
    assert run.stderr.startswith("error: 'no-such-python' not found: install Python 3.10 or newer")


def test_a_python_whose_path_has_a_space(tmp_path):
    python = tmp_path / "my python" / "python3"
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\necho "$@" >> "{tmp_path}/called"\n')
    python.chmod(0o755)
    (tmp_path / "Makefile").write_text((ROOT / "Makefile").read_text("utf-8"))
    subprocess.run(["make", ".venv/bin/python", f"PYTHON={python}"], cwd=tmp_path, capture_output=True, check=True)
    assert (tmp_path / "called").read_text().splitlines() == ["tools/check_python.py", "-m venv --clear .venv"]


def test_a_wheel_holds_every_file_of_the_library(tmp_path):
    """Built from a copy: what git knows of ``lottery_lib``, folders that were added yesterday among it."""
    listed = subprocess.run(["git", "ls-files", "lottery_lib"], cwd=ROOT, capture_output=True, text=True, check=True)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "lottery_lib", tmp_path / "lottery_lib")
    build = "from setuptools.build_meta import build_wheel; build_wheel('wheel')"
    subprocess.run([sys.executable, "-c", build], cwd=tmp_path, capture_output=True, check=True)
    (wheel,) = (tmp_path / "wheel").glob("*.whl")
    held = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("lottery_lib/")}
    assert {name for name in listed.stdout.split() if not name.endswith(".md")} <= held
