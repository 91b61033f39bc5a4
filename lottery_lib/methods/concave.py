"""The paper's method: learn a relaxed mask under a concave penalty, threshold it, rewind (arXiv 2501.11135).

Each round starts from the rewound weights that are left, with m = 1 on them, and learns m and θ together; what ends at
m ≥ α is kept. A search is told its density, and sets λ and η_m on the way (``calibration``). With a λ given, they stay
as given, which is the paper's plain recipe: then α decides the density, or, where no α is given, the k largest entries
are kept (our choice, to compare at equal density; thresholding at α *is* top-k at the density it yields).
"""

import math
import warnings
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lottery_lib import errors, masks, regularizers, states
from lottery_lib.data.splits import TrainingData
from lottery_lib.errors import LotteryError
from lottery_lib.masks import Mask
from lottery_lib.methods import attaching
from lottery_lib.methods.attached import AttachedSearch
from lottery_lib.methods.base import SearchConfig, Trainer, require_config
from lottery_lib.methods.calibration import WATCHED, CalibratedMask, Calibration, gap, require_steep
from lottery_lib.relaxation import RelaxedMask
from lottery_lib.states import snapshot
from lottery_lib.tickets import Ticket

TOLERANCE = 0.02  # how far from the density asked for, relatively, a calibrated search may end unsaid


@dataclass(frozen=True)
class Config(SearchConfig):
    """The density is the only knob; with a λ given, the mask's step size and the threshold are as given, too.

    >>> from lottery_lib import Recipe, concave
    >>> concave.Config(density=0.05, recipe=Recipe(epochs=10)).calibrated
    True
    """

    regularizer: str = "log"  # the penalty, by its name in ``regularizers.create``
    shape: float | None = None  # of the regulariser: ε of the log penalty; None: its default
    lam: float | None = None  # λ, with r(1) = 1; None: calibrated, and η_m with it
    mask_lr: float | None = None  # η_m, where λ is given; None: 10
    alpha: float | None = None  # the threshold; None: 0.1, or with a λ given exactly ``density`` in place of it

    def __post_init__(self) -> None:
        super().__post_init__()
        errors.require("regularizer", self.regularizer, str, "a name, as 'log'")
        penalty = regularizers.create(self.regularizer, self.shape)
        for name in ("lam", "mask_lr"):
            if (value := getattr(self, name)) is not None and not value >= 0:
                raise LotteryError(f"{name} = {value!r}: must be ≥ 0")
        if self.alpha is not None and not 0 < self.alpha <= 1:
            raise LotteryError(f"alpha = {self.alpha!r}: must lie in (0, 1]")
        if self.alpha is not None and self.per_layer and not self.rounds:
            raise LotteryError(
                f"per_layer = True: the threshold alpha = {self.alpha!r} decides; leave out one of the two"
            )
        if self.calibrated and (self.mask_lr is not None or self.per_layer):
            given = "per_layer = True" if self.per_layer else f"mask_lr = {self.mask_lr!r}"
            raise LotteryError(
                f"{given}: needs a lam; without one the search sets both for one density over all layers"
            )
        if self.calibrated:
            require_steep(penalty, self.plan.alpha)

    @property
    def calibrated(self) -> bool:
        """Whether λ and η_m are set on the way."""
        return self.lam is None

    @property
    def plan(self) -> Calibration:
        """What they are set by, about ``alpha`` if it is given."""
        return Calibration() if self.alpha is None else Calibration(alpha=self.alpha)

    def rule(self, trainer: Trainer, density: float, mask: Mask, steps: int | None = None) -> RelaxedMask:
        """What moves the mask in the round that is to end at a density, within the ``mask`` that earlier ones left.

        ``steps`` are those of the round; None: as many as the trainer takes.
        """
        penalty = regularizers.create(self.regularizer, self.shape)
        if self.lam is not None:
            mask_lr = 10.0 if self.mask_lr is None else self.mask_lr
            return RelaxedMask(trainer.model, trainer.names, penalty, self.lam, mask_lr, within=mask)
        kept = masks.count(density, sum(m.numel() for m in mask.values()))
        if steps is None:
            steps = trainer.round_steps
        return self.calibrated_mask(trainer.model, trainer.names, penalty, kept, steps, mask, self.plan)

    def calibrated_mask(self, *given: Any) -> CalibratedMask:
        """What moves the mask where λ is set on the way; ``given`` as of ``CalibratedMask``. A subclass has another."""
        return CalibratedMask(*given)


def search(model: nn.Module, data: TrainingData, config: Config, **options: Any) -> Ticket:
    """A ticket by the concave mask; ``options`` as in ``train`` (loss, objective, metric, work, progress).

    A calibrated search that ends more than 2 % from the density asked for warns, with what was reached and why. Its
    ticket's ``info`` has the density ``asked`` for, the threshold ``alpha``, the nearest entries below and above it as
    ``gap``, λ before entries settled as ``lam``, and η_m as ``mask_lr``; and, after each of its ``epochs``, both and as
    ``density`` the share of entries from α up.

    >>> from lottery_lib import Recipe, concave, load, models
    >>> data, recipe = load("digits"), Recipe(epochs=3, batch_size=64)
    >>> model = models.create("lenet-300-100", data.classes, data.shape)
    >>> config = concave.Config(density=0.2, recipe=recipe)
    >>> ticket = concave.search(model, data, config)
    >>> round(ticket.density, 2)
    0.2

    Raises:
        LotteryError: no signal passes, as a layer keeps no weight; its ``ticket`` is what was found. Or as ``train``
            raises it.
    """
    require_config(config, Config)
    with Trainer(model, data, config, options) as trainer:
        rewind = trainer.rewind_state()
        mask = masks.ones(model, trainer.names)
        for density in config.densities:
            states.load(model, rewind)
            rule = config.rule(trainer, density, mask)
            trainer.train(rule)
            mask = _kept(rule, config, mask, density, trainer.round_steps)
        return _ticket(trainer, rule, mask, rewind, trainer.search_epochs)


def attach(
    model: nn.Module, optimizer: Optimizer, *, steps: int, density: float = 0.05, **options: Any
) -> AttachedSearch:
    """A search in a training loop of one's own, which ends with ``ticket()``.

    ``options`` are the fields of ``Config``, but for what a loop of one's own decides (recipe, rounds, rewinding,
    seed). The weights the model has now are those the ticket rewinds to.

    Args:
        steps: The optimiser's, of the whole training, or an estimate; where λ is given they play no part.
        density: Share of the weights to keep, in (0, 1].

    >>> import torch
    >>> from lottery_lib import concave, load, models
    >>> data = load("digits")
    >>> model = models.create("lenet-300-100", data.classes, data.shape)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    >>> steps = 10 * data.train.steps(batch_size=64)
    >>> search = concave.attach(model, optimizer, steps=steps, density=0.2)
    >>> for epoch in range(10):
    ...     for images, labels in data.train.batches(64, epoch=epoch, seed=0):
    ...         optimizer.zero_grad()
    ...         torch.nn.functional.cross_entropy(model(images), labels).backward()
    ...         optimizer.step()
    >>> round(search.ticket().density, 2)
    0.2

    Raises:
        LotteryError: an option is unknown or out of range, steps are too few, or the optimiser cannot be used.
    """
    config, trainer, first = attaching.prepared(Config, model, optimizer, steps, density=density, **options)
    if config.calibrated and steps <= WATCHED:
        raise LotteryError(
            f"steps = {steps}: too few, as the mask does not move in the first {WATCHED}; give the optimiser's steps "
            "in the whole training, not its epochs"
        )
    rewind = snapshot(model)
    rule = config.rule(trainer, density, masks.ones(model, trainer.names), steps)

    def finish(search: AttachedSearch) -> Ticket:
        kept = _kept(rule, config, masks.ones(model, trainer.names), density, search.step)
        return _ticket(trainer, rule, kept, rewind, 0, {"steps": search.step})

    told = steps if config.calibrated else math.inf  # a fixed λ asks for no number of steps
    return AttachedSearch(first, optimizer, rule, told, finish=finish, rewind=rewind)


def _kept(rule: RelaxedMask, config: Config, mask: Mask, density: float, steps: int) -> Mask:
    """What a round of so many steps keeps, within what earlier ones have left."""
    values = dict(zip(rule.names, rule.m))
    if isinstance(rule, CalibratedMask):
        kept = masks.threshold(values, rule.calibration.alpha)
        return {name: kept[name] & mask[name] for name in mask}
    asked = 1 if config.alpha is not None else masks.count(density, sum(map(Tensor.numel, rule.m)))
    _say_if_undecided(rule, mask, asked, steps)
    if density == config.density and config.alpha is not None:
        return masks.threshold(values, config.alpha)
    return masks.top_k(rank(values, dict(zip(rule.names, rule.theta))), density, mask, config.per_layer)


def _ticket(
    trainer: Trainer, rule: RelaxedMask, mask: Mask, rewind: dict[str, Tensor], epochs: float,
    info: dict[str, Any] | None = None,
) -> Ticket:  # fmt: skip
    values, info = dict(zip(rule.names, rule.m)), dict(info or {})
    if isinstance(rule, CalibratedMask):
        alpha, asked = rule.calibration.alpha, trainer.config.density
        edges = gap(values, alpha)
        info |= {"asked": asked, "alpha": alpha, "gap": edges, "lam": rule.lam, "mask_lr": rule.mask_lr}
        epochs_set = (epoch for epoch in trainer.history if "lam" in epoch)  # not those before the rewind epoch
        info["epochs"] = [{key: epoch[key] for key in ("density", "lam", "mask_lr")} for epoch in epochs_set]
        losses = [epoch["loss"] for epoch in trainer.history if "loss" in epoch]
        _say_if_missed(rule, masks.density(mask), asked, edges, losses)
    return trainer.ticket(mask, rewind, epochs, relaxed=values, info=info)


def _say_if_undecided(rule: RelaxedMask, mask: Mask, asked: int, steps: int) -> None:
    """A mask that has not moved at all, or has died, ranks nothing."""
    alive = sum(int((m > 0).sum()) for m in rule.m)
    if all(torch.equal(m, mask[name].to(m.dtype)) for name, m in zip(rule.names, rule.m)):
        what, change = "no entry of the mask has moved from 1", "raise λ or η_m, or train longer"
    elif alive < asked:
        what, change = f"{alive or 'no'} entries of the mask are above 0, and {asked} are to be kept", "lower λ or η_m"
    else:
        return
    setting = f"with λ = {rule.lam:g} and η_m = {rule.mask_lr:g}"
    warnings.warn(f"after {steps} steps {setting}, {what}, so it does not tell what to keep; {change}", stacklevel=4)


def _say_if_missed(
    rule: CalibratedMask, reached: float, asked: float, edges: tuple[float, float], losses: list[float]
) -> None:
    missed = abs(round(reached * sum(m.numel() for m in rule.m)) - rule.kept)
    if missed <= max(1, TOLERANCE * rule.kept):
        return
    edge = edges[1] if reached > asked else edges[0]  # of the entries that ended on the wrong side
    alike = sum(int((m == edge).sum()) for m in rule.m)
    if rule.step < rule.steps:
        why = f"only {rule.step} of the {rule.steps} steps it was told of were taken"
    elif len(losses) > 1 and not min(losses) < losses[0]:  # that it rises at the end may be for want of weights
        why = "the training loss did not fall, so the data told it little; look at the learning rate first"
    elif 0 < edge < 1 and alike > max(1, missed / 2):
        why = f"{alike} entries have the same support, as those of dead units or constant inputs have, and end alike"
    elif rule.steps < 300:
        why = f"{rule.steps} steps are few for a mask to decide in; train longer, or in smaller batches"
    else:
        why = f"the last of some {rule.kept} entries had not settled when the search ended"
    warnings.warn(f"asked for a density of {asked:g}, the search reached {reached:.4g}: {why}", stacklevel=3)


def rank(m: dict[str, Tensor], theta: dict[str, Tensor]) -> dict[str, Tensor]:
    """Scores that order entries by m and, where m is equal (most are exactly 0 or 1), by the size of θ."""
    largest = max(t.detach().abs().max() for t in theta.values()).clamp(min=1e-30)
    return {name: value.double() + 1e-9 * (theta[name].detach().abs() / largest) for name, value in m.items()}
