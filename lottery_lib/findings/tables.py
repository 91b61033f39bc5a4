"""The table of all ticket runs on record, what its lines are called, and which of its runs count.

A *place* is a network under a protocol; a *line* is a method in one of its forms, and has a ``name``. Runs are
compared within a place alone.
"""

import itertools
from functools import lru_cache
from pathlib import Path

import pandas as pd

from lottery_lib import paths, regularizers
from lottery_lib.experiments import records
from lottery_lib.experiments.catalogue import METHODS, Method, load_plugins
from lottery_lib.methods.magnitude import SCORES

COLUMNS = [
    "run", "protocol", "reduced", "dataset", "model", "method", "regularizer", "eps", "lam", "mask_lr", "alpha",
    "density_asked", "density", "seed", "rewind_epoch", "rounds", "search_epochs", "total_epochs", "val_accuracy",
    "test_accuracy", "seconds", "precision", "score", "start", "per_layer", "bimodality", "device", "torch_version",
    "commit", "fast", "epochs", "lr", "batch_size",
]  # fmt: skip
SOMETIMES_READ = ("regularizer", "eps", "lam", "mask_lr", "start", "alpha", "score")  # by methods; empty for others
HYPERPARAMETERS = ["lam", "mask_lr", "start", "rounds", "rewind_epoch"]  # what a line is tuned in
OVERRIDES = ["epochs", "lr", "batch_size"]  # of a protocol's recipe; empty in a run that follows it
PLACE = ["protocol", "model", "dataset", "reduced"]
SETTING = [*PLACE, "name", "density_asked"]
LABELS = {
    "lenet-300-100": "LeNet-300-100", "resnet20": "ResNet-20", "conv-small": "small CNN", "resnet18": "ResNet-18",
    "vgg16": "VGG-16", "vgg19": "VGG-19", "wrn-28-2": "WRN-28-2", "mnist": "MNIST", "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100", "tiny-imagenet": "Tiny ImageNet",
}  # fmt: skip


def runs() -> pd.DataFrame:
    """One row for each ticket run on record, with ``COLUMNS``. Densities are fractions, accuracies percent."""
    stamp = tuple((path.parent.name, path.stat().st_mtime_ns, path.stat().st_size) for path in records.finished())
    return _runs(paths.RESULTS, stamp).copy()


@lru_cache(1)  # a page asks a dozen times, and there are hundreds of files
def _runs(folder: Path, stamp: tuple) -> pd.DataFrame:
    rows = []
    for record in records.read_all():
        if "method" not in record["config"]:
            continue
        made, config = record["provenance"], dict(record["config"])
        facts = {"density_asked": config.pop("density"), "torch_version": made["torch"]}
        facts["precision"] = record["recipe"]["precision"]
        rows.append(config | record | facts | {"device": made["device"], "commit": made["commit"]})
    found = pd.DataFrame(rows, columns=COLUMNS)
    if not METHODS.keys() >= {*found.method}:
        load_plugins()
    for column in SOMETIMES_READ:
        among = [method for method, row in METHODS.items() if column in row.reads]
        found.loc[~found.method.isin(among), column] = None
    return found.sort_values(["protocol", "method", "regularizer", "density_asked", "seed", "run"], ignore_index=True)


def name(row: pd.Series) -> str:
    """What a run's line is called: its method, and what sets it apart from the method's plain form.

    A calibrated search and rounds set apart a method that may do without; so do an ε other than the default, rewinding
    to an early epoch, and one density for all layers.
    """
    method = METHODS.get(row.method, Method(None, row.method))  # of a package that is not here
    called = method.name(row.regularizer, row.score)
    if pd.notna(row.eps) and row.eps not in vars(regularizers.create(row.regularizer)).values():
        called += f", ε = {row.eps:g}"
    if "lam" in method.reads and pd.isna(row.lam):
        called += ", calibrated"
    if "rounds" in method.reads and _given(row["rounds"]) > 1:
        called += ", in rounds"
    if _given(row.rewind_epoch):
        called += ", early rewinding"
    return called + ", per layer" if _given(row.per_layer) else called


def _given(value: float | None) -> float:
    return value if pd.notna(value) else 0


def names() -> list[str]:
    """Of all methods in their plain forms, in the order of ``METHODS``; the log penalty before others."""
    penalties = sorted(regularizers.REGULARIZERS, key=lambda penalty: penalty != "log")
    forms = [*itertools.product(penalties, SCORES)]
    return list(dict.fromkeys(method.name(*form) for method in METHODS.values() for form in forms))


def rank(name: str) -> tuple[int, str]:
    """The order of names: that of the methods in ``METHODS``, each with its forms after it."""
    known = names()
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
