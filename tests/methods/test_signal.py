"""signal.py: a layer may be empty beside a living path, and a mask without an empty layer may let nothing pass."""

import warnings
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from toy import RECIPE, digits, lenet

from lottery_lib import masks, methods, models
from lottery_lib.data import batches
from lottery_lib.errors import LotteryError
from lottery_lib.methods import concave, controls, saliency, signal
from lottery_lib.training.recipes import Recipe

IMAGES = torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(8)


def let_through(model, mask, inputs=IMAGES):
    masks.apply_(model, mask)
    return signal.passes(model, mask, lambda: cross_entropy(model(inputs), LABELS))


@pytest.mark.parametrize("name, density", [("resnet18", 0.002), ("wrn-28-2", 0.003)])
def test_synflow_may_empty_a_shortcut_beside_a_living_path(name, density):
    model = models.create(name, 10, (3, 32, 32), width=0.25)
    data = batches.own((IMAGES, LABELS))
    config = saliency.Config(criterion="synflow", density=density, recipe=Recipe(epochs=1))
    ticket = saliency.search(model, data, config)
    empty = [layer for layer, kept in ticket.mask.items() if not kept.any()]
    assert any("downsample" in layer for layer in empty)
    methods.retrain(model, data, ticket, Recipe(epochs=1))


def test_a_network_cut_in_two_is_refused_and_the_layer_is_named():
    model = models.create("resnet18", 10, (3, 32, 32), width=0.1)
    mask = masks.ones(model)
    for name in ("layer2.0.conv1.weight", "layer2.0.downsample.0.weight"):
        assert let_through(model, mask)
        mask[name][:] = False
    assert not let_through(model, mask)


@pytest.mark.parametrize("emptied", ["fc1.weight", "fc2.weight", "fc3.weight"])
def test_every_layer_of_a_chain_is_needed(emptied):
    model = lenet()
    mask = masks.ones(model)
    nn.init.ones_(model.fc1.bias), nn.init.ones_(model.fc2.bias)  # what is constant is no signal
    mask[emptied][:] = False
    assert let_through(model, mask, IMAGES[:, :1, :8, :8]) is False


def test_layers_that_keep_weights_may_let_nothing_pass(monkeypatch):
    """Unlike an empty one, that is said and not refused."""
    model = lenet()
    mask = {name: torch.zeros_like(m) for name, m in masks.ones(model).items()}
    for layer, m in enumerate(mask.values()):
        m[layer, layer + 3] = True  # none leads to the next
    monkeypatch.setattr(masks, "random", lambda *args: mask)
    with pytest.warns(UserWarning, match="^no signal of the first batch passes from the pruned network's input to its"):
        controls.search(model, digits(), controls.Config(recipe=RECIPE, density=0.2))


def test_a_layer_that_begins_at_zero_is_no_obstacle():
    model = lenet()
    nn.init.zeros_(model.fc3.weight), nn.init.zeros_(model.fc3.bias)
    start = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert let_through(model, masks.ones(model), IMAGES[:, :1, :8, :8])
    assert all(torch.equal(tensor, start[name]) for name, tensor in model.state_dict().items())
    assert all(parameter.requires_grad for parameter in model.parameters())


class Reader(nn.Module):
    """Of tokens, with places added and a residual connection, as transformers read; in-place steps too."""

    def __init__(self):
        super().__init__()
        self.words, self.places = nn.Embedding(7, 8), nn.Parameter(torch.randn(6, 8))
        self.mix, self.act, self.read = nn.Linear(8, 8), nn.ReLU(inplace=True), nn.Linear(8, 8)

    def forward(self, tokens):
        hidden = self.words(tokens) + self.places
        return self.read(hidden + self.act(self.mix(hidden))).mean(1)


def test_tokens_pass_beside_an_empty_layer():
    tokens = torch.randint(7, (8, 6), generator=torch.Generator().manual_seed(0))
    for emptied, passed in (("mix.weight", True), ("read.weight", False)):
        model = Reader()
        mask = masks.ones(model)
        mask[emptied][:] = False
        assert let_through(model, mask, tokens) is passed


def attached(emptied, calls=True):
    model = Reader()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    search = concave.attach(model, optimizer, steps=4, density=0.5, lam=0.0, mask_lr=0.0)
    tokens = torch.randint(7, (8, 6))
    for _ in range(4):
        optimizer.zero_grad()
        hidden = model(tokens) if calls else model.read(model.mix(model.words(tokens))).mean(1)
        cross_entropy(hidden, LABELS).backward()
        optimizer.step()
    for name, m in zip(search.rule.names, search.rule.m):
        m.fill_(name != emptied)
    return search


@pytest.mark.filterwarnings("ignore:after 4 steps")
def test_an_attached_search_tries_the_first_call_again():
    ticket = attached("mix.weight").ticket()
    assert not ticket.mask["mix.weight"].any() and ticket.mask["read.weight"].all()
    with pytest.raises(LotteryError, match="layer 'read.weight' keeps none of its 64 weights") as error:
        attached("read.weight").ticket()
    assert error.value.ticket.mask["mix.weight"].all()
    with pytest.raises(LotteryError, match="layer 'mix.weight' keeps none"):  # it cannot be told whether one passes
        attached("mix.weight", calls=False).ticket()


def test_the_first_call_is_made_again_where_the_network_lies_by_then():
    """As a trainer has put it on the CPU again, and the batch lay on a GPU."""
    model = Reader()
    first = signal.FirstCall(model)
    first.hook(refused=None)
    model(torch.randint(7, (8, 6)))
    assert first().device.type == "cpu"
    model.to("meta")
    assert first().device.type == "meta"


class Checkpointed(Reader):
    """Keeps no activations, in the way that cannot be differentiated by a part."""

    def forward(self, tokens):
        hidden = self.words(tokens) + self.places
        mixed = torch.utils.checkpoint.checkpoint(self.mix, hidden, use_reentrant=True)
        return self.read(hidden + mixed).mean(1)


class Once(Reader):
    """Counts its calls, and dislikes to be run once more."""

    calls = 0

    def forward(self, tokens):
        self.calls += 1
        assert self.calls <= 4
        return super().forward(tokens)


@pytest.mark.parametrize("kind", [Checkpointed, Once])
def test_a_network_that_cannot_be_run_once_more_loses_no_ticket(kind):
    model = kind()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    search = concave.attach(model, optimizer, steps=4, density=0.5, lam=1e-3)
    tokens = torch.randint(7, (8, 6))
    for _ in range(4):
        cross_entropy(model(tokens), LABELS).backward()
        optimizer.step()
    assert search.ticket().density == pytest.approx(0.5, abs=0.01)


class Hidden(Reader):
    """Whose output is an object that nobody can look into."""

    def forward(self, tokens):
        return SimpleNamespace(scores=super().forward(tokens))


def test_an_output_that_shows_no_number_tells_nothing():
    model = Hidden()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    search = concave.attach(model, optimizer, steps=4, density=0.5, lam=1e-3)
    tokens = torch.randint(7, (8, 6))
    for _ in range(4):
        cross_entropy(model(tokens).scores, LABELS).backward()
        optimizer.step()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        search.ticket()
