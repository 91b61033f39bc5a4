"""The ticket that a calibrated search would draw after each of its epochs: how far from the last one, and how good.

Early-bird tickets (You et al. 2020) are drawn when the mask of one epoch is nearly that of the epochs before. Whether
to stop a search is a choice, so no run of this protocol reads a test split.
"""

from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from lottery_lib import errors, masks, methods
from lottery_lib.experiments import ticket_run
from lottery_lib.experiments.following import Following
from lottery_lib.experiments.lenet import LeNet
from lottery_lib.experiments.ticket_run import TicketRun
from lottery_lib.masks import Mask
from lottery_lib.methods import concave
from lottery_lib.methods.base import Trainer
from lottery_lib.methods.calibration import CalibratedMask

FOLLOWED: TicketRun = LeNet()


@dataclass(frozen=True)
class EarlyBird(Following):
    """One run; LotteryError if a value is out of its range."""

    protocol: ClassVar[str] = "early-bird"
    version: ClassVar[int] = 1

    density: Annotated[float, "share of the weights to keep, in (0, 1)"] = 0.05
    seed: Annotated[int, "of initial weights and batches"] = 0

    def __post_init__(self):
        errors.settle(self)
        self.followed.search_config()  # checks the rest

    @property
    def followed(self) -> TicketRun:
        return replace(FOLLOWED, density=self.density, seed=self.seed)


class DrawnMask(CalibratedMask):
    """A calibrated mask that draws a ticket at the end of each epoch.

    Until entries settle these are the k entries that would bear the highest price; from then on, those that are
    largest.
    """

    def __init__(self, *given: Any):
        super().__init__(*given)
        self.prices: Tensor | None = None
        self.drawn: list[Mask] = []

    def entry_prices(self, m: Tensor, support: Tensor, every: int) -> Tensor:
        self.prices = super().entry_prices(m, support, every)
        return self.prices

    def metrics(self) -> dict[str, Tensor]:
        scores = torch.cat([m.flatten() for m in self.m]) if self.steepness or self.prices is None else self.prices
        parts = scores.split([m.numel() for m in self.m])
        shaped = {name: part.view_as(m) for name, m, part in zip(self.names, self.m, parts)}
        self.drawn.append(masks.top_k(shaped, self.kept / len(scores)))
        return super().metrics()


@dataclass(frozen=True)
class Drawing(concave.Config):
    """A calibrated search whose mask draws tickets on the way."""

    def calibrated_mask(self, *given: Any) -> CalibratedMask:
        return DrawnMask(*given)


def run(config: EarlyBird, progress: bool = False) -> tuple[dict, dict[str, np.ndarray]]:
    """Search once, then retrain and validate the ticket of each epoch.

    Returns a JSON-able record and no arrays. An epoch of its ``drawn`` has the share of the ticket's weights that the
    epoch before would have kept too (``before``; none in the first), that the last keeps (``last``), and the accuracy
    on validation in percent.
    """
    followed, recipe = config.followed, config.followed.training
    data, model = ticket_run.prepare(followed)
    settings = Drawing(**vars(followed.search_config()))
    trainer = Trainer(model, data, settings, {"progress": progress})
    rewind = trainer.rewind_state()
    rule = settings.rule(trainer, config.density, masks.ones(model, trainer.names))
    seconds, epochs = trainer.train(rule).seconds, []
    for epoch, (before, mask) in enumerate(pairwise([None, *rule.drawn]), 1):
        ticket = trainer.ticket(mask, rewind, epoch)
        history = methods.retrain(model, data, ticket, recipe, seed=config.seed, progress=progress)
        seconds += history.seconds
        epochs.append({
            "epoch": epoch,
            "before": masks.shared(mask, before) if before else None,
            "last": masks.shared(mask, rule.drawn[-1]),
            "val_accuracy": history.epochs[-1]["val_accuracy"],
        })  # fmt: skip
    return {
        "config": asdict(config),
        "dataset": followed.dataset,
        "model": followed.model,
        "recipe": asdict(recipe),
        "density": masks.density(mask),
        "val_accuracy": epochs[-1]["val_accuracy"],
        "drawn": epochs,
        "seconds": seconds,
    }, {}
