"""bounds.py: no planted problem breaks one, and where a bound is tight, a constant 10 % smaller would be noticed."""

import math

import pytest
import torch

from lottery_lib.errors import LotteryError
from lottery_lib.regularizers import MCP, Log
from lottery_lib.theory import bounds, checks, planted, solver
from lottery_lib.theory.checks import SLACK

EACH = 2500  # problems of each of the four kinds: 10,000 in all


@pytest.fixture(scope="module")
def found():
    return checks.run(EACH, 0.1, torch.Generator().manual_seed(11))


def test_no_bound_is_violated(found):
    counts, points = found
    assert len(points) == 2 * 4 * EACH
    totals = counts.groupby("bound")[["checked", "violated"]].sum()
    assert set(totals.index) == {"T1", "T2", "x", "T3", "T3, sharp", "T4", "T5"}
    assert totals.violated.sum() == 0 and totals.checked.min() > 1000


@pytest.mark.parametrize("bound", ["T1", "T2", "x", "T3", "T3, sharp", "T4", "T5"])
def test_a_constant_ten_percent_smaller_is_violated(found, bound):
    counts, _ = found
    assert counts[counts.bound == bound].violated_if_tighter.sum() >= 10


@pytest.mark.parametrize("eps", [0.01, 1.0, 3.0])
def test_nor_is_one_at_another_shape(eps):
    counts, _ = checks.run(200, eps, torch.Generator().manual_seed(1))
    assert counts.violated.sum() == 0


def test_the_sharp_form_asks_only_that_no_entry_falls_far_short():
    """At any number of kept entries: so also where ``assured`` cannot tell it from x."""
    problems = planted.quadratics(2000, 12, False, torch.Generator().manual_seed(2))
    log, lam = Log(0.1), torch.empty(2000, dtype=torch.float64).uniform_(0.05, 0.5, generator=torch.Generator())
    m, done = solver.projected_gradient(problems, log, lam, torch.ones_like(problems.target))
    case = bounds.case(problems, log, lam)
    near = ((problems.target - m).amax(1) <= (1 + log.eps) / 3) & done
    limit = bounds.near(log, case.t, problems.kept())
    apart = bounds.distance(problems, m)
    beyond = near & ~bounds.assured(log, case.x, apart)
    assert beyond.sum() > 300 and (apart <= limit + SLACK)[near].all()


def test_a_cheap_point_need_not_be_stationary():
    """T1 asks for the price alone; and it does not hold for points that cost more."""
    generator = torch.Generator().manual_seed(3)
    problems = planted.quadratics(20_000, 4, True, generator)
    log, lam = Log(0.1), torch.full((20_000,), 0.3, dtype=torch.float64)
    away = 0.4 * torch.rand(problems.target.shape, generator=generator, dtype=torch.float64)
    m = (problems.target - away).abs()
    costs = [solver.objective(problems, log, lam, at) for at in (m, problems.target)]
    above = bounds.distance(problems, m) > bounds.cheap(bounds.case(problems, log, lam), m) + SLACK
    cheap = costs[0] <= costs[1]
    assert cheap.sum() > 100 and not above[cheap].any() and above[~cheap].any()


@pytest.mark.parametrize("t", [0.05, 0.3, 0.6, 0.72])
def test_the_near_branch_is_the_sharp_form(t):
    log = Log(0.1)
    (limit,) = bounds.near(log, torch.tensor([t], dtype=torch.float64), torch.tensor([9.0], dtype=torch.float64))
    assert 3 * (1 - solver.kept_entry(log, t)[-1]) == pytest.approx(limit.item(), rel=1e-12)


def test_small_bias():
    """D₁ and a₁ start as r′(1) x and r′(1) t."""
    for eps in (0.01, 0.1, 1.0):
        first, second = bounds.gap(Log(eps), torch.tensor([1e-6], dtype=torch.float64))
        assert first.item() / 1e-6 == pytest.approx(Log(eps).slope(1), rel=1e-4)
        assert second.item() == pytest.approx(1 + eps, rel=1e-5)
    assert bounds.gap(Log(0.1), torch.tensor([0.9]))[0].isnan()  # no gap


@pytest.mark.parametrize("lam", [1e-3, 0.05, 0.5, 4.0])
def test_the_threshold_is_the_least_of_its_curve(lam):
    lams, strength, log = torch.tensor([lam], dtype=torch.float64), torch.tensor([1.3], dtype=torch.float64), Log(0.1)
    m = torch.linspace(0, 1, 100_001, dtype=torch.float64)
    least = (lam * log.gradient(m) + 1.3 * m).min().item()
    assert bounds.threshold(log, lams, strength).item() == pytest.approx(least, rel=1e-6)
    with pytest.raises(LotteryError, match=r"^MCP\(gamma=1.0\): must be ℓ1 or the logarithm"):
        bounds.threshold(MCP(), lams, strength)


def test_the_window_is_as_wide_as_the_chapter_says():
    for eps in (0.1, 0.01):
        assert Log(eps).slope(0) / Log(eps).slope(1) == pytest.approx((1 + eps) / eps)


def test_recovery_at_its_thresholds():
    target = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    log, lam = Log(0.1), torch.tensor([0.2], dtype=torch.float64)

    def recovers(kept, dead):
        pulls = torch.tensor([[kept, dead]], dtype=torch.float64)
        hessian = torch.eye(2, dtype=torch.float64)[None]
        return bounds.recovers(bounds.case(planted.Quadratic(target, hessian, -pulls), log, lam)).item()

    low, high = 0.2 * log.slope(1), 0.2 * log.slope(0)
    assert recovers(low, high) and not recovers(math.nextafter(low, 0), high)
    assert not recovers(low, math.nextafter(high, 1))
