"""When a calibrated search may stop: the tickets it would have drawn on the way, by their masks and by their worth."""

import pandas as pd

from lottery_lib.experiments import records
from lottery_lib.experiments.early_bird import EarlyBird
from lottery_lib.findings import tables
from lottery_lib.findings.cells import SEEDS
from lottery_lib.findings.comparisons import interval

LIKE = 0.95  # of the last ticket's weights: a mask that has all but arrived


def drawn() -> pd.DataFrame:
    """Tickets drawn on the way that are on record (protocol ``early-bird``), a row each.

    ``place``, ``density``, ``seed``, ``epoch``; ``before`` and ``last``, the shares of its weights that the epoch
    before and the last one keep too; ``difference``, its accuracy on validation minus the last one's, in points.
    """
    rows = []
    for record in records.read_all():
        if record["protocol"] == EarlyBird.protocol:
            about = {key: record["config"][key] for key in ("density", "seed")}
            about["place"] = tables.task(record["model"], record["dataset"])
            rows += [about | one | {"final": record["val_accuracy"]} for one in record["drawn"]]
    found = pd.DataFrame(rows, columns=["place", "density", "seed", "epoch", "before", "last", "val_accuracy", "final"])
    return found.assign(difference=found.pop("val_accuracy") - found.pop("final"), before=found.before.astype(float))


def by_epoch(found: pd.DataFrame) -> pd.DataFrame:
    """Over seeds, a row each density and epoch: ``before`` and ``last``, and ``mean`` difference ± ``half_width``, n.

    Fewer than three seeds have no interval, nor has the last ticket, which is compared with itself.
    """
    groups = found.groupby(["place", "density", "epoch"])
    cells = interval(groups.difference).join(groups[["before", "last"]].mean()).reset_index()
    cells = cells.sort_values(["place", "density", "epoch"], ascending=[True, False, True], ignore_index=True)
    compared = (cells.n >= SEEDS) & (cells.epoch < cells.groupby(["place", "density"]).epoch.transform("max"))
    return cells.assign(half_width=cells.half_width.where(compared))


def in_short(found: pd.DataFrame) -> str:
    """From when on tickets are as good as the last, and masks are nearly the last, as Markdown.

    A density on fewer than three seeds tells neither.
    """
    if found.empty:
        return "*Not yet run:* `lottery sweep lenet-early-bird`."
    told = []
    for (place, density), rows in by_epoch(found).groupby(["place", "density"], sort=False):
        if rows.half_width.isna().all():
            continue
        as_good = _after(rows.epoch[rows["mean"] + rows.half_width < 0])
        alike, then = _after(rows.epoch[rows["last"] < LIKE]), rows.set_index("epoch")["last"][as_good]
        told.append(
            f"{place}, density {density:g}, n = {rows.n.min()}: tickets drawn from epoch {as_good} of "
            f"{rows.epoch.max()} on are nowhere clearly worse than the last. The mask of epoch {as_good} shares "
            f"{100 * then:.0f} % of its weights with the last; from epoch {alike} on masks share {100 * LIKE:.0f} % at "
            "least."
        )
    return " ".join(told) or "Too few seeds are on record to tell when a search may stop."


def _after(epochs: pd.Series) -> int:
    """The epoch after the last of these; the first if there are none."""
    return int(epochs.max()) + 1 if len(epochs) else 1
