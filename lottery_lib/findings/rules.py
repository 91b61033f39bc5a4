"""What ``book/claims.yml`` lays down of each claim, and what cells come to by it.

A claim names its *primary cells*: contrasts at places and densities. They alone decide it, for each data set apart.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import lru_cache
from typing import Any, Literal

import pandas as pd
import yaml

from lottery_lib import models, paths
from lottery_lib.errors import LotteryError, hint
from lottery_lib.experiments import params, protocols
from lottery_lib.experiments.grids import Loader
from lottery_lib.findings import cells as measured
from lottery_lib.findings import tables
from lottery_lib.findings.cells import BETTER, DEARER, EQUAL, JUDGED, KEY, WORSE, Contrasts
from lottery_lib.findings.tables import PLACE

FEWEST = 2  # cells that must be decided: one alone may be luck
ROW = {  # of a claim that has a rule
    "asks": str, "contrasts": dict, "beside": dict, "conditions": dict, "epochs": float,
    "primary": [{"protocol": str, "model": str, "densities": [float]}],
}  # fmt: skip
KEYS = {"id", "claim", "short", "chapter", "networks", *ROW}
HOLDS, MIXED, FAILS, UNDECIDED = "holds", "mixed", "does not hold", "not enough evidence"


@dataclass(frozen=True)
class Rule:
    """What decides a claim; see the head of ``book/claims.yml`` for what its fields mean there."""

    asks: Literal["better", "not worse"]
    contrasts: Contrasts
    primary: tuple[Mapping[str, Any], ...]
    conditions: Mapping[str, list[str]] = field(default_factory=dict)  # text -> the contrasts that it leaves
    epochs: float = 1.0  # the first line's, at most so many times those of the second
    beside: Contrasts = field(default_factory=dict)

    def cells(self) -> pd.DataFrame:
        """The primary cells: the columns of ``KEY``."""
        rows = []
        for entry in self.primary:
            protocol = protocols.config_class(entry["protocol"])
            place = (entry["protocol"], entry["model"], protocol.dataset, protocol.reduced)
            of = entry.get("contrasts", list(self.contrasts))
            rows += [(*place, density, contrast) for contrast in of for density in entry["densities"]]
        return pd.DataFrame(rows, columns=KEY)


def read() -> dict[str, dict]:
    """The claims as they are written, by their ids, in order; LotteryError if that is no list of claims."""
    try:
        return _claims(paths.CLAIMS.read_text("utf-8"))
    except (ValueError, RecursionError, yaml.YAMLError, LotteryError) as reason:
        raise LotteryError(f"{paths.CLAIMS}: {' '.join(str(reason).split())}") from reason


@lru_cache(1)
def _claims(text: str) -> dict[str, dict]:
    """As ``read`` gives them, from what the file says: every rule is read from it anew."""
    found: dict[str, dict] = {}
    rows = yaml.load(text, Loader)
    for row in rows if isinstance(rows, list) else [None]:
        if not (isinstance(row, dict) and all(isinstance(row.get(key), str) for key in ("id", "claim"))):
            raise LotteryError("must be a list of claims, each with its id and its claim")
        if unknown := [key for key in row if key not in KEYS]:
            raise LotteryError(f"{row['id']}: unknown key {unknown[0]!r}{hint(str(unknown[0]), KEYS)}")
        if row["id"] in found:
            raise LotteryError(f"there are two claims {row['id']}; give each an id of its own")
        found[row["id"]] = row
    return found


def rule(id: str) -> Rule:
    """The rule of a claim that has one; LotteryError if it is not written as the head of the file says."""
    row = read().get(id, {})
    if missing := {"asks", "contrasts", "primary"} - row.keys():
        raise LotteryError(f"{paths.CLAIMS}: {id} has no {min(missing)}")
    row = {"conditions": {}, "beside": {}, "epochs": 1.0} | row
    pairs = [*_values(row["contrasts"]), *_values(row["beside"])]
    misfit = params.misfit(row, ROW) or params.misfit([*pairs, *_values(row["conditions"])], [[str]], "list of names")
    if misfit or {*map(len, pairs)} - {2}:
        raise LotteryError(f"{paths.CLAIMS}: {id}: {misfit or 'a contrast must be of two lines'}")
    contrasts, beside = ({how: tuple(lines) for how, lines in row[key].items()} for key in ("contrasts", "beside"))
    found = Rule(row["asks"], contrasts, tuple(row["primary"]), row["conditions"], row["epochs"], beside)
    if wrong := _wrong(found):
        raise LotteryError(f"{paths.CLAIMS}: {id}: {wrong}")
    return found


def all_rules() -> list[Rule]:
    """Those of all claims that have one."""
    return [rule(id) for id, row in read().items() if "primary" in row]


def _values(part: Any) -> list:
    return [*part.values()] if isinstance(part, dict) else []


def _wrong(rule: Rule) -> str | None:
    """What a rule says that nobody could have meant, as it would decide a claim without a word."""
    if rule.asks not in ("better", "not worse"):
        return f"asks: {rule.asks}; it must be better, or not worse"
    for entry in rule.primary:
        if not isinstance(entry.get("contrasts", []), list):
            return f"contrasts: {entry['contrasts']!r}; of a cell they must be a list of names"
    for how in [how for entry in rule.primary for how in entry.get("contrasts", ())] + sum(
        rule.conditions.values(), []
    ):
        if how not in rule.contrasts:
            return f"unknown contrast {how!r}{hint(how, rule.contrasts)}"
    for line in {line for pair in {**rule.contrasts, **rule.beside}.values() for line in pair}:
        if tables.rank(line)[0] == len(tables.names()) and not line.startswith("α "):  # of relaxed_masks.by_alpha
            return f"unknown line {line!r}{hint(line, tables.names())}"
    for entry in rule.primary:
        if entry["model"] not in models.NAMES:
            return f"unknown model {entry['model']!r}{hint(entry['model'], models.NAMES)}"
        config = protocols.config_class(entry["protocol"])
        if "model" not in (each.name for each in fields(config)) and entry["model"] != config.model:
            return f"{entry['protocol']} is a protocol of {config.model}, not of {entry['model']}"
    cells = rule.cells()
    for cell in cells[cells.duplicated()].itertuples():
        return f"{cell.contrast} of {cell.model} under {cell.protocol} at {cell.density_asked:g} is there twice"
    return None


def judged(rule: Rule, runs: pd.DataFrame) -> pd.DataFrame:
    """The primary cells as ``cells`` gives them, with those that are not on record, and what they say of the claim:
    ``good``, ``bad``, or neither, which is undecided. A ``doubtful`` cell cannot speak for it."""
    better = rule.asks == "better"
    found = measured.cells(runs, rule.contrasts, rule.epochs, rule.cells(), stepwise=better)
    dear = (found.judgement == DEARER) & (rule.epochs < 1)  # of a claim about cost
    if better:
        good = (found.judgement == BETTER) & ~found.doubtful
        return found.assign(good=good, bad=found.judgement.isin([WORSE, EQUAL]) | dear)
    # Where a random mask is on average not worse either, nothing is tested.
    told = found.judgement.isin(JUDGED) & (found.random < -found.margin)
    good, bad = told & (found.low > -found.margin), told & (found.high < -found.margin)
    return found.assign(good=good & ~found.doubtful, bad=bad | dear)


def beside(rule: Rule, runs: pd.DataFrame) -> pd.DataFrame:
    """What else is on record of the claim's contrasts, and of those beside it; it decides nothing."""
    found = measured.cells(runs, {**rule.contrasts, **rule.beside}, share=rule.epochs)
    known = pd.MultiIndex.from_frame(rule.cells()[KEY])
    return found[~pd.MultiIndex.from_frame(found[KEY]).isin(known)].reset_index(drop=True)


def only_beside(rule: Rule, runs: pd.DataFrame) -> pd.DataFrame:
    """``beside`` without what decides another claim, and has another interval there, for what it is judged with."""
    found = beside(rule, runs)
    known = [_of_lines(each.cells(), each.contrasts) for each in all_rules()]
    decides = _of_lines(found, {**rule.contrasts, **rule.beside}).isin(known[0].append(known[1:]))
    return found[~decides]


def _of_lines(cells: pd.DataFrame, contrasts: Contrasts) -> pd.MultiIndex:
    """Place, density and the two lines of each cell, as claims have contrasts of one name that are not the same."""
    lines = [contrasts[contrast] for contrast in cells.contrast]
    return pd.MultiIndex.from_frame(cells[KEY].assign(contrast=lines))


def shown(rule: Rule, runs: pd.DataFrame) -> pd.DataFrame:
    """The primary cells, and after them what stands ``beside``; the column ``decides`` tells them apart."""
    primary, others = judged(rule, runs), beside(rule, runs)
    others = others.assign(good=False, bad=False)
    return pd.concat([primary.assign(decides=True), others.assign(decides=False)], ignore_index=True)


def enough(marked: pd.Series) -> bool:
    """Whether so many cells are marked that these may speak for all: half, and ``FEWEST`` at least."""
    return marked.sum() >= max(FEWEST, len(marked) / 2)


def status(cells: pd.DataFrame, conditions: Mapping[str, list[str]] | None = None) -> str:
    """What the primary cells of a data set come to, by those that are ``good`` and ``bad``.

    *Not enough evidence* if fewer than half are decided, or fewer than two. Else *holds* if all that are decided are
    good, *does not hold* if none is, and *mixed* with how many. Before a claim is called either of these two: if under
    a condition that was written down it holds at two places at least, it *holds* under that.
    """
    decided = cells.good | cells.bad
    if enough(decided):
        if cells.good[decided].all():
            return HOLDS
        for text, contrasts in (conditions or {}).items():
            within = cells[cells.contrast.isin(contrasts)]
            if status(within) == HOLDS and within[within.good].groupby(PLACE).ngroups >= 2:
                return f"{HOLDS} {text}"
        return f"{MIXED}, {cells.good.sum()} of {decided.sum()}" if cells.good.any() else FAILS
    return UNDECIDED


def under(status: str) -> str:
    """The condition under which alone a claim of that status holds, if there is one."""
    return status.removeprefix(f"{HOLDS} ") if status.startswith(f"{HOLDS} ") else ""


def told_of(cells: pd.DataFrame, status: str, conditions: Mapping[str, list[str]]) -> pd.DataFrame:
    """The cells that a status is about: those under the condition under which the claim holds, or all."""
    contrasts = conditions.get(under(status))
    return cells if contrasts is None else cells[cells.contrast.isin(contrasts)]


def counted(
    cells: pd.DataFrame, status: str, conditions: Mapping[str, list[str]], count: Callable[[pd.DataFrame], str]
) -> str:
    """What ``count`` says of the cells that a status is about, and if these are not all, in brackets what of all."""
    within = told_of(cells, status, conditions)
    return count(within) + (f" (without the condition {count(cells)})" if len(within) < len(cells) else "")


def worst(statuses: list[str]) -> str:
    """Of several data sets the worst that is decided."""
    order = [FAILS, MIXED, f"{HOLDS} ", HOLDS]
    decided = [text for text in statuses if text != UNDECIDED]
    return min(decided, key=lambda text: [text.startswith(known) for known in order].index(True), default=UNDECIDED)
