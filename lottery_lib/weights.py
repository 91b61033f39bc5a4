"""Which weights of a network a mask covers, and how initial weights are drawn."""

from collections.abc import Callable, Iterable
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.nn.parameter import is_lazy
from torch.nn.utils import prune

from lottery_lib import errors, states
from lottery_lib.errors import LotteryError, hint

FROZEN, PARAMETRIZED = "frozen", "under a parametrization"


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


@torch.no_grad()
def redraw(model: nn.Module, covered: Iterable[str], seed: int) -> None:
    """``initialize``, and with it what other layers draw by their own ``reset_parameters``, as recurrent ones do.

    A ``covered`` weight that neither draws comes from a normal distribution of the mean and deviation that it has.
    Drawn on the CPU.
    """
    own = states.parameters(model)
    before = {name: own[name].clone() for name in covered}
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed those of GPUs, for good
        for module in model.modules():
            reset = "reset_parameters" if hasattr(module, "reset_parameters") else "_reset_parameters"
            if module._parameters and hasattr(module, reset):
                fresh = deepcopy(module).cpu()
                getattr(fresh, reset)()
                for name, parameter in fresh.named_parameters(recurse=False):
                    module.get_parameter(name).copy_(parameter)
        initialize(model, seed)
        for name, old in before.items():
            if torch.equal(own[name], old):
                drawn = torch.randn(old.shape) * float(old.std(correction=0)) + float(old.mean())
                own[name].copy_(drawn)


def prunable(
    model: nn.Module, names: Iterable[str] | None = None, trace: Callable[[], Tensor] | None = None
) -> list[str]:
    """Names of the parameters that a mask covers, in the model's order; biases and normalisation never are.

    By default these are the weights of convolutions, linear and recurrent layers and of attention, but for frozen ones;
    a network with convolutions keeps a last linear layer, the classifier, dense. That is the one nearest the output, a
    number with its graph that ``trace`` is asked for if there are several; without it, or where the graph does not show
    them, the last one registered. For any other choice, as for embeddings, give ``names``. LotteryError if one is
    unknown or if nothing is left to mask.

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
        tied = _weights_of(model, nn.Linear) & _weights_of(model, nn.Embedding, nn.EmbeddingBag)
        linear = [f"{name}.weight".lstrip(".") for name, module in layers if isinstance(module, nn.Linear)]
        convolutions = [f"{name}.weight".lstrip(".") for name, module in layers if isinstance(module, _ConvNd)]
        chosen = {*convolutions, *linear}
        if convolutions and linear:
            hidden = any(name in own and not own[name].requires_grad for name in linear)  # no graph shows it
            ends = chosen | {name for name, each in own.items() if id(each) in tied}  # whichever name it goes by
            last = nearest(trace(), model, ends) if trace and len(linear) > 1 and not hidden else None
            chosen -= {last or linear[-1]} & {*linear}  # no classifier, if a convolution is nearer
        for name, module in layers:
            chosen |= {f"{name}.{each}".lstrip(".") for each in _more(module)}
        chosen -= {name for name, each in own.items() if not each.requires_grad or id(each) in tied}
    else:
        aliases, names = states.parameters(model), set(names)  # of an iterator, gone through once
        for name in sorted(names.difference(aliases)):
            raise LotteryError(f"the model has no parameter {name!r}{hint(name, parameters)}")
        wanted = {id(aliases[name]) for name in names}
        chosen = {name for name, parameter in own.items() if id(parameter) in wanted}  # a tied one by either name
    covered = [name for name in parameters if name in chosen]
    if not covered:
        why = withheld(model, left_dense(model, ()))
        other = f"; {next(iter(why))!r} is {next(iter(why.values()))}" if why else ""
        raise LotteryError(
            "nothing to mask: the model needs convolutions, linear or recurrent layers that are trained; or give names"
            + other
        )
    return covered


def _weights_of(model: nn.Module, *kinds: type[nn.Module]) -> set[int]:
    """The ids of the weights of such layers."""
    return {id(module._parameters.get("weight")) for module in model.modules() if isinstance(module, kinds)}


def require_whole(model: nn.Module) -> None:
    """LotteryError if a network does not have its weights here, each whole and with values."""
    if isinstance(model, torch.jit.ScriptModule):
        raise LotteryError("a scripted network hides its layers; give the one that it was made of")
    shards = any(type(module).__name__ == "FullyShardedDataParallel" for module in model.modules())
    for name, parameter in states.parameters(model).items():
        if name.endswith("_orig") and prune.is_pruned(model):
            raise LotteryError(f"{name[:-5]!r} is under torch.nn.utils.prune; call prune.remove on it first")
        if is_lazy(parameter):
            raise LotteryError(f"{name!r} has no shape yet, as of a lazy layer; call the model on a batch first")
        if parameter.is_meta:
            raise LotteryError(f"{name!r} lies on the meta device, without values; load or draw the weights first")
        if shards or hasattr(parameter, "full_tensor"):
            raise LotteryError(f"{name!r} is sharded, and a mask covers whole weights; take DistributedDataParallel")


def nearest(output: Tensor, model: nn.Module, names: Iterable[str]) -> str | None:
    """The first of these weights on the way back through the graph; of several as near, the last one registered.

    None if the graph does not show them, as under gradient checkpointing.
    """
    names = set(names)
    known = {id(parameter): name for name, parameter in states.parameters(model, tied=False).items() if name in names}
    nodes: list[Any] = [output.grad_fn]
    seen = set(nodes)
    while nodes:
        found = {id(getattr(node, "variable", None)) for node in nodes}
        if reached := [name for number, name in known.items() if number in found]:
            return reached[-1]
        nodes = [step for node in nodes for step, _ in getattr(node, "next_functions", ())]
        nodes = [node for node in dict.fromkeys(nodes) if node is not None and node not in seen]
        seen.update(nodes)
    return None


def _more(module: nn.Module) -> list[str]:
    """The weights of a layer that has its own names for them."""
    own = [name for name, parameter in module.named_parameters(recurse=False) if parameter.ndim >= 2]
    if isinstance(module, (nn.RNNBase, nn.RNNCellBase)):
        return own
    if isinstance(module, nn.MultiheadAttention):
        return [name for name in own if name.endswith("_proj_weight")]
    return own if type(module).__name__ == "Conv1D" else []  # a linear layer of Hugging Face's


def left_dense(model: nn.Module, covered: Iterable[str]) -> list[str]:
    """The names of a model's weights that no mask covers, largest first; vectors, such as biases, do not count."""
    known, own = set(covered), states.parameters(model, tied=False)
    others = [name for name, parameter in own.items() if parameter.ndim >= 2 and name not in known]
    return sorted(others, key=lambda name: -own[name].numel())


def share(model: nn.Module, names: Iterable[str]) -> float:
    """What share of all a model's parameters lies in those of these names, in [0, 1]."""
    own = states.parameters(model, tied=False)
    return sum(own[name].numel() for name in names) / sum(parameter.numel() for parameter in own.values())


def withheld(model: nn.Module, names: Iterable[str]) -> dict[str, str]:
    """Those of the names whose layer a mask would cover, if they were not ``FROZEN``, or ``PARAMETRIZED``."""
    own, layers = states.parameters(model, tied=False), states.modules(model)
    found = {}
    for name in names:
        layer, _, weight = name.rpartition(".")
        plain = isinstance(layers[layer], (_ConvNd, nn.Linear))
        hidden = plain and "weight" not in layers[layer]._parameters  # as by the older weight_norm
        if ".parametrizations." in name or hidden:
            found[name] = PARAMETRIZED
        elif (plain or weight in _more(layers[layer])) and not own[name].requires_grad:
            found[name] = FROZEN
    return found


def layer(name: str) -> str:
    """The layer that a weight of that name is of, as ``conv1`` of ``conv1.weight``."""
    return name.removesuffix(".weight")


def count(model: nn.Module) -> int:
    """How many entries all weights of a model have, covered or not."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.ndim >= 2)


def is_identity(weight: Tensor) -> bool:
    """Whether a weight begins as ``nn.init.eye_`` or ``dirac_`` has it, times a number, or several of them stacked."""
    row, column, *inner = weight.nonzero(as_tuple=True)
    if len(row) < min(weight.shape[:2]) or not (row % weight.shape[1] == column).all():
        return False
    central = all((place == size // 2).all() for place, size in zip(inner, weight.shape[2:]))
    entries = weight[weight != 0]
    return central and bool((entries == entries[0]).all())
