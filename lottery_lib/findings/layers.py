"""Where tickets put their weights: the density of each layer, of the tickets of a method at a place."""

import numpy as np
import pandas as pd

from lottery_lib import weights
from lottery_lib.experiments import records
from lottery_lib.findings import tables
from lottery_lib.findings.cheaper import WHOLE
from lottery_lib.findings.comparisons import listed

UNLIKE = {"IMP": "those of IMP", "SNIP": "those of SNIP", "random": "the same share everywhere"}


def densities(runs: pd.DataFrame, density: float) -> pd.DataFrame:
    """The share of weights that each layer keeps at a density, a row each place, line and layer, from input to output.

    ``runs`` are of ``tables.chosen``; lines without a ticket are left out. ``density`` is the mean over the ``n`` seeds
    on record, ``least`` and ``most`` its range; ``weights`` is how many the layer has.
    """
    rows = []
    for run in runs[(runs.density_asked == density) & (runs.method != "dense")].itertuples():
        place = {key: getattr(run, key) for key in tables.PLACE}
        for order, layer in enumerate(records.read_record(run.run)["layers"]):
            called = weights.layer(layer["layer"])
            found = {"layer": called, "order": order, "weights": layer["weights"], "density": layer["density"]}
            rows.append(place | {"name": run.name} | found)
    columns = [*tables.PLACE, "name", "order", "layer", "weights"]
    table = pd.DataFrame(rows, columns=[*columns, "density"])
    shares = table.groupby(columns, sort=False).density
    found = shares.agg(n="count", least="min", most="max", density="mean").reset_index()
    return found.sort_values([*tables.PLACE, "name", "order"], key=_ranked, ignore_index=True)


def factors(found: pd.DataFrame) -> pd.DataFrame:
    """By what factor the layers of the calibrated log mask differ in density from those of ``UNLIKE``: a row a place.

    It is the geometric mean over layers, without weights, of the larger through the smaller density; an empty layer
    counts as one with half a weight. NaN where one of the two is not on record. ``found`` is of ``densities``.
    """
    least = (0.5 / found.weights).clip(upper=0.5)
    logs = np.log(found.density.clip(lower=least)).rename("log")
    wide = found.assign(log=logs).pivot(index=[*tables.PLACE, "order"], columns="name", values="log")
    wide = wide.reindex(columns=[WHOLE, *UNLIKE])
    apart = wide[[*UNLIKE]].sub(wide[WHOLE], axis=0).abs()
    return np.exp(apart.groupby(tables.PLACE, sort=False).mean()).dropna(how="all")


def told(found: pd.DataFrame) -> str:
    """Two sentences on where the calibrated log mask keeps its weights: beside others, and from input to output."""
    apart = factors(found)
    compared = found.set_index(tables.PLACE).index.isin(apart.index)
    mask = found[compared & (found.name == WHOLE)].sort_values("order")
    if mask.empty:
        return "No calibrated mask is on record to compare with others here."
    unlike = [f"{_times(apart[name].dropna())} from {called}" for name, called in UNLIKE.items() if apart[name].any()]
    places = mask.groupby(tables.PLACE, sort=False)
    share = places.apply(lambda rows: np.average(rows.density, weights=rows.weights))
    first, last = places.density.first() / share, places.density.last() / share
    return (
        f"A layer's density under the calibrated mask differs, as a geometric mean over layers, by {listed(unlike)}. "
        f"Of the layers under it the first keeps {_times(first)} the share of all, the last {_times(last)}."
    )


def _times(values: pd.Series) -> str:
    least, most = (f"{value:.2g}" if value < 100 else f"{value:.0f}" for value in (values.min(), values.max()))
    return f"{least}×" if least == most else f"{least} to {most}×"


def _ranked(column: pd.Series) -> pd.Series:
    return column.map(tables.rank) if column.name == "name" else column
