"""What became of each claim: a verdict is computed from committed records, never typed.

``book/claims.yml`` says what is claimed; ``VERDICTS`` says how a record answers. The table stands in the README,
between two markers, where the landing page includes it from; a test holds it to the records.
"""

from collections.abc import Callable
from dataclasses import dataclass

import yaml

from lottery_lib import paths
from lottery_lib.errors import LotteryError
from lottery_lib.experiments import logistic, records
from lottery_lib.findings import calibrated, tables, verdicts
from lottery_lib.findings.verdicts import Verdict

# Claim -> its verdict as the records stand; None while they hold nothing to answer by.
VERDICTS: dict[str, Callable[[], Verdict | None]] = {
    "C1": lambda: verdicts.oscillation(records.read(logistic.LogisticConfig())[0]),
    "C3": lambda: verdicts.threshold_or_percentage(tables.runs()),
    "C4": lambda: verdicts.comparable_to_imp(tables.runs()),
    "C5": lambda: verdicts.better_than_imp(tables.runs()),
    "C6": lambda: verdicts.log_against_l1(tables.runs()),
    "C7": lambda: verdicts.small_alpha(tables.runs()),
    "C8": lambda: verdicts.bimodal(tables.runs()),
    "C9": lambda: verdicts.cheaper(tables.runs()),
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
        return self.verdict.status if self.verdict else NOT_RUN

    def qualified(self, mark: str = "") -> str:
        """The status, with ``mark`` on both sides, and what is to be held against it, if anything."""
        caveat = self.verdict.caveat if self.verdict else ""
        return "; ".join(filter(None, [f"{mark}{self.status}{mark}", caveat]))


def load(*ids: str) -> list[Claim]:
    """The claims with these ids, or all, in the order of ``book/claims.yml``, with verdicts as the records stand."""
    rows = yaml.safe_load(paths.CLAIMS.read_text("utf-8"))
    return [
        Claim(row["id"], row["claim"], row.get("chapter"), VERDICTS[row["id"]]() if row["id"] in VERDICTS else None)
        for row in rows
        if not ids or row["id"] in ids
    ]


def answer(*ids: str) -> str:
    """The claims with these ids and what the records say of them, as Markdown for a page."""
    found = {claim.id: claim for claim in load(*ids)}
    return "\n\n".join(_answer(found[id]) for id in ids)


def _answer(claim: Claim) -> str:
    text, verdict = f"**{claim.id}, {claim.qualified()}.** *{claim.text}.*", claim.verdict
    if verdict is None:
        return text
    parts = "\n".join(f"- {part}" for part in verdict.finding.split(verdicts.SEPARATOR))
    rests = f"n = {verdict.seeds}, protocol {verdict.protocol}, on {verdict.device}. To remake it: `{verdict.command}`"
    return f"{text}\n\n{parts}\n\n{rests}"


def table(claims: list[Claim]) -> str:
    """Markdown table of id, claim and status, for the README and, included from there, the landing page."""
    rows = ["| | claim, or open question | what we find |", "| --- | --- | --- |"]
    for claim in claims:
        status = claim.qualified("**") if claim.verdict else claim.status
        linked = f"[{status}]({claim.chapter}.ipynb)" if claim.chapter else status
        rows.append(f"| {claim.id} | {claim.text} | {linked} |")
    return "\n".join(rows)


def with_table(text: str, claims: list[Claim]) -> str:
    """``text`` with the table between the two ``MARKERS`` renewed; LotteryError if they are not there."""
    head, start, rest = text.partition(MARKERS[0])
    _, end, tail = rest.partition(MARKERS[1])
    if not (start and end):
        raise LotteryError(f"the README has lost its markers {' and '.join(MARKERS)}; put them around the claims table")
    return f"{head}{start}\n{table(claims)}\n{end}{tail}"
