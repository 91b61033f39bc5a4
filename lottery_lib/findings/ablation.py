"""What each default of the calibrated search is worth: searches with one of them changed, beside those with all."""

import pandas as pd

from lottery_lib.experiments import records
from lottery_lib.experiments.ablation import MOST, Ablation
from lottery_lib.findings import tables
from lottery_lib.findings.cells import SEEDS
from lottery_lib.findings.comparisons import interval, listed, number, span
from lottery_lib.methods.concave import TOLERANCE


def changes() -> pd.DataFrame:
    """Runs of the protocol ``ablation`` on record, a row each whose unchanged run is there too, in equal arithmetic.

    ``place``, ``part``, ``value`` in place of ``default``, ``density_asked`` and ``seed``; ``difference`` is that of
    the accuracies on validation, changed minus unchanged, in points, and ``error`` that of the density, relative.
    """
    rows, known = [], {record["run"]: record for record in records.read_all()}
    for record in known.values():
        if record["protocol"] != Ablation.protocol:
            continue
        config = Ablation(**record["config"])
        unchanged = known.get(records.name(config.followed))
        if unchanged is None or tables.computed(unchanged) != tables.computed(record):
            continue
        rows.append({
            "place": tables.task(record["model"], record["dataset"]),
            "part": config.part,
            "value": config.value,
            "default": record["default"],
            "density_asked": config.density,
            "seed": config.seed,
            "difference": record["val_accuracy"] - unchanged["val_accuracy"],
            "error": record["density"] / config.density - 1,
        })  # fmt: skip
    columns = ["place", "part", "value", "default", "density_asked", "seed", "difference", "error"]
    return pd.DataFrame(rows, columns=columns)


def effects(found: pd.DataFrame) -> pd.DataFrame:
    """Of each change at each density the ``mean`` difference over seeds, half the width of its 95 % interval, and n.

    Fewer than three seeds have no interval.
    """
    order = found.assign(part=pd.Categorical(found.part, [*MOST]))
    keys = ["place", "density_asked", "part", "value", "default"]
    groups = order.sort_values([*keys, "seed"]).groupby(keys, observed=True, sort=True)
    cells = interval(groups.difference).reset_index()
    return cells.assign(half_width=cells.half_width.where(cells.n >= SEEDS))


def in_short(found: pd.DataFrame) -> str:
    """How many of the changes matter, and whether densities are met under them, as Markdown."""
    if found.empty:
        return "*Not yet run:* `lottery sweep lenet-ablation`."
    cells = effects(found)
    told = cells[cells.n >= SEEDS]
    clear = told[told["mean"].abs() > told.half_width]
    near = (found.error.abs() <= TOLERANCE).sum()
    densities = f"{near} of {len(found)} searches still end within {100 * TOLERANCE:g} % of their density"
    if told.empty:
        return f"Too few seeds are on record to tell what a change does to the accuracy; {densities}."
    named = [
        f"with {place} {listed([_told(change) for change in changes.itertuples()])}"
        for place, changes in clear.groupby("place")
    ]
    which = f": {'; '.join(named)}" if named else ""
    return (
        f"The accuracy on validation differs by more than its 95 % interval in {len(clear) or 'none'} of {len(told)} "
        f"comparisons on {span(told.n)} seeds, each of one change at one density{which}. By chance alone it would in "
        f"one of twenty. The largest mean is {told['mean'].abs().max():.2f} points, the widest interval "
        f"±\N{NO-BREAK SPACE}{told.half_width.max():.2f}. {densities}."
    )


def _told(change) -> str:
    """A row of ``effects``, as in ``settling 0.7 at a density of 0.05 (+0.60 ± 0.25)``."""
    effect = number(change.mean, change.half_width, "+")
    return f"{change.part} {change.value:g} at a density of {change.density_asked:g} ({effect})"
