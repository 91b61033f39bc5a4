"""A network's parameters and state by the names of the plain network, whatever is wrapped around it or its parts.

``torch.compile`` and ``DataParallel`` put a part of their own into every name (``_orig_mod.``, ``module.``). Without it
a ticket that was found on the wrapped network fits the plain one, and the other way round.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel


def parameters(model: nn.Module, tied: bool = True) -> dict[str, nn.Parameter]:
    """Plain name -> parameter, in the model's order; ``tied`` ones under each of their names, or under the first."""
    plain = _plain(model)
    return {plain(name): parameter for name, parameter in model.named_parameters(remove_duplicate=not tied)}


def modules(model: nn.Module) -> dict[str, nn.Module]:
    """Plain name -> module, the wrappers left out."""
    plain = _plain(model)
    return {plain(name): module for name, module in model.named_modules() if not _inside(module)}


def state(model: nn.Module) -> dict[str, Any]:
    """The model's ``state_dict`` by plain names; what a module keeps there beside tensors is whatever it is."""
    plain = _plain(model)
    return {plain(name): value for name, value in model.state_dict().items()}


def tensors(model: nn.Module) -> dict[str, Tensor]:
    """The tensors of ``state``."""
    return {name: value for name, value in state(model).items() if isinstance(value, Tensor)}


def snapshot(model: nn.Module) -> dict[str, Any]:
    """A copy of the ``state``, to be loaded again."""
    return {
        name: value.detach().clone() if isinstance(value, Tensor) else deepcopy(value)
        for name, value in state(model).items()
    }


def load(model: nn.Module, found: Mapping[str, Any]) -> None:
    """Load a ``state``; what it lacks beside tensors stays as it is, and modules see the version that they wrote."""
    plain, own = _plain(model), model.state_dict()
    names = {plain(name): name for name in own}
    kept = {name: value for name, value in own.items() if not isinstance(value, Tensor)}
    given: Any = OrderedDict(kept | {names.get(name, name): value for name, value in found.items()})
    given._metadata = getattr(own, "_metadata", None)
    model.load_state_dict(given)


def versions(model: nn.Module) -> dict[str, Any]:
    """What modules wrote beside their state, ``_metadata`` of a ``state_dict``, by plain names."""
    plain = _plain(model)
    return {plain(name): version for name, version in getattr(model.state_dict(), "_metadata", {}).items()}


def _inside(module: nn.Module) -> str | None:
    """Where a wrapper holds what it wraps."""
    if isinstance(module, (nn.DataParallel, DistributedDataParallel)):
        return "module"
    return "_orig_mod" if type(module).__name__ == "OptimizedModule" else None


def _plain(model: nn.Module) -> Callable[[str], str]:
    """What turns a name in the model into that in the plain network."""
    found = [(name, inside) for name, module in model.named_modules() if (inside := _inside(module))]
    cut = {f"{name}.{inside}".lstrip(".") for name, inside in found}

    def plain(name: str) -> str:
        parts = name.split(".")
        return ".".join(part for at, part in enumerate(parts) if ".".join(parts[: at + 1]) not in cut)

    return plain if cut else str
