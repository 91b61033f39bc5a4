"""The one training loop: dense, relaxed, masked and rewound trainings are all this one.

It is deterministic: all that an epoch draws depends on (seed, epoch) alone. Given a work folder, a training is a file
there, named by all that decides where it goes (start, mask, recipe, seed, data, loss); an epoch adds a checkpoint,
and once complete it is never repeated. So a killed search goes on where it was, and methods that share a training share
its file.
"""

import bisect
import hashlib
import json
import math
import os
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from tqdm import tqdm

from .errors import LotteryError
from .params import hint
from .relaxation import Parameterization

SCHEDULES = {  # learning rate as a share of its peak: corners of a line over the share of training done
    "constant": ((0, 1), (1, 1)),
    "linear": ((0, 1), (1, 0)),
    "step": ((0, 1), (0.5, 1), (0.5, 0.1), (0.75, 0.1), (0.75, 0.01), (1, 0.01)),
    "one-cycle": ((0, 0.1), (0.3, 1), (1, 0)),
}
OPTIMIZERS = ("sgd", "adamw")
PRECISIONS = ("fp32", "bf16")


@dataclass(frozen=True)
class Recipe:
    """How a network is trained; LotteryError if a value is out of its range."""

    epochs: int = 10
    batch_size: int = 128
    optimizer: str = "sgd"
    lr: float = 0.1  # peak learning rate
    momentum: float = 0.9  # of SGD
    nesterov: bool = False
    weight_decay: float = 0.0  # on the weights and all other parameters, never on a mask
    schedule: str = "linear"
    precision: str = "fp32"  # bf16: forward and backward under autocast; weights and masks stay fp32

    def __post_init__(self):
        for name in ("epochs", "batch_size", "lr"):
            if not getattr(self, name) > 0:
                raise LotteryError(f"{name} = {getattr(self, name)!r}: must be > 0")
        for name in ("momentum", "weight_decay"):
            if not getattr(self, name) >= 0:
                raise LotteryError(f"{name} = {getattr(self, name)!r}: must be ≥ 0")
        if self.nesterov and not self.momentum:
            raise LotteryError("nesterov = True: needs a momentum > 0")
        for name, known in (("optimizer", OPTIMIZERS), ("schedule", SCHEDULES), ("precision", PRECISIONS)):
            if getattr(self, name) not in known:
                raise LotteryError(f"unknown {name} {getattr(self, name)!r}{hint(getattr(self, name), known)}")

    def lr_at(self, fraction: float) -> float:
        """The learning rate when ``fraction`` of the training, 0 to 1, is done."""
        corners = SCHEDULES[self.schedule]
        right = min(bisect.bisect_right([x for x, _ in corners], fraction), len(corners) - 1)
        (x0, y0), (x1, y1) = corners[right - 1], corners[right]
        return self.lr * (y0 + (y1 - y0) * (fraction - x0) / (x1 - x0))


@dataclass
class History:
    """What a training leaves behind: one dict of metrics an epoch (loss, val_accuracy in %, seconds, …)."""

    epochs: list[dict[str, float]]

    @property
    def seconds(self) -> float:
        return sum(epoch["seconds"] for epoch in self.epochs)

    @property
    def val_accuracy(self) -> float:
        """Percent, after the last epoch."""
        return self.epochs[-1]["val_accuracy"]


def train(
    model: nn.Module,
    data: Any,
    recipe: Recipe,
    *,
    parameterization: Parameterization | None = None,
    seed: int = 0,
    start: int = 0,
    stop: int | None = None,
    loss: Callable[[Tensor, Tensor], Tensor] = cross_entropy,
    work: Path | None = None,
    progress: bool = False,
) -> History:
    """Train ``model`` in place on ``data.train`` from epoch ``start`` to ``stop`` of the recipe, both counted from 0.

    Args:
        data: Has splits ``train`` and ``val`` (None: not evaluated), as ``data.Data`` or ``batches.Batches``.
        parameterization: What the optimiser acts on; dense weights if None. Holds the mask afterwards.
        seed: Of the batches' order and augmentation, and of whatever else is drawn (dropout).
        loss: Of (outputs, labels), a scalar.
        work: Folder for checkpoints; None for none.

    Raises:
        LotteryError: the loss is no longer finite, ``start`` and ``stop`` lie outside the recipe, there is no batch,
            or a weight under the mask gets no gradient.
    """
    stop = recipe.epochs if stop is None else stop
    if not 0 <= start <= stop <= recipe.epochs:
        raise LotteryError(f"epochs {start} to {stop} do not lie within the recipe's {recipe.epochs}")
    rule = parameterization or Parameterization(model)
    covered = {id(weight) for weight in rule.weights}
    others = [p for p in model.parameters() if id(p) not in covered and p.requires_grad]
    optimizer = _optimizer(recipe, [*rule.leaves, *others])
    device = next(model.parameters()).device
    checkpoint = Checkpoint(work, _identity(model, data, recipe, rule, seed, start, stop, loss)) if work else None
    history = (checkpoint.resume(model, rule, optimizer) if checkpoint else None) or []

    steps = data.train.steps(recipe.batch_size)
    bar = tqdm(total=(stop - start) * steps, initial=len(history) * steps, disable=not progress, unit="step")
    for epoch in range(start + len(history), stop):
        began, total = time.perf_counter(), torch.zeros((), device=device)
        model.train()
        with seeded(device, seed, epoch):
            for step, (inputs, labels) in enumerate(data.train.batches(recipe.batch_size, epoch=epoch, seed=seed)):
                fraction = (epoch + step / steps) / recipe.epochs
                rule.advance(fraction)
                for group in optimizer.param_groups:
                    group["lr"] = recipe.lr_at(fraction)
                with torch.autocast(device.type, torch.bfloat16, enabled=recipe.precision == "bf16"):
                    value = loss(model(inputs), labels)
                model.zero_grad(set_to_none=True)
                value.backward()
                _require_gradients(rule)
                rule.pull_back()
                optimizer.step()
                rule.push_forward()
                total += value.detach()
                bar.update()
        metrics = {"epoch": epoch, "loss": total.item() / steps}
        if not math.isfinite(metrics["loss"]):
            raise LotteryError(
                f"the loss is not finite in epoch {epoch}; lower lr = {recipe.lr:g} or the mask's step size"
            )
        if data.val is not None:
            metrics |= {f"val_{key}": value for key, value in evaluate(model, data.val, loss).items()}
        metrics |= {key: value.item() for key, value in rule.metrics().items()}
        history.append(metrics | {"seconds": time.perf_counter() - began})
        bar.set_postfix({key: f"{metrics[key]:.3g}" for key in ("loss", "density") if key in metrics})
        if checkpoint:
            checkpoint.save(model, rule, optimizer, history, complete=epoch + 1 == stop)
    bar.close()
    return History(history)


@torch.no_grad()
def evaluate(
    model: nn.Module, split: Any, loss: Callable[[Tensor, Tensor], Tensor] = cross_entropy
) -> dict[str, float]:
    """Mean loss over a split, and accuracy in percent for classes (labels that lack dimension 1 of the outputs)."""
    training = model.training
    model.eval()
    losses, hits, images, labelled = 0.0, 0, 0, 0
    for inputs, labels in split.in_order():
        outputs = model(inputs)
        losses = losses + loss(outputs, labels) * len(inputs)
        images += len(inputs)
        if outputs.ndim == labels.ndim + 1:
            hits = hits + (outputs.argmax(1) == labels).sum()
            labelled += labels.numel()
    model.train(training)
    metrics = {"loss": float(losses) / images}
    return metrics | {"accuracy": 100 * int(hits) / labelled} if labelled else metrics


def snapshot(model: nn.Module) -> dict[str, Tensor]:
    """A copy of the model's state, parameters and buffers, to rewind to with ``load_state_dict``."""
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


@contextmanager
def seeded(device: torch.device, seed: int, epoch: int = 0) -> Iterator[None]:
    """torch's generators start from (seed, epoch) within, and go on as they were afterwards."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(int(np.random.SeedSequence(seed, spawn_key=(epoch,)).generate_state(1)[0]))
        yield


class Checkpoint:
    """One training's file, written whole and renamed, so that a kill leaves the last epoch or the one before.

    Processes side by side may make the same training: each writes under its own name, and all end in the same bits.
    """

    def __init__(self, folder: Path, identity: str):
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"{identity}.safetensors"

    def save(self, model: nn.Module, rule: Parameterization, optimizer, history: list[dict], complete: bool) -> None:
        tensors = _prefixed("model", model.state_dict()) | _prefixed("rule", rule.state())
        if not complete:
            tensors |= _prefixed("optimizer", _optimizer_tensors(optimizer))
        unfinished, text = self.path.with_suffix(f".{os.getpid()}"), json.dumps(history)
        contiguous = {name: tensor.detach().contiguous().clone() for name, tensor in tensors.items()}  # tied ones too
        save_file(contiguous, unfinished, {"history": text, "checksum": _checksum(contiguous, text)})
        unfinished.replace(self.path)

    def resume(self, model: nn.Module, rule: Parameterization, optimizer) -> list[dict] | None:
        """Load what is there and return its history; None if there is nothing whole."""
        try:
            with safe_open(self.path, "pt") as stored:
                texts = stored.metadata() or {}
                tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 (a file, not a dict)
        except (OSError, SafetensorError):
            return None
        if texts.get("checksum") != _checksum(tensors, texts.get("history", "")):
            return None
        model.load_state_dict(_within("model", tensors))
        rule.load(_within("rule", tensors))
        _load_optimizer_tensors(optimizer, _within("optimizer", tensors))
        return json.loads(texts["history"])


def _optimizer(recipe: Recipe, tensors: list[Tensor]) -> torch.optim.Optimizer:
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(tensors, recipe.lr, weight_decay=recipe.weight_decay)
    return torch.optim.SGD(
        tensors, recipe.lr, recipe.momentum, weight_decay=recipe.weight_decay, nesterov=recipe.nesterov
    )


def _optimizer_tensors(optimizer) -> dict[str, Tensor]:
    state = optimizer.state_dict()["state"]
    return {f"{i}.{key}": value for i, entry in state.items() for key, value in entry.items() if value is not None}


def _load_optimizer_tensors(optimizer, tensors: dict[str, Tensor]) -> None:
    state = optimizer.state_dict()
    for name, tensor in tensors.items():
        index, key = name.split(".")
        state["state"].setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict(state)


def _identity(model, data, recipe: Recipe, rule: Parameterization, seed: int, start: int, stop: int, loss) -> str:
    """A hash of all that decides where a training goes."""
    with seeded(next(model.parameters()).device, seed):  # a reader's loader may draw its order
        facts = [asdict(recipe), type(rule).__name__, rule.describe(), rule.names, seed, start, stop, data.fingerprint]
        facts += [repr(model), _probe(model, data, loss)]
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for tensors in (model.state_dict(), rule.state()):
        for name, tensor in tensors.items():
            digest.update(name.encode() + _bytes(tensor))
    return digest.hexdigest()[:24]


@torch.no_grad()
def _probe(model: nn.Module, data: Any, loss: Callable[[Tensor, Tensor], Tensor]) -> str:
    """The loss of the first batch, and of its first row, before training.

    It tells losses and forward passes apart that go by the same name, or by none.
    """
    training = model.training
    model.eval()
    inputs, labels = next(iter(data.train.in_order()))
    values = [loss(model(inputs[:rows]), labels[:rows]).item() for rows in (len(inputs), 1)]
    model.train(training)
    return " ".join(f"{value:.5g}" for value in values)


def _checksum(tensors: dict[str, Tensor], text: str) -> str:
    checksum = zlib.crc32(text.encode())
    for name, tensor in sorted(tensors.items()):
        checksum = zlib.crc32(_bytes(tensor), zlib.crc32(name.encode(), checksum))
    return str(checksum)


def _bytes(tensor: Tensor) -> bytes:
    return tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes()


def _require_gradients(rule: Parameterization) -> None:
    for name, weight in zip(rule.names, rule.weights):
        if weight.grad is None:
            raise LotteryError(
                f"the weight {name!r} gets no gradient (frozen, or unused); leave it out of the mask's names"
            )


def _prefixed(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}/{name}": tensor for name, tensor in tensors.items()}


def _within(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(f"{prefix}/"): t for name, t in tensors.items() if name.startswith(f"{prefix}/")}
