"""modes.py: layers that a reader has set to evaluation or frozen stay so, in training and after a look."""

import pytest
import torch
from torch import nn
from toy import RECIPE, convnet, copied, digits, same_bits

from lottery_lib.errors import LotteryError
from lottery_lib.methods import concave, saliency
from lottery_lib.training.evaluation import evaluate
from lottery_lib.training.loop import train


def frozen():
    """A network whose first normalisation keeps the statistics it has."""
    model = convnet()
    norm = next(module for module in model.modules() if isinstance(module, nn.BatchNorm2d))
    norm.eval()
    norm.running_mean.fill_(0.25)
    norm.weight.requires_grad_(False)
    return model, norm


@pytest.mark.parametrize("work", [False, True])
def test_a_layer_in_evaluation_mode_stays_so(work, tmp_path):
    model, norm = frozen()
    train(model, digits(), RECIPE, work=tmp_path if work else None)
    assert model.training and not norm.training and (norm.running_mean == 0.25).all() and (norm.weight == 1).all()
    others = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d) and module is not norm]
    assert all(module.training and module.running_mean.any() for module in others)


def test_searches_and_evaluation_leave_the_modes_alone():
    model, norm = frozen()
    concave.search(model, digits(), concave.Config(recipe=RECIPE, density=0.3, lam=1e-4))
    assert not norm.training and (norm.running_mean == 0.25).all()
    saliency.search(*frozen()[:1], digits(), saliency.Config(recipe=RECIPE, density=0.3))
    evaluate(model, digits().val)
    assert [module.training for module in model.modules()].count(False) == 1


def test_a_network_in_evaluation_mode_is_trained_as_ever():
    model, plain = convnet().eval(), convnet()
    train(model, digits(), RECIPE)
    train(plain, digits(), RECIPE)
    assert same_bits(copied(model.state_dict()), copied(plain.state_dict()))
    assert all(module.training for module in model.modules())


def test_what_is_frozen_tells_trainings_apart(tmp_path):
    states = []
    for freeze in (False, True):
        model = convnet()
        bias = model.classifier.bias.requires_grad_(not freeze)
        train(model, digits(), RECIPE, work=tmp_path)
        states.append(bias.detach().clone())
    assert states[0].any() and not states[1].any() and len(list(tmp_path.iterdir())) == 2


def test_an_evaluation_that_fails_leaves_the_modes_alone():
    model, norm = frozen()
    with pytest.raises(LotteryError, match="^the split cannot be evaluated: RuntimeError: The size of tensor a"):
        evaluate(model, digits().val, loss=lambda *_: torch.zeros(2) + torch.zeros(3))
    assert model.training and not norm.training
