"""Which layers are in training mode, and how a look at a network leaves no trace."""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy

from torch import nn

from lottery_lib import states
from lottery_lib.data.splits import TrainingData
from lottery_lib.randomness import put_back, undisturbed


def as_trained(model: nn.Module) -> None:
    """Training mode, but for layers that are in evaluation mode within a network that is not: those stay as they are.

    So normalisation that a reader has frozen by ``layer.eval()`` stays frozen.
    """
    if not model.training:
        model.train()


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """All of the network in evaluation mode within; then every layer in its own mode again."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


@contextmanager
def aside(model: nn.Module, data: TrainingData | None = None) -> Iterator[None]:
    """What runs within changes nothing: random numbers, buffers and modes are then as they were.

    Buffers are such as the statistics of normalisation; so is what a module keeps beside tensors. Parameters and their
    gradients are not looked after.
    """
    modes = [(module, module.training) for module in model.modules()]
    buffers = states.Buffers(model)
    more = [(module, deepcopy(module.get_extra_state())) for module in model.modules() if _keeps_more(module)]
    splits = () if data is None else (data.train, data.val)
    generators = [own for split in splits for own in getattr(split, "generators", ())]
    device = next(model.parameters()).device
    with put_back(generators), undisturbed(device):
        try:
            yield
        finally:
            for module, training in modes:
                module.training = training
            buffers.restore(model)
            for module, kept in more:
                module.set_extra_state(kept)


@contextmanager
def restored_on_failure(model: nn.Module) -> Iterator[states.Snapshot]:
    """Where what runs within fails, or is interrupted, state, buffers and modes are as before, and no gradient is left.

    It is given the state before.
    """
    begun = states.snapshot(model)
    modes = [(module, module.training) for module in model.modules()]
    try:
        yield begun
    except BaseException:
        states.load(model, begun)
        model.zero_grad(set_to_none=True)
        for module, training in modes:
            module.training = training
        raise


def _keeps_more(module: nn.Module) -> bool:
    """Whether it has a state of its own beside tensors (``get_extra_state``)."""
    return type(module).get_extra_state is not nn.Module.get_extra_state
