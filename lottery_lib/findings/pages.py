"""What a chapter shows beside its figures: a selection of the runs, and sentences on what is on record."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from lottery_lib import paths
from lottery_lib.errors import LotteryError, hint
from lottery_lib.experiments import grids, records, ticket_run
from lottery_lib.findings import rules, tables
from lottery_lib.findings.cells import KEY
from lottery_lib.findings.claims import Claim
from lottery_lib.findings.comparisons import estimate, listed, span
from lottery_lib.findings.tables import label


@dataclass(frozen=True)
class Selection:
    """What a chapter shows: the runs of one protocol, or of all, and where it needs one a density.

    LotteryError if there is nothing of it on record.
    """

    protocol: str = "all"
    density: float | None = None

    def __post_init__(self):
        table = tables.runs()
        if self.protocol != "all" and self.protocol not in (known := ["all", *table.protocol.unique()]):
            raise LotteryError(f"protocol = {self.protocol!r}: no run of it is on record{hint(self.protocol, known)}")
        tickets = self.table[self.table.method != "dense"]
        densities = sorted(tickets.density_asked.unique(), reverse=True)
        if self.density is not None and self.density not in densities:
            known = ", ".join(map("{:g}".format, densities)) or "none"
            raise LotteryError(f"density = {self.density!r}: on record are {known}")

    @property
    def table(self) -> pd.DataFrame:
        table = tables.runs()
        return table if self.protocol == "all" else table[table.protocol == self.protocol]

    def cells(self, *claims: str, runs: pd.DataFrame | None = None) -> pd.DataFrame:
        """The cells of claims (``rules.shown``) under the protocol that is shown; of ``runs``, or of all that count.

        A cell that decides one claim and stands beside another comes once, as the one that decides.
        """
        runs = tables.chosen(tables.runs()) if runs is None else runs
        asked = [rules.rule(claim) for claim in claims]
        meant = {(how, pair) for rule in asked for how, pair in {**rule.contrasts, **rule.beside}.items()}
        if len(meant) > len({how for how, _ in meant}):
            raise LotteryError(f"{' and '.join(claims)} call different comparisons by the same name; ask for one")
        found = pd.concat([rules.shown(rule, runs) for rule in asked], ignore_index=True)
        found = found.sort_values("decides", ascending=False, kind="stable")
        found = found.drop_duplicates(KEY)
        return found[found.protocol.isin([self.protocol]) | (self.protocol == "all")].reset_index(drop=True)


def apart(cells: pd.DataFrame) -> pd.DataFrame:
    """What the primary cells of each place come to by themselves, to be read; ``cells`` of ``Selection.cells``.

    A claim is answered for each data set, which may have several networks.
    """
    rows = []
    for place, own in cells[cells.decides].groupby(tables.PLACE, sort=False):
        of = dict(zip(tables.PLACE, place))
        rows.append({
            "network": tables.task(of["model"], of["dataset"], of["protocol"]), "finding": rules.status(own),
            "for": own.good.sum(), "against": own.bad.sum(), "undecided": (~(own.good | own.bad)).sum(),
            "seeds": span(own.n.astype(int)),
        })  # fmt: skip
    columns = ["network", "finding", "for", "against", "undecided", "seeds"]
    return pd.DataFrame(rows, columns=columns).set_index("network").rename_axis(None)


def in_short(found: pd.DataFrame, density: float, lines: Mapping[str, str]) -> str:
    """Two sentences on lines of one place at a density (``comparisons.summary``): accuracy, and epochs in all.

    ``lines`` says what each is called in a sentence; those that are not on record are left out.
    """
    rows = found[found.name.isin(lines) & (found.density_asked == density)]
    if rows.empty:
        return "Nothing is on record yet."
    rows = rows.assign(name=rows.name.map(lines)).sort_values("mean", ascending=False)
    shown = ["mean", "half_width", "n"]
    reached = [f"{estimate(*told, unit=' %')} for {name}" for name, *told in rows[["name", *shown]].to_numpy()]
    taken = [f"{epochs:g} for {name}" for epochs, name in sorted(zip(rows.total_epochs, rows.name))]
    dense = found.loc[found.name == "dense", shown].to_numpy()
    whole = f", against {estimate(*dense[0], unit=' %')} for the dense network" if len(dense) else ""
    return (
        f"At a density of {density:g}, test accuracy is {listed(reached)}{whole}. "
        f"In epochs of training, search and retraining together cost {listed(taken)}."
    )


def status(table: pd.DataFrame) -> str:
    """A sentence on what is on record: runs, seeds and machines."""
    if table.empty:
        return "No run is on record yet."
    seeds = ", ".join(map(str, sorted(table.seed.unique())))
    on = f"seeds {seeds}, not each setting on all of them" if table.seed.nunique() > 1 else f"seed {seeds}"
    return (
        f"On record: {len(table)} runs on {on} (n says on how many; nothing is concluded from fewer than three), in "
        f"{', '.join(sorted(table.precision.unique()))}, on "
        f"{', '.join(sorted(table.device.unique()))}. The config of a run is part of its record in `results/`."
    )


def pending() -> str:
    """A sentence on what the grids in ``workflow/grids`` ask for and is not on record yet; empty once all of it is."""
    asked = {run for path in sorted(paths.GRIDS.glob("*.yaml")) for group in grids.grid(path.stem) for run in group}
    runs = [run for run in asked if isinstance(run, ticket_run.TicketRun)]
    labels = {run: label(run.protocol, run.model, run.dataset, run.reduced) for run in runs}
    total = Counter(labels.values())
    done = Counter(place for run, place in labels.items() if records.exists(run))
    begun = [f"{place}, {done[place]} of {total[place]} runs" for place in sorted(done) if done[place] < total[place]]
    ahead = sorted(total.keys() - done.keys())
    return " ".join(
        [f"Still being put on record: {'; '.join(begun)}. Once they are, this page will say so."] * bool(begun)
        + [f"Not begun: {'; '.join(ahead)}."] * bool(ahead)
    )


def sentence(record: dict, protocol: str) -> str:
    """What a run came to, for a page that has just made it."""
    config = record["config"]
    place = label(protocol, record["model"], record["dataset"], record["reduced"])
    return (
        f"On {place}, **{config['method']}** reached a density of {record['density']:.3g} after "
        f"{record['search_epochs']:g} epochs of search; retrained, {record['total_epochs']:g} epochs in all and "
        f"{record['seconds']:.0f} s, the ticket classifies {record['val_accuracy']:.1f} % of the validation and "
        f"{record['test_accuracy']:.1f} % of the test images."
    )


def folded(title: str, *texts: str) -> str:
    """Markdown that a reader unfolds by a click on its title."""
    return "\n\n".join([f"<details><summary>{title}</summary>", *filter(None, texts), "</details>"])


def opened(claims: list[Claim]) -> str:
    """The claims and questions that the records do not answer, with the data sets on which they do not, as a list."""
    left = []
    for claim in claims:
        answers = claim.verdict.answers if claim.verdict else ()
        where = ", ".join(answer.dataset for answer in answers if answer.status == rules.UNDECIDED)
        if where or not claim.verdict:
            left.append(f"- **{claim.id}**, {f'on {where}' if where else claim.status}: {claim.text}")
    return "\n".join(left)
