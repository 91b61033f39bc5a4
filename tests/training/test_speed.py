"""speed.py: what is compiled, what happens where nothing can be, and that the fast way computes what the plain does."""

import platform
import subprocess
import sys
import warnings

import pytest
import torch
from torch import nn
from toy import convnet, digits, lenet, same_bits

from lottery_lib import weights
from lottery_lib.data import batches
from lottery_lib.experiments.pairs import Cifar, CifarShort
from lottery_lib.experiments.protocols import DigitsLeNet
from lottery_lib.training import speed
from lottery_lib.training.checkpoints import Checkpoint
from lottery_lib.training.loop import train
from lottery_lib.training.recipes import Recipe

INPUTS = torch.randn(16, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def strided():
    """A convolutional network without max pooling, so that it is compiled on a CPU too."""
    layers = [nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 8, 3, stride=2)]
    model = nn.Sequential(
        *layers, nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10)
    )
    weights.initialize(model, 0)
    return model


LONG = {"steps": 500, "compile_from": 500}


def test_only_long_trainings_of_convolutions_are_compiled():
    conv, dense = strided(), lenet()
    assert speed.forward(conv, 499, compile_from=500) is conv
    assert speed.forward(dense, 10**6, compile_from=500) is dense and speed.forward(dense, 10**6) is dense
    assert isinstance(speed.forward(conv, **LONG), speed.Compiled)


def timed(step, steps, monkeypatch):
    """A training of so many steps, each of so many seconds, on a machine that compiles at once."""
    times = iter(step * n for n in range(10**6))
    monkeypatch.setattr(torch, "compile", lambda model, **_: model)
    forward = speed.Timed(strided().eval(), steps, clock=lambda: next(times))
    for _ in range(speed.WATCHED):
        forward(INPUTS)
        assert forward.chosen is None
    forward(INPUTS)
    return forward


def test_compiling_is_decided_by_the_time_that_steps_take(monkeypatch):
    assert isinstance(speed.forward(strided(), 10**6), speed.Timed)
    assert timed(0.015, 550, monkeypatch).compiled() is False  # 8 seconds, where compiling takes more
    assert timed(0.015, 10**5, monkeypatch).compiled() is True
    assert timed(2.0, 550, monkeypatch).compiled() is True


def test_it_is_decided_in_the_first_epoch_however_few_steps_that_has(monkeypatch, tmp_path):
    """A training that was killed after it watched anew, and compiled at another step."""
    monkeypatch.setattr(torch, "compile", lambda model, **_: model)
    for cost, decided in ((-1.0, 1.0), (1e6, 0.0)):
        monkeypatch.setattr(speed, "COMPILING", cost)
        history = train(strided(), digits(), Recipe(epochs=3, batch_size=1000))  # one step each
        assert [epoch["compiled"] for epoch in history.epochs] == [decided] * 3


def test_a_training_that_goes_on_is_compiled_as_it_was():
    conv = strided()
    assert speed.forward(conv, 10**6, compiled=False) is conv
    assert isinstance(speed.forward(conv, 10, compiled=True), speed.Compiled)


def test_what_was_decided_stands_in_the_history_and_holds_after_a_kill(monkeypatch, tmp_path):
    monkeypatch.setattr(speed, "COMPILING", -1.0)  # it pays at once
    monkeypatch.setattr(torch, "compile", lambda model, **_: model)
    recipe = Recipe(epochs=2, batch_size=64)
    history = train(strided(), digits(), recipe, stop=1)
    assert [epoch["compiled"] for epoch in history.epochs] == [1.0]
    asked = []
    monkeypatch.setattr(speed, "forward", lambda model, *given: asked.append(given[-1]) or model)
    monkeypatch.setattr(Checkpoint, "resume", lambda *_: history.epochs)
    assert [epoch["compiled"] for epoch in train(strided(), digits(), recipe, work=tmp_path).epochs] == [1.0, 1.0]
    assert asked == [True]


def test_protocols_compile_by_the_number_of_steps_alone():
    """So that their runs have the same bits however busy a machine is."""
    for config in (Cifar(), CifarShort(epochs=1), DigitsLeNet()):
        assert config.training.compile_from == 500


def test_max_pooling_is_not_compiled_for_a_cpu():
    pooled = convnet()
    assert speed.forward(pooled, 10**6) is pooled
    assert isinstance(speed.forward(pooled.to("meta"), **LONG), speed.Compiled)


def test_without_a_compiler_the_model_runs_as_it_is(monkeypatch):
    monkeypatch.setattr(speed.shutil, "which", lambda name: None)
    model = strided()
    with pytest.warns(UserWarning, match="no C\\+\\+ compiler found: training runs uncompiled"):
        assert speed.forward(model, **LONG) is model


def test_where_compiling_fails_the_model_runs_as_it_is_and_that_is_said_once(monkeypatch):
    def broken(*_):
        raise RuntimeError("no such instruction\nand much more")

    monkeypatch.setattr(torch, "compile", lambda model, **_: broken)
    model = strided().eval()
    forward = speed.forward(model, **LONG)
    with pytest.warns(UserWarning, match="training runs uncompiled: no such instruction$"):
        first = forward(INPUTS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(forward(INPUTS), first)
    assert torch.equal(first, model(INPUTS))


def test_an_error_of_the_model_itself_is_not_hidden():
    forward = speed.forward(strided().eval(), **LONG)
    with pytest.raises(RuntimeError), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        forward(INPUTS[:, :, 0])  # no images


def test_a_batch_of_another_shape_goes_uncompiled(monkeypatch):
    seen = []
    monkeypatch.setattr(torch, "compile", lambda model, **_: lambda x: seen.append(len(x)) or model(x))
    forward = speed.forward(strided().eval(), **LONG)
    for rows in (16, 7, 16):
        assert len(forward(INPUTS[:rows])) == rows
    assert seen == [16, 16]


def test_inputs_may_be_several_tensors(monkeypatch):
    """A dict broke a training off where it was to be compiled."""

    class Beside(nn.Module):
        def __init__(self):
            super().__init__()
            self.read = strided().eval()

        def forward(self, both):
            return self.read(both["images"]) + both["more"]

    seen = []
    monkeypatch.setattr(torch, "compile", lambda model, **_: lambda x: seen.append(len(x["more"])) or model(x))
    forward, more = speed.forward(Beside(), **LONG), torch.ones(16, 1)
    for rows in (16, 7, 16):
        assert len(forward({"images": INPUTS[:rows], "more": more[:rows]})) == rows
    assert len(forward({"images": INPUTS, "more": more[:1]})) == 16
    assert seen == [16, 16]


def test_compiled_training_is_the_plain_one_up_to_rounding_and_the_same_every_time():
    """Three epochs in float32; channels-last, as runs have it."""
    plain, first, second = (strided().to(memory_format=torch.channels_last) for _ in range(3))
    train(plain, digits(), Recipe(epochs=2, lr=0.05, fast=False))
    for model in (first, second):
        train(model, digits(), Recipe(epochs=2, lr=0.05, compile_from=0))
    assert same_bits(first.state_dict(), second.state_dict())
    for name, tensor in plain.state_dict().items():
        torch.testing.assert_close(first.state_dict()[name], tensor, rtol=5e-3, atol=5e-4)


on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@on_gpu
def test_training_by_cuda_graphs_is_the_plain_one_up_to_rounding():
    """Statistics of normalisation included, which warming up the graphs must leave alone."""
    models = [convnet().to("cuda", memory_format=torch.channels_last) for _ in range(2)]
    data = batches.own(next(digits().train.in_order(1024)), device="cuda")
    for model, recipe in zip(models, (Recipe(epochs=2, fast=False), Recipe(epochs=2, compile_from=0))):
        train(model, data, recipe)
    plain, graphed = (model.state_dict() for model in models)
    for name, tensor in plain.items():
        torch.testing.assert_close(graphed[name], tensor, rtol=5e-3, atol=5e-4)


@on_gpu
def test_a_network_that_asks_the_gpu_for_a_number_is_run_without_a_graph():
    class Asking(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = strided()

        def forward(self, inputs):
            return self.layers(inputs) * (2 if inputs.sum().item() > 0 else 1)

    model = Asking().cuda()
    forward, inputs = speed.forward(model, **LONG), INPUTS.cuda()
    with pytest.warns(UserWarning, match="no CUDA graph could be made"):
        first = forward(inputs)
    assert forward.made is model and torch.isfinite(first).all() and torch.isfinite(forward(inputs)).all()


@pytest.mark.parametrize("has, chosen", [((False, False), "fp32"), ((True, False), "bf16"), ((False, True), "bf16")])
def test_precision_follows_the_processor_unless_it_is_given(has, chosen, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: dict(zip(("avx512_bf16", "amx_bf16"), has)))
    assert speed.precision("auto", "cpu") == chosen
    assert speed.precision("fp32", "cpu") == "fp32"
    assert speed.precision("bf16", "cpu") == "bf16"


FAULTS = """
import resource
import torch
from lottery_lib.training import speed

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        [torch.ones(10_000_000) for _ in range(2)]  # 40 MB each, more than glibc keeps by itself
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

usual = faults()
speed.keep_freed_memory()
faults()
print(usual, min(faults() for _ in range(5)))  # the system may take pages back meanwhile
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_freed_memory_stays_with_the_process():
    """A page fault a page of 4 kB of fresh memory, or, where pages are huge, far fewer: but none of memory kept."""
    output = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True).stdout
    usual, kept = map(int, output.split())
    assert usual > 10 and kept < usual / 10


def test_another_c_library_is_left_alone(monkeypatch):
    monkeypatch.setattr(speed.ctypes, "CDLL", lambda name: object())
    speed.keep_freed_memory.__wrapped__()
