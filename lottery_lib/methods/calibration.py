"""A relaxed mask that sets λ and η_m by itself, so that a given number of entries ends at or above α.

λ is a price. A step moves an entry by −η(θG + λ r'(m)); over many of them −θG comes to about its moving average, the
*support* A: how much the data want the entry to grow. So there is a price at which it would land at α, h steps ahead:

    need = A + (m − α) / (η h),    price = need / r'((m + α) / 2)          (the slope half way)

and with λ at the k-th largest of these prices, k entries are predicted to end at α or above. It is found anew some
200 times a search. η is such that the best supported entries can move by about ``reach`` in the whole search. Towards
the end entries *settle*: a penalty that is steep on both sides of α, and as high at α as the price asks, opens a gap
there, while the data are heeded less and less, so that a network that answers violently ends at the density too.

Our answer to the paper's open question of how to choose λ and α; it needs no part of the training loop but the number
of its steps.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lottery_lib.errors import LotteryError
from lottery_lib.masks import Mask
from lottery_lib.regularizers import Log, Regularizer
from lottery_lib.relaxation import RelaxedMask, share

WATCHED = 5  # steps at least, in which nothing moves: supports of fewer are noise
VERSION = 1  # raised when the same search would set other values
STEEP = Log()  # the shape of the penalty at the end, whatever it was before: a linear one would open no gap
FLAT = 1e-4  # slopes below it cannot be priced
SAMPLE = 4096
LEAST, TINY = 0.05, 1e-12  # η answers to no smaller support: a share of their mean size, and where there are none


@dataclass(frozen=True)
class Calibration:
    """When what happens, in shares of the search. The same for every network; the book compares them on validation."""

    alpha: float = 0.1  # the threshold
    reach: float = 0.7  # how far η lets an entry move in the whole search
    reach_within: float = 0.005  # which entry: the last one kept, but none beyond this share of the best supported
    watch: float = 0.01  # until here nothing moves
    follow: float = 0.1  # until here η follows the supports
    memory: float = 0.08  # time constant of the supports
    landing: float = 0.65  # entries are steered to land here
    horizon: float = 0.08  # but so far ahead at least, or half of what is left
    settling: float = 0.85  # from here on entries settle on both sides of α
    folds: float = 20.0  # how often the distance to α would e-fold meanwhile
    updates: int = 200  # of the price


def require_steep(regularizer: Regularizer, alpha: float) -> None:
    """LotteryError if a penalty cannot be priced where entries decide about α."""
    if min(regularizer.slope(at) for at in (alpha, (1 + alpha) / 2)) < FLAT:
        raise LotteryError(
            f"{regularizer} is flat where entries decide, so no λ steers them; change its shape or give lam"
        )


class CalibratedMask(RelaxedMask):
    """W = m⊙θ with λ and η_m set on the way, so that ``kept`` entries end at or above α after ``steps`` steps.

    A subclass may see or change what is set: in an ``update`` as a whole, λ in ``price``, or what λ is chosen from in
    ``entry_prices``. Each is told how many steps there are from one update to the next, ``every``.
    """

    def __init__(
        self, model: nn.Module, names: Sequence[str], regularizer: Regularizer, kept: int, steps: int,
        within: Mask | None = None, calibration: Calibration = Calibration(),
    ):  # fmt: skip
        require_steep(regularizer, calibration.alpha)
        super().__init__(model, names, regularizer, lam=0.0, mask_lr=0.0, within=within)
        self.alive = [m > 0 for m in self.m]  # what earlier rounds have left
        self.kept, self.steps, self.calibration = kept, steps, calibration
        self.step, self.steepness, self.level = 0, 0.0, 0.0
        self.memory = 1 / max(2.0, calibration.memory * steps)
        self.opposed = [torch.zeros_like(m) for m in self.m]  # moving averages of θG, that is −A but for their start

    @torch.no_grad()
    def pull_back(self) -> None:
        plan, self.step = self.calibration, self.step + 1
        past_watching = self.step - max(WATCHED, int(plan.watch * self.steps))
        every = max(1, self.steps // plan.updates)
        if past_watching > 0 and (self.step % every == 0 or past_watching == 1):
            self.update(every)
        super().pull_back()

    def penalize(self, part: slice, mask_gradients: tuple[Tensor, ...]) -> None:
        torch._foreach_lerp_(self.opposed[part], mask_gradients, self.memory)
        if self.steepness:
            torch._foreach_mul_(mask_gradients, self._heed())
            torch._foreach_add_(mask_gradients, [STEEP.gradient(m) for m in self.m[part]], alpha=self.steepness)
            torch._foreach_add_(mask_gradients, self.level)
            return
        super().penalize(part, mask_gradients)
        if self.lam < 0:  # a subsidy, but not for what earlier rounds have pruned
            torch._foreach_mul_(mask_gradients, self.alive[part])

    def _heed(self) -> float:
        """How much of what the data want moves the mask: all, until entries settle."""
        left = max(0, self.steps - self.step + 1)  # a loop of one's own may take more steps than it said
        return min(1.0, left / ((1 - self.calibration.settling) * self.steps)) ** 2

    def update(self, every: int) -> None:
        """Set λ, and before that what it depends on: η in the beginning; in the end steepness and level about α."""
        plan, done = self.calibration, self.step / self.steps
        m, support = _flat(self.m), _flat(self.opposed).div_(-(1 - (1 - self.memory) ** (self.step - 1)))
        if done <= plan.follow or not self.mask_lr:
            last = min(self.kept, max(1, round(plan.reach_within * len(m))))
            least = max(LEAST * float(support.abs().sum() / _flat(self.alive).sum()), TINY)
            self.mask_lr = plan.reach / (self.steps * max(_kth_largest(support, last), least))
        if done < plan.settling:
            self.lam = self.price(m, support, every)
        else:
            self._settle(m, support, every)

    def price(self, m: Tensor, support: Tensor, every: int) -> float:
        """λ, from all entries (d,) and their supports (d,), which may be written over."""
        return _kth_largest(self.entry_prices(m, support, every), self.kept)

    def entry_prices(self, m: Tensor, support: Tensor, every: int) -> Tensor:
        """The λ (d,) at which each entry would just land at α; of entries and supports as in ``price``."""
        need, half_way = self._need(m, support, every)
        return need.div_(self.regularizer.gradient(half_way))

    def _settle(self, m: Tensor, support: Tensor, every: int) -> None:
        alpha, at_alpha = self.calibration.alpha, STEEP.slope(self.calibration.alpha)
        if not self.steepness:
            bend = (STEEP.slope(0.9 * alpha) - STEEP.slope(1.1 * alpha)) / (0.2 * alpha)
            left = max(1, self.steps - self.step + 1)  # as in ``_heed``, a loop may take more
            self.steepness = self.calibration.folds / (self.mask_lr * left * bend)
        need, half_way = self._need(m, support.mul_(self._heed()), every)
        price = _kth_largest(need.sub_(self.steepness * (STEEP.gradient(half_way) - at_alpha)), self.kept)
        least = -0.5 * self.steepness * (STEEP.slope(0.0) - at_alpha)  # below zero it lifts those just under α
        self.level = max(least, price) - self.steepness * at_alpha

    def _need(self, m: Tensor, support: Tensor, every: int) -> tuple[Tensor, Tensor]:
        """The pull at which each entry lands at α, which takes the place of its support, and where it is half way."""
        plan, left = self.calibration, self.steps - self.step + 1
        # In the end half of what is left, so that the error of going by the slope half way shrinks again and again.
        ahead = max(plan.landing * self.steps - self.step, min(plan.horizon * self.steps, left / 2), every)
        return support.add_((m - plan.alpha) / (self.mask_lr * ahead)), (m + plan.alpha) / 2

    def state(self) -> dict[str, Tensor]:
        setting = torch.tensor([self.step, self.lam, self.mask_lr, self.steepness, self.level], dtype=torch.float64)
        return super().state() | self._named("opposed", self.opposed) | {"setting": setting}

    def load(self, state: dict[str, Tensor]) -> None:
        super().load(state)
        step, self.lam, self.mask_lr, self.steepness, self.level = state["setting"].tolist()
        self.step = int(step)

    def describe(self) -> dict:
        plan: dict[str, Any] = asdict(self.calibration)
        return {
            "version": VERSION,
            "regularizer": repr(self.regularizer),
            "kept": self.kept,
            "steps": self.steps,
            **plan,
        }

    def metrics(self) -> dict[str, Tensor]:
        found = {"density": share(m >= self.calibration.alpha for m in self.m)}
        return found | {"lam": torch.tensor(self.lam), "mask_lr": torch.tensor(self.mask_lr)}


def gap(values: dict[str, Tensor], alpha: float) -> tuple[float, float]:
    """The nearest values below and at or above α: between them any threshold gives the same ticket."""
    flat = _flat(list(values.values()))
    below, above = flat[flat < alpha], flat[flat >= alpha]
    return float(below.max()) if len(below) else 0.0, float(above.min()) if len(above) else 1.0


def _flat(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([tensor.flatten() for tensor in tensors])


def _kth_largest(values: Tensor, k: int) -> float:
    """Of all of them, but sought among those that a sample says may be it, which is several times faster."""
    sample = values[:: max(1, len(values) // SAMPLE)]
    part = k / len(values)
    deep = round((part + 4 * (part / len(sample)) ** 0.5) * len(sample)) + 1
    if deep < len(sample):
        candidates = values[values >= sample.kthvalue(len(sample) - deep + 1).values]
        values = candidates if len(candidates) >= k else values
    return float(values.kthvalue(len(values) - k + 1).values)
