"""Searches that go wrong on purpose, live on the digits: what one sees of it while they run, and what helps."""

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor

from lottery_lib import masks, models, states
from lottery_lib.data import datasets
from lottery_lib.experiments import arithmetic
from lottery_lib.experiments.protocols import DigitsLeNet
from lottery_lib.methods import concave
from lottery_lib.methods.base import Trainer
from lottery_lib.relaxation import FixedMask, RelaxedMask
from lottery_lib.training.evaluation import evaluate
from lottery_lib.training.loop import train

ALPHA = 0.1
SIGNS = ["kept", "undecided", "turnover", "loss", "searched", "cut"]  # of a search, seen after each epoch


@dataclass(frozen=True)
class Search:
    """What a search is told beside its density, what ails it, and what helps."""

    options: Mapping[str, float]
    ails: str
    cure: str


SEARCHES = {
    "calibrated": Search({}, "nothing: entries leave in the middle of the search, and then hardly any changes", ""),
    "collapsed to 0": Search(
        {"lam": 3e-2, "mask_lr": 10.0},
        "the penalty wins before the data are heard: no entry is left, and the loss is that of guessing",
        "a smaller λ, or none: the search then sets it",
    ),
    "never moved": Search(
        {"lam": 1e-6, "mask_lr": 10.0},
        "the penalty is too weak for the steps there are: all entries end near 1, and what is kept is a matter of size",
        "a larger λ, or a longer search: λ · ηₘ · steps should be 1 to 6",
    ),
    "undecided": Search(
        {"lam": 3e-4, "mask_lr": 10.0},
        "all entries are on their way when the search ends: any α cuts through a crowd",
        "a larger λ, or a longer search",
    ),
    "follows the noise": Search(
        {"lam": 1e-4, "mask_lr": 1000.0},
        "one batch pulls an entry up from 0 and the next lets it fall: many of the few kept are new after each epoch",
        "a smaller ηₘ, with λ · ηₘ as it should be",
    ),
}


def watch(density: float = 0.05, seed: int = 0) -> pd.DataFrame:
    """All ``SEARCHES`` on LeNet-300-100 and the embedded digits, some seconds: a row each search and epoch.

    ``kept`` is the share of entries from α = 0.1 up, ``undecided`` that of those from 0.05 to below 0.95, ``turnover``
    the share of the kept that were not among those kept an epoch before, ``loss`` that of the epoch, in nats. Of
    accuracies, all on validation and in percent, ``searched`` is that under the relaxed mask, ``cut`` that of the same
    weights without those that a ticket of this density leaves out, and ``retrained`` that of the ticket in the end.
    """
    found = [_watched(called, search.options, density, seed) for called, search in SEARCHES.items()]
    return pd.concat(found, ignore_index=True)


def _watched(called: str, options: Mapping[str, float], density: float, seed: int) -> pd.DataFrame:
    protocol = DigitsLeNet(density=density, seed=seed)
    data = datasets.load(protocol.dataset)
    model = models.create(protocol.model, data.classes, data.shape, seed)
    config = concave.Config(density=density, recipe=protocol.recipe, seed=seed, **options)
    trainer = Trainer(model, data, config, {})
    rewind = states.snapshot(model)
    rule = config.rule(trainer, density, masks.ones(model, trainer.names))
    rule.metrics = signs = _Signs(rule, trainer, density)
    with arithmetic.held(protocol):
        epochs = pd.DataFrame(trainer.train(rule).epochs)
        states.load(model, rewind)
        ticket = FixedMask(model, signs.ticket())
        retrained = train(model, data, protocol.recipe, parameterization=ticket, seed=seed).epochs[-1]["val_accuracy"]
    found = epochs.rename(columns={"val_accuracy": "searched"})[["epoch", *SIGNS]]
    return found.assign(search=called, epoch=found.epoch + 1, retrained=retrained)


class _Signs:
    """What is seen of a mask after each epoch, in place of the metrics of its rule."""

    def __init__(self, rule: RelaxedMask, trainer: Trainer, density: float):
        self.rule, self.trainer, self.density, self.before = rule, trainer, density, None

    def __call__(self) -> dict[str, Tensor]:
        m = torch.cat([values.flatten() for values in self.rule.m])
        kept, undecided = m >= ALPHA, (m > masks.LOW) & (m < masks.HIGH)
        new = torch.tensor(torch.nan)
        if self.before is not None:
            new = (kept & ~self.before).sum() / kept.sum().clamp(min=1)
        self.before = kept
        found = {"kept": kept.float().mean(), "undecided": undecided.float().mean(), "turnover": new}
        return found | {"cut": torch.tensor(self._accuracy_of_the_cut())}

    def ticket(self) -> masks.Mask:
        """The density's share of the largest entries, ties by the size of θ."""
        entries, thetas = (dict(zip(self.rule.names, tensors)) for tensors in (self.rule.m, self.rule.theta))
        return masks.top_k(concave.rank(entries, thetas), self.density)

    def _accuracy_of_the_cut(self) -> float:
        masks.apply_(self.trainer.model, self.ticket())
        accuracy = evaluate(self.trainer.model, self.trainer.data.val)["accuracy"]
        self.rule.push_forward()
        return accuracy


def signs(watched: pd.DataFrame) -> pd.DataFrame:
    """How each search of ``watch`` ended, as a table to read."""
    last = watched.groupby("search", sort=False).last()
    columns = {
        "kept, %": (100 * last.kept).map("{:.1f}".format),
        "undecided, %": (100 * last.undecided).map("{:.1f}".format),
        "new among the kept, %": (100 * last.turnover).map("{:.0f}".format),
        "loss": last.loss.map("{:.2g}".format),
        "accuracy, %": last.searched.map("{:.1f}".format),
        "once cut, %": last.cut.map("{:.1f}".format),
        "retrained, %": last.retrained.map("{:.1f}".format),
    }
    return pd.DataFrame(columns, index=last.index).rename_axis(None)


def remedies() -> str:
    """What ails each search that goes wrong, and what helps, as Markdown."""
    wrong = {called: search for called, search in SEARCHES.items() if search.cure}
    return "\n".join(
        f"- **{called.capitalize()}**: {each.ails}. *What helps:* {each.cure}." for called, each in wrong.items()
    )
