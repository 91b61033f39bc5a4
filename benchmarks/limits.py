"""The least time that a training step can take on this machine: its arithmetic, or its traffic, at measured rates.

FLOPs are those of the matrix products and convolutions of one forward and backward pass, as PyTorch's own counter has
them (a multiplication and an addition are two). Traffic counts each tensor once per use, with a perfect cache for
everything between: every layer's output is written once and read twice (by the next layer, and in the backward pass),
and its gradient is written and read once, in the precision that is computed in; every weight is read twice, its
gradient written and read once, and its momentum and value each read and written by the optimiser, in fp32. The limit is
the larger of the two times. It leaves out normalisation, augmentation, and all that the interpreter does: what a loop
takes beyond it is its overhead.
"""

import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.flop_counter import FlopCounterMode

SIZE = {"cpu": 2048, "cuda": 8192}  # of the square matrices whose product gives the rate of arithmetic
SPAN = {"cpu": 0.5, "cuda": 0.05}  # seconds for which each rate is measured
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
COPIED = {"cpu": 2**26, "cuda": 2**28}  # float32 values in the copy that gives the rate of traffic, beyond any cache


def seconds(call: Callable[[], object], device: str) -> float:
    """Wall-clock time of one call, until the device has done it."""
    began = time.perf_counter()
    call()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began


class Machine:
    """Measures the two rates; called again between the other measurements, so that all see the same machine."""

    def __init__(self, device: str, precision: str):
        self.device = device
        made = {"device": device, "dtype": DTYPES[precision]}
        size = SIZE[device]
        self.a, self.b, self.c = (torch.randn(size, size, **made) for _ in range(3))
        self.source = torch.randn(COPIED[device], device=device)
        self.target = torch.zeros_like(self.source)

    def rates(self) -> dict[str, float]:
        """FLOP/s of matrix products and bytes/s of copies (read and write), as held for ``SPAN``.

        Like the loops they are means, not bests: a shared machine's rate may halve within a second, and the loops see
        its slow moments too.
        """
        product = self._mean(lambda: torch.mm(self.a, self.b, out=self.c))
        copy = self._mean(lambda: self.target.copy_(self.source))
        return {"flops": 2 * len(self.a) ** 3 / product, "bytes": 2 * self.source.nbytes / copy}

    def _mean(self, call: Callable[[], object]) -> float:
        """Seconds a call, after one that is not counted: once workers were forked, it copies the pages they share."""
        seconds(call, self.device)
        times = []
        while sum(times) < SPAN[self.device]:
            times.append(seconds(call, self.device))
        return sum(times) / len(times)


def work(model: nn.Module, inputs: Tensor, labels: Tensor, precision: str) -> dict[str, float]:
    """FLOPs and bytes of one training step on this batch; ``model`` is left without gradients."""
    outputs = 0

    def count(module: nn.Module, _, output: Tensor) -> None:
        nonlocal outputs
        if not list(module.children()):  # a layer, not a container
            outputs += output.numel()

    hooks = [module.register_forward_hook(count) for module in model.modules()]
    with FlopCounterMode(display=False) as counter:
        cross_entropy(model(inputs), labels).backward()
    for hook in hooks:
        hook.remove()
    model.zero_grad(set_to_none=True)
    weights = sum(p.numel() for p in model.parameters())
    return {"flops": counter.get_total_flops(), "bytes": DTYPES[precision].itemsize * 5 * outputs + 4 * 8 * weights}


def milliseconds(step: dict[str, float], rates: dict[str, float]) -> float:
    """The limit of a step whose ``work`` this is."""
    return 1000 * max(step[unit] / rates[unit] for unit in ("flops", "bytes"))
