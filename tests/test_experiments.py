"""experiments.py: a run is made once, put on record, and found again."""

from unittest.mock import Mock

import numpy as np
import pytest

from lottery_lib import experiments, logistic, paths, records
from lottery_lib.errors import LotteryError
from lottery_lib.logistic import LogisticConfig

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
    with pytest.raises(LotteryError, match="must be two different classes"):
        experiments.train(LogisticConfig(dataset="digits", digits=(3, 3)))
    assert not paths.RESULTS.exists()


def test_protocols():
    for name in experiments.PROTOCOLS:
        assert experiments.config_class(name).protocol == name
    with pytest.raises(LotteryError) as error:
        experiments.config_class("mnist-logistics")
    assert str(error.value) == "unknown protocol 'mnist-logistics'; did you mean 'mnist-logistic'?"
