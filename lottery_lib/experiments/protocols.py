"""The protocols: a typed config names a run, ``train`` puts it on record. Finished runs are never repeated.

A package that brings protocols of its own (``catalogue.load_plugins``) calls ``register``.
"""

import shlex
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np

from lottery_lib.errors import LotteryError, hint
from lottery_lib.experiments import arithmetic, logistic, records, ticket_run
from lottery_lib.experiments.catalogue import load_plugins
from lottery_lib.experiments.ticket_run import TicketRun
from lottery_lib.training import distributed
from lottery_lib.training.recipes import Recipe

Run = Callable[[Any, bool], tuple[dict, dict[str, np.ndarray]]]  # of (config, progress): a record, and its arrays
PROTOCOLS: dict[str, tuple[type, Run]] = {}  # name -> its config class, and what makes a run


def register(config_class: type, run: Run = ticket_run.run) -> type:
    """Make a protocol known by the name that its config class bears, and return that class.

    Raises:
        LotteryError: another protocol has the name.
    """
    name = config_class.protocol
    if PROTOCOLS.get(name, (config_class,))[0] is not config_class:
        raise LotteryError(f"there is a protocol {name!r} already; give this one another name")
    PROTOCOLS[name] = config_class, run
    return config_class


def config_class(protocol: str) -> type:
    """The config dataclass of a protocol; LotteryError if there is none of that name."""
    if protocol not in PROTOCOLS:
        load_plugins()
    if protocol not in PROTOCOLS:
        raise LotteryError(f"unknown protocol {protocol!r}{hint(protocol, PROTOCOLS)}")
    return PROTOCOLS[protocol][0]


def train(config: Any, progress: bool = False) -> Path:
    """The folder of this run's record; it is made first unless it is there.

    LotteryError if it is damaged. Where the protocol holds its runs to other ``arithmetic`` than this process computes
    with, another one makes it.
    """
    if records.exists(config):
        records.read(config)  # whole, as its maker left it
        return records.folder(config)
    if variables := arithmetic.needed(config):
        arithmetic.lottery(shlex.split(records.command(config))[1:], variables)
        return records.folder(config)
    with arithmetic.held(config):
        found = PROTOCOLS[config.protocol][1](config, progress)
        if distributed.first():
            records.write(config, *found)
        distributed.barrier()
    return records.folder(config)


class LeNet(TicketRun):
    """LeNet-300-100 on MNIST, every method, on a CPU: SGD 0.1, momentum 0.9, batch 128, linear decay."""

    protocol = "lenet"
    version = 1
    vectors = "AVX2"
    threads = 1
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

    precision: Annotated[Literal["fp32", "bf16", "auto"], "auto: bf16 where the machine computes in it"] = "auto"
    model: Annotated[Literal["resnet20", "conv-small"], "the network"] = "resnet20"


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

    epochs: Annotated[int | None, "of a training; none: the recipe's"] = None
    lr: Annotated[float | None, "peak learning rate; none: the recipe's"] = None
    batch_size: Annotated[int | None, "none: the recipe's"] = None

    @property
    def training(self) -> Recipe:
        given = {name: getattr(self, name) for name in ("epochs", "lr", "batch_size")}
        return replace(super().training, **{name: value for name, value in given.items() if value is not None})


class DigitsLeNet(TicketRun):
    """The same network on scikit-learn's embedded 8×8 digits: any method, live, in seconds."""

    protocol = "digits"
    version = 1
    threads = 1  # on so few numbers they would only wait for each other, and for whatever else the cores do
    reduced = True
    dataset = "digits"
    model = "lenet-300-100"
    recipe = Recipe(epochs=20, batch_size=64)
    ladder = (0.8, 0.64, 0.512, 0.4, 0.32, 0.256, 0.2, 0.16, 0.128, 0.1, 0.08, 0.064, 0.05)


register(logistic.LogisticConfig, logistic.run)
for each in (LeNet, LeNetHalf, Cifar, CifarShort, DigitsLeNet):
    register(each)
