"""What became of each claim: a verdict is computed from committed records, never typed.

``book/claims.yml`` says what is claimed; ``VERDICTS`` says how a record answers. A summary stands in the README,
between two markers, and all of it in ``book/claims.md``; tests hold both to the records.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from lottery_lib.errors import LotteryError
from lottery_lib.findings import (
    calibrated,
    headline,
    planted,
    planted_networks,
    relaxed_masks,
    rules,
    tables,
    verdicts,
)
from lottery_lib.findings import cells as measured
from lottery_lib.findings.rules import MIXED, UNDECIDED
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
    "A *cell* is two methods at one network, data set and density: their difference in test accuracy (in the "
    "error of the mask for C2 and O3), paired over seeds. It is *better* or *worse* if the 95 % interval lies on "
    "one side of zero, *equal* if within ±M, *not worse by M* if above −M. It is *undecided* if the interval is "
    f"too wide to tell, or seeds are fewer than {measured.SEEDS}; and a claim has *not enough evidence* unless "
    "half of its cells are decided, and two at least. M, the least difference that matters, is a tenth of the "
    f"distance from the dense network to a random mask, at least {measured.LEAST:g} points and at most "
    f"{measured.MOST:g}. In C2, λ√k/γ is the strength of the penalty: k entries are kept by the target, and γ is the "
    "least curvature of the loss at the target. In C6, the search with ℓ1 borrows the slope of log in the last phase, "
    "in which entries settle. α is the threshold: entries of a mask that end at α or above are kept."
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


def summary(claims: list[Claim]) -> str:
    """What stands in the README: the answers, the figure, and the table below the words to read it by, as Markdown."""
    picture = f"![{PICTURE}](figures/claims.svg)"
    rows = table(claims, lambda claim: f"book/claims.md#{claim.id.lower()}")
    return f"{headline.markdown()}\n\n{picture}\n\n{KEY}\n\n{rows}"


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
    folded = f"<details><summary>The commands</summary>\n\n```\n{commands}\n```\n\n</details>"
    return "\n\n".join([PAGE, *parts, "## To remake the runs behind these answers", folded]) + "\n"


def with_summary(text: str, claims: list[Claim]) -> str:
    """``text`` with what lies between the two ``MARKERS`` renewed; LotteryError if they are not there."""
    head, start, rest = text.partition(MARKERS[0])
    _, end, tail = rest.partition(MARKERS[1])
    if not (start and end):
        raise LotteryError(f"the README has lost its markers {' and '.join(MARKERS)}; put them around the claims table")
    return f"{head}{start}\n{summary(claims)}\n{end}{tail}"
