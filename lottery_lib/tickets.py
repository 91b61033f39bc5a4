"""A ticket: a mask, the state its kept weights are rewound to, and how both were found; saved as one safetensors file.

The exports turn a ticket's mask into what other tools read. None of them makes a network faster by itself: zeros that
follow no structure do not speed up dense kernels, and sparse ones pay only at densities of a few percent or below.
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from itertools import zip_longest
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvTransposeNd
from torch.nn.utils import prune

from lottery_lib import errors, masks, states, ticket_files
from lottery_lib.errors import LotteryError
from lottery_lib.masks import Mask
from lottery_lib.provenance import provenance
from lottery_lib.weights import count, require_whole


@dataclass(frozen=True, eq=False, repr=False)
class Ticket:
    """A mask and what belongs to it. It keeps copies of the tensors on the CPU: later training does not reach them.

    A mask that was found elsewhere becomes one by ``Ticket.of``.

    Args:
        mask: Name -> bool tensor, True where the weight is kept.
        rewind: The tensors of the ``state_dict`` that the kept weights are rewound to.
        config: How the ticket was found, JSON-able as the next two are.
        provenance: With what versions, and where.
        architecture: What ``architecture(model)`` returned for the network.
        search_epochs: Training epochs spent up to the mask.
        seed: Of the search.
        relaxed: Name -> values m in [0, 1] before thresholding; saved on request only.
        info: Any remarks; what they are depends on the method.
        state_sha256: Of the rewind state, from which it is computed.

    Raises:
        LotteryError: mask, state and architecture do not belong together.

    >>> from lottery_lib import Ticket, controls, load, models
    >>> data = load("digits")
    >>> model = models.create("lenet-300-100", data.classes, data.shape, width=0.1)
    >>> ticket = controls.search(model, data, controls.Config(density=0.2))
    >>> ticket.save("ticket.safetensors")
    >>> Ticket.load("ticket.safetensors")
    Ticket(density=0.2, layers=3, search_epochs=0)
    >>> ticket.apply(model)
    >>> int((model.fc1.weight != 0).sum()) == int(ticket.mask["fc1.weight"].sum())
    True
    """

    mask: Mask
    rewind: dict[str, Tensor]
    config: dict
    provenance: dict
    architecture: dict
    search_epochs: float
    seed: int | None = None
    relaxed: dict[str, Tensor] | None = None
    info: dict = field(default_factory=dict)
    state_sha256: str | None = None

    def __post_init__(self) -> None:
        if "layout" not in self.architecture:
            raise LotteryError("the architecture has no layout; Ticket.of(model, mask) makes a ticket of a mask")
        masks.validate(self.mask, self.architecture["layout"])
        for name in ("mask", "rewind", "relaxed"):
            if (tensors := getattr(self, name)) is not None:
                kept = {key: _copy(tensor) for key, tensor in tensors.items() if isinstance(tensor, Tensor)}
                object.__setattr__(self, name, kept)
        if self.relaxed is not None:
            _require_layout(masks.shapes(self.mask), masks.shapes(self.relaxed), "the relaxed mask")
        _require_layout(self.architecture["layout"], masks.shapes(self.rewind), "the rewind state")
        object.__setattr__(self, "state_sha256", ticket_files.sha256(self.rewind))

    @classmethod
    def of(cls, model: nn.Module, mask: Mask) -> "Ticket":
        """A mask that was found elsewhere, on a model whose weights, as they are now, are those to rewind to.

        LotteryError as ``masks.validate``.

        >>> import torch
        >>> from lottery_lib import Ticket
        >>> mask = {"weight": torch.tensor([[True, False, False, True]])}
        >>> Ticket.of(torch.nn.Linear(4, 1), mask)
        Ticket(density=0.5, layers=1, search_epochs=0)
        """
        errors.require("model", model, nn.Module, "a torch.nn.Module")
        masks.validate(mask, model)
        made = provenance(next(model.parameters()).device)
        return cls(mask, states.snapshot(model), {}, made, architecture(model), 0, info={"weights": count(model)})

    def __repr__(self) -> str:
        shown = f"density={self.density:.4g}"
        if self.overall_density not in (None, self.density):
            shown += f", overall_density={self.overall_density:.4g}"
        return f"Ticket({shown}, layers={len(self.mask)}, search_epochs={self.search_epochs:g})"

    @property
    def density(self) -> float:
        """The share of the covered weights that is kept."""
        return masks.density(self.mask)

    @property
    def overall_density(self) -> float | None:
        """The share of all weights that is kept, with those that no mask covers; None if a search counted no weight.

        Biases and other vectors are no weights here, even where a mask covers them.
        """
        if not (weights := self.info.get("weights")):
            return None
        pruned = sum(int((~m).sum()) for m in self.mask.values() if m.ndim >= 2)
        return (weights - pruned) / weights

    def state(self) -> dict[str, Tensor]:
        """A copy of the rewind state θ₀, dense."""
        return {name: tensor.clone() for name, tensor in self.rewind.items()}

    def apply(self, model: nn.Module) -> None:
        """Rewind ``model`` and prune it, in place: its weights are θ₀ ⊙ mask bit for bit, the rest is as in ``state``.

        LotteryError, with the model untouched, if it has another architecture.
        """
        errors.require("model", model, nn.Module, "a torch.nn.Module")
        require_whole(model)
        _require_layout(self.architecture["layout"], architecture(model)["layout"], "the model")
        masks.validate(self.mask, model)
        states.load(model, self.rewind)
        masks.apply_(model, self.mask)
        model.zero_grad(set_to_none=True)  # of other weights

    def save(self, path: str | Path, relaxed: bool = False) -> None:
        """Write the ticket to ``path``, all or nothing; ``relaxed`` adds the values before thresholding.

        A link stays one: the file that it leads to is written. LotteryError if config, provenance or info are not
        JSON-able, a tensor holds NaN, ``path`` has a pickle's suffix, is a device or cannot be written.
        """
        path = _path(path)
        ticket_files.refuse_pickle(path)
        parts = {"state": self.rewind, "relaxed": self.relaxed if relaxed else None}
        tensors = {f"{part}/{name}": t for part, of in parts.items() for name, t in (of or {}).items()}
        tensors["mask"] = torch.from_numpy(masks.pack(self.mask))
        ticket_files.write(
            path, tensors, {item.name: getattr(self, item.name) for item in fields(self)} | {"mask": list(self.mask)}
        )

    @classmethod
    def load(cls, path: str | Path) -> "Ticket":
        """The ticket saved at ``path``; no code in it is ever run.

        LotteryError if the file is missing, damaged, of a newer format, or not in all its parts a ticket.
        """
        path = _path(path)
        found, tensors = ticket_files.read(path)
        layout, names = found["architecture"]["layout"], found.pop("mask")
        state, relaxed = (
            {name: tensors[f"{part}/{name}"] for name in layout if f"{part}/{name}" in tensors}
            for part in ("state", "relaxed")
        )
        try:
            mask = masks.unpack(tensors["mask"].numpy(), {name: layout[name] for name in names})
            return cls(mask=mask, rewind=state, relaxed=relaxed or None, **found)
        except LotteryError as reason:
            raise ticket_files.broken(path, reason) from None


def architecture(model: nn.Module) -> dict:
    """What identifies a network, as a JSON-able dict: ``layout`` (name -> shape of every tensor in its state, in
    order), and the ``sha256`` of that. Names are those of the plain network, where it is wrapped.
    """
    layout = {name: list(tensor.shape) for name, tensor in _state(model).items()}
    return {"sha256": ticket_files.digest(layout), "layout": layout}


def to_state_dict(model: nn.Module | Mapping[str, Tensor], mask: Mask) -> dict[str, Tensor]:
    """A copy of a model's state (or of a given one) with 0 where ``mask`` prunes, under all names of a tied weight.

    Its tensors are dense: it loads into the plain model and runs no faster. LotteryError as ``masks.validate``.

    >>> import torch
    >>> from lottery_lib import to_state_dict
    >>> mask = {"weight": torch.tensor([[True, False, True]])}
    >>> to_state_dict({"weight": torch.tensor([[1.0, 2.0, 3.0]])}, mask)
    {'weight': tensor([[1., 0., 3.]])}
    """
    state = _state(model)
    masks.validate(mask, masks.shapes(state))
    kept = {_memory(state[name]): m for name, m in mask.items()}
    pruned = {name: ~kept[_memory(t)].to(t.device) for name, t in state.items() if _memory(t) in kept}
    found: Any = OrderedDict() if isinstance(model, nn.Module) else {}
    for name, t in state.items():
        found[name] = t.detach().masked_fill(pruned[name], 0) if name in pruned else t.detach().clone()
    if isinstance(model, nn.Module):
        found._metadata = states.versions(model)
    return found


def to_prune(model: nn.Module, mask: Mask) -> None:
    """Hand ``mask`` over to ``torch.nn.utils.prune``, in place: each weight becomes ``weight_orig`` and the buffer
    ``weight_mask``, multiplied when its own module runs; so it is not for training ``nn.MultiheadAttention``, which
    reads the weight of its ``out_proj`` without running it. Dense kernels again. LotteryError as ``masks.validate``.

    >>> import torch
    >>> from lottery_lib import to_prune
    >>> mask = {"weight": torch.tensor([[True, False, True]])}
    >>> model = torch.nn.Linear(3, 1)
    >>> to_prune(model, mask)
    >>> model.weight_mask
    tensor([[1., 0., 1.]])
    """
    errors.require("model", model, nn.Module, "a torch.nn.Module")
    masks.validate(mask, model)
    own = states.parameters(model)
    kept = {own[name]: m for name, m in mask.items()}
    for name, parameter in [*model.named_parameters(remove_duplicate=False)]:  # tied weights stay tied
        if parameter in kept:
            module, _, attribute = name.rpartition(".")
            prune.custom_from_mask(model.get_submodule(module), attribute, kept[parameter].to(parameter.device))


def to_csr(model: nn.Module | Mapping[str, Tensor], mask: Mask) -> dict[str, Tensor]:
    """Each masked weight as a ``torch.sparse_csr`` matrix (out, rest) of its kept, non-zero entries.

    A convolution's (out, in, height, width) is flattened to (out, in * height * width), the matrix that multiplies
    unfolded patches. A transposed one's, and that of Hugging Face's ``Conv1D``, which PyTorch has as (in, out, …), are
    turned first; of a state alone nobody can tell them, and its first dimension counts as out. LotteryError as
    ``masks.validate``.

    >>> import torch
    >>> from lottery_lib import to_csr
    >>> mask = {"weight": torch.tensor([[True, False, True]])}
    >>> to_csr({"weight": torch.tensor([[1.0, 2.0, 3.0]])}, mask)["weight"].values()
    tensor([1., 3.])
    """
    state = to_state_dict(model, mask)
    layers = states.modules(model) if isinstance(model, nn.Module) else {}
    found = {name: _out_first(state[name], layers.get(name.rpartition(".")[0])) for name in mask}
    return {name: weight.flatten(1).to_sparse_csr() for name, weight in found.items()}


def _path(path: Any) -> Path:
    if not isinstance(path, (str, PathLike)):
        raise LotteryError(f"path is of type {type(path).__name__}; must be a file's, as 'ticket.safetensors'")
    return Path(path)


def _out_first(weight: Tensor, layer: nn.Module | None) -> Tensor:
    """A layer's weight as (out, in / groups, …)."""
    if isinstance(layer, _ConvTransposeNd):
        of_group = weight.unflatten(0, (layer.groups, -1))  # (groups, in / groups, out / groups, …)
        return of_group.transpose(1, 2).flatten(0, 1)
    if type(layer).__name__ == "Conv1D":
        return weight.T
    return weight if weight.ndim > 1 else weight.unsqueeze(1)


def _state(model: nn.Module | Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    state = states.tensors(model) if isinstance(model, nn.Module) else model
    errors.require("model", state, Mapping, "a torch.nn.Module, or its state_dict()")
    for name, value in state.items():
        if not isinstance(value, Tensor):
            raise LotteryError(f"the model's state {name!r} is a {type(value).__name__}; a ticket holds tensors only")
    return state


def _require_layout(ticket: Mapping[str, Any], other: Mapping[str, Any], what: str) -> None:
    """LotteryError that names the first difference between two layouts, which are equal in order as well."""
    for ours, theirs in zip_longest(ticket.items(), other.items()):
        if ours is None or theirs is None or (ours[0], tuple(ours[1])) != (theirs[0], tuple(theirs[1])):
            ours, theirs = (f"{x[0]!r} of shape {tuple(x[1])}" if x else "nothing more" for x in (ours, theirs))
            raise LotteryError(f"wrong architecture: where the ticket has {ours}, {what} has {theirs}")


def _copy(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)


def _memory(tensor: Tensor) -> tuple[int, torch.Size]:
    """What tied weights have in common."""
    return tensor.data_ptr(), tensor.shape
