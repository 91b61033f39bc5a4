"""What became of each claim: a verdict is computed from committed records, never typed.

``book/claims.yml`` says what is claimed; ``VERDICTS`` says how a record answers. The table stands in the README,
between two markers, where the landing page includes it from; a test holds it to the records.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import yaml

from . import experiments, logistic, paths, records, verdicts
from .errors import LotteryError
from .verdicts import Verdict

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


def oscillation(record: dict) -> Verdict:
    """C1 from one ``mnist-logistic`` record.

    *Confirmed* asks for ≥ 30 % exact zeros and not one sign flip in the last tenth of the iterations from both masks,
    and the opposite from both subgradient methods: flips to the end and no exact zero. If proximal gradient on the
    weights does as well as the masks, what beats the subgradient is not the mask alone: *confirmed with conditions*.
    """
    methods = record["methods"]

    def settled(name: str) -> bool:
        return methods[name]["zeros"] >= 0.3 and methods[name]["late_flips"] == 0

    masks = [name for name in logistic.METHODS if logistic.is_masked(name)]
    subgradients = [name for name in logistic.METHODS if "subgradient" in name]
    holds = all(settled(name) for name in masks) and all(
        methods[name]["zeros"] == 0 and methods[name]["late_flips"] > 0 for name in subgradients
    )
    proximal = settled(logistic.REFERS_TO)

    def found(names: list[str]) -> str:
        zeros = " and ".join(f"{100 * methods[name]['zeros']:.1f} %" for name in names)
        flips = " and ".join(f"{methods[name]['late_flips_per_iteration']:.3g}" for name in names)
        return f"{zeros} exact zeros and {flips} sign flips an iteration"

    return Verdict(
        status="not confirmed" if not holds else "confirmed with conditions" if proximal else "confirmed",
        finding=f"The ℓ1 and log masks end with {found(masks)}, the subgradient methods with {found(subgradients)}, "
        f"proximal gradient on the weights with {found([logistic.REFERS_TO])}.",
        seeds=1,
        protocol=record["protocol"],
        device=record["provenance"]["device"],
        command=records.command(logistic.LogisticConfig(**record["config"])),
    )


# Claim -> its verdict from the table of ticket runs; None while that holds nothing to answer by.
VERDICTS: dict[str, Callable[[pd.DataFrame], Verdict | None]] = {
    "C1": lambda _: oscillation(records.read(logistic.LogisticConfig())[0]),
    "C3": verdicts.threshold_or_percentage,
    "C4": verdicts.comparable_to_imp,
    "C5": verdicts.better_than_imp,
    "C6": verdicts.log_against_l1,
    "C7": verdicts.small_alpha,
    "C8": verdicts.bimodal,
    "C9": verdicts.cheaper,
}


def load(path: Path = paths.CLAIMS) -> list[Claim]:
    """All claims in order, each with its verdict as the records stand."""
    runs = experiments.table()
    return [
        Claim(row["id"], row["claim"], row.get("chapter"), VERDICTS[row["id"]](runs) if row["id"] in VERDICTS else None)
        for row in yaml.safe_load(path.read_text("utf-8"))
    ]


def answer(*ids: str) -> str:
    """The claims with these ids and what the records say of them, as Markdown for a page."""
    found = {claim.id: claim for claim in load()}
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
