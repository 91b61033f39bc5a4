"""What the records say of relaxed masks: where the threshold α cuts them, what it moves, and how decided they are.

A histogram (``masks.histogram``) resolves m to a hundredth: α and the bounds of the bimodality number lie on its edges.
"""

import numpy as np
import pandas as pd

from lottery_lib import masks, weights
from lottery_lib.experiments import records
from lottery_lib.findings import rules, tables
from lottery_lib.findings.cells import SEEDS
from lottery_lib.findings.tables import chosen

SEARCH = [*tables.PLACE, "regularizer", "eps", "lam", "mask_lr", "rounds", "rewind_epoch", "precision", "seed"]
DECIDED = 0.05  # the most of a layer's entries that may be between
OTHERS = ((0.05, 0.9), (0.1, 0.8), (0.05, 0.5))  # bounds


def sweeps(table: pd.DataFrame) -> pd.DataFrame:
    """The runs that thresholded a search at several α's, smallest first, with the column ``changed``.

    That is, of the weights that either of two tickets keeps, the share that the other drops: this one's, and the one's
    of the smallest α of the same search. It is known for runs with a mask on record (seed 0), and NaN for others.
    """
    runs = tables.by_protocol(table)
    runs = runs[runs.alpha.notna()].sort_values([*tables.PLACE, "seed", "alpha"], ignore_index=True)
    found = [_changes(search) for _, search in runs.groupby(SEARCH, dropna=False, sort=False) if len(search) > 1]
    return pd.concat(found, ignore_index=True) if found else runs[:0].assign(changed=0.0)


def _changes(search: pd.DataFrame) -> pd.DataFrame:
    kept = [ticket_mask(run) for run in search.run]
    return search.assign(changed=[1 - masks.overlap(kept[0], m) if kept[0] and m else np.nan for m in kept])


def ticket_mask(run: str) -> masks.Mask | None:
    """The mask of a run's ticket, where it is on record (seed 0)."""
    record, arrays = records.read_run(run)
    return records.mask(record, arrays["mask"]) if "mask" in arrays else None


def at_equal_density(table: pd.DataFrame) -> pd.DataFrame:
    """The searches of one round by the plain log mask that kept the k largest entries, a row each density and seed.

    Adds the column ``name``; ``implied_alpha`` is the α that keeps as many.
    """
    runs = tables.by_protocol(table)
    runs = runs[runs.alpha.isna() & runs.lam.notna() & (runs.method == "concave") & (runs["rounds"] == 1)]
    runs = runs.assign(name=tables.line_names(runs))
    return runs[runs.name == "mask, log"]


def by_alpha(table: pd.DataFrame) -> pd.DataFrame:
    """``tables.best`` of ``at_equal_density`` on each side of α = 0.1, for each η_m, and the dense and random lines.

    A line is called ``α ≤ 0.1, ηₘ = 10``. Its tickets lie on that side on all seeds, and none is filled up among ties.
    """
    runs = at_equal_density(table)
    candidate = [runs[column] for column in [*tables.SETTING, *tables.HYPERPARAMETERS]]
    sides = (runs.implied_alpha > tables.SMALL_ALPHA).groupby(candidate, dropna=False)
    filled = (runs.tied > tables.FEW_TIES).groupby(candidate, dropna=False).transform("any")
    larger, smaller = sides.transform("all"), ~sides.transform("any") & ~filled
    side = np.select([larger, smaller], ["α > 0.1", "α ≤ 0.1"], default="")
    runs = runs.assign(name=[f"{at}, ηₘ = {rate:g}" for at, rate in zip(side, runs.mask_lr)])[side != ""]
    counted = chosen(table)
    return pd.concat([tables.best(runs), counted[counted.name.isin(["dense", "random"])]], ignore_index=True)


def searches(table: pd.DataFrame) -> pd.DataFrame:
    """One run, with its ``name``, of each search of one round by a plain log or ℓ1 mask on record, the hardest last.

    How hard a search presses is λ·η_m: it tells how far the penalty alone moves an entry in a step.
    """
    runs = tables.by_protocol(table)
    runs = runs[(runs.method == "concave") & (runs["rounds"] == 1)]
    runs = runs.assign(name=tables.line_names(runs), pressure=runs.lam * runs.mask_lr)
    runs = runs[runs.name.isin(["mask, log", "mask, ℓ1"])].drop_duplicates(SEARCH)
    return runs.sort_values([*tables.PLACE, "name", "pressure", "seed"], ignore_index=True)


def counted(table: pd.DataFrame) -> pd.DataFrame:
    """The ``searches`` that count for C8: those that validation chose, under protocols that decide other claims too."""
    deciding = {entry["protocol"] for rule in rules.all_rules() for entry in rule.primary}
    runs = chosen(table)
    return searches(runs[runs.protocol.isin(deciding)])


def decided(runs: pd.DataFrame, bounds: tuple[float, float] = (masks.LOW, masks.HIGH)) -> pd.DataFrame:
    """A row each run of ``searches`` and layer, in order: how near its mask is to a binary one.

    The columns besides are those of ``shares`` with these ``bounds``.
    """
    rows = []
    for run in runs.itertuples():
        record, arrays = records.read_run(run.run)
        for number, (layer, counts) in enumerate(zip(record["layers"], arrays["histogram"], strict=True)):
            rows.append((run.run, weights.layer(layer["layer"]), number, *shares(counts, *bounds).values()))
    found = pd.DataFrame(rows, columns=["run", "layer", "number", "zero", "between", "top"])
    return found.merge(runs[["run", *tables.PLACE, "name", "lam", "mask_lr", "pressure", "seed"]], on="run")


def seeds(rows: pd.DataFrame) -> pd.Series:
    """Of each row of ``searches`` or ``decided`` on how many seeds its search is on record."""
    return rows.groupby([*tables.PLACE, "name", "lam", "mask_lr"]).seed.transform("nunique")


def shares(counts: np.ndarray, low: float = masks.LOW, high: float = masks.HIGH) -> dict[str, float]:
    """Of a layer's histogram the shares of entries that are ``zero`` and ``between`` 0.05 and 0.95; and ``top``.

    ``between``, the bimodality number, may be small only because nearly all entries are zero. ``top`` says whether what
    is left has gone to one: of the entries from 0.05 up the share that lies from 0.95 up; 0 where there are none.
    ``low`` and ``high`` are other bounds.
    """
    low, high = (1 + round(bound * (len(counts) - 2)) for bound in (low, high))
    weights, between, top = counts.sum(), counts[low:high].sum(), counts[high:].sum()
    return {"zero": counts[0] / weights, "between": between / weights, "top": top / max(between + top, 1)}


def samples(table: pd.DataFrame) -> dict[str, dict[str, tuple[dict, dict[str, np.ndarray]]]]:
    """Place -> name -> record and arrays: of each penalty the softest, a middle and the hardest search on seed 0."""
    found = {}
    for place, runs in tables.places(searches(table[table.seed == 0])).items():
        for called, rows in runs.groupby("name"):
            for run in rows.iloc[sorted({0, len(rows) // 2, len(rows) - 1})].itertuples():
                title = f"{called}: λ = {run.lam:g}\nηₘ = {run.mask_lr:g}"
                found.setdefault(place, {})[title] = records.read_run(run.run)
    return found


def is_bimodal(layers: pd.DataFrame) -> pd.Series:
    """Which rows of ``decided`` have at most 5 % of entries between, *and* most of those from 0.05 up at the top."""
    return (layers.between <= DECIDED) & (layers.top > 0.5)


def under_other_bounds(table: pd.DataFrame) -> str:
    """A sentence: how many of the layers that decide C8 would be bimodal with other bounds; "" if none is on record."""
    runs = counted(table)
    runs = runs[(runs.name == "mask, log") & (seeds(runs) >= SEEDS)]
    if runs.empty:
        return ""
    found = {bounds: decided(runs, bounds) for bounds in OTHERS}
    told = []
    for dataset in runs.sort_values("reduced", kind="stable").dataset.unique():
        rows = {bounds: layers[layers.dataset == dataset] for bounds, layers in found.items()}
        parts = [f"{is_bimodal(layers).sum()} with {low:g} and {high:g}" for (low, high), layers in rows.items()]
        told.append(f"on {tables.dataset(dataset)}, of {len(rows[OTHERS[0]])} layers, {', '.join(parts)}")
    return (
        f"With other bounds than {masks.LOW:g} and {masks.HIGH:g}, as many would count as bimodal: {'; '.join(told)}."
    )


def by_search(layers: pd.DataFrame) -> pd.DataFrame:
    """``decided`` as a table to read: a row a search, the hardest last; layers of all seeds are counted."""
    shown = layers.assign(network=tables.where(layers), bimodal=is_bimodal(layers)).sort_values(
        ["network", "name", "pressure"]
    )
    rows = []
    for search, group in shown.groupby(["network", "name", "lam", "mask_lr"], sort=False):
        between = f"{group.between.min():.1%} to {group.between.max():.1%}"
        counts = (int((group.top > 0.5).sum()), int(group.bimodal.sum()), len(group))
        rows.append((*search[:2], f"{search[2]:g}", f"{search[3]:g}", group.seed.nunique(), between, *counts))
    columns = ["network", "mask", "λ", "ηₘ", "n", "between, in a layer", "at the top", "bimodal", "layers"]
    return pd.DataFrame(rows, columns=columns).set_index("network").rename_axis(None)


def at_density(table: pd.DataFrame, density: float, names: list[str]) -> dict[str, tuple[dict, dict]]:
    """Name -> record and arrays of the chosen run at that density, on seed 0; one that is not on record is left out."""
    runs = chosen(table)
    runs = runs[(runs.density_asked == density) & (runs.seed == 0)].set_index("name")
    return {called: records.read_run(runs.loc[called, "run"]) for called in names if called in runs.index}


def first_layers(table: pd.DataFrame, density: float, names: list[str]) -> dict[str, np.ndarray]:
    """Name -> the first layer's mask (units, inputs) of the chosen run at that density."""
    layers = {}
    for called, (record, arrays) in at_density(table, density, names).items():
        layers[called] = next(iter(records.mask(record, arrays["mask"]).values())).numpy()
    return layers
