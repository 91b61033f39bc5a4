"""early_bird.py: tickets drawn on the way; looking changes nothing, and no run reads a test split."""

import pytest

from lottery_lib.errors import LotteryError
from lottery_lib.experiments import arithmetic, early_bird, lenet, records, ticket_run
from lottery_lib.experiments.early_bird import EarlyBird


@pytest.fixture(scope="module")
def made():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(early_bird, "FOLLOWED", lenet.DigitsLeNet())
        config = EarlyBird(density=0.1)
        with arithmetic.held(config), pytest.MonkeyPatch.context() as blind:
            blind.setattr(ticket_run, "evaluate", None)  # by which runs read the test split
            found = early_bird.run(config)
        yield config, *found


def test_the_last_ticket_is_that_of_the_run_it_follows(made):
    config, record, arrays = made
    followed, _ = ticket_run.run(config.followed)
    assert (record["density"], record["val_accuracy"]) == (followed["density"], followed["val_accuracy"])
    assert not arrays


def test_masks_draw_nearer_to_the_last(made):
    epochs = made[1]["drawn"]
    assert [each["epoch"] for each in epochs] == [*range(1, 21)]
    assert epochs[0]["before"] is None and epochs[-1]["last"] == 1
    assert 0.1 < epochs[0]["last"] < epochs[9]["last"] < 1  # 0.1: what a random mask would share


def test_each_ticket_is_trained_by_itself(made):
    assert len({each["val_accuracy"] for each in made[1]["drawn"]}) > 1


def test_another_calibrated_search_is_another_run(monkeypatch):
    before = records.name(EarlyBird())
    monkeypatch.setattr("lottery_lib.methods.calibration.VERSION", 99)
    assert records.name(EarlyBird()) != before


def test_the_arithmetic_is_that_of_the_run_it_follows(monkeypatch):
    monkeypatch.setattr(early_bird, "FOLLOWED", lenet.LeNet())
    assert (EarlyBird().vectors, EarlyBird().threads) == ("AVX2", 1)


def test_out_of_range():
    with pytest.raises(LotteryError, match="density = 1.0"):
        EarlyBird(density=1.0)
