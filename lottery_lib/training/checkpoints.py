"""A training's file in the work folder: named by all that decides where the training goes, written whole each epoch.

Once complete it is never repeated. So a killed search goes on where it was, and methods that share a training share
its file.
"""

import hashlib
import json
import zlib
from dataclasses import asdict
from os import PathLike
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import Optimizer

from lottery_lib import provenance, states
from lottery_lib.data import structure
from lottery_lib.data.batches import Batches
from lottery_lib.data.splits import TrainingData
from lottery_lib.errors import LotteryError
from lottery_lib.files import bits, require_writable, whole
from lottery_lib.randomness import seeded
from lottery_lib.relaxation import Parameterization, like
from lottery_lib.training import callables, distributed, speed
from lottery_lib.training.evaluation import measured
from lottery_lib.training.modes import as_trained, aside
from lottery_lib.training.recipes import Recipe
from lottery_lib.training.rehearsal import first_batch, first_value
from lottery_lib.training.tasks import Task


class Checkpoint:
    """One training's file, written whole and renamed, so that a kill leaves the last epoch or the one before.

    Processes side by side may make the same training: each writes under its own name, and all end in the same bits.
    """

    def __init__(self, folder: str | Path, identity: str):
        if not isinstance(folder, (str, PathLike)):
            raise LotteryError(f"work = {folder!r}: must be a folder's path, as work='work'")
        require_writable(Path(folder))
        self.path = Path(folder) / f"{identity}.safetensors"

    def save(
        self, model: nn.Module, rule: Parameterization, optimizer: Optimizer, history: list[dict], complete: bool
    ) -> None:
        """Write what ``resume`` needs; once ``complete``, what the training has led to is enough."""
        if distributed.first():
            self._write(model, rule, optimizer, history, complete)
        distributed.barrier()

    def _write(
        self, model: nn.Module, rule: Parameterization, optimizer: Optimizer, history: list[dict], complete: bool
    ) -> None:
        tensors = _prefixed("model", states.tensors(model)) | _prefixed("rule", rule.state())
        if not complete:
            tensors |= _prefixed("optimizer", _optimizer_tensors(optimizer))
        text = json.dumps(history)
        contiguous = {name: tensor.detach().contiguous().clone() for name, tensor in tensors.items()}  # tied ones too
        try:
            with whole(self.path) as unfinished:
                save_file(contiguous, unfinished, {"history": text, "checksum": _checksum(contiguous, text)})
        except (OSError, SafetensorError) as reason:
            raise LotteryError(f"cannot write the checkpoint {self.path}: {reason}; is the disk full?") from reason

    def resume(self, model: nn.Module, rule: Parameterization, optimizer: Optimizer) -> list[dict] | None:
        """Load what is there and return its history; None if there is nothing whole."""
        try:
            with safe_open(self.path, "pt") as stored:
                texts = stored.metadata() or {}
                tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 (a file, not a dict)
        except (OSError, SafetensorError):
            return None
        if texts.get("checksum") != _checksum(tensors, texts.get("history", "")):
            return None
        states.make_buffers(model, _within("model", tensors))
        states.load(model, _within("model", tensors))
        rule.load(_within("rule", tensors))
        _load_optimizer_tensors(optimizer, _within("optimizer", tensors))
        return json.loads(texts["history"])


def identity(
    model: nn.Module, data: TrainingData, recipe: Recipe, rule: Parameterization, seed: int, start: int, stop: int,
    task: Task,
) -> str:  # fmt: skip
    """A hash of all that decides where a training goes, and of what rounds its sums, as the memory's layout does."""
    with aside(model, data), seeded(next(model.parameters()).device, seed):  # a reader's loader may draw its order
        told = asdict(recipe)
        if recipe.compile_from == speed.COMPILE_FROM:  # as all trainings were compiled before there was a choice
            del told["compile_from"]
        facts = [told, type(rule).__name__, rule.describe(), rule.names, seed, start, stop, data.fingerprint]
        facts += [repr(model), _probe(model, data, task), distributed.world()]
        facts += provenance.arithmetic(next(model.parameters()).device)
        if not _of_experiments(model, data, task):  # where what is computed is known by the names already
            facts.append(_probe_gradient(model, data, recipe, task))
        facts += [name for name, parameter in model.named_parameters() if not parameter.requires_grad]
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    digest.update(callables.told((task.loss, task.objective)))
    for tensors in (states.tensors(model), rule.state()):
        for name, tensor in tensors.items():
            digest.update(f"{name} {tensor.stride()}".encode() + bits(tensor))
    return distributed.of_first(digest.hexdigest()[:24])


def _optimizer_tensors(optimizer: Optimizer) -> dict[str, Tensor]:
    state = optimizer.state_dict()["state"]
    return {f"{i}.{key}": value for i, entry in state.items() for key, value in entry.items() if value is not None}


def _load_optimizer_tensors(optimizer: Optimizer, tensors: dict[str, Tensor]) -> None:
    state, stepped = optimizer.state_dict(), [each for group in optimizer.param_groups for each in group["params"]]
    for name, tensor in tensors.items():
        index, key = name.split(".")
        weight = stepped[int(index)]  # whose layout in memory the file does not keep
        shaped = tensor.ndim and tensor.shape == weight.shape
        state["state"].setdefault(int(index), {})[key] = like(weight, tensor) if shaped else tensor
    optimizer.load_state_dict(state)


@torch.no_grad()
def _probe(model: nn.Module, data: TrainingData, task: Task) -> str:
    """The loss of the first batch before training, as it is trained and as it is evaluated, and of its first row.

    It tells losses and forward passes apart that go by the same name, or by none; a metric likewise, by all batches.
    """
    batch = next(data.train.in_order())
    as_trained(model)
    values = [task.value(model, batch)]
    model.eval()
    values.append(task.value(model, batch))
    if structure.sliceable(batch):
        values.append(task.value(model, structure.rows(batch, slice(1))))
    if task.metric is not None and data.val is not None:
        values.append(torch.tensor(measured(model, data.val, task)["metric"]))
    told = " ".join("none" if value is None else f"{value.item():.5g}" for value in values)
    return told if task.metric is None else f"{told} {getattr(task.metric, '__qualname__', '')}"


def _of_experiments(model: nn.Module, data: TrainingData, task: Task) -> bool:
    """Whether no part of what is computed was written by a reader."""
    makers = {type(module).__module__.partition(".")[0] for module in model.modules()}
    ours = task.objective is None and task.loss is cross_entropy and not isinstance(data, Batches)
    return ours and makers <= {"torch", "torchvision", "lottery_lib"}


def _probe_gradient(model: nn.Module, data: TrainingData, recipe: Recipe, task: Task) -> str:
    """The size of the first batch's gradient, which tells apart what has the same loss, as by ``detach``."""
    model.zero_grad(set_to_none=True)
    first_value(model, first_batch(data, recipe), recipe, task).backward()
    found = [parameter.grad.norm() for parameter in model.parameters() if parameter.grad is not None]
    model.zero_grad(set_to_none=True)
    return f"{float(torch.stack(found).norm()):.3g}"


def _checksum(tensors: dict[str, Tensor], text: str) -> str:
    checksum = zlib.crc32(text.encode())
    for name, tensor in sorted(tensors.items()):
        checksum = zlib.crc32(bits(tensor), zlib.crc32(name.encode(), checksum))
    return str(checksum)


def _prefixed(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}/{name}": tensor for name, tensor in tensors.items()}


def _within(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(f"{prefix}/"): t for name, t in tensors.items() if name.startswith(f"{prefix}/")}
