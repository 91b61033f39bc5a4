"""relaxation.py: one step against autograd, and what masks hold fixed. The invariants are in test_invariants.py."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.func import functional_call
from torch.nn.functional import cross_entropy
from toy import copied, noise, perceptron, same_bits

from lottery_lib import masks, regularizers, weights
from lottery_lib.relaxation import FixedMask, Parameterization, RelaxedMask

LR, MOMENTUM, DECAY = 0.3, 0.9, 0.01


def relaxed(model, regularizer="log", lam=0.1, mask_lr=1.0, within=None):
    return RelaxedMask(model, weights.prunable(model), regularizers.create(regularizer), lam, mask_lr, within)


def backward(model, rows=slice(None)):
    split = noise(dtype=next(model.parameters()).dtype).train
    inputs, labels = split.samples
    model.zero_grad(set_to_none=True)
    cross_entropy(model(inputs[rows]), labels[rows]).backward()


@given(
    st.sampled_from(list(regularizers.REGULARIZERS)), st.floats(0, 1), st.floats(0, 5), st.integers(0, 1000),
)  # fmt: skip
def test_steps_are_those_of_autograd_on_the_relaxed_objective(regularizer, lam, mask_lr, seed):
    model = perceptron(seed=seed, dtype=torch.float64)
    rule = relaxed(model, regularizer, lam, mask_lr)
    generator = torch.Generator().manual_seed(seed)
    for m in rule.m:
        m.uniform_(generator=generator)
    rule.push_forward()
    optimizer = torch.optim.SGD(rule.leaves, LR, MOMENTUM, weight_decay=DECAY)
    split = noise(dtype=torch.float64).train
    inputs, labels = split.samples

    m = {name: value.clone().requires_grad_() for name, value in zip(rule.names, rule.m)}
    theta = {name: value.detach().clone().requires_grad_() for name, value in zip(rule.names, rule.theta)}
    velocity = {name: 0.0 for name in rule.names}
    biases = {name: p.detach().clone() for name, p in model.named_parameters() if name not in m}
    for step in range(3):
        rows = slice(20 * step, 20 * step + 20)
        outputs = functional_call(model, biases | {name: m[name] * theta[name] for name in m}, inputs[rows])
        penalty = sum(regularizers.create(regularizer).value(m[name]).sum() for name in m)
        objective = cross_entropy(outputs, labels[rows]) + lam * penalty
        gradients = torch.autograd.grad(objective, [*m.values(), *theta.values()])
        with torch.no_grad():  # both gradients are of the old m and θ
            for name, of_m, of_theta in zip(m, gradients[: len(m)], gradients[len(m) :]):
                m[name] += -mask_lr * of_m
                m[name].clamp_(0, 1)
                velocity[name] = MOMENTUM * velocity[name] + of_theta + DECAY * theta[name]
                theta[name] -= LR * velocity[name]

        backward(model, rows)
        rule.pull_back()
        optimizer.step()
        rule.push_forward()
        for name, ours, value, weight in zip(rule.names, rule.m, rule.theta, rule.weights):
            torch.testing.assert_close(ours, m[name].detach(), rtol=0, atol=1e-10)
            torch.testing.assert_close(value, theta[name], rtol=0, atol=1e-10)
            assert torch.equal(weight, ours * value)


@given(st.floats(0, 1), st.floats(0, 5), st.integers(0, 1000))
def test_what_an_earlier_mask_pruned_stays_pruned(lam, mask_lr, seed):
    model = perceptron(seed=seed)
    within = masks.random(model, 0.5, seed)
    rule = relaxed(model, lam=lam, mask_lr=mask_lr, within=within)
    optimizer = torch.optim.AdamW(rule.leaves, 0.1, weight_decay=DECAY)
    moved = copied(dict(zip(rule.names, rule.theta)))
    for _ in range(4):
        backward(model)
        rule.pull_back()
        optimizer.step()
        rule.push_forward()
    for name, m, theta, weight in zip(rule.names, rule.m, rule.theta, rule.weights):
        assert not any(tensor[~within[name]].any() for tensor in (m, theta, weight))
        assert not torch.equal(theta, moved[name])


def test_a_relaxed_mask_starts_at_the_weights_and_leaves_the_given_mask_alone():
    model = perceptron()
    start, within = copied(model.state_dict()), masks.random(model, 0.5, 0)
    given_mask = copied(within)
    rule = relaxed(model, within=within)
    for name, m in zip(rule.names, rule.m):
        assert torch.equal(m.bool(), within[name]) and torch.equal(model.get_parameter(name), start[name] * m)
    backward(model)
    rule.pull_back()
    assert same_bits(within, given_mask) and rule.m[0].dtype == torch.float32


@pytest.mark.parametrize("make", [relaxed, lambda model: FixedMask(model, masks.random(model, 0.5, 0))])
def test_weights_keep_their_addresses_and_stay_parameters(make):
    model = perceptron()
    places = [p.data_ptr() for p in model.parameters()]
    rule = make(model)
    backward(model)
    rule.pull_back()
    torch.optim.SGD(rule.leaves, LR).step()
    rule.push_forward()
    assert [p.data_ptr() for p in model.parameters()] == places
    assert all(p.requires_grad and p.is_leaf for p in model.parameters())


def test_state_brings_a_rule_back():
    rule = relaxed(perceptron(), mask_lr=2.0)
    for m, theta in zip(rule.m, rule.theta):
        m.uniform_()
        theta.data.normal_()
    other = relaxed(perceptron(seed=1))
    other.load(copied(rule.state()))
    assert same_bits(other.state(), rule.state())
    assert set(rule.state()) == {f"{part}.{name}" for part in ("m", "theta") for name in rule.names}


def test_metrics_are_the_density_and_the_weighted_penalty():
    rule = relaxed(perceptron(features=3, hidden=2, classes=2), "l1", lam=0.5)
    for m in rule.m:
        m.zero_()
    rule.m[0][0, 0], rule.m[1][0, 0] = 0.25, 0.5
    metrics = rule.metrics()
    assert metrics["density"].item() == pytest.approx(2 / 10) and metrics["penalty"].item() == pytest.approx(0.375)


def test_a_fixed_mask_prunes_at_once_and_removes_gradients():
    model = perceptron()
    mask, start = masks.random(model, 0.4, 0), copied(model.state_dict())
    rule = FixedMask(model, mask)
    assert all(torch.equal(model.get_parameter(name), start[name] * mask[name]) for name in mask)
    backward(model)
    dense = copied({name: model.get_parameter(name).grad for name in mask})
    rule.pull_back()
    assert all(torch.equal(model.get_parameter(name).grad, dense[name] * mask[name]) for name in mask)
    assert all((dense[name][~mask[name]] != 0).any() for name in mask)


def test_without_a_mask_the_optimiser_acts_on_the_weights():
    model = perceptron()
    rule = Parameterization(model, weights.prunable(model))
    assert all(leaf is model.get_parameter(name) for leaf, name in zip(rule.leaves, rule.names))
    assert (rule.state(), rule.metrics(), rule.describe()) == ({}, {}, {})
