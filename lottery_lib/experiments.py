"""The protocols: a typed config names a run, ``train`` puts it on record. Finished runs are never repeated."""

from pathlib import Path
from typing import Any

from . import logistic, records
from .errors import LotteryError
from .params import hint

PROTOCOLS = {logistic.LogisticConfig.protocol: (logistic.LogisticConfig, logistic.run)}


def config_class(protocol: str) -> type:
    """The config dataclass of a protocol; LotteryError if there is none of that name."""
    if protocol not in PROTOCOLS:
        raise LotteryError(f"unknown protocol {protocol!r}{hint(protocol, PROTOCOLS)}")
    return PROTOCOLS[protocol][0]


def train(config: Any, progress: bool = False) -> Path:
    """The folder of this run's record; it is made first unless it is there."""
    if not records.exists(config):
        run = PROTOCOLS[config.protocol][1]
        records.write(config, *run(config, progress))
    return records.folder(config)
