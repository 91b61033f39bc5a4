"""Pruning at initialisation, without training: SNIP, GraSP and SynFlow."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from copy import deepcopy
from dataclasses import dataclass
from itertools import islice
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from lottery_lib import masks, states
from lottery_lib.data import structure
from lottery_lib.data.splits import Batch, TrainingData
from lottery_lib.errors import LotteryError
from lottery_lib.methods.base import SearchConfig, Trainer, require_config
from lottery_lib.randomness import seeded
from lottery_lib.relaxation import like
from lottery_lib.tickets import Ticket
from lottery_lib.training.modes import as_trained
from lottery_lib.training.rehearsal import rehearse
from lottery_lib.training.tasks import NOT_FINITE, told

TEMPERATURE = 200.0  # GraSP divides the logits by it, as its authors do
SYNFLOW_ROUNDS = 100


@dataclass(frozen=True)
class Config(SearchConfig):
    """A criterion, and how much of the data it sees."""

    criterion: str = "snip"  # which saliency: "snip", "grasp" or "synflow"
    batches: int = 50  # of training data that SNIP and GraSP see, as few make noisy scores; SynFlow sees none

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.criterion not in [*CRITERIA]:  # a list has no hash to be sought by
            raise LotteryError(f"unknown criterion {self.criterion!r}; known: {', '.join(CRITERIA)}")
        if self.criterion == "synflow" and self.batches != Config.batches:
            raise LotteryError(f"batches = {self.batches}: synflow sees no data; leave it out")
        if self.batches < 1 or self.rounds:
            raise LotteryError("pruning at initialisation needs batches ≥ 1 and knows no rounds")


def search(model: nn.Module, data: TrainingData, config: Config, **options: Any) -> Ticket:
    """A ticket by initial weights' saliency; ``options`` as in ``train`` (loss, objective, metric, work, progress).

    >>> from lottery_lib import load, models, saliency
    >>> data = load("digits")
    >>> model = models.create("lenet-300-100", data.classes, data.shape, width=0.1)
    >>> config = saliency.Config(density=0.1, criterion="snip")
    >>> saliency.search(model, data, config)
    Ticket(density=0.1, layers=3, search_epochs=0)
    """
    require_config(config, Config)
    with Trainer(model, data, config, options) as trainer:
        if config.criterion == "grasp" and trainer.task.objective is not None:
            raise LotteryError("grasp divides the outputs that a loss is of, and an objective hides them; take snip")
        rehearse(model, data, config.recipe, trainer.task)
        rewind = trainer.rewind_state()
        with seeded(next(model.parameters()).device, config.seed):  # dropout
            mask = CRITERIA[config.criterion](trainer)
        states.load(model, rewind)
        return trainer.ticket(mask, rewind, config.rewind_epoch)


def snip(trainer: Trainer) -> masks.Mask:
    """Keep the largest ``|θ ∂L/∂θ|`` (Lee, Ajanthan & Torr 2019)."""
    gradients = _gradients(trainer, _batches(trainer))
    return _keep(trainer, {name: (w * gradients[name]).abs() for name, w in trainer.weights().items()})


def grasp(trainer: Trainer) -> masks.Mask:
    """Keep the largest θ⊙Hg: what, removed, would lower the norm of the gradient most (Wang, Zhang & Grosse 2020)."""
    weights = trainer.parameters()
    batches = list(_batches(trainer))  # the same ones twice, whatever the loader would give the next time
    first = [gradient.detach() for gradient in _gradients(trainer, batches, TEMPERATURE).values()]
    products = _zeros(weights)
    as_trained(trainer.model)
    for number, batch in enumerate(batches):
        with _told(number):
            with sdpa_kernel(SDPBackend.MATH):  # the attention that can be differentiated twice
                value = trainer.task.value(_cooled(trainer.model, TEMPERATURE), batch)
            second = torch.autograd.grad(value, weights, create_graph=True, materialize_grads=True)
            inner: Any = sum((g * h).sum() for g, h in zip(first, second))
            for product, more in zip(products, torch.autograd.grad(inner, weights, materialize_grads=True)):
                product += more
    return _keep(trainer, {name: (w * p).detach() for name, w, p in zip(trainer.names, weights, products)})


def synflow(trainer: Trainer) -> masks.Mask:
    """Keep the largest ``|θ ∂R/∂θ|``, R the summed output of the network with absolute weights at an input of ones,
    pruned in 100 exponential steps so that no layer dies (Tanaka et al. 2020). In float64: products of many layers
    overflow."""
    config = trainer.config
    batch = next(iter(_batches(trainer)))
    inputs = batch[0] if isinstance(batch, (tuple, list)) else None
    if not (isinstance(inputs, Tensor) and inputs.is_floating_point()):
        kind = getattr(inputs, "dtype", f"in a {type(batch).__name__}")
        raise LotteryError(f"synflow feeds the network an input of ones, but these inputs are {kind}; take snip")
    ones = torch.ones_like(inputs[:1], dtype=torch.float64)
    model = deepcopy(trainer.model).eval().double()
    positive = states.snapshot(model)
    for value in positive.values():
        if isinstance(value, Tensor) and value.is_floating_point():
            value.abs_()
    mask = masks.ones(model, trainer.names)
    for k in range(1, SYNFLOW_ROUNDS + 1):
        states.load(model, positive)
        masks.apply_(model, mask)
        own = states.parameters(model)
        weights = [own[name] for name in trainer.names]
        total: Any = sum(leaf.sum() for leaf in structure.leaves(model(ones)))
        gradients = torch.autograd.grad(total, weights, materialize_grads=True)
        scores = {name: (w * g).abs().detach() for name, w, g in zip(trainer.names, weights, gradients)}
        mask = masks.top_k(scores, config.density ** (k / SYNFLOW_ROUNDS), mask, config.per_layer)
    return mask


CRITERIA = {"snip": snip, "grasp": grasp, "synflow": synflow}


def _batches(trainer: Trainer) -> Iterator[Batch]:
    split, config = trainer.data.train, cast(Config, trainer.config)
    return islice(split.batches(config.recipe.batch_size, epoch=0, seed=config.seed), config.batches)


def _zeros(weights: list[Tensor]) -> list[Tensor]:
    """Where a sum over batches begins: in fp32 at least, as in half precision its terms would round away."""
    return [like(w, torch.zeros_like(w), wide=True) for w in weights]


def _gradients(trainer: Trainer, batches: Iterable[Batch], temperature: float | None = None) -> dict[str, Tensor]:
    """∂L/∂θ summed over the batches, without moving a weight."""
    weights = trainer.parameters()
    total = _zeros(weights)
    as_trained(trainer.model)
    model = trainer.model if temperature is None else _cooled(trainer.model, temperature)
    for number, batch in enumerate(batches):
        with _told(number):
            value = trainer.task.value(model, batch)
            if not value.isfinite():
                raise LotteryError(
                    f"the loss of batch {number} of epoch 0 is {value.item():g}, both counted from 0: {NOT_FINITE}"
                )
            for sum_, gradient in zip(total, torch.autograd.grad(value, weights, materialize_grads=True)):
                sum_ += gradient
    return dict(zip(trainer.names, total))


def _cooled(model: nn.Module, temperature: float) -> Callable[[Any], Any]:
    """The network with all of its outputs divided by a temperature."""
    return lambda inputs: structure.mapped(lambda leaf: leaf / temperature, model(inputs))


def _told(number: int) -> AbstractContextManager[None]:
    return told(f"batch {number} of epoch 0 fails, both counted from 0")


def _keep(trainer: Trainer, scores: dict[str, Tensor]) -> masks.Mask:
    for name, score in scores.items():
        if score.isnan().any():
            raise LotteryError(
                f"the gradient at {name!r} is not finite, though the loss is: has the loss, or a layer, none there?"
            )
    return masks.top_k(scores, trainer.config.density, per_layer=trainer.config.per_layer)
