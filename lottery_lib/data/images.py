"""Images and labels as tensors on the device: split, normalised, augmented a batch at a time.

All randomness comes from numpy's PCG64, so a split or an epoch is the same on every device and torch version. An epoch
of training batches depends on ``(seed, epoch)`` alone: a resumed run needs no generator state, only its epoch number.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, pad

from lottery_lib.data.splits import Pair
from lottery_lib.errors import LotteryError
from lottery_lib.files import bits
from lottery_lib.randomness import generator

CROP = 4  # pixels of padding on each side that a random crop is taken from


@dataclass(frozen=True, eq=False)
class Split:
    """Images (N, C, H, W) uint8 and labels (N,) int64 on one device, with what turns them into a network's input.

    ``mean`` and ``std`` (C,) are those of the training split, in units of [0, 1] pixels. ``augment`` says whether
    ``batches`` flips and crops.
    """

    images: Tensor
    labels: Tensor
    mean: Tensor
    std: Tensor
    augment: bool = False

    def __len__(self) -> int:
        return len(self.labels)

    def steps(self, batch_size: int) -> int:
        """Batches in an epoch of training: the last, incomplete one is dropped, so that step counts are fixed."""
        return len(self) // batch_size

    def batches(self, batch_size: int, *, epoch: int = 0, seed: int = 0) -> Iterator[Pair]:
        """One shuffled epoch of ``steps(batch_size)`` pairs: images (B, C, H, W) float32, normalised, and labels (B,).

        Order and augmentation depend on ``(seed, epoch)`` only. They are drawn for the whole epoch and copied to the
        device once, so that no batch makes the host wait. LotteryError if a batch does not fit into the split.
        """
        if not 1 <= batch_size <= len(self):
            raise LotteryError(f"batch size {batch_size}: must lie between 1 and {len(self)}, the images of the split")
        rng = generator(seed, epoch)
        n, device = len(self), self.images.device
        order = torch.from_numpy(rng.permutation(n)).to(device)
        shift = torch.from_numpy(rng.integers(0, 2 * CROP + 1, size=(n, 2))).to(device)
        mirror = torch.from_numpy(rng.integers(0, 2, size=n).astype(bool)).to(device)
        for step in range(self.steps(batch_size)):
            batch = slice(step * batch_size, (step + 1) * batch_size)
            rows = order[batch]
            if self.augment:
                images = crop_and_flip(self.images.index_select(0, rows), shift[batch], mirror[batch])
                inputs = normalize(images, self.mean, self.std)
            else:
                inputs = self.inputs.index_select(0, rows)
            yield inputs, self.labels.index_select(0, rows)

    def in_order(self, batch_size: int = 1000) -> Iterator[Pair]:
        """Every image once, in order and unaugmented, for evaluation; the last batch may be smaller."""
        if self.augment:  # a training split: its inputs are made batch by batch, so there are none to keep
            inputs = (normalize(images, self.mean, self.std) for images in self.images.split(batch_size))
        else:
            inputs = self.inputs.split(batch_size)
        yield from zip(inputs, self.labels.split(batch_size))

    @cached_property
    def inputs(self) -> Tensor:
        """All images normalised (N, C, H, W) float32, made once, for ``batches`` without augmentation."""
        return normalize(self.images, self.mean, self.std)


@dataclass(frozen=True, eq=False)
class Data:
    """A data set in three splits. ``test`` is to be read once, at the end; everything is chosen on ``val``."""

    name: str
    classes: int
    train: Split
    val: Split
    test: Split

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of an image."""
        return tuple(self.train.images.shape[1:])  # type: ignore[return-value]  # (N, C, H, W) but N

    @property
    def sizes(self) -> dict[str, int]:
        """How many images each split has. A partial Tiny ImageNet shows here, and belongs in every record."""
        return {"train": len(self.train), "val": len(self.val), "test": len(self.test)}

    @property
    def fingerprint(self) -> str:
        """Name, sizes and a hash of the training labels, which tells the seed of the split."""
        labels = hashlib.sha256(bits(self.train.labels)).hexdigest()[:16]
        return f"{self.name} {self.sizes} {labels}"


def normalize(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """uint8 images (N, C, H, W) to float32 of mean 0 and standard deviation 1 for each channel."""
    values = images.to(torch.float32, copy=True)  # which the rest is done in: a batch may be a whole split
    return values.div_(255).sub_(mean.view(-1, 1, 1)).div_(std.view(-1, 1, 1))


def crop_and_flip(images: Tensor, shift: Tensor, mirror: Tensor) -> Tensor:
    """Images (N, C, H, W) padded by ``CROP`` black pixels, cropped at ``shift`` and, where ``mirror`` (N,), mirrored.

    ``shift`` (N, 2) holds each crop's top row and left column, 0 to 2 * CROP. As in the usual recipes, padding comes
    before normalisation. One indexing of all possible crops, which are a view, serves the whole batch.
    """
    n, _, height, width = images.shape
    crops = pad(images, [CROP] * 4).unfold(2, height, 1).unfold(3, width, 1)  # (N, C, top, left, H, W)
    crops = crops[torch.arange(n, device=images.device), :, shift[:, 0], shift[:, 1]]
    return torch.where(mirror.view(-1, 1, 1, 1), crops.flip(3), crops)


def halved(images: Tensor) -> Tensor:
    """uint8 images (N, C, H, W) at half the height and width, each pixel the mean of four."""
    return avg_pool2d(images.float(), 2).round().to(torch.uint8)


def moments(images: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (C,) of [0, 1] pixels for each channel, from exact counts of the 256 values."""
    counts = torch.stack([torch.bincount(images[:, c].flatten(), minlength=256) for c in range(images.shape[1])])
    share = counts.double() / counts.sum(1, keepdim=True)
    value = torch.arange(256, dtype=torch.float64) / 255
    mean = share @ value
    return mean.float(), (share @ value**2 - mean**2).sqrt().float()
