"""networks.py and curvature.py: losses are what they say, and curvature is that of the dense Hessian."""

import pytest
import torch

from lottery_lib.regularizers import L1, Log
from lottery_lib.theory import bounds, curvature, networks, solver

WIDTH = networks.WIDTH


@pytest.fixture(params=[1, 2, 3])
def problems(request):
    return networks.networks(3, request.param, 40, 0.3, torch.Generator().manual_seed(0))[0]


@pytest.fixture
def m(problems):
    return torch.rand(problems.target.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def dense(problems, m):
    """The Hessians (n, d, d), an entry after the other."""
    whole = torch.autograd.functional.hessian(lambda at: problems.value(at).sum(), m)
    return torch.stack([whole[number, :, number] for number in range(len(m))])


def test_a_unit_of_the_teacher_has_two_inputs_and_feeds_two(problems):
    layers = problems.target.view(3, problems.depth, WIDTH, WIDTH)
    assert (layers.sum(2) == 2).all() and (layers.sum(3) == 2).all() and set(layers.unique().tolist()) == {0.0, 1.0}


def test_without_noise_the_teacher_has_no_loss_on_any_samples():
    for drawn in networks.networks(3, 2, 40, 0.0, torch.Generator().manual_seed(0)):
        assert drawn.value(drawn.target).max() == 0 and drawn.gradient(drawn.target).abs().max() == 0
        assert drawn.value(torch.ones_like(drawn.target)).min() > 0.01


def test_noise_is_in_units_of_the_outputs():
    drawn, held_out = networks.networks(200, 3, 40, 0.5, torch.Generator().manual_seed(0))
    for part in (drawn, held_out):
        clear = part.outputs(part.target)
        assert ((part.labels - clear).std() / clear.std()).item() == pytest.approx(0.5, rel=0.05)
    assert not torch.equal(drawn.inputs[:, :10], held_out.inputs[:, :10])


def test_gradient_and_hessian_are_those_of_the_value(problems, m):
    value, gradient = problems.both(m)
    torch.testing.assert_close(value, problems.value(m))
    (expected,) = torch.autograd.grad(problems.value(at := m.clone().requires_grad_()).sum(), at)
    torch.testing.assert_close(gradient, expected)
    v = torch.randn(m.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    torch.testing.assert_close(problems.hessian(m)(v), (dense(problems, m) @ v[:, :, None])[:, :, 0])


def test_only_the_first_depth_is_convex(problems, m):
    everywhere = torch.ones_like(m, dtype=torch.bool)
    found = curvature.least(problems, torch.ones_like(m), everywhere, steps=m.shape[1])
    assert ((found > 0) if problems.depth == 1 else (found < 0)).all()
    moved = problems.hessian(m)(m) - problems.hessian(problems.target)(m)
    assert (moved.abs().max() < 1e-12) == (problems.depth == 1)


@pytest.mark.parametrize("share", [1.0, 0.5, 0.2])
def test_lanczos_finds_the_least_eigenvalue_of_the_dense_hessian(problems, m, share):
    on = torch.rand(m.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64) < share
    on[0, 10:] = False  # one problem has far fewer entries than the others
    found = curvature.least(problems, m, on)
    for each, hessian, kept in zip(found, dense(problems, m), on):
        exact = torch.linalg.eigvalsh(hessian[kept][:, kept])
        assert each.item() == pytest.approx(exact[0].item(), abs=1e-6 * exact.abs().max().item())


def test_a_few_steps_of_lanczos_stay_above(problems, m):
    everywhere = torch.ones_like(m, dtype=torch.bool)
    few, exact = curvature.least(problems, m, everywhere, 5), torch.linalg.eigvalsh(dense(problems, m))[:, 0]
    assert (few > exact).all()


def test_where_nothing_is_kept_there_is_no_curvature(problems, m):
    on = torch.zeros_like(m, dtype=torch.bool)
    assert curvature.least(problems, m, on).isnan().all()
    on[1, 4] = True
    found = curvature.least(problems, m, on)
    assert found.isnan().tolist() == [True, False, True]
    assert found[1].item() == pytest.approx(dense(problems, m)[1, 4, 4].item())


def test_what_may_stand_for_gamma_is_in_order_where_the_loss_is_convex():
    problems, _ = networks.networks(20, 1, 40, 0.3, torch.Generator().manual_seed(0))
    m = torch.rand(problems.target.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    whole = curvature.least(problems, m, torch.ones_like(m, dtype=torch.bool))
    between, monotone = curvature.between(problems, m), curvature.monotonicity(problems, m)
    assert (whole <= between + 1e-9).all() and (between <= monotone + 1e-9).all() and (whole < monotone).any()


@pytest.mark.parametrize("regularizer", [L1(), Log(0.1)])
def test_t2_holds_with_the_monotonicity_wherever_that_is_positive(problems, regularizer):
    lam = torch.full((3,), 3e-3, dtype=torch.float64)
    case = bounds.Case(problems, regularizer, lam, torch.ones_like(lam), problems.gradient(problems.target))
    for start in (problems.target, torch.ones_like(problems.target)):
        m, done, _ = solver.backtracking(problems, regularizer, lam, start, 5000)
        monotone, apart = curvature.monotonicity(problems, m), bounds.distance(problems, m)
        told = done & (monotone > 0)
        assert (apart * monotone <= bounds.stationary(case, m) + 1e-5)[told].all()
        assert told.any() or problems.depth == 3
        if told.any() and problems.depth == 1:  # the bound is no idle one
            assert (apart * monotone > 0.5 * bounds.stationary(case, m))[told].any()
