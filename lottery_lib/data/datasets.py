"""The data sets of the experiments: read once, checked, and split once; ``images`` holds what comes of that."""

import hashlib
import math
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from sklearn.datasets import load_digits
from torch import Tensor
from torchvision import datasets
from torchvision.datasets.folder import default_loader
from torchvision.datasets.utils import check_integrity, download_and_extract_archive
from torchvision.transforms.functional import pil_to_tensor
from tqdm import tqdm

from lottery_lib import errors, paths
from lottery_lib.data.images import Data, Split, moments
from lottery_lib.data.splits import require_there
from lottery_lib.errors import LotteryError, hint
from lottery_lib.files import locked, whole

_TORCHVISION = {
    "mnist": datasets.MNIST,
    "fashion-mnist": datasets.FashionMNIST,
    "cifar10": datasets.CIFAR10,
    "cifar100": datasets.CIFAR100,
}
_TINY_URL, _TINY_MD5 = "http://cs231n.stanford.edu/tiny-imagenet-200.zip", "90528d7ca1a48142e341f4ef8d21d0de"
HOUR = 3600.0  # to wait for another process's download
NAMES = ("digits", *_TORCHVISION, "tiny-imagenet")
GREY = ("digits", "mnist", "fashion-mnist")
AUGMENTED = ("cifar10", "cifar100", "tiny-imagenet")


def load(name: str, device: str | torch.device = "cpu", seed: int = 0) -> Data:
    """A data set of the experiments on ``device``; ``seed`` fixes its train/validation split.

    Validation images are held out of the published training set, each class in its share: 5,000 for (Fashion-)MNIST and
    CIFAR, 5 % for Tiny ImageNet, whose labelled ``val`` set is the test set here. ``digits`` (8×8, embedded, its pixels
    scaled from 0..16 to 0..255) is split 70/10/20, and its test images are the same for every seed. Files lie in
    ``paths.data_dir()`` and are downloaded where there are none.

    Args:
        name: digits, mnist, fashion-mnist, cifar10, cifar100 or tiny-imagenet.

    Raises:
        LotteryError: the name is unknown, the device is not there, the seed is no valid one, a file is damaged, or the
            download fails.

    >>> import lottery_lib as lottery
    >>> data = lottery.load("digits")
    >>> data.sizes, data.shape, data.classes
    ({'train': 1258, 'val': 180, 'test': 359}, (1, 8, 8), 10)
    """
    if name not in NAMES:
        raise LotteryError(f"unknown data set {name!r}{hint(name, NAMES)}")
    require_there(device)
    root = paths.data_dir()
    try:
        if name == "digits":
            images, labels, test_images, test_labels = _digits()
        else:
            with _alone(root, name):
                read = _tiny_imagenet(root) if name == "tiny-imagenet" else _torchvision(name, root)
            images, labels, test_images, test_labels = read
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

    return Data(
        name,
        classes=int(labels.max()) + 1,
        train=split(images[train], labels[train], name in AUGMENTED),
        val=split(images[val], labels[val]),
        test=split(test_images, test_labels),
    )


def hold_out(labels: np.ndarray, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the images that stay and of ``count`` that are held out, each class in its share within one image.

    Raises:
        LotteryError: the seed is no valid one.
    """
    order = np.random.default_rng(errors.seed(seed)).permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]  # by class, shuffled within each
    chosen = np.zeros(len(labels), dtype=bool)
    chosen[order[np.arange(count) * len(labels) // count]] = True
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)


def _digits() -> tuple[Tensor, ...]:
    """As the other readers do: training images and labels, test images and labels, on the CPU."""
    digits = load_digits()
    images = torch.from_numpy(np.rint(digits.images * 255 / 16).astype(np.uint8)).unsqueeze(1)
    labels = torch.from_numpy(digits.target).long()
    train, test = hold_out(digits.target, 359, seed=0)  # the same test images for every seed of the caller
    return images[train], labels[train], images[test], labels[test]


@contextmanager
def _alone(root: Path, name: str) -> Iterator[None]:
    """A block that one process at a time is in, where it may write: what another one is downloading is not damaged."""
    root.mkdir(parents=True, exist_ok=True)
    lock = root / f"{name}.lock"
    if not os.access(lock if lock.exists() else root, os.W_OK):  # it may be another user's
        yield
        return
    with locked(lock, HOUR) as free:
        if not free:
            raise LotteryError(f"data set {name!r}: another process has been at {root} for an hour; end that one")
        yield


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
    for i, file in enumerate(tqdm(sizes, "decoding Tiny ImageNet", unit="image", disable=None)):
        try:
            images[i] = pil_to_tensor(default_loader(file))
        except (OSError, RuntimeError) as reason:  # not a JPEG, cut short, or not 64x64
            raise _damaged("tiny-imagenet", file, folder) from reason
    try:
        with whole(cache) as unfinished:
            save_file({"images": images}, unfinished, {"files": key})
    except (OSError, SafetensorError):
        pass  # a folder one may not write to, or a full disk: do without
    return images


def _damaged(name: str, file: Path | str, folder: Path) -> LotteryError:
    return LotteryError(f"data set {name!r}: {file} is damaged; delete {folder} to have it downloaded again")
