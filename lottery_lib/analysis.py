"""From the table of runs to what is compared: hyper-parameters chosen on validation, means and intervals over seeds."""

import math

import numpy as np
import pandas as pd
from scipy import stats

from . import masks, records

HYPERPARAMETERS = ["eps", "lam", "mask_lr", "start", "rounds", "per_layer"]  # what a method is tuned in
SETTING = ["protocol", "name", "density_asked"]
NAMES = {  # of methods, as figures and tables call them; the order is theirs too
    ("dense", None): "dense",
    ("concave", "log"): "mask, log",
    ("concave", "l1"): "mask, ℓ1",
    ("imp", None): "IMP",
    ("lr-rewinding", None): "IMP, LR rewinding",
    ("gradual", None): "gradual magnitude",
    ("continuous", None): "Continuous Sparsification",
    ("one-shot", "magnitude"): "one-shot magnitude",
    ("one-shot", "increase"): "one-shot magnitude increase",
    ("snip", None): "SNIP",
    ("grasp", None): "GraSP",
    ("synflow", None): "SynFlow",
    ("random", None): "random",
    ("shuffled", None): "mask, log: shuffled",
    ("reinitialised", None): "mask, log: re-initialised",
}


def name(row: pd.Series) -> str:
    """What a run's method is called; penalties without a name of their own are called by the regulariser."""
    detail = {"concave": row.regularizer, "one-shot": row.score}.get(row.method)
    return NAMES.get((row.method, detail), f"{row.method}, {detail}")


def chosen(table: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """The runs that count: of each method at each density, those with the hyper-parameters best on validation.

    The choice is made on ``seed`` alone, by validation accuracy, and holds for all seeds; the test accuracy has no part
    in it. Runs at a threshold α are left out, as their density is not the one asked for. Adds the column ``name``.
    """
    runs = table[table.alpha.isna()].copy()
    runs["name"] = runs.apply(name, axis=1)
    # one text for each setting of the hyper-parameters, as missing values never equal each other
    runs["tuned"] = runs[HYPERPARAMETERS].map(repr).agg(" ".join, axis=1)
    first = runs[runs.seed == seed].sort_values("val_accuracy", ascending=False).drop_duplicates(SETTING)
    return runs.merge(first[[*SETTING, "tuned"]], on=[*SETTING, "tuned"]).drop(columns="tuned")


def summary(runs: pd.DataFrame, value: str = "test_accuracy") -> pd.DataFrame:
    """Mean of ``value`` over the seeds of each setting, half the width of its 95 % interval (Student's t), and n.

    The interval of a single seed is unknown, NaN.
    """
    grouped = runs.groupby([*SETTING], sort=False)
    found = grouped[value].agg(mean="mean", n="count", deviation="std").reset_index()
    found["total_epochs"] = grouped["total_epochs"].mean().to_numpy()
    found["density"] = grouped["density"].mean().to_numpy()
    t = found.n.map(lambda n: stats.t.ppf(0.975, n - 1) if n > 1 else math.nan)
    found["half_width"] = t * found.deviation / found.n.map(math.sqrt)
    order = {called: place for place, called in enumerate(NAMES.values())}
    return found.drop(columns="deviation").sort_values(
        ["name", "density_asked"], key=lambda column: column.map(order) if column.name == "name" else -column,
        ignore_index=True,
    )  # fmt: skip


def pivot(found: pd.DataFrame) -> pd.DataFrame:
    """What ``summary`` found as a table to read: methods down, densities across, mean ± half width of the interval."""
    cells = found.assign(text=[_cell(row.mean, row.half_width) for row in found[["mean", "half_width"]].itertuples()])
    shown = cells.pivot(index="name", columns="density_asked", values="text")
    shown = shown.loc[found.name.unique(), sorted(shown.columns, reverse=True)].fillna("–")
    return shown.rename(columns="{:g}".format).rename_axis(None).rename_axis("density", axis="columns")


def _cell(mean: float, half_width: float) -> str:
    return f"{mean:.2f}" if math.isnan(half_width) else f"{mean:.2f} ± {half_width:.2f}"


def status(table: pd.DataFrame) -> str:
    """A sentence on what is on record: runs, seeds and machines."""
    if table.empty:
        return "No run is on record yet."
    seeds = sorted(table.seed.unique())
    return (
        f"On record: {len(table)} runs, seeds {', '.join(map(str, seeds))} (n = {len(seeds)} where a setting is "
        "complete; a value from one seed is preliminary, without interval), "
        f"{', '.join(sorted(table.precision.unique()))}, on "
        f"{', '.join(sorted(table.device.unique()))}. A run's config stands in its record in `results/`."
    )


def at_density(table: pd.DataFrame, density: float, names: list[str], seed: int = 0) -> dict[str, tuple[dict, dict]]:
    """Name -> record and arrays of the chosen run at that density; a method that is not on record is left out."""
    runs = chosen(table, seed)
    runs = runs[(runs.density_asked == density) & (runs.seed == seed)].set_index("name")
    return {called: records.read_run(runs.loc[called, "run"]) for called in names if called in runs.index}


def first_layers(table: pd.DataFrame, density: float, names: list[str]) -> dict[str, np.ndarray]:
    """Name -> the first layer's mask (units, inputs) of the chosen run at that density."""
    layers = {}
    for called, (record, arrays) in at_density(table, density, names).items():
        shapes = {layer["layer"]: layer["shape"] for layer in record["layers"]}
        layers[called] = next(iter(masks.unpack(arrays["mask"], shapes).values())).numpy()
    return layers


def sentence(record: dict) -> str:
    """What a run came to, for a page that has just made it."""
    return (
        f"**{record['config']['method']}** kept {100 * record['density']:.2f} % of the weights after "
        f"{record['search_epochs']:g} epochs of search; retrained, {record['total_epochs']:g} epochs in all and "
        f"{record['seconds']:.0f} s, the ticket classifies {record['val_accuracy']:.2f} % of the validation and "
        f"{record['test_accuracy']:.2f} % of the test images."
    )
