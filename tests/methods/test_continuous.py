"""methods/continuous.py: the gate's step against autograd, its temperature, and what a round hands to the next."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.func import functional_call
from torch.nn.functional import cross_entropy
from toy import LEAST, copied, digits, find, lenet, noise, perceptron, same_bits

from lottery_lib import masks, weights
from lottery_lib.methods import continuous
from lottery_lib.training.loop import train

LR = 0.3


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 3), st.integers(0, 1000))
def test_steps_are_those_of_autograd_on_the_gated_objective(fraction, lam, mask_lr, seed):
    model, generator = perceptron(seed=seed, dtype=torch.float64), torch.Generator().manual_seed(seed)
    names = weights.prunable(model)
    start = {n: torch.randn(model.get_parameter(n).shape, generator=generator, dtype=torch.float64) / 9 for n in names}
    rule = continuous.SigmoidMask(model, start, lam, mask_lr)
    optimizer = torch.optim.SGD(rule.leaves, LR)
    split = noise(dtype=torch.float64).train
    inputs, labels = split.samples
    s = {name: value.clone().requires_grad_() for name, value in start.items()}
    free = {name: p.detach().clone().requires_grad_() for name, p in model.named_parameters()}
    for step in range(2):
        beta = 200.0 ** min(1, fraction + step / 10)
        gates = {name: torch.sigmoid(beta * s[name]) for name in names}
        outputs = functional_call(model, free | {name: gates[name] * free[name] for name in names}, inputs)
        objective = cross_entropy(outputs, labels) + lam * sum(gate.sum() for gate in gates.values())
        gradients = torch.autograd.grad(objective, [*s.values(), *(free[name] for name in names)])
        with torch.no_grad():
            for name, of_s, of_theta in zip(names, gradients[: len(names)], gradients[len(names) :]):
                s[name] -= mask_lr * of_s
                free[name] -= LR * of_theta

        rule.advance(min(1, fraction + step / 10))
        model.zero_grad()
        cross_entropy(model(inputs), labels).backward()
        rule.pull_back()
        optimizer.step()
        rule.push_forward()
        for name, gate, theta, weight in zip(names, rule.s, rule.theta, rule.weights):
            torch.testing.assert_close(gate, s[name].detach(), rtol=0, atol=1e-9)
            torch.testing.assert_close(theta, free[name], rtol=0, atol=1e-9)
            torch.testing.assert_close(weight.detach(), (torch.sigmoid(beta * s[name]) * free[name]).detach())
    assert {name: value.shape for name, value in start.items()} == masks.shapes(s)


def test_the_temperature_rises_from_1_to_200_exponentially():
    rule = continuous.SigmoidMask(perceptron(), {"0.weight": torch.full((5, 6), 0.01)}, 0.0, 1.0)
    theta = rule.theta[0].detach().clone()
    for fraction, beta in ((0, 1), (0.5, math.sqrt(200)), (1, 200)):
        rule.advance(fraction)
        assert rule.beta == pytest.approx(beta)
        torch.testing.assert_close(rule.weights[0].detach(), theta / (1 + math.exp(-0.01 * beta)))


def after(start):
    """s at the end of a round that starts from ``start``, without the method."""
    model = lenet()
    rule = continuous.SigmoidMask(model, start, 1e-6, 1.0)
    history = train(model, digits(), LEAST["recipe"], parameterization=rule)
    return dict(zip(rule.names, rule.s)), history


def initial(value):
    return {name: torch.full_like(lenet().get_parameter(name), value).detach() for name in weights.prunable(lenet())}


def test_the_largest_gates_are_kept():
    s, history = after(initial(0.02))
    ticket = find("continuous", start=0.02, lam=1e-6)
    cut = torch.cat([value.flatten() for value in s.values()]).sort(descending=True).values[round(0.2 * 2320) - 1]
    assert all(torch.equal(mask, s[name] >= cut) for name, mask in ticket.mask.items())
    assert same_bits(ticket.relaxed, {name: torch.sigmoid(200 * value) for name, value in s.items()})
    assert ticket.density == round(0.2 * 2320) / 2320
    share = sum(int((value > 0).sum()) for value in s.values()) / 2320
    assert history.epochs[-1]["density"] == pytest.approx(share) and 0 < share < 1


def test_a_round_starts_from_the_last_ones_gates(monkeypatch):
    started, original = [], continuous.SigmoidMask.__init__

    def spied(self, model, s, *args):
        started.append(copied(s))
        original(self, model, s, *args)

    monkeypatch.setattr(continuous.SigmoidMask, "__init__", spied)
    ticket = find("continuous", start=0.02, lam=1e-6, rounds=(0.5, 0.2))
    monkeypatch.undo()
    first, _ = after(initial(0.02))
    assert same_bits(started[0], initial(0.02))
    assert same_bits(started[1], {name: (200 * value).clamp(max=0.02) for name, value in first.items()})
    second, _ = after(started[1])
    assert same_bits(ticket.relaxed, {name: torch.sigmoid(200 * value) for name, value in second.items()})
    kept = masks.top_k(second, 0.2, masks.top_k(first, 0.5))
    assert masks.digest(ticket.mask) == masks.digest(kept)


def test_a_lower_start_and_a_higher_price_leave_fewer_gates_open():
    def open_gates(**fields):
        return sum(int((value > 0.5).sum()) for value in find("continuous", **fields).relaxed.values())

    assert open_gates(start=0.02) > open_gates(start=-0.02)
    assert open_gates(start=0.02) > open_gates(start=0.02, lam=1e-2)


def test_gates_move_in_half_precision_too():
    """Nine tenths of them stayed where they began."""
    model, config = perceptron(dtype=torch.bfloat16), continuous.Config(start=-0.05, mask_lr=0.01, **LEAST)
    ticket = continuous.search(model, noise(dtype=torch.bfloat16), config)
    gates = torch.cat([gate.flatten() for gate in ticket.relaxed.values()])
    began = torch.sigmoid(torch.tensor(-0.05 * continuous.HOTTEST))
    assert gates.dtype == torch.float32 and (gates != began).all()
    assert model[0].weight.dtype == torch.bfloat16


def test_a_mask_that_never_moved_says_what_to_change():
    said = "^after 27 steps with λ = 1e-08 and η_m = 0 no entry of the mask has moved, .*; raise η_m, or train longer$"
    with pytest.warns(UserWarning, match=said):
        find("continuous", mask_lr=0.0, allow_empty_layers=True)
