"""methods/gradual.py: the cubic, nested masks of the largest weights, and a ticket that is already trained."""

from dataclasses import replace

import pytest
import torch
from toy import LEAST, RECIPE, copied, digits, find, lenet, noise, perceptron, same_values, watched

from lottery_lib import masks, methods, weights
from lottery_lib.errors import LotteryError
from lottery_lib.methods import gradual
from lottery_lib.training.loop import train
from lottery_lib.training.recipes import Recipe


def rule_on(model, **fields):
    return gradual.GradualMask(model, weights.prunable(model), gradual.Config(**LEAST | fields))


def cubic(fraction, density):
    """Zhu & Gupta's schedule from 0.1 to 0.7 of the training, in 50 steps."""
    if fraction < 0.1:
        return 1.0
    step = min(1.0, int(50 * (fraction - 0.1) / 0.6 + 1e-9) / 50)
    return density + (1 - density) * (1 - step) ** 3


@pytest.mark.parametrize("density", [0.5, 0.05])
def test_the_density_falls_along_the_cubic(density):
    rule = rule_on(lenet(), density=density)
    for k in range(201):
        fraction = k / 200 + 1e-6
        rule.advance(fraction)
        kept = sum(int(mask.sum()) for mask in rule.mask)
        assert kept == round(cubic(fraction, density) * 2320), fraction
        assert rule.metrics()["density"].item() == pytest.approx(kept / 2320)
    assert kept == round(density * 2320)


@pytest.mark.parametrize("per_layer", [False, True])
def test_each_step_keeps_the_largest_of_the_weights_left(per_layer):
    model = lenet()
    rule = rule_on(model, per_layer=per_layer)
    rule.advance(0.3)
    before, generator = rule.boolean, torch.Generator().manual_seed(9)  # other weights than the initial ones
    with torch.no_grad():
        for weight in rule.weights:
            weight.copy_(torch.randn(weight.shape, generator=generator))
    size = copied({name: model.get_parameter(name).abs() for name in rule.names})
    rule.advance(0.5)
    assert all((before[name] | ~mask).all() for name, mask in rule.boolean.items())
    expected = masks.top_k(size, cubic(0.5, 0.2), before, per_layer)
    assert masks.digest(rule.boolean) == masks.digest(expected)
    assert all(not model.get_parameter(name)[~mask].any() for name, mask in expected.items())


def test_the_search_is_one_training_of_that_length_and_its_ticket_is_trained():
    model = lenet()
    ticket = find("gradual", model, density=0.1)
    plain = lenet()
    rule = rule_on(plain, density=0.1)
    seen = []
    train(plain, digits(), replace(RECIPE, epochs=6), parameterization=watched(rule, lambda r: seen.append(r.boolean)))
    assert masks.digest(ticket.mask) == masks.digest(rule.boolean)
    assert same_values(ticket.rewind, copied(plain.state_dict())) and ticket.search_epochs == 6
    assert same_values(copied(model.state_dict()), ticket.rewind)
    assert all((a[n] | ~b[n]).all() for a, b in zip(seen, seen[1:]) for n in a)
    before = copied(model.state_dict())
    history = methods.retrain(model, digits(), ticket, RECIPE)
    assert history.epochs == [] and history.seconds == 0
    assert same_values(copied(model.state_dict()), before)
    with pytest.raises(LotteryError, match="no accuracy, as there was no epoch to train"):
        history.val_accuracy  # noqa: B018
    assert find("gradual", length=1).search_epochs == 3


def test_the_config_of_a_ticket_finds_it_again():
    ticket = find("gradual", density=0.1)
    config = dict(ticket.config)
    config.pop("method")
    config |= {"recipe": Recipe(**config["recipe"]), "rounds": tuple(config["rounds"])}
    again = gradual.search(lenet(), digits(), gradual.Config(**config))
    assert masks.digest(again.mask) == masks.digest(ticket.mask) and again.search_epochs == ticket.search_epochs


def test_a_training_of_few_steps_reaches_its_density_too():
    config = gradual.Config(density=0.2, recipe=Recipe(epochs=1, batch_size=64), length=1)
    ticket = gradual.search(perceptron(), noise(), config)  # a single step, at the very start of the schedule
    assert ticket.density == round(0.2 * 45) / 45
