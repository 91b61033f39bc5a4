"""Which weights of a network a mask covers, and how initial weights are drawn."""

from collections.abc import Iterable

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from lottery_lib.errors import LotteryError, hint


@torch.no_grad()
def initialize(model: nn.Module, seed: int) -> None:
    """Draw θ₀ in place: weights of convolutions from N(0, 2 / fan_in) (He et al. 2015), those of linear layers from
    N(0, 2 / (fan_in + fan_out)) (Glorot & Bengio 2010, as for LeNet in Frankle & Carbin 2019), their biases 0, batch
    normalisation reset; other parameters stay. Drawn on the CPU: one ``seed`` means the same bits on every device."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, (_ConvNd, nn.Linear)):
            weight = torch.empty(module.weight.shape)
            if isinstance(module, nn.Linear):
                nn.init.xavier_normal_(weight, generator=generator)
            else:
                nn.init.kaiming_normal_(weight, nonlinearity="relu", generator=generator)
            module.weight.copy_(weight)
            if module.bias is not None:
                module.bias.zero_()
        elif isinstance(module, _BatchNorm):
            module.reset_parameters()


def prunable(model: nn.Module, names: Iterable[str] | None = None) -> list[str]:
    """Names of the parameters that a mask covers, in the model's order; biases and normalisation never are.

    By default these are the weights of convolutions and linear layers; a network with convolutions keeps its last
    linear layer, the classifier, dense. For any other choice give ``names``. LotteryError if one is unknown or if
    nothing is left to mask.

    >>> from torch import nn
    >>> from lottery_lib import weights
    >>> model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.Flatten(), nn.Linear(288, 10))
    >>> weights.prunable(model)
    ['0.weight']
    >>> weights.prunable(model, names=["0.weight", "2.weight"])
    ['0.weight', '2.weight']
    """
    parameters = [name for name, _ in model.named_parameters()]  # a shared parameter has one name here
    if names is None:
        layers = [(f"{name}.weight".lstrip("."), module) for name, module in model.named_modules()]
        linear = [name for name, module in layers if isinstance(module, nn.Linear)]
        convolutions = [name for name, module in layers if isinstance(module, _ConvNd)]
        chosen = {*convolutions, *(linear[:-1] if convolutions else linear)}
    else:
        chosen = set(names)
        for name in sorted(chosen.difference(parameters)):
            raise LotteryError(f"the model has no parameter {name!r}{hint(name, parameters)}")
    covered = [name for name in parameters if name in chosen]
    if not covered:
        raise LotteryError("nothing to mask: the model needs convolutions or linear layers, or names must be given")
    return covered
