"""ablation.py: one number of the calibrated search is changed and no other; no run reads a test split."""

from dataclasses import asdict

import pytest

from lottery_lib.errors import LotteryError
from lottery_lib.experiments import ablation, arithmetic, lenet, records, ticket_run
from lottery_lib.experiments.ablation import Ablation, Changed
from lottery_lib.methods.calibration import Calibration


@pytest.fixture
def on_digits(monkeypatch):
    monkeypatch.setitem(ablation.FOLLOWED, "lenet", lenet.DigitsLeNet())


def test_with_the_default_itself_it_is_the_run_it_follows(on_digits):
    config = Ablation(part="landing", value=Calibration().landing, density=0.2)
    with arithmetic.held(config):
        record, arrays = ablation.run(config)
    followed, _ = ticket_run.run(config.followed)
    assert record["calibration"] == {key: followed["calibration"][key] for key in record["calibration"]}
    assert (record["density"], record["val_accuracy"]) == (followed["density"], followed["val_accuracy"])
    assert not arrays


@pytest.mark.parametrize("part, value", [("settling", 0.7), ("memory", 0.3), ("landing", 0.4), ("reach", 1.4)])
def test_a_change_is_one_and_tells(on_digits, part, value):
    config = Ablation(part=part, value=value, density=0.2)
    given = vars(config.followed.search_config())
    plan = asdict(Changed(**given, part=part, value=value).plan)
    assert {key for key, number in plan.items() if number != getattr(Calibration(), key)} == {part}
    changed, default = (
        ablation.run(Ablation(part=part, value=at, density=0.2))[0] for at in (value, getattr(Calibration(), part))
    )
    assert changed["calibration"] != default["calibration"] and changed["default"] == getattr(Calibration(), part)


def test_no_run_reads_a_test_split(on_digits, monkeypatch):
    monkeypatch.setattr("lottery_lib.experiments.ticket_run.evaluate", None)
    assert not [key for key in ablation.run(Ablation(density=0.2))[0] if "test" in key]


def test_the_arithmetic_is_that_of_the_run_it_is_compared_with():
    config = Ablation()
    assert (config.vectors, config.threads) == (config.followed.vectors, config.followed.threads) == ("AVX2", 1)


def test_another_calibrated_search_is_another_run(monkeypatch):
    before = records.name(Ablation())
    monkeypatch.setattr("lottery_lib.methods.calibration.VERSION", 99)
    assert records.name(Ablation()) != before


@pytest.mark.parametrize(
    "given, told",
    [
        ({"value": 1.5}, r"value = 1.5: must be in \(0, 1\] for settling"),
        ({"part": "reach", "value": 0.0}, "value = 0.0: must be in"),
        ({"part": "alpha"}, "follows = 'lenet', part = 'alpha': must be one of each"),
        ({"follows": "cifar"}, "follows: lenet, cifar-short"),
        ({"density": 1.0}, "density = 1.0"),
    ],
)
def test_out_of_range(given, told):
    with pytest.raises(LotteryError, match=told):
        Ablation(**given)
