"""experiment.py: one run of any protocol, from its record or made now; what a protocol does not know is refused."""

import pytest
from runs import Tiny

from lottery_lib import paths
from lottery_lib.errors import LotteryError
from lottery_lib.experiments import protocols, records
from lottery_lib.experiments.experiment import Experiment
from lottery_lib.experiments.pairs import CifarShort
from lottery_lib.experiments.protocols import DigitsLeNet, LeNet


@pytest.fixture(autouse=True)
def tiny(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(paths, "WORK", tmp_path / "work")
    monkeypatch.setitem(protocols.PROTOCOLS, "tiny", (Tiny, protocols.PROTOCOLS["digits"][1]))


def test_a_run_is_what_the_protocol_makes_of_the_parameters():
    assert Experiment().run == DigitsLeNet()
    assert Experiment("lenet", method="imp", density=0.2, seed=3).run == LeNet("imp", 0.2, 3)
    assert Experiment("lenet", lam=1e-4).run == LeNet(lam=1e-4)
    small = Experiment("cifar-short", "conv-small", "concave", 0.2, "l1", epochs=3).run
    assert small == CifarShort("concave", 0.2, model="conv-small", regularizer="l1", epochs=3)
    assert Experiment("lenet", "lenet-300-100").run == LeNet()  # its only one, by name
    assert Experiment(method="dense").run.density == 1  # whatever the page's density is


@pytest.mark.parametrize(
    "given, sentence",
    [
        ({"protocol": "mnist-logistic"}, "protocol = 'mnist-logistic': must be one that finds tickets"),
        ({"protocol": "lennet"}, "unknown protocol 'lennet'; did you mean 'lenet'?"),
        ({"model": "resnet20"}, "model = 'resnet20': digits has none of its own; leave it out"),
        ({"epochs": 3}, "epochs = 3: digits has none of its own; leave it out"),
        ({"density": 2.0}, "density = 2.0: must lie in (0, 1], a fraction of the weights to keep"),
        ({"method": "snip", "lam": 3e-4}, "lam = 0.0003: snip does not read it; leave it out"),
    ],
)
def test_what_is_wrong_is_refused_at_once(given, sentence):
    with pytest.raises(LotteryError) as error:
        Experiment(**given)
    assert str(error.value) == sentence


def test_a_run_is_made_once_if_it_is_kept_and_nothing_is_written_if_not():
    experiment = Experiment("tiny", method="random", density=0.2)
    assert experiment.forecast().startswith("This run is not on record. It is made now, 2 epochs, ")
    record, _ = experiment.made()
    assert not paths.RESULTS.exists()
    kept, _ = experiment.made(keep=True)
    assert kept["test_accuracy"] == record["test_accuracy"] and records.exists(experiment.run)
    assert experiment.forecast() == f"This run is on record: `{records.name(experiment.run)}`."
    assert experiment.made()[0] == kept


def test_the_forecast_counts_all_trainings():
    one, rounds = (Experiment("tiny", method="imp", density=density).seconds() for density in (0.5, 0.2))
    assert 0 < one < 60 and 0 < rounds < 60
    assert "6 epochs" in Experiment("tiny", method="imp", density=0.2).forecast()  # two rounds and a retraining
