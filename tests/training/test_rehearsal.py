"""rehearsal.py: what cannot work is said before the first step, and a dry run changes nothing."""

import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss
from torch.utils.data import DataLoader, TensorDataset
from toy import RECIPE, Dropping, convnet, copied, digits, noise, perceptron, same_bits, timeless

from lottery_lib.data import batches
from lottery_lib.errors import LotteryError
from lottery_lib.methods import controls, retrain, saliency
from lottery_lib.training import loop
from lottery_lib.training.evaluation import evaluate
from lottery_lib.training.loop import train
from lottery_lib.training.recipes import Recipe
from lottery_lib.training.rehearsal import rehearse
from lottery_lib.training.tasks import Task

X, Y = torch.randn(12, 6, generator=torch.Generator().manual_seed(0)), torch.arange(12) % 3


class Labelled(nn.Module):
    """Tells its loss in training only, as detectors do."""

    def __init__(self):
        super().__init__()
        self.read = nn.Linear(6, 3)

    def forward(self, batch):
        return {"loss": cross_entropy(self.read(batch["x"]), batch["y"])} if self.training else [1, 2]


def normalized():
    return nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))


class Doubled(nn.Module):
    """Changes in place what the layer before it needs again."""

    def forward(self, inputs):
        return inputs.mul_(2)


WHOLE = {"x": X, "y": Y}
SPARSE = {
    "model": nn.Sequential(nn.EmbeddingBag(5, 4, sparse=True), nn.Linear(4, 3)),
    "data": batches.own((torch.arange(24).view(12, 2) % 5, Y)),
}
CASES = {
    "a dict without objective": (
        {"data": batches.own(WHOLE)},
        "batches have keys x, y, and a loss takes \\(inputs, labels\\); give an objective of \\(model, batch\\)",
    ),
    "three parts without objective": (
        {"data": batches.own((X, X, Y))},
        "batches have 3 parts, and a loss takes \\(inputs, labels\\)",
    ),
    "a tensor": ({"data": batches.own([X, X])}, "batches are of type Tensor, and a loss takes"),
    "labels of the wrong type": (
        {"data": batches.own((X, Y.float()))},
        "the first batch of training fails, before any step was taken: RuntimeError: ",
    ),
    "validation only": (
        {"data": batches.own((X, Y), (X[:, :5], Y))},
        "the first batch of validation fails, before any step was taken: RuntimeError: mat1 and mat2 shapes",
    ),
    "an empty validation loader": (
        {"data": batches.own((X, Y), [])},
        "^the split to evaluate on gives no batch of data; leave it out, or give at least one$",
    ),
    "a loss of many numbers": (
        {"loss": lambda outputs, labels: cross_entropy(outputs, labels, reduction="none")},
        "the loss of a batch must be one number, a tensor of shape \\(\\), but it is a tensor of shape \\(12,\\)",
    ),
    "a complex loss": (
        {"loss": lambda outputs, labels: cross_entropy(outputs, labels) * 1j},
        "the loss of a batch must be one number, a tensor of shape \\(\\), but it is .* of complex numbers",
    ),
    "only labels that are ignored": (
        {"data": batches.own((X, torch.full_like(Y, -100)))},
        "^the loss of the first batch is nan, before any step was taken: is a number in the data not finite, or every",
    ),
    "numbers that are none": (
        {"data": batches.own((X / 0, Y))},
        "^the loss of the first batch is nan, before any step",
    ),
    "data without splits": ({"data": (X, Y)}, "^data of type tuple have no splits; give own\\(train, val\\), or load"),
    "nothing to train": (
        {"model": perceptron().requires_grad_(False)},
        "^nothing to train: the model has no parameter",
    ),
    "no parameters": ({"model": nn.Flatten()}, "^nothing to train: the model has no parameter"),
    "a loss that is a float": ({"loss": lambda outputs, labels: 1.0}, "a tensor of shape \\(\\), but it is float"),
    "a loss without a graph": ({"loss": lambda outputs, labels: outputs.detach().sum()}, "the loss has no gradient"),
    "a detector in evaluation": (
        {
            "model": Labelled(),
            "data": batches.own(WHOLE, WHOLE),
            "objective": lambda model, batch: model(batch)["loss"],
        },
        "the first batch of validation fails, before any step was taken: TypeError: list indices must be integers",
    ),
    "a metric that is no number": (
        {"data": batches.own((X, Y), (X, Y)), "metric": lambda model, batches: "high"},
        "the first batch of validation fails, before any step was taken: ValueError: could not convert string",
    ),
    "a metric of no data": (
        {"metric": lambda model, batches: 1.0},
        "^a metric is measured on validation data, and none are given; give them, or no metric",
    ),
    "a backward pass that fails": (
        {"model": nn.Sequential(nn.Linear(6, 3), nn.Sigmoid(), Doubled())},
        "^the backward pass of the first batch fails, before any step was taken: RuntimeError: one of the variables",
    ),
    "a sparse gradient under adamw": (
        SPARSE | {"recipe": Recipe(epochs=1, optimizer="adamw", lr=0.001)},
        "^'0.weight' gets a sparse gradient, which adamw cannot take; give sparse=False$",
    ),
    "a sparse gradient under weight decay": (
        SPARSE | {"recipe": Recipe(epochs=1, weight_decay=0.1)},
        "^'0.weight' gets a sparse gradient, which weight decay cannot take; give sparse=False$",
    ),
    "two things to lower": (
        {"loss": mse_loss, "objective": lambda model, batch: 0},
        "both a loss and an objective are given",
    ),
    "one sample a batch": (
        {"model": normalized(), "recipe": Recipe(epochs=1, batch_size=1)},
        "^batch normalisation cannot train on a batch of one sample; choose another batch size, or drop the last batch",
    ),
    "one sample in a loader's last batch": (
        {"model": normalized(), "data": batches.own(DataLoader(TensorDataset(X[:9], Y[:9]), 4))},
        "^batch normalisation cannot train on a batch of one sample",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_cannot_work_is_said_before_the_first_step(case, tmp_path, monkeypatch):
    given, message = CASES[case]
    given = {"model": perceptron(), "data": batches.own((X, Y)), "recipe": Recipe(epochs=1)} | given
    model, start = given["model"], copied(given["model"].state_dict())
    monkeypatch.setattr(loop.torch.optim.SGD, "step", None)  # no step is taken
    for work in (None, tmp_path):
        with pytest.raises(LotteryError, match=message) as error:
            train(**given, work=work)
        assert "\n" not in str(error.value)
    assert same_bits(copied(model.state_dict()), start) and not list(tmp_path.iterdir())


def test_one_sample_in_a_batch_that_nobody_could_foresee_is_one_sentence():
    with pytest.raises(LotteryError, match="^batch normalisation cannot train on a batch of one sample"):
        train(normalized(), batches.own([(X[:4], Y[:4]), (X[4:5], Y[4:5])]), Recipe(epochs=1))
    train(nn.Sequential(nn.Linear(6, 3)), batches.own([(X[:1], Y[:1])]), Recipe(epochs=1))  # nothing to normalise


def test_a_later_batch_that_fails_is_named():
    late = [(X[:4], Y[:4]), (X[4:6], torch.tensor([0, 10]))]
    with pytest.raises(LotteryError, match="^batch 1 of epoch 0 fails, .*: IndexError: Target 10 is out of bounds"):
        train(nn.Sequential(nn.Linear(6, 3)), batches.own(late), Recipe(epochs=1))


def test_a_backward_pass_or_a_step_that_fails_later_is_named(monkeypatch):
    calls = []

    def loss(outputs, labels):
        calls.append(1)
        return cross_entropy(outputs, labels, reduction="none" if len(calls) > 2 else "mean")

    late = batches.own([(X[:4], Y[:4]), (X[4:8], Y[4:8])])
    with pytest.raises(LotteryError, match="^the backward pass of batch 1 of epoch 0 fails: RuntimeError: grad can be"):
        train(nn.Sequential(nn.Linear(6, 3)), late, Recipe(epochs=1), loss=loss)
    monkeypatch.setattr(loop.torch.optim.SGD, "step", lambda self: 1 / 0)
    with pytest.raises(LotteryError, match="^the optimiser's step after batch 0 of epoch 0 fails: ZeroDivisionError"):
        train(nn.Sequential(nn.Linear(6, 3)), late, Recipe(epochs=1))


def test_gradients_that_are_sparse_train_where_the_optimiser_takes_them():
    model, data = nn.Sequential(nn.EmbeddingBag(5, 4, sparse=True), nn.Linear(4, 3)), SPARSE["data"]
    assert train(model, data, Recipe(epochs=1)).epochs
    covered = controls.Config(density=0.5, names=("0.weight",), recipe=Recipe(epochs=1, weight_decay=0.1))
    assert retrain(model, data, controls.search(model, data, covered), covered.recipe).epochs


def test_a_dry_run_leaves_gradients_alone():
    model = perceptron()
    model[0].weight.grad = gradient = torch.ones_like(model[0].weight)
    rehearse(model, batches.own((X, Y)), RECIPE, Task())
    assert model[0].weight.grad is gradient and (gradient == 1).all() and model[2].weight.grad is None


def test_validation_that_tells_nothing_is_said_once():
    data = batches.own((X, Y), (X / 0, Y))
    with pytest.warns(UserWarning, match="^the validation loss of epoch 0 is nan: is a number in the data or") as told:
        history = train(perceptron(), data, RECIPE)
    assert len(told) == 1 and np.isnan([each["val_loss"] for each in history.epochs]).all()
    with pytest.warns(UserWarning, match="^the loss on the split is nan: is a number in the data or the weights not"):
        evaluate(perceptron(), data.val)


EVALUATED = {
    "a loss of many numbers": (
        {"loss": lambda outputs, labels: cross_entropy(outputs, labels, reduction="none")},
        "^the loss of a batch must be one number, a tensor of shape \\(\\), but it is a tensor of shape \\(12,\\)",
    ),
    "labels out of range": (
        {"split": batches.own((X, Y + 5)).train},
        "^the split cannot be evaluated: IndexError: Target 5 is out of bounds.$",
    ),
}


@pytest.mark.parametrize("case", EVALUATED)
def test_what_cannot_be_evaluated_is_one_sentence(case):
    given, message = EVALUATED[case]
    with pytest.raises(LotteryError, match=message):
        evaluate(perceptron(), **{"split": batches.own((X, Y)).train} | given)


def test_searches_without_training_say_so_too():
    for method in (saliency, controls):
        with pytest.raises(
            LotteryError, match="^the first batch of training fails, before any step was taken: Runtime"
        ):
            method.search(perceptron(), batches.own((X.double(), Y)), method.Config(recipe=RECIPE))
        with pytest.raises(LotteryError, match="^data of type DataLoader have no splits; give own"):
            method.search(perceptron(), DataLoader(TensorDataset(X, Y)), method.Config(recipe=RECIPE))


def test_saliency_says_so_too():
    with pytest.raises(LotteryError, match="batches have keys x, y, and a loss takes"):
        saliency.search(perceptron(), batches.own(WHOLE), saliency.Config(recipe=RECIPE))
    objective = {"objective": lambda model, batch: cross_entropy(model(batch["x"]), batch["y"])}
    config = {"recipe": RECIPE, "density": 0.5}
    assert saliency.search(perceptron(), batches.own(WHOLE), saliency.Config(**config), **objective).density > 0.4
    for criterion, message in (("grasp", "an objective hides them; take snip"), ("synflow", "in a dict; take snip")):
        with pytest.raises(LotteryError, match=message):
            config = saliency.Config(recipe=RECIPE, criterion=criterion)
            saliency.search(perceptron(), batches.own(WHOLE), config, **objective)


class Counted(TensorDataset):
    """Draws from all generators there are."""

    def __getitem__(self, index):
        inputs, label = super().__getitem__(index)
        return inputs + random.random() + float(np.random.rand()) + torch.rand(1), label


def test_a_dry_run_changes_no_bit(monkeypatch):
    """Of dropout, batch normalisation, and loaders that draw by themselves, by Python or by NumPy."""
    results = []
    for rehearsed in (True, False):
        random.seed(0), np.random.seed(0), torch.manual_seed(0)
        if not rehearsed:
            monkeypatch.setattr(loop, "rehearse", lambda *_: None)
        own = torch.Generator().manual_seed(3)
        loader = DataLoader(Counted(X, Y), 4, shuffle=True, generator=own)
        model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3))
        history = train(model, batches.own(loader, loader), RECIPE)
        results.append(
            (copied(model.state_dict()), timeless(history), random.random(), np.random.rand(), torch.rand(1))
        )
    assert same_bits(results[0][0], results[1][0]) and results[0][1:] == results[1][1:]


@pytest.mark.parametrize("make", [convnet, Dropping])
def test_a_dry_run_changes_no_bit_of_the_librarys_runs(make, monkeypatch):
    states = []
    for rehearsed in (True, False):
        if not rehearsed:
            monkeypatch.setattr(loop, "rehearse", lambda *_: None)
        model = make()
        train(model, digits(), RECIPE)
        states.append(copied(model.state_dict()))
    assert same_bits(*states)
    assert noise().val is None  # nothing to validate on is nothing to rehearse
