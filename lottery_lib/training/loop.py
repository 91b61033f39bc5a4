"""The one training loop: dense, relaxed, masked and rewound trainings are all this one.

It is deterministic: all that an epoch draws depends on (seed, epoch) alone. Given a work folder, an epoch adds a
checkpoint there, and a training that is complete is never repeated.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from tqdm import tqdm

from lottery_lib import states
from lottery_lib.data.splits import TrainingData, TrainingSplit
from lottery_lib.errors import LotteryError
from lottery_lib.randomness import seeded
from lottery_lib.relaxation import Parameterization
from lottery_lib.training import distributed, speed
from lottery_lib.training.checkpoints import Checkpoint, Loss, identity
from lottery_lib.training.recipes import Recipe


@dataclass
class History:
    """What a training leaves behind: one dict of metrics an epoch (loss, val_accuracy in %, seconds, …)."""

    epochs: list[dict[str, float]]

    @property
    def seconds(self) -> float:
        return sum(epoch["seconds"] for epoch in self.epochs)

    @property
    def val_accuracy(self) -> float:
        """Percent, after the last epoch.

        Raises:
            LotteryError: there is none, as there was nothing to validate on, or its labels are no classes.
        """
        if "val_accuracy" not in self.epochs[-1]:
            raise LotteryError("there is no accuracy: it needs a validation split whose labels are classes; see epochs")
        return self.epochs[-1]["val_accuracy"]


def train(
    model: nn.Module,
    data: TrainingData,
    recipe: Recipe,
    *,
    parameterization: Parameterization | None = None,
    seed: int = 0,
    start: int = 0,
    stop: int | None = None,
    loss: Loss = cross_entropy,
    work: Path | None = None,
    progress: bool = False,
) -> History:
    """Train ``model`` in place on ``data.train`` from epoch ``start`` to ``stop`` of the recipe, both counted from 0.

    Args:
        data: Has splits ``train`` and ``val`` (None: not evaluated), as ``load`` and ``own`` give it.
        parameterization: What the optimiser acts on; dense weights if None. Holds the mask afterwards.
        seed: Of the batches' order and augmentation, and of whatever else is drawn (dropout).
        loss: Of (outputs, labels), a scalar.
        work: Folder for checkpoints; None for none.

    Raises:
        LotteryError: the loss is no longer finite, ``start`` and ``stop`` lie outside the recipe, there is no batch,
            or a weight under the mask gets no gradient.

    >>> import lottery_lib as lottery
    >>> data = lottery.load("digits")
    >>> model = lottery.models.create("lenet-300-100", data.classes, data.shape, width=0.1)
    >>> history = lottery.train(model, data, lottery.Recipe(epochs=2))
    >>> sorted(history.epochs[-1])
    ['epoch', 'loss', 'seconds', 'val_accuracy', 'val_loss']
    """
    stop = recipe.epochs if stop is None else stop
    if not 0 <= start <= stop <= recipe.epochs:
        raise LotteryError(f"epochs {start} to {stop} do not lie within the recipe's {recipe.epochs}")
    rule = parameterization or Parameterization(model)
    covered = {id(weight) for weight in rule.weights}
    others = [p for p in model.parameters() if id(p) not in covered and p.requires_grad]
    optimizer = _optimizer(recipe, [*rule.leaves, *others])
    device = next(model.parameters()).device
    checkpoint = Checkpoint(work, identity(model, data, recipe, rule, seed, start, stop, loss)) if work else None
    history = (checkpoint.resume(model, rule, optimizer) if checkpoint else None) or []

    steps = data.train.steps(recipe.batch_size)
    network = distributed.parallel(model)
    forward: Callable[[Tensor], Tensor] = network
    found: float | None = None  # whether it is worth compiling, where that is measured
    if recipe.fast:
        speed.keep_freed_memory()
        found = history[-1].get("compiled") if history else None
        forward = speed.forward(network, (stop - start) * steps, recipe.compile_from, found)
    silent = not (progress and distributed.first())
    bar = tqdm(total=(stop - start) * steps, initial=len(history) * steps, disable=silent, unit="step")
    for epoch in range(start + len(history), stop):
        began, total = time.perf_counter(), torch.zeros((), device=device)
        model.train()
        with seeded(device, seed, epoch):
            for step, batch in enumerate(data.train.batches(recipe.batch_size, epoch=epoch, seed=seed)):
                inputs, labels = distributed.share(*batch)
                fraction = (epoch + step / steps) / recipe.epochs
                rule.advance(fraction)
                for group in optimizer.param_groups:
                    group["lr"] = recipe.lr_at(fraction)
                with torch.autocast(device.type, torch.bfloat16, enabled=recipe.precision == "bf16"):
                    value = loss(forward(inputs), labels)
                model.zero_grad(set_to_none=True)
                value.backward()
                _require_gradients(rule)
                rule.pull_back()
                optimizer.step()
                rule.push_forward()
                total += value.detach()
                bar.update()
        metrics = {"epoch": epoch, "loss": distributed.mean(total).item() / steps}
        if not math.isfinite(metrics["loss"]):
            raise LotteryError(
                f"the loss is not finite in epoch {epoch}; lower lr = {recipe.lr:g} or the mask's step size"
            )
        if data.val is not None:
            metrics |= {f"val_{key}": value for key, value in evaluate(model, data.val, loss).items()}
        metrics |= {key: value.item() for key, value in rule.metrics().items()}
        if isinstance(forward, speed.Timed) and forward.compiled is not None:
            found = float(forward.compiled)
        if found is not None:
            metrics["compiled"] = found
        history.append(metrics | {"seconds": time.perf_counter() - began})
        bar.set_postfix({key: f"{metrics[key]:.3g}" for key in ("loss", "density") if key in metrics})
        if checkpoint:
            checkpoint.save(model, rule, optimizer, history, complete=epoch + 1 == stop)
    bar.close()
    return History(history)


@torch.no_grad()
def evaluate(model: nn.Module, split: TrainingSplit, loss: Loss = cross_entropy) -> dict[str, float]:
    """Mean loss over a split, and accuracy in percent where labels are classes: whole numbers, those below 0 left out.

    The scores of classes lie along the dimension that the labels lack: the second, as of PyTorch's own losses, or the
    last, as of sequences (N, T, V). A single score a label says yes where it is above 0.

    >>> import torch
    >>> import lottery_lib as lottery
    >>> data = lottery.own((torch.eye(4), torch.tensor([0, 1, 2, 2])))
    >>> lottery.evaluate(torch.nn.Identity(), data.train)["accuracy"]
    75.0
    """
    training = model.training
    model.eval()
    losses: Tensor | float = 0.0
    hits: Tensor | int = 0
    labelled: Tensor | int = 0
    images = 0
    for inputs, labels in split.in_order():
        outputs = model(inputs)
        losses = losses + loss(outputs, labels) * len(inputs)
        images += len(inputs)
        answers = _answers(outputs, labels)
        if answers is not None:
            counted = labels >= 0
            hits, labelled = hits + ((answers == labels) & counted).sum(), labelled + counted.sum()
    model.train(training)
    metrics = {"loss": float(losses) / images}
    return metrics | {"accuracy": 100 * int(hits) / int(labelled)} if int(labelled) else metrics


def _answers(outputs: Any, labels: Any) -> Tensor | None:
    """The class that each label is compared with; None where labels are no classes."""
    if not (isinstance(outputs, Tensor) and isinstance(labels, Tensor)) or labels.is_floating_point():
        return None
    if outputs.shape[:1] == labels.shape[:1] and outputs.shape[2:] == labels.shape[1:] and outputs.ndim > labels.ndim:
        return outputs.argmax(1) if outputs.shape[1] > 1 else (outputs[:, 0] > 0).to(labels.dtype)
    if outputs.shape[:-1] == labels.shape and outputs.ndim > 1:
        return outputs.argmax(-1)
    return (outputs > 0).to(labels.dtype) if outputs.shape == labels.shape else None


def snapshot(model: nn.Module) -> dict[str, Any]:
    """A copy of the model's state, parameters and buffers, to rewind to with ``states.load``."""
    return states.snapshot(model)


def _optimizer(recipe: Recipe, tensors: list[Tensor]) -> torch.optim.Optimizer:
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(tensors, recipe.lr, weight_decay=recipe.weight_decay)
    return torch.optim.SGD(
        tensors, recipe.lr, recipe.momentum, weight_decay=recipe.weight_decay, nesterov=recipe.nesterov
    )


def _require_gradients(rule: Parameterization) -> None:
    for name, weight in zip(rule.names, rule.weights):
        if weight.grad is None:
            raise LotteryError(
                f"the weight {name!r} gets no gradient (frozen, or unused); leave it out of the mask's names"
            )
