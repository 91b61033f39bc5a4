"""Protocols of networks on images in colour: CIFAR and Tiny ImageNet, at full size for a GPU, and ``-short`` for a CPU.

A short protocol takes all training images that are at hand (a record counts them) at full resolution, a sixteenth of
the epochs (a tenth on Tiny ImageNet), and all networks but those of ``cifar-short`` at a part of their width. Its peak
rate is chosen on validation by the dense network in three epochs (``workflow/grids/*-rate.yaml``). ``cifar-30`` is
``cifar-short`` with 30 epochs; ``linear-…`` a classifier without hidden layers, one a data set.
"""

from dataclasses import dataclass, replace
from typing import Annotated, Literal

from lottery_lib.experiments.ticket_run import FIFTHS, TicketRun
from lottery_lib.training.recipes import Recipe


@dataclass(frozen=True, kw_only=True)
class Adjustable(TicketRun):
    """A run in the precision that its machine is fast in; its recipe may be overridden, and then decides no claim."""

    ladder = FIFTHS
    threads = 1  # whatever else the cores do, so that all runs of a protocol compare

    precision: Annotated[Literal["fp32", "bf16", "auto"], "auto: bf16 where the machine computes in it"] = "auto"
    epochs: Annotated[int | None, "of a training; none: the recipe's"] = None
    lr: Annotated[float | None, "peak learning rate; none: the recipe's"] = None
    batch_size: Annotated[int | None, "none: the recipe's"] = None

    @property
    def training(self) -> Recipe:
        given = {name: getattr(self, name) for name in ("epochs", "lr", "batch_size")}
        return replace(super().training, **{name: value for name, value in given.items() if value is not None})


@dataclass(frozen=True, kw_only=True)
class Cifar(Adjustable):
    """ResNet-20 on CIFAR-10 as published: 160 epochs, rate ÷ 10 at 80 and 120 (He et al. 2016). For a GPU."""

    protocol = "cifar"
    version = 1
    reduced = False
    dataset = "cifar10"
    recipe = Recipe(epochs=160, weight_decay=1e-4, schedule="step")

    model: Annotated[Literal["resnet20", "conv-small"], "the network"] = "resnet20"


class CifarShort(Cifar):
    """The same at a sixteenth of the epochs, one-cycle, IMP in four rounds. For a CPU."""

    protocol = "cifar-short"
    reduced = True
    recipe = Recipe(epochs=10, batch_size=64, lr=0.2, weight_decay=1e-4, schedule="one-cycle")
    ladder = (0.45, 0.2, 0.1, 0.05, 0.02, 0.01)


class CifarThirty(CifarShort):
    """Thrice those epochs: does what ten of them show come of training too little?"""

    protocol = "cifar-30"
    recipe = replace(CifarShort.recipe, epochs=30)


PAIRS = (  # network, data set, weight decay, width and peak rate of the short protocol; in order of priority
    ("vgg16", "cifar10", 1e-4, 0.25, 0.05),
    ("resnet18", "cifar100", 5e-4, 0.25, 0.2),
    ("resnet18", "tiny-imagenet", 5e-4, 0.25, 0.4),
    ("wrn-28-2", "cifar10", 5e-4, 0.5, 0.2),
    ("vgg19", "cifar100", 5e-4, 0.25, 0.05),
)
TINY = {"epochs": 100, "batch_size": 256, "lr": 0.2}  # in the full protocol of Tiny ImageNet, twice as many images


def _protocols(network: str, dataset: str, weight_decay: float, width: float, rate: float) -> tuple[type, type]:
    """The full protocol of a pair, with the recipe of ``Cifar``, and the short one, with that of ``CifarShort``."""
    full = replace(Cifar.recipe, weight_decay=weight_decay, **(TINY if dataset == "tiny-imagenet" else {}))
    short = replace(CifarShort.recipe, weight_decay=weight_decay, lr=rate)
    name, shared = f"{network}-{dataset}", {"version": 1, "dataset": dataset, "model": network}
    in_short = {"reduced": True, "recipe": short, "ladder": CifarShort.ladder, "width": width}
    return (
        type(name, (Adjustable,), {**shared, "protocol": name, "reduced": False, "recipe": full}),
        type(f"{name}-short", (Adjustable,), {**shared, "protocol": f"{name}-short", **in_short}),
    )


@dataclass(frozen=True, kw_only=True)
class Linear(Adjustable):
    """A linear classifier on the pixels: the least that a network on the same images must be worth."""

    version = 1
    reduced = True
    model = "logistic"

    method: Annotated[Literal["dense"], "its one layer is the classifier, which no mask covers"] = "dense"
    density: Annotated[float, "1: nothing is pruned"] = 1.0


def _linear(dataset: str, rate: float) -> type:
    name, recipe = f"linear-{dataset}", replace(CifarShort.recipe, lr=rate)
    return type(name, (Linear,), {"protocol": name, "dataset": dataset, "recipe": recipe})


OF_PAIRS = tuple(protocol for pair in PAIRS for protocol in _protocols(*pair))
LINEAR = tuple(_linear(*found) for found in (("cifar10", 0.003), ("cifar100", 0.01), ("tiny-imagenet", 0.003)))
ALL = (Cifar, CifarShort, CifarThirty, *OF_PAIRS, *LINEAR)
