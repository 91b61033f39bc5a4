"""The paper's method: learn a relaxed mask under a concave penalty, threshold it, rewind (arXiv 2501.11135).

Each round starts from the rewound weights that are left, with m = 1 on them, and learns m and θ together. At the end a
mask entry is kept if m ≥ α (the paper's rule), or if it is among the k largest (an exact density: our choice, so that
methods can be compared at equal density; thresholding at α *is* top-k at the density it yields).
"""

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from lottery_lib import masks, regularizers
from lottery_lib.data.splits import TrainingData
from lottery_lib.errors import LotteryError
from lottery_lib.masks import Mask
from lottery_lib.methods.base import SearchConfig, Trainer
from lottery_lib.relaxation import RelaxedMask
from lottery_lib.tickets import Ticket


@dataclass(frozen=True)
class Config(SearchConfig):
    regularizer: str = "log"
    shape: float | None = None  # of the regulariser: ε of the log penalty; None: its default
    lam: float = 1e-4  # λ, with r(1) = 1
    mask_lr: float = 10.0  # η_m
    alpha: float | None = None  # keep m ≥ α in the last round, whatever density that gives; None: exactly ``density``

    def __post_init__(self):
        super().__post_init__()
        regularizers.create(self.regularizer, self.shape)
        for name in ("lam", "mask_lr"):
            if not getattr(self, name) >= 0:
                raise LotteryError(f"{name} = {getattr(self, name)!r}: must be ≥ 0")
        if self.alpha is not None and not 0 < self.alpha <= 1:
            raise LotteryError(f"alpha = {self.alpha!r}: must lie in (0, 1]")


def search(model: nn.Module, data: TrainingData, config: Config, **options: Any) -> Ticket:
    """A ticket by the concave mask; ``options`` as in ``train`` (loss, work, progress)."""
    trainer = Trainer(model, data, config, options)
    rewind = trainer.rewind_state()
    penalty = regularizers.create(config.regularizer, config.shape)
    mask = masks.ones(model, trainer.names)
    for density in config.densities:
        model.load_state_dict(rewind)
        relaxed = RelaxedMask(model, trainer.names, penalty, config.lam, config.mask_lr, within=mask)
        trainer.train(relaxed)
        values = dict(zip(relaxed.names, relaxed.m))
        last = density == config.densities[-1]
        if last and config.alpha is not None:
            mask = masks.threshold(values, config.alpha)
        else:
            mask = masks.top_k(rank(values, dict(zip(relaxed.names, relaxed.theta))), density, mask, config.per_layer)
    epochs = config.rewind_epoch + len(config.densities) * trainer.round_epochs
    return trainer.ticket(mask, rewind, epochs, relaxed=values)


def rank(m: Mask, theta: dict[str, Tensor]) -> dict[str, Tensor]:
    """Scores that order entries by m and, where m is equal (most are exactly 0 or 1), by the size of θ."""
    largest = max(t.detach().abs().max() for t in theta.values()).clamp(min=1e-30)
    return {name: value.double() + 1e-9 * (theta[name].detach().abs() / largest) for name, value in m.items()}
