"""A network's parameters and state by the names of the plain network, whatever is wrapped around it or its parts.

``torch.compile`` and ``DataParallel`` put a part of their own into every name (``_orig_mod.``, ``module.``). Without it
a ticket that was found on the wrapped network fits the plain one, and the other way round.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

import torch
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


class Buffers:
    """A network's buffers as they are now, to be put back however it makes, replaces or enlarges some as it runs.

    So caches do, as of rotary embeddings; what a network counts may be in no ``state``.
    """

    def __init__(self, model: nn.Module):
        self.kept = {
            name: [
                (each, buffer, None if buffer is None else buffer.detach().clone(), each not in unsaved)
                for each, buffer in module._buffers.items()
            ]
            for name, module in modules(model).items()
            for unsaved in [module._non_persistent_buffers_set]
        }

    @torch.no_grad()
    def restore(self, model: nn.Module) -> None:
        """Put them back; those of modules that are new stay."""
        for name, module in modules(model).items():
            kept = self.kept.get(name)
            if kept is None:
                continue
            for made in [*module._buffers.keys() - {each for each, *_ in kept}]:
                delattr(module, made)
            for each, buffer, value, persistent in kept:
                now = module._buffers.get(each)
                if now is None or value is None or now is not buffer or now.shape != value.shape:
                    at = None if now is None else now.device  # where the network lies by now
                    module.register_buffer(each, None if value is None else value.to(at, copy=True), persistent)
                else:
                    now.copy_(value)


class Snapshot(dict[str, Any]):
    """A copy of a ``state`` that knows the buffers there were, with those that are in no ``state``."""

    buffers: Buffers


def snapshot(model: nn.Module) -> Snapshot:
    """A copy of the ``state``, to be loaded again."""
    found = Snapshot(
        (name, value.detach().clone() if isinstance(value, Tensor) else deepcopy(value))
        for name, value in state(model).items()
    )
    found.buffers = Buffers(model)
    return found


def make_buffers(model: nn.Module, found: Mapping[str, Tensor]) -> None:
    """Make, of the sizes in a ``state``, the buffers that a network makes or enlarges only as it runs."""
    owners, own = modules(model), state(model)
    for name, value in found.items():
        owner, _, each = name.rpartition(".")
        if (module := owners.get(owner)) is None:
            continue
        now = module._buffers.get(each)
        other = each in module._buffers and (now is None or now.shape != value.shape)
        if other or (name not in own and not hasattr(module, each)):
            at = next(model.parameters()).device if now is None else now.device
            module.register_buffer(each, value.to(at, copy=True))


def load(model: nn.Module, found: Mapping[str, Any]) -> None:
    """Load a ``state``; what it lacks beside tensors stays as it is, and modules see the version that they wrote."""
    if isinstance(found, Snapshot):
        found.buffers.restore(model)
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
