"""The searches on record that the explorer shows: the histogram of each relaxed mask, and what its tickets are worth.

Only one-round searches that rank all layers together: for these, keeping m ≥ α is keeping the top k at some density.
"""

import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from torch import Tensor

from lottery_lib import weights
from lottery_lib.errors import LotteryError, hint
from lottery_lib.experiments import protocols, records
from lottery_lib.findings import comparisons, tables

NOT_IN_FAMILY = ("method", "model", "density", "seed", "lam", "mask_lr", "alpha", "regularizer", "score", "start")


class Point(NamedTuple):
    """Retrained tickets: their density, mean test accuracy in percent with its interval, and the α they were cut at."""

    density: float
    accuracy: float
    half_width: float | None  # of the 95 % interval; None for a single seed
    n: int
    alpha: float | None = None  # None: the k largest, for a density asked for


@dataclass
class Search:
    """One search: its config, the counts (layers, bins + 2) of ``masks.histogram``, and its retrained tickets.

    ``cuts`` are the α's that tickets on record were cut at, with the weights each kept of every layer. A calibrated
    search has one ticket; its ``points`` are those of its family, and ``settled`` what it set λ and η_m to.
    ``relaxed``, the mask itself, is there only where the search was made or found on this machine.
    """

    config: Any
    counts: np.ndarray | None = None
    points: list[Point] = field(default_factory=list)  # the lowest density first
    cuts: dict[float, list[int]] = field(default_factory=dict)
    relaxed: Mapping[str, Tensor] | None = None
    settled: tuple[float, float] | None = None
    steps: int = 0  # of one training, known with ``relaxed``

    @property
    def family(self) -> str:
        """The regulariser, and whatever else the search does differently from the protocol's default."""
        changed = [f for f in fields(self.config) if f.name not in NOT_IN_FAMILY]
        values = [(f.name, getattr(self.config, f.name)) for f in changed if getattr(self.config, f.name) != f.default]
        calibrated = ["calibrated"] if self.asked else []
        return ", ".join([self.config.regularizer, *calibrated, *(f"{name} = {value}" for name, value in values)])

    @property
    def asked(self) -> float | None:
        """The density that a calibrated search steers for; None where λ and η_m are given."""
        return self.config.density if self.config.calibrated else None

    @property
    def pressure(self) -> tuple[float, float] | None:
        """λ and η_m; None for a calibrated search that has not been made."""
        return self.settled if self.asked else (self.config.lam, self.config.mask_lr)

    @property
    def bins(self) -> int:
        return self.counts.shape[1] - 2

    def at(self, alpha: float) -> dict:
        """What keeping m ≥ α > 0 comes to, JSON-able: ``alpha``, ``kept`` weights a layer, ``density``, ``accuracy``.

        ``exact`` says that any α is taken as given, from the relaxed mask. Otherwise it goes to the nearest that the
        record resolves, an edge of a bin or a cut; there, the numbers are the same.
        """
        if self.relaxed:
            kept = [int((m >= alpha).count_nonzero()) for m in self.relaxed.values()]
        else:
            edges = [(j + 1) / self.bins for j in range(self.bins)]
            alpha = min([*edges, *self.cuts], key=lambda known: abs(math.log(known / alpha)))
            kept = self.cuts.get(alpha) or self.counts[:, 1 + round(alpha * self.bins) :].sum(1).tolist()
        weights = int(self.counts.sum())
        found = {"alpha": alpha, "exact": self.relaxed is not None, "kept": kept, "density": sum(kept) / weights}
        return found | {"accuracy": self._accuracy(alpha, sum(kept), weights)}

    def add(self, point: Point) -> None:
        """Put a ticket that was retrained here among the others."""
        self.points = sorted([*self.points, point], key=lambda point: point.density)

    def _accuracy(self, alpha: float, kept: int, weights: int) -> dict:
        """Measured for this very ticket, or else interpolated in log density between measured ones, or unknown."""
        for point in self.points:
            if alpha == point.alpha or round(point.density * weights) == kept:
                return {"kind": "measured", **point._asdict()}
        below = [point for point in self.points if point.density * weights < kept][-1:]
        above = [point for point in self.points if point.density * weights > kept][:1]
        if not (below and above):
            return {"kind": "unknown"}
        (below,), (above,) = below, above
        share = math.log(kept / weights / below.density) / math.log(above.density / below.density)
        value = below.accuracy + share * (above.accuracy - below.accuracy)
        return {"kind": "interpolated", "accuracy": value, "between": [below.density, above.density]}


@dataclass
class Task:
    """A network on a data set under one protocol: its layers (name, weights), its references and its searches."""

    label: str
    layers: list[tuple[str, int]] = field(default_factory=list)
    searches: list[Search] = field(default_factory=list)
    dense: Point | None = None
    imp: list[Point] = field(default_factory=list)

    def families(self) -> list[str]:
        return list(dict.fromkeys(search.family for search in self.searches))

    def nearest(self, family: str, lam: float, mask_lr: float = 1.0, density: float = 0.05) -> Search:
        """The family's search with the λ nearest to ``lam`` in logarithm, and among these the nearest η_m.

        In a calibrated family, the one that was asked for the density nearest to ``density``. LotteryError if the
        family is unknown, or ``lam`` is not positive.
        """
        if family not in self.families():
            raise LotteryError(f"no search on record with regularizer {family!r}{hint(family, self.families())}")
        if not lam > 0:
            raise LotteryError(f"lam = {lam!r}: must be > 0")

        def distance(search: Search) -> tuple[float, float]:
            if search.asked:
                return abs(math.log(search.asked / density)), 0.0
            away = (math.log(search.config.lam / lam), math.log(search.config.mask_lr / mask_lr))
            return round(abs(away[0]), 9), abs(away[1])

        return min((search for search in self.searches if search.family == family), key=distance)

    def span(self) -> tuple[float, float]:
        """The accuracies to draw, in percent: without the lowest tenth, which would press all others together."""
        references = [*self.imp, *([self.dense] if self.dense else [])]
        known = [point.accuracy for point in (*references, *(p for s in self.searches for p in s.points))] or [0, 100]
        low, high = np.quantile(known, 0.1), max(known)
        margin = max(0.1 * (high - low), 0.3)
        return float(low - margin), float(high + margin)

    def add(self, search: Search) -> Search:
        """Put a search among the others and return it, or the same one if it is there.

        They are ordered by what they do, the calibrated first, then by the density asked for, or λ and η_m.
        """
        for known in self.searches:
            if known.config == search.config:
                return known
        self.searches.append(search)
        self.searches.sort(key=lambda s: (not s.asked, s.family, s.asked or (s.config.lam, s.config.mask_lr)))
        return search


def on_record() -> dict[str, Task]:
    """Name -> Task, for all in ``results/`` that has searches; the name is the protocol's, if it has one network."""
    table, tasks = tables.whole_searches(tables.runs()), {}
    whole = {record["run"]: record for record in records.read_all()}
    for (protocol, dataset, model), rows in table.groupby(["protocol", "dataset", "model"]):
        found = comparisons.summary(tables.chosen(rows))
        dense, imp = (_points(found[found.name == name]) for name in ("dense", "IMP"))
        called = tables.label(protocol, model, dataset, rows.reduced.any())
        task = Task(called, dense=next(iter(dense), None), imp=imp)
        concave = rows[(rows.method == "concave") & (rows["rounds"] == 1) & ~rows.per_layer.astype(bool)]
        concave = concave[concave.lam.notna() | concave.alpha.isna()]  # calibrated ones at the usual threshold
        configs = {run: replace(config, seed=0) for run in concave.run if (config := _config(whole[run]))}
        concave = concave[concave.run.isin(configs)]
        searches = concave.run.map(configs)
        for _, runs in concave.groupby(searches, sort=False):
            task.layers = _layers(whole[runs.run.iloc[0]], "weights")
            task.add(_search(runs.sort_values("seed", kind="stable"), whole))
        for search in task.searches:
            if search.asked:
                search.points = _shared(task, search.family)
        if task.searches:
            alone = len(table[table.protocol == protocol][["dataset", "model"]].drop_duplicates()) == 1
            tasks[known_as(protocol, model, dataset, alone)] = task
    return tasks


def known_as(protocol: str, model: str, dataset: str, alone: bool) -> str:
    """The name of a task: its protocol's, if that has this network ``alone``."""
    return protocol if alone else f"{protocol}, {model} on {dataset}"


def pack(tasks: Mapping[str, Task]) -> tuple[list[dict], bytes]:
    """The tasks, JSON-able, and the counts of all their searches, one after another: deflated little-endian uint32."""
    shown = [
        {
            "name": name,
            "label": task.label,
            "layers": task.layers,
            "bins": task.searches[0].bins,
            "span": task.span(),
            "dense": task.dense and task.dense._asdict(),
            "imp": [point._asdict() for point in task.imp],
            "searches": [
                {
                    "family": search.family,
                    "asked": search.asked,
                    "lam": search.pressure and search.pressure[0],
                    "mask_lr": search.pressure and search.pressure[1],
                    "exact": search.relaxed is not None,
                    "points": [point._asdict() for point in search.points],
                    "cuts": [{"alpha": alpha, "kept": kept} for alpha, kept in search.cuts.items()],
                }
                for search in task.searches
            ],
        }
        for name, task in tasks.items()
    ]
    counts = [search.counts.astype("<u4").tobytes() for task in tasks.values() for search in task.searches]
    return shown, zlib.compress(b"".join(counts), 9)


def _search(runs: pd.DataFrame, whole: Mapping[str, dict]) -> Search:
    """The search that all these runs share but for their seed; its mask is that of the first."""
    first = runs.iloc[0]
    config, arrays = _config(whole[first.run]), records.read_arrays(first.run)
    settings = runs.assign(name="").groupby("alpha", dropna=False)
    points = [point for alpha, rows in settings for point in _points(comparisons.summary(rows), alpha)]
    if config.calibrated:
        found, kept = whole[first.run]["calibration"], [kept for _, kept in _layers(whole[first.run], "kept")]
        points = [points[0]._replace(density=sum(kept) / arrays["histogram"].sum())]  # of this very ticket
        settled = found["lam"], found["mask_lr"]
        return Search(config, arrays["histogram"], points, {found["alpha"]: kept}, settled=settled)
    cut = runs[runs.alpha.notna() & (runs.seed == first.seed)]
    cuts = {float(alpha): [kept for _, kept in _layers(whole[run], "kept")] for alpha, run in zip(cut.alpha, cut.run)}
    return Search(config, arrays["histogram"], sorted(points, key=lambda point: point.density), cuts)


def _shared(task: Task, family: str) -> list[Point]:
    return sorted({point for search in task.searches if search.family == family for point in search.points})


def _layers(record: dict, fact: str) -> list[tuple[str, int]]:
    return [(weights.layer(layer["layer"]), layer[fact]) for layer in record["layers"]]


def _config(record: dict) -> Any | None:
    """Of the search alone: at the protocol's default density, whatever was kept of its mask, if it steers for none.

    None where the record cannot be remade here.
    """
    made = protocols.remade(record | {"config": record["config"] | {"alpha": None}})
    return made if made is None or made.calibrated else replace(made, density=type(made).density)


def _points(found: pd.DataFrame, alpha: float = math.nan) -> list[Point]:
    """The rows of ``comparisons.summary``, as tickets cut at ``alpha``, if it is not NaN."""
    return [
        Point(row.density, round(row.mean, 3), _known(round(row.half_width, 3)), row.n, _known(alpha))
        for row in found.sort_values("density").itertuples()
    ]


def _known(number: float) -> float | None:
    return None if math.isnan(number) else float(number)
