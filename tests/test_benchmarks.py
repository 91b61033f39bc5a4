"""benchmarks/: that it counts and compares what it says; how fast anything is, no test asks."""

import json
import subprocess
import sys
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from lottery_lib import paths
from lottery_lib.training.recipes import Recipe

sys.path.insert(0, str(paths.ROOT))
from benchmarks import bench, cases, limits, profiles  # noqa: E402
from benchmarks.ours import PHASES, Ours  # noqa: E402
from benchmarks.reference import Reference  # noqa: E402

TINY = cases.Case("lenet-300-100", (1, 8, 8), 10, 16, steps=2, rounds=2, augment=False, width=0.1, precision="fp32")
COLOUR = cases.Case("conv-small", (3, 8, 8), 10, 8, steps=2, rounds=2, width=0.1)


@pytest.mark.parametrize("precision, size", [("fp32", 4), ("bf16", 2)])
def test_work_counts_products_and_traffic(precision, size):
    """Two linear layers on a batch of 5: no gradient is asked for at the input. Weights are kept in fp32."""
    model = nn.Sequential(nn.Linear(7, 11, bias=False), nn.Linear(11, 3, bias=False))
    step = limits.work(model, torch.randn(5, 7), torch.zeros(5, dtype=torch.long), precision)
    assert step["flops"] == 2 * 5 * (2 * 7 * 11 + 3 * 11 * 3)
    assert step["bytes"] == size * 5 * 5 * (11 + 3) + 4 * 8 * (7 * 11 + 11 * 3)
    assert all(p.grad is None for p in model.parameters())


def test_the_limit_is_the_larger_of_both_times():
    rates = {"flops": 1e6, "bytes": 1e3}
    assert limits.milliseconds({"flops": 2e6, "bytes": 1e3}, rates) == 2000
    assert limits.milliseconds({"flops": 1e5, "bytes": 5e2}, rates) == 500


def test_a_rate_is_not_that_of_the_first_call(monkeypatch):
    """Which pays for pages that were shared with a process forked since the last."""
    machine, taken = limits.Machine("cpu", "fp32"), iter([9.0, 0.6, 9.0, 0.7])
    monkeypatch.setattr(limits, "seconds", lambda call, device: next(taken))
    assert machine.rates() == {"flops": 2 * limits.SIZE["cpu"] ** 3 / 0.6, "bytes": 2 * 4 * limits.COPIED["cpu"] / 0.7}


@pytest.mark.parametrize("case", [TINY, COLOUR], ids=lambda case: case.model)
def test_the_reference_loop_trains_under_the_mask(case):
    model, split = cases.network(case, "cpu"), cases.pictures(case, "cpu")
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    mask = {name: torch.arange(m.numel()).reshape(m.shape) % 4 == 0 for name, m in cases.mask(model).items()}
    assert Reference(model, split, case.batch_size, mask, "cpu").epoch() > 0
    for name, kept in mask.items():
        weight = model.get_parameter(name)
        assert (weight[~kept] == 0).all() and not torch.equal(weight[kept], before[name][kept])


def test_our_loop_runs_in_the_phase_that_it_says():
    split = cases.pictures(TINY, "cpu")
    names = [type(Ours(TINY, split, "cpu", phase, Recipe()).rule).__name__ for phase in PHASES]
    assert names == ["Parameterization", "RelaxedMask", "Calibrated", "FixedMask"]
    once = cases.pictures(replace(TINY, steps=1), "cpu")  # as of the largest networks
    for phase in ("relaxed", "calibrated"):
        ours = Ours(TINY, once, "cpu", phase, Recipe())
        before = [m.clone() for m in ours.rule.m]
        assert ours.epoch() > 0 < ours.epoch()  # a price is set after the first
        assert all(m.isfinite().all() for m in ours.rule.m)
        assert not all(torch.equal(a, b) for a, b in zip(before, ours.rule.m))


def test_loops_take_turns_and_every_row_is_complete(monkeypatch):
    turns = []
    for loop in (Ours, Reference):
        epoch = loop.epoch
        monkeypatch.setattr(loop, "epoch", lambda self, epoch=epoch: turns.append(type(self).__name__) or epoch(self))
    monkeypatch.setitem(limits.SIZE, "cpu", 64)
    monkeypatch.setitem(limits.COPIED, "cpu", 1024)
    monkeypatch.setitem(limits.SPAN, "cpu", 0.01)
    rows = bench.compare(TINY, "cpu")
    assert turns == ["Reference", *["Ours"] * 5] * 3 + ["Ours"] * 3  # the warm-up, two rounds, then the profiles
    assert [(row["loop"], row["phase"]) for row in rows] == [
        ("reference", "masked"), ("ours", "dense"), ("ours", "relaxed"), ("ours", "calibrated"), ("ours", "masked"),
        ("uncompiled", "dense"),
    ]  # fmt: skip
    for row in rows:
        assert len(row["ms"]) == len(row["limit"]) == 2 and min(row["ms"] + row["limit"]) > 0
        assert row["precision"] == "fp32" and row["flops"] > 0 and row["warm_up_seconds"] > 0
        assert ("where" in row) == (row["loop"] == "ours" and row["phase"] != "calibrated")
    json.dumps(rows)


@pytest.mark.parametrize("kind", ["products", "optimizer", "mask", "other"])
def test_a_profile_parts_a_step_by_what_the_time_goes_to(kind):
    """A loop that does one thing alone: a matrix product, an optimiser's step, a mask's product and sum, or a sort."""
    matrix, weight = torch.randn(40, 40), torch.randn(40, 40, requires_grad=True)
    weight.grad = torch.ones_like(weight)
    optimizer = torch.optim.SGD([weight], 0.1, momentum=0.9)

    class Loop:
        rule = SimpleNamespace(pull_back=lambda: matrix @ matrix + 1, push_forward=lambda: None)

        def epoch(self):
            began = time.perf_counter()
            calls = {
                "products": matrix.mm,
                "optimizer": optimizer.step,
                "mask": self.rule.pull_back,
                "other": matrix.sort,
            }
            calls[kind](*[matrix] * (kind == "products"))
            return time.perf_counter() - began

    spent = profiles.where(Loop(), steps=1)
    assert spent.keys() == {"products", "optimizer", "mask", "other", "between"}
    assert spent[kind] > 0
    # what a product calls to prepare itself is no product
    assert all(spent[name] == 0 for name in ("products", "optimizer", "mask") if name != kind)


def test_what_goes_before_the_first_step_is_no_part_of_it(monkeypatch):
    """A first batch is tried, which was counted as if it were a step's: the rest of the step came out below zero."""
    matrix = torch.randn(40, 40)
    monkeypatch.setattr(profiles.training, "rehearse", lambda: matrix @ matrix)

    class Loop:
        rule = SimpleNamespace(pull_back=lambda: None, push_forward=lambda: None)

        def epoch(self):
            profiles.training.rehearse()
            return 0.0

    spent = profiles.where(Loop(), steps=1)
    assert spent["products"] == 0 and "rehearsal" not in spent


def test_bytes_a_weight_are_those_of_the_tensors_that_a_phase_holds():
    """Dense: gradient and momentum. The mask adds itself, θ, and what one update needs; all within 24 bytes."""
    found = {row["phase"]: row["bytes_a_weight"] for row in bench.memory("cpu")}
    assert found["dense"] == pytest.approx(8, abs=0.1)
    assert 8 <= found["relaxed"] - found["dense"] <= 24
    assert 1 <= found["masked"] - found["dense"] <= 4.1


def test_the_file_is_named_by_the_device(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "BENCHMARKS", tmp_path)
    path = bench.write({"provenance": {"device": "Some CPU @ 2 GHz (2 cores)"}})
    assert path.name == "some-cpu-2-ghz-2-cores.json" and json.loads(path.read_text())


def test_an_unknown_device_is_one_line_and_writes_nothing():
    def written():
        return {path: path.read_bytes() for path in paths.BENCHMARKS.iterdir()}

    before, command = written(), [sys.executable, "-m", "benchmarks", "--device", "tpu"]
    ended = subprocess.run(command, cwd=paths.ROOT, capture_output=True, text=True)
    sentence = "error: device 'tpu': must be cpu, or cuda where there is a GPU\n"
    assert (ended.returncode, ended.stdout, ended.stderr) == (1, "", sentence)
    assert written() == before
