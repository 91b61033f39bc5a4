"""What makes a training fast and changes its numbers by rounding only, chosen by what the machine has."""

import ctypes
import gc
import shutil
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.pooling import _MaxPoolNd
from torch.nn.parallel import DistributedDataParallel

from lottery_lib.data import structure
from lottery_lib.training.modes import aside

COMPILE_FROM = 500  # planned steps, of runs on record, whose bits must not depend on how fast a machine is
WATCHED = 10  # steps, after which it is known how long one takes
COMPILING = 40.0  # seconds it takes, of a small CNN on two cores; more of a larger network, whose steps take longer too
SAVED = {"cpu": 0.1, "cuda": 0.25}  # of a step, at most, by compiling it: seen in benchmarks/ on CPUs, assumed of GPUs
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # of glibc's mallopt(3)


def precision(asked: str, device: str | torch.device) -> str:
    """``asked``, or for "auto" bf16 where the device's matrix units or vector instructions take it, else fp32."""
    if asked != "auto":
        return asked
    if torch.device(device).type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    has = torch.cpu.get_capabilities()
    return "bf16" if has.get("avx512_bf16") or has.get("amx_bf16") else "fp32"


@cache
def keep_freed_memory() -> None:
    """Have glibc keep for the next step what a step frees; does nothing with another C library.

    Else large activations go back to the system and come again page by page, zeroed: 15,000 page faults in a step of
    ResNet-20, 86,000 in one of VGG-16, a tenth of its time.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, TypeError, AttributeError):
        return
    mallopt(TRIM_THRESHOLD, 2**31 - 1)
    mallopt(MMAP_THRESHOLD, 2**30)


def forward(
    model: nn.Module, steps: int, compile_from: int | None = None, compiled: float | None = None
) -> Callable[[Any], Any]:
    """``model`` as a function to train with: compiled if ``steps`` planned steps of convolutions pay for it.

    That is known once some steps were timed. With ``compile_from`` it is by the number of planned steps alone, at
    least so many, so that a training has the same bits however busy the machine is; with ``compiled`` it is as found
    before, when a training goes on.

    Linear layers leave nothing to fuse that would pay. On a CPU max pooling does not pay either: what the compiler
    makes of it and of the normalisation before it is slower than PyTorch's own. Without a C++ compiler, or where
    compiling fails, it is the model itself, with a warning.

    On a GPU, with ``compile_from``, the two passes are CUDA graphs instead. Only runs on record give it, and these are
    of this library's networks, whose every step starts the same kernels; a reader's may not.
    """

    def holds(kind: type[nn.Module]) -> bool:
        return any(isinstance(module, kind) for module in model.modules())

    device = next(model.parameters()).device.type
    if device == "cuda" and compile_from is not None and not isinstance(model, DistributedDataParallel):
        return Graphed(model)
    on_cpu = device == "cpu"
    if not holds(_ConvNd) or (on_cpu and holds(_MaxPoolNd)):
        return model
    if compile_from is None and compiled is None:
        return Timed(model, steps)
    return _compiled(model) if compiled or (compile_from is not None and steps >= compile_from) else model


def _compiled(model: nn.Module) -> Callable[[Any], Any]:
    if not any(map(shutil.which, ("c++", "g++", "clang++", "cl"))):
        warnings.warn("no C++ compiler found: training runs uncompiled, somewhat slower", stacklevel=3)
        return model
    return Compiled(model)


class Timed:
    """A model that is compiled after ``WATCHED`` steps, or an epoch of fewer, if that saves enough of all ``steps``."""

    def __init__(self, model: nn.Module, steps: int, clock: Callable[[], float] = time.perf_counter):
        self.model, self.steps, self.clock = model, steps, clock
        self.device = next(model.parameters()).device.type
        self.seen: list[float] = []
        self.chosen: Callable[[Any], Any] | None = None

    def __call__(self, inputs: Any) -> Any:
        if self.chosen is None:
            self._watch()
            if len(self.seen) > WATCHED:
                self._choose()
        return (self.chosen or self.model)(inputs)

    def compiled(self) -> bool:
        """Whether it is, from now on. It is asked after each epoch: a training that goes on from there must not watch
        anew, however few steps an epoch has."""
        if self.chosen is None:
            self._watch()
            self._choose()
        return self.chosen is not self.model

    def _watch(self) -> None:
        if self.device == "cuda":
            torch.cuda.synchronize()
        self.seen.append(self.clock())

    def _choose(self) -> None:
        step = median(later - earlier for earlier, later in zip(self.seen, self.seen[1:]))
        saved = SAVED.get(self.device, 0.0) * step * (self.steps - len(self.seen) + 1)
        self.chosen = _compiled(self.model) if saved > COMPILING else self.model


class Compiled:
    """A compiled model for batches of the first one's shape; any other shape, a last short batch, goes uncompiled."""

    failed = "torch.compile failed, so training runs uncompiled"

    def __init__(self, model: nn.Module):
        self.model = model
        self.shapes: list[torch.Size | None] | None = None
        self.made: Callable[[Any], Any] = model

    def __call__(self, inputs: Any) -> Any:
        shapes = [getattr(leaf, "shape", None) for leaf in structure.leaves(inputs)]  # a reader's may be several
        if self.shapes is None:
            self.shapes = shapes
            return self._first(inputs)
        return (self.made if shapes == self.shapes else self.model)(inputs)

    def _first(self, inputs: Any) -> Any:
        try:
            made = self._make(inputs)
            outputs = made(inputs)
        except Exception as reason:  # the compiler's are of many types; the model's own come again below
            outputs = self.model(inputs)
            first = str(reason).strip().partition("\n")[0]
            warnings.warn(f"{self.failed}: {first}", stacklevel=4)
        else:
            self.made = made
        return outputs

    def _make(self, inputs: Any) -> Callable[[Any], Any]:
        return torch.compile(self.model, dynamic=False)


class Graphed(Compiled):
    """A model on a GPU whose forward and backward pass are each started as one CUDA graph, for batches of one shape.

    A step of a small network is hundreds of kernels, and the GPU ends each before Python has started the next one: so
    a ResNet-18 at a quarter of its width takes 2.4 times as many steps a second. What is computed stays the same.
    That the weights' addresses never change (``relaxation``) makes it possible.
    """

    failed = "no CUDA graph could be made, so training starts its kernels one by one, which is slower"

    def _make(self, inputs: Any) -> Callable[[Any], Any]:
        chosen, on = torch.get_autocast_dtype("cuda"), torch.is_autocast_enabled("cuda")
        # Warming up must not move statistics of normalisation; casts of weights must be part of the graph.
        with aside(self.model), torch.autocast("cuda", chosen, enabled=on, cache_enabled=False), _uncollected():
            graphed: Any = torch.cuda.make_graphed_callables(_Through(self.model), (inputs.clone(),))
            return graphed


@contextmanager
def _uncollected() -> Iterator[None]:
    """What is garbage goes before, and nothing meanwhile: a graph deleted while another one is made spoils that one."""
    on = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if on:
            gc.enable()


class _Through(nn.Module):
    """Calls a model: what is graphed gets another ``forward``, which the model itself must not."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, inputs: Tensor) -> Tensor:
        return self.model(inputs)
