"""tasks.py and evaluation.py: objectives of a reader's own, and what a training is measured by."""

from dataclasses import replace

import pytest
import torch
from torch.nn.functional import cross_entropy
from toy import RECIPE, copied, lenet, noise, perceptron, same_bits, timeless

from lottery_lib import methods
from lottery_lib.data import batches
from lottery_lib.methods import concave, magnitude
from lottery_lib.training.evaluation import evaluate
from lottery_lib.training.loop import train

INPUTS, LABELS = noise(inputs=200).train.samples
PAIRS = batches.own((INPUTS[:150], LABELS[:150]), (INPUTS[150:], LABELS[150:]))
DICTS = batches.own({"x": INPUTS[:150], "y": LABELS[:150]}, {"x": INPUTS[150:], "y": LABELS[150:]})


def objective(model, batch):
    return cross_entropy(model(batch["x"]), batch["y"])


def right(model, data):
    """Of all samples, the share whose class is right."""
    counts = [((model(batch["x"]).argmax(1) == batch["y"]).sum(), len(batch["y"])) for batch in data]
    return sum(hits for hits, _ in counts) / sum(count for _, count in counts)


def test_an_objective_of_model_and_batch_trains_as_the_loss_does():
    """The same bits, in search and retraining."""
    results = []
    for data, options in ((PAIRS, {}), (DICTS, {"objective": objective})):
        model = perceptron()
        config = concave.Config(recipe=RECIPE, density=0.5, lam=1e-3)
        ticket = concave.search(model, data, config, **options)
        history = methods.retrain(model, data, ticket, RECIPE, **options)
        results.append((copied(model.state_dict()), ticket.mask, timeless(history)))
    assert same_bits(results[0][0], results[1][0]) and same_bits(results[0][1], results[1][1])
    plain, own = results[0][2], results[1][2]
    assert [epoch["val_loss"] for epoch in plain] == [epoch["val_loss"] for epoch in own]
    assert "val_accuracy" in plain[-1] and "val_accuracy" not in own[-1]  # nobody said which is the output


def test_a_metric_sees_the_network_as_it_is_evaluated_and_all_batches():
    model, modes = perceptron(), []

    def metric(network, data):
        modes.append((network is model, network.training, torch.is_grad_enabled()))
        return right(network, data)

    history = train(model, DICTS, RECIPE, objective=objective, metric=metric)
    told = [epoch["val_metric"] for epoch in history.epochs]
    assert told[-1] == float((model(INPUTS[150:]).argmax(1) == LABELS[150:]).float().mean())
    assert set(modes) == {(True, False, False)} and len(told) == 3 and model.training
    assert evaluate(model, DICTS.val, objective=objective, metric=right)["metric"] == told[-1]


def test_a_network_may_have_no_loss_in_evaluation():
    model = perceptron()
    none = {"objective": lambda model, batch: objective(model, batch) if model.training else None}
    history = train(model, DICTS, RECIPE, **none, metric=right)
    assert set(history.epochs[-1]) == {"epoch", "loss", "seconds", "val_metric"}


@pytest.mark.parametrize(
    "change",
    [
        {"objective": lambda model, batch: 2 * objective(model, batch)},
        {"metric": right},
        {"metric": lambda model, data: 7.0},
    ],
)
def test_objectives_and_metrics_tell_trainings_apart(change, tmp_path):
    first = {"objective": objective, "metric": lambda model, data: 5.0}
    train(perceptron(), DICTS, RECIPE, work=tmp_path, **first)
    again = train(perceptron(), DICTS, RECIPE, work=tmp_path, **first)
    assert len(list(tmp_path.iterdir())) == 1 and again.epochs[-1]["val_metric"] == 5
    other = train(perceptron(), DICTS, RECIPE, work=tmp_path, **first | change)
    plain = train(perceptron(), DICTS, RECIPE, **first | change)
    assert len(list(tmp_path.iterdir())) == 2 and timeless(other) == timeless(plain)


class Skipping(torch.nn.Module):
    """Goes through its second layer in some steps only, as networks of stochastic depth do, and never its third."""

    def __init__(self, often=True):
        super().__init__()
        self.first, self.second, self.third, self.read = (torch.nn.Linear(6, 6) for _ in range(4))
        self.calls, self.often = 0, often

    def forward(self, inputs):
        self.calls += 1
        hidden = self.first(inputs).relu()
        return self.read(hidden + self.second(hidden) if self.often and self.calls % 2 else hidden)


@pytest.mark.parametrize("method, fields", [(concave, {"lam": 1e-3}), (concave, {}), (magnitude, {})])
def test_a_weight_without_gradient_in_a_step_counts_as_zero_and_one_that_never_got_any_is_named(method, fields):
    torch.manual_seed(0)
    model, recipe = Skipping(), replace(RECIPE, batch_size=25, lr=0.01)
    config = method.Config(recipe=recipe, density=0.5, allow_empty_layers=True, **fields)
    said = "^in epoch 0 no gradient reached 'third.weight': if unused, leave out of the mask's names$"
    with pytest.warns(UserWarning, match=said) as warned:
        ticket = method.search(model, PAIRS, config)
    assert len([w for w in warned if "no gradient reached" in str(w.message)]) == 1
    assert set(ticket.mask) == {"first.weight", "second.weight", "third.weight", "read.weight"}
    with pytest.warns(UserWarning, match="no gradient reached 'second.weight', 'third.weight'"):
        method.search(Skipping(often=False), PAIRS, config)


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_a_loss_in_half_precision_is_summed_up_in_full(kind):
    """In its own precision a sum of ones stops growing at 256, or overflows at 65,504."""
    for sizes, value in (([1] * 3000, 1.0), ([1000] * 100, 3.0)):
        split = batches.own([(torch.zeros(size, 2), torch.zeros(size)) for size in sizes]).train
        found = evaluate(torch.nn.Identity(), split, loss=lambda *_: torch.tensor(value, dtype=kind))  # noqa: B023
        assert found["loss"] == value


def test_a_loss_is_not_asked_more_of_than_before():
    """Accuracy of pairs goes on as it was."""
    data = batches.own((torch.eye(64).view(64, 1, 8, 8), torch.arange(64) % 10))
    assert set(evaluate(lenet(), data.train)) == {"loss", "accuracy"}
