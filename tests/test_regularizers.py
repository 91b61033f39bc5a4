"""regularizers.py: what every penalty promises, over its whole range of shapes."""

import math
from dataclasses import fields

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lottery_lib.errors import LotteryError
from lottery_lib.regularizers import REGULARIZERS, Log, create

SHAPES = {  # wide, yet not so wide that a curvature is lost in float64
    "l1": st.none(),
    "log": st.floats(1e-3, 1e3),
    "lp": st.floats(0.05, 0.95),
    "mcp": st.floats(1, 100),
    "exponential": st.floats(0.05, 50),
}
BOX = torch.linspace(0, 1, 101, dtype=torch.float64)
every_penalty = pytest.mark.parametrize("name", REGULARIZERS)


def tensor(value):
    return torch.tensor(value, dtype=torch.float64)


def test_every_penalty_has_its_range_of_shapes():
    assert list(SHAPES) == list(REGULARIZERS)


@every_penalty
@given(data=st.data())
def test_from_zero_to_one_increasing_and_concave(name, data):
    r = create(name, data.draw(SHAPES[name]))
    values = r.value(BOX)
    assert values[0] == 0
    assert values[-1] == pytest.approx(1, rel=1e-12)
    assert (values.diff() > 0).all()
    if name == "l1":
        assert torch.equal(values, BOX)
    else:
        assert (values.diff().diff() < 0).all()
        assert (r.gradient(BOX).diff() < 0).all()


@every_penalty
@given(data=st.data())
def test_the_gradient_is_the_derivative(name, data):
    r = create(name, data.draw(SHAPES[name]))
    m = tensor(data.draw(st.lists(st.floats(0, 3), min_size=1, max_size=20))).requires_grad_()  # |w| goes beyond 1
    (derivative,) = torch.autograd.grad(r.penalty(m), m)
    torch.testing.assert_close(r.gradient(m.detach()), derivative, rtol=1e-9, atol=1e-12)


@every_penalty
@given(data=st.data())
def test_the_pull_is_finite_and_strongest_at_zero(name, data):
    r = create(name, data.draw(SHAPES[name]))
    assert math.isfinite(r.slope(0)) and r.slope(0) == r.gradient(tensor([0.0])).item()
    assert r.slope(0) == r.slope(1) == 1 if name == "l1" else r.slope(0) > 1 > r.slope(1) >= 0


@pytest.mark.parametrize(
    "name, shape, m, value",
    [
        ("l1", None, 0.3, 0.3),
        ("log", 0.1, 0.5, math.log(6) / math.log(11)),
        ("log", 1, 0.5, math.log2(1.5)),
        ("lp", 0.5, 0.25, (math.sqrt(0.251) - math.sqrt(0.001)) / (math.sqrt(1.001) - math.sqrt(0.001))),
        ("mcp", 1, 0.5, 0.75),
        ("mcp", 2, 0.5, 0.4375 / 0.75),
        ("mcp", 2, 5, 1 / 0.75),
        ("exponential", 0.2, 0.5, (1 - math.exp(-2.5)) / (1 - math.exp(-5))),
    ],
)
def test_values(name, shape, m, value):
    assert create(name, shape).value(tensor(m)).item() == pytest.approx(value, rel=1e-12)


def test_limits():
    torch.testing.assert_close(create("log", 1e6).value(BOX), BOX, atol=1e-6, rtol=0)
    torch.testing.assert_close(create("exponential", 1e-3).value(BOX[2:]), torch.ones(99).double(), atol=1e-8, rtol=0)


@every_penalty
def test_any_shape_and_precision_is_kept(name):
    r = create(name)
    m = torch.rand(2, 3, 4, generator=torch.Generator().manual_seed(0))
    for result in (r.value(m), r.gradient(m)):
        assert (result.shape, result.dtype) == (m.shape, torch.float32)
    torch.testing.assert_close(r.value(m), r.value(m.double()).float())
    assert r.penalty(m).shape == () and r.penalty(m).item() == pytest.approx(r.value(m).sum().item())


def test_the_shape_is_the_one_field():
    assert create("log") == create("log", 0.1) == Log() != create("log", 0.2)
    for name, cls in REGULARIZERS.items():
        assert isinstance(create(name), cls) and len(fields(cls)) == (name != "l1")


@pytest.mark.parametrize(
    "name, shape, sentence",
    [
        ("lgo", None, "unknown regulariser 'lgo'; did you mean 'log'?"),
        (["log"], None, "unknown regulariser ['log']; did you mean 'log'?"),
        ("dropout", None, "unknown regulariser 'dropout'; known: l1, log, lp, mcp, exponential"),
        ("l1", 0.5, "regulariser 'l1' has no shape parameter; leave out 0.5"),
        ("log", 0, "eps = 0: must be > 0"),
        ("log", -0.1, "eps = -0.1: must be > 0"),
        ("log", math.inf, "eps = inf: must be a finite number"),
        ("lp", 0, "p = 0: must be between 0 and 1, both excluded"),
        ("lp", 1, "p = 1: must be between 0 and 1, both excluded"),
        ("lp", math.nan, "p = nan: must be a finite number"),
        ("mcp", 0.9, "gamma = 0.9: must be ≥ 1"),
        ("mcp", math.inf, "gamma = inf: must be a finite number"),
        ("exponential", 0.0, "s = 0.0: must be > 0"),
        ("exponential", math.nan, "s = nan: must be a finite number"),
    ],
)
def test_refuses(name, shape, sentence):
    with pytest.raises(LotteryError) as error:
        create(name, shape)
    assert str(error.value) == sentence
