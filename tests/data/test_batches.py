"""batches.py: a reader's data in its forms, and a reader's network from its data to a saved ticket."""

import random

import numpy as np
import pytest
import torch
import torchvision
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import BatchSampler, DataLoader, Dataset, IterableDataset, RandomSampler, TensorDataset
from toy import copied, noise, same_bits, same_values

from lottery_lib import masks, methods
from lottery_lib.data import batches, structure
from lottery_lib.errors import LotteryError
from lottery_lib.methods import concave, magnitude, saliency
from lottery_lib.tickets import Ticket
from lottery_lib.training.evaluation import evaluate
from lottery_lib.training.loop import train
from lottery_lib.training.recipes import Recipe

X, Y = torch.arange(20.0).view(10, 2), torch.arange(10)


def test_tensors_are_shuffled_by_seed_and_epoch_and_the_last_batch_is_dropped():
    split = batches.own((X, Y)).train
    epochs = {key: list(split.batches(4, epoch=key[0], seed=key[1])) for key in ((0, 0), (1, 0), (0, 1))}
    orders = {key: tuple(torch.cat([labels for _, labels in epoch]).tolist()) for key, epoch in epochs.items()}
    assert split.steps(4) == 2 and all(len(epoch) == 2 for epoch in epochs.values())
    assert all(len(set(order)) == 8 for order in orders.values()) and len({*orders.values()}) == 3
    assert all(torch.equal(inputs, X[labels]) for epoch in epochs.values() for inputs, labels in epoch)
    again = split.batches(4, epoch=1, seed=0)
    assert all(torch.equal(a, b) for (_, a), (_, b) in zip(epochs[1, 0], again))


def test_a_batch_is_never_larger_than_the_data():
    split = batches.own((X, Y)).train
    ((inputs, labels),) = split.batches(128)
    assert split.steps(128) == 1 and sorted(labels.tolist()) == list(range(10)) and torch.equal(inputs, X[labels])


def test_whole_data_of_any_structure_are_cut_into_batches():
    for whole in ({"x": X, "y": Y}, (X, X, Y), ({"x": X, "mask": X > 3}, Y), (X.numpy(), Y.numpy())):
        split = batches.own(whole).train
        assert split.steps(4) == 2 and len(list(split.batches(4))) == 2 and len(list(split.in_order(4))) == 3
        for batch in split.batches(4, seed=1):
            inputs, *_, labels = structure.leaves(batch)
            assert type(batch) is type(whole) and torch.equal(inputs, X[labels])


def test_tensors_in_order_come_whole():
    parts = list(batches.own((X, Y)).train.in_order(4))
    assert [len(labels) for _, labels in parts] == [4, 4, 2]
    assert torch.equal(torch.cat([inputs for inputs, _ in parts]), X)


class Stream(IterableDataset):
    """Has no length."""

    def __iter__(self):
        yield from zip(X, Y)


@pytest.mark.parametrize(
    "source, steps",
    [
        (DataLoader(TensorDataset(X, Y), batch_size=4), 3),
        (DataLoader(Stream(), batch_size=5), 2),
        ([(X[:6], Y[:6]), (X[6:], Y[6:])], 2),
    ],
)
def test_iterables_keep_their_own_batches(source, steps):
    split = batches.own(source).train
    assert split.steps(7) == steps
    for given in (split.batches(7, epoch=1, seed=2), split.batches(7), split.in_order()):
        parts = list(given)
        assert len(parts) == steps and torch.equal(torch.cat([labels for _, labels in parts]), Y)


class Shards(IterableDataset):
    """Declares its samples; every worker gives all of them, as those do that do not ask which worker they are."""

    def __iter__(self):
        yield from zip(X, Y)

    def __len__(self):
        return len(X)


@pytest.mark.filterwarnings("ignore:Length of IterableDataset:UserWarning")
def test_batches_of_a_stream_read_by_workers_are_counted(monkeypatch):
    loader = DataLoader(Shards(), batch_size=5, num_workers=2)
    drawn = torch.get_rng_state()
    assert len(loader) == 2 and batches.own(loader).train.steps(5) == 4
    assert torch.equal(torch.get_rng_state(), drawn)
    rates, step = [], torch.optim.SGD.step

    def noted(self):
        rates.append(self.param_groups[0]["lr"])
        step(self)

    monkeypatch.setattr(torch.optim.SGD, "step", noted)
    train(nn.Linear(2, 10), batches.own(loader), Recipe(epochs=2, lr=0.001))
    assert rates == pytest.approx([0.001 * (1 - k / 8) for k in range(8)])


class Unreliable(list):
    """As many batches as are given, and another number that is declared."""

    def __init__(self, declared, given):
        super().__init__([(X, Y)] * given)
        self.declared = declared

    def __len__(self):
        return self.declared


def test_more_batches_than_declared_are_refused_and_fewer_are_counted_and_told_once():
    with pytest.raises(
        LotteryError, match="epoch 0 gives 3 batches or more, and the data declare 2, by which the lear"
    ):
        train(nn.Linear(2, 10), batches.own(Unreliable(2, 3)), Recipe(epochs=1))
    with pytest.raises(LotteryError, match="the training data give no batch"):
        train(nn.Linear(2, 10), batches.own(Unreliable(2, 0)), Recipe(epochs=1))
    losses = []

    def loss(outputs, labels):
        losses.append(cross_entropy(outputs, labels))
        return losses[-1]

    said = "^epoch 0 gives 3 batches, and the data declare 4, by which the learning rate falls; give an iterable "
    with pytest.warns(UserWarning, match=said) as warned:
        history = train(nn.Linear(2, 10), batches.own(Unreliable(4, 3)), Recipe(epochs=2, lr=1e-3), loss=loss)
    assert len(warned) == 1
    assert history.epochs[-1]["loss"] == pytest.approx(sum(value.item() for value in losses[-3:]) / 3)


@pytest.mark.parametrize(
    "source, message",
    [
        ((X, Y[:-1]), "10 and 9 samples: there must be as many in every tensor, and at least one"),
        ((X[:0], Y[:0]), "0 and 0 samples: there must be as many"),
        (((X[i : i + 2], Y[i : i + 2]) for i in (0, 2)), "an iterable of batches that can be gone through again"),
        (3, "data must be a pair of tensors, or an iterable of batches"),
        (TensorDataset(X, Y), "data must be a pair of tensors, or an iterable .*, as a DataLoader"),
        ((X, Y, Y[:-1]), "10 and 10 and 9 samples: there must be as many in every tensor"),
        ({"x": X, "y": Y[:-1]}, "10 and 9 samples: there must be as many in every tensor"),
        ({"x": [1, 2]}, "no tensors with samples: there must be as many"),
        ([X, Y], "a pair of whole tensors must be a tuple: own"),
        ([X.numpy(), Y.numpy()], "a pair of whole tensors must be a tuple: own"),
    ],
)
def test_data_in_no_known_form_are_refused(source, message):
    for arguments in ((source,), ((X, Y), source)):
        with pytest.raises(LotteryError, match=message):
            batches.own(*arguments)


def test_a_list_of_batches_that_are_one_tensor_each_is_none_of_whole_tensors():
    for several in ([X, X], [X[:4], Y], [X]):
        assert batches.own(several).train.steps(1) == len(several)


@pytest.mark.parametrize("device", ["cudaa", "cuda:99", None])
def test_a_device_that_is_not_there_is_refused(device):
    for source in ((X, Y), [(X, Y)]):
        with pytest.raises(LotteryError, match=f"^device = {device!r}: PyTorch finds none here; must be one it does, "):
            batches.own(source, device=device)


def test_an_iterable_without_batches_is_refused_when_used(tmp_path):
    for work in (None, tmp_path):
        with pytest.raises(LotteryError, match="the iterable gives no batch of data"):
            train(nn.Linear(2, 10), batches.own([]), Recipe(epochs=1), work=work)


def test_fingerprints_tell_data_apart():
    loader = DataLoader(TensorDataset(X, Y), batch_size=4)
    other = Y.clone()
    other[-1] = 0
    data = [
        batches.own((X, Y)), batches.own((X + 1, Y)), batches.own((X, other)), batches.own((X[:9], Y[:9])),
        batches.own((X, Y), (X, Y)), batches.own((X, Y), (X, other)), batches.own((X.double(), Y)),
        batches.own(loader), batches.own([next(iter(loader))]), batches.own(loader, [(X, Y)]),
        batches.own(DataLoader(TensorDataset(X, other), batch_size=4)),  # another label, in the last batch
        batches.own((X, Y), key="one"), batches.own((X, Y), key="two"),
    ]  # fmt: skip
    assert len({d.fingerprint for d in data}) == len(data)
    assert batches.own((X.clone(), Y)).fingerprint == data[0].fingerprint
    assert batches.own(loader, key="one").fingerprint == batches.own((X, Y), key="one").fingerprint


class Noisy(Dataset):
    """Draws its augmentation from one generator or another."""

    def __init__(self, draw):
        self.draw = draw

    def __len__(self):
        return len(X)

    def __getitem__(self, row):
        return X[row] + self.draw(), Y[row]


class Own(Noisy):
    def __init__(self):
        super().__init__(lambda: torch.rand(2, generator=self.generator))
        self.generator = torch.Generator().manual_seed(3)


def loader(source, own=False, **more):
    generator = torch.Generator().manual_seed(5) if own else None
    return DataLoader(source, batch_size=4, generator=generator, **more)


def sampled():
    return BatchSampler(RandomSampler(X, generator=torch.Generator().manual_seed(5)), 4, drop_last=False)


LOADERS = {
    "torch": lambda: loader(Noisy(lambda: torch.rand(2)), shuffle=True),
    "numpy": lambda: loader(Noisy(lambda: np.random.rand()), shuffle=True),
    "python": lambda: loader(Noisy(lambda: random.random()), shuffle=True),
    "the loader's own": lambda: loader(TensorDataset(X, Y), own=True, shuffle=True),
    "a batch sampler's own": lambda: DataLoader(TensorDataset(X, Y), batch_sampler=sampled()),
    "the data's own": lambda: loader(Own()),
}


class Killed(Exception):
    pass


def generators():
    return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()


@pytest.mark.parametrize("name", LOADERS)
def test_a_killed_training_goes_on_with_the_same_bits_whatever_its_data_draw_from(name, tmp_path):
    def run(folder, data, kill=None):
        calls = []

        def metric(model, given):
            calls.append(given)
            if len(calls) == kill:
                raise Killed
            return 0.0

        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = nn.Sequential(nn.Linear(2, 8), nn.Dropout(0.2), nn.Linear(8, 10))
        history = train(model, data, Recipe(epochs=4, lr=1e-3), metric=metric, work=tmp_path / folder)
        return copied(model.state_dict()), [epoch["loss"] for epoch in history.epochs]

    whole, losses = run("whole", batches.own(LOADERS[name](), (X, Y)))
    data, before = batches.own(LOADERS[name](), (X, Y)), generators()
    with pytest.raises(LotteryError, match="Killed"):
        run("killed", data, kill=5)
    assert before == generators()
    for again in (batches.own(LOADERS[name](), (X, Y)), data):  # in a new process, or in the same notebook
        random.seed(1), np.random.seed(1)
        state, resumed = run("killed", again)
        assert resumed == losses and same_bits(state, whole)
    assert len(list((tmp_path / "killed").iterdir())) == 1


@pytest.mark.parametrize("name", ["the loader's own", "a batch sampler's own", "the data's own"])
def test_a_generator_of_their_own_starts_from_seed_and_epoch_and_goes_on_as_it_was(name):
    split = batches.own(LOADERS[name]()).train
    states = [own.get_state() for own in split.generators]
    drawn = {key: torch.cat([x for x, _ in split.batches(4, epoch=key[0], seed=key[1])]) for key in ((0, 0), (1, 0))}
    assert not torch.equal(drawn[0, 0], drawn[1, 0])
    again = batches.own(LOADERS[name]()).train
    assert torch.equal(torch.cat([x for x, _ in again.batches(4, epoch=1)]), drawn[1, 0])
    assert states and all(torch.equal(own.get_state(), state) for own, state in zip(split.generators, states))


# A reader's own network

VOCABULARY, LENGTH = 7, 6


class Tagger(nn.Module):
    """Learns to name the token before; dropout as transformers have it."""

    def __init__(self, dropout):
        super().__init__()
        self.embed, self.place = nn.Embedding(VOCABULARY, 16), nn.Parameter(torch.randn(LENGTH, 16))
        self.block = nn.TransformerEncoderLayer(16, 2, 32, dropout=dropout, batch_first=True)
        self.read = nn.Linear(16, VOCABULARY)

    def forward(self, tokens):
        return self.read(self.block(self.embed(tokens) + self.place)).transpose(1, 2)  # (N, classes, T)


def tokens(count, seed):
    words = torch.randint(VOCABULARY, (count, LENGTH), generator=torch.Generator().manual_seed(seed))
    return words, words.roll(1, 1)


def tagger(dropout=0.1):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Tagger(dropout)


def test_a_transformer_on_tokens_from_data_to_a_saved_ticket(tmp_path):
    seen = []

    def loss(outputs, labels):
        seen.append(outputs.shape)
        return cross_entropy(outputs, labels, label_smoothing=0.05)

    data = batches.own(tokens(512, 0), tokens(256, 1))
    recipe = Recipe(epochs=12, batch_size=32, optimizer="adamw", lr=5e-3)
    config = concave.Config(density=0.5, recipe=recipe, lam=1e-4, mask_lr=3.0)
    model, start = tagger(), copied(tagger().state_dict())
    ticket = concave.search(model, data, config, loss=loss, work=tmp_path / "work")
    size = sum(mask.numel() for mask in ticket.mask.values())
    assert {"block.linear1.weight", "block.self_attn.out_proj.weight", "read.weight"} <= set(ticket.mask)
    assert ticket.density == round(0.5 * size) / size and same_bits(ticket.rewind, start)
    history = methods.retrain(model, data, ticket, recipe, loss=loss, work=tmp_path / "work")
    assert history.val_accuracy == evaluate(model, data.val)["accuracy"] > 60  # chance is 14
    assert all(not model.get_parameter(name)[~mask].any() for name, mask in ticket.mask.items())
    assert set(seen) == {
        (32, VOCABULARY, LENGTH),
        (1, VOCABULARY, LENGTH),
        (256, VOCABULARY, LENGTH),
        (512, *seen[0][1:]),
    }

    ticket.save(tmp_path / "ticket.safetensors")
    loaded, fresh = Ticket.load(tmp_path / "ticket.safetensors"), tagger()
    loaded.apply(fresh)
    expected = {name: value * ticket.mask[name] if name in ticket.mask else value for name, value in start.items()}
    assert same_values(copied(fresh.state_dict()), expected)
    methods.retrain(fresh, data, loaded, recipe, loss=loss)  # dropout and all, from the file, without the work folder
    assert same_bits(fresh.state_dict(), model.state_dict())


@pytest.mark.parametrize("dropout", [0.0, 0.1])  # different kernels of attention
@pytest.mark.parametrize("criterion", ["snip", "grasp"])
def test_saliency_differentiates_through_attention(criterion, dropout):
    names = ("block.self_attn.in_proj_weight", "block.linear1.weight")
    config = saliency.Config(density=0.4, criterion=criterion, recipe=Recipe(batch_size=32), batches=2, names=names)
    found = [saliency.search(tagger(dropout), batches.own(tokens(64, 0)), config) for _ in range(2)]
    assert found[0].density == pytest.approx(0.4, abs=1e-3)
    assert masks.digest(found[0].mask) == masks.digest(found[1].mask)


def test_synflow_refuses_tokens():
    with pytest.raises(
        LotteryError, match="synflow feeds the network an input of ones, but these inputs are torch.int64"
    ):
        saliency.search(tagger(), batches.own(tokens(64, 0)), saliency.Config(criterion="synflow"))


def mobilenet():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return torchvision.models.mobilenet_v3_small(num_classes=4)


def test_a_torchvision_network_on_a_shuffled_loader(tmp_path):
    generator = torch.Generator().manual_seed(0)
    images, labels = torch.randn(32, 3, 32, 32, generator=generator), torch.arange(32) % 4
    loader = DataLoader(TensorDataset(images, labels), batch_size=16, shuffle=True)
    data = batches.own(loader, loader)
    recipe = Recipe(epochs=2, lr=0.01)
    config = magnitude.Config(density=0.3, recipe=recipe, per_layer=True)
    results = []
    for _ in range(2):  # whatever the state of torch's generator
        model = mobilenet()
        ticket = magnitude.search(model, data, config, loss=nn.CrossEntropyLoss(), work=tmp_path)
        methods.retrain(model, data, ticket, recipe, loss=nn.CrossEntropyLoss(), work=tmp_path)
        results.append(copied(model.state_dict()))
        torch.rand(3)
    assert same_bits(*results) and len(list(tmp_path.iterdir())) == 2
    kept = masks.per_layer(ticket.mask)
    assert "classifier.3.weight" not in ticket.mask and len(kept) > 50
    assert (kept.kept == (0.3 * kept.weights).round().clip(lower=1)).all()
    fresh = mobilenet()
    ticket.save(tmp_path / "ticket.safetensors")
    Ticket.load(tmp_path / "ticket.safetensors").apply(fresh)
    assert all(torch.equal(fresh.get_parameter(name) != 0, mask) for name, mask in ticket.mask.items())


def test_names_choose_what_is_masked():
    model = tagger()
    names = ("block.self_attn.in_proj_weight", "embed.weight")
    config = magnitude.Config(density=0.5, recipe=Recipe(epochs=1, lr=0.01), names=names)
    ticket = magnitude.search(model, batches.own(tokens(64, 0)), config)
    assert set(ticket.mask) == set(names) and ticket.density == 0.5
    assert noise().val is None


class Graph:
    """Nodes and the sparse matrix of their neighbours, which move by themselves and cannot be cut."""

    def __init__(self, nodes, neighbours):
        self.nodes, self.neighbours = nodes, neighbours

    def to(self, device):
        return Graph(self.nodes.to(device), self.neighbours.to(device))


class Convolution(nn.Module):
    def __init__(self):
        super().__init__()
        self.lin = nn.Linear(3, 8)
        self.out = nn.Linear(8, 2)

    def forward(self, graph):
        return self.out(torch.relu(graph.neighbours @ self.lin(graph.nodes)))


def test_graphs_are_searched_and_go_on_from_a_work_folder(tmp_path):
    """They broke off as soon as there was one."""
    ring = torch.eye(6).roll(1, 0).to_sparse()
    data = batches.own([Graph(torch.randn(6, 3, generator=torch.Generator().manual_seed(k)), ring) for k in range(4)])
    config = concave.Config(density=0.5, recipe=Recipe(epochs=3))

    def found():
        torch.manual_seed(0)
        return concave.search(
            Convolution(), data, config, objective=lambda model, graph: model(graph).square().mean(), work=tmp_path
        )

    first, again = found(), found()
    assert first.density == 0.5 and masks.digest(first.mask) == masks.digest(again.mask)
    assert len(list(tmp_path.glob("*.safetensors"))) == 1
