"""methods/feedback.py: each controller raises λ while the mask is denser than its target, and lowers it after."""

import pytest
import torch
from torch import nn

from lottery_lib.errors import LotteryError
from lottery_lib.methods import feedback
from lottery_lib.regularizers import Log


def lams(controller, density_now, steps=400):
    """λ after each step, of a mask that is held at a density whatever λ does."""
    model = nn.Linear(100, 1, bias=False)
    rule = feedback.FeedbackMask(model, ["weight"], Log(), 20, steps, controller=controller)
    found = []
    for _ in range(steps):
        rule.m[0].zero_()
        rule.m[0][0, : round(100 * density_now)] = 1.0
        model.weight.grad = -1e-4 * torch.ones(1, 100)
        rule.pull_back()
        found.append(rule.lam)
    return found


@pytest.mark.parametrize("controller", feedback.GAINS)
def test_the_price_rises_above_the_target_and_falls_below_it(controller):
    dense, right, sparse = (lams(controller, density)[300:] for density in (0.5, 0.2, 0.1))
    assert dense[-1] > dense[0] > 0
    assert sparse[-1] <= sparse[0] < dense[0]
    assert right[-1] == pytest.approx(right[0])  # where the target is met, it stays


@pytest.mark.parametrize(
    "fields, wrong",
    [
        ({"controller": "dula"}, "unknown controller 'dula'.*dual"),
        ({"controller": ["dual"]}, "unknown controller .*dual"),
        ({"lam": 1e-4}, "feedback sets it"),
    ],
)
def test_bad_configs_are_refused(fields, wrong):
    with pytest.raises(LotteryError, match=wrong):
        feedback.Config(**fields)
