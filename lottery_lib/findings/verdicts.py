"""Verdicts on the claims, from the records alone: on each data set a status, with the numbers that it rests on.

Claims of accuracy follow the rules of ``rules``. Those on what a mask looks like, and on a convex problem, have rules
of their own here. A claim holds, or does not, or in part, or there is not enough evidence.
"""

import os
from dataclasses import dataclass, replace

import pandas as pd

from lottery_lib.experiments import logistic, records
from lottery_lib.experiments.grids import command
from lottery_lib.findings import effects, relaxed_masks, rules, tables
from lottery_lib.findings.cells import JUDGED, SEEDS, WORSE
from lottery_lib.findings.comparisons import lines, seeds, span
from lottery_lib.findings.effects import Effect
from lottery_lib.findings.rules import FAILS, HOLDS, MIXED, UNDECIDED
from lottery_lib.findings.tables import PLACE

MOSTLY = 0.95  # of layers must be bimodal
ASKED = {"better": "better", "not worse": "not worse by M"}  # how what a rule asks for is counted
VARIANTS = {  # of C1: what might explain the difference away
    "constant steps": logistic.LogisticConfig(),
    "subgradient steps that shrink as 1/√t": logistic.LogisticConfig(step_decay=0.5),
    "no weight decay": logistic.LogisticConfig(weight_decay=0.0),
}


@dataclass(frozen=True)
class Answer:
    """What comes of a claim on one data set: its status, and what was ``counted``; how large the ``effect`` is, if the
    claim is about accuracy; the number of seeds ``n``, as text; and whether trainings were ``reduced``."""

    dataset: str
    status: str
    counted: str
    effect: Effect | None = None
    n: str = ""
    reduced: bool = False

    @property
    def under(self) -> str:
        """As ``rules.under`` has it."""
        return rules.under(self.status)

    def told(self, short: str = "") -> str:
        """Its numbers in a few words, ``short`` being what the effect is of; one that decides nothing is left out."""
        points = f"{short} {self.effect} points".lstrip() if self.effect and self.status != UNDECIDED else ""
        return ", ".join(filter(None, [self.counted, points, self.n and f"n = {self.n}"]))

    @property
    def numbers(self) -> str:
        """The same, with whether trainings were reduced."""
        return ", ".join(filter(None, [self.told(), "reduced" if self.reduced else ""]))

    def __str__(self) -> str:
        return f"{self.status} on {self.dataset} ({self.numbers})"


@dataclass(frozen=True)
class Verdict:
    """The answers to a claim, the ``findings`` behind them, a sentence each, and what remakes the runs."""

    answers: tuple[Answer, ...]
    findings: tuple[str, ...]
    protocol: str
    device: str
    command: str

    def __str__(self) -> str:
        """What is decided and where, the worst first; how places begin alike is said once."""
        of: dict[str, list[str]] = {}
        for answer in self.answers:
            of.setdefault(answer.status, []).append(answer.dataset)
        of.pop(UNDECIDED, None)
        said = []
        while of:
            where = of.pop(status := rules.worst([*of]))
            alike = os.path.commonprefix(where).rpartition(" ")[0]
            where[1:] = [place.removeprefix(alike).strip() for place in where[1:]]
            said.append(f"{status} on {', '.join(where)}")
        return "; ".join(said) or UNDECIDED


def ruled(id: str, table: pd.DataFrame, runs: pd.DataFrame | None = None) -> Verdict | None:
    """The verdict on a claim that has a rule in ``book/claims.yml``; None if no primary cell is on record.

    ``runs`` are those of the table that count, with their lines' names; else ``tables.chosen``.
    """
    runs, rule = tables.chosen(table) if runs is None else runs, rules.rule(id)
    return on_cells(rule, table, runs, rules.judged(rule, runs))


def on_cells(rule: rules.Rule, table: pd.DataFrame, runs: pd.DataFrame, cells: pd.DataFrame) -> Verdict | None:
    """The same, on a claim's primary cells as ``rules.judged`` gives them."""
    if not (cells.n > 0).any():
        return None
    of = {name: cells[cells.dataset == name] for name in rule.cells().dataset.unique()}  # in the order of the claim
    answers = tuple(_answer(rule, runs, tables.dataset(name), rows) for name, rows in of.items())
    others = [f"for comparison, {line}" for line in lines(rules.only_beside(rule, runs))]
    return verdict(table, cells, answers, [*lines(cells), *others])


def _answer(rule: rules.Rule, runs: pd.DataFrame, dataset: str, cells: pd.DataFrame) -> Answer:
    """What the cells of a data set come to; where they hold under a condition, the numbers are of those that meet it.

    The effect is over the cells that are judged, or where none is, over all on record.
    """
    status = rules.status(cells, rule.conditions)
    within = rules.told_of(cells, status, rule.conditions)
    counted = rules.counted(cells, status, rule.conditions, lambda rows: _counted(rule, rows, status))
    if failed := (within.doubtful & within.judgement.isin(JUDGED) & ~within.bad).sum():
        counted += f", IMP hardly or not above SNIP in {failed}"
    judged = within[within.judgement.isin(JUDGED)]
    used = judged if len(judged) else effects.on_record(within, rule.epochs)
    n = span((cells if status == UNDECIDED else used).n)  # of what the numbers are of
    found = effects.effect(runs, rule.contrasts, used, len(within))
    return Answer(dataset, status, counted, found, n, bool(cells.reduced.any()))


def _counted(rule: rules.Rule, cells: pd.DataFrame, status: str) -> str:
    """``better in 3 of 5 cells, 2 undecided``; of cells that are worse, where that is by less than M, or may be; how
    many were never run; and if of several networks one alone decides, which."""
    told, worse = cells.good | cells.bad, cells.judgement == WORSE
    if status == UNDECIDED:
        maybe = (worse & ~told).sum()
        unsure = f" (of the rest {maybe} worse, perhaps by less than M)" if maybe else ""
        missing = (cells.n == 0).sum()
        return f"{told.sum()} of {len(cells)} cells decided{unsure}{f', {missing} never run' if missing else ''}"
    less = cells[cells.good & worse]
    by = ""
    if len(less):
        by_less, margin = span(less["mean"].abs().round(2)), span(less.margin.round(2))
        by = f" (worse by less in {len(less)}: by {by_less}, where M is {margin})"
    left = f", {(~told).sum()} undecided" if not told.all() else ""
    by_one = cells.groupby(PLACE).ngroups > 1 == cells[told].groupby(PLACE).ngroups
    alone = f", decided on {tables.network(*cells.loc[told, ['model', 'protocol']].iloc[0])} alone" if by_one else ""
    return f"{ASKED[rule.asks]} in {cells.good.sum()} of {len(cells)} cells{by}{left}{alone}"


def bimodal(table: pd.DataFrame) -> Verdict | None:
    """C8: the relaxed log masks of the plain recipe that count (``relaxed_masks.counted``), at the end of one search,
    layer by layer.

    A layer is bimodal if at most 5 % of its entries lie between 0.05 and 0.95, *and* most of those above 0.05 are above
    0.95: so one that is nearly empty must have decided for what is left (``relaxed_masks.shares``). On a data set the
    claim holds if 95 % of layers are, of searches on three seeds or more; it does not if fewer than half are.
    Calibrated searches do not count, as their settling makes two modes whatever the data say.
    """
    layers = relaxed_masks.decided(relaxed_masks.counted(table))
    if layers.empty:
        return None
    layers["n"] = relaxed_masks.seeds(layers)
    layers["bimodal"] = relaxed_masks.is_bimodal(layers)
    plain = layers.name == "mask, log"
    answers, found = [], []
    for name, rows in layers[plain].sort_values("reduced", kind="stable").groupby("dataset", sort=False):
        counted = rows[rows.n >= SEEDS]
        good, share = int(counted.bimodal.sum()), counted.bimodal.mean()
        status = UNDECIDED
        if len(counted):
            status = HOLDS if share >= MOSTLY else FAILS if share < 0.5 else f"{MIXED}, {good} of {len(counted)}"
        of = f"{len(counted)} layers of {counted.run.nunique()} searches"
        told = f"{good} of {of} bimodal" if len(counted) else ""
        n, reduced = span((counted if len(counted) else rows).n), bool(rows.reduced.any())
        answers.append(Answer(tables.dataset(name), status, told, n=n, reduced=reduced))
    for place, rows in tables.places(layers).items():
        modes = "; ".join(f"{called}, {_modes(one)}" for called, one in rows.groupby("name"))
        found.append(f"{place}, {seeds(rows.n)}: {modes}")
    return verdict(table, layers[plain], tuple(answers), found) if answers else None


def _modes(layers: pd.DataFrame) -> str:
    between, top = 100 * layers.between, layers.top > 0.5
    return (
        f"{layers.bimodal.sum()} of {len(layers)} layers bimodal (in {top.sum()} most of what is above 0.05 is above "
        f"0.95; {between.min():.2g} to {between.max():.2g} % of a layer's entries lie between)"
    )


def oscillation(runs: list[dict]) -> Verdict | None:
    """C1, from the ``mnist-logistic`` records of several random starts in each of ``VARIANTS``.

    A run speaks for the claim if both masks end with at least 30 % of exact zeros and not one sign flip in the last
    tenth of the iterations, and both subgradient methods with flips to the end and no exact zero. On fewer than three
    starts there is not enough evidence; on more, the claim holds if all runs speak for it. Whether proximal gradient on
    the weights does as well as a mask is said beside it.
    """

    if not runs:
        return None

    def settled(final: dict) -> bool:
        return final["zeros"] >= 0.3 and final["late_flips"] == 0

    masks = [name for name in logistic.METHODS if logistic.is_masked(name)]
    subgradients = [name for name in logistic.METHODS if "subgradient" in name]
    good = [
        all(settled(run["methods"][name]) for name in masks)
        and all(run["methods"][name]["zeros"] == 0 < run["methods"][name]["late_flips"] for name in subgradients)
        for run in runs
    ]
    starts = {key: [run for run in runs if _variant(run) == variant] for key, variant in VARIANTS.items()}
    enough = min(map(len, starts.values())) >= SEEDS
    status = UNDECIDED if not enough else HOLDS if all(good) else f"{MIXED}, {sum(good)} of {len(runs)}"
    status = FAILS if enough and not any(good) else status
    n = span(pd.Series([len(found) for found in starts.values()]))
    answer = Answer("MNIST", status, f"{sum(good)} of {len(runs)} runs", n=n)

    def ends(found: list[dict], names: list[str]) -> str:
        of = [run["methods"][name] for run in found for name in names]
        zeros, flips = (pd.Series([final[key] for final in of]) for key in ("zeros", "late_flips_per_iteration"))
        return f"{span(100 * zeros.round(3))} % exact zeros and {span(flips.round(2))} sign flips an iteration"

    findings = [
        f"{variant}, n = {len(found)}: the masks end with {ends(found, masks)}, the subgradient methods with "
        f"{ends(found, subgradients)}, proximal gradient on the weights with {ends(found, [logistic.REFERS_TO])}"
        for variant, found in starts.items()
        if found
    ]
    devices = ", ".join(sorted({run["provenance"]["device"] for run in runs}))
    return Verdict((answer,), tuple(findings), "mnist-logistic", devices, command(["mnist-logistic"]))


def logistic_runs() -> list[dict]:
    """The records that ``oscillation`` reads: of MNIST's pair of digits, in its variants."""
    found = [run for run in records.read_all() if run["protocol"] == "mnist-logistic"]
    return [run for run in found if _variant(run) in VARIANTS.values()]


def _variant(run: dict) -> logistic.LogisticConfig:
    return replace(logistic.LogisticConfig(**run["config"]), seed=0)


def verdict(table: pd.DataFrame, evidence: pd.DataFrame, answers: tuple[Answer, ...], found: list[str]) -> Verdict:
    """The verdict that rests on ``evidence``, rows with a place."""
    names = list(evidence.protocol.unique())
    devices = ", ".join(sorted(table[table.protocol.isin(names)].device.unique()))
    return Verdict(answers, tuple(found), ", ".join(names), devices, command(names))
