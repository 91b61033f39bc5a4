"""One run of a ticket protocol: find a ticket by a method, retrain it, and measure it. One flat, typed config a run."""

from dataclasses import asdict, dataclass, fields, replace
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import nn

from . import data, masks, methods, models, paths, speed
from .errors import LotteryError
from .methods import concave, continuous, controls, gradual, magnitude, saliency
from .params import hint
from .recipes import PRECISIONS, Recipe
from .tickets import Ticket
from .training import evaluate, train

Method = Literal[
    "dense", "concave", "one-shot", "imp", "lr-rewinding", "gradual", "continuous",
    "snip", "grasp", "synflow", "random", "shuffled", "reinitialised",
]  # fmt: skip
DERIVED = ("shuffled", "reinitialised")  # controls made from a concave ticket
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@dataclass(frozen=True)
class TicketRun:
    """A run; a protocol subclasses it. LotteryError if a value is out of its range.

    λ, η_m and the start of Continuous Sparsification are chosen on validation data for each density
    (``analysis.best``).
    """

    protocol: ClassVar[str]
    version: ClassVar[int]  # raised when the same fields would give other numbers
    reduced: ClassVar[bool]  # smaller than the full protocol of this data set and network
    dataset: ClassVar[str]
    model: ClassVar[str]
    recipe: ClassVar[Recipe]
    ladder: ClassVar[tuple[float, ...]]  # densities after each round of iterative magnitude pruning

    method: Method = "concave"
    density: float = 0.05  # share of the weights to keep, in (0, 1]; 1 for dense
    seed: int = 0  # of initial weights, batches, and all that is drawn
    regularizer: str = "log"  # of the concave mask
    eps: float | None = None  # its shape parameter; none: its default
    lam: float = 1e-4  # λ of the concave mask, or of Continuous Sparsification
    mask_lr: float = 10.0  # η_m, likewise
    start: float = 0.0  # s₀ of Continuous Sparsification
    alpha: float | None = None  # keep m ≥ α instead of the density's share
    score: Literal["magnitude", "increase"] = "magnitude"  # of one-shot pruning
    rounds: int = 1  # of the concave mask and Continuous Sparsification
    rewind_epoch: int = 0
    per_layer: bool = False  # the same density in every layer
    precision: Literal["fp32", "bf16", "auto"] = "fp32"  # auto: bf16 where the machine computes in it
    fast: bool = True  # False: in fp32 as written, uncompiled, to compare with

    def __post_init__(self):
        if self.method not in _SEARCH:
            raise LotteryError(f"unknown method {self.method!r}{hint(self.method, _SEARCH)}")
        if (self.method == "dense") != (self.density == 1):
            raise LotteryError(f"density = {self.density!r}: must be 1 for the dense network and below 1 for a ticket")
        if self.rounds < 1 or self.seed < 0:
            raise LotteryError(f"rounds = {self.rounds}, seed = {self.seed}: must be ≥ 1 and ≥ 0")
        if self.rounds > 1 and self.method not in ("concave", "continuous", *DERIVED):
            raise LotteryError(f"rounds = {self.rounds}: only concave, its controls and continuous take them")
        if self.method in ("imp", "lr-rewinding") and self.density not in self.ladder:
            raise LotteryError(f"density = {self.density!r}: {self.method} reaches {', '.join(map(str, self.ladder))}")
        if self.precision not in (known := (*PRECISIONS, "auto")):
            raise LotteryError(f"unknown precision {self.precision!r}{hint(self.precision, known)}")
        self.search_config()  # checks the rest

    @property
    def training(self) -> Recipe:
        """The protocol's recipe as this run takes it, on this machine."""
        chosen = speed.precision(self.precision, DEVICE) if self.fast else "fp32"
        return replace(self.recipe, precision=chosen, fast=self.fast)

    def search_config(self) -> methods.SearchConfig:
        """The config of the method that searches; for a derived control that of the ticket it is made from."""
        module = _SEARCH[self.method]
        given = asdict(self) | {"recipe": self.training}
        given |= {"shape": self.eps, "criterion": self.method, "rewind_weights": self.method != "lr-rewinding"}
        given["rounds"] = self.round_densities if self.rounds_taken > 1 else ()
        return module.Config(**{f.name: given[f.name] for f in fields(module.Config) if f.name in given})

    @property
    def round_densities(self) -> tuple[float, ...]:
        """After each round of search, the ladder's where magnitude pruning takes as many, else of equal ratio."""
        ladder = tuple(density for density in self.ladder if density >= self.density)
        if self.method in ("imp", "lr-rewinding") or (self.rounds == len(ladder) and self.density in ladder):
            return ladder
        return methods.geometric(self.density, self.rounds)

    @property
    def rounds_taken(self) -> int:
        return len(self.round_densities)


class LeNet(TicketRun):
    """LeNet-300-100 on MNIST, every method, on a CPU: SGD 0.1, momentum 0.9, batch 128, linear decay."""

    protocol = "lenet"
    version = 1
    reduced = False
    dataset = "mnist"
    model = "lenet-300-100"
    recipe = Recipe(epochs=10)
    ladder = (
        0.8, 0.64, 0.512, 0.4, 0.32, 0.256, 0.2, 0.16, 0.128, 0.1, 0.08, 0.064, 0.05,
        0.04, 0.032, 0.0256, 0.02, 0.016, 0.0128, 0.01, 0.008, 0.0064, 0.005,
    )  # fmt: skip


class LeNetHalf(LeNet):
    """The same at half the epochs a training: what does IMP, whose price is its epochs, lose or gain by that?"""

    protocol = "lenet-half"
    version = 1
    recipe = Recipe(epochs=5)


@dataclass(frozen=True, kw_only=True)
class Cifar(TicketRun):
    """ResNet-20 on CIFAR-10 as published: 160 epochs, rate ÷ 10 at 80 and 120 (He et al. 2016). For a GPU."""

    protocol = "cifar"
    version = 1
    reduced = False
    dataset = "cifar10"
    recipe = Recipe(epochs=160, weight_decay=1e-4, schedule="step")
    ladder = LeNet.ladder

    precision: Literal["fp32", "bf16", "auto"] = "auto"
    model: Literal["resnet20", "conv-small"] = "resnet20"


@dataclass(frozen=True, kw_only=True)
class CifarShort(Cifar):
    """The same at a sixteenth of the epochs, for a CPU: all images at full resolution, one-cycle, IMP in four rounds.

    Peak rate and batch were chosen on validation by the dense network, in three epochs each (cifar-short-rate.yaml).
    """

    protocol = "cifar-short"
    version = 1
    reduced = True
    recipe = Recipe(epochs=10, batch_size=64, lr=0.2, weight_decay=1e-4, schedule="one-cycle")
    ladder = (0.45, 0.2, 0.1, 0.05, 0.02, 0.01)

    epochs: int | None = None  # this and the next two: none, as the recipe has it
    lr: float | None = None
    batch_size: int | None = None

    @property
    def training(self) -> Recipe:
        given = {name: getattr(self, name) for name in ("epochs", "lr", "batch_size")}
        return replace(super().training, **{name: value for name, value in given.items() if value is not None})


class DigitsLeNet(TicketRun):
    """The same network on scikit-learn's embedded 8×8 digits: any method, live, in seconds."""

    protocol = "digits"
    version = 1
    reduced = True
    dataset = "digits"
    model = "lenet-300-100"
    recipe = Recipe(epochs=20, batch_size=64)
    ladder = (0.8, 0.64, 0.512, 0.4, 0.32, 0.256, 0.2, 0.16, 0.128, 0.1, 0.08, 0.064, 0.05)


PROTOCOLS = (LeNet, LeNetHalf, Cifar, CifarShort, DigitsLeNet)

_SEARCH = {
    "dense": controls, "concave": concave, "one-shot": magnitude, "imp": magnitude, "lr-rewinding": magnitude,
    "gradual": gradual, "continuous": continuous, "snip": saliency, "grasp": saliency, "synflow": saliency,
    "random": controls, "shuffled": concave, "reinitialised": concave,
}  # fmt: skip


def run(config: TicketRun, progress: bool = False) -> tuple[dict, dict[str, np.ndarray]]:
    """Find the ticket, retrain it and measure it; the test split is read once, after the last epoch.

    Returns the record and the arrays beside it: ``histogram`` (layers, bins) of the relaxed mask where there is one,
    and, for seed 0, the ticket's ``mask`` packed to a bit a weight.
    """
    images = data.load(config.dataset, DEVICE)
    created = {"name": config.model, "num_classes": images.classes, "in_shape": images.shape}
    layout = torch.channels_last if config.fast else torch.contiguous_format
    model = models.create(**created, seed=config.seed).to(DEVICE, memory_format=layout)
    options = {"work": paths.WORK, "progress": progress}
    recipe = config.training
    if config.method == "dense":
        history, ticket = train(model, images, recipe, seed=config.seed, **options), None
    else:
        ticket = find(config, model, images, options)
        history = methods.retrain(model, images, ticket, recipe, seed=config.seed, start=config.rewind_epoch, **options)
    final = history.epochs[-1] if history.epochs else _validated(model, images)
    search_epochs = ticket.search_epochs if ticket else 0
    record = {
        "config": asdict(config),
        "reduced": config.reduced,
        "dataset": config.dataset,
        "images": images.sizes,
        "model": config.model,
        "recipe": asdict(recipe),
        "rounds": config.rounds_taken if ticket else 0,
        "density": ticket.density if ticket else 1.0,
        "search_epochs": search_epochs,
        "total_epochs": search_epochs + len(history.epochs),
        "val_accuracy": final["val_accuracy"],
        "test_accuracy": evaluate(model, images.test)["accuracy"],
        "seconds": history.seconds + (ticket.info.get("seconds", 0.0) if ticket else 0.0),
        "history": history.epochs,
    }
    return (record, {}) if ticket is None else (record | _described(ticket), _arrays(ticket, config.seed))


def find(config: TicketRun, model: nn.Module, images: data.Data, options: dict[str, Any]) -> Ticket:
    """The ticket of a run; ``model`` is left rewound and pruned."""
    ticket = _SEARCH[config.method].search(model, images, config.search_config(), **options)
    if config.method == "shuffled":
        ticket = controls.shuffled(ticket, config.seed)
    if config.method == "reinitialised":
        ticket = controls.reinitialised(ticket, model, config.seed)
    return ticket


def _validated(model: nn.Module, images: data.Data) -> dict[str, float]:
    return {f"val_{key}": value for key, value in evaluate(model, images.val).items()}


def _described(ticket: Ticket) -> dict:
    layers = masks.per_layer(ticket.mask)
    described = {
        "layers": layers.assign(shape=layers["shape"].map(list)).to_dict("records"),
        "mask_sha256": masks.digest(ticket.mask),
    }
    if ticket.relaxed:
        described["bimodality"] = masks.bimodality(ticket.relaxed)
    return described


def _arrays(ticket: Ticket, seed: int) -> dict[str, np.ndarray]:
    arrays = {}
    if ticket.relaxed:
        arrays["histogram"] = np.stack(list(masks.histogram(ticket.relaxed).values()))
    if seed == 0:
        arrays["mask"] = masks.pack(ticket.mask)
    return arrays
