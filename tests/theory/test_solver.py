"""planted.py and solver.py: losses are what they say, and projected gradient finds what is known in closed form."""

import pytest
import torch

from lottery_lib.regularizers import L1, Log
from lottery_lib.theory import bounds, planted, solver

MAKERS = (planted.quadratics, planted.logistics)


@pytest.fixture(params=[(make, noise) for make in MAKERS for noise in (False, True)])
def problems(request):
    make, noise = request.param
    return make(20, 6, noise, torch.Generator().manual_seed(0))


@pytest.fixture
def m(problems):
    return torch.rand(problems.target.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_the_gradient_is_that_of_the_value(problems, m):
    (expected,) = torch.autograd.grad(problems.value(m.requires_grad_()).sum(), m)
    torch.testing.assert_close(problems.gradient(m.detach()), expected)


def test_the_curvature_is_the_mean_on_the_way_from_the_target(problems, m):
    away = m - problems.target
    found = (problems.curvature(m) @ away[:, :, None])[:, :, 0]
    torch.testing.assert_close(found, problems.gradient(m) - problems.gradient(problems.target))


def test_strength_and_smoothness_hold_between_all_points_of_the_box(problems):
    generator = torch.Generator().manual_seed(2)
    for _ in range(50):
        a, b = torch.rand(2, *problems.target.shape, generator=generator, dtype=torch.float64)
        product = ((problems.gradient(a) - problems.gradient(b)) * (a - b)).sum(1) / (a - b).square().sum(1)
        assert (product >= problems.strength() - 1e-12).all() and (product <= problems.smoothness() + 1e-12).all()


@pytest.mark.parametrize("make", MAKERS)
def test_without_noise_the_target_is_the_minimiser(make):
    problems = make(20, 6, False, torch.Generator().manual_seed(0))
    assert problems.gradient(problems.target).abs().max() < 1e-15
    assert make(20, 6, True, torch.Generator().manual_seed(0)).gradient(problems.target).abs().min() > 1e-6


def test_regressions_recover_their_target_as_samples_grow():
    apart = [
        torch.linalg.solve(drawn.hessian, drawn.slope).norm(dim=1).mean()
        for drawn in (planted.regressions(5, 8, 3, n, 1.0, 0.5, torch.Generator().manual_seed(0)) for n in (50, 5000))
    ]
    assert (drawn_kept := planted.regressions(5, 8, 3, 50, 1.0, 0.0, torch.Generator()).kept()).tolist() == [3.0] * 5
    assert apart[1] < 0.2 * apart[0], drawn_kept


def isotropic(n: int, d: int) -> planted.Quadratic:
    target = planted.targets(n, d, torch.Generator().manual_seed(4))
    return planted.Quadratic(target, torch.eye(d, dtype=torch.float64).expand(n, d, d), torch.zeros_like(target))


def test_l1_shrinks_each_kept_entry_by_t():
    problems, t = isotropic(50, 6), torch.linspace(0.02, 1.4, 50, dtype=torch.float64)
    m, done = solver.projected_gradient(problems, L1(), t, torch.ones_like(problems.target))
    assert done.all()
    torch.testing.assert_close(m, problems.target * (1 - t).clamp(min=0)[:, None], atol=1e-9, rtol=0)


@pytest.mark.parametrize("eps", [0.1, 0.01])
def test_log_ends_on_its_near_branch_from_one_and_at_zero_from_zero(eps):
    log, t = Log(eps), torch.linspace(0.02, 1.4, 50, dtype=torch.float64)
    problems = isotropic(50, 6)
    from_one, done = solver.projected_gradient(problems, log, t, torch.ones_like(problems.target), 50_000)
    from_zero, _ = solver.projected_gradient(problems, log, t, torch.zeros_like(problems.target))
    assert done.all()
    for each, one, zero, target in zip(t.tolist(), from_one, from_zero, problems.target):
        points = solver.kept_entry(log, each)
        assert one[target == 1].tolist() == pytest.approx([points[-1]] * int(target.sum()), abs=1e-6)
        assert zero[target == 1].tolist() == pytest.approx([points[0]] * int(target.sum()), abs=1e-6)
        assert one[target == 0].abs().max() == zero[target == 0].abs().max() == 0


def test_the_closed_form_lists_stationary_points_in_rising_order():
    log = Log(0.1)
    assert [len(solver.kept_entry(log, t)) for t in (0.1, 0.5, 1.0)] == [1, 3, 1]
    for t in (0.1, 0.5, 1.0):
        points = solver.kept_entry(log, t)
        assert points == sorted(points)
        for m in points:
            slope = m - 1 + t * log.slope(m)
            assert slope == pytest.approx(0, abs=1e-12) or (m == 0 and slope > 0)


def test_each_step_lowers_the_objective_and_what_is_done_is_stationary(problems, m):
    log, lam = Log(0.1), torch.full((20,), 0.1, dtype=torch.float64)
    before, now = solver.objective(problems, log, lam, m), m
    for _ in range(20):
        now, _ = solver.projected_gradient(problems, log, lam, now, iterations=1)
        after = solver.objective(problems, log, lam, now)
        assert (after <= before + 1e-14).all()
        before = after
    end, done = solver.projected_gradient(problems, log, lam, m)
    again, _ = solver.projected_gradient(problems, log, lam, end, iterations=1)
    assert done.any() and (again - end)[done].abs().max() <= solver.TOLERANCE


def test_who_is_not_done_is_said():
    problems = planted.quadratics(8, 6, False, torch.Generator().manual_seed(0))
    lam = torch.full((8,), 0.1, dtype=torch.float64)
    _, done = solver.projected_gradient(problems, L1(), lam, torch.ones_like(problems.target), iterations=2)
    assert not done.any()


def test_distance():
    problems = isotropic(3, 5)
    assert bounds.distance(problems, 1 - problems.target).tolist() == pytest.approx([5**0.5] * 3)


def test_backtracking_finds_what_a_known_step_finds(problems):
    lam = torch.full((20,), 0.05, dtype=torch.float64)
    start = torch.ones_like(problems.target)
    for regularizer in (L1(), Log(0.1)):
        known, done = solver.projected_gradient(problems, regularizer, lam, start)
        found, also, _ = solver.backtracking(problems, regularizer, lam, start, 4000)
        assert (done & also).sum() >= 15
        costs = [solver.objective(problems, regularizer, lam, m) for m in (found, known)]
        same = (found - known).abs().amax(1) < 1e-5
        assert same.double().mean() >= 0.8 and ((costs[0] - costs[1]).abs()[same] < 1e-8).all()


def test_backtracking_shows_its_way_downhill(problems):
    log, lam, looks = Log(0.1), torch.full((20,), 0.1, dtype=torch.float64), (0, 1, 5, 50, 3999)
    start = torch.ones_like(problems.target)
    end, done, way = solver.backtracking(problems, log, lam, start, 4000, looks)
    assert done.any() and len(way) == len(looks) and torch.equal(way[0], start)
    costs = torch.stack([solver.objective(problems, log, lam, m) for m in (*way, end)])
    assert (costs.diff(dim=0) <= 1e-10).all() and (costs[0] - costs[-1] > 0.01).any()
    torch.testing.assert_close(way[-1][done], end[done], atol=1e-6, rtol=0)
    stopped, none, _ = solver.backtracking(problems, log, lam, start, 2)
    assert not none.any() and not torch.equal(stopped, end)
