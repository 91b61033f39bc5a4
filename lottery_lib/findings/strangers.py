"""Networks that this library did not build: is the calibrated search as good there as the best of five λ?"""

import math

import pandas as pd

from lottery_lib.experiments import records
from lottery_lib.experiments.strangers import NETWORKS, Stranger
from lottery_lib.findings import tables
from lottery_lib.findings.cells import SEEDS
from lottery_lib.findings.comparisons import interval, listed, number, span
from lottery_lib.findings.tables import COMPUTED

PLACE = ["network", "asked"]
MEANS = ["calibrated", "by_hand"]  # test accuracies
CUT = ["alpha", "tied"]
NUMBERS = ["asked", "density", "lam", "val_accuracy", "test_accuracy"]
LEARNED, RANDOM = "learned", "random"  # masks


def runs(of: type[Stranger] = Stranger) -> pd.DataFrame:
    """The runs on record, a row each, of the protocol ``of``; densities are fractions, accuracies percent.

    ``alpha`` is where the ticket cuts the mask, and ``tied`` what share of it ties decide; NaN of a record without a
    histogram.
    """
    found = [record for record in records.read_all() if record["protocol"] == of.protocol]
    rows = [
        {"mask": LEARNED, "asked": record["config"]["density"]} | record["config"] | tables.computed(record)
        | _cut(record) | {key: record[key] for key in ("density", "val_accuracy", "test_accuracy")}
        for record in found
    ]  # fmt: skip
    columns = ["network", "mask", "asked", "density", "lam", "seed", *COMPUTED, *CUT, "val_accuracy", "test_accuracy"]
    return pd.DataFrame(rows, columns=columns).astype(dict.fromkeys([*NUMBERS, *CUT], float))


def _cut(record: dict) -> dict[str, float]:
    histogram = records.read_arrays(record["run"]).get("histogram")
    return {} if histogram is None else dict(zip(CUT, tables.cut(histogram.sum(0), record["density"])))


def at_small_alpha(table: pd.DataFrame) -> pd.DataFrame:
    """``runs`` without those λ by hand whose ticket, on some seed, is not the paper's: α above 0.1, or many ties."""
    soft = table.lam.notna() & (tables.soft(table.alpha, table.tied) | table.alpha.isna())
    return table[~soft.groupby([table.network, table.asked, table.lam], dropna=False).transform("any")]


def against_a_sweep(table: pd.DataFrame) -> pd.DataFrame:
    """Of ``runs`` the calibrated searches against the best of those with λ by hand, a row each network and density.

    ``lam`` has the highest mean validation accuracy of its candidates; ``points`` is how much more the calibrated one
    has on the test split, a mean over the ``n`` seeds that both have with half of its 95 % interval (Student's t);
    ``alpha`` the largest at which tickets by that λ are cut; ``error`` the largest relative error of the calibrated
    densities; ``dense`` and ``random`` the accuracies of the whole network and of random masks of the same density, on
    all their seeds. Where no λ is on record the calibrated accuracy is over all seeds, ``n`` and ``candidates`` are 0,
    and what is about λ is NaN.
    """
    calibrated = table[(table.asked < 1) & table.lam.isna() & (table["mask"] == LEARNED)]
    calibrated = calibrated.assign(error=(calibrated.density / calibrated.asked - 1).abs())
    found = calibrated.groupby(PLACE).agg(calibrated=("test_accuracy", "mean"), error=("error", "max")).reset_index()
    groups = pairs(table).groupby(PLACE)
    swept = groups[["lam", "candidates", *MEANS]].mean()
    swept = swept.join(interval(groups.points).rename(columns={"mean": "points"}))
    swept = swept.join(groups.alpha.agg(lambda alphas: alphas.max(skipna=False)))
    found = found.join(swept, on=PLACE, suffixes=("", "_paired")).fillna({"n": 0, "candidates": 0})
    found["calibrated"] = found.pop("calibrated_paired").fillna(found.calibrated)
    dense = table[table.asked == 1].groupby("network").test_accuracy.mean()
    drawn = table[table["mask"] == RANDOM].groupby(PLACE).test_accuracy.mean()
    found = found.join(dense.rename("dense"), on="network").join(drawn.rename("random"), on=PLACE)
    order = {network: place for place, network in enumerate(NETWORKS)}
    return found.sort_values("network", key=lambda column: column.map(order), ignore_index=True)


def pairs(table: pd.DataFrame) -> pd.DataFrame:
    """What ``against_a_sweep`` is the mean of: a row each network, density and seed that is on record both ways.

    A λ that has no ticket on some seed, where a layer ended empty or the loss was not finite, is no candidate.
    """
    found = []
    for (network, asked), own in table[(table.asked < 1) & (table["mask"] == LEARNED)].groupby(PLACE):
        calibrated, swept = own[own.lam.isna()], own[own.lam.notna()]
        if calibrated.empty or swept.empty:
            continue
        seeds = swept.groupby("lam").seed.transform("nunique")
        swept = swept[seeds == seeds.max()]
        best = swept.groupby("lam").val_accuracy.mean().idxmax()
        first, second = calibrated[["seed", *COMPUTED, "test_accuracy"]], swept[swept.lam == best]
        second = second[["seed", *COMPUTED, "alpha", "test_accuracy"]]
        both = first.merge(second, on=["seed", *COMPUTED], suffixes=("", "_by_hand"))
        both = both.rename(columns={"test_accuracy": "calibrated", "test_accuracy_by_hand": "by_hand"})
        both["points"] = both.calibrated - both.by_hand
        found.append(both.assign(network=network, asked=asked, lam=best, candidates=swept.lam.nunique()))
    columns = [*PLACE, "lam", "candidates", "seed", *MEANS, "points", "alpha"]
    return pd.concat(found) if found else pd.DataFrame(columns=columns).astype(dict.fromkeys(columns[1:], float))


def told(table: pd.DataFrame) -> str:
    """Sentences on ``against_a_sweep``: over all networks with three seeds, and those that differ beyond their
    intervals; how large the errors of the densities are; and which networks have no λ by hand."""
    found = against_a_sweep(table)
    known = found[found.n >= SEEDS]
    if known.empty:
        return "No λ by hand is on record with three seeds yet."
    clear = known[known.points.abs() > known.half_width]
    differ = [f"{row.network} ({number(row.points, row.half_width, '+')})" for row in clear.itertuples()]
    which = listed(differ) if differ else "no single one"
    without = [*found.network[found.candidates == 0]]
    none = f" There is no λ to compare with on {listed(without)}." if without else ""
    over = f"{len(known)} networks" if len(known) > 1 else "1 network"
    return (
        f"Over {over}, the calibrated ticket minus the best of the sweep is "
        f"{number(known.points.mean(), math.nan, '+')} points on average, from "
        f"{number(known.points.min(), math.nan, '+')} to {number(known.points.max(), math.nan, '+')}, n = "
        f"{span(known.n)}; by more than its interval: {which}. "
        f"Densities are off by {100 * known.error.max():.2g} % at most.{none}"
    )


def above_random(table: pd.DataFrame) -> str:
    """Sentences on where the calibrated ticket is above random masks of the same density, seed by seed, or below, or
    neither by its interval; and where fewer than three seeds were computed alike. "" if no such mask is on record."""
    found = against_a_sweep(table).dropna(subset="random")
    if found.empty:
        return ""
    paired, groups, unpaired = _against_random(table), {"above": [], "below": [], "not told apart": []}, []
    for place in found[PLACE].itertuples(index=False, name=None):
        if paired.n.get(place, 0) < SEEDS:
            unpaired.append(place[0])
            continue
        by, half_width = paired.loc[place, ["mean", "half_width"]]
        how = "above" if by > half_width else "below" if by < -half_width else "not told apart"
        groups[how].append(f"{place[0]} ({number(by, half_width, '+')})")
    told = ", ".join(f"{how} on {listed(networks)}" for how, networks in groups.items() if networks)
    said = [f"Against random masks of the same density, the calibrated ticket is {told}."] if told else []
    if unpaired:
        said.append(
            f"Random masks on {listed(unpaired)} were not computed alike (with the same vector instructions, on three "
            "seeds), so their accuracies stand in the table and are not compared."
        )
    return " ".join(said)


def _against_random(table: pd.DataFrame) -> pd.DataFrame:
    """Of each network and density on record how much more the calibrated ticket has than a random mask, over seeds."""
    on = [*PLACE, "seed", *COMPUTED]
    tickets = table[(table.asked < 1) & table.lam.isna()].set_index(on)
    learned, drawn = (tickets.test_accuracy[tickets["mask"] == which] for which in (LEARNED, RANDOM))
    return interval((learned - drawn).dropna().groupby(PLACE))


def readable(found: pd.DataFrame) -> pd.DataFrame:
    """The same to be read: test accuracies in percent; no difference is told from fewer than three seeds."""
    differences = [number(*row, "+") for row in found[["points", "half_width"]].to_numpy()]
    columns = {
        "network": found.network,
        "dense": found.dense.map("{:.1f}".format).where(found.dense.notna(), "–"),
        "random mask": found.random.map("{:.1f}".format).where(found.random.notna(), "–"),
        "calibrated": found.calibrated.map("{:.1f}".format),
        "best λ": found.by_hand.map("{:.1f}".format).where(found.by_hand.notna(), "–"),
        "cut at α": found.alpha.map("{:.2f}".format).where(found.alpha.notna(), "–"),
        "difference": [
            told if n >= SEEDS else "not enough seeds" if n else "–" for told, n in zip(differences, found.n)
        ],
        "n": found.n.astype(int),
        "of λ": found.candidates.astype(int),
        "density off by, %": (100 * found.error).map("{:.2f}".format),
    }
    return pd.DataFrame(columns).set_index("network").rename_axis(None)
