"""What cheaper searches come to (O2): of fewer epochs, on fewer or smaller images, or with weights left untrained."""

import numpy as np
import pandas as pd

from lottery_lib import masks
from lottery_lib.experiments import records
from lottery_lib.findings import comparisons, tables
from lottery_lib.findings.cells import JUDGED, OPEN, WORSE
from lottery_lib.findings.relaxed_masks import ticket_mask

WHOLE = "mask, log, calibrated"
BESIDE = ("IMP", "gradual magnitude", "SNIP", "random")  # lines


def lines(runs: pd.DataFrame) -> pd.DataFrame:
    """Of runs of ``tables.chosen``: the cheaper forms of the whole search, and what stands on the same axes as they do.

    That is, at the places and densities where there is one; and dense networks, in whose epochs costs are counted.
    """
    form = runs.name.str.startswith(WHOLE) & (runs["rounds"] == 1) & tables.cheaper(runs)
    beside = runs.name.isin([WHOLE, *BESIDE]) | runs.method.isin(tables.UNTRAINED)
    there = form.groupby([runs[column] for column in (*tables.PLACE, "density_asked")]).transform("any")
    return runs[form | (beside & there) | (runs.name == "dense")]


def overlaps(runs: pd.DataFrame) -> pd.DataFrame:
    """A row each form and density of a place: what its search and its ticket come to, and whose mask it is.

    ``overlap`` is the share of the whole search's mask that the form's has too, of the seeds with a mask on record.
    """
    forms = runs[runs.name.str.startswith(WHOLE)]
    found, epochs = comparisons.summary(forms), forms.groupby(tables.SETTING).search_epochs.mean()
    first = forms[forms.seed == 0]
    kept = {tuple(row[tables.SETTING]): ticket_mask(row.run) for _, row in first.iterrows()}
    settings, wholes = (
        list(rows[tables.SETTING].itertuples(index=False, name=None)) for rows in (found, found.assign(name=WHOLE))
    )
    shared = [_shared(kept.get(form), kept.get(whole)) for form, whole in zip(settings, wholes)]
    return found.assign(search_epochs=[epochs[setting] for setting in settings], overlap=shared)


def _shared(mask: masks.Mask | None, whole: masks.Mask | None) -> float:
    return masks.shared(whole, mask) if mask and whole else np.nan


def readable(found: pd.DataFrame) -> pd.DataFrame:
    """``overlaps`` as a table to read."""
    columns = {
        "network": tables.where(found),
        "density": found.density_asked,
        "search": found.name.str.removeprefix(WHOLE).str.removeprefix(", ").replace("", "whole"),
        "epochs of search": found.search_epochs.map("{:g}".format),
        "test accuracy, %": [comparisons.estimate(*row) for row in zip(found["mean"], found.half_width, found.n)],
        "n": found.n,
        "mask shared with the whole search's, %": (100 * found.overlap).map("{:.0f}".format),
    }
    rising = [*(True for _ in tables.PLACE), False, False]
    order = found.sort_values([*tables.PLACE, "density_asked", "search_epochs"], ascending=rising)
    keys = ["network", "density", "search"]
    return pd.DataFrame(columns).loc[order.index].set_index(keys).rename_axis([None, *keys[1:]])


def untrained(runs: pd.DataFrame) -> pd.DataFrame:
    """What masks are worth on weights that were never trained, and after those are: validation and test accuracy, %."""
    rows = []
    among = runs[runs.method.isin(tables.UNTRAINED)]
    for (name, density, *_), group in among.groupby(["name", "density_asked", *tables.PLACE], sort=False):
        searched = pd.Series([records.read_record(run)["search"][-1]["val_accuracy"] for run in group.run])
        told = {"network": tables.where(group).iloc[0], "mask": name, "density": density}
        for called, values in (
            ("not a weight trained: validation, %", searched),
            ("as a ticket: validation, %", group.val_accuracy),
            ("as a ticket: test, %", group.test_accuracy),
        ):
            (row,) = comparisons.interval(values.groupby(lambda _: 0)).itertuples()
            told[called] = comparisons.estimate(row.mean, row.half_width, row.n)
        rows.append(told | {"n": len(group)})
    keys = ["network", "mask", "density"]
    return pd.DataFrame(rows).set_index(keys).rename_axis([None, *keys[1:]]) if rows else pd.DataFrame()


def recommendation(judged: pd.DataFrame) -> str:
    """A sentence for each place: the cheapest search of which no cell of O2 (``rules.shown``) is worse, nor open."""
    told = []
    for place, rows in tables.places(judged[judged.judgement.isin(JUDGED)]).items():
        fine = [
            (one.epochs.mean(), how)
            for how, one in rows.groupby("contrast")
            if not one.judgement.isin([WORSE, OPEN]).any()
        ]
        if fine:
            epochs, how = min(fine)
            densities = sorted(rows[rows.contrast == how].density_asked, reverse=True)
            at = comparisons.listed([f"{density:g}" for density in densities])
            cost = f"{epochs:g} epochs with retraining"
            told.append(
                f"{place}: {how}, {cost}, is the cheapest nowhere worse than the whole, be it by less than M (at {at})"
            )
        else:
            told.append(f"{place}: every cheaper search on record is worse somewhere, or may be")
    return "; ".join(told) + "." if told else "No cheaper search is judged yet."
