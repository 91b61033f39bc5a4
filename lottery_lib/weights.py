"""Which weights of a network a mask covers, and how initial weights are drawn."""

from collections.abc import Iterable

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from lottery_lib import errors, states
from lottery_lib.errors import LotteryError, hint


@torch.no_grad()
def initialize(model: nn.Module, seed: int) -> None:
    """Draw θ₀ in place: weights of convolutions from N(0, 2 / fan_in) (He et al. 2015), those of linear layers from
    N(0, 2 / (fan_in + fan_out)) (Glorot & Bengio 2010, as for LeNet in Frankle & Carbin 2019), their biases 0, batch
    normalisation reset; other parameters stay. Drawn on the CPU: one ``seed`` means the same bits on every device."""
    generator = torch.Generator().manual_seed(errors.seed(seed))
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

    By default these are the weights of convolutions, linear and recurrent layers and of attention, but for frozen ones;
    a network with convolutions keeps its last linear layer, the classifier, dense. For any other choice, as for
    embeddings, give ``names``. LotteryError if one is unknown or if nothing is left to mask.

    >>> from torch import nn
    >>> from lottery_lib import weights
    >>> model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.Flatten(), nn.Linear(288, 10))
    >>> weights.prunable(model)
    ['0.weight']
    >>> weights.prunable(model, names=["0.weight", "2.weight"])
    ['0.weight', '2.weight']
    """
    own = states.parameters(model, tied=False)
    parameters = [*own]  # a shared parameter has one name here
    if names is None:
        layers = states.modules(model).items()
        linear = [f"{name}.weight".lstrip(".") for name, module in layers if isinstance(module, nn.Linear)]
        convolutions = [f"{name}.weight".lstrip(".") for name, module in layers if isinstance(module, _ConvNd)]
        chosen = {*convolutions, *(linear[:-1] if convolutions else linear)}
        for name, module in layers:
            chosen |= {f"{name}.{each}".lstrip(".") for each in _more(module)}
        chosen -= {name for name, parameter in own.items() if not parameter.requires_grad}
    else:
        chosen = set(names)
        for name in sorted(chosen.difference(parameters)):
            raise LotteryError(f"the model has no parameter {name!r}{hint(name, parameters)}")
    covered = [name for name in parameters if name in chosen]
    if not covered:
        raise LotteryError(
            "nothing to mask: the model needs convolutions, linear or recurrent layers that are trained; or give names"
        )
    return covered


def _more(module: nn.Module) -> list[str]:
    """The weights of a layer that has its own names for them."""
    own = [name for name, parameter in module.named_parameters(recurse=False) if parameter.ndim >= 2]
    if isinstance(module, (nn.RNNBase, nn.RNNCellBase)):
        return own
    if isinstance(module, nn.MultiheadAttention):
        return [name for name in own if name.endswith("_proj_weight")]
    return own if type(module).__name__ == "Conv1D" else []  # a linear layer of Hugging Face's


def left_dense(model: nn.Module, covered: Iterable[str]) -> tuple[float, list[str]]:
    """The share of all a model's parameters that lie in weights which no mask covers, and their names, largest first.

    Vectors, as biases and normalisation have, are no weights here.
    """
    known, own = set(covered), states.parameters(model, tied=False)
    sizes = {name: parameter.numel() for name, parameter in own.items()}
    others = [name for name, parameter in own.items() if parameter.ndim >= 2 and name not in known]
    return sum(sizes[name] for name in others) / sum(sizes.values()), sorted(others, key=lambda name: -sizes[name])
