"""One run of any protocol, as a page asks for it: from its record if there is one, else made while the page is read."""

import time
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import nn

from lottery_lib.data.splits import TrainingData
from lottery_lib.errors import LotteryError
from lottery_lib.experiments import arithmetic, grids, protocols, records, sweeps, ticket_run
from lottery_lib.experiments.ticket_run import TicketRun
from lottery_lib.states import snapshot
from lottery_lib.training.recipes import Recipe

STEPS = 10  # that are timed, after as many


@dataclass(frozen=True)
class Experiment:
    """The parameters of a page; LotteryError if the protocol does not know one, or refuses its value.

    ``ticket_run.TicketRun`` says what they mean. What is None, or an empty text, is the protocol's own. Methods that do
    not read a parameter take its default alone.
    """

    protocol: str = "digits"
    model: str = ""
    method: str = "concave"
    density: float = 0.05
    regularizer: str = "log"
    lam: float | None = None
    mask_lr: float | None = None
    alpha: float | None = None
    rounds: int = 1
    rewind_epoch: int = 0
    seed: int = 0
    epochs: int | None = None

    def __post_init__(self) -> None:
        if not issubclass(protocols.config_class(self.protocol), TicketRun):
            raise LotteryError(f"protocol = {self.protocol!r}: must be one that finds tickets")
        self.run  # noqa: B018  # refuses what is wrong

    @property
    def run(self) -> TicketRun:
        """The run that is asked for."""
        kind, given = protocols.config_class(self.protocol), {}
        known = {item.name: item for item in fields(kind)}
        for item in fields(self):
            value = getattr(self, item.name)
            if item.name == "protocol" or value in (None, ""):
                continue
            if item.name in known:
                given[item.name] = value
            elif value != item.default and value != getattr(kind, item.name, None):
                raise LotteryError(f"{item.name} = {value!r}: {self.protocol} has none of its own; leave it out")
        if given.get("method") == "dense":
            given["density"] = 1.0
        return kind(**given)

    def forecast(self) -> str:
        """A sentence on where its numbers come from, and how long that takes on this machine."""
        if records.exists(self.run):
            return f"This run is on record: `{records.name(self.run)}`."
        epochs = sum(grids.trainings(self.run).values())
        takes = sweeps.duration(max(1.0, self.seconds()))
        return f"This run is not on record. It is made now, {epochs:g} epochs, {takes} or so."

    def seconds(self) -> float:
        """What the run will take: some steps of its training, timed, times all of them."""
        data, model = ticket_run.prepare(self.run)
        step = _seconds_a_step(model, data, self.run.training)
        return step * data.train.steps(self.run.training.batch_size) * sum(grids.trainings(self.run).values())

    def made(self, keep: bool = False, progress: bool = False) -> tuple[dict, dict[str, np.ndarray]]:
        """The record and its arrays: those on record; else of a run made now, which is put on record if ``keep``."""
        if keep or records.exists(self.run):
            protocols.train(self.run, progress)
            return records.read(self.run)
        with arithmetic.held(self.run):
            return ticket_run.run(self.run, progress)


def _seconds_a_step(model: nn.Module, data: TrainingData, recipe: Recipe) -> float:
    """Uncompiled, so that it is known at once; the model is left as it was."""
    before = snapshot(model)
    batches = iter(data.train.batches(recipe.batch_size, epoch=0, seed=0))
    times: list[float] = []
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    for images, labels in (next(batches) for _ in range(min(2 * STEPS, data.train.steps(recipe.batch_size)))):
        started = time.perf_counter()
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
        if images.is_cuda:
            torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    model.load_state_dict(before)
    return float(np.median(times[len(times) // 2 :]))
