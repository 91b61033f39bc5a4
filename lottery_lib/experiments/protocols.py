"""The protocols: a typed config names a run, ``train`` puts it on record. Finished runs are never repeated.

A package that brings protocols of its own (``catalogue.load_plugins``) calls ``register``.
"""

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from lottery_lib import files, paths
from lottery_lib.errors import LotteryError, hint
from lottery_lib.experiments import (
    ablation,
    arithmetic,
    early_bird,
    logistic,
    pairs,
    planted,
    planted_networks,
    records,
    strangers,
    ticket_run,
)
from lottery_lib.experiments.catalogue import load_plugins
from lottery_lib.experiments.lenet import DigitsLeNet, LeNet, LeNetHalf
from lottery_lib.training import distributed

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


def remade(record: dict) -> Any | None:
    """The config of a record; None where its protocol or method is of a package that is not here."""
    try:
        return config_class(record["protocol"])(**record["config"])
    except (LotteryError, TypeError):
        return None


def train(config: Any, progress: bool = False) -> Path:
    """The folder of this run's record; it is made first unless it is there.

    LotteryError if it is damaged, or lacks a file. Where the protocol holds its runs to other ``arithmetic`` than this
    process computes with, another one makes it.
    """
    if records.folder(config).exists():
        records.read_folder(records.folder(config))  # whole, as its maker left it
        return records.folder(config)
    if variables := arithmetic.needed(config):
        if distributed.world() > 1:  # each of these would start a process that waits for others to join it
            given = " ".join(f"{name}={value}" for name, value in variables.items())
            raise LotteryError(f"{config.protocol} computes with {config.vectors}; start with: {given} torchrun …")
        arithmetic.lottery(shlex.split(records.command(config))[1:], variables)
        return records.folder(config)
    files.require_writable(paths.RESULTS)
    with arithmetic.held(config):
        found = PROTOCOLS[config.protocol][1](config, progress)
        if distributed.first():
            records.write(config, *found)
        distributed.barrier()
    return records.folder(config)


register(logistic.LogisticConfig, logistic.run)
register(planted.Planted, planted.run)
register(planted_networks.PlantedNetworks, planted_networks.run)
register(ablation.Ablation, ablation.run)
register(early_bird.EarlyBird, early_bird.run)
for each in (strangers.Stranger, strangers.CifarStranger):
    register(each, strangers.run)
for each in (LeNet, LeNetHalf, *pairs.ALL, DigitsLeNet):
    register(each)
