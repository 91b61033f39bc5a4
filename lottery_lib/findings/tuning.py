"""How much each method was tuned: the candidates that were tried, and whether the best lies at the edge of them."""

import math

import pandas as pd

from lottery_lib.experiments import protocols
from lottery_lib.findings import relaxed_masks, tables
from lottery_lib.findings.comparisons import listed
from lottery_lib.findings.tables import PLACE, SETTING

AXES = {"pressure": "λ·ηₘ", "mask_lr": "ηₘ", "start": "s₀"}  # pressure: how far the penalty moves an entry in a step


def candidates(table: pd.DataFrame) -> pd.DataFrame:
    """A row each line, place and density with λ by hand: how many ``candidates``, and at which of its ``edges``.

    Where there is one candidate, nothing was tuned. An edge is an axis of ``AXES`` along which the best candidate is
    the least or the largest of several values. Lines are those that are judged: candidates whose tickets need a larger
    α are of the line *top-k*.
    """
    runs = tables.named(table)
    runs = runs[runs.lam.notna()]
    runs = runs.assign(pressure=runs.lam * runs.mask_lr)
    best = tables.best(runs).drop_duplicates(SETTING).set_index(SETTING)
    rows = []
    for setting, tried in runs.groupby(SETTING, sort=False):
        tried = tried.drop_duplicates(tables.HYPERPARAMETERS)
        edges = [axis for axis in AXES if _at_an_edge(tried[axis], best.loc[setting, axis])]
        rows.append((*setting, len(tried), edges))
    return pd.DataFrame(rows, columns=[*SETTING, "candidates", "edges"])


def by_lambda(table: pd.DataFrame) -> pd.DataFrame:
    """Searches of one round by the plain log mask, a row each density, ηₘ and λ: mean validation ``accuracy``.

    ``behind``: how far below the best at that density, in points, of those on as many seeds as any has; NaN on fewer.
    ``soft``: whether a ticket is not the paper's (``tables.soft``).
    """
    runs = relaxed_masks.at_equal_density(table)
    runs = runs.assign(soft=tables.soft(runs.implied_alpha, runs.tied))
    groups = runs.groupby(["density_asked", "mask_lr", "lam"])
    found = groups.agg(accuracy=("val_accuracy", "mean"), soft=("soft", "any"), n=("seed", "nunique"))
    counted = found.accuracy.where(found.n == found.groupby("density_asked").n.transform("max"))
    return found.assign(behind=counted.groupby("density_asked").transform("max") - counted).reset_index()


def rates(table: pd.DataFrame) -> pd.DataFrame:
    """The peak learning rates tried for the dense network of each place, a row each: ``best`` on validation, whether it
    is the ``lowest`` or the ``highest`` of several, and how many points ``above`` the one that the protocol has, NaN if
    that was not tried; on how many seeds (``n``) these two are, and whether they were computed ``alike``.

    Trials are of the protocol's batch size, of equal length, and shorter than its recipe.
    """
    tried = table[(table.method == "dense") & table.lr.notna() & table.epochs.notna() & table.val_accuracy.notna()]
    rows = []
    for place, own in tried[tried.protocol.isin(protocols.PROTOCOLS)].groupby(PLACE, sort=False):
        recipe = protocols.config_class(place[0]).recipe
        own = own[own.batch_size.isna() | (own.batch_size == recipe.batch_size)]
        means = own.groupby("lr").val_accuracy.mean()
        if len(means) < 2:
            continue
        best, asked = means.idxmax(), recipe.lr
        ends = {"lowest": best == means.index.min(), "highest": best == means.index.max()}
        two = own[own.lr.isin([best, asked])]
        alike = len(two[tables.COMPUTED].drop_duplicates()) == 1
        n = two.groupby("lr").seed.nunique().min()
        rows.append((*place, best, *ends.values(), means[best] - means.get(asked, math.nan), n, alike))
    return pd.DataFrame(rows, columns=[*PLACE, "best", "lowest", "highest", "above", "n", "alike"])


def rates_told(found: pd.DataFrame) -> str:
    """A sentence on where ``rates`` are at the edge of what was tried, and where the protocol has not the best."""
    if found.empty:
        return "No rates were tried here."
    said = []
    found = found.assign(task=[tables.task(*place) for place in found[["model", "dataset", "protocol"]].to_numpy()])
    for end in ("lowest", "highest"):
        at = [f"{row.task} ({row.best:g})" for row in found[found[end]].itertuples()]
        said += [f"The best rate is the {end} that was tried for {listed(at)}."] if at else []
    behind = [
        f"{row.task}, where {row.best:g} is {row.above:.2g} points better on validation ({trial(row)})"
        for row in found[found.above > 0].itertuples()
    ]
    said += [f"The protocol does not have the best rate of {listed(behind)}."] if behind else []
    return " ".join(said) or "No best rate lies at the edge of what was tried."


def trial(row) -> str:
    """What the comparison of two ``rates`` rests on."""
    return f"n = {row.n}" + ("" if row.alike else ", on two kinds of machines")


def _at_an_edge(tried: pd.Series, value: float) -> bool:
    values = sorted(tried.astype(float).dropna().round(12).unique())
    return len(values) > 1 and round(float(value), 12) in (values[0], values[-1])


def readable(found: pd.DataFrame) -> pd.DataFrame:
    """``candidates`` as a table to read: a row a line; at which densities the best is the least or largest tried."""
    rows = []
    for (*place, name), of in found.groupby([*PLACE, "name"]):
        least, most = of.candidates.min(), of.candidates.max()
        at = of.explode("edges").groupby("edges").density_asked
        edges = {AXES[axis]: ", ".join(map("{:g}".format, densities)) for axis, densities in at}
        row = {"network": f"{tables.network(place[1], place[0])}, {place[0]}", "method": name}
        row["candidates"] = f"{least}" if least == most else f"{least} to {most}"
        rows.append(row | {f"at an edge in {axis}": edges.get(axis, "–") for axis in AXES.values()})
    return pd.DataFrame(rows).set_index("network").rename_axis(None) if rows else pd.DataFrame()
