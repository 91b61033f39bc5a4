"""protocols.py: a run is made once, put on record, and found again."""

from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest
from runs import Tiny

from lottery_lib import paths
from lottery_lib.errors import LotteryError
from lottery_lib.experiments import logistic, protocols, records, ticket_run
from lottery_lib.experiments.logistic import LogisticConfig
from lottery_lib.findings import tables
from lottery_lib.training.recipes import Recipe

CONFIG = LogisticConfig(dataset="digits", iterations=10)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """The experiment, counting its calls, with an empty results folder."""
    counted = Mock(wraps=logistic.run)
    monkeypatch.setattr(paths, "RESULTS", tmp_path / "results")
    monkeypatch.setitem(protocols.PROTOCOLS, "mnist-logistic", (LogisticConfig, counted))
    return counted


def test_a_run_is_made_once(run):
    folder = protocols.train(CONFIG, progress=False)
    assert folder == records.folder(CONFIG) and records.exists(CONFIG)
    record, arrays = records.read(CONFIG)
    assert LogisticConfig(**record["config"]) == CONFIG
    summary, again = logistic.run(CONFIG)
    assert record["methods"] == summary["methods"]
    np.testing.assert_array_equal(arrays["weights"], again["weights"])

    assert protocols.train(CONFIG) == folder
    run.assert_called_once_with(CONFIG, False)
    protocols.train(LogisticConfig(dataset="digits", iterations=11))
    assert run.call_count == 2


def test_a_run_that_fails_leaves_nothing(run):
    with pytest.raises(LotteryError, match="diverges"):
        protocols.train(LogisticConfig(dataset="digits", weight_decay=1e4, iterations=300))
    assert not any(paths.RESULTS.iterdir())


def test_protocols():
    for name in protocols.PROTOCOLS:
        assert protocols.config_class(name).protocol == name
    with pytest.raises(LotteryError) as error:
        protocols.config_class("mnist-logistics")
    assert str(error.value) == "unknown protocol 'mnist-logistics'; did you mean 'mnist-logistic'?"


# The table.


class Brief(Tiny):
    recipe = Recipe(epochs=1, batch_size=64)


ISSUED = """run protocol reduced dataset model method regularizer eps lam alpha density_asked density seed
    rewind_epoch rounds search_epochs total_epochs val_accuracy test_accuracy seconds precision device
    torch_version commit""".split()
CONFIGS = {
    "concave": Brief(density=0.4, lam=2e-3, eps=0.2, alpha=0.5, seed=1),
    "shuffled": Brief("shuffled", density=0.2, lam=1e-4),
    "continuous": Brief("continuous", density=0.2, lam=1e-8, mask_lr=1.0, start=-0.1),
    "one-shot": Brief("one-shot", density=0.2, score="increase"),
    "dense": Brief("dense", 1.0),
    "snip": Brief("snip", density=0.2),
}


def test_the_columns():
    assert [column for column in tables.COLUMNS if column in ISSUED] == ISSUED
    assert len(set(tables.COLUMNS)) == len(tables.COLUMNS)


def test_the_table_of_no_runs(run):
    found = tables.runs()
    assert list(found) == tables.COLUMNS and found.empty


def test_the_table(run, tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "WORK", tmp_path / "work")
    monkeypatch.setitem(protocols.PROTOCOLS, "tiny", (Brief, ticket_run.run))
    protocols.train(CONFIG)  # of another kind, left out
    for config in CONFIGS.values():
        protocols.train(config)

    found = tables.runs()
    assert list(found) == tables.COLUMNS
    assert found.method.tolist() == ["concave", "continuous", "dense", "one-shot", "shuffled", "snip"]
    for method, config in CONFIGS.items():
        record, _ = records.read(config)
        row = found[found.method == method].iloc[0].to_dict()
        expected = {name: record["config"][name] for name in ("seed", "precision", "rewind_epoch", "per_layer")}
        for name in ("run", "protocol", "reduced", "dataset", "model", "density", "rounds", "search_epochs"):
            expected[name] = record[name]
        for name in ("total_epochs", "val_accuracy", "test_accuracy", "seconds"):
            expected[name] = record[name]
        expected |= {"density_asked": config.density, "torch_version": record["provenance"]["torch"]}
        expected |= {name: record["provenance"][name] for name in ("device", "commit")}
        assert {name: row[name] for name in expected} == expected

    def applied(column):
        return {method: value for method, value in zip(found.method, found[column]) if not pd.isna(value)}

    assert applied("regularizer") == {"concave": "log", "shuffled": "log"}
    assert applied("eps") == {"concave": 0.2} and applied("alpha") == {"concave": 0.5}
    assert applied("lam") == {"concave": 2e-3, "continuous": 1e-8, "shuffled": 1e-4}
    assert applied("mask_lr") == {"concave": 10, "continuous": 1, "shuffled": 10}
    assert applied("start") == {"continuous": -0.1}
    assert applied("score") == {"one-shot": "increase"}
    assert set(applied("bimodality")) == {"concave", "continuous"}
    assert found.density_asked[0] == 0.4 != found.density[0]  # α decides
