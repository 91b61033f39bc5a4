"""Grids of runs: files in ``workflow/grids``, checked and expanded, in order of priority."""

import itertools
import re
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from lottery_lib import paths
from lottery_lib.errors import LotteryError, hint
from lottery_lib.experiments import params, protocols
from lottery_lib.experiments.catalogue import METHODS
from lottery_lib.experiments.ticket_run import TicketRun


def grid(name: str) -> list[list[Any]]:
    """The configs of ``workflow/grids/<name>.yaml`` in order of priority, in groups that share trainings.

    The file names a protocol, or several, fields ``over`` which everything is repeated (seeds), and ``runs``: fields of
    a config, where a list stands for each of its values. The runs of a row, for each combination of ``over`` and each
    protocol, are ``apart`` as far as they can be.
    LotteryError if there is no such grid, or something in it is wrong.
    """
    known = {path.stem: path for path in sorted(paths.GRIDS.glob("*.yaml"))}
    if name not in known:
        raise LotteryError(f"there is no grid {name!r}{hint(name, known)}")
    content = _content(known[name])
    try:
        configs, over, runs = map(protocols.config_class, _named(content)), content["over"], content["runs"]
        if not (isinstance(over, dict) and isinstance(runs, list) and all(isinstance(row, dict) for row in runs)):
            raise LotteryError("over must map fields to values, and runs must list such maps")
        rows = itertools.product(_expanded(over), configs, runs)
        groups = [[_parsed(config, fixed | run) for run in _expanded(row)] for fixed, config, row in rows]
        if not any(groups):
            raise LotteryError("holds no runs; give runs at least one row, and over no empty list")
        return apart(groups)
    except LotteryError as reason:
        raise LotteryError(f"grid {name!r}: {reason}") from reason


@cache
def trainings(config: Any) -> dict[Hashable, float]:
    """The trainings that a run is made of, named by what decides them, with the epochs of each: runs may share some.

    Empty for a run that is not measured in epochs.
    """
    if not isinstance(config, TicketRun):
        return {}
    if config.method == "dense":
        return {("dense", config): config.training.epochs}
    row, search = METHODS[config.method], config.search_config()
    seen, cost = (config.search_images, config.coarse), config.cost_of_search
    own = {f.name: getattr(search, f.name) for f in fields(search) if f.name not in ("density", "rounds", "alpha")}
    settings = (row.module, seen, *own.items())
    if row.retraining == "none":
        return {(settings, config.density): search.recipe.epochs * search.length}
    start = "start", seen, search.recipe, config.seed
    needed = {start: config.rewind_epoch * cost} if config.rewind_epoch else {}
    if row.decided_by:
        searched = (search.recipe.epochs - config.rewind_epoch) * cost
        needed |= {(settings, row.decided_by(search, done)): searched for done in range(len(search.densities))}
    length = config.training.epochs - config.rewind_epoch
    again = row.retraining == "the next round"
    return needed | {(settings, search.densities) if again else ("retraining", config): length}


def apart(groups: Iterable[list[Any]]) -> list[list[Any]]:
    """The same runs in order, in the smallest groups that share no training with others of theirs."""
    found: list[list[Any]] = []
    for group in groups:
        order = {config: place for place, config in enumerate(group)}
        parts: list[tuple[set[Hashable], list[Any]]] = []
        for config in group:
            needed, runs = {*trainings(config)}, [config]
            for part in [part for part in parts if part[0] & needed]:
                parts.remove(part)
                needed, runs = needed | part[0], runs + part[1]
            parts.append((needed, runs))
        found += sorted((sorted(runs, key=order.__getitem__) for _, runs in parts), key=lambda runs: order[runs[0]])
    return found


class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
    """Of a key that stands twice YAML takes the last, and what the first says would be lost unsaid."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key for key, _ in node.value]
        for place, key in enumerate(keys):
            if key.value in [earlier.value for earlier in keys[:place]]:
                line = key.start_mark.line + 1
                raise yaml.YAMLError(f"line {line} gives {key.value!r} again; give it once, as a list of its values")
        return super().construct_mapping(node, deep)


def _content(path: Path) -> dict[str, Any]:
    """What a grid's file holds, with the names of protocols."""
    try:
        content = yaml.load(path.read_text("utf-8"), Loader)
    except (ValueError, RecursionError, yaml.YAMLError) as reason:
        raise LotteryError(f"grid {path.stem!r}: {' '.join(str(reason).split())}") from reason
    if not (isinstance(content, dict) and content.keys() == {"protocol", "over", "runs"}):
        raise LotteryError(f"grid {path.stem!r}: must hold protocol, over and runs, and nothing else")
    if not all(isinstance(name, str) for name in _named(content)):
        raise LotteryError(f"grid {path.stem!r}: protocol must be a name, or a list of names")
    return content


def _named(content: dict[str, Any]) -> list[str]:
    """The protocols of a grid."""
    return content["protocol"] if isinstance(content["protocol"], list) else [content["protocol"]]


def _parsed(config: type, row: dict[str, Any]) -> Any:
    return params.from_pairs(config, [f"{name}={value}" for name, value in row.items()])


def _expanded(row: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """One dict for every combination of the listed values, the last key fastest."""
    values = [value if isinstance(value, list) else [value] for value in row.values()]
    return (dict(zip(row, combination)) for combination in itertools.product(*values))


def groups_of(part: str, groups: list) -> list:
    """Of a grid's groups those from I to N, ``I-N``, counted from 1; LotteryError unless 1 ≤ I ≤ N, some there."""
    found = re.fullmatch(r"(\d{1,9})-(\d{1,9})", part)
    first, last = (int(found[1]), int(found[2])) if found else (0, 0)
    if not 1 <= first <= last:
        raise LotteryError(f"part {part!r}: must be the groups I-N, as in 3-5, with 1 ≤ I ≤ N")
    if first > len(groups):
        raise LotteryError(f"part {part!r}: the last group of this grid is {len(groups)}")
    return groups[first - 1 : last]


def command(protocols: Iterable[str]) -> str:
    """What puts the grids of these protocols on record."""
    grids = {path.stem: _named(_content(path)) for path in paths.GRIDS.glob("*.yaml")}
    made = [f"lottery sweep {grid}" for grid, names in sorted(grids.items()) if {*names} & {*protocols}]
    return " && ".join(made or [f"lottery train {protocol}" for protocol in protocols])
