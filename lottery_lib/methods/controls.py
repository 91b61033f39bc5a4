"""What a ticket must beat: a random mask, its own mask shuffled in each layer, its mask on other initial weights."""

from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from lottery_lib import masks
from lottery_lib.data.splits import TrainingData
from lottery_lib.methods.base import SearchConfig, Trainer
from lottery_lib.tickets import Ticket
from lottery_lib.training.loop import snapshot
from lottery_lib.weights import initialize

SHIFT = 1_000_003  # between the seed of a search and that of its control


@dataclass(frozen=True)
class Config(SearchConfig):
    """A random mask, its density uniform over all weights (or in each layer, with ``per_layer``)."""


def search(model: nn.Module, data: TrainingData, config: Config, **options: Any) -> Ticket:
    """A random ticket; ``options`` as in ``train`` (loss, work, progress)."""
    trainer = Trainer(model, data, config, options)
    rewind = trainer.rewind_state()
    seed = config.seed + SHIFT
    if config.per_layer:
        whole = masks.ones(model, trainer.names)
        layers = {name: {name: kept.shape} for name, kept in whole.items()}
        mask = {name: masks.random(layers[name], config.density, seed + i)[name] for i, name in enumerate(layers)}
    else:
        mask = masks.random(masks.shapes(masks.ones(model, trainer.names)), config.density, seed)
    return trainer.ticket(mask, rewind, config.rewind_epoch)


def shuffled(ticket: Ticket, seed: int = 0) -> Ticket:
    """The ticket with its mask permuted within each layer: same densities, other connections (Frankle et al. 2021)."""
    return replace(ticket, mask=masks.shuffle(ticket.mask, seed + SHIFT), relaxed=None)


def reinitialised(ticket: Ticket, model: nn.Module, seed: int = 0) -> Ticket:
    """The ticket's mask on freshly drawn weights (``weights.initialize``; ``model`` is left in that state)."""
    model.load_state_dict(ticket.state())
    initialize(model, seed + SHIFT)
    fresh = replace(ticket, rewind=snapshot(model), seed=None, relaxed=None, state_sha256=None)
    fresh.apply(model)
    return fresh
