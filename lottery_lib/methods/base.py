"""What every method of ticket search shares: its config, the ticket at its end, and the retraining after it."""

import warnings
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import torch
from torch import Tensor, nn

from lottery_lib import errors, masks, states
from lottery_lib.data.splits import TrainingData, require_splits
from lottery_lib.errors import LotteryError
from lottery_lib.masks import Mask
from lottery_lib.methods import signal
from lottery_lib.provenance import provenance
from lottery_lib.relaxation import FixedMask, Parameterization
from lottery_lib.tickets import Ticket, architecture
from lottery_lib.training.loop import History, train
from lottery_lib.training.modes import aside, restored_on_failure
from lottery_lib.training.recipes import Recipe
from lottery_lib.training.rehearsal import first_batch, first_value
from lottery_lib.training.tasks import Task, require_options
from lottery_lib.weights import PARAMETRIZED, count, is_identity, left_dense, prunable, require_whole, share, withheld

MUCH = 0.2  # of a network's parameters that stay dense, to be said
FEW = 0.01  # of a weight's entries may be zero by chance
NOT_OURS = ("recipe", "seed")  # where somebody else trains


@dataclass(frozen=True)
class SearchConfig:
    """What all methods are told; LotteryError if a value is out of its range."""

    density: float = 0.05  # share of the weights to keep, in (0, 1]
    recipe: Recipe = field(default_factory=Recipe)  # of every training in the search
    seed: int = 0  # of batches, and of all that is drawn
    rounds: tuple[float, ...] = ()  # the density after each round of search, falling to ``density``; () is one round
    rewind_epoch: int = 0  # rewind to the weights after so many epochs of dense training; 0 is θ₀
    per_layer: bool = False  # the same density in every layer, instead of one ranking over all
    names: tuple[str, ...] | None = None  # parameters to mask; None: those of ``weights.prunable``
    allow_empty_layers: bool = False  # True: no error where a layer keeps no weight

    def __post_init__(self) -> None:
        if self.names is not None:
            if isinstance(self.names, str):
                raise LotteryError(f"names = {self.names!r}: must be several names, or one as ({self.names!r},)")
            given = tuple(self.names) if isinstance(self.names, Iterable) else ()
            if not given or not all(isinstance(name, str) for name in given):
                raise LotteryError(f"names = {self.names!r}: must be parameters' names, as ('fc1.weight',), or None")
            object.__setattr__(self, "names", given)
        if not isinstance(self.rounds, (tuple, list)):
            raise LotteryError(f"rounds = {self.rounds!r}: must be the densities after each, as (0.4, 0.2)")
        object.__setattr__(self, "rounds", tuple(self.rounds))
        errors.require("recipe", self.recipe, Recipe, "as Recipe(epochs=10)")
        errors.settle(self)
        if not 0 < self.density <= 1:
            raise LotteryError(f"density = {self.density!r}: must lie in (0, 1], a fraction of the weights to keep")
        if not 0 <= self.rewind_epoch < self.recipe.epochs:
            raise LotteryError(f"rewind_epoch = {self.rewind_epoch!r}: must be 0 to {self.recipe.epochs - 1}")
        if not all(type(each) in (int, float) for each in self.rounds):
            raise LotteryError(f"rounds = {self.rounds!r}: must be densities, as (0.4, 0.2)")
        falling = all(a > b for a, b in zip((1.0, *self.rounds), self.rounds))
        if self.rounds and not (falling and self.rounds[-1] == self.density):
            raise LotteryError(f"rounds = {self.rounds!r}: must fall from below 1 to the density, {self.density:g}")

    @property
    def densities(self) -> tuple[float, ...]:
        """After each round of search; the last one is ``density``."""
        return self.rounds or (self.density,)


def geometric(density: float, rounds: int) -> tuple[float, ...]:
    """Densities that fall by the same factor each round: density^(k/rounds), k = 1 … rounds."""
    return (*(density ** (k / rounds) for k in range(1, rounds)), density)


def require_config(config: Any, kind: type[SearchConfig]) -> None:
    """LotteryError if a search is told by the config of another one."""
    own, other = (each.__module__.rpartition(".")[2] for each in (kind, type(config)))
    if not isinstance(config, kind):
        given = f"{other}.Config" if isinstance(config, SearchConfig) else type(config).__name__
        raise LotteryError(f"config is of type {given}; must be the method's, as {own}.Config(density=0.05)")


@dataclass
class Trainer:
    """A model, its data and how to train it: what a method's search passes around. Keeps what its epochs came to.

    A search is a ``with`` block of it: where that fails, the model is as it was before.
    """

    model: nn.Module
    data: TrainingData
    config: SearchConfig
    options: dict  # loss or objective, metric, work, progress, as ``training.loop.train`` takes them
    run: signal.FirstCall | None = None  # of a network that somebody else trains; None: the first batch of the data
    history: list[dict[str, float]] = field(default_factory=list)
    names: list[str] = field(init=False)  # of the parameters that the mask covers
    begun: dict[str, Tensor] = field(init=False, default_factory=dict)  # the state before the search
    undo: ExitStack = field(init=False, default_factory=ExitStack)

    def __post_init__(self) -> None:
        require_options(self.options, [item.name for item in fields(self.config)])
        errors.require("model", self.model, nn.Module, "a torch.nn.Module")
        if self.run is None:
            require_splits(self.data)
        require_whole(self.model)
        self.names = prunable(self.model, self.config.names, self._trace if self.run is None else None)
        layers = states.modules(self.model)
        for name, weight in zip(self.names, self.parameters()):
            padding = getattr(layers[name.rpartition(".")[0]], "padding_idx", None)  # a row of zeros from the start
            zero = (weight == 0).float()
            zeros = float((zero if padding is None else zero[torch.arange(len(zero)) != padding]).mean())
            if FEW < zeros < 1 and not (weight.ndim > 1 and is_identity(weight)):  # a whole layer may begin at zero
                other = "search in rounds" if self.run is None else "attach before a checkpoint is loaded"
                raise LotteryError(
                    f"{100 * zeros:.0f} % of {name!r} are zero already, as of a network that was pruned; rewind it "
                    f"first, with load_state_dict(ticket.state()), or {other}; if it begins so, leave it out of names"
                )
        if self.config.names is None:
            self._say_what_stays_dense()

    def _say_what_stays_dense(self) -> None:
        dense = left_dense(self.model, self.names)
        why = withheld(self.model, dense)
        if share(self.model, dense) <= MUCH:
            dense = [*why]
        if not dense:
            return
        shown = ", ".join(f"{name} ({why[name]})" if name in why else name for name in dense[:3])
        advice = "; choose by names" if any(name not in why for name in dense) else ""
        advice += "; remove a parametrization to prune its layer" if PARAMETRIZED in why.values() else ""
        warnings.warn(
            f"{100 * share(self.model, dense):.2g} % of all parameters stay dense, as no mask covers {shown}"
            f"{', …' if len(dense) > 3 else ''}{advice}",
            stacklevel=5 if self.run is None else 6,
        )

    def __enter__(self) -> "Trainer":
        self.begun = self.undo.enter_context(restored_on_failure(self.model))
        return self

    def __exit__(self, *failure: Any) -> None:
        self.undo.__exit__(*failure)

    def train(self, rule: Parameterization | None = None, **span: int) -> History:
        """From the rewind epoch to the end of the recipe, unless ``span`` (start, stop) says otherwise."""
        config = self.config
        within: dict[str, Any] = {"start": config.rewind_epoch} | span
        history = train(
            self.model, self.data, config.recipe, parameterization=rule, seed=config.seed, **within, **self.options
        )
        self.history += history.epochs
        return history

    @property
    def task(self) -> Task:
        return Task(**{key: self.options[key] for key in ("loss", "objective", "metric") if key in self.options})

    def _first_value(self) -> Tensor:
        """The loss of the first batch, as it is trained on, with its graph."""
        config = self.config
        return first_value(self.model, first_batch(self.data, config.recipe), config.recipe, self.task)

    def _trace(self) -> Tensor:
        with aside(self.model, self.data):
            return self._first_value()

    def rewind_state(self) -> dict[str, Tensor]:
        """The state after ``rewind_epoch`` epochs of dense training, which the model is left in."""
        if self.config.rewind_epoch:
            self.train(start=0, stop=self.config.rewind_epoch)
            return states.snapshot(self.model)
        return self.begun or states.snapshot(self.model)

    @property
    def round_epochs(self) -> int:
        """How many epochs one training takes from the rewind epoch to the end."""
        return self.config.recipe.epochs - self.config.rewind_epoch

    @property
    def round_steps(self) -> int:
        """How many steps it takes."""
        return self.round_epochs * self.data.train.steps(self.config.recipe.batch_size)

    @property
    def search_epochs(self) -> int:
        """How many epochs all rounds take, with those before the rewind epoch."""
        return self.config.rewind_epoch + len(self.config.densities) * self.round_epochs

    def parameters(self) -> list[Tensor]:
        """The weights that a mask covers, in the order of ``names``."""
        own = states.parameters(self.model)
        return [own[name] for name in self.names]

    def weights(self) -> dict[str, Tensor]:
        """A copy of the weights that a mask covers."""
        return {name: weight.detach().clone() for name, weight in zip(self.names, self.parameters())}

    def ticket(
        self, mask: Mask, rewind: dict[str, Tensor], search_epochs: float, trained: bool = False,
        info: dict[str, Any] | None = None, **more: Any,
    ) -> Ticket:  # fmt: skip
        """The ticket, checked for whether a signal passes; the model is left rewound and pruned, ready for ``retrain``.

        If none passes, as a layer is empty, it is left rewound, and the error holds the ticket.
        """
        weights = dict(zip(self.names, self.parameters())) if trained else {}
        if broken := [name for name, weight in weights.items() if not weight.isfinite().all()]:
            raise LotteryError(f"{broken[0]!r} is not finite after the last step; lower the learning rate")
        states.load(self.model, rewind)  # with what modules keep beside tensors, which no ticket holds
        found = Ticket(
            mask=mask,
            rewind=rewind,
            config={"method": type(self.config).__module__.rpartition(".")[2], **self._told()},
            provenance=provenance((self.run and self.run.device) or next(self.model.parameters()).device),
            architecture=architecture(self.model),
            search_epochs=search_epochs,
            seed=self.config.seed if self.run is None else None,
            info={
                "seconds": History(self.history).seconds,
                "trained": trained,
                "history": self.history,
                "weights": count(self.model),
                **(info or {}),
            },
            **more,
        )
        found.apply(self.model)
        if not self.config.allow_empty_layers:
            self._require_signal(found, rewind)
        return found

    def _told(self) -> dict[str, Any]:
        """The config, without what a loop of somebody else's has decided."""
        return {key: value for key, value in asdict(self.config).items() if self.run is None or key not in NOT_OURS}

    def _require_signal(self, found: Ticket, rewind: dict[str, Tensor]) -> None:
        """LotteryError if none passes as a layer is empty. One beside a living path, as a shortcut, may be empty."""
        with aside(self.model, self.data):
            passed = signal.passes(self.model, found.mask, self.run or self._first_value)
        if passed:
            return
        try:
            masks.check_no_empty_layer(found.mask)
        except LotteryError as error:
            states.load(self.model, rewind)
            error.ticket = found
            raise
        if passed is False:
            warnings.warn(
                "no signal of the first batch passes from the pruned network's input to its output, so it will hardly "
                "train; ask for a higher density",
                stacklevel=5,
            )


def retrain(
    model: nn.Module,
    data: TrainingData,
    ticket: Ticket,
    recipe: Recipe,
    *,
    seed: int = 0,
    start: int | None = None,
    **options: Any,
) -> History:
    """Train a ticket by itself: ``model`` is rewound to it, and its pruned weights stay zero.

    ``options`` are those of ``train``: loss or objective, metric, work, progress. If the ticket's weights are trained
    already (gradual magnitude pruning), the model gets these, and the history has no epochs.

    Args:
        start: The epoch of the recipe to begin with; None: the ticket's rewind epoch.

    Raises:
        LotteryError: the model has another architecture than the ticket's; or as by ``train``. The model is as before.

    >>> from lottery_lib import Recipe, controls, load, masks, models, retrain
    >>> data = load("digits")
    >>> model = models.create("lenet-300-100", data.classes, data.shape, width=0.1)
    >>> ticket = controls.search(model, data, controls.Config(density=0.2))
    >>> history = retrain(model, data, ticket, Recipe(epochs=2))
    >>> masks.density({n: model.get_parameter(n) != 0 for n in ticket.mask})
    0.2
    """
    errors.require("model", model, nn.Module, "a torch.nn.Module")
    errors.require("ticket", ticket, Ticket, "what a search returns, or Ticket.load(path) reads")
    errors.require("recipe", recipe, Recipe, "as Recipe(epochs=10)")
    require_options(options)
    require_whole(model)
    with restored_on_failure(model):
        ticket.apply(model)
        if ticket.info.get("trained"):
            return History([])
        rule = FixedMask(model, ticket.mask)
        start = ticket.config.get("rewind_epoch", 0) if start is None else start
        return train(model, data, recipe, parameterization=rule, seed=seed, start=start, **options)
