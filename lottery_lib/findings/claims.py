"""What became of each claim: a verdict is computed from committed records, never typed.

``book/claims.yml`` says what is claimed; ``VERDICTS`` says how a record answers. A summary stands in the README,
between two markers, and all of it in ``book/claims.md``; tests hold both to the records.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import pandas as pd

from lottery_lib.errors import LotteryError
from lottery_lib.experiments import protocols
from lottery_lib.findings import (
    calibrated,
    effects,
    planted,
    planted_networks,
    relaxed_masks,
    rules,
    tables,
    tuning,
    verdicts,
)
from lottery_lib.findings import cells as measured
from lottery_lib.findings.cells import BETTER, EQUAL, NOT_WORSE, OPEN, WORSE
from lottery_lib.findings.comparisons import listed, number, span, tally
from lottery_lib.findings.rules import MIXED, UNDECIDED
from lottery_lib.findings.tables import PLACE
from lottery_lib.findings.verdicts import Answer, Verdict


def _ruled(id: str) -> Verdict | None:
    return verdicts.ruled(id, tables.runs())


# Claim -> its verdict as the records stand; None while they hold nothing to answer by.
VERDICTS: dict[str, Callable[[], Verdict | None]] = {
    "C1": lambda: verdicts.oscillation(verdicts.logistic_runs()),
    "C2": planted.verdict,
    **{id: partial(_ruled, id) for id in ("C3", "C4", "C5", "C6", "C9", "C10", "O2")},
    "C7": lambda: verdicts.ruled("C7", tables.runs(), relaxed_masks.by_alpha(tables.runs())),
    "C8": lambda: verdicts.bimodal(tables.runs()),
    "O1": lambda: calibrated.no_tuning(tables.runs()),
    "O3": planted_networks.verdict,
}
NOT_RUN = "not yet run"
SEARCH, ROUNDS = "one search", "in rounds"  # contrasts
GRADUAL = {SEARCH: ("mask, log, calibrated", "gradual magnitude")}
DEARER = {
    "IMP rewound to an early epoch": ("mask, log, calibrated, in rounds", "IMP, early rewinding"),
    "gradual pruning as long": ("mask, log, calibrated, in rounds", "gradual magnitude, 5 recipes long"),
}
LEAD = (
    "Tickets of a learned concave mask, found in one search, against those of iterative magnitude pruning (IMP): mean "
    "difference in points of test accuracy, over settings (a network at a density each), with its 95 % interval over "
    "seeds. Epochs are those of searching and retraining together."
)
LEVELS = {BETTER: "better", WORSE: "worse", EQUAL: "as good", NOT_WORSE: "not worse", OPEN: "hard to tell apart"}
PICTURE = (
    "Mask against IMP, then a row a claim and data set: a dot at the difference in points of test accuracy, with its "
    "95 % interval and the number of seeds, and grey strokes for its single settings; without an interval where some "
    "settings are better and others worse; without either where one has fewer than three seeds."
)
PAGE = """# The claims, cell by cell

What became of each claim of the paper, and of the questions it leaves open. This page is written by
`lottery claims --write` from the committed records; [how claims are judged](judging.md) says what the words mean. A
difference that two claims share may have another ± in each, widened for as many cells as the claim judges together."""
KEY = (
    "A *cell* is two methods at one network, data set and density: their difference in test accuracy (in the error "
    f"of the mask for C2 and O3), paired over {measured.SEEDS} seeds or more. It is *better* if the 95 % interval "
    "lies above zero, *not worse by M* if it lies above −M, and *undecided* if the interval is too wide to tell, or "
    "seeds are too few. M, the least difference that matters, is a tenth of the distance from the dense network to "
    f"a random mask, at least {measured.LEAST:g} points and at most {measured.MOST:g}."
)
MARKERS = ("<!-- claims -->", "<!-- end of claims -->")


@dataclass(frozen=True)
class Claim:
    """A line of ``book/claims.yml`` and its verdict, None while its experiment has not been run."""

    id: str
    text: str
    chapter: str | None
    verdict: Verdict | None
    short: str = ""  # in a figure

    @property
    def status(self) -> str:
        return str(self.verdict) if self.verdict else NOT_RUN


def load(*ids: str) -> list[Claim]:
    """The claims with these ids, or all, in the order of ``book/claims.yml``, with verdicts as the records stand."""
    return [
        Claim(id, row["claim"], row.get("chapter"), VERDICTS[id]() if id in VERDICTS else None, row.get("short", ""))
        for id, row in rules.read().items()
        if not ids or id in ids
    ]


def answer(*ids: str) -> str:
    """The claims with these ids and what the records say of them, as Markdown for a page."""
    found = {claim.id: claim for claim in load(*ids)}
    return "\n\n".join(_answer(found[id]) for id in ids)


def _answer(claim: Claim) -> str:
    text, verdict = f"**{claim.id}: {claim.status}.** *{claim.text}*", claim.verdict
    if verdict is None:
        return text
    answers = " ".join(_sentence(claim, answer) for answer in verdict.answers)
    findings = "\n".join(f"- {finding}" for finding in verdict.findings)
    rests = f"Protocols {verdict.protocol}, on {verdict.device}."
    folded = f"<details><summary>Cell by cell</summary>\n\n{findings}\n\n{rests}\n\n</details>"
    return f"{text}\n\n{answers}\n\n{folded}"


def _sentence(claim: Claim, answer: Answer) -> str:
    """``On MNIST, it **holds**: better in 3 of 5 cells, mask − magnitude +1.24 ± 0.13 points, n = 5.``"""
    where = f"On {answer.dataset}, {'in shortened trainings, ' if answer.reduced else ''}"
    status = f"**{answer.status.rstrip(',')}**"  # one that is cut down to a condition ends in a comma
    if answer.status == UNDECIDED:
        return f"{where}there is {status}: {answer.told()}."
    it = "the answer is" if answer.status.startswith(MIXED) else "it"
    return f"{where}{it} {status}: {answer.told(claim.short)}."


def headline() -> str:
    """What the title of the landing page asks: ``against_imp`` in words, an item of a Markdown list for each data set,
    and an item on the control that costs no more than one search.

    Level means within the margin of the finest of its cells.
    """
    items: dict[str, list[str]] = {}
    for (dataset, contrast), found in against_imp().items():
        items.setdefault(dataset, []).append(_said(*found, contrast))
    lines = [*(" ".join(said) for said in items.values()), *_against_gradual(), *_in_rounds_against()]
    return "\n".join([LEAD, "", *(f"- {line}" for line in lines)])


def _against_gradual() -> list[str]:
    """A sentence on the mask and magnitude pruned gradually, where that is judged; it decides no claim."""
    cells = measured.cells(tables.chosen(tables.runs()), GRADUAL)
    judged = cells[cells.judgement.isin(measured.JUDGED)].sort_values("reduced", kind="stable")  # the full ones first
    told = [f"on {tables.dataset(name)} {tally(rows)}" for name, rows in judged.groupby("dataset", sort=False)]
    how = "**Against magnitude pruned gradually inside one training**, a control that costs as much as a search and its"
    return [f"{how} retraining, the mask is {'; '.join(told)}."] if told else []


def _in_rounds_against() -> list[str]:
    """A sentence on what costs as much as a search in rounds and is used beside plain IMP; it decides no claim."""
    cells = measured.cells(tables.chosen(tables.runs()), DEARER)
    told = []
    for (contrast, dataset), rows in cells.groupby(["contrast", "dataset"], sort=False):
        judged = rows[rows.judgement.isin(measured.JUDGED)]
        few = f"on record for too few seeds (n = {span(rows.n)})"
        said = f"against which the mask is {tally(judged)}" if len(judged) else few
        told.append(f"{contrast} on {tables.dataset(dataset)}, {said}")
    how = "**What costs as much as searching in rounds** may be a better opponent than plain IMP"
    return [f"{how}: {'; '.join(told)}."] if told else []


def against_imp() -> dict[tuple[str, str], tuple[effects.Effect, pd.DataFrame]]:
    """(data set, contrast) -> how the mask does against IMP: the effect, and the ``cells`` that it is the mean of.

    Of all cells of C4, C5, C9 and C10 in which the two meet, as the first of these that has a cell judges it: those
    that are judged, if that is half of them and two at least. Else, of one search, what is on record; and nothing of
    searches in rounds.
    """
    runs, asked = tables.chosen(tables.runs()), [rules.rule(id) for id in ("C4", "C5", "C9", "C10")]
    contrasts = {name: asked[0].contrasts[name] for name in (SEARCH, ROUNDS)}
    cells = pd.concat([rules.judged(rule, runs) for rule in asked]).drop_duplicates(effects.KEY)
    answers = {}
    for dataset in pd.concat([rule.cells() for rule in asked]).dataset.unique():  # in the order of the claims
        for contrast in contrasts:
            rows = cells[(cells.dataset == dataset) & (cells.contrast == contrast)]
            judged = rows.judgement.isin(measured.JUDGED)
            used = rows[judged]
            if not rules.enough(judged):
                used = effects.on_record(rows) if contrast == SEARCH else rows.iloc[:0]
            if found := effects.effect(runs, contrasts, used, len(rows)):
                answers[dataset, contrast] = found, used
    return answers


def overall() -> dict[str, dict[str, effects.Effect]]:
    """The effects of ``against_imp`` as a figure has them: contrast -> data set -> effect."""
    rows: dict[str, dict[str, effects.Effect]] = {}
    for (dataset, contrast), (found, _) in against_imp().items():
        rows.setdefault(contrast, {})[tables.dataset(dataset)] = found
    return rows


def _said(found: effects.Effect, cells: pd.DataFrame, contrast: str) -> str:
    mean, over = str(found), f"over {_share(found.cells, found.of)}{_extremes(cells)}"
    rests = f"{found.n} seed{'' if found.n == '1' else 's'}, {100 * found.epochs:.0f} % of IMP’s training epochs"
    better, worse = (cells.judgement == BETTER).sum(), (cells.judgement == WORSE).sum()
    if found.mixed:
        level = f"better in {better} setting{'s' if better > 1 else ''} and worse in {worse}"
        mean = f"{found} on average"
    elif math.isnan(found.half_width):
        level = "too few seeds to decide"
    else:
        low, high = found.mean - found.half_width, found.mean + found.half_width
        level = LEVELS[measured.judge(low, high, cells.margin.min())]
    told = f"**: {mean} {over}; {rests}."
    if contrast == ROUNDS:  # beside what was told of one search
        return f"**Searched in several rounds instead, {level}{told}"
    reduced = [protocols.config_class(name).recipe.epochs for name in cells.protocol[cells.reduced.astype(bool)]]
    cut = f", in trainings cut to {span(pd.Series(reduced))} epochs" if reduced else ""
    said = f"**On {tables.dataset(cells.dataset.iloc[0])}{cut}, {level}{told}"
    if slow := [tables.task(*place) for place in _at_another_rate(cells)]:
        said += f" The protocol of {listed(slow)} has not the best learning rate that was tried."
    if failed := cells.doubtful.sum():
        beside = "hardly or not above SNIP, which prunes before any training"
        said += f" In {_share(failed, found.cells)} IMP is {beside}: it may have failed rather than been beaten."
    return said


def _at_another_rate(cells: pd.DataFrame) -> list[tuple[str, str, str]]:
    """Model, data set and protocol of each place whose dense network was better at another rate, on validation."""
    rates = tuning.rates(tables.runs())
    places = rates[rates.above > 0].merge(cells[PLACE].drop_duplicates(), on=PLACE)
    return [*places[["model", "dataset", "protocol"]].itertuples(index=False, name=None)]


def _share(part: int, of: int) -> str:
    if part < of:
        return f"{part} of {of} settings"
    return {1: "the only setting", 2: "both settings"}.get(of, f"all {of} settings")


def _extremes(cells: pd.DataFrame) -> str:
    """Of which network they are, if it is one; the least and the greatest of the differences, and where these are."""
    if len(cells) < 2:
        return ""
    ordered, networks = cells.sort_values("mean", kind="stable"), {*map(tables.network, cells.model, cells.protocol)}
    told = []
    for cell in (ordered.iloc[0], ordered.iloc[-1]):
        where = f"{tables.network(cell.model, cell.protocol)}, " if len(networks) > 1 else ""
        told.append(f"{number(cell['mean'], math.nan, '+')} ({where}density {cell.density_asked:g})")
    of = f" of {networks.pop()}" if len(networks) == 1 else ""
    return f"{of}, from {told[0]} to {told[1]}"


def summary(claims: list[Claim]) -> str:
    """What stands in the README: the answers, the figure, and the table below the words to read it by, as Markdown."""
    picture = f"![{PICTURE}](figures/claims.svg)"
    rows = table(claims, lambda claim: f"book/claims.md#{claim.id.lower()}")
    return f"{headline()}\n\n{picture}\n\n{KEY}\n\n{rows}"


def table(claims: list[Claim], link: Callable[[Claim], str]) -> str:
    """Markdown table, a row a claim and data set: the difference in points of test accuracy, seeds, and the finding.

    ``link`` says where the id of a claim leads.
    """
    rows = [
        "| | claim, or open question | data | difference, points | seeds | finding |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for claim in claims:
        id, text = f"[{claim.id}]({link(claim)})", claim.text
        if claim.verdict is None:
            rows.append(f"| {id} | {text} | | | | {NOT_RUN} |")
        for answer in claim.verdict.answers if claim.verdict else ():
            data = f"{answer.dataset}, reduced" if answer.reduced else answer.dataset
            n = answer.effect.n if answer.effect else answer.n
            status = answer.status.rstrip(",")  # which may end in a clause, before "on" and the data
            finding = f"**{status}**: {answer.counted}" if answer.counted else f"**{status}**"
            rows.append(f"| {id} | {text} | {data} | {answer.effect or '–'} | {n} | {finding} |")
            text = ""  # once a claim
    return "\n".join(rows)


def page(claims: list[Claim]) -> str:
    """``book/claims.md``: every claim with its answers, cell by cell, and the commands that remake the runs, once."""
    parts = [f"## {claim.id}\n\n{_answer(claim)}" for claim in claims]
    made = [claim.verdict.command.split(" && ") for claim in claims if claim.verdict]
    commands = "\n".join(sorted({command for commands in made for command in commands}))
    remade = f"## To remake all runs\n\n<details><summary>The commands</summary>\n\n```\n{commands}\n```\n\n</details>"
    return "\n\n".join([PAGE, *parts, remade]) + "\n"


def with_summary(text: str, claims: list[Claim]) -> str:
    """``text`` with what lies between the two ``MARKERS`` renewed; LotteryError if they are not there."""
    head, start, rest = text.partition(MARKERS[0])
    _, end, tail = rest.partition(MARKERS[1])
    if not (start and end):
        raise LotteryError(f"the README has lost its markers {' and '.join(MARKERS)}; put them around the claims table")
    return f"{head}{start}\n{summary(claims)}\n{end}{tail}"
