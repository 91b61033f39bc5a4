"""methods/saliency.py against slow definitions: differences of losses, and of gradients' norms."""

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from toy import LEAST, convnet, copied, digits, find, lenet, noise, perceptron, same_bits

from lottery_lib import masks
from lottery_lib.data import batches
from lottery_lib.errors import LotteryError
from lottery_lib.methods import saliency
from lottery_lib.training.recipes import Recipe
from lottery_lib.weights import initialize, prunable

STEP = 1e-5
RECIPE = Recipe(epochs=1, batch_size=16)


def net():
    return perceptron(features=4, hidden=3, classes=3, dtype=torch.float64)


def problem():
    return noise(features=4, dtype=torch.float64)


def weights(model):
    return [(name, i) for name in prunable(model) for i in range(model.get_parameter(name).numel())]


def differences(function, model):
    """The derivative of ``function(model)`` by each weight, by central differences."""
    slopes = []
    for name, i in weights(model):
        weight = model.get_parameter(name).data.view(-1)
        middle = weight[i].item()
        values = []
        for shift in (STEP, -STEP):
            weight[i] = middle + shift
            values.append(function(model))
        weight[i] = middle
        slopes.append((values[0] - values[1]) / (2 * STEP))
    return torch.tensor(slopes, dtype=torch.float64)


def flat(model):
    return torch.cat([model.get_parameter(name).detach().flatten() for name in prunable(model)])


def loss(model, count, temperature=1.0):
    """Over the first batches that training sees."""
    seen = list(problem().train.batches(16, epoch=0, seed=0))[:count]
    return sum(cross_entropy(model(inputs) / temperature, labels) for inputs, labels in seen)


def squared_gradient(model):
    """‖g‖² / 2, with the temperature of GraSP taken out again, so that differences do not drown."""
    tensors = [model.get_parameter(name) for name in prunable(model)]
    gradients = torch.autograd.grad(200 * loss(model, 2, 200.0), tensors)
    return sum(float(g.square().sum()) for g in gradients) / 2


SCORES = {
    "snip": lambda model: (flat(model) * differences(lambda m: loss(m, 2).item(), model)).abs(),
    "grasp": lambda model: flat(model) * differences(squared_gradient, model),
}


@pytest.mark.parametrize("criterion", SCORES)
def test_scores_are_those_of_the_slow_definition(criterion):
    scores = SCORES[criterion](net())
    seen = {} if criterion == "synflow" else {"batches": 2}
    order = scores.argsort(descending=True)
    assert len(scores) == 21 and scores[order].diff().abs().min() > 1e-6 * scores.abs().max()  # no ties
    for k in range(1, 22):
        config = saliency.Config(
            density=k / 21, recipe=RECIPE, criterion=criterion, **seen, allow_empty_layers=True,
        )  # fmt: skip
        mask = saliency.search(net(), problem(), config).mask
        assert torch.cat([m.flatten() for m in mask.values()]).nonzero().squeeze(1).tolist() == sorted(
            order[:k].tolist()
        )


class InADict(nn.Module):
    """As Hugging Face's networks put their scores."""

    def __init__(self):
        super().__init__()
        self.net = net()

    def forward(self, inputs):
        return {"logits": self.net(inputs)}


@pytest.mark.parametrize("criterion", ["snip", "grasp", "synflow"])
def test_scores_may_lie_in_a_dict(criterion):
    config = saliency.Config(density=0.5, recipe=RECIPE, criterion=criterion, allow_empty_layers=True)
    plain = saliency.search(net(), problem(), config).mask
    found = saliency.search(InADict(), problem(), config, loss=lambda out, y: cross_entropy(out["logits"], y)).mask
    assert all(map(torch.equal, plain.values(), found.values()))


@pytest.mark.parametrize("criterion", ["snip", "grasp"])
def test_only_so_many_batches_are_seen(criterion):
    split = problem().train
    inputs, labels = split.samples
    seen = []

    class Counting(list):
        def __iter__(self):
            for batch in super().__iter__():
                seen.append(len(batch))
                yield batch

    loader = Counting([(inputs[i : i + 16], labels[i : i + 16]) for i in range(0, 64, 16)])
    saliency.search(
        net(), batches.own(loader), saliency.Config(recipe=RECIPE, criterion=criterion, batches=3, density=0.5)
    )
    assert len(seen) == 3 + 2  # one is rehearsed, and one tries the ticket; GraSP passes twice over the same three


def scored(monkeypatch):
    """The scores of every pruning step."""
    seen, original = [], masks.top_k

    def spied(scores, *args, **kwargs):
        seen.append(copied(scores))
        return original(scores, *args, **kwargs)

    monkeypatch.setattr(masks, "top_k", spied)
    return seen


def test_synflow_scores_are_conserved_from_layer_to_layer(monkeypatch):
    """Without biases, the scores of each layer sum to R itself, at every step; signs and data play no part."""
    seen = scored(monkeypatch)
    model = lenet()
    ticket = find("synflow", model, density=0.05)
    assert len(seen) == 100 and all(score.dtype == torch.float64 for score in seen[0].values())
    for scores in seen:
        sums = [score.sum().item() for score in scores.values()]
        assert sums == pytest.approx([sums[0]] * 3, rel=1e-9)
    positive = lenet()
    for parameter in positive.parameters():
        parameter.data.abs_()
    assert sums[0] < (whole := positive(torch.ones(1, 1, 8, 8)).sum().item())
    assert seen[0]["fc1.weight"].sum().item() == pytest.approx(whole, rel=1e-5)
    flipped = lenet()
    flipped.fc2.weight.data.mul_(-1)
    assert masks.digest(find("synflow", flipped, density=0.05).mask) == masks.digest(ticket.mask)


def test_synflow_prunes_exponentially_within_what_is_left(monkeypatch):
    kept, original = [], masks.top_k

    def spied(*args, **kwargs):
        kept.append(original(*args, **kwargs))
        return kept[-1]

    monkeypatch.setattr(masks, "top_k", spied)
    find("synflow", density=0.05)
    counts = [sum(int(m.sum()) for m in mask.values()) for mask in kept]
    assert counts == [round(0.05 ** (k / 100) * 2320) for k in range(1, 101)]
    assert all((a[name] | ~b[name]).all() for a, b in zip(kept, kept[1:]) for name in a)


def deep(seed=0):
    """Layers of very unequal width, where a single cut empties one."""
    sizes = [64, 100, 20, 100, 10]
    layers = [nn.Flatten(), *(nn.Linear(a, b) for a, b in zip(sizes, sizes[1:]))]
    model = nn.Sequential(*layers)
    initialize(model, seed)
    return model


def test_synflow_leaves_no_layer_empty_where_one_cut_would(monkeypatch):
    density = 30 / 11_400
    assert all(mask.any() for mask in find("synflow", deep(), density=density).mask.values())
    monkeypatch.setattr(saliency, "SYNFLOW_ROUNDS", 1)
    once = find("synflow", deep(), density=density, allow_empty_layers=True)
    assert not all(mask.any() for mask in once.mask.values())


def test_synflow_sees_no_data():
    first, other = lenet(), lenet()
    shuffled = batches.own((torch.rand(64, 1, 8, 8), torch.randint(10, (64,))))
    config = saliency.Config(**LEAST, criterion="synflow")
    masks_found = [saliency.search(model, data, config).mask for model, data in ((first, digits()), (other, shuffled))]
    assert same_bits(*masks_found)


@pytest.mark.parametrize("mode", [True, False])
@pytest.mark.parametrize("criterion", saliency.CRITERIA)
def test_scores_are_taken_without_moving_the_model(criterion, mode):
    """Neither weights nor statistics, nor their type, whatever mode the model was in."""
    for dtype in (torch.float32, torch.float64):
        model = convnet().to(dtype).train(mode)
        start = copied(model.state_dict())
        inputs, labels = digits().train.images[:256].to(dtype) / 255, digits().train.labels[:256]
        ticket = saliency.search(model, batches.own((inputs, labels)), saliency.Config(**LEAST, criterion=criterion))
        assert same_bits(ticket.rewind, start) and {p.dtype for p in model.parameters()} == {dtype}


@pytest.mark.parametrize("criterion", ["snip", "grasp"])
def test_a_later_batch_that_fails_or_is_not_finite_is_named(criterion):
    inputs, labels = problem().train.samples
    config = saliency.Config(recipe=RECIPE, criterion=criterion, density=0.5)
    late = torch.full_like(labels[:16], 100)
    with pytest.raises(LotteryError, match="^batch 1 of epoch 0 fails, both counted from 0: IndexError: Target 100"):
        saliency.search(net(), batches.own([(inputs[:16], labels[:16]), (inputs[16:32], late)]), config)
    message = "^the loss of batch 1 of epoch 0 is nan, both counted from 0: is a number in the data not finite"
    with pytest.raises(LotteryError, match=message):
        saliency.search(net(), batches.own([(inputs[:16], labels[:16]), (inputs[16:32] / 0, labels[16:32])]), config)
    with pytest.raises(LotteryError, match="^the gradient at '.*' is not finite, though the loss is: has the loss"):
        loss = {"loss": lambda outputs, labels: (outputs - outputs.detach()).sum().sqrt()}  # √0
        saliency.search(net(), problem(), config, **loss)


def test_synflow_takes_networks_that_make_buffers_as_they_run():
    class Late(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net()

        def forward(self, inputs):
            if not hasattr(self, "scale"):
                self.register_buffer("scale", torch.ones(1))
            return self.net(inputs) * self.scale

    config = saliency.Config(recipe=RECIPE, criterion="synflow", density=0.5)
    plain, late = (saliency.search(model, problem(), config).mask for model in (net(), Late()))
    assert all(map(torch.equal, plain.values(), late.values()))


def test_a_criterion_that_is_a_list_is_unknown():
    with pytest.raises(LotteryError, match="^unknown criterion \\['snip'\\]"):
        saliency.Config(criterion=["snip"])


def test_sums_over_batches_do_not_stop_growing_in_half_precision():
    """Terms of later batches rounded away: of 300 equal gradients 256 counted."""
    model = perceptron(dtype=torch.bfloat16)
    data = batches.own([next(noise(dtype=torch.bfloat16).train.in_order())] * 300)
    trainer = saliency.Trainer(model, data, saliency.Config(density=0.5, criterion="snip", batches=300), {})
    with trainer:
        one = saliency._gradients(trainer, list(saliency._batches(trainer))[:1])
        many = saliency._gradients(trainer, saliency._batches(trainer))
    for name, gradient in one.items():
        torch.testing.assert_close(many[name], 300 * gradient.float(), rtol=1e-3, atol=1e-6)
