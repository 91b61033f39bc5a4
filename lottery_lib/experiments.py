"""The protocols: a typed config names a run, ``train`` puts it on record. Finished runs are never repeated."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from . import logistic, params, paths, records, ticket_runs
from .errors import LotteryError
from .params import hint

PROTOCOLS = {
    logistic.LogisticConfig.protocol: (logistic.LogisticConfig, logistic.run),
    ticket_runs.LeNet.protocol: (ticket_runs.LeNet, ticket_runs.run),
    ticket_runs.DigitsLeNet.protocol: (ticket_runs.DigitsLeNet, ticket_runs.run),
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
        records.write(config, *run(config, progress))
    return records.folder(config)


def grid(name: str) -> list[list[Any]]:
    """The configs of ``workflow/grids/<name>.yaml`` in order of priority, in groups that share trainings.

    The file names a protocol, fields ``over`` which everything is repeated (seeds), and ``runs``: fields of a config,
    where a list stands for each of its values. A row, once for each combination of ``over``, is a group.
    LotteryError if there is no such grid, or something in it is wrong.
    """
    known = {path.stem: path for path in sorted(paths.GRIDS.glob("*.yaml"))}
    if name not in known:
        raise LotteryError(f"there is no grid {name!r}{hint(name, known)}")
    try:
        content = yaml.safe_load(known[name].read_text("utf-8"))
        if not (isinstance(content, dict) and content.keys() == {"protocol", "over", "runs"}):
            raise LotteryError("must hold protocol, over and runs, and nothing else")
        config = config_class(content["protocol"])
        rows = [(fixed, runs) for fixed in _expanded(content["over"]) for runs in content["runs"]]
        return [[_parsed(config, fixed | row) for row in _expanded(runs)] for fixed, runs in rows]
    except (LotteryError, yaml.YAMLError) as reason:
        raise LotteryError(f"grid {name!r}: {' '.join(str(reason).split())}") from reason


def _parsed(config: type, row: dict[str, Any]) -> Any:
    return params.from_pairs(config, [f"{name}={value}" for name, value in row.items()])


def _expanded(row: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """One dict for every combination of the listed values, the last key fastest."""
    values = [value if isinstance(value, list) else [value] for value in row.values()]
    return (dict(zip(row, combination)) for combination in itertools.product(*values))


def part(text: str) -> tuple[int, int]:
    """Of ``I/N``, the position from 0 and the number of processes; LotteryError unless 1 ≤ I ≤ N."""
    index, _, count = text.partition("/")
    if not (index.isdecimal() and count.isdecimal() and 1 <= int(index) <= int(count)):
        raise LotteryError(f"part {text!r}: must be I/N with 1 ≤ I ≤ N, as in 1/2")
    return int(index) - 1, int(count)


COLUMNS = [
    "run", "protocol", "reduced", "dataset", "model", "method", "regularizer", "eps", "lam", "mask_lr", "alpha",
    "density_asked", "density", "seed", "rewind_epoch", "rounds", "search_epochs", "total_epochs", "val_accuracy",
    "test_accuracy", "seconds", "precision", "score", "start", "per_layer", "bimodality", "device", "torch_version",
    "commit",
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
        rows.append(config | record | facts | {"device": made["device"], "commit": made["commit"]})
    found = pd.DataFrame(rows, columns=COLUMNS)
    for column, among in APPLIES.items():
        found.loc[~found.method.isin(among), column] = None
    return found.sort_values(["protocol", "method", "regularizer", "density_asked", "seed", "run"], ignore_index=True)
