"""Where tickets put their weights: the density of each layer, of the tickets of a method at a place."""

import pandas as pd

from lottery_lib.experiments import records
from lottery_lib.findings import tables


def densities(runs: pd.DataFrame, density: float) -> pd.DataFrame:
    """The share of weights that each layer keeps at a density, a row each place, line and layer, from input to output.

    ``runs`` are of ``tables.chosen``; lines without a ticket are left out. ``density`` is the mean over the ``n`` seeds
    on record, ``least`` and ``most`` its range; ``weights`` is how many the layer has.
    """
    rows = []
    for run in runs[(runs.density_asked == density) & (runs.method != "dense")].itertuples():
        place = {key: getattr(run, key) for key in tables.PLACE}
        for order, layer in enumerate(records.read_run(run.run)[0]["layers"]):
            called = layer["layer"].removesuffix(".weight")
            found = {"layer": called, "order": order, "weights": layer["weights"], "density": layer["density"]}
            rows.append(place | {"name": run.name} | found)
    columns = [*tables.PLACE, "name", "order", "layer", "weights"]
    table = pd.DataFrame(rows, columns=[*columns, "density"])
    shares = table.groupby(columns, sort=False).density
    found = shares.agg(n="count", least="min", most="max", density="mean").reset_index()
    return found.sort_values([*tables.PLACE, "name", "order"], key=_ranked, ignore_index=True)


def _ranked(column: pd.Series) -> pd.Series:
    return column.map(tables.rank) if column.name == "name" else column
