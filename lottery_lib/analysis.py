"""From the table of runs to what is compared: hyper-parameters chosen on validation, means and intervals over seeds.

A *place* is a network under a protocol; a *line* is a method in one of its forms, and has a ``name``. Runs are
compared within a place alone.
"""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from . import experiments, masks, paths, records, regularizers, sweeps, ticket_runs
from .errors import LotteryError
from .params import hint

HYPERPARAMETERS = ["lam", "mask_lr", "start", "rounds", "rewind_epoch"]  # what a line is tuned in
OVERRIDES = ["epochs", "lr", "batch_size"]  # of a protocol's recipe; empty in a run that follows it
PLACE = ["protocol", "model", "dataset", "reduced"]
SETTING = [*PLACE, "name", "density_asked"]
NAMES = {  # of methods, as figures and tables call them; the order is theirs too
    ("dense", None): "dense",
    ("concave", "log"): "mask, log",
    ("concave", "l1"): "mask, ℓ1",
    ("imp", "magnitude"): "IMP",
    ("lr-rewinding", "magnitude"): "IMP, LR rewinding",
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
LABELS = {
    "lenet-300-100": "LeNet-300-100", "resnet20": "ResNet-20", "conv-small": "small CNN", "resnet18": "ResNet-18",
    "vgg16": "VGG-16", "vgg19": "VGG-19", "wrn-28-2": "WRN-28-2", "mnist": "MNIST", "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100", "tiny-imagenet": "Tiny ImageNet",
}  # fmt: skip


def name(row: pd.Series) -> str:
    """What a run's line is called: its method, and what sets it apart from the method's plain form.

    Rounds set a learned mask apart, as its plain form has one; so do an ε other than the default, rewinding to an early
    epoch, and one density for all layers. A penalty without a name of its own is called by the regulariser.
    """
    score = row.score if pd.notna(row.score) else "magnitude"
    detail = {"concave": row.regularizer, "one-shot": score, "imp": score, "lr-rewinding": score}.get(row.method)
    called = NAMES.get((row.method, detail), f"{row.method}, {detail}")
    if pd.notna(row.eps) and row.eps not in vars(regularizers.create(row.regularizer)).values():
        called += f", ε = {row.eps:g}"
    if row.method in ("concave", "continuous", *ticket_runs.DERIVED) and _given(row["rounds"]) > 1:
        called += ", in rounds"
    if _given(row.rewind_epoch):
        called += ", early rewinding"
    return called + ", per layer" if _given(row.per_layer) else called


def _given(value: float | None) -> float:
    return value if pd.notna(value) else 0


def rank(name: str) -> tuple[int, str]:
    """The order of names: that of the methods in ``NAMES``, each with its forms after it."""
    known = list(NAMES.values())
    base = max((base for base in known if name.startswith(base)), key=len, default=None)
    return (known.index(base) if base else len(known)), name


def places(frame: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """What to call a place -> its rows, for every place in a frame that has the columns of ``PLACE``."""
    return {label(*place): rows for place, rows in frame.groupby(PLACE)}


def network(model: str) -> str:
    return LABELS.get(model, model)


def label(protocol: str, model: str, dataset: str, reduced: bool) -> str:
    """As in ``ResNet-20 on CIFAR-10 (cifar-short, reduced)``."""
    shown = f"{network(model)} on {LABELS.get(dataset, dataset)}"
    return f"{shown} ({protocol}, reduced)" if reduced else f"{shown} ({protocol})"


def by_recipe(table: pd.DataFrame) -> pd.DataFrame:
    """The runs that override nothing of their protocol's recipe, compiled or not."""
    return table[table[OVERRIDES].isna().all(axis=1)]


def by_protocol(table: pd.DataFrame) -> pd.DataFrame:
    """The runs that follow their protocol: none that overrides its recipe, or ran uncompiled to be compared with."""
    runs = by_recipe(table)
    return runs[runs.fast.ne(False)]


def chosen(table: pd.DataFrame) -> pd.DataFrame:
    """The runs that count: of each line at each density, those with the hyper-parameters best on validation.

    Runs at a threshold α are left out, as their density is not the one asked for, and so are those that do not follow
    their protocol. Adds the column ``name``; see ``best`` for the choice.
    """
    runs = by_protocol(table)
    runs = runs[runs.alpha.isna()]
    return best(runs.assign(name=[name(row) for _, row in runs.iterrows()]))


def best(runs: pd.DataFrame) -> pd.DataFrame:
    """Of each ``SETTING`` the runs with the hyper-parameters best on validation, one a seed.

    Candidates are what the first seed tried. They are compared by their mean validation accuracy over the seeds that
    all of them have, the first among these; the test accuracy has no part in it. Of equals, the one on record for more
    seeds counts. Where a seed ran in two precisions, fp32 counts.
    """
    # one text for each setting of the hyper-parameters, as missing values never equal each other
    runs = runs.assign(tuned=runs[HYPERPARAMETERS].map(repr).agg(" ".join, axis=1) if len(runs) else "")
    runs = runs.sort_values("precision", ascending=False, kind="stable").drop_duplicates([*SETTING, "tuned", "seed"])
    first = runs[runs.seed == runs.groupby(SETTING).seed.transform("min")]
    tried = runs.merge(first[[*SETTING, "tuned"]], on=[*SETTING, "tuned"])
    candidates = tried.groupby(SETTING).tuned.transform("nunique")
    shared = tried[tried.groupby([*SETTING, "seed"]).tuned.transform("nunique") == candidates]
    means = shared.groupby([*SETTING, "tuned"]).val_accuracy.mean().reset_index()
    seeds = tried.groupby([*SETTING, "tuned"]).seed.count().rename("seeds").reset_index()
    order = means.merge(seeds, on=[*SETTING, "tuned"]).sort_values(["val_accuracy", "seeds"], ascending=False)
    winners = order.drop_duplicates(SETTING)
    return tried.merge(winners[[*SETTING, "tuned"]], on=[*SETTING, "tuned"]).drop(columns="tuned")


def interval(groups: pd.api.typing.SeriesGroupBy) -> pd.DataFrame:
    """Of each group its ``mean``, ``n``, and ``half_width`` of its 95 % interval (Student's t); NaN if n = 1."""
    found = groups.agg(mean="mean", n="count", deviation="std")
    t = found.n.map(lambda n: stats.t.ppf(0.975, n - 1) if n > 1 else math.nan)
    return found.assign(half_width=t * found.deviation / found.n.map(math.sqrt)).drop(columns="deviation")


def summary(runs: pd.DataFrame, value: str = "test_accuracy") -> pd.DataFrame:
    """Mean of ``value`` over the seeds of each setting, half the width of its 95 % interval (Student's t), and n.

    The interval of a single seed is unknown, NaN. ``total_epochs`` and ``density`` are means too.
    """
    if runs.empty:
        return pd.DataFrame(columns=[*SETTING, "mean", "n", "half_width", "total_epochs", "density"])
    grouped = runs.groupby(SETTING)
    found = interval(grouped[value]).join(grouped[["total_epochs", "density"]].mean()).reset_index()
    order = [(*place, rank(called), -density) for *place, called, density in found[SETTING].to_numpy()]
    return found.iloc[sorted(range(len(found)), key=order.__getitem__)].reset_index(drop=True)


def pivot(found: pd.DataFrame) -> pd.DataFrame:
    """What ``summary`` found as a table to read: methods down, densities across, mean ± half width of the interval.

    More than one place is told apart by a first column.
    """
    cells = found.assign(text=[number(row.mean, row.half_width) for row in found[["mean", "half_width"]].itertuples()])
    cells["network"] = found.model.map(network) + ", " + found.protocol
    index = ["name"] if cells.network.nunique() < 2 else ["network", "name"]
    shown = cells.pivot(index=index, columns="density_asked", values="text")
    order = cells.set_index(index).index.drop_duplicates()
    shown = shown.loc[order, sorted(shown.columns, reverse=True)].fillna("–")
    return shown.rename(columns="{:g}".format).rename_axis([None] * len(index)).rename_axis("density", axis="columns")


def number(mean: float, half_width: float, sign: str = "") -> str:
    """``mean ± half width`` of an accuracy in percent, to be broken before ± only; no interval where it is unknown."""
    shown = f"{mean:{sign}.2f}".replace("-", "−")
    return shown if math.isnan(half_width) else f"{shown} ±\N{NO-BREAK SPACE}{half_width:.2f}"


def paired(runs: pd.DataFrame, contrasts: Mapping[str, tuple[str, str]]) -> pd.DataFrame:
    """First line minus second in test accuracy, over the seeds that have both, at equal density and in the same place.

    ``contrasts``: what to call one -> the names of its two lines. A row each contrast, place and density: ``mean``,
    ``half_width`` and ``n`` as in ``interval``, and the training epochs of both, ``epochs`` and ``epochs_other``.
    """
    found = []
    for contrast, lines in contrasts.items():
        first, second = (runs[runs.name == line] for line in lines)
        both = first.merge(second, on=[*PLACE, "density_asked", "seed"], suffixes=("", "_other"))
        both["difference"] = both.test_accuracy - both.test_accuracy_other
        grouped = both.groupby([*PLACE, "density_asked"])
        epochs = grouped[["total_epochs", "total_epochs_other"]].mean()
        epochs.columns = ["epochs", "epochs_other"]
        found.append(interval(grouped.difference).join(epochs).reset_index().assign(contrast=contrast))
    order, falling = [*PLACE, "density_asked"], [*(True for _ in PLACE), False]
    return pd.concat(found, ignore_index=True).sort_values(order, ascending=falling, kind="stable", ignore_index=True)


@dataclass(frozen=True)
class Selection:
    """What a chapter shows: the runs of one protocol, or of all, and where it needs one a density.

    LotteryError if there is nothing of it on record.
    """

    protocol: str = "all"
    density: float | None = None

    def __post_init__(self):
        table = experiments.table()
        if self.protocol != "all" and self.protocol not in (known := ["all", *table.protocol.unique()]):
            raise LotteryError(f"protocol = {self.protocol!r}: no run of it is on record{hint(self.protocol, known)}")
        densities = sorted(self.table.density_asked.unique(), reverse=True)
        if self.density is not None and self.density not in densities:
            raise LotteryError(f"density = {self.density!r}: on record are {', '.join(map('{:g}'.format, densities))}")

    @property
    def table(self) -> pd.DataFrame:
        table = experiments.table()
        return table if self.protocol == "all" else table[table.protocol == self.protocol]


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


def pending() -> str:
    """A sentence on what the grids in ``workflow/grids`` ask for and is not on record yet; empty once all of it is."""
    asked = {run for path in sorted(paths.GRIDS.glob("*.yaml")) for group in sweeps.grid(path.stem) for run in group}
    runs = [run for run in asked if isinstance(run, ticket_runs.TicketRun)]
    labels = {run: label(run.protocol, run.model, run.dataset, run.reduced) for run in runs}
    total = Counter(labels.values())
    done = Counter(place for run, place in labels.items() if records.exists(run))
    left = [f"{place}, {done[place]} of {total[place]} runs" for place in sorted(total) if done[place] < total[place]]
    return f"Still being put on record: {'; '.join(left)}. What this page says follows by itself." if left else ""


def at_density(table: pd.DataFrame, density: float, names: list[str], seed: int = 0) -> dict[str, tuple[dict, dict]]:
    """Name -> record and arrays of the chosen run at that density; a method that is not on record is left out."""
    runs = chosen(table)
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
