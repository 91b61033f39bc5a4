"""states.py: a ticket fits a network whatever is wrapped around it; modules keep what they write beside tensors."""

import pytest
import torch
import torchvision
from torch import nn
from toy import RECIPE, SEARCHES, digits, find, lenet, noise, perceptron, retrained, same_bits

from lottery_lib import masks, states, tickets
from lottery_lib.methods import concave, controls, magnitude, retrain
from lottery_lib.tickets import Ticket, architecture
from lottery_lib.training.recipes import Recipe


def compiled(model):
    return torch.compile(model, backend="eager")


def partly(model):
    model.fc2 = compiled(model.fc2)
    return model


WRAPPED = {
    "compiled": compiled, "parallel": nn.DataParallel, "both": lambda model: nn.DataParallel(compiled(model)),
    "a part": partly,
}  # fmt: skip


@pytest.mark.parametrize("wrap", WRAPPED.values(), ids=WRAPPED)
def test_names_are_those_of_the_plain_network(wrap):
    plain, wrapped = lenet(), wrap(lenet())
    assert list(states.parameters(wrapped)) == [name for name, _ in plain.named_parameters()]
    assert [name for name in states.modules(wrapped) if name] == [name for name, _ in plain.named_modules() if name]
    assert same_bits(states.state(wrapped), dict(plain.state_dict()))
    assert architecture(wrapped) == architecture(plain)
    assert masks.shapes(masks.ones(wrapped)) == masks.shapes(masks.ones(plain))
    zeros = tickets.to_state_dict(wrapped, masks.random(wrapped, 0.5, 0))
    plain.load_state_dict(zeros)
    assert states.versions(wrapped).keys() == plain.state_dict()._metadata.keys()


@pytest.mark.parametrize("name", SEARCHES)
def test_a_ticket_of_a_wrapped_network_fits_the_plain_one_and_the_other_way_round(name):
    wraps = WRAPPED.values() if name == "concave" else [partly]
    expected = find(name)
    for wrap in wraps:
        ticket = find(name, wrap(lenet()))
        assert same_bits(ticket.mask, expected.mask) and same_bits(ticket.rewind, expected.rewind)
        plain, wrapped = lenet(1), wrap(lenet(1))
        ticket.apply(plain)
        expected.apply(wrapped)
        assert same_bits(states.state(wrapped), dict(plain.state_dict()))
    retrained(wrapped, expected)
    assert masks.density({name: states.parameters(wrapped)[name] != 0 for name in expected.mask}) <= expected.density


def test_a_checkpoint_of_a_wrapped_network_is_read_again(tmp_path):
    """That of the same network: its name is by what is computed, wrapper and all."""
    config = controls.Config(density=0.2, rewind_epoch=1, recipe=RECIPE)
    first, again = (controls.search(compiled(lenet()), digits(), config, work=tmp_path / "work") for _ in range(2))
    assert same_bits(first.rewind, again.rewind) and len(list((tmp_path / "work").iterdir())) == 1


class Counting(nn.Linear):
    """Keeps a dict beside its tensors, and a version."""

    _version = 3

    def __init__(self, *given):
        super().__init__(*given)
        self.calls, self.seen = 0, None

    def forward(self, x):
        self.calls += 1
        return super().forward(x)

    def get_extra_state(self):
        return {"calls": self.calls}

    def set_extra_state(self, state):
        self.calls = state["calls"]

    def _load_from_state_dict(self, state, prefix, metadata, *given):
        self.seen = metadata.get("version")
        super()._load_from_state_dict(state, prefix, metadata, *given)


@pytest.mark.parametrize("method, given", [(concave, {"lam": 1e-4}), (magnitude, {}), (controls, {})])
def test_what_modules_keep_beside_tensors_is_rewound_and_in_no_ticket(method, given, tmp_path):
    model = nn.Sequential(Counting(6, 5), nn.Tanh(), nn.Linear(5, 3))
    options = {"work": tmp_path / "work"}
    ticket = method.search(model, noise(), method.Config(density=0.5, recipe=RECIPE, **given), **options)
    assert (model[0].calls, model[0].seen) == (0, 3)
    assert "0._extra_state" not in ticket.rewind and "0._extra_state" not in ticket.architecture["layout"]
    ticket.save(tmp_path / "it.safetensors")
    retrain(model, noise(), Ticket.load(tmp_path / "it.safetensors"), Recipe(epochs=1), **options)
    assert model[0].calls > 0 and model[0].seen == 3


def test_a_network_that_asks_for_its_version_is_rewound(tmp_path):
    """MNASNet refuses a state whose version it is not told."""
    model = torchvision.models.mnasnet0_5(num_classes=3)
    before = states.snapshot(model)
    ticket = Ticket(
        mask=masks.random(model, 0.5, 0), rewind=before, config={}, provenance={}, architecture=architecture(model),
        search_epochs=0,
    )  # fmt: skip
    ticket.save(tmp_path / "it.safetensors")
    Ticket.load(tmp_path / "it.safetensors").apply(model)
    model.load_state_dict(tickets.to_state_dict(model, ticket.mask))
    states.load(model, before)
    assert same_bits(dict(model.state_dict()), before)


def test_tied_weights_have_both_names():
    model = perceptron(6, 6, 6)
    model[2].weight = model[0].weight
    assert states.parameters(model)["2.weight"] is model[0].weight
    assert "2.weight" not in states.parameters(model, tied=False)
