"""What became of each claim: a verdict is computed from committed records, never typed.

``book/claims.yml`` says what is claimed; ``VERDICTS`` says how a record answers. The table stands in the README,
between two markers, where the landing page includes it from; a test holds it to the records.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from lottery_lib.errors import LotteryError
from lottery_lib.findings import calibrated, relaxed_masks, rules, tables, verdicts
from lottery_lib.findings.verdicts import Verdict


def _ruled(id: str) -> Verdict | None:
    return verdicts.ruled(id, tables.runs())


# Claim -> its verdict as the records stand; None while they hold nothing to answer by.
VERDICTS: dict[str, Callable[[], Verdict | None]] = {
    "C1": lambda: verdicts.oscillation(verdicts.logistic_runs()),
    **{id: partial(_ruled, id) for id in ("C3", "C4", "C5", "C6", "C9", "C10", "O2")},
    "C7": lambda: verdicts.ruled("C7", tables.runs(), relaxed_masks.by_alpha(tables.runs())),
    "C8": lambda: verdicts.bimodal(tables.runs()),
    "O1": lambda: calibrated.no_tuning(tables.runs()),
}
NOT_RUN = "not yet run"
MARKERS = ("<!-- claims -->", "<!-- end of claims -->")


@dataclass(frozen=True)
class Claim:
    """A line of ``book/claims.yml`` and its verdict, None while its experiment has not been run."""

    id: str
    text: str
    chapter: str | None
    verdict: Verdict | None

    @property
    def status(self) -> str:
        return str(self.verdict) if self.verdict else NOT_RUN


def load(*ids: str) -> list[Claim]:
    """The claims with these ids, or all, in the order of ``book/claims.yml``, with verdicts as the records stand."""
    return [
        Claim(id, row["claim"], row.get("chapter"), VERDICTS[id]() if id in VERDICTS else None)
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
    answers = "\n".join(f"- **{answer.status}** on {answer.dataset}: {answer.numbers}" for answer in verdict.answers)
    findings = "\n".join(f"- {finding}" for finding in verdict.findings)
    rests = f"Protocols {verdict.protocol}, on {verdict.device}. To remake it: `{verdict.command}`"
    folded = f"<details><summary>Cell by cell</summary>\n\n{findings}\n\n{rests}\n\n</details>"
    return f"{text}\n\n{answers}\n\n{folded}"


def table(claims: list[Claim]) -> str:
    """Markdown table of id, claim and what is found on each data set, for the README and the landing page."""
    rows = ["| | claim, or open question | what we find |", "| --- | --- | --- |"]
    for claim in claims:
        answers = claim.verdict.answers if claim.verdict else ()
        told = [f"**{answer.status}** on {answer.dataset} ({answer.numbers})" for answer in answers]
        linked = f"[{claim.id}]({claim.chapter}.ipynb)" if claim.chapter else claim.id
        rows.append(f"| {linked} | {claim.text} | {'<br>'.join(told) or NOT_RUN} |")
    return "\n".join(rows)


def with_table(text: str, claims: list[Claim]) -> str:
    """``text`` with the table between the two ``MARKERS`` renewed; LotteryError if they are not there."""
    head, start, rest = text.partition(MARKERS[0])
    _, end, tail = rest.partition(MARKERS[1])
    if not (start and end):
        raise LotteryError(f"the README has lost its markers {' and '.join(MARKERS)}; put them around the claims table")
    return f"{head}{start}\n{table(claims)}\n{end}{tail}"
