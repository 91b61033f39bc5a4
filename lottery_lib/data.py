"""Data sets as tensors on the device: read once, checked, split once, augmented a batch at a time.

All randomness comes from numpy's PCG64, so a split or an epoch is the same on every device and torch version. An epoch
of training batches depends on ``(seed, epoch)`` alone: a resumed run needs no generator state, only its epoch number.
"""

import hashlib
import math
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from sklearn.datasets import load_digits
from torch import Tensor
from torch.nn.functional import pad
from torchvision import datasets
from torchvision.datasets.folder import default_loader
from torchvision.datasets.utils import check_integrity, download_and_extract_archive
from torchvision.transforms.functional import pil_to_tensor
from tqdm import tqdm

from . import paths
from .errors import LotteryError
from .params import hint

_TORCHVISION = {
    "mnist": datasets.MNIST,
    "fashion-mnist": datasets.FashionMNIST,
    "cifar10": datasets.CIFAR10,
    "cifar100": datasets.CIFAR100,
}
_TINY_URL, _TINY_MD5 = "http://cs231n.stanford.edu/tiny-imagenet-200.zip", "90528d7ca1a48142e341f4ef8d21d0de"
NAMES = ("digits", *_TORCHVISION, "tiny-imagenet")
AUGMENTED = ("cifar10", "cifar100", "tiny-imagenet")
CROP = 4  # pixels of padding on each side that a random crop is taken from


@dataclass(frozen=True, eq=False)
class Split:
    """Images (N, C, H, W) uint8 and labels (N,) int64 on one device, with what turns them into a network's input.

    ``mean`` and ``std`` (C,) are those of the training split, in units of [0, 1] pixels. ``augment`` says whether
    ``batches`` flips and crops unless told otherwise.
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

    def batches(
        self, batch_size: int, *, epoch: int = 0, seed: int = 0, augment: bool | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """One shuffled epoch of ``steps(batch_size)`` pairs: images (B, C, H, W) float32, normalised, and labels (B,).

        Order and augmentation depend on ``(seed, epoch)`` only. They are drawn for the whole epoch and copied to the
        device once, so that no batch makes the host wait. LotteryError if a batch does not fit into the split.
        """
        if not 1 <= batch_size <= len(self):
            raise LotteryError(f"batch size {batch_size}: must lie between 1 and {len(self)}, the images of the split")
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(epoch,)))
        n, device = len(self), self.images.device
        order = torch.from_numpy(rng.permutation(n)).to(device)
        shift = torch.from_numpy(rng.integers(0, 2 * CROP + 1, size=(n, 2))).to(device)
        mirror = torch.from_numpy(rng.integers(0, 2, size=n).astype(bool)).to(device)
        augment = self.augment if augment is None else augment
        for step in range(self.steps(batch_size)):
            batch = slice(step * batch_size, (step + 1) * batch_size)
            rows = order[batch]
            if augment:
                images = crop_and_flip(self.images.index_select(0, rows), shift[batch], mirror[batch])
                inputs = normalize(images, self.mean, self.std)
            else:
                inputs = self.inputs.index_select(0, rows)
            yield inputs, self.labels.index_select(0, rows)

    def in_order(self, batch_size: int = 1000) -> Iterator[tuple[Tensor, Tensor]]:
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
        return tuple(self.train.images.shape[1:])

    @property
    def sizes(self) -> dict[str, int]:
        """How many images each split has. A partial Tiny ImageNet shows here, and belongs into every record."""
        return {"train": len(self.train), "val": len(self.val), "test": len(self.test)}

    @property
    def fingerprint(self) -> str:
        """Name, sizes and a hash of the training labels, which tells the seed of the split."""
        labels = hashlib.sha256(self.train.labels.cpu().numpy().tobytes()).hexdigest()[:16]
        return f"{self.name} {self.sizes} {labels}"

    mean = property(lambda self: self.train.mean)
    std = property(lambda self: self.train.std)
    augment = property(lambda self: self.train.augment)


def load(name: str, device: str | torch.device = "cpu", seed: int = 0) -> Data:
    """The data set ``name`` (one of ``NAMES``) on ``device``; ``seed`` fixes its train/validation split.

    Validation images are held out of the published training set, each class in its share: 5,000 for (Fashion-)MNIST and
    CIFAR, 5 % for Tiny ImageNet, whose labelled ``val`` set is the test set here. ``digits`` (8x8, embedded, its pixels
    scaled from 0..16 to 0..255) is split 70/10/20, and its test images are the same for every seed. Files lie in
    ``paths.data_dir()`` and are downloaded where there are none.
    LotteryError if the name is unknown, a file is damaged, or the download fails.
    """
    if name not in NAMES:
        raise LotteryError(f"unknown data set {name!r}{hint(name, NAMES)}")
    root = paths.data_dir()
    try:
        if name == "digits":
            images, labels, test_images, test_labels = _digits()
        elif name == "tiny-imagenet":
            images, labels, test_images, test_labels = _tiny_imagenet(root)
        else:
            images, labels, test_images, test_labels = _torchvision(name, root)
    except (OSError, RuntimeError) as reason:  # what torchvision's downloads raise, some of it on several lines
        why = " ".join(str(reason).split()).rpartition("got: ")[2]  # torchvision lists every mirror; the last one's
        raise LotteryError(
            f"data set {name!r} is not in {root} and could not be downloaded ({why}); set "
            "LOTTERY_DATA to the folder that holds it, go online, or use the embedded data set 'digits'"
        ) from reason
    held_out = {"digits": 180, "tiny-imagenet": len(labels) // 20}
    train, val = hold_out(labels.numpy(), held_out.get(name, 5000), seed)
    mean, std = (m.to(device) for m in moments(images[train]))

    def split(x: Tensor, y: Tensor, augment: bool = False) -> Split:
        return Split(x.to(device), y.to(device), mean, std, augment)

    train, val = split(images[train], labels[train], name in AUGMENTED), split(images[val], labels[val])
    return Data(name, int(labels.max()) + 1, train, val, split(test_images, test_labels))


def binary(data: Data, digits: tuple[int, int] = (3, 8)) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Two classes of a single-channel set for logistic regression: ``(x_train, y_train, x_test, y_test)``.

    x is (N, H*W) float64 in [0, 1], not normalised; y is (N,) float64, 0 for the first class and 1 for the second.
    Training joins the train and validation splits. LotteryError unless ``digits`` are two classes that occur.
    """
    if data.shape[0] != 1:
        raise LotteryError(
            f"data set {data.name!r} has {data.shape[0]} channels; two classes are taken from grey images only"
        )
    if len(digits) != 2 or digits[0] == digits[1]:
        raise LotteryError(f"digits = {digits!r}: must be two different classes, as in (3, 8)")
    for digit in digits:
        if not (data.train.labels == digit).any():
            raise LotteryError(f"data set {data.name!r} has no class {digit}; its classes are 0 to {data.classes - 1}")

    def select(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        keep = (labels == digits[0]) | (labels == digits[1])
        return images[keep].flatten(1).double() / 255, (labels[keep] == digits[1]).double()

    joined = torch.cat([data.train.images, data.val.images]), torch.cat([data.train.labels, data.val.labels])
    return *select(*joined), *select(data.test.images, data.test.labels)


def normalize(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """uint8 images (N, C, H, W) to float32 of mean 0 and standard deviation 1 for each channel."""
    return (images.float() / 255 - mean.view(-1, 1, 1)) / std.view(-1, 1, 1)


def crop_and_flip(images: Tensor, shift: Tensor, mirror: Tensor) -> Tensor:
    """Images (N, C, H, W) padded by ``CROP`` black pixels, cropped at ``shift`` and, where ``mirror`` (N,), mirrored.

    ``shift`` (N, 2) holds each crop's top row and left column, 0 to 2 * CROP. As in the usual recipes, padding comes
    before normalisation. One indexing of all possible crops, which are a view, serves the whole batch.
    """
    n, _, height, width = images.shape
    crops = pad(images, [CROP] * 4).unfold(2, height, 1).unfold(3, width, 1)  # (N, C, top, left, H, W)
    crops = crops[torch.arange(n, device=images.device), :, shift[:, 0], shift[:, 1]]
    return torch.where(mirror.view(-1, 1, 1, 1), crops.flip(3), crops)


def hold_out(labels: np.ndarray, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the images that stay and of ``count`` that are held out, each class in its share within one image."""
    order = np.random.default_rng(seed).permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]  # by class, shuffled within each
    chosen = np.zeros(len(labels), dtype=bool)
    chosen[order[np.arange(count) * len(labels) // count]] = True
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)


def moments(images: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (C,) of [0, 1] pixels for each channel, from exact counts of the 256 values."""
    counts = torch.stack([torch.bincount(images[:, c].flatten(), minlength=256) for c in range(images.shape[1])])
    share = counts.double() / counts.sum(1, keepdim=True)
    value = torch.arange(256, dtype=torch.float64) / 255
    mean = share @ value
    return mean.float(), (share @ value**2 - mean**2).sqrt().float()


def _digits() -> tuple[Tensor, ...]:
    """As the other readers do: training images and labels, test images and labels, on the CPU."""
    digits = load_digits()
    images = torch.from_numpy(np.rint(digits.images * 255 / 16).astype(np.uint8)).unsqueeze(1)
    labels = torch.from_numpy(digits.target).long()
    train, test = hold_out(digits.target, 359, seed=0)  # the same test images for every seed of the caller
    return images[train], labels[train], images[test], labels[test]


def _torchvision(name: str, root: Path) -> tuple[Tensor, ...]:
    dataset = _TORCHVISION[name]
    if issubclass(dataset, datasets.MNIST):  # the published checksums are those of the archives
        folder = root / dataset.__name__ / "raw"
        whole = {folder / archive.removesuffix(".gz"): _idx_is_whole for archive, _ in dataset.resources}
    else:
        folder = root / dataset.base_folder
        sums = [*dataset.train_list, *dataset.test_list, (dataset.meta["filename"], dataset.meta["md5"])]
        whole = {folder / file: partial(check_integrity, md5=md5) for file, md5 in sums}
    for file, is_whole in whole.items():
        if file.exists() and not is_whole(file):
            raise _damaged(name, file, folder)
    download = not all(file.exists() for file in whole)
    tensors = []
    for part in (dataset(root, train=train, download=download) for train in (True, False)):
        images = torch.as_tensor(part.data)
        images = images.unsqueeze(1) if images.ndim == 3 else images.permute(0, 3, 1, 2).contiguous()
        tensors += [images, torch.as_tensor(part.targets)]
    return tuple(tensors)


def _idx_is_whole(path: Path) -> bool:
    """Whether a file is what its name says: MNIST's images or labels, with the right header and size."""
    shape = (60000 if path.name.startswith("train") else 10000, *((28, 28) if "images" in path.name else ()))
    header = struct.pack(f">{1 + len(shape)}i", 0x800 + len(shape), *shape)
    content = path.read_bytes()
    return content.startswith(header) and len(content) == len(header) + math.prod(shape)


def _tiny_imagenet(root: Path) -> tuple[Tensor, ...]:
    folder = root / "tiny-imagenet-200"
    if not folder.exists():
        download_and_extract_archive(_TINY_URL, str(root), md5=_TINY_MD5)
    try:
        train = datasets.ImageFolder(folder / "train")  # takes train/<wnid>/images/*.JPEG and train/<wnid>/*.JPEG
        rows = [line.split("\t") for line in (folder / "val" / "val_annotations.txt").read_text().splitlines()]
        samples = train.samples + [(f"{folder}/val/images/{row[0]}", train.class_to_idx[row[1]]) for row in rows]
        sizes = {file: os.path.getsize(file) for file, _ in samples}
    except (OSError, LookupError) as reason:
        raise _damaged("tiny-imagenet", getattr(reason, "filename", None) or folder, folder) from reason
    if np.ptp(np.bincount(train.targets)):  # unpacking was cut short; a balanced part of the set is welcome
        raise _damaged("tiny-imagenet", folder / "train", folder)
    images, labels = _decoded(folder, sizes), torch.tensor([label for _, label in samples])
    return images[: len(train)], labels[: len(train)], images[len(train) :], labels[len(train) :]


def _decoded(folder: Path, sizes: dict[str, int]) -> Tensor:
    """Decode the JPEG files once; after that read ``decoded.safetensors``, as long as names and sizes are the same."""
    cache = folder / "decoded.safetensors"
    key = hashlib.sha256(repr([(os.path.relpath(file, folder), sizes[file]) for file in sizes]).encode()).hexdigest()
    try:
        with safe_open(cache, "pt") as stored:
            if stored.metadata() == {"files": key}:
                return stored.get_tensor("images")
    except (OSError, SafetensorError):
        pass  # none yet, or cut short
    images = torch.empty(len(sizes), 3, 64, 64, dtype=torch.uint8)
    for i, file in enumerate(tqdm(sizes, "decoding Tiny ImageNet", unit="image")):
        try:
            images[i] = pil_to_tensor(default_loader(file))
        except (OSError, RuntimeError) as reason:  # not a JPEG, cut short, or not 64x64
            raise _damaged("tiny-imagenet", file, folder) from reason
    unfinished = cache.with_suffix(f".{os.getpid()}")
    try:
        save_file({"images": images}, unfinished, {"files": key})
        unfinished.replace(cache)
    except (OSError, SafetensorError):
        unfinished.unlink(missing_ok=True)  # a folder one may not write to, or a full disk: do without
    return images


def _damaged(name: str, file: Path | str, folder: Path) -> LotteryError:
    return LotteryError(f"data set {name!r}: {file} is damaged; delete {folder} to have it downloaded again")
