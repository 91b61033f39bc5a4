"""Two processes (gloo) train as one does on the joint batch: the same weights and masks after every step."""

import os
import socket
import subprocess
import sys

import pytest
import torch
from torch import multiprocessing

from lottery_lib import models, weights
from lottery_lib.data.batches import own
from lottery_lib.errors import LotteryError
from lottery_lib.regularizers import Log
from lottery_lib.relaxation import FixedMask, Parameterization, RelaxedMask
from lottery_lib.training import distributed
from lottery_lib.training.loop import train
from lottery_lib.training.recipes import Recipe

KINDS = ("dense", "fixed", "relaxed")


def trained(kind, batch_size=32, work=None):
    """What weights and masks were after every step (rows), and the epochs' losses."""
    model = models.create("lenet-300-100", 3, (1, 4, 4), seed=1, width=0.1)
    names = weights.prunable(model)
    rule = {
        "dense": lambda: Parameterization(model),
        "fixed": lambda: FixedMask(model, {name: model.get_parameter(name) > 0 for name in names}),
        "relaxed": lambda: RelaxedMask(model, names, Log(0.1), lam=1e-3, mask_lr=3.0),
    }[kind]()
    seen, push_forward = [], rule.push_forward

    def recorded():
        push_forward()
        seen.append(torch.cat([t.detach().flatten() for t in (*model.parameters(), *rule.state().values())]))

    rule.push_forward = recorded
    inputs = torch.randn(160, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    recipe = Recipe(epochs=2, batch_size=batch_size, lr=0.05, weight_decay=1e-3)
    history = train(model, own((inputs, torch.arange(160) % 3)), recipe, parameterization=rule, seed=4, work=work)
    return {"steps": seen, "loss": [epoch["loss"] for epoch in history.epochs]}


def statistics(work):
    """What a network's normalisation has seen after a training, and a second one that goes on from there."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.BatchNorm1d(8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    inputs = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
    data = own((inputs, torch.arange(64) % 3), (inputs[:32], torch.arange(32) % 3))
    seen = []
    for _ in range(2):
        history = train(model, data, Recipe(epochs=1, batch_size=32, lr=0.05), work=work)
        seen += [model[1].running_mean.clone(), torch.tensor(history.epochs[-1]["val_loss"])]
    return seen


def process(rank, port, folder):
    """All that two processes are asked to do, in one go, as starting them is what takes time."""
    torch.set_num_threads(1)
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_RANK": str(rank)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    with distributed.joined():
        found = {kind: trained(kind) for kind in KINDS}
        found |= {run: trained("relaxed", work=folder / "work") for run in ("new", "resumed")}
        found["statistics"] = statistics(folder / "statistics")
        try:
            trained("dense", batch_size=31)
        except LotteryError as error:
            found["refused"] = str(error)
    torch.save(found, folder / f"{rank}.pt")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("two")
    multiprocessing.spawn(process, (port, folder), nprocs=2)
    return folder


@pytest.fixture(scope="module")
def two(folder):
    return [torch.load(folder / f"{rank}.pt") for rank in (0, 1)]


@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_take_the_steps_of_one(kind, two):
    one, (first, second) = trained(kind), (found[kind] for found in two)
    assert len(one["steps"]) == len(first["steps"]) == 2 * (160 // 32)
    for alone, here, there in zip(one["steps"], first["steps"], second["steps"]):
        assert torch.equal(here, there)
        torch.testing.assert_close(here, alone, rtol=1e-4, atol=1e-6)
    assert first["loss"] == second["loss"] == pytest.approx(one["loss"], rel=1e-5)


def test_one_process_writes_the_checkpoint_and_both_resume_from_it(folder, two):
    assert len(list((folder / "work").iterdir())) == 1
    for found in two:
        assert len(found["new"]["steps"]) > 0 and found["resumed"]["steps"] == []  # nothing was trained again
        assert found["resumed"]["loss"] == found["new"]["loss"]


def test_all_processes_go_on_with_the_same_statistics_of_normalisation(folder, two):
    """Each had those of its own share, so that the second training had another name in each, and never met."""
    first, second = (found["statistics"] for found in two)
    assert all(map(torch.equal, first, second))
    assert len(list((folder / "statistics").iterdir())) == 2


def test_a_batch_that_does_not_divide_is_refused(two):
    for found in two:
        assert found["refused"] == "a batch of 31 does not divide by 2 processes; change one of the two"


def test_alone_nothing_is_shared():
    batch, model = (torch.arange(3), torch.arange(3)), torch.nn.Linear(2, 2)
    assert distributed.share(batch) == batch
    assert distributed.parallel(model) is model
    assert distributed.first() and distributed.world() == 1


def test_torchrun_writes_one_record(tmp_path):
    """The command of the module's first line, on the embedded digits."""
    script = (
        "from pathlib import Path; from lottery_lib import paths, cli;"
        f"paths.RESULTS, paths.WORK = Path({str(tmp_path / 'results')!r}), Path({str(tmp_path / 'work')!r});"
        "cli.app(['train', 'digits', '-p', 'method=random', '-p', 'density=0.2'])"
    )
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--no-python"]
    done = subprocess.run([*torchrun, sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("record:") == 1
    assert len(list((tmp_path / "results").iterdir())) == 1
