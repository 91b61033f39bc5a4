"""What is timed: networks on images of the shapes they are trained on. Images are random: only their shape matters."""

import sys
from dataclasses import dataclass, replace

import torch
from torch import nn

from lottery_lib import models
from lottery_lib.data.images import Split
from lottery_lib.weights import prunable

DENSITY = 0.05  # of the fixed masks


@dataclass(frozen=True)
class Case:
    """A network, its images and batch; ``steps`` make one measurement, repeated ``rounds`` times."""

    model: str
    shape: tuple[int, int, int]
    classes: int
    batch_size: int
    steps: int
    rounds: int
    augment: bool = True
    width: float = 1.0
    precision: str = "auto"

    @property
    def label(self) -> str:
        return self.model + (f" ×{self.width:g}" if self.width != 1 else "")


CASES = [  # with as many steps as suit a CPU, and where a step is short in rounds enough to tell a few per cent
    Case("lenet-300-100", (1, 28, 28), 10, 128, 100, 40, augment=False, precision="fp32"),  # as on record
    Case("resnet20", (3, 32, 32), 10, 128, 4, 20),
    Case("vgg16", (3, 32, 32), 10, 128, 1, 3),
    Case("resnet18", (3, 64, 64), 200, 256, 1, 3),
]
WIDTHS = [Case("resnet20", (3, 32, 32), 10, 128, steps, 3, width=width) for width, steps in ((1, 3), (2, 1), (4, 1))]
AT_ONCE = [replace(CASES[0], steps=400), replace(CASES[1], steps=12)]


def network(case: Case, device: str) -> nn.Module:
    model = models.create(case.model, case.classes, case.shape, width=case.width)
    return model.to(device, memory_format=torch.channels_last)


def pictures(case: Case, device: str) -> Split:
    count = case.batch_size * case.steps
    images = torch.randint(0, 256, (count, *case.shape), dtype=torch.uint8, device=device)
    half = torch.full(case.shape[:1], 0.5, device=device)
    return Split(images, torch.arange(count, device=device) % case.classes, half, half, case.augment)


def mask(model: nn.Module) -> dict[str, torch.Tensor]:
    weights = {name: model.get_parameter(name) for name in prunable(model)}
    return {name: torch.rand_like(weight) < DENSITY for name, weight in weights.items()}


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
