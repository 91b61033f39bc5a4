"""A mask says which weights are kept: a dict from parameter name to a bool tensor of that parameter's shape.

Its layers come in the model's order, and positions in a mask are counted through the layers in that order. Scores and
relaxed values are dicts of float tensors with the same names and shapes. Results lie on the device of what goes in.
"""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from lottery_lib import errors, states
from lottery_lib.errors import LotteryError, hint
from lottery_lib.weights import prunable

if TYPE_CHECKING:
    import pandas as pd

Mask = dict[str, Tensor]
Shapes = Mapping[str, Sequence[int]]
LOW, HIGH = 0.05, 0.95  # an entry of a relaxed mask between them is undecided


def ones(model: nn.Module, names: Iterable[str] | None = None) -> Mask:
    """The mask that keeps all weights of ``weights.prunable(model, names)``; LotteryError as there.

    >>> from torch import nn
    >>> from lottery_lib import masks
    >>> mask = masks.ones(nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2)))
    >>> masks.shapes(mask)
    {'0.weight': torch.Size([3, 4]), '1.weight': torch.Size([2, 3])}
    """
    own = states.parameters(model)
    return {name: torch.ones_like(own[name], dtype=torch.bool) for name in prunable(model, names)}


def shapes(tensors: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    """The shape of each tensor, by its name."""
    return {name: tensor.shape for name, tensor in tensors.items()}


def threshold(scores: Mapping[str, Tensor], alpha: float) -> Mask:
    """Keep the weights with score >= ``alpha``. LotteryError if a score is NaN.

    >>> import torch
    >>> from lottery_lib import masks
    >>> masks.threshold({"weight": torch.tensor([0.0, 0.3, 0.9])}, alpha=0.5)
    {'weight': tensor([False, False,  True])}
    """
    _refuse_nan(scores)
    return {name: score >= alpha for name, score in scores.items()}


def top_k(scores: Mapping[str, Tensor], density: float, within: Mask | None = None, per_layer: bool = False) -> Mask:
    """Keep exactly k = round(density * d) of the d weights, at least one: those of the highest scores.

    Of equal scores the first positions are kept. What an earlier mask ``within`` pruned stays pruned, whatever its
    score; ``density`` still refers to all d weights. With ``per_layer``, every layer is cut to that density by itself.
    LotteryError if the density is not in (0, 1], a score is NaN, or ``within`` has fewer than k weights left.

    >>> import torch
    >>> from lottery_lib import masks
    >>> scores = {"one": torch.tensor([0.9, 0.8]), "two": torch.tensor([0.7, 0.1])}
    >>> masks.top_k(scores, density=0.5)
    {'one': tensor([True, True]), 'two': tensor([False, False])}
    >>> masks.top_k(scores, density=0.5, per_layer=True)
    {'one': tensor([ True, False]), 'two': tensor([ True, False])}
    """
    _refuse_nan(scores)
    if within is not None:
        _require_same(scores, within)
    if per_layer:
        each = {name: None if within is None else {name: within[name]} for name in scores}
        return {name: top_k({name: scores[name]}, density, each[name])[name] for name in scores}
    flat = _flat(scores)
    k = count(density, flat.numel())
    left = None if within is None else _flat({name: within[name] for name in scores})
    values = flat if left is None else flat[left]
    if len(values) < k:
        where = f" in layer {next(iter(scores))!r}" if len(scores) == 1 else ""
        raise LotteryError(
            f"density {density:g} asks for {k} of {flat.numel()} weights{where}, but the earlier mask has only "
            f"{len(values)} left; ask for a lower density"
        )
    kept = _largest(values, k)
    return _split(kept if left is None else left.masked_scatter(left, kept), shapes(scores))


def random(model: nn.Module | Shapes, density: float, seed: int, per_layer: bool = False) -> Mask:
    """Exactly round(density * d) weights kept, at least one, all such masks being equally likely; or of each layer's d.

    ``model`` is a network, masked where ``weights.prunable`` says, or a dict name -> shape (the mask is then on the
    CPU). Drawn on the CPU: one ``seed`` means the same mask on every device. LotteryError if density is not in (0, 1].

    >>> from lottery_lib import masks
    >>> mask = masks.random({"weight": (10, 20)}, density=0.1, seed=0)
    >>> int(mask["weight"].sum())
    20
    """
    device: str | torch.device = "cpu"
    if isinstance(model, nn.Module):
        whole = ones(model)
        device, model = next(model.parameters()).device, shapes(whole)
    generator = torch.Generator().manual_seed(errors.seed(seed))
    mask: Mask = {}
    for ranked in [{name: shape} for name, shape in model.items()] if per_layer else [model]:
        weights = sum(map(math.prod, ranked.values()))
        kept = torch.zeros(weights, dtype=torch.bool)
        kept[torch.randperm(weights, generator=generator)[: count(density, weights)]] = True
        mask |= _split(kept.to(device), ranked)
    return mask


def shuffle(mask: Mask, seed: int) -> Mask:
    """Each layer's entries permuted within the layer, which keeps as many as before. Drawn on the CPU from ``seed``."""
    generator = torch.Generator().manual_seed(errors.seed(seed))
    orders = {name: torch.randperm(m.numel(), generator=generator) for name, m in mask.items()}
    return {name: m.flatten()[orders[name].to(m.device)].view(m.shape) for name, m in mask.items()}


def count(density: float, weights: int) -> int:
    """How many of so many weights a density keeps, at least one; LotteryError if it is not in (0, 1]."""
    if not (errors.fits(errors.plain(density), float) and 0 < density <= 1):
        raise LotteryError(f"density = {density!r}: must be a fraction kept, above 0 and at most 1")
    return max(1, round(density * weights))


def density(mask: Mask) -> float:
    """The share of weights kept, in [0, 1].

    >>> import torch
    >>> from lottery_lib import masks
    >>> masks.density({"weight": torch.tensor([True, False, False, False])})
    0.25
    """
    kept = _flat(mask)
    return int(kept.count_nonzero()) / kept.numel()


def per_layer(mask: Mask) -> "pd.DataFrame":
    """A row for each layer: its name, shape, number of weights, number and share of those kept.

    >>> import torch
    >>> from lottery_lib import masks
    >>> masks.per_layer({"weight": torch.eye(4, dtype=torch.bool)})
        layer   shape  weights  kept  density
    0  weight  (4, 4)       16     4     0.25
    """
    import pandas as pd  # takes as long as all else that a search imports beside torch

    rows = [(name, tuple(m.shape), m.numel(), int(m.count_nonzero())) for name, m in mask.items()]
    table = pd.DataFrame(rows, columns=["layer", "shape", "weights", "kept"])
    return table.assign(density=table.kept / table.weights)


def overlap(a: Mask, b: Mask) -> float:
    """Jaccard index ``|A ∩ B| / |A ∪ B|`` of the two sets of kept weights, 1 if both are empty.

    LotteryError if the masks do not cover the same weights.

    >>> import torch
    >>> from lottery_lib import masks
    >>> a = {"weight": torch.tensor([True, True, False])}
    >>> b = {"weight": torch.tensor([True, False, False])}
    >>> masks.overlap(a, b)
    0.5
    """
    _require_same(a, b)
    both = sum(int((a[name] & b[name]).count_nonzero()) for name in a)
    either = sum(int((a[name] | b[name]).count_nonzero()) for name in a)
    return both / either if either else 1.0


def shared(a: Mask, b: Mask) -> float:
    """The share of the weights kept by ``a`` that ``b`` keeps too, NaN if ``a`` keeps none.

    LotteryError if they do not cover the same weights.
    """
    _require_same(a, b)
    return float(_flat(b)[_flat(a)].float().mean())


def check_no_empty_layer(mask: Mask) -> None:
    """LotteryError, with the layer's name, if a layer keeps no weight: no signal passes such a layer."""
    for name, m in mask.items():
        if not m.any():
            raise LotteryError(
                f"layer {name!r} keeps none of its {m.numel()} weights at density {density(mask):.3g}; "
                "ask for a higher density, or allow it where the network can do without: allow_empty_layers=True. "
                "What was found is the error's ticket"
            )


def validate(mask: Mask, model: nn.Module | Shapes) -> None:
    """LotteryError unless ``mask`` fits ``model`` (or a dict name -> shape): bool, its names and shapes, not empty."""
    errors.require("mask", mask, Mapping, "a tensor for each name, as ticket.mask")
    known = shapes(states.parameters(model, tied=False)) if isinstance(model, nn.Module) else model
    if not mask:
        raise LotteryError("the mask is empty; it must cover at least one parameter")
    for name, m in mask.items():
        if f"{name}_orig" in known:
            raise LotteryError(f"{name!r} is under torch.nn.utils.prune; call prune.remove on it first")
        if name not in known:
            raise LotteryError(f"the mask covers {name!r}, which the model does not have{hint(name, known)}")
        if m.dtype != torch.bool:
            raise LotteryError(f"the mask of {name!r} holds {m.dtype}; it must hold torch.bool")
        if tuple(m.shape) != tuple(known[name]):
            raise LotteryError(
                f"the mask of {name!r} has shape {tuple(m.shape)}; the model's parameter has {tuple(known[name])}"
            )


@torch.no_grad()
def apply_(model: nn.Module, mask: Mask) -> None:
    """Set the pruned weights to +0.0 in place, wherever mask and model lie. LotteryError as ``validate``."""
    validate(mask, model)
    own = states.parameters(model)
    for name, m in mask.items():
        parameter = own[name]
        parameter.masked_fill_(~m.to(parameter.device), 0)


def pack(mask: Mask) -> np.ndarray:
    """One bit a weight, layer after layer: a uint8 array of ceil(d / 8) bytes, the last filled up with zeros."""
    return np.packbits(_flat(mask).cpu().numpy())


def unpack(packed: np.ndarray | bytes, shapes: Shapes) -> Mask:
    """The mask on the CPU that ``pack`` packed, from its layers' ``shapes`` in order; LotteryError if sizes differ."""
    packed = np.frombuffer(packed, dtype=np.uint8)
    weights = sum(map(math.prod, shapes.values()))
    size = -(-weights // 8)
    if len(packed) != size:
        raise LotteryError(f"a packed mask of {weights} weights has {size} bytes, not {len(packed)}")
    return _split(torch.from_numpy(np.unpackbits(packed, count=weights).astype(bool)), shapes)


def digest(mask: Mask) -> str:
    """SHA-256, in hex, of the layers' names and shapes and the packed bits: equal for equal masks on any device."""
    layers = json.dumps([(name, tuple(m.shape)) for name, m in mask.items()])
    return hashlib.sha256(layers.encode() + pack(mask).tobytes()).hexdigest()


def histogram(values: Mapping[str, Tensor], bins: int = 100) -> np.ndarray:
    """Counts (layers, bins + 2) int64 of relaxed values m: of m = 0, of each of ``bins`` equal bins, and of m = 1.

    Bins are open at 0 and closed at their lower edges otherwise: (0, 1/bins), [1/bins, 2/bins), ... up to 1, excluded.
    So ``counts[:, 1 + j :].sum()`` weights are what ``threshold(values, j / bins)`` keeps, exactly, for 1 <= j <= bins.
    LotteryError if a value is not in [0, 1].
    """
    counts = []
    for name, m in values.items():
        if not ((m >= 0) & (m <= 1)).all():
            raise LotteryError(f"the relaxed mask of {name!r} has values outside [0, 1]; a histogram needs m in [0, 1]")
        edges = (torch.arange(1, bins + 1, dtype=torch.float64, device=m.device) / bins).to(m.dtype)
        place = torch.bucketize(m.flatten(), edges, right=True) + (m.flatten() > 0)
        counts.append(torch.bincount(place, minlength=bins + 2).cpu().numpy())
    return np.stack(counts) if counts else np.zeros((0, bins + 2), dtype=np.int64)


def bimodality(values: Mapping[str, Tensor], low: float = LOW, high: float = HIGH) -> float:
    """The share of relaxed values strictly between ``low`` and ``high``: 0 for a mask that has made up its mind."""
    flat = _flat(values)
    return int(((flat > low) & (flat < high)).count_nonzero()) / flat.numel()


def _flat(tensors: Mapping[str, Tensor]) -> Tensor:
    if not any(tensor.numel() for tensor in tensors.values()):
        raise LotteryError("there are no masks or scores; they must be of one layer at least")
    return torch.cat([tensor.flatten() for tensor in tensors.values()])


def _largest(values: Tensor, k: int) -> Tensor:
    """Which of the values (d,) are the k largest, of equal ones the first: without sorting them all, on a CPU."""
    edge = values.sort(descending=True).values[k - 1] if values.is_cuda else values.kthvalue(len(values) - k + 1).values
    kept = values > edge
    kept[(values == edge).nonzero().squeeze(1)[: k - int(kept.count_nonzero())]] = True
    return kept


def _split(flat: Tensor, shapes: Shapes) -> Mask:
    parts = flat.split([math.prod(shape) for shape in shapes.values()])
    return {name: part.view(tuple(shape)) for (name, shape), part in zip(shapes.items(), parts)}


def _refuse_nan(scores: Mapping[str, Tensor]) -> None:
    for name, score in scores.items():
        if score.isnan().any():
            raise LotteryError(f"the scores of {name!r} contain NaN: the search diverged, try a lower learning rate")


def _require_same(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> None:
    if shapes(a) != shapes(b):
        name = next(name for name in [*a, *b] if name not in a or name not in b or a[name].shape != b[name].shape)
        raise LotteryError(f"the masks or scores differ in layer {name!r}; they must cover the same layers and shapes")
