"""Networks that this library did not build: is the calibrated search as good there as the best of five λ?"""

import pandas as pd

from lottery_lib.experiments import records
from lottery_lib.experiments.strangers import NETWORKS, Stranger
from lottery_lib.findings import tables
from lottery_lib.findings.cells import SEEDS
from lottery_lib.findings.comparisons import interval, number
from lottery_lib.findings.tables import COMPUTED


def runs() -> pd.DataFrame:
    """The runs of the protocol ``strangers`` on record, a row each; densities are fractions, accuracies percent."""
    found = [record for record in records.read_all() if record["protocol"] == Stranger.protocol]
    rows = [
        record["config"] | tables.computed(record) | {"asked": record["config"]["density"]}
        | {key: record[key] for key in ("density", "val_accuracy", "test_accuracy")}
        for record in found
    ]  # fmt: skip
    columns = ["network", "asked", "density", "lam", "seed", *COMPUTED, "val_accuracy", "test_accuracy"]
    return pd.DataFrame(rows, columns=columns).astype({"lam": float})


def against_a_sweep(table: pd.DataFrame) -> pd.DataFrame:
    """Of ``runs`` the calibrated searches against the best of those with λ by hand, a row each network and density.

    ``lam`` has the highest mean validation accuracy of its candidates; ``points`` is how much more the calibrated one
    has on the test split, a mean over the ``n`` seeds that both have with half of its 95 % interval (Student's t);
    ``error`` the largest relative error of the calibrated densities; ``dense`` the accuracy of the whole network.
    """
    rows = []
    for (network, asked), own in table[table.asked < 1].groupby(["network", "asked"]):
        calibrated, by_hand = own[own.lam.isna()], own[own.lam.notna()]
        if calibrated.empty or by_hand.empty:
            continue
        best = by_hand.groupby("lam").val_accuracy.mean().idxmax()
        both = calibrated.merge(by_hand[by_hand.lam == best], on=["seed", *COMPUTED], suffixes=("", "_by_hand"))
        both["points"] = both.test_accuracy - both.test_accuracy_by_hand
        dense = table[(table.network == network) & (table.asked == 1)].test_accuracy.mean()
        rows.append({
            "network": network, "asked": asked, "dense": dense, "calibrated": both.test_accuracy.mean(),
            "by_hand": both.test_accuracy_by_hand.mean(), "lam": best, "candidates": by_hand.lam.nunique(),
            **interval(both.groupby("network").points).iloc[0],
            "error": (calibrated.density / asked - 1).abs().max(),
        })  # fmt: skip
    columns = ["network", "asked", "dense", "calibrated", "by_hand", "lam", "candidates", "mean", "n", "half_width"]
    found = pd.DataFrame(rows, columns=[*columns, "error"]).rename(columns={"mean": "points"})
    order = {network: place for place, network in enumerate(NETWORKS)}
    return found.sort_values("network", key=lambda column: column.map(order), ignore_index=True)


def readable(found: pd.DataFrame) -> pd.DataFrame:
    """The same to be read: test accuracies in percent; no difference is told from fewer than three seeds."""
    differences = [number(*row, "+") for row in found[["points", "half_width"]].to_numpy()]
    columns = {
        "network": found.network,
        "dense": found.dense.map("{:.1f}".format).where(found.dense.notna(), "–"),
        "calibrated": found.calibrated.map("{:.1f}".format),
        "best λ": found.by_hand.map("{:.1f}".format),
        "difference": [told if n >= SEEDS else "not enough seeds" for told, n in zip(differences, found.n)],
        "n": found.n.astype(int),
        "of λ": found.candidates.astype(int),
        "density off by, %": (100 * found.error).map("{:.2f}".format),
    }
    return pd.DataFrame(columns).set_index("network").rename_axis(None)
