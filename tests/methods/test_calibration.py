"""calibration.py: the density asked for is reached at α, without top-k, by every penalty; no kill changes a bit."""

import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from toy import digits, lenet

from lottery_lib import masks, models
from lottery_lib.data import batches
from lottery_lib.errors import LotteryError
from lottery_lib.methods import calibration, concave
from lottery_lib.methods.calibration import CalibratedMask, Calibration, gap
from lottery_lib.regularizers import REGULARIZERS, Log, create
from lottery_lib.training.loop import train
from lottery_lib.training.recipes import Recipe
from lottery_lib.weights import prunable

RECIPE = Recipe(epochs=20, batch_size=64)


def network():
    """Large: weights of dead units have no support to be told apart by, and here few units are dead."""
    return models.create("lenet-300-100", 10, (1, 8, 8))


WEIGHTS = sum(m.numel() for m in masks.ones(network()).values())


def searched(density, recipe=RECIPE, **fields):
    return concave.search(network(), digits(), concave.Config(density=density, recipe=recipe, **fields))


# The idea, on supports that are made up.


@given(
    st.lists(st.floats(-1, 1), min_size=8, max_size=60, unique=True), st.floats(0.05, 0.95), st.integers(300, 900),
    st.sampled_from(sorted({*REGULARIZERS} - {"mcp"})),  # which does not pull at m = 1, where all entries start
)  # fmt: skip
@settings(max_examples=60)
def test_as_many_entries_survive_as_asked_when_supports_stay_as_they_are(supports, share, steps, regularizer):
    """θ = 1 and G = −A at every step; supports a fortieth of their range apart at least."""
    distinct = sorted({round(20 * support) for support in supports} | {-3, 7})
    support, kept = torch.tensor(distinct) / 2e4, max(1, round(share * len(distinct)))
    model = nn.Linear(len(distinct), 1, bias=False)
    nn.init.ones_(model.weight)
    rule = CalibratedMask(model, ["weight"], create(regularizer), kept, steps)
    for _ in range(steps):
        model.weight.grad = -support[None].clone()
        rule.pull_back()
        assert all(((m >= 0) & (m <= 1)).all() for m in rule.m)
    assert int((rule.m[0] >= rule.calibration.alpha).sum()) == kept
    alive = (rule.m[0] >= rule.calibration.alpha)[0]
    assert support[alive].min() > support[~alive].max() if kept < len(distinct) else True


@pytest.mark.parametrize("told", [3, 5])
def test_a_mask_that_was_told_of_too_few_steps_loses_no_entry(told):
    """It divided by the steps that were left, of which there were none."""
    model = nn.Linear(100, 1, bias=False)
    nn.init.ones_(model.weight)
    rule = CalibratedMask(model, ["weight"], Log(), 20, told)
    for _ in range(10):
        model.weight.grad = -torch.arange(100.0)[None] / 1e3
        rule.pull_back()
    assert (rule.m[0] >= rule.calibration.alpha).all()


@given(st.integers(1, 9000), st.data(), st.booleans())
@settings(max_examples=60, deadline=None)
def test_the_kth_largest_is_that_of_all_values(count, data, many_alike):
    k, seed = data.draw(st.integers(1, count)), data.draw(st.integers(0, 99))
    values = torch.randn(count, generator=torch.Generator().manual_seed(seed))
    values = values.round() if many_alike else values.sort().values if seed % 2 else values
    assert calibration._kth_largest(values, k) == sorted(values.tolist(), reverse=True)[k - 1]


# On a network.


@pytest.mark.parametrize("density", [0.2, 0.05])
@pytest.mark.parametrize("regularizer", REGULARIZERS)
def test_the_density_is_reached_with_every_penalty(regularizer, density):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ticket = searched(density, regularizer=regularizer)
    assert ticket.density == pytest.approx(density, rel=0.02)
    low, high = ticket.info["gap"]
    assert ticket.info["asked"] == density and ticket.info["alpha"] == 0.1 and low < 0.1 <= high
    for threshold in (low + 1e-6, high):  # anywhere in the gap α cuts the same ticket
        assert masks.digest(masks.threshold(ticket.relaxed, threshold)) == masks.digest(ticket.mask)


@pytest.mark.parametrize("kept", [1, 3, round(0.999 * WEIGHTS), WEIGHTS])
def test_densities_at_the_ends(kept):
    ticket = searched(kept / WEIGHTS, allow_empty_layers=True)
    assert abs(ticket.density * WEIGHTS - kept) <= max(1, 0.02 * kept)


@pytest.mark.parametrize("kept", [24, 118])
def test_a_network_that_all_but_dies_ends_at_the_density_too(kept):
    """What is left answers violently: its supports grow a hundredfold while the mask decides."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    config = concave.Config(density=kept / 2368, recipe=Recipe(epochs=60, batch_size=64))
    assert abs(int(concave.search(model, digits(), config).density * 2368 + 0.5) - kept) <= max(1, 0.02 * kept)


def test_rounds_and_early_rewinding_and_another_threshold():
    config = {"rounds": (0.4, 0.1), "rewind_epoch": 2, "alpha": 0.3}
    ticket = searched(0.1, **config)
    assert ticket.density == pytest.approx(0.1, rel=0.02) and ticket.search_epochs == 2 + 2 * 18
    assert ticket.info["alpha"] == 0.3 and ticket.info["gap"][0] < 0.3 <= ticket.info["gap"][1]


def test_what_the_search_set_is_in_its_history():
    rule = CalibratedMask(model := lenet(), prunable(model), Log(), kept=1000, steps=20 * 19)
    history = train(model, digits(), RECIPE, parameterization=rule)
    last, first = history.epochs[-1], history.epochs[1]
    assert last["density"] == pytest.approx(rule.kept / sum(m.numel() for m in rule.m), rel=0.02)
    assert last["lam"] == pytest.approx(rule.lam) and last["mask_lr"] == pytest.approx(rule.mask_lr)
    assert first["mask_lr"] == pytest.approx(history.epochs[2]["mask_lr"], rel=1) and first["density"] == 1


# Where it cannot be.


def test_a_density_that_is_missed_is_said_in_one_sentence_with_the_ticket_at_hand():
    with pytest.warns(UserWarning) as told:
        ticket = searched(0.05, recipe=Recipe(epochs=1, batch_size=600))
    (sentence,) = (str(each.message) for each in told)
    assert sentence.startswith("asked for a density of 0.05, the search reached ") and "2 steps are few" in sentence
    assert ticket.density > 0.06 and ticket.info["asked"] == 0.05


def test_a_loss_that_depends_on_no_weight_ends_in_one_sentence():
    """All entries have the same support, none: they end alike. As of a rate so high that nothing is learnt."""
    inputs, labels = torch.ones(640, 64), torch.zeros(640, dtype=torch.long)
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    config = concave.Config(density=0.1, recipe=Recipe(epochs=40, batch_size=64), allow_empty_layers=True)
    with pytest.warns(
        UserWarning, match="asked for a density of 0.1, the search reached .*: the training loss did not f"
    ):
        ticket = concave.search(model, batches.own((inputs, labels)), config, loss=lambda x, y: 0 * x.sum())
    assert 0 <= ticket.density <= 1


@pytest.mark.parametrize("field, value", [("mask_lr", 3.0), ("per_layer", True)])
def test_what_only_the_plain_recipe_takes_is_refused_without_its_lam(field, value):
    with pytest.raises(LotteryError, match=f"^{field} = {value}: needs a lam; without one the search sets both"):
        concave.Config(**{field: value})
    assert not concave.Config(lam=1e-4, **{field: value}).calibrated


def test_gap():
    values = {"a": torch.tensor([0.0, 0.04, 0.3]), "b": torch.tensor([1.0])}
    assert gap(values, 0.1) == pytest.approx((0.04, 0.3)) and gap(values, 2.0) == (1.0, 1.0)
    assert gap({"a": torch.tensor([0.5])}, 0.1) == (0.0, 0.5)


def test_the_plan_is_the_same_for_every_network():
    assert Calibration() == Calibration(0.1, 0.7, 0.005, 0.01, 0.1, 0.08, 0.65, 0.08, 0.85, 20.0, 200)


@pytest.mark.parametrize("rounds", [(0.02, 0.016), (0.1, 0.08, 0.064)])
def test_later_rounds_leave_what_is_pruned_alone(rounds, monkeypatch):
    """Though the price may be a subsidy there."""
    kept, threshold = [], masks.threshold
    monkeypatch.setattr(concave.masks, "threshold", lambda *given: kept.append(threshold(*given)) or kept[-1])
    ticket = searched(rounds[-1], rounds=rounds)
    for before, after in zip(kept, kept[1:]):
        assert not any((after[name] & ~before[name]).any() for name in after)
    assert ticket.density == pytest.approx(rounds[-1], rel=0.02)  # though few of the survivors are to go


@pytest.mark.parametrize(
    "fields", [{"regularizer": "exponential", "shape": 1e-3}, {"regularizer": "mcp", "alpha": 1.0}]
)
def test_a_penalty_that_is_flat_where_entries_decide_is_refused(fields):
    with pytest.raises(LotteryError, match="is flat where entries decide, so no λ steers them"):
        searched(0.1, **fields)
