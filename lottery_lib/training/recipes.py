"""How a network is trained, as data: epochs, optimiser, learning rate over time, precision."""

import bisect
from dataclasses import dataclass

from lottery_lib import errors
from lottery_lib.errors import LotteryError, hint

SCHEDULES = {  # learning rate as a share of its peak: corners of a line over the share of training done
    "constant": ((0, 1), (1, 1)),
    "linear": ((0, 1), (1, 0)),
    "step": ((0, 1), (0.5, 1), (0.5, 0.1), (0.75, 0.1), (0.75, 0.01), (1, 0.01)),
    "one-cycle": ((0, 0.1), (0.3, 1), (1, 0)),
}
OPTIMIZERS = ("sgd", "adamw")
PRECISIONS = ("fp32", "bf16")


@dataclass(frozen=True)
class Recipe:
    """How a network is trained; LotteryError if a value is out of its range.

    >>> import lottery_lib as lottery
    >>> recipe = lottery.Recipe(epochs=20, lr=0.1, schedule="linear")
    >>> [recipe.lr_at(fraction) for fraction in (0, 0.5, 1)]
    [0.1, 0.05, 0.0]
    """

    epochs: int = 10  # of a whole training
    batch_size: int = 128  # where the data are whole tensors; a loader has its own
    optimizer: str = "sgd"  # "sgd" or "adamw"
    lr: float = 0.1  # peak learning rate; AdamW needs one of its own, mostly some 0.001
    momentum: float = 0.9  # of SGD alone
    nesterov: bool = False  # of SGD alone
    weight_decay: float = 0.0  # on the weights and all other parameters, never on a mask
    schedule: str = "linear"  # of the learning rate: "linear", "constant", "step" or "one-cycle"
    precision: str = "fp32"  # "fp32", or "bf16": both passes under autocast; weights and masks stay fp32
    fast: bool = True  # compiled where that pays (``speed``); False: as written, to compare with
    compile_from: int | None = None  # planned steps from which to compile; None: if the time that steps take says so

    def __post_init__(self) -> None:
        errors.settle(self)
        for name in ("epochs", "batch_size", "lr"):
            if not getattr(self, name) > 0:
                raise LotteryError(f"{name} = {getattr(self, name)!r}: must be > 0")
        errors.hold(self, {
            "momentum": (0 <= self.momentum < 1, "in [0, 1)"), "weight_decay": (self.weight_decay >= 0, "≥ 0"),
            "compile_from": (self.compile_from is None or self.compile_from >= 0, "≥ 0, or None"),
        })  # fmt: skip
        if self.optimizer != "sgd" and (self.nesterov or self.momentum != Recipe.momentum):
            raise LotteryError(f"{self.optimizer} reads neither momentum nor nesterov; leave them out")
        if self.optimizer == "adamw" and self.lr == Recipe.lr:
            raise LotteryError(f"lr = {self.lr:g} is for sgd, and far too much for adamw; give one, mostly some 0.001")
        if self.nesterov and not self.momentum:
            raise LotteryError("nesterov = True: needs a momentum > 0")
        for name, known in (("optimizer", OPTIMIZERS), ("schedule", SCHEDULES), ("precision", PRECISIONS)):
            if getattr(self, name) not in [*known]:  # a list has no hash to be sought by
                raise LotteryError(f"unknown {name} {getattr(self, name)!r}{hint(getattr(self, name), known)}")

    def lr_at(self, fraction: float) -> float:
        """The learning rate when ``fraction`` of the training, 0 to 1, is done."""
        corners = SCHEDULES[self.schedule]
        right = min(bisect.bisect_right([x for x, _ in corners], fraction), len(corners) - 1)
        (x0, y0), (x1, y1) = corners[right - 1], corners[right]
        return self.lr * (y0 + (y1 - y0) * (fraction - x0) / (x1 - x0))
