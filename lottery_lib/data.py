"""Data sets as tensors on the device: read once, checked, split once, augmented a batch at a time.

All randomness comes from numpy's PCG64, so a split or an epoch is the same on every device and torch version. An epoch
of training batches depends on ``(seed, epoch)`` alone: a resumed run needs no generator state, only its epoch number.
"""

import difflib
import hashlib
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
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
from tqdm import tqdm

from . import paths
from .errors import LotteryError

NAMES = ("digits", "mnist", "fashion-mnist", "cifar10", "cifar100", "tiny-imagenet")
AUGMENTED = ("cifar10", "cifar100", "tiny-imagenet")
CROP = 4  # pixels of padding on each side that a random crop is taken from

_TORCHVISION = {
    "mnist": datasets.MNIST,
    "fashion-mnist": datasets.FashionMNIST,
    "cifar10": datasets.CIFAR10,
    "cifar100": datasets.CIFAR100,
}
_TINY = "tiny-imagenet-200"
_TINY_ZIP = {"url": f"http://cs231n.stanford.edu/{_TINY}.zip", "md5": "90528d7ca1a48142e341f4ef8d21d0de"}


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
            raise LotteryError(f"Batch size {batch_size} must lie between 1 and the {len(self)} images of the split.")
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(epoch,)))
        n, device = len(self), self.images.device
        order = torch.from_numpy(rng.permutation(n)).to(device)
        shift = torch.from_numpy(rng.integers(0, 2 * CROP + 1, size=(n, 2))).to(device)
        mirror = torch.from_numpy(rng.integers(0, 2, size=n).astype(bool)).to(device)
        augment = self.augment if augment is None else augment
        for step in range(self.steps(batch_size)):
            batch = slice(step * batch_size, (step + 1) * batch_size)
            images = self.images[order[batch]]
            if augment:
                images = crop_and_flip(images, shift[batch], mirror[batch])
            yield normalize(images, self.mean, self.std), self.labels[order[batch]]

    def in_order(self, batch_size: int = 1000) -> Iterator[tuple[Tensor, Tensor]]:
        """Every image once, in order and unaugmented, for evaluation; the last batch may be smaller."""
        for images, labels in zip(self.images.split(batch_size), self.labels.split(batch_size)):
            yield normalize(images, self.mean, self.std), labels


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
        """Images in each split: a partial Tiny ImageNet shows here, and belongs into every record."""
        return {"train": len(self.train), "val": len(self.val), "test": len(self.test)}

    @property
    def mean(self) -> Tensor:
        return self.train.mean

    @property
    def std(self) -> Tensor:
        return self.train.std

    @property
    def augment(self) -> bool:
        return self.train.augment


def load(name: str, device: str | torch.device = "cpu", seed: int = 0, root: Path | None = None) -> Data:
    """The data set ``name`` (one of ``NAMES``) on ``device``; ``seed`` fixes its train/validation split.

    Validation images are held out of the published training set, each class in its share: 5,000 for (Fashion-)MNIST and
    CIFAR, 5 % for Tiny ImageNet, whose labelled ``val`` set is the test set here. ``digits`` (8x8, embedded, its pixels
    scaled from 0..16 to 0..255) is split 70/10/20, and its test images are the same for every seed. Files are looked
    for in ``root``, by default ``paths.data_dir()``, and downloaded where there are none.
    LotteryError if the name is unknown, a file is damaged, or the download fails.
    """
    if name not in NAMES:
        raise unknown("data set", name, NAMES)
    root = Path(root or paths.data_dir())
    if name == "digits":
        images, labels, test_images, test_labels = _digits()
    elif name == "tiny-imagenet":
        images, labels, test_images, test_labels = _tiny_imagenet(root)
    else:
        images, labels, test_images, test_labels = _torchvision(name, root)
    held_out = {"digits": 180, "tiny-imagenet": len(labels) // 20}.get(name, 5000)
    train, val = hold_out(labels.numpy(), held_out, seed)
    mean, std = (m.to(device) for m in moments(images[train]))

    def split(x: Tensor, y: Tensor, augment: bool = False) -> Split:
        return Split(x.to(device), y.to(device), mean, std, augment)

    return Data(
        name=name,
        classes=int(labels.max()) + 1,
        train=split(images[train], labels[train], name in AUGMENTED),
        val=split(images[val], labels[val]),
        test=split(test_images, test_labels),
    )


def binary(data: Data, digits: tuple[int, int] = (3, 8)) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Two classes of a single-channel set for logistic regression: ``(x_train, y_train, x_test, y_test)``.

    x is (N, H*W) float64 in [0, 1], not normalised; y is (N,) float64, 0 for the first class and 1 for the second.
    Training joins the train and validation splits. LotteryError unless ``digits`` are two classes that occur.
    """
    if data.shape[0] != 1:
        raise LotteryError(f"Data set '{data.name}' has {data.shape[0]} channels; two-class data need a grey one.")
    if len(digits) != 2 or digits[0] == digits[1]:
        raise LotteryError(f"Two different classes are needed, as in (3, 8); these were given: {tuple(digits)}.")
    for digit in digits:
        if not (data.train.labels == digit).any():
            raise LotteryError(f"Data set '{data.name}' has no class {digit}; its classes are 0 to {data.classes - 1}.")

    def select(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        keep = (labels == digits[0]) | (labels == digits[1])
        return images[keep].flatten(1).double() / 255, (labels[keep] == digits[1]).double()

    joined = torch.cat([data.train.images, data.val.images]), torch.cat([data.train.labels, data.val.labels])
    return *select(*joined), *select(data.test.images, data.test.labels)


def normalize(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """uint8 images (N, C, H, W) to float32 of mean 0 and standard deviation 1 for each channel."""
    return (images.float() / 255 - mean.view(-1, 1, 1)) / std.view(-1, 1, 1)


def crop_and_flip(images: Tensor, shift: Tensor, mirror: Tensor) -> Tensor:
    """Each image mirrored where ``mirror`` (N,) is true, padded by ``CROP`` black pixels, cropped at ``shift`` (N, 2).

    ``shift`` holds the crop's top row and left column, 0 to 2 * CROP. Padding comes before normalisation, as in the
    usual recipes. All pixels of the batch are gathered by one indexing.
    """
    n, channels, height, width = images.shape
    rows = shift[:, :1] + torch.arange(height, device=images.device)  # (N, H), in the padded image
    columns = shift[:, 1:] + torch.arange(width, device=images.device)
    # Mirroring the padded image mirrors the columns that are read from it.
    columns = torch.where(mirror[:, None], width + 2 * CROP - 1 - columns, columns)
    image = torch.arange(n, device=images.device).view(-1, 1, 1, 1)
    channel = torch.arange(channels, device=images.device).view(1, -1, 1, 1)
    return pad(images, [CROP] * 4)[image, channel, rows[:, None, :, None], columns[:, None, None, :]]


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


def unknown(what: str, name: str, known: tuple[str, ...]) -> LotteryError:
    """The error for a name that is not one of ``known``, with the nearest that is."""
    near = difflib.get_close_matches(str(name), known, n=1)
    hint = f"did you mean '{near[0]}'?" if near else f"known are {', '.join(known)}."
    return LotteryError(f"Unknown {what} '{name}': {hint}")


# Readers: each returns (training images, labels, test images, labels) on the CPU.


def _digits() -> tuple[Tensor, ...]:
    digits = load_digits()
    images = torch.from_numpy(np.rint(digits.images * 255 / 16).astype(np.uint8)).unsqueeze(1)
    labels = torch.from_numpy(digits.target).long()
    train, test = hold_out(digits.target, 359, seed=0)  # not the caller's seed: test images are never trained on
    return images[train], labels[train], images[test], labels[test]


def _torchvision(name: str, root: Path) -> tuple[Tensor, ...]:
    dataset = _TORCHVISION[name]
    files = _idx_files(root, dataset) if issubclass(dataset, datasets.MNIST) else _cifar_files(root, dataset)
    for file, is_whole in files.items():
        if file.exists() and not is_whole(file):
            raise _damaged(name, file)
    download = not all(file.exists() for file in files)
    try:
        parts = [dataset(root, train=train, download=download) for train in (True, False)]
    except (OSError, RuntimeError) as reason:
        raise _absent(name, root, reason) from reason
    tensors = []
    for part in parts:
        images = torch.as_tensor(part.data)
        images = images.unsqueeze(1) if images.ndim == 3 else images.permute(0, 3, 1, 2).contiguous()
        tensors += [images, torch.as_tensor(part.targets)]
    return tuple(tensors)


def _cifar_files(root: Path, dataset: type) -> dict:
    folder = root / dataset.base_folder
    md5 = {**dict(dataset.train_list), **dict(dataset.test_list), dataset.meta["filename"]: dataset.meta["md5"]}
    return {folder / file: lambda path, md5=md5: check_integrity(path, md5) for file, md5 in md5.items()}


def _idx_files(root: Path, dataset: type) -> dict:
    """torchvision has checksums of MNIST's archives only, so the unpacked files are held against header and size."""

    def is_whole(path: Path) -> bool:
        count = 60000 if path.name.startswith("train") else 10000
        images = "images" in path.name
        header = struct.pack(">4i", 2051, count, 28, 28) if images else struct.pack(">2i", 2049, count)
        with path.open("rb") as file:
            return path.stat().st_size == len(header) + count * (784 if images else 1) and file.read(16).startswith(header)

    folder = root / dataset.__name__ / "raw"
    return {folder / archive.removesuffix(".gz"): is_whole for archive, _ in dataset.resources}


def _tiny_imagenet(root: Path) -> tuple[Tensor, ...]:
    """Decode the JPEG files once, then read ``decoded.safetensors`` beside them as long as the files are the same."""
    folder = root / _TINY
    if not folder.exists():
        try:
            download_and_extract_archive(download_root=str(root), **_TINY_ZIP)
        except (OSError, RuntimeError) as reason:
            raise _absent("tiny-imagenet", root, reason) from reason
    annotations = folder / "val" / "val_annotations.txt"
    for listing in (folder / "wnids.txt", annotations):
        if not listing.exists():
            raise _damaged("tiny-imagenet", listing)
    wnids = {wnid: label for label, wnid in enumerate(sorted((folder / "wnids.txt").read_text().split()))}
    # Some copies of the set have the images of a class in train/<wnid>/images/, some in train/<wnid>/.
    train = {file: label for wnid, label in wnids.items() for file in sorted((folder / "train" / wnid).rglob("*.JPEG"))}
    rows = [line.split("\t") for line in annotations.read_text().splitlines()]
    test = {folder / "val" / "images" / row[0]: wnids[row[1]] for row in rows}
    for wnid, label in wnids.items():
        if label not in train.values():
            raise _damaged("tiny-imagenet", folder / "train" / wnid)
    return _decoded(folder, train, test)


def _decoded(folder: Path, train: dict[Path, int], test: dict[Path, int]) -> tuple[Tensor, ...]:
    keys = ("train_images", "train_labels", "test_images", "test_labels")
    files = hashlib.sha256()
    for file, label in (train | test).items():
        size = file.stat().st_size if file.exists() else None
        files.update(f"{file.relative_to(folder)} {size} {label}\n".encode())
    cache = folder / "decoded.safetensors"
    try:
        with safe_open(cache, "pt") as stored:
            if stored.metadata()["files"] == files.hexdigest():
                return tuple(stored.get_tensor(key) for key in keys)
    except (OSError, SafetensorError):
        pass  # none yet, or cut short: decode again
    labels = [torch.tensor(list(part.values())) for part in (train, test)]
    with tqdm(total=len(train) + len(test), desc="decoding Tiny ImageNet", unit="image") as bar:
        images = [torch.stack([_jpeg(file, bar) for file in part]) for part in (train, test)]
    tensors = (images[0], labels[0], images[1], labels[1])
    unfinished = cache.with_suffix(f".{os.getpid()}")
    try:
        save_file(dict(zip(keys, tensors)), unfinished, {"files": files.hexdigest()})
        unfinished.replace(cache)
    except (OSError, SafetensorError):
        unfinished.unlink(missing_ok=True)  # a folder one may not write to, or a full disk: work without the cache
    return tensors


def _jpeg(file: Path, bar: tqdm) -> Tensor:
    try:
        image = torch.from_numpy(np.array(default_loader(str(file)))).permute(2, 0, 1)
    except OSError as reason:
        raise _damaged("tiny-imagenet", file) from reason
    if image.shape != (3, 64, 64):
        raise _damaged("tiny-imagenet", file)
    bar.update()
    return image


def _absent(name: str, root: Path, reason: Exception) -> LotteryError:
    return LotteryError(
        f"Data set '{name}' is not in {root} and could not be downloaded ({reason}): set LOTTERY_DATA to the folder "
        "that holds it, go online, or use the embedded data set 'digits'."
    )


def _damaged(name: str, file: Path) -> LotteryError:
    return LotteryError(f"Data set '{name}': {file} is missing or damaged; remove its folder to have it downloaded anew.")
