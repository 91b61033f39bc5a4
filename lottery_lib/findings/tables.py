"""The table of all ticket runs on record, what its lines are called, and which of its runs count.

A *place* is a network under a protocol; a *line* is a method in one of its forms, and has a ``name``. Runs are
compared within a place alone.
"""

import itertools
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from lottery_lib import paths, regularizers
from lottery_lib.errors import LotteryError
from lottery_lib.experiments import records
from lottery_lib.experiments.catalogue import METHODS, Method, load_plugins
from lottery_lib.experiments.protocols import PROTOCOLS
from lottery_lib.methods.magnitude import SCORES
from lottery_lib.provenance import GPU, vectors

COLUMNS = [
    "run", "protocol", "reduced", "dataset", "model", "method", "regularizer", "eps", "lam", "mask_lr", "alpha",
    "density_asked", "density", "seed", "rewind_epoch", "rounds", "search_epochs", "total_epochs", "val_accuracy",
    "test_accuracy", "seconds", "precision", "score", "start", "per_layer", "bimodality", "device", "torch_version",
    "commit", "fast", "epochs", "lr", "batch_size", "vectors", "threads", "implied_alpha", "tied", "length",
    "asked_rounds", "search_length", "search_images", "coarse", "width", "train_images",
]  # fmt: skip
SOMETIMES_READ = ("regularizer", "eps", "lam", "mask_lr", "start", "alpha", "score")  # by methods; empty for others
NAMED_BY = [
    "method", "regularizer", "score", "eps", "lam", "length", "asked_rounds", "rounds", "search_length",
    "search_images", "coarse", "rewind_epoch", "per_layer",
]  # fmt: skip
HYPERPARAMETERS = ["lam", "mask_lr", "start", "rounds", "rewind_epoch"]  # what a line is tuned in
OVERRIDES = ["epochs", "lr", "batch_size"]  # of a protocol's recipe; empty in a run that follows it
PLACE = ["protocol", "model", "dataset", "reduced"]
SETTING = [*PLACE, "name", "density_asked"]
COMPUTED = ["precision", "vectors", "threads"]  # what rounds sums otherwise, and makes another ticket in the end
UNTRAINED = ("frozen", "edge-popup")  # methods that train no weight under the mask
SMALL_ALPHA, FEW_TIES = 0.1, 0.05  # the most of a ticket that counts as the paper's
TOP_K = ", top-k"
WIDTHS = {0.25: "¼", 0.5: "½"}
LABELS = {
    "lenet-300-100": "LeNet-300-100", "resnet20": "ResNet-20", "conv-small": "small CNN", "resnet18": "ResNet-18",
    "vgg16": "VGG-16", "vgg19": "VGG-19", "wrn-28-2": "WRN-28-2", "logistic": "linear classifier",
    "mnist": "MNIST", "cifar10": "CIFAR-10",
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
        try:
            rows.append(_row(record))
        except (ArithmeticError, LookupError, TypeError, ValueError) as reason:
            if isinstance(reason, LotteryError):
                raise
            raise records.damaged(folder / record["run"] / "record.json", reason) from reason
    found = pd.DataFrame(rows, columns=COLUMNS)
    if not METHODS.keys() >= {*found.method}:
        load_plugins()
    for column in SOMETIMES_READ:
        among = [method for method, row in METHODS.items() if column in row.reads]
        found.loc[~found.method.isin(among), column] = None
    return found.sort_values(["protocol", "method", "regularizer", "density_asked", "seed", "run"], ignore_index=True)


def _row(record: dict) -> dict:
    made, config = record["provenance"], dict(record["config"])
    facts = {"density_asked": config.pop("density"), "torch_version": made["torch"]}
    facts |= {"asked_rounds": config["rounds"], "train_images": record["images"]["train"]}
    facts["width"] = record.get("width", 1.0)  # older records have none, and are all of whole networks
    facts |= computed(record) | _cut(record)
    return config | record | facts | {"device": made["device"], "commit": made["commit"]}


def computed(record: dict) -> dict:
    """The arithmetic that a record was made with, by ``COMPUTED``; one GPU rounds otherwise than another."""
    made = record["provenance"]
    used = made["device"] if vectors(made) == GPU else vectors(made)
    return {"precision": record["recipe"]["precision"], "vectors": used, "threads": made["threads"]}


def _cut(record: dict) -> dict[str, float]:
    """Where a concave mask's ticket cuts it, and the share of the ticket that a tie-break decided.

    Keeping the k largest entries *is* a threshold, at the k-th largest. Records hold a histogram: it is known to a
    hundredth, rounded down. Ties are entries at exactly 0, or 1, of which some are kept and others not.
    """
    config = record["config"]
    if config["method"] != "concave":
        return {}
    if config["alpha"] is not None or config["lam"] is None:
        return {"implied_alpha": record.get("calibration", {}).get("alpha") or config["alpha"], "tied": 0.0}
    counts = records.read_arrays(record["run"]).get("histogram")
    if counts is None or counts.ndim != 2 or counts.dtype.kind not in "iu" or counts.shape[1] < 3 or not len(counts):
        raise records.damaged(paths.RESULTS / record["run"] / "arrays.npz", "its histogram is missing, or none")
    groups = counts if config["per_layer"] else counts.sum(0, keepdims=True)  # what is ranked together
    cuts = [cut(group, record["density"]) for group in groups]
    kept = [record["density"] * group.sum() for group in groups]
    return {
        "implied_alpha": max(alpha for alpha, _ in cuts),
        "tied": np.average([tied for _, tied in cuts], weights=kept),
    }


def cut(counts: np.ndarray, density: float) -> tuple[float, float]:
    """Of a histogram of m (``masks.histogram``): the α that keeps this share, and what share of it ties decide."""
    kept = round(density * counts.sum())
    above = counts[1:][::-1].cumsum()[::-1]  # entries > 0, then ≥ 0.01, ≥ 0.02, …, and = 1
    if kept > above[0]:
        return 0.0, (kept - above[0]) / kept
    return float(np.flatnonzero(above >= kept)[-1] / (len(counts) - 2)), float(above[-1] > kept)


def name(row: pd.Series) -> str:
    """What a run's line is called: its method, and what sets it apart from the method's plain form.

    A calibrated search and rounds set apart a method that may do without; so do an ε other than the default, rewinding
    to an early epoch, one density for all layers, a longer training, a cheaper search, and for IMP other rounds than
    the protocol's.
    """
    method = METHODS.get(row.method, Method(None, row.method))  # of a package that is not here
    called = method.name(row.regularizer, row.score)
    if pd.notna(row.eps) and row.eps not in vars(regularizers.create(row.regularizer)).values():
        called += f", ε = {row.eps:g}"
    if "lam" in method.reads and pd.isna(row.lam):
        called += ", calibrated"
    if "length" in method.reads and _given(row["length"]) not in (0, 2):
        called += f", {row['length']:g} recipes long"
    if method.ladder and _given(row.asked_rounds) > 1:
        called += f", {row.asked_rounds:g} rounds"
    elif "rounds" in method.reads and not method.ladder and _given(row["rounds"]) > 1:
        called += ", in rounds"
    if _given(row.search_length):
        called += f", {row.search_length:g} epoch{'s' if row.search_length > 1 else ''} of search"
    if 0 < _given(row.search_images) < 1:
        called += f", {100 * row.search_images:g} % of the images"
    if _given(row.coarse):
        called += ", half resolution"
    if _given(row.rewind_epoch):
        called += ", early rewinding"
    return called + ", per layer" if _given(row.per_layer) else called


def line_names(runs: pd.DataFrame) -> pd.Series:
    """The ``name`` of each of the runs, made once for all that are alike in what it is made of."""
    alike = runs.groupby(NAMED_BY, dropna=False, sort=False)
    return alike.ngroup().map(dict(enumerate(name(row) for _, row in alike.head(1).iterrows())))


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


def comparing(frame: pd.DataFrame, *lines: str) -> pd.DataFrame:
    """Of a frame with the columns of ``PLACE`` and ``name``, the places that have each of these lines."""
    there = frame.groupby(PLACE).name.transform(lambda names: set(lines) <= set(names))
    return frame[there.astype(bool)]


def network(model: str, protocol: str = "") -> str:
    """What a network is called, with the share of its width that a protocol leaves it."""
    width = getattr(PROTOCOLS.get(protocol, (None,))[0], "width", 1)
    return LABELS.get(model, model) + (f" at {WIDTHS.get(width, width)} width" if width != 1 else "")


def where(frame: pd.DataFrame) -> pd.Series:
    """Network and protocol of each row, to be read: what tells places apart on a page."""
    named = zip(frame.model, frame.protocol)
    return pd.Series([f"{network(*place)}, {place[1]}" for place in named], index=frame.index, dtype=object)


def dataset(name: str) -> str:
    return LABELS.get(name, name)


def task(model: str, data: str, protocol: str = "") -> str:
    """As in ``ResNet-20 on CIFAR-10``."""
    return f"{network(model, protocol)} on {dataset(data)}"


def label(protocol: str, model: str, dataset: str, reduced: bool) -> str:
    """As in ``ResNet-20 on CIFAR-10 (cifar-short, reduced)``."""
    shown = task(model, dataset, protocol)
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

    See ``named`` for which may count, and ``best`` for the choice.
    """
    return best(named(table))


def whole_searches(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs but those of a cheaper search, or of one that trains no weight, which have a chapter of their own."""
    return runs[~cheaper(runs) & ~runs.method.isin(UNTRAINED)]


def cheaper(runs: pd.DataFrame) -> pd.Series:
    """Which runs searched for fewer epochs than the recipe has, or on fewer or smaller images."""
    return runs.search_length.notna() | (runs.search_images < 1) | runs.coarse.eq(True)


def named(table: pd.DataFrame) -> pd.DataFrame:
    """The runs that may count, with the ``name`` of their line; ``by_top_k`` says what is a line of its own.

    Runs at a threshold α are left out, as their density is not the one asked for, and so are those that do not follow
    their protocol.
    """
    runs = by_protocol(table)
    runs = runs[runs.alpha.isna()]
    runs = runs.assign(name=line_names(runs))
    return runs.assign(name=runs.name + by_top_k(runs).map({True: TOP_K, False: ""}))


def by_top_k(runs: pd.DataFrame) -> pd.Series:
    """Which runs have a ticket that no small threshold gives: it was cut above α = 0.1, or filled up among ties.

    A learned mask counts as the paper's where its density comes with α ≤ 0.1, and a tie-break decides at most 5 % of
    the ticket; with the same hyper-parameters on all seeds, or it does not count at all.
    """
    candidates = [runs[column] for column in [*SETTING, *HYPERPARAMETERS]]
    return soft(runs.implied_alpha, runs.tied).groupby(candidates, dropna=False).transform("any")


def soft(alpha: pd.Series, tied: pd.Series) -> pd.Series:
    """Which tickets the bounds of ``by_top_k`` rule out; none whose α and ties are both unknown."""
    return (alpha.astype(float) > SMALL_ALPHA) | (tied.astype(float) > FEW_TIES)


def best(runs: pd.DataFrame) -> pd.DataFrame:
    """Of each ``SETTING`` the runs with the hyper-parameters best on validation, one a seed.

    Candidates are what the first seed tried. They are compared by their mean validation accuracy over the seeds that
    all of them have, the first among these; the test accuracy has no part in it. Of equals, the one on record for more
    seeds counts. Where a seed was computed in two ways (``COMPUTED``), the one counts by which most of its place was.
    """
    runs = runs.assign(tuned=runs.groupby(HYPERPARAMETERS, dropna=False).ngroup())
    usual = runs.groupby([*PLACE, *COMPUTED], dropna=False).run.transform("size") if len(runs) else 0
    runs = runs.assign(usual=usual).sort_values("usual", ascending=False, kind="stable").drop(columns="usual")
    runs = runs.drop_duplicates([*SETTING, "tuned", "seed"])
    first = runs[runs.seed == runs.groupby(SETTING).seed.transform("min")]
    tried = runs.merge(first[[*SETTING, "tuned"]], on=[*SETTING, "tuned"])
    candidates = tried.groupby(SETTING).tuned.transform("nunique")
    shared = tried[tried.groupby([*SETTING, "seed"]).tuned.transform("nunique") == candidates]
    means = shared.groupby([*SETTING, "tuned"]).val_accuracy.mean().reset_index()
    seeds = tried.groupby([*SETTING, "tuned"]).seed.count().rename("seeds").reset_index()
    order = means.merge(seeds, on=[*SETTING, "tuned"]).sort_values(["val_accuracy", "seeds"], ascending=False)
    winners = order.drop_duplicates(SETTING)
    return tried.merge(winners[[*SETTING, "tuned"]], on=[*SETTING, "tuned"]).drop(columns="tuned")
