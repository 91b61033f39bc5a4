"""findings/early_bird.py: from when on a ticket drawn on the way is as good as the last, told from made-up records."""

import pandas as pd
import pytest
from runs import RECORD

from lottery_lib.errors import LotteryError
from lottery_lib.experiments import records
from lottery_lib.experiments.early_bird import EarlyBird
from lottery_lib.figures import early_bird as figures
from lottery_lib.findings import early_bird

LOST = {1: 2.0, 2: 1.0, 3: 0.0, 4: 0.0}  # points of each epoch's ticket
LAST = {1: 0.5, 2: 0.7, 3: 0.8, 4: 1.0}


@pytest.fixture
def found(monkeypatch):
    """Three seeds of four epochs; the third's ticket is as good as the last, with a fifth of it still to change."""
    made = []
    for seed, noise in enumerate([-0.1, 0.0, 0.1]):
        told = [
            {"epoch": epoch, "before": LAST[epoch - 1] if epoch > 1 else None, "last": LAST[epoch],
             "val_accuracy": 98 - lost + (noise if epoch < 4 else 0)} for epoch, lost in LOST.items()
        ]  # fmt: skip
        about = {"protocol": EarlyBird.protocol, "model": "lenet-300-100", "dataset": "mnist", "val_accuracy": 98.0}
        made.append(RECORD | about | {"config": {"density": 0.05, "seed": seed}, "drawn": told})
    monkeypatch.setattr(records, "read_all", lambda: made)
    return early_bird.drawn()


def test_tickets_are_measured_against_the_last(found):
    cells = early_bird.by_epoch(found).set_index("epoch")
    assert cells["mean"].round(6).to_dict() == {epoch: -lost for epoch, lost in LOST.items()}
    assert cells["last"].to_dict() == pytest.approx(LAST)
    assert cells.before.isna().tolist() == [True, False, False, False]
    assert cells.half_width.notna().tolist() == [True, True, True, False]


def test_it_tells_when_tickets_are_as_good_and_when_masks_are_alike(found):
    said = early_bird.in_short(found)
    assert said.startswith("LeNet-300-100 on MNIST, density 0.05, n = 3: tickets drawn from epoch 3 of 4 on")
    assert "shares 80 %" in said and "from epoch 4 on masks share 95 %" in said


def test_a_density_on_two_seeds_is_not_said_to_be_as_good(found):
    other = found[found.seed < 2].assign(density=0.01)
    assert early_bird.in_short(pd.concat([found, other])) == early_bird.in_short(found)


def test_two_seeds_tell_of_no_difference(found):
    assert early_bird.by_epoch(found[found.seed < 2]).half_width.isna().all()
    assert "Too few seeds" in early_bird.in_short(found[found.seed < 2])
    assert "lottery sweep" in early_bird.in_short(found[:0])


def test_the_figure_shows_each_density(found):
    figure = figures.on_the_way(early_bird.by_epoch(found))
    assert [ax.get_title() for ax in figure.axes if ax.get_title()] == ["LeNet-300-100 on MNIST, 0.05"]
    with pytest.raises(LotteryError, match="on record"):
        figures.on_the_way(early_bird.by_epoch(found[:0]))
