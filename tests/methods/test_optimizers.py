"""methods/optimizers.py: a mask sees the gradients themselves, and an optimiser that will not do is named."""

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from lottery_lib import masks
from lottery_lib.errors import LotteryError
from lottery_lib.methods import concave

INPUTS = torch.randn(64, 6, generator=torch.Generator().manual_seed(0))
LABELS = (INPUTS[:, 0] > 0).long()


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 2))


def found(kind, steps=40, scale=None, infinite=(), **given):
    """The relaxed mask after some steps on one batch, whose gradient is not finite in some of them."""
    model = network()
    optimizer = kind(model.parameters())
    scaler = torch.amp.GradScaler("cpu", init_scale=scale or 1.0, enabled=scale is not None)
    search = concave.attach(model, optimizer, steps=steps, density=0.2, **given)
    for step in range(steps):
        optimizer.zero_grad()
        scaler.scale(cross_entropy(model(INPUTS), LABELS)).backward()
        if step in infinite:
            model[0].weight.grad[0, 0] = torch.inf
        scaler.step(optimizer)
        scaler.update()
    return search


def fused(parameters):
    return torch.optim.Adam(parameters, 1e-2, fused=True)


def test_a_fused_optimiser_that_unscales_by_itself_gives_the_mask_no_scaled_gradient():
    plain, scaled = (found(fused, scale=scale, lam=1e-3) for scale in (None, 2.0**14))
    assert all(map(torch.equal, plain.rule.m, scaled.rule.m)) and all(
        map(torch.equal, plain.rule.theta, scaled.rule.theta)
    )
    skipping = found(fused, scale=2.0**14, infinite=(3, 9), lam=1e-3)
    assert skipping.step == 38 and all(m.isfinite().all() for m in skipping.rule.m)


class Twice(torch.optim.SGD):
    """Evaluates the loss again at the weights it has moved to, and goes back."""

    def __init__(self, parameters, asked=2, moves=False):
        super().__init__(parameters, 0.1)
        self.asked, self.moves = asked, moves

    @torch.no_grad()
    def step(self, closure=None):
        for weight in self.param_groups[0]["params"] if self.moves else ():
            weight.add_(0.05)
        for _ in range(self.asked):
            closure()
        for weight in self.param_groups[0]["params"] if self.moves else ():
            weight.sub_(0.05)
        super().step()


@pytest.mark.parametrize(
    "given, sentence",
    [
        ({}, "^Twice evaluates the loss several times a step; attach to a first-order optimiser"),
        ({"asked": 1, "moves": True}, "^Twice moves the weights before it evaluates the loss; attach to a first-order"),
    ],
)
def test_an_optimiser_that_looks_ahead_is_told_in_its_first_step(given, sentence):
    model = network()
    optimizer = Twice(model.parameters(), **given)
    concave.attach(model, optimizer, steps=10)

    def closure():
        with torch.enable_grad():
            cross_entropy(model(INPUTS), LABELS).backward()

    with pytest.raises(LotteryError, match=sentence):
        optimizer.step(closure)


@pytest.mark.parametrize(
    "make, sentence",
    [
        (lambda model: torch.optim.SGD(model.parameters(), 0.1, maximize=True), "^the optimiser maximises, and a mask"),
        (lambda model: torch.optim.SparseAdam(model.parameters()), "^SparseAdam takes sparse gradients only"),
        (lambda model: model, "^Sequential is no torch.optim.Optimizer, whose step"),
    ],
)
def test_what_will_not_do_is_told_when_attached(make, sentence):
    model = network()
    with pytest.raises(LotteryError, match=sentence):
        concave.attach(model, make(model), steps=10)


def test_a_search_is_attached_to_the_optimiser_itself_whatever_wraps_it():
    accelerate = pytest.importorskip("accelerate")
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    wrapped = accelerate.Accelerator(cpu=True).prepare(optimizer)
    search = concave.attach(model, wrapped, steps=10)
    cross_entropy(model(INPUTS), LABELS).backward()
    wrapped.step()
    assert search.step == 1


def test_gradients_may_be_sparse():
    torch.manual_seed(0)
    model = nn.Sequential(nn.EmbeddingBag(20, 8, sparse=True), nn.Linear(8, 3))
    optimizer = torch.optim.SGD(model.parameters(), 0.5)
    search = concave.attach(model, optimizer, steps=100, density=0.5, lam=1e-3, names=("0.weight", "1.weight"))
    for _ in range(100):
        words = torch.randint(20, (16, 5))
        optimizer.zero_grad()
        cross_entropy(model(words), words[:, 0] % 3).backward()
        optimizer.step()
    assert masks.density(search.ticket().mask) == pytest.approx(0.5, abs=0.01)
