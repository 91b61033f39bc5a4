"""experiments.py: a run is made once, put on record, and found again."""

from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest

from lottery_lib import experiments, logistic, paths, records, ticket_runs
from lottery_lib.errors import LotteryError
from lottery_lib.logistic import LogisticConfig
from lottery_lib.ticket_runs import LeNet
from lottery_lib.training import Recipe

CONFIG = LogisticConfig(dataset="digits", iterations=10)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """The experiment, counting its calls, with an empty results folder."""
    counted = Mock(wraps=logistic.run)
    monkeypatch.setattr(paths, "RESULTS", tmp_path / "results")
    monkeypatch.setitem(experiments.PROTOCOLS, "mnist-logistic", (LogisticConfig, counted))
    return counted


def test_a_run_is_made_once(run):
    folder = experiments.train(CONFIG, progress=False)
    assert folder == records.folder(CONFIG) and records.exists(CONFIG)
    record, arrays = records.read(CONFIG)
    assert LogisticConfig(**record["config"]) == CONFIG
    summary, again = logistic.run(CONFIG)
    assert record["methods"] == summary["methods"]
    np.testing.assert_array_equal(arrays["weights"], again["weights"])

    assert experiments.train(CONFIG) == folder
    run.assert_called_once_with(CONFIG, False)
    experiments.train(LogisticConfig(dataset="digits", iterations=11))
    assert run.call_count == 2


def test_a_run_that_fails_leaves_nothing(run):
    with pytest.raises(LotteryError, match="diverges"):
        experiments.train(LogisticConfig(dataset="digits", weight_decay=1e4, iterations=300))
    assert not paths.RESULTS.exists()


def test_protocols():
    for name in experiments.PROTOCOLS:
        assert experiments.config_class(name).protocol == name
    with pytest.raises(LotteryError) as error:
        experiments.config_class("mnist-logistics")
    assert str(error.value) == "unknown protocol 'mnist-logistics'; did you mean 'mnist-logistic'?"


# Grids.


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write the grid ``tiny``."""
    monkeypatch.setattr(paths, "GRIDS", tmp_path)
    return (tmp_path / "tiny.yaml").write_text


def test_a_grid_lists_its_runs_in_order_in_groups(write):
    write("""
protocol: lenet
over: {seed: [3, 4]}
runs:
  - {method: dense, density: 1}
  - {method: concave, lam: [1e-3, 2.0e-3], eps: null, density: [0.4, 0.2], per_layer: true}
""")
    concave = [(1e-3, 0.4), (1e-3, 0.2), (2e-3, 0.4), (2e-3, 0.2)]  # the last field fastest
    assert experiments.grid("tiny") == [
        group
        for seed in (3, 4)
        for group in (
            [LeNet("dense", 1.0, seed)],
            [LeNet("concave", density, seed, lam=lam, per_layer=True) for lam, density in concave],
        )
    ]


def test_a_grid_may_be_of_any_protocol(write):
    write("{protocol: mnist-logistic, over: {}, runs: [{digits: '4,9', lam: [1, 2]}, {}]}")
    assert experiments.grid("tiny") == [
        [LogisticConfig(digits=(4, 9), lam=lam) for lam in (1.0, 2.0)], [LogisticConfig()],
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text, sentence",
    [
        ("{protocol: lenets, over: {}, runs: []}", "unknown protocol 'lenets'; did you mean 'lenet'?"),
        ("{protocol: lenet, over: {}, runs: [{lamda: 1}]}", "unknown parameter 'lamda'; did you mean 'lam'?"),
        ("{protocol: lenet, over: {sed: 1}, runs: [{}]}", "unknown parameter 'sed'; did you mean 'seed'?"),
        ("{protocol: lenet, over: {}, runs: [{lam: high}]}", "lam = 'high': must be a finite number"),
        ("{protocol: lenet, over: {}, runs: [{alpha: [0.5, 2]}]}", "alpha = 2.0: must lie in (0, 1]"),
        ("{protocol: lenet, runs: []}", "must hold protocol, over and runs, and nothing else"),
        ("{protocol: lenet, over: {}, runs: [], run: []}", "must hold protocol, over and runs, and nothing else"),
        ("", "must hold protocol, over and runs, and nothing else"),
    ],
)
def test_a_mistake_in_a_grid_is_one_sentence_that_names_it(write, text, sentence):
    write(text)
    with pytest.raises(LotteryError) as error:
        experiments.grid("tiny")
    assert str(error.value) == f"grid 'tiny': {sentence}"


def test_a_grid_that_is_no_yaml(write):
    write("{protocol: lenet")
    with pytest.raises(LotteryError, match=r"^grid 'tiny': while parsing .* line 1, column 1[^\n]*$"):
        experiments.grid("tiny")


def test_an_unknown_grid(write):
    with pytest.raises(LotteryError) as error:
        experiments.grid("tiny")
    assert str(error.value) == "there is no grid 'tiny'; known: none"
    write("")
    with pytest.raises(LotteryError) as error:
        experiments.grid("tinny")
    assert str(error.value) == "there is no grid 'tinny'; did you mean 'tiny'?"


def test_the_committed_grids_name_no_run_twice():
    grids = {path.stem: experiments.grid(path.stem) for path in paths.GRIDS.glob("*.yaml")}
    assert "lenet" in grids
    for name, groups in grids.items():
        names = [records.name(config) for group in groups for config in group]
        assert names and len(set(names)) == len(names), name


def test_part():
    assert [experiments.part(text) for text in ("1/1", "1/2", "2/2", "3/12")] == [(0, 1), (0, 2), (1, 2), (2, 12)]
    for text in ("0/2", "3/2", "-1/2", "1", "1/", "/2", "a/b", "1/2/3", ""):
        with pytest.raises(LotteryError) as error:
            experiments.part(text)
        assert str(error.value) == f"part {text!r}: must be I/N with 1 ≤ I ≤ N, as in 1/2"


# The table.


class Tiny(LeNet):
    protocol = "tiny"
    version = 1
    reduced = True
    dataset = "digits"
    recipe = Recipe(epochs=1, batch_size=64)


ISSUED = """run protocol reduced dataset model method regularizer eps lam alpha density_asked density seed
    rewind_epoch rounds search_epochs total_epochs val_accuracy test_accuracy seconds precision device
    torch_version commit""".split()
CONFIGS = {
    "concave": Tiny(density=0.4, lam=2e-3, eps=0.2, alpha=0.5, seed=1),
    "shuffled": Tiny("shuffled", density=0.2),
    "continuous": Tiny("continuous", density=0.2, lam=1e-8, mask_lr=1.0, start=-0.1),
    "one-shot": Tiny("one-shot", density=0.2, score="increase"),
    "dense": Tiny("dense", 1.0),
    "snip": Tiny("snip", density=0.2),
}


def test_the_columns():
    assert [column for column in experiments.COLUMNS if column in ISSUED] == ISSUED
    assert len(set(experiments.COLUMNS)) == len(experiments.COLUMNS)


def test_the_table_of_no_runs(run):
    found = experiments.table()
    assert list(found) == experiments.COLUMNS and found.empty


def test_the_table(run, tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "WORK", tmp_path / "work")
    monkeypatch.setitem(experiments.PROTOCOLS, "tiny", (Tiny, ticket_runs.run))
    experiments.train(CONFIG)  # of another kind, left out
    for config in CONFIGS.values():
        experiments.train(config)

    found = experiments.table()
    assert list(found) == experiments.COLUMNS
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
