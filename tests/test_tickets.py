"""tickets.py: what a ticket does to a model, that a file comes back whole or not at all, and what other tools get."""

import json
import pickle
import re
from dataclasses import replace

import pytest
import safetensors.torch
import torch
import torchvision
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from torch import nn
from torch.nn.utils import prune

from lottery_lib import masks, models, tickets
from lottery_lib.data.datasets import load
from lottery_lib.errors import LotteryError
from lottery_lib.methods import controls
from lottery_lib.tickets import Ticket, architecture

LENET = {"name": "lenet-300-100", "num_classes": 10, "in_shape": (1, 8, 8), "width": 0.1}
RESNET = {"name": "resnet20", "num_classes": 10, "in_shape": (3, 8, 8), "width": 0.5}


class Tied(nn.Module):
    """A language model in small: a transformer layer, and one matrix that embeds and reads out."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(11, 8)
        self.block = nn.TransformerEncoderLayer(8, 2, 16, dropout=0, batch_first=True)
        self.read = nn.Linear(8, 11, bias=False)
        self.read.weight = self.embed.weight

    def forward(self, tokens):
        return self.read(self.block(self.embed(tokens)))


class Last(nn.Module):
    """Of a recurrent layer's outputs, that of the last place."""

    def forward(self, outputs):
        return outputs[0][:, -1]


NETWORKS = {
    "lenet": (lambda: models.create(**LENET), torch.randn(4, 1, 8, 8), None),
    "resnet20": (lambda: models.create(**RESNET), torch.randn(4, 3, 8, 8), None),
    "mobilenet": (lambda: torchvision.models.mobilenet_v2(width_mult=0.1), torch.randn(4, 3, 32, 32), None),
    "transformer": (Tied, torch.randint(11, (4, 5)), ["block.linear1.weight", "embed.weight"]),
}


def ticket_of(model, names=None, density=0.3, **fields):
    chosen = masks.shapes(masks.ones(model, names))
    parts = {
        "mask": masks.random(chosen, density, seed=1),
        "rewind": model.state_dict(),
        "config": {"method": "random", "density": density},
        "provenance": {"torch": "2.9", "who": "Zoë"},
        "architecture": architecture(model),
        "search_epochs": 1.5,
    }
    return Ticket(**parts | fields)


def train(model, inputs):
    """One step of SGD that moves weights, biases and running means."""
    model.train()
    model(inputs).square().sum().backward()
    torch.optim.SGD(model.parameters(), lr=0.1).step()


def copy(tensors):
    return {name: t.detach().clone() for name, t in tensors.items()}


def same(a, b):
    return list(a) == list(b) and all(torch.equal(a[n], b[n]) and a[n].dtype == b[n].dtype for n in a)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """These networks are so small that threads would only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def lenet():
    return models.create(**LENET)


@pytest.fixture
def ticket(lenet):
    return ticket_of(lenet)


@pytest.fixture
def saved(ticket, tmp_path):
    ticket.save(tmp_path / "it.safetensors")
    return tmp_path / "it.safetensors"


@pytest.mark.parametrize("network", NETWORKS)
def test_a_saved_ticket_rewinds_and_prunes_bit_for_bit(network, tmp_path):
    build, inputs, names = NETWORKS[network]
    model = build()
    theta = copy(model.state_dict())
    made = ticket_of(model, names)
    train(model, inputs)
    assert not same(theta, model.state_dict())
    made.save(tmp_path / "new folder" / "it.safetensors")
    assert [file.name for file in (tmp_path / "new folder").iterdir()] == ["it.safetensors"]
    read = Ticket.load(tmp_path / "new folder" / "it.safetensors")
    for name in ("config", "provenance", "architecture", "search_epochs", "seed", "info", "state_sha256"):
        assert getattr(read, name) == getattr(made, name)
    assert same(read.mask, made.mask) and same(read.rewind, theta) and read.density == masks.density(made.mask)
    for one in (made, read):  # the ticket made before training kept its own copy of θ₀
        train(model, inputs)
        one.apply(model)
        for name, parameter in model.named_parameters():
            expected = theta[name] * made.mask[name] if name in made.mask else theta[name]
            assert torch.equal(parameter, expected), name
        assert all(torch.equal(buffer, theta[name]) for name, buffer in model.named_buffers())
    other = build()
    read.apply(other)
    assert same(other.state_dict(), model.state_dict())


def test_a_mask_of_ones_own_becomes_a_ticket(lenet, tmp_path):
    before, mask = copy(lenet.state_dict()), masks.random(masks.shapes(masks.ones(lenet)), 0.3, seed=2)
    made = Ticket.of(lenet, mask)
    made.save(tmp_path / "it.safetensors")
    train(lenet, torch.randn(4, 1, 8, 8))
    Ticket.load(tmp_path / "it.safetensors").apply(lenet)
    assert same(lenet.state_dict(), {n: t * mask[n] if n in mask else t for n, t in before.items()})
    assert made.density == pytest.approx(0.3, abs=0.01) and made.overall_density == made.density
    with pytest.raises(LotteryError, match="mask of 'fc1.weight' has shape"):
        Ticket.of(lenet, {**mask, "fc1.weight": torch.ones(2, 2, dtype=torch.bool)})


def test_a_ticket_stays_whatever_is_done_to_a_state_it_gave(lenet):
    """Training a network that had taken over these very tensors changed the ticket."""
    made = ticket_of(lenet)
    lenet.load_state_dict(made.state(), assign=True)
    train(lenet, torch.randn(4, 1, 8, 8))
    assert replace(made).state_sha256 == made.state_sha256


def test_the_hash_of_a_state_is_of_its_values_types_and_names():
    def sha256(layers, change=dict):
        model = nn.ModuleDict(layers)
        return replace(ticket_of(model), rewind=change(model.state_dict())).state_sha256

    one = nn.Linear(2, 2, bias=False)
    first = sha256({"a": one})
    assert first == sha256({"a": one})
    others = [
        sha256({"a": one}, lambda state: {"a.weight": -state["a.weight"]}),
        sha256({"a": one}, lambda state: {"a.weight": state["a.weight"].view(torch.int32)}),
        sha256({"b": one}),
    ]
    assert len({first, *others}) == 4


def test_parts_that_do_not_belong_together_are_refused(lenet):
    other = models.create(**LENET | {"width": 0.2})
    with pytest.raises(LotteryError, match=r"mask of 'fc1.weight' has shape \(60, 64\)"):
        ticket_of(lenet, mask=masks.ones(other))
    with pytest.raises(LotteryError, match="where the ticket has 'fc1.weight' .* the rewind state has 'fc1.weight'"):
        ticket_of(lenet, rewind=other.state_dict())
    with pytest.raises(LotteryError, match="'fc1.weight' of shape .*, the relaxed mask has 'fc2.weight' of shape"):
        ticket_of(lenet, relaxed={"fc2.weight": torch.ones(10, 30)})
    with pytest.raises(LotteryError, match=r"no layout; Ticket.of\(model, mask\) makes a ticket of a mask"):
        ticket_of(lenet, architecture={})


def test_relaxed_values_are_saved_on_request(lenet, tmp_path):
    relaxed = {name: torch.rand(m.shape) for name, m in masks.ones(lenet).items()}
    made = ticket_of(lenet, relaxed=relaxed, info={"note": "α chosen on validation"})
    made.save(tmp_path / "it")
    assert Ticket.load(tmp_path / "it").relaxed is None
    made.save(tmp_path / "it", relaxed=True)
    read = Ticket.load(tmp_path / "it")
    assert same(read.relaxed, relaxed) and read.info == made.info


def test_a_ticket_says_what_it_is(ticket):
    assert repr(ticket) == "Ticket(density=0.3, layers=3, search_epochs=1.5)"


def test_a_ticket_says_what_share_of_all_weights_it_keeps():
    """An LSTM's readout was 4 % of its weights, when a fifth of that was called the density."""
    recurrent = nn.Sequential(nn.Flatten(1, 2), nn.LSTM(8, 16, batch_first=True), Last(), nn.Linear(16, 10))
    config = controls.Config(density=0.2, names=("3.weight",))
    ticket = controls.search(recurrent, load("digits"), config)
    weights, covered = 8 * 64 + 16 * 64 + 160, 160
    assert ticket.density == 0.2 and ticket.overall_density == pytest.approx(1 - 0.8 * covered / weights)
    assert repr(ticket) == "Ticket(density=0.2, overall_density=0.9245, layers=1, search_epochs=0)"
    whole = controls.search(models.create(**LENET), load("digits"), controls.Config(density=0.2))
    assert whole.overall_density == 0.2 and repr(whole) == "Ticket(density=0.2, layers=3, search_epochs=0)"


def test_vectors_under_a_mask_are_no_weights():
    """Their share was below zero, and where there was no weight beside them, a division by it."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.BatchNorm1d(10))
    config = controls.Config(density=0.5, per_layer=True, names=("1.weight", "1.bias", "2.weight", "2.bias"))
    assert controls.search(model, load("digits"), config).overall_density == 0.5
    mask = {"weight": torch.tensor([True, False])}
    ticket = Ticket(mask, {"weight": torch.ones(2)}, {}, {}, architecture(nn.LayerNorm(2, bias=False)), 0)
    assert repr(replace(ticket, info={"weights": 0})) == "Ticket(density=0.5, layers=1, search_epochs=0)"


def test_architecture_is_the_layout_of_the_state(lenet):
    plain = architecture(lenet)
    assert (
        plain["sha256"]
        == architecture(models.create(**LENET))["sha256"]
        != architecture(models.create(**RESNET))["sha256"]
    )
    assert list(plain["layout"].items())[:2] == [("fc1.weight", [30, 64]), ("fc1.bias", [30])]

    with pytest.raises(LotteryError, match="the model's state 'extra' is a dict; a ticket holds tensors only"):
        tickets.to_state_dict({"weight": torch.ones(2, 2), "extra": {}}, {"weight": torch.ones(2, 2).bool()})


@pytest.mark.parametrize(
    "change, message",
    [
        ({"width": 0.2}, "'fc1.weight' of shape (30, 64), the model has 'fc1.weight' of shape (60, 64)"),
        ({"num_classes": 7}, "'fc3.weight' of shape (10, 10), the model has 'fc3.weight' of shape (7, 10)"),
        ({"name": "logistic"}, "'fc1.weight' of shape (30, 64), the model has 'fc1.weight' of shape (10, 64)"),
    ],
)
def test_another_architecture_is_refused(ticket, change, message):
    other = models.create(**LENET | change, seed=3)
    before = copy(other.state_dict())
    with pytest.raises(LotteryError, match=re.escape(f"wrong architecture: where the ticket has {message}")):
        ticket.apply(other)
    assert same(other.state_dict(), before)


def test_a_model_with_more_or_fewer_layers_is_refused(lenet, ticket):
    longer = models.create(**LENET)
    longer.append(nn.Linear(10, 10))
    with pytest.raises(LotteryError, match="where the ticket has nothing more, the model has '6.weight' of shape"):
        ticket.apply(longer)
    with pytest.raises(LotteryError, match="where the ticket has '6.weight' of shape .*, the model has nothing more"):
        ticket_of(longer).apply(lenet)


def test_a_mask_on_a_buffer_is_refused_before_the_model_is_touched():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    made = ticket_of(model, mask={"1.running_mean": torch.ones(2, dtype=torch.bool)})
    train(model, torch.randn(4, 2))
    before = copy(model.state_dict())
    with pytest.raises(LotteryError, match="covers '1.running_mean', which the model does not have"):
        made.apply(model)
    assert same(model.state_dict(), before)


@pytest.mark.parametrize("file", ["it.pt", "it.pth", "it.pkl", "it.ckpt", "it.bin"])
def test_pickles_are_neither_read_nor_written(ticket, tmp_path, file):
    class Trap:
        def __reduce__(self):
            return (tmp_path / "sprung").touch, ()

    with pytest.raises(LotteryError, match="files can run code when loaded; tickets are .safetensors files"):
        ticket.save(tmp_path / file)
    assert not list(tmp_path.iterdir())
    (tmp_path / file).write_bytes(pickle.dumps(Trap()))
    (tmp_path / "it.safetensors").write_bytes(pickle.dumps(Trap()))
    torch.save({"trap": Trap()}, tmp_path / "zip.safetensors")
    for name, message in (file, "can run code"), ("it.safetensors", "is damaged"), ("zip.safetensors", "is damaged"):
        with pytest.raises(LotteryError, match=message):
            Ticket.load(tmp_path / name)
    assert not (tmp_path / "sprung").exists()


def test_what_is_not_a_ticket_is_refused(lenet, tmp_path):
    with pytest.raises(LotteryError, match="cannot read the ticket .*none.safetensors: No such file"):
        Ticket.load(tmp_path / "none.safetensors")
    with pytest.raises(LotteryError, match="cannot read the ticket .*: Is a directory"):
        Ticket.load(tmp_path)
    with pytest.raises(LotteryError, match="^cannot read the ticket .*: embedded null byte"):
        Ticket.load("a\0b.safetensors")
    for metadata in None, {"format": "pt"}:
        safetensors.torch.save_file(lenet.state_dict(), tmp_path / "weights.safetensors", metadata)
        with pytest.raises(LotteryError, match="weights.safetensors is a safetensors file but not a ticket"):
            Ticket.load(tmp_path / "weights.safetensors")


def rewrite(path, tensors=None, **texts):
    """An edited file that is a valid safetensors file."""
    with safe_open(path, "pt") as stored:
        texts = stored.metadata() | texts
    safetensors.torch.save_file(safetensors.torch.load_file(path) | (tensors or {}), path, texts)


def test_a_newer_format_is_refused(saved):
    rewrite(saved, lottery_ticket="2")
    with pytest.raises(LotteryError, match="is a ticket of format 2, newer than 1; update lottery_lib"):
        Ticket.load(saved)


@pytest.mark.parametrize(
    "edit",
    [
        {"config": json.dumps({"method": "imp"})},
        {"sha256": "0" * 64},
        {"lottery_ticket": "one"},
        {"search_epochs": "1.0"},
        {"tensors": {"state/fc1.bias": torch.full((30,), 1e-9)}},
        {"tensors": {"more": torch.zeros(1)}},
    ],
)
def test_an_edited_file_is_refused(saved, edit):
    rewrite(saved)
    Ticket.load(saved)  # written anew in another order, it is the same ticket
    rewrite(saved, **edit)
    with pytest.raises(LotteryError, match="does not match its own checksum: it is damaged or was edited"):
        Ticket.load(saved)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(place=st.data())
def test_any_flipped_bit_is_noticed(saved, place):
    content = bytearray(saved.read_bytes())
    header = int.from_bytes(content[:8], "little") + 8
    region = place.draw(st.sampled_from([(0, 8), (8, header), (header, len(content))]))
    content[place.draw(st.integers(region[0], region[1] - 1))] ^= 1 << place.draw(st.integers(0, 7))
    damaged = saved.with_name("damaged")
    damaged.write_bytes(content)
    with pytest.raises(LotteryError):
        Ticket.load(damaged)


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_truncated_file_is_refused(saved, share):
    content = saved.read_bytes()
    cut = saved.with_name("cut")
    cut.write_bytes(content[: int(share * len(content))])
    with pytest.raises(LotteryError, match="cut is damaged or no safetensors file .*; get the ticket again"):
        Ticket.load(cut)


def test_a_ticket_that_cannot_be_written_leaves_nothing_behind(lenet, ticket, saved, monkeypatch):
    whole = saved.read_bytes()
    with pytest.raises(LotteryError, match="config, provenance and info must be JSON-able: Object of type Tensor"):
        ticket_of(lenet, config={"loss": torch.tensor(1.0)}).save(saved)
    with pytest.raises(LotteryError, match="cannot write the ticket .*: Not a directory"):
        ticket.save(saved / "below" / "it.safetensors")
    with pytest.raises(LotteryError, match="cannot write the ticket .*: Is a directory"):
        ticket.save(saved.parent)
    monkeypatch.setattr("pathlib.Path.replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        ticket.save(saved)
    assert [*saved.parent.iterdir()] == [saved] and saved.read_bytes() == whole
    assert not list(saved.parent.parent.glob(f"{saved.parent.name}.*"))


class Conv1D(nn.Module):
    """As Hugging Face's: a linear layer whose weight is (in, out)."""

    def __init__(self, nx, nf):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(nx, nf))

    def forward(self, x):
        return x @ self.weight


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta state")
@pytest.mark.parametrize("groups", [1, 2])
def test_a_sparse_matrix_has_outputs_down(groups):
    """Of a 1×1 convolution it is the matrix itself, in each group."""
    x = torch.randn(5, 4)
    for layer in (
        nn.ConvTranspose2d(4, 6, 1, groups=groups, bias=False),
        nn.Conv2d(4, 6, 1, groups=groups, bias=False),
    ):
        mask = {"0.weight": torch.rand(layer.weight.shape) < 0.5}
        model = nn.Sequential(layer)
        masks.apply_(model, mask)
        matrix = tickets.to_csr(model, mask)["0.weight"].to_dense()
        assert matrix.shape == (6, 4 // groups)
        parts = [part @ block.T for part, block in zip(x.chunk(groups, 1), matrix.chunk(groups))]
        torch.testing.assert_close(torch.cat(parts, 1), model(x[:, :, None, None])[:, :, 0, 0])
    model = nn.Sequential(Conv1D(4, 6))
    matrix = tickets.to_csr(model, {"0.weight": torch.ones(4, 6, dtype=torch.bool)})["0.weight"].to_dense()
    torch.testing.assert_close(x @ matrix.T, model(x))


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta state")
@pytest.mark.parametrize("network", NETWORKS)
def test_exports_compute_what_the_pruned_model_computes(network):
    build, inputs, names = NETWORKS[network]
    model, plain, pruned = build().eval(), build().eval(), build().eval()
    made = ticket_of(model, names)
    theta = copy(model.state_dict())
    zeros = tickets.to_state_dict(model, made.mask)
    assert same(model.state_dict(), theta)  # a copy
    plain.load_state_dict(zeros)
    pruned.load_state_dict(theta)
    tickets.to_prune(pruned, made.mask)
    made.apply(model)
    assert same(zeros, model.state_dict())
    assert torch.equal(plain(inputs), model(inputs))
    torch.testing.assert_close(pruned(inputs), model(inputs))
    for name, matrix in tickets.to_csr(theta, made.mask).items():
        assert matrix.layout == torch.sparse_csr and matrix.shape[0] == len(theta[name])
        assert torch.equal(matrix.to_dense().view_as(theta[name]), model.get_parameter(name))
        assert len(matrix.values()) == made.mask[name].sum()


def test_an_export_of_parameters_is_no_part_of_their_graph():
    model = models.create(**LENET)
    whole = tickets.to_state_dict(dict(model.named_parameters()), {"fc1.weight": masks.ones(model)["fc1.weight"]})
    assert not any(tensor.requires_grad for tensor in whole.values())


def test_prune_masks_can_be_trained_and_made_permanent():
    model = models.create(**RESNET)
    mask = masks.random(model, 0.2, seed=0)
    tickets.to_prune(model, mask)
    assert torch.equal(model.layer1[0].conv1.weight_mask.bool(), mask["layer1.0.conv1.weight"])
    train(model, torch.randn(4, 3, 8, 8))
    for name in mask:
        module = model.get_submodule(name.removesuffix(".weight"))
        prune.remove(module, "weight")
        assert not module.weight[~mask[name]].any() and module.weight[mask[name]].all()


@pytest.mark.parametrize("export", [tickets.to_state_dict, tickets.to_prune, tickets.to_csr])
def test_exports_refuse_a_mask_of_another_model(lenet, export):
    with pytest.raises(LotteryError, match="the mask covers 'conv1.weight', which the model does not have"):
        export(lenet, masks.ones(models.create(**RESNET)))
    assert not prune.is_pruned(lenet)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_ticket_from_a_gpu_applies_on_the_cpu_and_back(lenet, tmp_path):
    theta = copy(lenet.state_dict())
    made = ticket_of(lenet.cuda())
    made.save(tmp_path / "it")
    read = Ticket.load(tmp_path / "it")
    read.apply(lenet)
    assert torch.equal(lenet.fc1.weight.cpu(), theta["fc1.weight"] * made.mask["fc1.weight"])
    assert tickets.to_csr(lenet, made.mask)["fc1.weight"].device.type == "cuda"


def test_a_path_or_a_network_that_is_none_is_said():
    model = models.create(**LENET)
    ticket = controls.search(model, load("digits"), controls.Config(density=0.2))
    for call in (ticket.save, Ticket.load):
        with pytest.raises(LotteryError, match="^path is of type NoneType; must be a file's, as 'ticket.safetensors'$"):
            call(None)
    with pytest.raises(LotteryError, match="^model is of type NoneType; must be a torch.nn.Module$"):
        ticket.apply(None)
