"""What a search in somebody else's loop is told, and what must be right before its first step."""

import math
import warnings
from dataclasses import fields
from functools import partial
from numbers import Real
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from lottery_lib import states
from lottery_lib.errors import LotteryError, hint, require
from lottery_lib.methods.attached import OVER, Attached, AttachedSearch
from lottery_lib.methods.base import SearchConfig, Trainer
from lottery_lib.methods.signal import FirstCall
from lottery_lib.training.loop import require_trained
from lottery_lib.weights import nearest, prunable, require_whole

NO_DATA: Any = None  # of a search whose data somebody else feeds
OURS = {"epochs", "batch_size", "lr", "loss", "objective", "metric", "work", "progress"}  # in the library's own loop
OF_ANY_LOOP = {"density", "per_layer", "names", "allow_empty_layers"}


def prepared(
    kind: type[SearchConfig], model: nn.Module, optimizer: Optimizer, steps: float, **given: Any
) -> tuple[Any, Trainer, FirstCall]:
    """A method's config, what its search passes around, and the first call that it is to wait for, where neither data
    nor epochs are ours. The model is as it was.

    Raises:
        LotteryError: more is given than a search may be told there, something is out of range, or the optimiser cannot
            be used (``Attached``).
    """
    require("model", model, nn.Module, "a torch.nn.Module")
    if not (isinstance(steps, Real) and 1 <= steps < math.inf):
        raise LotteryError(f"steps = {steps!r}: must be ≥ 1 and finite, the optimiser's steps in the whole training")
    shared = {item.name for item in fields(SearchConfig)}
    known = {item.name for item in fields(kind)} - shared | OF_ANY_LOOP
    if unknown := given.keys() - known:
        name = min(unknown)
        why = "a loop of your own decides that; known here: " + ", ".join(sorted(known))
        raise LotteryError(f"{name}: {why if name in shared | OURS else 'no option here' + hint(name, known)}")
    config = kind(**given)
    require_whole(model)
    first = FirstCall(model)
    trainer = Trainer(model, NO_DATA, config, {}, run=first)
    require_trained(trainer.names, trainer.parameters())
    Attached.require_free(optimizer, dict(zip(trainer.names, trainer.parameters())))
    if config.names is None:
        first.check = partial(_require_classifier, model, trainer.names)
    return config, trainer, first


def say_if_short(search: AttachedSearch) -> None:
    """Warn where a method that decides towards the end of its steps was asked for a ticket long before."""
    if search.step * OVER < search.steps:
        warnings.warn(
            f"only {search.step} of the {search.steps:g} steps it was told of were taken, so that what it would have "
            "pruned in the others was pruned at once",
            stacklevel=4,
        )


def _require_classifier(model: nn.Module, covered: list[str], output: Tensor) -> None:
    """LotteryError if the linear layer that stays dense is not the one nearest the output.

    Before anything is run that is the last one registered; in a loop of our own a traced run has told.
    """
    own = states.parameters(model, tied=False)
    last = nearest(output, model, [name for name, parameter in own.items() if parameter.ndim >= 2])
    traced = prunable(model, trace=lambda: output)
    if wrong := [name for name in traced if name not in covered]:
        raise LotteryError(
            f"{wrong[0]!r} was taken for the classifier, which stays dense, as it is the last linear layer registered, "
            f"but {last!r} is nearest the output; attach with names=weights.prunable(model, trace=lambda: "
            "model(inputs).sum())"
        )
