"""provenance.py: versions, machine and commit, and whether files differ from it."""

import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from toy import find

from lottery_lib import __version__, paths
from lottery_lib.experiments import records
from lottery_lib.experiments.logistic import LogisticConfig
from lottery_lib.provenance import provenance, vectors


def test_every_record_says_what_its_numbers_depend_on():
    found = provenance()
    assert list(found) == [
        "lottery_lib", "commit", "date", "python", "torch", "torchvision", "numpy", "device", "threads", "vectors",
    ]  # fmt: skip
    assert (found["lottery_lib"], found["numpy"]) == (__version__, np.__version__)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", found["date"])
    assert all(found.values())
    assert list(records.read(LogisticConfig())[0]["provenance"]) == list(found)[:-1]  # of a record from before


@pytest.mark.parametrize(
    "made, expected",
    [
        ({"device": "AMD EPYC (2 cores)"}, "AVX2"),
        ({"device": "AMD EPYC (2 cores, AVX512)"}, "AVX512"),
        ({"device": "NVIDIA H100 (80 GB)", "vectors": "CUDA"}, "CUDA"),
        ({"device": "AMD EPYC (2 cores, AVX512)", "vectors": "AVX2"}, "AVX2"),
    ],
)
def test_what_computed_is_told_by_old_records_too(made, expected):
    assert vectors(made) == expected


def test_what_is_computed_on_a_cpu_is_no_matter_of_a_gpu_beside_it(monkeypatch):
    here = provenance("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"a GPU, {device}")
    beside, on_it, unsaid = provenance(torch.device("cpu")), provenance("cuda:1"), provenance()
    assert (beside["device"], beside["vectors"]) == (here["device"], here["vectors"])
    assert (on_it["device"], on_it["vectors"]) == ("a GPU, cuda:1", "CUDA")
    assert (unsaid["device"], unsaid["vectors"]) == ("a GPU, cuda", "CUDA")  # where a protocol computes
    ticket = find("random")
    assert (ticket.provenance["device"], ticket.provenance["vectors"]) == (here["device"], here["vectors"])


def test_an_installed_package_tells_no_commit_of_the_readers_own(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules["lottery_lib.provenance"], "__file__", str(tmp_path / "lottery_lib" / "its.py"))
    assert provenance()["commit"] == "unknown"


@pytest.mark.skipif(not shutil.which("git"), reason="no git")
def test_the_commit_says_when_files_differ_from_it(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))

    def git(*words):
        command = ["git", "-C", tmp_path, "-c", "user.name=a", "-c", "user.email=a@b", *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    assert provenance()["commit"] == "unknown"
    git("init")
    (tmp_path / "file").write_text("a")
    git("add", "file")
    git("commit", "-m", "a")
    git("tag", "-a", "v1", "-m", "a")  # a tag does not hide the commit
    commit = git("rev-parse", "--short=12", "HEAD")
    assert provenance()["commit"] == commit
    (tmp_path / "untracked").write_text("b")
    assert provenance()["commit"] == commit
    (tmp_path / "file").write_text("b")
    assert provenance()["commit"] == f"{commit}+"
