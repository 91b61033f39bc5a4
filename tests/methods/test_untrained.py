"""frozen.py and popup.py: masks that are learned while the weights under them stay as they were drawn."""

import pytest
import torch
from toy import digits, lenet, noise, perceptron

from lottery_lib import masks, models, weights
from lottery_lib.errors import LotteryError
from lottery_lib.methods import frozen, popup
from lottery_lib.regularizers import Log
from lottery_lib.training.loop import train
from lottery_lib.training.recipes import Recipe

RECIPE = Recipe(epochs=8, batch_size=64, weight_decay=1e-3)


def test_frozen_weights_stay_and_the_mask_learns():
    model = models.create("lenet-300-100", 10, (1, 8, 8))  # whole, as it must find what it needs among what there is
    before = {name: model.get_parameter(name).detach().clone() for name in weights.prunable(model)}
    steps = RECIPE.epochs * digits().train.steps(RECIPE.batch_size)
    rule = frozen.FrozenMask(model, weights.prunable(model), Log(), sum(map(torch.numel, before.values())) // 2, steps)
    history = train(model, digits(), RECIPE, parameterization=rule)
    assert all(torch.equal(theta, before[name]) for name, theta in zip(rule.names, rule.theta))
    assert history.epochs[-1]["val_accuracy"] > 40  # chance is 10
    for name, m in zip(rule.names, rule.m):
        assert torch.equal(model.get_parameter(name), m * before[name])


def test_a_frozen_search_sets_its_own_price():
    with pytest.raises(LotteryError, match="sets it; leave it out"):
        frozen.Config(lam=1e-4)


def test_edge_popup_knows_no_rounds():
    with pytest.raises(LotteryError, match="^rounds = \\(0.5, 0.2\\): edge-popup is one training; leave it out"):
        popup.Config(density=0.2, rounds=(0.5, 0.2))


def test_edge_popup_chooses_among_weights_that_stay():
    model = lenet()
    before = {name: model.get_parameter(name).detach().clone() for name in weights.prunable(model)}
    rule = popup.PopupMask(model, list(before), 0.25, seed=0)
    first = rule.mask()
    history = train(model, digits(), RECIPE, parameterization=rule)
    mask = rule.mask()
    assert history.epochs[-1]["val_accuracy"] > 70
    assert masks.overlap(first, mask) < 0.9
    for name, weight in before.items():
        assert float(mask[name].float().mean()) == pytest.approx(0.25, abs=0.01)  # in each layer
        assert torch.equal(model.get_parameter(name), weight * mask[name] / 0.5)


def test_scores_follow_the_gradient_that_passes_straight_through():
    model = torch.nn.Linear(4, 2, bias=False)
    theta = model.weight.detach().clone()
    rule = popup.PopupMask(model, ["weight"], 0.25, seed=0)
    model.weight.grad = torch.arange(8.0).reshape(2, 4)
    rule.pull_back()
    score = rule.leaves[0]
    torch.testing.assert_close(score.grad, theta * model.weight.grad * score.detach().sign() / 0.5)


def test_edge_popup_draws_its_scores_by_the_seed():
    drawn = [popup.PopupMask(lenet(), weights.prunable(lenet()), 0.25, seed).mask() for seed in (0, 0, 1)]
    assert masks.digest(drawn[0]) == masks.digest(drawn[1]) != masks.digest(drawn[2])


def test_scores_move_in_half_precision_too(tmp_path):
    """Nearly half of them stayed where they began, as small steps rounded away."""
    model, config = perceptron(dtype=torch.bfloat16), popup.Config(density=0.25, recipe=Recipe(epochs=2, lr=1e-3))
    rule = popup.PopupMask(model, weights.prunable(model), 0.25, seed=0)
    began = [score.detach().clone() for score in rule.leaves]
    train(model, noise(dtype=torch.bfloat16), config.recipe, parameterization=rule)
    assert model[0].weight.dtype == torch.bfloat16
    for before, score in zip(began, rule.leaves):
        moved, alive = (
            score != before,
            (score != before).any(1),
        )  # a unit that is dead gives none of its weights a gradient
        assert score.dtype == torch.float32 and alive.any() and moved[alive].float().mean() > 0.99
    ticket = popup.search(perceptron(dtype=torch.bfloat16), noise(dtype=torch.bfloat16), config, work=tmp_path)
    assert ticket.rewind["0.weight"].dtype == torch.bfloat16
