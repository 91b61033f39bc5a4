"""The one training loop: dense, relaxed, masked and rewound trainings are all this one.

It is deterministic: all that an epoch draws depends on (seed, epoch) alone. Given a work folder, an epoch adds a
checkpoint there, and a training that is complete is never repeated.
"""

import math
import time
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from tqdm import tqdm

from lottery_lib import errors
from lottery_lib.data.splits import TrainingData, require_splits
from lottery_lib.errors import LotteryError
from lottery_lib.randomness import seeded
from lottery_lib.relaxation import Parameterization
from lottery_lib.training import distributed, speed
from lottery_lib.training.checkpoints import Checkpoint, identity
from lottery_lib.training.evaluation import UNMEASURED, measured
from lottery_lib.training.modes import as_trained
from lottery_lib.training.recipes import Recipe
from lottery_lib.training.rehearsal import rehearse
from lottery_lib.training.tasks import Loss, Metric, Objective, Task, told


@dataclass
class History:
    """What a training leaves behind: one dict of metrics an epoch (loss, val_accuracy in %, seconds, …)."""

    epochs: list[dict[str, float]]

    @property
    def seconds(self) -> float:
        """How long all epochs took."""
        return sum(epoch["seconds"] for epoch in self.epochs)

    @property
    def val_accuracy(self) -> float:
        """Percent, after the last epoch.

        Raises:
            LotteryError: no epoch was trained, as of a ticket that comes trained; there was nothing to validate on; or
                its labels are no classes.
        """
        if not self.epochs:
            raise LotteryError(
                "there is no accuracy, as there was no epoch to train; evaluate(model, data.val) tells it"
            )
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
    objective: Objective | None = None,
    metric: Metric | None = None,
    work: str | Path | None = None,
    progress: bool = False,
) -> History:
    """Train ``model`` in place on ``data.train`` from epoch ``start`` to ``stop`` of the recipe, both counted from 0.

    Args:
        data: Has splits ``train`` and ``val`` (None: not evaluated), as ``load`` and ``own`` give it.
        parameterization: What the optimiser acts on; dense weights if None. Holds the mask afterwards.
        seed: Of the batches' order and augmentation, and of whatever else is drawn (dropout).
        stop: The epoch before which to stop; None for the end of the recipe.
        loss: Of (outputs, labels), a scalar, where batches are pairs of inputs and labels.
        objective: Of (model, batch), a scalar, in place of the loss, for batches of any structure. In evaluation it may
            be None, where a network has no loss then.
        metric: Of (model, batches), a number: on ``data.val``, with the model in evaluation mode. The epochs of the
            history have it as ``val_metric``.
        work: Folder for checkpoints; None for none.
        progress: Whether a bar shows how far it is.

    Raises:
        LotteryError: a batch does not go through network, loss and metric; the loss is no longer finite;
            ``start`` and ``stop`` lie outside the recipe; there is no batch, or an epoch gives more than were declared;
            a weight under the mask is frozen.

    Layers that are frozen, or in evaluation mode within a network that is not, stay so. A weight under the mask that
    gets no gradient in a step counts as one of gradient zero; which ones got none in a whole epoch is a warning.

    >>> from lottery_lib import Recipe, load, models, train
    >>> data = load("digits")
    >>> model = models.create("lenet-300-100", data.classes, data.shape, width=0.1)
    >>> history = train(model, data, Recipe(epochs=2))
    >>> sorted(history.epochs[-1])
    ['epoch', 'loss', 'seconds', 'val_accuracy', 'val_loss']
    """
    errors.require("model", model, nn.Module, "a torch.nn.Module")
    errors.require("recipe", recipe, Recipe, "as Recipe(epochs=10)")
    start, stop = errors.plain(start), recipe.epochs if stop is None else errors.plain(stop)
    for name, epoch in (("start", start), ("stop", stop)):
        if not errors.fits(epoch, int):
            raise LotteryError(f"{name} = {epoch!r}: must be an epoch of the recipe, a whole number")
    if not 0 <= start <= stop <= recipe.epochs:
        raise LotteryError(f"epochs {start} to {stop} do not lie within the recipe's {recipe.epochs}")
    require_splits(data)
    task = Task(loss, objective, metric)
    rule = parameterization or Parameterization(model)
    errors.require("parameterization", rule, Parameterization, "as RelaxedMask(model, names, Log(0.1), lam, mask_lr)")
    if not {id(weight) for weight in rule.weights} <= {id(weight) for weight in model.parameters()}:
        raise LotteryError("the parameterization was made of another network; make it of this one")
    require_trained(rule.names, rule.weights)
    covered = {id(weight) for weight in rule.weights}
    others = [p for p in model.parameters() if id(p) not in covered and p.requires_grad]
    if not (rule.leaves or others):
        raise LotteryError("nothing to train: the model has no parameter that is not frozen")
    optimizer = _optimizer(recipe, [*rule.leaves, *others])
    device = next(model.parameters()).device
    steps = data.train.steps(recipe.batch_size)
    if start < stop:
        rehearse(model, data, recipe, task, others)
    checkpoint = Checkpoint(work, identity(model, data, recipe, rule, seed, start, stop, task)) if work else None
    history = (checkpoint.resume(model, rule, optimizer) if checkpoint else None) or []

    network = distributed.parallel(model)
    forward: Callable[[Any], Any] = network
    found: float | None = None  # whether it is worth compiling, where that is measured
    if recipe.fast:
        speed.keep_freed_memory()
        found = history[-1].get("compiled") if history else None
        if objective is None:  # which may ask more of the network than to be called
            forward = speed.forward(network, (stop - start) * steps, recipe.compile_from, found)
    silent = not (progress and distributed.first())
    bar = tqdm(total=(stop - start) * steps, initial=len(history) * steps, disable=silent, unit="step")
    unreached, short = dict(zip(rule.names, rule.weights)), False
    as_trained(model)
    for epoch in range(start + len(history), stop):
        began, total, taken = time.perf_counter(), torch.zeros((), device=device), 0
        with seeded(device, seed, epoch):
            for step, batch in enumerate(data.train.batches(recipe.batch_size, epoch=epoch, seed=seed)):
                if step == steps:
                    raise LotteryError(
                        f"epoch {epoch} gives {step + 1} batches or more, and the data declare {steps}, by which the "
                        "learning rate falls; give an iterable whose len() is right, or one without"
                    )
                batch = distributed.share(batch)
                fraction = (epoch + step / steps) / recipe.epochs
                rule.advance(fraction)
                for group in optimizer.param_groups:
                    group["lr"] = recipe.lr_at(fraction)
                autocast = torch.autocast(device.type, torch.bfloat16, enabled=recipe.precision == "bf16")
                with told(f"batch {step} of epoch {epoch} fails, both counted from 0"), autocast:
                    value = task.value(forward, batch)
                model.zero_grad(set_to_none=True)
                with told(f"the backward pass of batch {step} of epoch {epoch} fails"):
                    value.backward()
                unreached = {name: weight for name, weight in unreached.items() if weight.grad is None}
                rule.fill_gradients()
                rule.pull_back()
                with told(f"the optimiser's step after batch {step} of epoch {epoch} fails"):
                    optimizer.step()
                rule.push_forward()
                total += value.detach()
                taken += 1
                bar.update()
        if isinstance(forward, speed.Timed) and taken:
            found = float(forward.compiled())
        distributed.agree(model)
        if not taken:
            raise LotteryError(f"epoch {epoch} gives no batch, and the data declare {steps}; can they be read again?")
        if taken < steps and not short:
            short = True
            warnings.warn(
                f"epoch {epoch} gives {taken} batches, and the data declare {steps}, by which the learning rate falls; "
                "give an iterable whose len() is right, or one without",
                stacklevel=2,
            )
        if unreached:
            warn_of(unreached, f"in epoch {epoch}")
            unreached = {}
        metrics = {"epoch": epoch, "loss": distributed.mean(total).item() / taken}
        if not math.isfinite(metrics["loss"]):
            raise LotteryError(
                f"the loss is not finite in epoch {epoch}; lower lr = {recipe.lr:g}, or the mask's step size where you "
                "gave one, and see whether a number in the data is not finite"
            )
        if data.val is not None:
            with seeded(device, seed, epoch), told(f"validation after epoch {epoch} fails"):
                validated = measured(model, data.val, task)
            metrics |= {f"val_{key}": value for key, value in validated.items()}
            losses = [each.get("val_loss", 0.0) for each in (*history, metrics)]
            if not math.isfinite(losses[-1]) and all(map(math.isfinite, losses[:-1])):  # said once
                warnings.warn(f"the validation loss of epoch {epoch} is {losses[-1]:g}: {UNMEASURED}", stacklevel=2)
        metrics |= {key: value.item() for key, value in rule.metrics().items()}
        if found is not None:
            metrics["compiled"] = found
        history.append(metrics | {"seconds": time.perf_counter() - began})
        bar.set_postfix({key: f"{metrics[key]:.3g}" for key in ("loss", "density") if key in metrics})
        if checkpoint:
            checkpoint.save(model, rule, optimizer, history, complete=epoch + 1 == stop)
    bar.close()
    model.zero_grad(set_to_none=True)  # a loop of one's own may step before it clears them
    return History(history)


def _optimizer(recipe: Recipe, tensors: list[Tensor]) -> torch.optim.Optimizer:
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(tensors, recipe.lr, weight_decay=recipe.weight_decay)
    return torch.optim.SGD(
        tensors, recipe.lr, recipe.momentum, weight_decay=recipe.weight_decay, nesterov=recipe.nesterov
    )


def warn_of(unreached: Iterable[str], when: str) -> None:
    """Name weights under a mask that no gradient reached."""
    names = ", ".join(map(repr, unreached))
    warnings.warn(f"{when} no gradient reached {names}: if unused, leave out of the mask's names", stacklevel=3)


def require_trained(names: Iterable[str], weights: Iterable[Tensor]) -> None:
    """LotteryError if one of these weights, which a mask covers, is frozen."""
    for name, weight in zip(names, weights):
        if not weight.requires_grad:
            raise LotteryError(f"{name!r} gets no gradient (it is frozen); train it, or leave it out of names")
