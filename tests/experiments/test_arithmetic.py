"""arithmetic.py: runs of a protocol that is held to certain vectors are made with them, whatever this process has."""

import json
import subprocess

import pytest
import torch
from runs import Tiny

from lottery_lib import paths, provenance
from lottery_lib.errors import LotteryError
from lottery_lib.experiments import arithmetic, protocols, records, sweeps, verify
from lottery_lib.experiments.logistic import LogisticConfig
from lottery_lib.experiments.planted import Planted
from lottery_lib.experiments.planted_networks import PlantedNetworks
from lottery_lib.experiments.protocols import DigitsLeNet, LeNet, LeNetHalf
from lottery_lib.experiments.strangers import CifarStranger, Stranger


class Held(Tiny):
    protocol = "held"
    vectors = "DEFAULT"  # what every machine has
    threads = 1


@pytest.fixture
def called(monkeypatch, tmp_path):
    """The commands and variables of processes that were started to make runs; none is."""
    found = []

    def run(command, env):
        found.append((command[3:], {key: env.get(key) for key in ("ATEN_CPU_CAPABILITY", "OMP_NUM_THREADS")}))
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(arithmetic.subprocess, "run", run)
    monkeypatch.setattr(paths, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(arithmetic.torch.cuda, "is_available", lambda: False)
    return found


@pytest.mark.parametrize("has, elsewhere", [("AVX512", True), ("AVX2", False), ("DEFAULT", False), ("SVE256", False)])
def test_a_process_with_more_vectors_has_the_run_made_by_another(called, monkeypatch, has, elsewhere):
    monkeypatch.setattr(arithmetic, "here", lambda: has)
    assert bool(arithmetic.needed(LeNet("random", 0.2))) == elsewhere
    assert arithmetic.needed(LeNetHalf("random", 0.2)) == arithmetic.needed(LeNet("random", 0.2))
    assert arithmetic.needed(DigitsLeNet("random", 0.2)) == {}
    if elsewhere:
        protocols.train(LeNet("random", 0.2))
        words = ["train", "lenet", "-p", "method=random", "-p", "density=0.2"]
        assert called == [(words, {"ATEN_CPU_CAPABILITY": "avx2", "OMP_NUM_THREADS": "1"})]


def test_processes_that_train_together_start_no_others(called, monkeypatch):
    """Each child waited for the others to join it, for ever."""
    monkeypatch.setattr(arithmetic, "here", lambda: "AVX512")
    monkeypatch.setattr(protocols.distributed, "world", lambda: 2)
    said = "^lenet computes with AVX2; start with: ATEN_CPU_CAPABILITY=avx2 OMP_NUM_THREADS=1 torchrun"
    with pytest.raises(LotteryError, match=said):
        protocols.train(LeNet("random", 0.2))
    assert called == []


@pytest.mark.parametrize("config", [LogisticConfig(), Planted(), PlantedNetworks(), Stranger(), CifarStranger()])
def test_what_computes_on_the_cpu_says_so_where_there_is_a_gpu(called, monkeypatch, tmp_path, config):
    """Their records named the GPU, and nothing held them to their vectors."""
    monkeypatch.setattr(arithmetic.torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(arithmetic.torch.cuda, "get_device_name", lambda place: "a GPU")
    monkeypatch.setattr(arithmetic, "here", lambda: "AVX512")
    assert bool(arithmetic.needed(config)) == hasattr(config, "vectors")
    assert arithmetic.device(LeNet("random", 0.2)) == "cuda" and arithmetic.needed(LeNet("random", 0.2)) == {}
    monkeypatch.setattr(provenance, "_commit", lambda: "unknown")  # which asks another process
    made = json.loads((records.write(config, {"config": {}}, {}) / "record.json").read_text("utf-8"))["provenance"]
    assert made["device"] != "a GPU" and provenance.vectors(made) != "CUDA"


def test_a_sweep_starts_its_process_once(called, monkeypatch):
    monkeypatch.setattr(arithmetic, "here", lambda: "AVX512")
    assert sweeps.run("lenet", part="1-2", budget="9m") == {}
    assert called[0][0] == ["sweep", "lenet", "--budget", "9m", "--part", "1-2"] and len(called) == 1
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert sweeps.run("lenet") == {} and called[1][0] == ["sweep", "lenet"]


def test_what_one_run_of_a_grid_is_held_to_is_not_imposed_on_another(called, monkeypatch):
    monkeypatch.setattr(arithmetic, "here", lambda: "AVX512")
    monkeypatch.setattr(sweeps, "grid", lambda name: [[LeNet("random", 0.2)], [DigitsLeNet("random", 0.2)]])
    monkeypatch.setattr(sweeps, "loop", lambda groups, limit: "here")
    assert sweeps.run("mixed", part="1-2") == "here" and not called  # then each run finds its own
    assert arithmetic.environment("AVX2", None) == {"ATEN_CPU_CAPABILITY": "avx2"}


def test_on_a_gpu_nothing_is_held(called, monkeypatch):
    monkeypatch.setattr(arithmetic, "here", lambda: "AVX512")
    monkeypatch.setattr(arithmetic.torch.cuda, "is_available", lambda: True)
    assert arithmetic.needed(LeNet("random", 0.2)) == {}


def test_a_run_that_fails_elsewhere_fails_here(monkeypatch):
    monkeypatch.setattr(arithmetic.subprocess, "run", lambda command, env: subprocess.CompletedProcess(command, 1))
    with pytest.raises(LotteryError, match="not all runs were made; the reasons stand above"):
        arithmetic.lottery(["train", "lenet"], {})


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A working directory with another library of this name, and a module that hides one of Python's."""
    (tmp_path / "lottery_lib").mkdir()
    for path in (tmp_path / "lottery_lib" / "__init__.py", tmp_path / "random.py"):
        path.write_text("raise SystemExit(9)")
    monkeypatch.chdir(tmp_path)


def test_other_processes_have_this_library_whatever_lies_in_the_working_directory(elsewhere, tmp_path, monkeypatch):
    done = subprocess.run([*arithmetic.LOTTERY, "--help"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    monkeypatch.setattr(paths, "RESULTS", tmp_path / "results")
    config = LogisticConfig(dataset="digits", iterations=10)
    protocols.train(config)
    assert verify.verify(records.name(config)).same


def test_a_held_run_is_made_on_one_thread(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(paths, "WORK", tmp_path / "work")
    monkeypatch.setattr(arithmetic, "here", lambda: "DEFAULT")
    monkeypatch.setitem(protocols.PROTOCOLS, "held", (Held, protocols.PROTOCOLS["digits"][1]))
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        protocols.train(Held("random", 0.2))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    made = records.read(Held("random", 0.2))[0]["provenance"]
    assert made["threads"] == 1 and provenance.vectors(made) == made["vectors"]
