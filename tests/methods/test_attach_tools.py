"""attached.py: what else is done with a network while a search or a ticket is attached to it."""

import copy
import io
import pickle
import warnings

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

import lottery_lib as lottery
from lottery_lib.errors import LotteryError
from lottery_lib.methods import concave, continuous, gradual

STEPS = 40
INPUTS = torch.randn(32, 8, generator=torch.Generator().manual_seed(1))
LABELS = (INPUTS[:, 0] > 0).long()


class Residual(nn.Module):
    """Whose inner layer may end empty."""

    def __init__(self):
        super().__init__()
        self.stem, self.mix, self.read = nn.Linear(8, 16), nn.Linear(16, 16), nn.Linear(16, 3)

    def forward(self, inputs):
        hidden = self.stem(inputs)
        return self.read(hidden + self.mix(hidden).relu())


def network(kind=Residual):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return kind()


def loop(model, *optimizers, steps=STEPS):
    for _ in range(steps):
        for optimizer in optimizers:
            optimizer.zero_grad()
        cross_entropy(model(INPUTS), LABELS).backward()
        for optimizer in optimizers:
            optimizer.step()


def begun(**given):
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    return model, optimizer, concave.attach(model, optimizer, steps=STEPS, **{"density": 0.5} | given)


def emptied(search):
    for name, m in zip(search.rule.names, search.rule.m):
        m.fill_(name != "mix.weight")
    return search.ticket()


def detached(model):
    return {name: weight.detach() for name, weight in model.named_parameters()}


LOOKS = {
    "export": lambda model: torch.export.export(model, (INPUTS,)),
    "strict export": lambda model: torch.export.export(model, (INPUTS,), strict=True),
    "trace": lambda model: torch.jit.trace(model, INPUTS),
    "functional call": lambda model: torch.func.functional_call(model, detached(model), (INPUTS,)),
    "vmap": lambda model: torch.vmap(model)(INPUTS),
    "without gradients": lambda model: torch.no_grad()(model)(INPUTS),
    "copy": lambda model: copy.deepcopy(model)(INPUTS),
    "average": lambda model: torch.optim.swa_utils.AveragedModel(model)(INPUTS),
}


@pytest.mark.filterwarnings("ignore:.*is deprecated", "ignore:after 40 steps")
@pytest.mark.parametrize("look", LOOKS)
def test_a_look_at_the_network_before_its_first_batch_is_not_that_batch(look):
    plain, optimizer, search = begun()
    loop(plain, optimizer)
    ticket = search.ticket()
    for given in ({}, {"density": 0.2, "lam": 0.0, "mask_lr": 0.0}):
        model, optimizer, search = begun(**given)
        LOOKS[look](model)
        loop(model, optimizer)
        if given:
            assert not emptied(search).mask["mix.weight"].any()  # the first batch was tried, and passes beside it
        else:
            assert all(torch.equal(kept, ticket.mask[name]) for name, kept in search.ticket().mask.items())
        assert not model._forward_hooks


def test_a_network_that_waits_for_its_first_batch_can_be_written_and_copied():
    model, optimizer, search = begun()
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    for other in (torch.load(file, weights_only=False), pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        loop(other, torch.optim.SGD(other.parameters(), 0.1), steps=2)
    loop(model, optimizer)
    assert search.ticket().density == pytest.approx(0.5, abs=0.01)


@pytest.mark.filterwarnings("ignore:after 40 steps")
@pytest.mark.parametrize("fullgraph", [True, False])
@pytest.mark.parametrize("inner", [True, False])
def test_a_compiled_network_is_searched_whichever_the_search_is_attached_to(inner, fullgraph):
    torch._dynamo.reset()
    model = network()
    compiled = torch.compile(model, backend="eager", fullgraph=fullgraph)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    attach_to = model if inner else compiled
    search = concave.attach(attach_to, optimizer, steps=STEPS, density=0.2, lam=0.0, mask_lr=0.0)
    loop(compiled, optimizer)
    assert not emptied(search).mask["mix.weight"].any() and not model._forward_hooks


class Swapped(nn.Module):
    """Whose classifier is registered before another linear layer."""

    def __init__(self):
        super().__init__()
        self.conv, self.head, self.hidden = nn.Conv1d(1, 4, 3), nn.Linear(16, 3), nn.Linear(24, 16)

    def forward(self, inputs):
        return self.head(self.hidden(self.conv(inputs[:, None]).relu().flatten(1)).relu())


@pytest.mark.filterwarnings("ignore:.*of all parameters stay dense")
def test_in_a_compiled_network_too_the_classifier_is_the_one_nearest_the_output():
    torch._dynamo.reset()
    model = network(Swapped)
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    before = model.head.weight.detach().clone()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    concave.attach(model, optimizer, steps=STEPS)
    with pytest.raises(LotteryError, match="'hidden.weight' was taken for the classifier.*'head.weight' is nearest"):
        loop(compiled, optimizer, steps=1)
    assert torch.equal(model.head.weight, before)


class Growing(Residual):
    """Keeps a cache that grows with its input, or is made with it."""

    def __init__(self, made=True):
        super().__init__()
        if made:
            self.register_buffer("cache", torch.ones(4))

    def forward(self, inputs):
        if not hasattr(self, "cache"):
            self.register_buffer("cache", torch.ones(4))
        if len(self.cache) < len(inputs):
            self.cache = torch.ones(len(inputs))
        return super().forward(inputs) * self.cache[: len(inputs), None]


@pytest.mark.parametrize("made", [True, False])
@pytest.mark.parametrize("method", [concave, continuous, gradual])
def test_a_buffer_that_grows_in_training_costs_no_ticket(method, made):
    model = network(lambda: Growing(made))
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    search = method.attach(model, optimizer, steps=STEPS, density=0.5)
    loop(model, optimizer)
    ticket = search.ticket()
    loop(model, optimizer, steps=1)
    if method is not gradual:  # which is trained: its state is the last
        fresh = network(lambda: Growing(made))
        lottery.attach(fresh, torch.optim.SGD(fresh.parameters(), 0.1), ticket)


# A ticket's mask where an optimiser steps a part of the weights


@pytest.fixture(scope="module")
def ticket():
    model, optimizer, search = begun()
    loop(model, optimizer)
    return search.ticket()


def holds(model, ticket):
    return all(not model.get_parameter(name)[~kept].any() for name, kept in ticket.mask.items())


def test_a_ticket_is_attached_to_each_of_several_optimisers(ticket):
    model = network()
    parts = (model.stem, nn.ModuleList([model.mix, model.read]))
    optimizers = [torch.optim.AdamW(part.parameters(), 1e-2, weight_decay=0.1) for part in parts]
    masked = [lottery.attach(model, optimizer, ticket) for optimizer in optimizers]
    assert [set(one.rule.names) for one in masked] == [{"stem.weight"}, {"mix.weight", "read.weight"}]
    whole, alone = network(), []
    alone.append(torch.optim.AdamW(whole.parameters(), 1e-2, weight_decay=0.1))
    lottery.attach(whole, *alone, ticket)
    loop(model, *optimizers)
    loop(whole, *alone)
    assert holds(model, ticket) and holds(whole, ticket)
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), whole.state_dict().values()))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for one in masked:
            one.detach()


def test_weights_that_are_trained_go_on_under_a_mask(ticket):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    lottery.attach(model, optimizer, ticket, rewind=False)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name] * ticket.mask[name] if name in ticket.mask else before[name])
    loop(model, optimizer)
    assert holds(model, ticket)


def test_a_second_ticket_leaves_the_mask_of_the_first(ticket):
    """It rewound all of the model, so that the first forward pass after it was dense."""
    model = network()
    parts = {name: torch.optim.SGD([model.get_parameter(name)], 0.1) for name in ticket.mask}
    for name, optimizer in parts.items():
        lottery.attach(model, optimizer, lottery.Ticket.of(network(), {name: ticket.mask[name]}))
    assert holds(model, ticket)


def test_an_optimiser_leaves_the_weights_of_others_alone(ticket):
    """As where a backward pass of the others' loss is still to come."""
    model = network()
    stem, rest = (torch.optim.SGD(part.parameters(), 0.1) for part in (model.stem, model.read))
    lottery.attach(model, stem, ticket), lottery.attach(model, rest, ticket)
    model.zero_grad()
    hidden = model.read(INPUTS.repeat(1, 2))
    model.stem(INPUTS).sum().backward()
    stem.step()
    (hidden**2).sum().backward()
    rest.step()
    assert holds(model, ticket)


def test_a_weight_that_another_optimiser_steps_unmasked_is_told(ticket):
    model = network()
    stem, rest = (torch.optim.SGD(part.parameters(), 0.1) for part in (model.stem, model.read))
    masked = lottery.attach(model, stem, ticket)
    loop(model, stem, rest, steps=2)
    with pytest.warns(UserWarning, match="'read.weight' has weights again that the ticket prunes.*to every optimiser"):
        masked.detach()


def test_frozen_weights_that_no_optimiser_steps_stay_rewound_and_are_masked_once_it_does(ticket):
    model = network()
    model.stem.requires_grad_(False)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], 1e-2, weight_decay=0.1)
    masked = lottery.attach(model, optimizer, ticket)
    before = model.stem.weight.detach().clone()
    loop(model, optimizer, steps=3)
    assert torch.equal(model.stem.weight, before) and holds(model, ticket)
    model.stem.requires_grad_(True)
    optimizer.add_param_group({"params": model.stem.parameters()})
    loop(model, optimizer, steps=3)
    assert not torch.equal(model.stem.weight, before) and holds(model, ticket)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        masked.detach()


def test_an_optimiser_that_steps_no_weight_under_the_mask_is_refused(ticket):
    model = network()
    before = model.stem.weight.detach().clone()
    with pytest.raises(LotteryError, match="^the optimiser does not step 'stem.weight'; build it over"):
        lottery.attach(model, torch.optim.SGD([model.stem.bias], 0.1), ticket)
    assert torch.equal(model.stem.weight, before)


@pytest.mark.parametrize("method", [concave, continuous, gradual])
def test_what_is_of_another_type_is_named(method, ticket):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for given in ((None, optimizer), (optimizer, model)):
        with pytest.raises(LotteryError, match="^model is of type (NoneType|SGD); must be a torch.nn.Module$"):
            method.attach(*given, steps=STEPS)
        with pytest.raises(LotteryError, match="^model is of type (NoneType|SGD); must be a torch.nn.Module$"):
            lottery.attach(*given, ticket)
    with pytest.raises(LotteryError, match="^state is of type NoneType; must be what state_dict"):
        method.attach(model, optimizer, steps=STEPS).load_state_dict(None)
