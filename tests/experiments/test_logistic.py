"""logistic.py: each method against the objective it claims to minimise, and what a run reports against its arrays."""

import math
from contextlib import nullcontext
from dataclasses import fields

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lottery_lib.data import datasets
from lottery_lib.errors import LotteryError
from lottery_lib.experiments import logistic, records
from lottery_lib.experiments.logistic import METHODS, REFEREE, REFERS_TO, LogisticConfig

SUBGRADIENTS, ISTA, MASKS = list(METHODS)[:2], REFERS_TO, list(METHODS)[3:]
every_method = pytest.mark.parametrize("name", METHODS)


@pytest.fixture(scope="module")
def digits():
    return logistic.run(LogisticConfig(dataset="digits", iterations=1000))


@pytest.fixture(scope="module")
def mnist():
    return records.read(LogisticConfig())


@pytest.fixture(params=["digits", "mnist"])
def finished(request):
    """A finished run: one made here, and the one on record."""
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def pixels():
    """Centred x and y of the digits 3 and 8, for training and for testing."""
    x, y, x_test, y_test = logistic.binary(datasets.load("digits"))
    return x - x.mean(0), y, x_test - x.mean(0), y_test


# One step.


def problem(seed, n=40, d=12):
    """Random x (n, d) and y (n,) that no hyperplane separates."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, d, generator=generator, dtype=torch.float64)
    return x, torch.randint(0, 2, (n,), generator=generator).double()


def loss(w, x, y):
    return torch.log1p(torch.exp((1 - 2 * y) * (x @ w))).mean()


def penalty(name, z, eps):
    return (torch.log(1 + z / eps) / math.log(1 + 1 / eps) if "log" in name else z).sum()


def create(name, start, config, lipschitz=1.0):
    cls, regularizer = METHODS[name]
    return cls(start, regularizer(config.eps), config, lipschitz)


configs = st.builds(
    LogisticConfig,
    lam=st.floats(0.001, 1),
    eps=st.floats(0.01, 10),
    step=st.floats(0.1, 1.9),
    mask_step=st.floats(0.1, 5),
    weight_decay=st.just(0.0) | st.floats(1e-6, 1),
)


@pytest.mark.parametrize("name", SUBGRADIENTS)
@given(config=configs, lipschitz=st.floats(0.5, 5), seed=st.integers(0, 2**32))
def test_a_subgradient_step_descends_the_objective(name, config, lipschitz, seed):
    x, y = problem(seed)
    w = x[0].clone().requires_grad_()
    method = create(name, w.detach(), config, lipschitz)
    objective = loss(w, x, y) + config.lam * penalty(name, w.abs(), config.eps)
    assert (loss(w, x, y) + method.penalty()).item() == pytest.approx(objective.item(), rel=1e-12)
    (gradient,) = torch.autograd.grad(loss(w, x, y), w, retain_graph=True)
    (expected,) = torch.autograd.grad(objective, w)
    method.step(gradient)
    torch.testing.assert_close(method.weights(), (w - config.step / lipschitz * expected).detach())


@pytest.mark.parametrize("name", SUBGRADIENTS)
def test_a_subgradients_steps_may_shrink(name):
    config = LogisticConfig(step_decay=0.5)
    method, constant = create(name, torch.ones(3), config), create(name, torch.ones(3), LogisticConfig())
    for t in range(1, 5):
        before, constant.w = method.w, method.w
        constant.step(torch.ones(3))
        method.step(torch.ones(3))
        torch.testing.assert_close(method.w - before, (constant.w - before) / t**0.5)


@given(config=configs, lipschitz=st.floats(0.5, 5), seed=st.integers(0, 2**32))
def test_a_proximal_step_solves_its_subproblem(config, lipschitz, seed):
    x, y = problem(seed)
    w = x[0].clone().requires_grad_()
    method = create(ISTA, w.detach(), config, lipschitz)
    assert method.penalty() == pytest.approx(config.lam * w.abs().sum().item())
    (gradient,) = torch.autograd.grad(loss(w, x, y), w)
    method.step(gradient)
    moved, u = (w - config.step / lipschitz * gradient).detach(), method.w
    threshold = config.step / lipschitz * config.lam
    zero = u == 0  # 0 ∈ u − moved + ηλ ∂|u|, entry by entry
    assert (moved[zero].abs() <= threshold + 1e-12).all()
    torch.testing.assert_close((u - moved + threshold * u.sign())[~zero], torch.zeros_like(u)[~zero])


@pytest.mark.parametrize("name", MASKS)
@given(config=configs, lipschitz=st.floats(0.5, 5), seed=st.integers(0, 2**32))
def test_a_mask_step_descends_the_objective_and_projects(name, config, lipschitz, seed):
    x, y = problem(seed)
    theta = x[0].clone().requires_grad_()
    m = torch.rand(len(theta), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    m[:2] = torch.tensor([0.0, 1.0])
    method = create(name, theta.detach(), config, lipschitz)
    assert torch.equal(method.m, torch.ones_like(m)) and torch.equal(method.weights(), theta)
    method.m = m.clone()
    m.requires_grad_()
    w = m * theta
    decay = config.weight_decay / 2 * theta.square().sum()
    objective = loss(w, x, y) + config.lam * penalty(name, m, config.eps) + decay
    assert (loss(w, x, y) + method.penalty()).item() == pytest.approx(objective.item(), rel=1e-12)
    (gradient,) = torch.autograd.grad(loss(w, x, y), w, retain_graph=True)
    theta_gradient, mask_gradient = torch.autograd.grad(objective, (theta, m))
    method.step(gradient)
    torch.testing.assert_close(method.theta, (theta - config.step / lipschitz * theta_gradient).detach())
    moved = (m - config.mask_step / lipschitz * mask_gradient).detach()
    torch.testing.assert_close(method.m, torch.where(moved < 0, 0, torch.where(moved > 1, 1, moved)))
    torch.testing.assert_close(method.weights(), method.m * method.theta)


@pytest.mark.parametrize("name", MASKS)
@settings(max_examples=20)
@given(config=configs, seed=st.integers(0, 2**32))
def test_the_mask_stays_in_its_box(name, config, seed):
    x, y = problem(seed)
    method = create(name, x[0], config, lipschitz=torch.linalg.matrix_norm(x, 2).item() ** 2 / (4 * len(x)))
    for _ in range(100):
        method.step(x.T @ (torch.sigmoid(x @ method.weights()) - y) / len(x))
        assert 0 <= method.m.min() and method.m.max() <= 1
    assert method.m.min() < 1


def test_no_method_changes_the_common_start():
    start = torch.ones(3, dtype=torch.float64)
    for name in METHODS:
        create(name, start, LogisticConfig()).step(torch.ones(3, dtype=torch.float64))
    assert torch.equal(start, torch.ones(3, dtype=torch.float64))


# A run.


def test_ista_reaches_the_referees_objective(digits):
    summary, arrays = digits
    assert abs(summary["gap_to_referee"]) < 1e-8
    np.testing.assert_allclose(arrays["weights"][2], arrays["weights"][-1], atol=1e-3)
    assert (np.diff(arrays["objective"][2]) <= 1e-7).all()  # with a step below 2/L it never climbs


def test_masks_and_ista_settle_and_subgradients_do_not(digits):
    methods, late = digits[0]["methods"], digits[1]["flips"][:, -100:]
    for name, flips in zip(METHODS, late):
        if name in SUBGRADIENTS:
            assert methods[name]["zeros"] == 0 and (flips > 0).all()
        else:
            assert methods[name]["zeros"] >= 0.3 and (flips == 0).all()


def test_the_record_meets_its_bar(mnist):
    summary, _ = mnist
    for name in MASKS:
        assert summary["methods"][name]["zeros"] >= 0.3 and summary["methods"][name]["late_flips"] == 0
    for name in SUBGRADIENTS:
        assert summary["methods"][name]["zeros"] == 0 and summary["methods"][name]["late_flips"] > 0
    assert abs(summary["gap_to_referee"]) < 1e-4


def test_the_summary_agrees_with_the_arrays(finished):
    summary, arrays = finished
    methods, total = summary["methods"], summary["config"]["iterations"]
    assert list(methods) == [*METHODS, REFEREE]
    assert {key: value.shape for key, value in arrays.items()} == {
        "objective": (5, total),
        "flips": (5, total),
        "zeros": (5, total),
        "path": (5, total, logistic.TRACED),
        "traced": (logistic.TRACED,),
        "weights": (6, arrays["weights"].shape[1]),
        "masks": (2, arrays["weights"].shape[1]),
    }
    for row, (name, w) in enumerate(zip(methods, arrays["weights"])):
        final = methods[name]
        assert final["kept"] == np.count_nonzero(w)
        assert final["density"] == pytest.approx(np.count_nonzero(w) / len(w)) == pytest.approx(1 - final["zeros"])
        if name == REFEREE:
            assert "late_flips" not in final
            continue
        assert final["objective"] == pytest.approx(arrays["objective"][row, -1], rel=1e-6)
        assert final["zeros"] == pytest.approx(arrays["zeros"][row, -1])
        assert final["late_flips"] == arrays["flips"][row, -(total // 10) :].sum()
        assert final["late_flips_per_iteration"] == pytest.approx(final["late_flips"] / (total // 10))
        np.testing.assert_array_equal(arrays["path"][row, -1], w[arrays["traced"]])
    masks = arrays["masks"]
    assert 0 <= masks.min() and masks.max() <= 1
    np.testing.assert_array_equal(masks == 0, arrays["weights"][3:5] == 0)
    gap = methods[ISTA]["objective"] / methods[REFEREE]["objective"] - 1
    assert summary["gap_to_referee"] == pytest.approx(gap, abs=1e-15)


def test_the_traced_weights_are_the_needed_and_the_unneeded_ones(finished):
    _, arrays = finished
    needed, unneeded = np.split(arrays["traced"], 2)
    sparse = np.abs(arrays["weights"][2:5])  # of the methods that make zeros
    assert sparse[0, needed].min() == np.sort(sparse[0])[-len(needed)] > 0
    assert (sparse[:, unneeded] == 0).all()
    assert len(set(arrays["traced"])) == logistic.TRACED


def test_objectives_recomputed_from_the_final_weights(pixels):
    config = LogisticConfig(dataset="digits", iterations=50, weight_decay=0, lam=0.02)  # θ is not kept: no decay
    summary, arrays = logistic.run(config)
    x, y, x_test, y_test = (part.numpy() for part in pixels)
    masks = dict(zip(MASKS, arrays["masks"]))
    for name, w in zip([*METHODS, REFEREE], arrays["weights"].astype(float)):
        fit = np.mean(np.logaddexp(0, np.where(y == 1, -1, 1) * (x @ w)))
        price = config.lam * penalty(name, torch.from_numpy(masks.get(name, np.abs(w))), config.eps).item()
        assert summary["methods"][name]["objective"] == pytest.approx(fit + price, rel=1e-6)
        assert summary["methods"][name]["test_accuracy"] == 100 * np.mean((x_test @ w > 0) == (y_test == 1))
    assert summary["lipschitz"] == pytest.approx(np.linalg.norm(x, 2) ** 2 / (4 * len(x)))
    assert summary["images"] == {"train": len(x), "test": len(x_test)}


@every_method
def test_the_trace_is_what_the_method_does_alone(name, pixels, digits):
    x, y, _, _ = pixels
    summary, arrays = digits
    row, steps = list(METHODS).index(name), 40  # further on, concavity has blown rounding up
    config = LogisticConfig(**summary["config"])
    start = 0.1 * torch.randn(x.shape[1], generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    method = create(name, start, config, summary["lipschitz"])
    before = start
    for t in range(steps):
        w = method.weights().clone().requires_grad_()
        value = loss(w, x, y)
        assert arrays["objective"][row, t] == pytest.approx(value.item() + method.penalty(), rel=1e-6)
        assert arrays["zeros"][row, t] == pytest.approx((w == 0).sum().item() / len(w))
        assert arrays["flips"][row, t] == (w.sign() * before.sign() == -1).sum()
        method.step(torch.autograd.grad(value, w)[0])
        before = w.detach()
    assert arrays["flips"][row, :steps].any()


def test_without_penalty_and_with_the_mask_held_all_are_gradient_descent(pixels):
    config = LogisticConfig(dataset="digits", iterations=30, lam=1e-9, mask_step=1e-9, weight_decay=0, step=0.5)
    summary, arrays = logistic.run(config)
    x, y = pixels[0].numpy(), pixels[1].numpy()
    w = 0.1 * torch.randn(x.shape[1], generator=torch.Generator().manual_seed(0), dtype=torch.float64).numpy()
    for _ in range(29):
        w = w - 0.5 / summary["lipschitz"] * x.T @ (1 / (1 + np.exp(-x @ w)) - y) / len(x)
    for row in arrays["weights"][:5]:
        np.testing.assert_allclose(row, w, rtol=1e-5, atol=1e-6)


def test_same_config_same_bits():
    config = LogisticConfig(dataset="digits", iterations=20)
    (first, arrays), (second, again), (_, other) = map(
        logistic.run, [config, config, LogisticConfig(dataset="digits", iterations=20, seed=1)]
    )
    assert {**first, "seconds": 0} == {**second, "seconds": 0}
    for key, value in arrays.items():
        assert value.tobytes() == again[key].tobytes(), key
    starts = arrays["path"][:, 0]
    assert (starts == starts[0]).all() and not (starts == other["path"][:, 0]).any()


def test_table(mnist):
    table = logistic.table(mnist[0])
    assert list(table.index) == [*METHODS, REFEREE]
    final = mnist[0]["methods"][MASKS[1]]
    assert table.loc[MASKS[1]].to_dict() == {
        "objective": f"{final['objective']:.5f}",
        "exact zeros": f"{100 * final['zeros']:.1f} %",
        "kept": final["kept"],
        "density": f"{final['density']:.4f}",
        "sign flips an iteration, at the end": "0",
        "test accuracy": f"{final['test_accuracy']:.2f} %",
    }
    assert table.loc[REFEREE, "sign flips an iteration, at the end"] == "–"
    assert [name for name in table.index if logistic.is_masked(name)] == MASKS


# What is refused.

REFUSED = [
    ("digits", (3, 3), "digits = (3, 3): must be two different digits, as in (3, 8)"),
    ("digits", (3, 10), "digits = (3, 10): must be two different digits, as in (3, 8)"),
    ("digits", (3, 4, 5), "digits = (3, 4, 5): must be two different digits, as in (3, 8)"),
    ("dataset", "minst", "unknown data set 'minst'; did you mean 'mnist'?"),
    ("dataset", "cifar10", "dataset = 'cifar10': must be of grey images, digits, mnist, fashion-mnist"),
    ("lam", 1e308, "lam = 1e+308: must be 0, or of a size from 1e-30 to 1e+30"),
    ("eps", 1e-320, "eps = 1e-320: must be 0, or of a size from 1e-30 to 1e+30"),
    ("seed", 2**64, f"seed = {2**64}: must be a whole number, from 0 to 2^63 - 1"),
    ("lam", 0, "lam = 0: must be > 0"),
    ("lam", -1.0, "lam = -1.0: must be > 0"),
    ("lam", math.nan, "lam = nan: must be a finite number"),
    ("lam", math.inf, "lam = inf: must be a finite number"),
    ("eps", 0.0, "eps = 0.0: must be > 0"),
    ("eps", math.inf, "eps = inf: must be a finite number"),
    ("step", 0, "step = 0: must be between 0 and 2, both excluded (in units of 1/‖∇²L‖)"),
    ("step", 2.0, "step = 2.0: must be between 0 and 2, both excluded (in units of 1/‖∇²L‖)"),
    ("mask_step", 0, "mask_step = 0: must be > 0"),
    ("mask_step", math.inf, "mask_step = inf: must be a finite number"),
    ("weight_decay", -1e-9, "weight_decay = -1e-09: must be ≥ 0"),
    ("weight_decay", math.nan, "weight_decay = nan: must be a finite number"),
    ("lam", "x", "lam = 'x': must be a number"),
    ("iterations", 20.5, "iterations = 20.5: must be a whole number"),
    ("iterations", 9, "iterations = 9: must be 10 to 100000"),
    ("seed", -1, "seed = -1: must be a whole number, from 0 to 2^63 - 1"),
    ("step_decay", -0.5, "step_decay = -0.5: must be ≥ 0"),
]


@pytest.mark.parametrize("field, value, sentence", REFUSED)
def test_a_config_refuses(field, value, sentence):
    with pytest.raises(LotteryError) as error:
        LogisticConfig(**{field: value})
    assert str(error.value) == sentence


def test_a_run_that_diverges():
    with pytest.raises(LotteryError) as error:
        logistic.run(LogisticConfig(dataset="digits", weight_decay=1e4, iterations=300))
    sentence = "'mask + ℓ1, projected' diverges; lower step, mask_step or weight_decay, or raise eps"
    assert str(error.value) == sentence


@pytest.mark.parametrize("failure", [KeyboardInterrupt, None])
def test_the_number_of_threads_is_left_as_it_was(monkeypatch, failure):
    before, seen, loss = torch.get_num_threads(), [], logistic._loss

    def watched(*given):
        seen.append(torch.get_num_threads())
        if failure and len(seen) == 3:
            raise failure
        return loss(*given)

    monkeypatch.setattr(logistic, "_loss", watched)
    torch.set_num_threads(2)
    try:
        with pytest.raises(failure) if failure else nullcontext():
            logistic.run(LogisticConfig(dataset="digits", iterations=10))
        assert seen[:3] == [1, 1, 1] and torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_every_field_is_checked():
    assert {field for field, _, _ in REFUSED} == {field.name for field in fields(LogisticConfig)}


def test_values_at_the_edge_are_taken():
    config = LogisticConfig(digits=[0, 1], step=1.999, weight_decay=0, iterations=10, lam=1e-30)
    assert config.digits == (0, 1)
