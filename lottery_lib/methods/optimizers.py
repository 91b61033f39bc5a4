"""Optimisers that somebody else steps: to which of them a search can be attached, and what they keep to themselves."""

from typing import Any

import torch
from torch.optim import Optimizer

from lottery_lib.errors import LotteryError

INSTEAD = "attach to a first-order optimiser, which does so once"


def called(optimizer: object) -> str:
    """An optimiser's name in a sentence."""
    return "L-BFGS" if isinstance(optimizer, torch.optim.LBFGS) else type(optimizer).__name__


def innermost(optimizer: Any) -> Optimizer:
    """The optimiser itself, out of what Accelerate and Lightning wrap around it.

    Raises:
        LotteryError: it is none of PyTorch's, or one that no search can be attached to.
    """
    while isinstance(inner := getattr(optimizer, "optimizer", None), Optimizer):
        optimizer = inner
    if not isinstance(optimizer, Optimizer):
        raise LotteryError(f"{called(optimizer)} is no torch.optim.Optimizer, whose step a search is attached to")
    if isinstance(optimizer, torch.optim.LBFGS):
        raise LotteryError(f"{called(optimizer)} evaluates the loss several times a step; {INSTEAD}")
    if isinstance(optimizer, torch.optim.SparseAdam):
        raise LotteryError("SparseAdam takes sparse gradients only, and those of a mask are dense; attach to Adam")
    if any(group.get("maximize") for group in optimizer.param_groups):
        raise LotteryError("the optimiser maximises, and a mask is learnt by lowering the loss; lower its negative")
    return optimizer


def unscaled(optimizer: Any) -> bool:
    """Undo what a ``GradScaler`` leaves to a fused optimiser, as a mask needs the gradients themselves.

    False if that will skip the step by itself, as a gradient is infinite.
    """
    infinite, scale = getattr(optimizer, "found_inf", None), getattr(optimizer, "grad_scale", None)
    if infinite is not None and bool(infinite):
        return False
    if scale is not None:
        for tensor in (tensor for group in optimizer.param_groups for tensor in group["params"]):
            if tensor.grad is not None:
                tensor.grad.div_(scale.to(tensor.grad.device))
        optimizer.grad_scale = None
    return True
