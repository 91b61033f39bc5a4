"""What a ticket costs: steps timed by ``benchmarks/``, and from them the seconds to each method's ticket."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import pandas as pd

from lottery_lib import paths
from lottery_lib.errors import LotteryError
from lottery_lib.experiments import records
from lottery_lib.experiments.catalogue import METHODS
from lottery_lib.findings import comparisons, pages, tables

KINDS = {  # of work, as benchmarks/ name them -> what they are called
    "products": "convolutions and products",
    "other": "all else that is computed",
    "optimizer": "optimiser",
    "mask": "mask",
    "between": "between operations",
}
LOOPS = {  # (loop, phase) as benchmarks/ name them -> what they are called
    ("ours", "dense"): "dense",
    ("ours", "relaxed"): "relaxed: weights and mask",
    ("ours", "calibrated"): "calibrated: λ and ηₘ as well",
    ("ours", "masked"): "under a fixed mask",
    ("uncompiled", "dense"): "dense, not compiled",
    ("reference", "masked"): "the usual loop, under a fixed mask",
}
RATIOS = (
    ("relaxed / dense", ("ours", "relaxed"), ("ours", "dense")),
    ("calibrated / relaxed", ("ours", "calibrated"), ("ours", "relaxed")),
    ("usual / ours", ("reference", "masked"), ("ours", "masked")),
)
COMPARED = ("mask, log, calibrated", "mask, log", "mask, ℓ1", "IMP")  # whose steps are timed


@dataclass(frozen=True)
class Selection(pages.Selection):
    """What the chapter shows: one machine's measurements, and the density at which tickets are priced.

    LotteryError if there is nothing of it on record.
    """

    machine: str = ""  # the beginning of its name; empty: the one measured last

    def __post_init__(self):
        super().__post_init__()
        if not self._named:
            known = ", ".join(measured())
            raise LotteryError(f"machine = {self.machine!r}: no such one was measured; known: {known}")

    @property
    def found(self) -> dict:
        """What ``python -m benchmarks`` wrote there."""
        return max(self._named, key=lambda found: found["provenance"]["date"])

    @property
    def _named(self) -> list[dict]:
        return [found for name, found in measured().items() if name.startswith(self.machine)]


def measured(folder: Path = paths.BENCHMARKS) -> dict[str, dict]:
    """Machine -> what ``python -m benchmarks`` wrote on it; LotteryError if it was run on none."""
    found = [json.loads(path.read_text("utf-8")) for path in sorted(folder.glob("*.json"))]
    if not found:
        raise LotteryError(f"no measurements in {folder}; make them with: make bench")
    return {each["provenance"]["device"]: each for each in found}


def steps(found: dict, part: str = "steps") -> pd.DataFrame:
    """One row a network, loop and phase: ``ms`` a step and the ``limit``, medians of ``n`` rounds; their ratio.

    The ratio ``over_limit`` is the median of that of each round, as a shared machine's speed changes between rounds;
    ``least`` and ``most`` are its range. ``part`` is "steps", or "widths" of one network.
    """
    rows = pd.DataFrame(found[part])
    ratios = _ratios(rows.ms, rows.limit)
    rows = rows.assign(over_limit=[*map(median, ratios)], least=[*map(min, ratios)], most=[*map(max, ratios)])
    return rows.assign(n=rows.ms.map(len), ms=rows.ms.map(median), limit=rows.limit.map(median))


def at_once(found: dict) -> pd.DataFrame:
    """Trainings at once on one machine, a process each: a step's share of its time, networks down, how many across.

    ``ms`` is the time divided by the steps that all trainings took in it, the median of rounds; ``over_limit`` that in
    multiples of the limit (of medians, as the limit was measured at another moment). Empty for a GPU.
    """
    rows = pd.DataFrame(found.get("at_once", []), columns=["model", "trainings", "steps_per_second"])
    rows["ms"] = 1000 / rows.steps_per_second.map(median).astype(float)
    rows["over_limit"] = rows.ms / rows.model.map(steps(found).groupby("model").limit.median())
    wide = rows.pivot(index="model", columns="trainings", values=["ms", "over_limit"]).loc[rows.model.unique()]
    return wide.rename(index=tables.network).rename_axis(None)


def shares(found: dict) -> pd.DataFrame:
    """``at_once`` as a table to read: networks across."""
    found = at_once(found)
    called = {"ms": "{} at once, ms a step", "over_limit": "{} at once / limit"}
    return found.set_axis([called[value].format(count) for value, count in found.columns], axis=1).round(2).T


def summary(found: dict) -> pd.DataFrame:
    """A table to read: networks down; precision, limit, every loop's ms a step, and the ratios that matter across.

    Ratios are medians of those of each round, in which the loops took turns.
    """
    rows = steps(found)
    names = rows.model.unique()
    wide = rows.pivot(index="model", columns=["loop", "phase"], values=["ms", "over_limit"]).loc[names]
    each = pd.DataFrame(found["steps"]).pivot(index="model", columns=["loop", "phase"], values="ms").loc[names]
    shown = (
        rows.groupby("model").agg(**{"precision": ("precision", "first"), "limit, ms": ("limit", "median")}).loc[names]
    )
    for key, called in measured_loops(rows).items():
        shown[f"{called}, ms"] = wide[("ms", *key)]
    shown["dense / limit"] = wide["over_limit", "ours", "dense"]
    for called, first, second in RATIOS:
        if first in each:
            shown[called] = [*map(median, _ratios(each[first], each[second]))]
    return shown.round(2).rename(index=tables.network).rename_axis(None)


def measured_loops(rows: pd.DataFrame) -> dict[tuple[str, str], str]:
    """Those of ``LOOPS`` that are among rows of ``steps``: an older measurement has fewer."""
    there = {*zip(rows.loop, rows.phase)}
    return {key: called for key, called in LOOPS.items() if key in there}


def machines(measurements: Iterable[dict]) -> pd.DataFrame:
    """A dense step in multiples of the limit, and the precision the machine chose: networks down, machines across."""
    rows = pd.concat([steps(found).assign(machine=found["provenance"]["device"]) for found in measurements])
    rows = rows[(rows.loop == "ours") & (rows.phase == "dense")]
    rows = rows.assign(shown=rows.over_limit.map("{:.2f}".format) + " in " + rows.precision)
    wide = rows.pivot(index="model", columns="machine", values="shown").loc[rows.model.unique()]
    return wide.rename(index=tables.network).rename_axis(None).rename_axis(None, axis=1)


def _ratios(first: pd.Series, second: pd.Series) -> list[list[float]]:
    """Of two columns of times, row by row, the ratios of those measured in the same round."""
    return [[a / b for a, b in zip(*pair)] for pair in zip(first, second)]


def where(found: dict, phase: str) -> pd.DataFrame:
    """Where a step's time goes, in multiples of the limit: networks down, kinds of work across. Empty for a GPU."""
    rows = [row for row in found["steps"] if "where" in row and row["phase"] == phase]
    parts = pd.DataFrame([row["where"] for row in rows], index=[tables.network(row["model"]) for row in rows])
    parts = parts.div(parts.pop("limit"), axis=0) if rows else parts
    return parts.assign(**{"the step": parts.sum(axis=1)}).rename(columns=KINDS).round(2)


def to_a_ticket(table: pd.DataFrame, found: dict, density: float) -> pd.DataFrame:
    """Epochs and seconds to a retrained ticket of that density, and its accuracy, for the methods ``COMPARED``.

    Seconds are the epochs' steps at the step times measured on one machine, not those of the records, whose machines
    differ and were busy. What was not timed at that width and batch size is left out.
    """
    runs = tables.chosen(table)
    runs = runs[runs.name.isin(COMPARED) & (runs.density_asked == density)]
    times = steps(found).set_index(["model", "width", "batch_size", "loop", "phase"]).ms
    rows = []
    for line, each in runs.groupby(["protocol", "model", "name"], sort=False):
        protocol, model, called = line
        run = each.iloc[0]
        record = records.read_record(run.run)
        timed = model, record.get("width", 1.0), record["recipe"]["batch_size"], "ours"
        if (*timed, "dense") not in times.index:
            continue
        epoch = record["images"]["train"] // record["recipe"]["batch_size"] / 1000  # its steps; and ms are not s
        masked, phase = times[(*timed, "masked")], "relaxed" if METHODS[run.method].moves_a_mask else "masked"
        if phase == "relaxed" and pd.isna(run.lam) and (*timed, "calibrated") in times.index:
            phase = "calibrated"
        search = times[(*timed, phase)]
        seconds = epoch * (run.search_epochs * search + (run.total_epochs - run.search_epochs) * masked)
        rows.append(
            {"method": called, "network": f"{tables.network(model, protocol)}, {protocol}", "epochs": run.total_epochs,
             "seconds": round(seconds), "test accuracy, %": round(each.test_accuracy.mean(), 2), "n": len(each)}
        )  # fmt: skip
    priced = pd.DataFrame(rows, columns=["method", "network", "epochs", "seconds", "test accuracy, %", "n"])
    return priced.set_index("method").sort_values("network", kind="stable").rename_axis(None)


def accuracy_of_the_fast_path(table: pd.DataFrame) -> pd.DataFrame:
    """Does speed cost accuracy? Dense training as it is run, and in fp32 uncompiled, on the same seeds: % on test.

    The difference comes with its 95 % interval (Student's t over seeds). Empty while nothing was run both ways with the
    same vector instructions and threads.
    """
    dense = tables.by_recipe(table[table.method == "dense"])
    runs = dense.assign(name=dense.fast.eq(False).map({True: "plain", False: "fast"}))
    both = runs.pivot_table(index=[*tables.PLACE, "seed", "vectors", "threads"], columns="name", values="test_accuracy")
    both = both.reindex(columns=["fast", "plain"]).dropna()
    found = comparisons.interval((both.fast - both.plain).groupby(tables.PLACE)).reset_index()
    label = [tables.label(*place) for place in found[tables.PLACE].to_numpy()]
    difference = [comparisons.estimate(row.mean, row.half_width, row.n, sign="+") for row in found.itertuples()]
    return pd.DataFrame({"fast − plain, % on test": difference, "n": found.n.to_list()}, index=label)


def machine(found: dict) -> str:
    """A sentence on what was measured, where, and how often."""
    made, rows = found["provenance"], steps(found)
    compiling = rows[(rows.loop == "ours") & (rows.phase == "dense")].set_index("model").warm_up_seconds
    warm = ", ".join(f"{tables.network(model)} {seconds:.0f} s" for model, seconds in compiling.items())
    return (
        f"Measured on: {made['device']}, {made['threads']} threads, torch {made['torch']}; "
        f"medians of {comparisons.span(rows.n)} measurements. The first round, which compiles, is not "
        f"counted: {warm}."
    )


def memory(found: dict) -> pd.DataFrame:
    """Bytes a weight at a step's peak, beside the weight itself, phase by phase."""
    rows = pd.DataFrame(found["memory"]).set_index("phase").bytes_a_weight
    found = pd.DataFrame({"bytes a weight": rows, "beyond dense": rows - rows["dense"]}).round(1).rename_axis(None)
    return found.rename(index=lambda phase: LOOPS["ours", phase])
