"""What each number of the calibrated search is worth: a search with one of its defaults changed, by its validation.

Defaults are chosen on validation, so no run of this protocol reads a test split. Each is compared with the same run of
the protocol it follows, whose search has all defaults.
"""

from dataclasses import asdict, dataclass, replace
from typing import Annotated, ClassVar, Literal

import numpy as np

from lottery_lib import errors, methods, paths
from lottery_lib.errors import LotteryError
from lottery_lib.experiments import ticket_run
from lottery_lib.experiments.following import Following
from lottery_lib.experiments.lenet import LeNet
from lottery_lib.experiments.pairs import CifarShort
from lottery_lib.experiments.ticket_run import TicketRun
from lottery_lib.methods import concave
from lottery_lib.methods.calibration import Calibration

FOLLOWED = {"lenet": LeNet(), "cifar-short": CifarShort(model="conv-small")}
MOST = {"reach": 1e3, "memory": 1.0, "landing": 1.0, "horizon": 1.0, "settling": 1.0, "folds": 1e3}  # of each part


@dataclass(frozen=True)
class Changed(concave.Config):
    """A calibrated search with one number of its plan changed."""

    part: str = "settling"
    value: float = 0.7

    @property
    def plan(self) -> Calibration:
        return replace(super().plan, **{self.part: self.value})


@dataclass(frozen=True)
class Ablation(Following):
    """One run; LotteryError if a value is out of its range."""

    protocol: ClassVar[str] = "ablation"
    version: ClassVar[int] = 1

    follows: Annotated[Literal["lenet", "cifar-short"], "the protocol whose run is changed"] = "lenet"
    part: Annotated[Literal["reach", "memory", "landing", "horizon", "settling", "folds"], "of the plan"] = "settling"
    value: Annotated[float, "that it takes in place of its default"] = 0.7
    density: Annotated[float, "share of the weights to keep, in (0, 1)"] = 0.05
    seed: Annotated[int, "of initial weights and batches"] = 0

    def __post_init__(self):
        errors.settle(self)
        if self.follows not in FOLLOWED or self.part not in MOST:
            known = f"follows: {', '.join(FOLLOWED)}; part: {', '.join(MOST)}"
            raise LotteryError(f"follows = {self.follows!r}, part = {self.part!r}: must be one of each, {known}")
        most = MOST[self.part]
        errors.hold(self, {"value": (0 < self.value <= most, f"in (0, {most:g}] for {self.part}")})
        self.followed.search_config()  # checks the rest

    @property
    def followed(self) -> TicketRun:
        """The run that has all defaults."""
        return replace(FOLLOWED[self.follows], density=self.density, seed=self.seed)


def run(config: Ablation, progress: bool = False) -> tuple[dict, dict[str, np.ndarray]]:
    """Search, retrain, validate.

    Returns a JSON-able record, with the density reached and the accuracy on validation in percent, and no arrays.
    """
    followed, options = config.followed, {"work": paths.WORK, "progress": progress}
    data, model = ticket_run.prepare(followed)
    given = vars(followed.search_config()) | {"part": config.part, "value": config.value}
    ticket = concave.search(model, data, Changed(**given), **options)
    history = methods.retrain(model, data, ticket, followed.training, seed=config.seed, **options)
    return {
        "config": asdict(config),
        "dataset": followed.dataset,
        "model": followed.model,
        "recipe": asdict(followed.training),
        "default": getattr(Calibration(), config.part),
        "density": ticket.density,
        "val_accuracy": history.epochs[-1]["val_accuracy"],
        "calibration": {key: ticket.info[key] for key in ("alpha", "gap", "lam", "mask_lr")},
        "seconds": history.seconds + ticket.info.get("seconds", 0.0),
    }, {}
