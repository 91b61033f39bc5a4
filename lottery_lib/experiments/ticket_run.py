"""One run of a ticket protocol: find a ticket by a method, retrain it, and measure it. One flat, typed config a run."""

from dataclasses import Field, asdict, dataclass, field, fields, replace
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from torch import nn

from lottery_lib import errors, masks, methods, models, paths
from lottery_lib.data import datasets
from lottery_lib.data.images import Data, halved
from lottery_lib.errors import LotteryError, hint
from lottery_lib.experiments.catalogue import METHODS, load_plugins
from lottery_lib.methods import calibration
from lottery_lib.regularizers import REGULARIZERS
from lottery_lib.tickets import Ticket
from lottery_lib.training import speed
from lottery_lib.training.evaluation import evaluate
from lottery_lib.training.loop import train
from lottery_lib.training.recipes import PRECISIONS, Recipe

FIFTHS = (  # densities of magnitude pruning by a fifth a round, halved every three
    0.8, 0.64, 0.512, 0.4, 0.32, 0.256, 0.2, 0.16, 0.128, 0.1, 0.08, 0.064, 0.05,
    0.04, 0.032, 0.0256, 0.02, 0.016, 0.0128, 0.01, 0.008, 0.0064, 0.005,
)  # fmt: skip
MOST = 100  # rounds, or recipes in one training
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def _by_method(once: float, **metadata: float) -> Any:
    """A field whose default is the method's; earlier records of methods that do not read it hold ``once``."""
    return field(default=None, metadata={"once": once, **metadata})


@dataclass(frozen=True)
class TicketRun:
    """A run; a protocol subclasses it. LotteryError if a value is out of its range.

    λ, η_m and the start of Continuous Sparsification are chosen on validation data for each density
    (``tables.best``).
    """

    protocol: ClassVar[str]
    version: ClassVar[int]  # raised when the same fields would give other numbers
    vectors: ClassVar[str] = ""  # that its runs are held to on a CPU (``arithmetic``); none: the machine's
    threads: ClassVar[int | None] = None  # likewise
    reduced: ClassVar[bool]  # smaller than the full protocol of this data set and network
    dataset: ClassVar[str]
    model: ClassVar[str]
    width: ClassVar[float] = 1.0  # a factor of the numbers of channels or units
    recipe: ClassVar[Recipe]
    ladder: ClassVar[tuple[float, ...]]  # densities after each round of iterative magnitude pruning

    method: Annotated[str, f"how the ticket is found: {', '.join(METHODS)}"] = "concave"
    density: Annotated[float, "share of the weights to keep, in (0, 1]; 1 for dense"] = 0.05
    seed: Annotated[int, "of initial weights, batches, and all that is drawn"] = 0
    regularizer: Annotated[str, f"penalty on the mask: {', '.join(REGULARIZERS)}"] = "log"
    eps: Annotated[float | None, "its shape parameter; none: its default"] = None
    lam: Annotated[float | None, "λ of the mask; none: set by the search"] = _by_method(1e-4)
    mask_lr: Annotated[float | None, "η_m, the mask's step size; none: likewise"] = _by_method(10.0, nameless=10.0)
    start: Annotated[float, "s₀ of Continuous Sparsification"] = 0.0
    alpha: Annotated[float | None, "keep m ≥ α instead of the density's share"] = None
    score: Annotated[Literal["magnitude", "increase"], "of one-shot pruning"] = "magnitude"
    rounds: Annotated[int, "of searching, thresholding and rewinding; IMP's: 1 is the protocol's ladder"] = 1
    length: Annotated[int, "of gradual pruning's one training, in recipes"] = 2
    rewind_epoch: Annotated[int, "rewind to the weights after so many epochs; 0 is θ₀"] = 0
    per_layer: Annotated[bool, "the same density in every layer"] = False
    search_length: Annotated[int | None, "epochs of one search; none: the recipe's"] = None
    search_images: Annotated[float, "share of the training images that the search sees, in (0, 1]"] = 1.0
    coarse: Annotated[bool, "search at half the resolution, for a quarter of the cost"] = False
    precision: Annotated[Literal["fp32", "bf16", "auto"], "auto: bf16 where the machine computes in it"] = "fp32"
    fast: Annotated[bool, "false: in fp32 as written, uncompiled, to compare with"] = True

    def __post_init__(self):
        errors.settle(self)
        if self.method not in METHODS:
            load_plugins()
        if self.method not in METHODS:
            raise LotteryError(f"unknown method {self.method!r}{hint(self.method, METHODS)}")
        row, unread = METHODS[self.method], self.unread
        for item in fields(self):
            value = getattr(self, item.name)
            if item.name in unread and value not in (item.default, item.metadata.get("once")):
                raise LotteryError(f"{item.name} = {value!r}: {self.method} does not read it; leave it out")
            if item.name in unread or value is None:
                object.__setattr__(self, item.name, self.default(item))
        if (self.method == "dense") != (self.density == 1):
            right = "1 for the dense network" if self.method == "dense" else "below 1 for a ticket"
            raise LotteryError(f"density = {self.density!r}: must be {right}")
        for name in ("rounds", "length"):
            if not 1 <= getattr(self, name) <= MOST:
                raise LotteryError(f"{name} = {getattr(self, name)}: must be 1 to {MOST}")
        if row.ladder and self.rounds == 1 and self.density not in self.ladder:
            raise LotteryError(f"density = {self.density!r}: {self.method} reaches {', '.join(map(str, self.ladder))}")
        if self.search_length is not None and self.search_length < 1:
            raise LotteryError(f"search_length = {self.search_length}: must be ≥ 1, in epochs")
        if not 0 < self.search_images <= 1:
            raise LotteryError(f"search_images = {self.search_images!r}: must lie in (0, 1]")
        if self.precision not in (known := (*PRECISIONS, "auto")):
            raise LotteryError(f"unknown precision {self.precision!r}{hint(self.precision, known)}")
        if self.precision == "bf16" and not self.fast:
            raise LotteryError("precision = 'bf16': fast = False is in fp32; leave out one of the two")
        self.search_config()  # checks the rest

    @property
    def unread(self) -> frozenset[str]:
        """Fields that other methods read, and this one does not."""
        return frozenset(name for row in METHODS.values() for name in row.reads) - {*METHODS[self.method].reads}

    def default(self, item: Field) -> Any:
        """What a field is if it is left out."""
        return METHODS[self.method].defaults(self.lam).get(item.name, item.default)

    @property
    def calibrated(self) -> bool:
        """Whether the search sets λ and η_m by itself."""
        return self.lam is None and hasattr(METHODS[self.method].module.Config, "calibrated")

    @property
    def cost_of_search(self) -> float:
        """The part of an epoch that one of the search costs, on a part of the images or on smaller ones."""
        return self.search_images / (4 if self.coarse else 1)

    @property
    def edition(self) -> int | list[int]:
        """What a run's name holds of versions, raised when the same fields would give other numbers."""
        version = calibration.VERSION if self.calibrated else METHODS[self.method].version
        return [self.version, version] if self.calibrated or version > 1 else self.version

    @property
    def training(self) -> Recipe:
        """The protocol's recipe as this run takes it, on this machine."""
        chosen = speed.precision(self.precision, DEVICE) if self.fast else "fp32"
        return replace(self.recipe, precision=chosen, fast=self.fast, compile_from=speed.COMPILE_FROM)

    def search_config(self) -> methods.SearchConfig:
        """The config of the method that searches; for a derived control that of the ticket it is made from."""
        row = METHODS[self.method]
        recipe = self.training
        recipe = replace(recipe, epochs=self.search_length or recipe.epochs)
        given = asdict(self) | {"recipe": recipe, "shape": self.eps} | row.given
        given["rounds"] = self.round_densities if self.rounds_taken > 1 else ()
        return row.module.Config(**{f.name: given[f.name] for f in fields(row.module.Config) if f.name in given})

    @property
    def round_densities(self) -> tuple[float, ...]:
        """After each round of search, the ladder's where magnitude pruning takes as many, else of equal ratio."""
        ladder = tuple(density for density in self.ladder if density >= self.density)
        by_ladder = METHODS[self.method].ladder and self.rounds == 1
        if by_ladder or (self.rounds == len(ladder) and self.density in ladder):
            return ladder
        return methods.geometric(self.density, self.rounds)

    @property
    def rounds_taken(self) -> int:
        return len(self.round_densities)


def run(config: TicketRun, progress: bool = False) -> tuple[dict, dict[str, np.ndarray]]:
    """Find the ticket, retrain it and measure it; the test split is read once, after the last epoch.

    Returns the record and the arrays beside it: ``histogram`` (layers, bins) of the relaxed mask where there is one,
    and, for seed 0, the ticket's ``mask`` packed to a bit a weight. In the record, ``history`` is the retraining and
    ``search`` the search, epoch by epoch. It has the bits of its record on the threads that its protocol is held to
    (``arithmetic.held``), as ``protocols.train`` sees to.
    """
    data, model = prepare(config)
    options = {"work": paths.WORK, "progress": progress}
    recipe = config.training
    if config.method == "dense":
        history, ticket = train(model, data, recipe, seed=config.seed, **options), None
    else:
        ticket = find(config, model, data, options)
        history = methods.retrain(model, data, ticket, recipe, seed=config.seed, start=config.rewind_epoch, **options)
    final = history.epochs[-1] if history.epochs else _validated(model, data)
    search_epochs = ticket.search_epochs * config.cost_of_search if ticket else 0
    record = {
        "config": asdict(config),
        "reduced": config.reduced,
        "dataset": config.dataset,
        "images": data.sizes,
        "model": config.model,
        "width": config.width,
        "recipe": asdict(recipe),
        "rounds": config.rounds_taken if ticket else 0,
        "density": ticket.density if ticket else 1.0,
        "search_epochs": search_epochs,
        "total_epochs": search_epochs + len(history.epochs),
        "val_accuracy": final["val_accuracy"],
        "test_accuracy": evaluate(model, data.test)["accuracy"],
        "seconds": history.seconds + (ticket.info.get("seconds", 0.0) if ticket else 0.0),
        "history": history.epochs,
    }
    return (record, {}) if ticket is None else (record | _described(ticket), _arrays(ticket, config.seed))


def prepare(config: TicketRun) -> tuple[Data, nn.Module]:
    """The data and the network of a run as they go into its search, on the device, laid out as it trains fastest."""
    data = datasets.load(config.dataset, DEVICE)
    layout = torch.channels_last if config.fast else torch.contiguous_format
    model = models.create(config.model, data.classes, data.shape, config.seed, config.width)
    return data, model.to(DEVICE, memory_format=layout)


def find(config: TicketRun, model: nn.Module, data: Data, options: dict[str, Any]) -> Ticket:
    """The ticket of a run; ``model`` is left rewound and pruned."""
    row = METHODS[config.method]
    ticket = row.module.search(model, _seen(config, data), config.search_config(), **options)
    return row.control(ticket, model, config.seed) if row.control else ticket


def _seen(config: TicketRun, data: Data) -> Data:
    """What the search sees of the data."""
    train, val = data.train, data.val
    if config.search_images < 1:
        count = round(config.search_images * len(train))
        if count < 1:
            raise LotteryError(f"search_images = {config.search_images:g}: no image of {len(train)} is left; give more")
        _, chosen = datasets.hold_out(train.labels.cpu().numpy(), count, config.seed)
        train = replace(train, images=train.images[chosen], labels=train.labels[chosen])
    if config.coarse:
        if config.model in models.OF_ONE_SIZE:
            raise LotteryError(f"coarse = True: {config.model} takes images of one size; take a convolutional network")
        train, val = (replace(split, images=halved(split.images)) for split in (train, val))
    return replace(data, train=train, val=val)


def _validated(model: nn.Module, data: Data) -> dict[str, float]:
    return {f"val_{key}": value for key, value in evaluate(model, data.val).items()}


def _described(ticket: Ticket) -> dict:
    layers = masks.per_layer(ticket.mask)
    described = {
        "layers": layers.assign(shape=layers["shape"].map(list)).to_dict("records"),
        "mask_sha256": masks.digest(ticket.mask),
        "search": ticket.info["history"],
    }
    if ticket.relaxed:
        described["bimodality"] = masks.bimodality(ticket.relaxed)
    if "asked" in ticket.info:  # what a calibrated search has set, and the margin it left
        described["calibration"] = {key: ticket.info[key] for key in ("alpha", "gap", "lam", "mask_lr", "epochs")}
    return described


def _arrays(ticket: Ticket, seed: int) -> dict[str, np.ndarray]:
    arrays = {}
    if ticket.relaxed:
        arrays["histogram"] = masks.histogram(ticket.relaxed)
    if seed == 0:
        arrays["mask"] = masks.pack(ticket.mask)
    return arrays
