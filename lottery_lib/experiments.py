"""The protocols: a typed config names a run, ``train`` puts it on record. Finished runs are never repeated."""

from pathlib import Path
from typing import Any

import pandas as pd

from . import distributed, logistic, records, ticket_runs
from .errors import LotteryError
from .params import hint

PROTOCOLS = {
    logistic.LogisticConfig.protocol: (logistic.LogisticConfig, logistic.run),
    **{config.protocol: (config, ticket_runs.run) for config in ticket_runs.PROTOCOLS},
}


def config_class(protocol: str) -> type:
    """The config dataclass of a protocol; LotteryError if there is none of that name."""
    if protocol not in PROTOCOLS:
        raise LotteryError(f"unknown protocol {protocol!r}{hint(protocol, PROTOCOLS)}")
    return PROTOCOLS[protocol][0]


def train(config: Any, progress: bool = False) -> Path:
    """The folder of this run's record; it is made first unless it is there."""
    if not records.exists(config):
        run = PROTOCOLS[config.protocol][1]
        found = run(config, progress)
        if distributed.first():
            records.write(config, *found)
        distributed.barrier()
    return records.folder(config)


COLUMNS = [
    "run", "protocol", "reduced", "dataset", "model", "method", "regularizer", "eps", "lam", "mask_lr", "alpha",
    "density_asked", "density", "seed", "rewind_epoch", "rounds", "search_epochs", "total_epochs", "val_accuracy",
    "test_accuracy", "seconds", "precision", "score", "start", "per_layer", "bimodality", "device", "torch_version",
    "commit", "fast", "epochs", "lr", "batch_size",
]  # fmt: skip
CONCAVE = ("concave", *ticket_runs.DERIVED)
APPLIES = {  # column -> the methods that read this field; it is left empty for all others
    **dict.fromkeys(("regularizer", "eps", "alpha"), CONCAVE),
    **dict.fromkeys(("lam", "mask_lr"), (*CONCAVE, "continuous")),
    "start": ("continuous",),
    "score": ("one-shot", "imp", "lr-rewinding"),
}


def table() -> pd.DataFrame:
    """One row for each ticket run on record, with ``COLUMNS``. Densities are fractions, accuracies percent."""
    rows = []
    for record in records.read_all():
        if "method" not in record["config"]:
            continue
        made, config = record["provenance"], dict(record["config"])
        facts = {"density_asked": config.pop("density"), "torch_version": made["torch"]}
        facts["precision"] = record["recipe"]["precision"]
        rows.append(config | record | facts | {"device": made["device"], "commit": made["commit"]})
    found = pd.DataFrame(rows, columns=COLUMNS)
    for column, among in APPLIES.items():
        found.loc[~found.method.isin(among), column] = None
    return found.sort_values(["protocol", "method", "regularizer", "density_asked", "seed", "run"], ignore_index=True)
