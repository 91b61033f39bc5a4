"""The methods of the experiments: what a run, a sweep, the table and the figures need to know of each stands here.

A new method is a module with ``Config`` and ``search(model, data, config, **options)``, and a row of ``METHODS``. A
package may bring methods and protocols of its own: an entry point of the group ``lottery_lib.plugins`` names a function
that adds them; it is called when a name is asked for that is not known.
"""

import warnings
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import entry_points
from types import ModuleType
from typing import Any, Literal

from torch import nn

from lottery_lib.methods import concave, continuous, controls, feedback, frozen, gradual, magnitude, popup, saliency
from lottery_lib.tickets import Ticket

SPOKEN = {"l1": "ℓ1", "magnitude": "magnitude", "increase": "magnitude increase"}  # values in names of lines
TRAINED = ("rewind_epoch", "per_layer")  # what methods read that rewind, and rank weights
MASK = (
    "regularizer", "eps", "lam", "mask_lr", "alpha", "rounds", "search_length", "search_images", "coarse", *TRAINED,
)  # fmt: skip


@dataclass(frozen=True)
class Method:
    """A row of ``METHODS``. ``reads`` are the fields of ``ticket_run.TicketRun`` that only some methods read."""

    module: ModuleType | Any
    called: str  # in tables and figures; may name {regularizer} and {score}
    reads: tuple[str, ...] = TRAINED
    defaults: Callable[[float | None], Mapping[str, float]] = lambda lam: {}  # of fields left out, for a λ or none
    given: Mapping[str, Any] = field(default_factory=dict)  # to the module's Config, beside the run's fields
    ladder: bool = False  # its rounds are the protocol's densities, unless a run asks for so many
    # What, beside all settings but the density, decides the training of the n-th round; None: it trains in no rounds.
    decided_by: Callable[[Any, int], Hashable] | None = None
    retraining: Literal["its own", "the next round", "none"] = "its own"  # none: the search leaves a trained ticket
    moves_a_mask: bool = False  # in its search, which costs more than training under a fixed mask
    control: Callable[[Ticket, nn.Module, int], Ticket] | None = None  # of the ticket found, with the run's seed
    version: int = 1  # raised when the same settings would give another ticket

    def name(self, regularizer: str, score: str) -> str:
        """What tables and figures call it with this penalty and this score."""
        return self.called.format(regularizer=SPOKEN.get(regularizer, regularizer), score=SPOKEN.get(score, score))


def _densities_so_far(config: Any, done: int) -> Hashable:
    return config.densities[:done]


def _steered(config: Any, done: int) -> Hashable:
    """A calibrated round steers for its own density at its α, too."""
    return config.densities[: done + config.calibrated], config.calibrated and config.alpha


def _mask(called: str, module: ModuleType = concave, reads: tuple[str, ...] = MASK, **more: Any) -> Method:
    """A row of what begins with the search of a concave mask, which steers for its density if it is calibrated."""
    shared = {
        "defaults": lambda lam: {} if lam is None else {"mask_lr": 10.0},
        "decided_by": _steered,
        "moves_a_mask": True,
    }
    return Method(module, called, reads, **shared, **more)


def _by_size(called: str, reads: tuple[str, ...] = (), **more: Any) -> Method:
    rounds = {"decided_by": _densities_so_far, "retraining": "the next round"}
    return Method(magnitude, called, (*reads, *TRAINED), **rounds, **more)


def _by_feedback(controller: str, said: str) -> Method:
    called, reads = f"mask, {{regularizer}}: {said} feedback", ("regularizer", "eps")
    return _mask(called, feedback, reads, given={"controller": controller})


METHODS = {  # in the order of tables and legends
    "dense": Method(controls, "dense", ()),
    "concave": _mask("mask, {regularizer}"),
    "feedback-multiplicative": _by_feedback("multiplicative", "multiplicative"),
    "feedback-pi": _by_feedback("pi", "PI"),
    "feedback-dual": _by_feedback("dual", "dual"),
    "imp": _by_size("IMP", ("rounds",), ladder=True),
    "lr-rewinding": _by_size("IMP, LR rewinding", ladder=True, given={"rewind_weights": False}),
    "gradual": Method(gradual, "gradual magnitude", ("per_layer", "length"), retraining="none"),
    "continuous": Method(
        continuous, "Continuous Sparsification", ("lam", "mask_lr", "start", "rounds", *TRAINED),
        lambda lam: {"lam": 1e-8, "mask_lr": 1.0}, decided_by=lambda config, done: done, moves_a_mask=True,
    ),
    "one-shot": _by_size("one-shot {score}", ("score",)),
    "snip": Method(saliency, "SNIP", given={"criterion": "snip"}, version=2),
    "grasp": Method(saliency, "GraSP", given={"criterion": "grasp"}, version=2),
    "synflow": Method(saliency, "SynFlow", given={"criterion": "synflow"}),
    "frozen": _mask("mask, {regularizer}: frozen weights", frozen, ("regularizer", "eps", "search_length")),
    "edge-popup": Method(
        popup, "edge-popup", ("search_length",), moves_a_mask=True,
        decided_by=lambda config, done: config.densities[: done + 1],
    ),
    "random": Method(controls, "random"),
    "shuffled": _mask("mask, {regularizer}: shuffled", control=lambda t, model, seed: controls.shuffled(t, seed)),
    "reinitialised": _mask("mask, {regularizer}: re-initialised", control=controls.reinitialised),
}  # fmt: skip


@cache
def load_plugins() -> None:
    """Have other packages add their methods and protocols, once."""
    for entry in entry_points(group="lottery_lib.plugins"):
        try:
            entry.load()()
        except Exception as reason:  # somebody else's, of any kind; what is here works without it
            warnings.warn(f"the plugin {entry.value!r} is left out: {type(reason).__name__}: {reason}", stacklevel=3)
