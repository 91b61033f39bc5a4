"""Networks that this library did not build: torchvision's, pruned as a reader would prune a network of their own.

Each is as small as its parts allow and keeps the initial weights that its authors draw. A search is told the density
alone, or λ; a random mask beside it says how much a mask has to tell there at all: little on the embedded digits, so
there is a part of CIFAR-10 beside them.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from torch import nn
from torch.nn.functional import interpolate
from torchvision import models
from torchvision.models.convnext import CNBlockConfig
from torchvision.models.regnet import BlockParams

from lottery_lib import errors, masks, methods, paths
from lottery_lib.data import datasets
from lottery_lib.data.images import Data
from lottery_lib.errors import LotteryError
from lottery_lib.methods import calibration, concave, controls
from lottery_lib.training.evaluation import evaluate
from lottery_lib.training.loop import train
from lottery_lib.training.recipes import Recipe

SGD = Recipe(epochs=30, batch_size=64, lr=0.05, schedule="one-cycle")
ADAMW = Recipe(epochs=60, batch_size=64, lr=0.002, optimizer="adamw", schedule="one-cycle")
STAGES = BlockParams([1, 1, 2], [24, 48, 96], [24, 48, 96], [1.0, 1.0, 1.0], [2, 2, 2], 0.25)
MASK_LR = 10.0  # η_m beside a λ by hand
IMAGES = 10_000  # of CIFAR-10's 45,000 to train on

NETWORKS: dict[str, tuple[Callable[..., nn.Module], Recipe]] = {  # each takes num_classes
    "ShuffleNet": (partial(models.ShuffleNetV2, [2, 4, 2], [24, 48, 96, 192, 256]), SGD),
    "RegNet": (partial(models.RegNet, STAGES), SGD),
    "DenseNet": (partial(models.DenseNet, 12, (3, 3, 3), 24), SGD),
    "ConvNeXt": (partial(models.ConvNeXt, [CNBlockConfig(32, 64, 2), CNBlockConfig(64, None, 2)]), ADAMW),
    "ViT": (partial(models.VisionTransformer, 32, 4, 3, 4, 64, 128), ADAMW),
}


@dataclass(frozen=True)
class Stranger:
    """One run, on the embedded 8×8 digits, enlarged to 32×32; LotteryError if a value is out of its range."""

    protocol: ClassVar[str] = "strangers"
    dataset: ClassVar[str] = "digits"
    version: ClassVar[int] = 1  # raised when the same fields would give other numbers
    device: ClassVar[str] = "cpu"  # whatever else there is
    threads: ClassVar[int] = 1  # on so few images they would only wait for each other

    network: Annotated[Literal["ShuffleNet", "RegNet", "DenseNet", "ConvNeXt", "ViT"], "torchvision's"] = "ShuffleNet"
    density: Annotated[float, "share of the weights to keep, in (0, 1]; 1 for dense"] = 0.05
    lam: Annotated[float | None, "λ of the mask; none: set by the search"] = None
    seed: Annotated[int, "of initial weights and batches"] = 0
    mask: Annotated[Literal["learned", "random"], "learned by the search, or random"] = "learned"

    def __post_init__(self):
        errors.settle(self)
        known = (self.network in NETWORKS, f"one of {', '.join(NETWORKS)}")
        mask = (self.mask in ("learned", "random"), "learned or random")
        errors.hold(self, {"network": known, "density": (0 < self.density <= 1, "in (0, 1]"), "mask": mask})
        if self.mask == "random" and self.lam is not None:
            raise LotteryError(f"lam = {self.lam:g}: a random mask has no λ; leave it out")
        self.search_config()  # checks the rest

    @property
    def edition(self) -> list[int]:
        """Versions that a run's name holds."""
        return [self.version, calibration.VERSION]

    @property
    def recipe(self) -> Recipe:
        return NETWORKS[self.network][1]

    def search_config(self) -> concave.Config | controls.Config:
        if self.mask == "random":
            return controls.Config(density=self.density, recipe=self.recipe, seed=self.seed)
        by_hand = {} if self.lam is None else {"lam": self.lam, "mask_lr": MASK_LR}
        return concave.Config(density=self.density, recipe=self.recipe, seed=self.seed, **by_hand)

    def data(self) -> Data:
        """The images, 32×32 in three channels, as such networks expect them."""
        return enlarged(datasets.load(self.dataset))


class CifarStranger(Stranger):
    """The same on 10,000 images of CIFAR-10, in ten epochs, which are more steps than on the digits."""

    protocol = "strangers-cifar"
    dataset = "cifar10"
    vectors = "AVX2"  # so that machines that have more go on with what others began (``arithmetic``)

    @property
    def recipe(self) -> Recipe:
        return replace(super().recipe, epochs=10)

    def data(self) -> Data:
        """A thousand images a class to train on, the same for every seed; all of the other two splits."""
        return fewer(datasets.load(self.dataset), IMAGES)


def run(config: Stranger, progress: bool = False) -> tuple[dict, dict[str, np.ndarray]]:
    """Search, retrain, measure; the test split is read once, after the last epoch.

    Returns a JSON-able record, with the density reached and accuracies in percent, and the ``histogram`` (layers, bins)
    of the relaxed mask (``masks.histogram``), if there is one.
    """
    data, options = config.data(), {"work": paths.WORK, "progress": progress}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = NETWORKS[config.network][0](num_classes=data.classes)
    found, arrays = {"density": 1.0, "seconds": 0.0}, {}
    if config.density < 1:
        search = (controls if config.mask == "random" else concave).search
        ticket = search(model, data, config.search_config(), **options)
        history = methods.retrain(model, data, ticket, config.recipe, seed=config.seed, **options)
        found = {"density": ticket.density, "seconds": ticket.info.get("seconds", 0.0)}
        arrays = {"histogram": masks.histogram(ticket.relaxed)} if ticket.relaxed else {}
    else:
        history = train(model, data, config.recipe, seed=config.seed, **options)
    return {
        "config": asdict(config),
        "dataset": config.dataset,
        "images": data.sizes,
        "model": config.network,
        "recipe": asdict(config.recipe),
        "density": found["density"],
        "val_accuracy": history.epochs[-1]["val_accuracy"],
        "test_accuracy": evaluate(model, data.test)["accuracy"],
        "seconds": history.seconds + found["seconds"],
    }, arrays


def enlarged(data: Data) -> Data:
    """The same images as 32×32 pixels in three channels."""
    splits = {name: getattr(data, name) for name in ("train", "val", "test")}
    larger = {
        name: replace(split, images=interpolate(split.images, size=(32, 32)).repeat(1, 3, 1, 1))
        for name, split in splits.items()
    }
    return replace(data, **larger)


def fewer(data: Data, count: int) -> Data:
    """The same with ``count`` training images, each class in its share; LotteryError if there are not so many."""
    train = data.train
    if not 0 < count <= len(train):
        raise LotteryError(f"count = {count}: must lie between 1 and {len(train)}, the training images")
    _, chosen = datasets.hold_out(train.labels.cpu().numpy(), count, seed=0)
    return replace(data, train=replace(train, images=train.images[chosen], labels=train.labels[chosen]))
