"""What fails leaves a network as it was: its weights, buffers and modes; and networks may make buffers as they run."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from toy import RECIPE, copied, noise, perceptron, same_bits

from lottery_lib.data import batches
from lottery_lib.errors import LotteryError
from lottery_lib.masks import density
from lottery_lib.methods import concave, controls, gradual, magnitude, retrain
from lottery_lib.training.loop import train
from lottery_lib.training.recipes import Recipe

X, Y = noise().train.samples
LATE = batches.own([(X[:32], Y[:32]), (X[32:], torch.full_like(Y[32:], 9))])  # its second batch fails
METHODS = {"concave": (concave, {"lam": 1e-4}), "rounds": (magnitude, {"rounds": (0.7, 0.5)}),
           "lr-rewinding": (magnitude, {"rewind_weights": False}), "gradual": (gradual, {})}  # fmt: skip


class Caching(nn.Module):
    """Makes a buffer in its first forward pass, or makes one longer with each longer batch; counts passes."""

    def __init__(self, persistent, made):
        super().__init__()
        self.net = perceptron()
        self.persistent = persistent
        if made != "late":
            self.register_buffer("cache", None if made == "none" else torch.zeros(0), persistent=persistent)
        self.register_buffer("passes", torch.zeros(()), persistent=False)

    def forward(self, inputs):
        self.passes += 1
        cache = getattr(self, "cache", None)
        if cache is None or len(cache) < len(inputs):
            self.register_buffer("cache", torch.ones(len(inputs)), persistent=self.persistent)
        return self.net(inputs) * self.cache[: len(inputs), None]


def buffers(model):
    return {name: None if each is None else each.tolist() for name, each in model._buffers.items()}


@pytest.mark.parametrize("made", ["late", "none", "longer"])
@pytest.mark.parametrize("persistent", [False, True])
@pytest.mark.parametrize("method", METHODS)
def test_a_network_that_makes_buffers_as_it_runs_is_searched_and_trained(method, persistent, made, tmp_path):
    data, recipe = batches.own((X, Y), (X, Y)), Recipe(epochs=3, batch_size=8)
    (module, given), model = METHODS[method], Caching(persistent, made)
    before, keys = buffers(model), list(model.state_dict())
    config = module.Config(density=0.5, recipe=recipe, **given)
    ticket = module.search(model, data, config, work=tmp_path)
    if method in ("concave", "rounds"):  # the others leave the trained network
        assert buffers(model) == before and list(model.state_dict()) == keys
    history = retrain(model, data, ticket, recipe)
    plain = perceptron()
    expected = module.search(plain, data, config)
    assert density(ticket.mask) == density(expected.mask)
    assert all(torch.equal(ticket.mask[f"net.{name}"], m) for name, m in expected.mask.items())
    retrain(plain, data, expected, recipe)
    assert same_bits(copied(model.net.state_dict()), copied(plain.state_dict()))
    assert len(history.epochs) == (0 if method == "gradual" else 3)
    again = module.search(Caching(persistent, made), data, config, work=tmp_path)  # by its checkpoints
    assert same_bits(again.mask, ticket.mask)


@pytest.mark.parametrize("made", ["late", "none", "longer"])
@pytest.mark.parametrize("persistent", [False, True])
def test_a_search_that_fails_leaves_buffers_and_modes_as_they_were(persistent, made):
    model = Caching(persistent, made).eval()
    model.net[1].train()
    before, state, modes = buffers(model), copied(model.state_dict()), [each.training for each in model.modules()]
    with pytest.raises(LotteryError, match="^batch 1 of epoch 0 fails"):
        concave.search(model, LATE, concave.Config(recipe=RECIPE, density=0.5))
    assert buffers(model) == before and same_bits(copied(model.state_dict()), state)
    assert [each.training for each in model.modules()] == modes


def test_a_checkpoint_brings_buffers_that_the_network_has_not_made_yet(tmp_path):
    data = batches.own((X, Y))
    models = [Caching(True, "longer"), Caching(True, "late"), Caching(True, "longer"), Caching(True, "late")]
    histories = [train(model, data, RECIPE, work=tmp_path / str(at % 2)) for at, model in enumerate(models)]
    assert histories[0].epochs == histories[2].epochs and histories[1].epochs == histories[3].epochs  # read again
    assert same_bits(copied(models[2].state_dict()), copied(models[0].state_dict()))
    assert same_bits(copied(models[3].state_dict()), copied(models[1].state_dict()))


REFUSED = {
    "a pair": {"data": (X, Y)},
    "a start beyond": {"start": 9},
    "many losses": {"loss": lambda outputs, labels: cross_entropy(outputs, labels, reduction="none")},
    "an unknown option": {"foo": 1},
    "NaN": {"data": batches.own((X / 0, Y))},
    "a bad seed": {"seed": -1},
    "a late batch": {"data": LATE},
    "no recipe": {"recipe": None},
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_retraining_that_fails_leaves_the_trained_network(case):
    model, data = perceptron(), noise()
    ticket = controls.search(model, data, controls.Config(density=0.5))
    retrain(model, data, ticket, RECIPE)
    before = copied(model.state_dict())
    model.eval()
    with pytest.raises(LotteryError):
        retrain(**{"model": model, "data": data, "ticket": ticket, "recipe": RECIPE} | REFUSED[case])
    assert same_bits(copied(model.state_dict()), before) and not model.training


def test_a_frozen_layer_is_refused_and_stays():
    model, data = perceptron(), noise()
    ticket = controls.search(model, data, controls.Config(density=0.5))
    retrain(model, data, ticket, RECIPE)
    model[0].requires_grad_(False)
    before = copied(model.state_dict())
    with pytest.raises(LotteryError, match="it is frozen"):
        retrain(model, data, ticket, RECIPE)
    assert same_bits(copied(model.state_dict()), before)


OPTIONS = {
    "seed": "^seed: the config tells it; give Config\\(seed=…\\)$",
    "objectiv": "^objectiv: no option here; did you mean 'objective'\\?$",
    "foo": "^foo: no option here; known: loss, objective, metric, work, progress$",
    "stop": "^stop: no option here; ",
    "work": "^work = 3: must be a folder's path, as work='work'$",
}


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_that_there_is_not_is_named(name):
    with pytest.raises(LotteryError, match=OPTIONS[name]):
        concave.search(perceptron(), noise(), concave.Config(recipe=RECIPE, density=0.5), **{name: 3})


@pytest.mark.parametrize("names", [3, (), (1,), [1, "a"]])
def test_names_must_be_some(names):
    with pytest.raises(LotteryError, match="^names = .*: must be parameters' names, as \\('fc1.weight',\\), or None$"):
        concave.Config(names=names)
    assert controls.Config(names=(name for name in ["fc1.weight"])).names == ("fc1.weight",)


def test_a_recipe_may_be_given_anything():
    with pytest.raises(LotteryError, match="^unknown schedule \\['linear'\\]; did you mean 'linear'\\?$"):
        Recipe(schedule=["linear"])
    with pytest.raises(LotteryError, match="^compile_from = -3: must be ≥ 0, or None$"):
        Recipe(compile_from=-3)


def test_a_loss_that_fell_and_rose_is_not_said_not_to_have_fallen():
    """As where a mask takes most weights at the end."""
    rule = SimpleNamespace(m=[torch.linspace(0.2, 1, 100)], kept=50, step=16, steps=16)
    with pytest.warns(UserWarning, match="reached 1: 16 steps are few for a mask to decide in"):
        concave._say_if_missed(rule, 1.0, 0.5, (0.0, 0.2), [1.0, 0.2, 1.1])
    with pytest.warns(UserWarning, match="reached 1: the training loss did not fall"):
        concave._say_if_missed(rule, 1.0, 0.5, (0.0, 0.2), [1.0, 1.2, 1.1])
