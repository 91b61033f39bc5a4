"""What was trained, protocol by protocol, as one table: recipe, seeds, and the accuracy of the dense network."""

import pandas as pd

from lottery_lib.experiments import protocols
from lottery_lib.findings import tables
from lottery_lib.findings.comparisons import estimate, interval, span
from lottery_lib.training.recipes import Recipe


def cards() -> pd.DataFrame:
    """A row a network and protocol on record; dense accuracy on the test split, with its 95 % interval over seeds."""
    table = tables.chosen(tables.runs())
    known = table[table.protocol.isin(protocols.PROTOCOLS)]  # of a package that is not here the recipe is not known
    rows = [_card(*place, runs) for place, runs in known.groupby(tables.PLACE[:2])]
    return pd.DataFrame(rows).set_index("protocol").rename_axis(None)


def _card(protocol: str, model: str, runs: pd.DataFrame) -> dict[str, str]:
    config = protocols.config_class(protocol)
    dense = interval(runs[runs.name == "dense"].groupby("name").test_accuracy)
    shown = [estimate(*row) for row in dense[["mean", "half_width", "n"]].itertuples(index=False)]
    return {
        "protocol": f"{protocol}, reduced" if config.reduced else protocol,
        "network": tables.network(model, protocol),
        "data": f"{tables.dataset(config.dataset)}, {span(runs.train_images)} training images",
        **_recipe(config.recipe),
        "precision": ", ".join(sorted(runs.precision.unique())),
        "dense accuracy, %": shown[0] if shown else "–",
        "seeds": span(runs.groupby("name").seed.nunique()),
    }


def _recipe(recipe: Recipe) -> dict[str, str]:
    return {
        "epochs": f"{recipe.epochs}",
        "batch": f"{recipe.batch_size}",
        "peak rate": f"{recipe.lr:g}, {recipe.schedule}",
        "decay": f"{recipe.weight_decay:g}",
    }
