"""What a ticket must beat: a random mask, its own mask shuffled in each layer, its mask on other initial weights."""

from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from lottery_lib import errors, masks, states
from lottery_lib.data.splits import TrainingData
from lottery_lib.errors import LotteryError
from lottery_lib.methods.base import SearchConfig, Trainer, require_config
from lottery_lib.states import snapshot
from lottery_lib.tickets import Ticket
from lottery_lib.weights import redraw

SHIFT = 1_000_003  # between the seed of a search and that of its control


@dataclass(frozen=True)
class Config(SearchConfig):
    """A random mask, its density uniform over all weights (or in each layer, with ``per_layer``)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rounds:
            raise LotteryError(f"rounds = {self.rounds!r}: a random mask is drawn in none; leave it out")


def search(model: nn.Module, data: TrainingData, config: Config, **options: Any) -> Ticket:
    """A random ticket; ``options`` as in ``train`` (loss, objective, metric, work, progress).

    >>> from lottery_lib import controls, load, models
    >>> data = load("digits")
    >>> model = models.create("lenet-300-100", data.classes, data.shape, width=0.1)
    >>> config = controls.Config(density=0.1)
    >>> controls.search(model, data, config)
    Ticket(density=0.1, layers=3, search_epochs=0)
    """
    require_config(config, Config)
    with Trainer(model, data, config, options) as trainer:
        rewind = trainer.rewind_state()
        shapes = masks.shapes(masks.ones(model, trainer.names))
        mask = masks.random(shapes, config.density, _apart(config.seed), config.per_layer)
        return trainer.ticket(mask, rewind, config.rewind_epoch)


def shuffled(ticket: Ticket, seed: int = 0) -> Ticket:
    """The ticket with its mask permuted within each layer: same densities, other connections (Frankle et al. 2021).

    It is to be retrained, even if the ticket came trained. LotteryError if the seed is no valid one.

    >>> from lottery_lib import controls, load, masks, models
    >>> data = load("digits")
    >>> model = models.create("lenet-300-100", data.classes, data.shape, width=0.1)
    >>> ticket = controls.search(model, data, controls.Config(density=0.1))
    >>> other = controls.shuffled(ticket)
    >>> masks.density(other.mask), masks.overlap(other.mask, ticket.mask) < 0.2
    (0.1, True)
    """
    mask = masks.shuffle(ticket.mask, _apart(seed))
    return replace(ticket, mask=mask, relaxed=None, info=_untrained(ticket))


def reinitialised(ticket: Ticket, model: nn.Module, seed: int = 0) -> Ticket:
    """The ticket's mask on freshly drawn weights; ``model`` is left in that state.

    Convolutions and linear layers are drawn by ``weights.initialize``, other layers by their own ``reset_parameters``;
    a weight under the mask that neither draws, from a normal distribution of the mean and deviation that it has. It is
    to be retrained, even if the ticket came trained.

    Raises:
        LotteryError: the seed is no valid one, or the model has another architecture; it is untouched.

    >>> from lottery_lib import controls, load, masks, models
    >>> data = load("digits")
    >>> model = models.create("lenet-300-100", data.classes, data.shape, width=0.1)
    >>> ticket = controls.search(model, data, controls.Config(density=0.1))
    >>> fresh = controls.reinitialised(ticket, model)
    >>> masks.overlap(fresh.mask, ticket.mask)
    1.0
    >>> fresh.state_sha256 == ticket.state_sha256
    False
    """
    seed = _apart(seed)
    ticket.apply(model)  # which refuses another network
    states.load(model, ticket.state())
    redraw(model, ticket.mask, seed)
    fresh = replace(ticket, rewind=snapshot(model), seed=None, relaxed=None, state_sha256=None, info=_untrained(ticket))
    fresh.apply(model)
    return fresh


def _apart(seed: int) -> int:
    """The seed of a control, far from those of searches."""
    return (errors.seed(seed) + SHIFT) % errors.SEEDS


def _untrained(ticket: Ticket) -> dict[str, Any]:
    """What is known of a ticket, but for that its weights come trained: those of a control are to be retrained."""
    return ticket.info | {"trained": False}
