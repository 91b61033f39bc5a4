"""What makes a training fast and changes its numbers by rounding only, chosen by what the machine has."""

import ctypes
import shutil
import warnings
from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.pooling import _MaxPoolNd

COMPILE_FROM = 500  # planned steps: compiling takes as long as it saves in about so many (benchmarks/)
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


def forward(model: nn.Module, steps: int) -> Callable[[Tensor], Tensor]:
    """``model`` as a function to train with: compiled if ``steps`` planned steps of convolutions pay for it.

    Linear layers leave nothing to fuse that would pay. On a CPU max pooling does not pay either: what the compiler
    makes of it and of the normalisation before it is slower than PyTorch's own. Without a C++ compiler, or where
    compiling fails, it is the model itself, with a warning.
    """

    def holds(kind: type[nn.Module]) -> bool:
        return any(isinstance(module, kind) for module in model.modules())

    on_cpu = next(model.parameters()).device.type == "cpu"
    if steps < COMPILE_FROM or not holds(_ConvNd) or (on_cpu and holds(_MaxPoolNd)):
        return model
    if not any(map(shutil.which, ("c++", "g++", "clang++", "cl"))):
        warnings.warn("no C++ compiler found: training runs uncompiled, somewhat slower", stacklevel=3)
        return model
    return Compiled(model)


class Compiled:
    """A compiled model for batches of the first one's shape; any other shape, a last short batch, goes uncompiled."""

    def __init__(self, model: nn.Module):
        self.model = model
        self.shape: torch.Size | None = None
        self.compiled = torch.compile(model, dynamic=False)

    def __call__(self, inputs: Tensor) -> Tensor:
        if self.shape is None:
            return self._first(inputs)
        return (self.compiled if inputs.shape == self.shape else self.model)(inputs)

    def _first(self, inputs: Tensor) -> Tensor:
        self.shape = inputs.shape
        try:
            return self.compiled(inputs)
        except Exception as reason:  # the compiler's are of many types; the model's own come again below
            outputs = self.model(inputs)
            first = str(reason).strip().partition("\n")[0]
            warnings.warn(f"torch.compile failed, so training runs uncompiled: {first}", stacklevel=4)
            self.compiled = self.model
            return outputs
