"""Data sets: what is loaded, how it is split, what a batch holds, and what is said when files are wrong."""

import hashlib
import os
import pickle
import re
from itertools import chain
from urllib.error import URLError

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from torchvision.transforms import functional as F

from lottery_lib import paths
from lottery_lib.data import datasets
from lottery_lib.data.images import CROP, Data, Split, crop_and_flip, moments, normalize
from lottery_lib.errors import LotteryError
from lottery_lib.experiments import logistic
from lottery_lib.files import locked

# SHA-256 of training labels, validation images and test images: a changed split would make old records lie.
PINNED_DIGITS = ("4b2070fe7cb2", "362ff88760dc", "cd2056306111")
PINNED_MNIST = ("974f90cf3b10", "bda79a6b6840", "6d87418db22c")
PINNED_BATCH = ("b7aae3461315", "d95415121150")  # labels and pixels


@pytest.fixture
def root(tmp_path, monkeypatch):
    """An empty data folder on a machine without a network."""

    def offline(*_, **__):
        raise URLError("no route to host")

    monkeypatch.setenv("LOTTERY_DATA", str(tmp_path))
    monkeypatch.setattr("urllib.request.urlopen", offline)
    return tmp_path


@pytest.fixture(scope="module")
def digits():
    return datasets.load("digits")


def needs(file, name):
    return pytest.mark.skipif(not (paths.data_dir() / file).exists(), reason=f"no {name} under LOTTERY_DATA")


def sha(tensor):
    return hashlib.sha256(tensor.cpu().contiguous().numpy().tobytes()).hexdigest()[:12]


def make_split(n=40, shape=(3, 8, 8), augment=False):
    images = torch.randint(0, 256, (n, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return Split(images, torch.arange(n), *moments(images), augment)


# What is loaded.


@pytest.mark.parametrize("device", ["gpu", "cuda:99"])
def test_a_device_that_is_not_there_is_refused(device):
    with pytest.raises(LotteryError, match=f"^device = {device!r}: PyTorch finds none here; must be one it does, "):
        datasets.load("digits", device=device)


def test_digits(digits):
    assert digits.sizes == {"train": 1258, "val": 180, "test": 359}
    assert (digits.name, digits.classes, digits.shape, digits.train.augment) == ("digits", 10, (1, 8, 8), False)
    for part in (digits.train, digits.val, digits.test):
        assert part.images.dtype == torch.uint8 and part.labels.dtype == torch.int64
        assert part.images.max() == 255 and part.images.min() == 0
        share = part.labels.bincount(minlength=10) / len(part)
        assert (share - 0.1).abs().max() < 0.01
    torch.testing.assert_close(digits.train.mean, (digits.train.images / 255).mean((0, 2, 3)))
    torch.testing.assert_close(digits.train.std, (digits.train.images / 255).std((0, 2, 3), correction=0))


def test_splits_of_digits_are_a_partition(digits):
    from sklearn.datasets import load_digits

    every = sorted(np.rint(load_digits().images * 255 / 16).astype(np.uint8).reshape(-1, 64).tolist())
    parts = [part.images.flatten(1).tolist() for part in (digits.train, digits.val, digits.test)]
    assert sorted(chain(*parts)) == every


def test_the_split_is_pinned(digits):
    assert (sha(digits.train.labels), sha(digits.val.images), sha(digits.test.images)) == PINNED_DIGITS


def test_the_seed_moves_validation_but_not_test_images(digits):
    other = datasets.load("digits", seed=1)
    assert not torch.equal(other.val.images, digits.val.images)
    assert torch.equal(other.test.images, digits.test.images)
    assert torch.equal(datasets.load("digits", seed=1).val.images, other.val.images)


@pytest.mark.parametrize("seed", [-1, None, 0.5])
def test_a_seed_that_is_none_draws_no_split(seed):
    """None drew another one each time."""
    with pytest.raises(LotteryError, match=f"^seed = {seed}: must be a whole number"):
        datasets.load("digits", seed=seed)


def test_what_another_process_is_downloading_is_not_damaged(tmp_path, monkeypatch):
    """It was said to be, with the advice to delete it."""
    monkeypatch.setenv("LOTTERY_DATA", str(tmp_path))
    half = tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte"
    half.parent.mkdir(parents=True)
    half.write_bytes(b"the beginning of it")
    monkeypatch.setattr(datasets, "HOUR", 0.05)
    with (
        locked(tmp_path / "mnist.lock"),
        pytest.raises(LotteryError, match="^data set 'mnist': another process has been"),
    ):
        datasets.load("mnist")
    with pytest.raises(LotteryError, match="is damaged; delete"):
        datasets.load("mnist")


@pytest.mark.parametrize("n, count", [(50, 7), (1000, 999), (10, 10), (200, 10)])
def test_hold_out_takes_every_class_in_its_share(n, count):
    labels = np.random.default_rng(3).integers(0, 4, n)
    rest, held = datasets.hold_out(labels, count, seed=0)
    assert len(held) == count and sorted([*rest, *held]) == list(range(n))
    share = np.bincount(labels, minlength=4) * count / n
    assert np.all(np.abs(np.bincount(labels[held], minlength=4) - share) <= 1)


@needs("MNIST/raw/train-images-idx3-ubyte", "MNIST")
def test_mnist():
    mnist = datasets.load("mnist")
    assert mnist.sizes == {"train": 55000, "val": 5000, "test": 10000}
    assert (mnist.shape, mnist.classes, mnist.train.augment) == ((1, 28, 28), 10, False)
    assert mnist.train.mean.item() == pytest.approx(0.1307, abs=5e-4)
    assert mnist.train.std.item() == pytest.approx(0.3081, abs=5e-4)
    assert (sha(mnist.train.labels), sha(mnist.val.images), sha(mnist.test.images)) == PINNED_MNIST
    x_train, _, _, y_test = logistic.binary(mnist)
    assert x_train.shape == (6131 + 5851, 784) and y_test.sum() == 974 and len(y_test) == 1010 + 974


# Batches.


def test_an_epoch_shows_every_image_once_normalised():
    split = make_split(40)
    images, labels = map(torch.cat, zip(*split.batches(8, epoch=3)))
    assert sorted(labels.tolist()) == list(range(40)) and labels.tolist() != list(range(40))
    assert images.dtype == torch.float32
    torch.testing.assert_close(images.mean((0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(images.std((0, 2, 3), correction=0), torch.ones(3))
    torch.testing.assert_close(images, normalize(split.images[labels], split.mean, split.std))


def test_an_epoch_depends_on_seed_and_epoch_alone():
    split = make_split(augment=True)

    def epoch(epoch, seed):
        return torch.cat([images.flatten() for images, _ in split.batches(8, epoch=epoch, seed=seed)])

    torch.manual_seed(1)
    first = epoch(2, 5)
    torch.manual_seed(2)
    assert torch.equal(epoch(2, 5), first)
    assert not torch.equal(epoch(3, 5), first) and not torch.equal(epoch(2, 6), first)
    # Seeds and epochs are mixed, not added: shifting one against the other is another epoch.
    assert not torch.equal(epoch(5, 2), first) and not torch.equal(epoch(3, 4), first)


def test_batches_are_pinned():
    images = torch.from_numpy(np.arange(40 * 64, dtype=np.int64).reshape(40, 1, 8, 8) * 37 % 256).to(torch.uint8)
    split = Split(images, torch.arange(40), torch.zeros(1), torch.ones(1), augment=True)
    images, labels = next(split.batches(16, epoch=1, seed=2))
    assert (sha(labels), sha((images * 255).round().to(torch.uint8))) == PINNED_BATCH


def test_the_global_random_state_is_left_alone():
    torch.manual_seed(0)
    np.random.seed(0)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    list(make_split(augment=True).batches(8))
    datasets.load("digits")
    assert torch.equal(torch.get_rng_state(), before[0]) and np.array_equal(np.random.get_state()[1], before[1])


def test_the_incomplete_batch_is_dropped_in_training_and_kept_in_evaluation():
    split = make_split(40)
    assert [len(labels) for _, labels in split.batches(16)] == [16, 16] and split.steps(16) == 2
    images, labels = map(torch.cat, zip(*split.in_order(16)))
    assert labels.tolist() == list(range(40))
    assert torch.equal(images, normalize(split.images, split.mean, split.std))


@pytest.mark.parametrize("batch_size", [0, 41])
def test_a_batch_that_does_not_fit(batch_size):
    with pytest.raises(LotteryError, match=f"batch size {batch_size}: must lie between 1 and 40,"):
        next(make_split(40).batches(batch_size))


def test_crop_and_flip_against_one_image_at_a_time():
    images = make_split(30, (3, 8, 6)).images
    rng = np.random.default_rng(0)
    shift = torch.from_numpy(rng.integers(0, 2 * CROP + 1, (30, 2)))
    shift[:2] = torch.tensor([[0, 2 * CROP], [2 * CROP, 0]])
    mirror = torch.from_numpy(rng.random(30) < 0.5)
    got = crop_and_flip(images, shift, mirror)
    for image, (top, left), flip, result in zip(images, shift.tolist(), mirror.tolist(), got):
        expected = F.crop(F.pad(image, CROP), top, left, 8, 6)
        assert torch.equal(result, F.hflip(expected) if flip else expected)


def test_every_crop_and_flip_is_drawn_alike():
    """One white pixel in the middle of each image tells where it was moved to; left and right edge differ by grey."""
    images = torch.zeros(8100, 1, 9, 9, dtype=torch.uint8)
    images[:, :, 4, 4], images[:, :, 4, 5] = 255, 100
    split = Split(images, torch.arange(8100), torch.zeros(1), torch.ones(1), augment=True)
    moved = (next(split.batches(8100))[0] * 255).round()
    white = (moved[:, 0] == 255).flatten(1).float()
    assert torch.all(white.sum(1) == 1)
    counts = white.sum(0)  # 81 places, 100 images each on average, standard deviation 10
    assert counts.min() > 50 and counts.max() < 150
    right_of_white = ((moved[:, 0, :, :-1] == 255) & (moved[:, 0, :, 1:] == 100)).sum()
    left_of_white = ((moved[:, 0, :, 1:] == 255) & (moved[:, 0, :, :-1] == 100)).sum()
    assert abs(right_of_white - left_of_white) < 400  # standard deviation 90


# Two classes.


def test_binary(digits):
    x_train, y_train, x_test, y_test = logistic.binary(digits, (3, 8))
    assert x_train.dtype == y_train.dtype == torch.float64 and x_train.shape[1] == 64
    assert x_train.min() == 0 and x_train.max() == 1
    joined = torch.cat([digits.train.labels, digits.val.labels])
    assert len(y_train) == ((joined == 3) | (joined == 8)).sum() and y_train.sum() == (joined == 8).sum()
    assert y_test.sum() == (digits.test.labels == 8).sum()
    eights = digits.test.images[digits.test.labels == 8].flatten(1).double() / 255
    assert torch.equal(x_test[y_test == 1], eights)
    assert torch.equal(logistic.binary(digits, (8, 3))[1], 1 - y_train)


@pytest.mark.parametrize(
    "classes, sentence",
    [
        ((3, 3), "must be two different classes"),
        ((3,), "must be two different classes"),
        ((3, 10), "no class 10; its classes are 0 to 9"),
    ],
)
def test_binary_needs_two_classes_that_occur(digits, classes, sentence):
    with pytest.raises(LotteryError, match=sentence):
        logistic.binary(digits, classes)


def test_binary_needs_grey_images():
    split = make_split()
    with pytest.raises(LotteryError, match="'cifar10' has 3 channels"):
        logistic.binary(Data("cifar10", 10, split, split, split))


# Names and files.


@pytest.mark.parametrize(
    "name, hint",
    [("mnits", "did you mean 'mnist'"), ("cifar-10", "did you mean 'cifar10'"), ("?", "known: digits, mnist")],
)
def test_unknown_name(name, hint):
    with pytest.raises(LotteryError, match=re.escape(f"unknown data set {name!r}; {hint}")):
        datasets.load(name)


@pytest.mark.parametrize("name", [name for name in datasets.NAMES if name != "digits"])
def test_absent_and_offline(root, name):
    with pytest.raises(LotteryError) as error:
        datasets.load(name)
    for part in (f"'{name}'", str(root), "no route to host", "LOTTERY_DATA", "'digits'"):
        assert part in str(error.value)
    assert "\n" not in str(error.value)


def write_mnist(raw, seed=0):
    """Random images under the names and with the headers of MNIST."""
    rng = np.random.default_rng(seed)
    raw.mkdir(parents=True)
    for part, count in (("train", 60000), ("t10k", 10000)):
        header = np.array([2051, count, 28, 28], ">i4").tobytes()
        (raw / f"{part}-images-idx3-ubyte").write_bytes(header + rng.bytes(count * 784))
        labels = (np.arange(count) % 10).astype(np.uint8)
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(np.array([2049, count], ">i4").tobytes() + labels.tobytes())


def test_fashion_mnist_is_read_and_damage_is_named(root):
    raw = root / "FashionMNIST" / "raw"
    write_mnist(raw)
    fashion = datasets.load("fashion-mnist")
    assert fashion.sizes == {"train": 55000, "val": 5000, "test": 10000} and not fashion.train.augment
    assert torch.equal(fashion.val.labels.bincount(), torch.full((10,), 500))

    images = raw / "train-images-idx3-ubyte"
    labels = raw / "t10k-labels-idx1-ubyte"
    whole = images.read_bytes()
    for file, content in [
        (images, whole[:1000000]),  # an unpacking that was cut short
        (images, whole + b"\0"),
        (images, b"\0" * 16 + whole[16:]),
        (images, b""),
        (labels, (raw / "train-labels-idx1-ubyte").read_bytes()),  # the right kind, but not these labels
    ]:
        before = file.read_bytes()
        file.write_bytes(content)
        with pytest.raises(LotteryError, match=f"'fashion-mnist': {file} is damaged; delete {raw}"):
            datasets.load("fashion-mnist")
        file.write_bytes(before)

    images.unlink()  # a missing file is fetched again
    with pytest.raises(LotteryError, match="could not be downloaded"):
        datasets.load("fashion-mnist")


@pytest.mark.parametrize(
    "name, dataset", [("cifar10", torchvision.datasets.CIFAR10), ("cifar100", torchvision.datasets.CIFAR100)]
)
def test_cifar_is_read_and_damage_is_named(root, monkeypatch, name, dataset):
    folder = root / dataset.base_folder
    folder.mkdir()
    classes = int(name.removeprefix("cifar"))
    key = "labels" if name == "cifar10" else "fine_labels"
    rng = np.random.default_rng(0)

    def write(file, content):
        (folder / file).write_bytes(pickle.dumps(content))
        return hashlib.md5((folder / file).read_bytes()).hexdigest()

    lists = {"train_list": [], "test_list": []}
    for which, files in lists.items():
        for file, _ in getattr(dataset, which):
            n = 6000 // len(getattr(dataset, which))
            content = {"data": rng.integers(0, 256, (n, 3072), np.uint8), key: [i % classes for i in range(n)]}
            files.append([file, write(file, content)])
    meta = dataset.meta | {
        "md5": write(dataset.meta["filename"], {dataset.meta["key"]: list(map(str, range(classes)))})
    }
    for attribute, value in {**lists, "meta": meta}.items():
        monkeypatch.setattr(dataset, attribute, value)

    cifar = datasets.load(name)
    assert cifar.sizes == {"train": 1000, "val": 5000, "test": 6000}
    assert (cifar.shape, cifar.classes, cifar.train.augment, cifar.val.augment) == ((3, 32, 32), classes, True, False)
    test = pickle.loads((folder / lists["test_list"][0][0]).read_bytes())
    assert torch.equal(cifar.test.images, torch.from_numpy(test["data"]).view(-1, 3, 32, 32))
    assert cifar.test.labels.tolist() == test[key]

    file = folder / lists["train_list"][-1][0]
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(LotteryError, match=f"'{name}': {file} is damaged; delete {folder}"):
        datasets.load(name)


@pytest.fixture(params=["images/", ""])
def tiny(request, root):
    """Tiny ImageNet with three classes, twenty training images each, all of one colour; grey ones among them."""
    folder = root / "tiny-imagenet-200"
    rows = []
    for label, wnid in enumerate(["n02", "n01", "n03"]):
        place = folder / "train" / wnid / request.param
        place.mkdir(parents=True)
        for i in range(20):
            Image.new("RGB", (64, 64), (80 * label, 0, 10 * i)).save(place / f"{wnid}_{i}.JPEG", quality=95)
        rows.append(f"val_{label}.JPEG\t{wnid}\t0\t0\t9\t9\n")
    (folder / "val" / "images").mkdir(parents=True)
    for label in range(3):
        Image.new("L", (64, 64), 80 * label).save(folder / "val" / "images" / f"val_{label}.JPEG", quality=95)
    (folder / "val" / "val_annotations.txt").write_text("".join(rows))
    return folder


def test_tiny_imagenet(tiny, monkeypatch):
    first = datasets.load("tiny-imagenet")
    assert first.sizes == {"train": 57, "val": 3, "test": 3} and first.train.augment
    assert (first.shape, first.classes) == ((3, 64, 64), 3)
    assert first.test.labels.tolist() == [1, 0, 2]  # classes in the order of their names, images as annotated
    assert torch.equal(first.test.images.flatten(1).float().mean(1).round(), torch.tensor([0.0, 80.0, 160.0]))
    red = first.train.images[:, 0].float().mean((1, 2))
    assert torch.all((red - torch.tensor([80.0, 0.0, 160.0])[first.train.labels]).abs() < 4)

    monkeypatch.setattr(datasets, "default_loader", None)  # no image is decoded a second time
    again = datasets.load("tiny-imagenet")
    assert torch.equal(again.train.images, first.train.images) and torch.equal(again.val.labels, first.val.labels)
    assert sorted(os.listdir(tiny)) == ["decoded.safetensors", "train", "val"]


def test_tiny_imagenet_is_decoded_again_when_files_or_cache_changed(tiny):
    datasets.load("tiny-imagenet")
    cache = tiny / "decoded.safetensors"
    whole = cache.read_bytes()
    cache.write_bytes(whole[:-1000])
    datasets.load("tiny-imagenet")
    assert cache.read_bytes() == whole

    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(tiny / "val" / "images" / "val_0.JPEG")
    assert datasets.load("tiny-imagenet").test.images[0].float().std() > 10
    assert cache.read_bytes() != whole


def test_tiny_imagenet_without_room_for_the_cache(tiny, monkeypatch):
    def full_disk(tensors, file, metadata):
        file.write_bytes(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(datasets, "save_file", full_disk)
    assert datasets.load("tiny-imagenet").sizes["train"] == 57
    assert sorted(os.listdir(tiny)) == ["train", "val"]


def test_damage_to_tiny_imagenet_is_named(tiny):
    image = next((tiny / "train" / "n01").rglob("*_7.JPEG"))
    whole = image.read_bytes()

    def complaint():
        with pytest.raises(LotteryError, match=f"is damaged; delete {tiny} ") as error:
            datasets.load("tiny-imagenet")
        return str(error.value)

    image.write_bytes(whole[: len(whole) // 2])
    assert str(image) in complaint()
    Image.new("RGB", (32, 64)).save(image)
    assert str(image) in complaint()
    image.unlink()  # classes of different sizes: unpacking was cut short
    assert str(tiny / "train") in complaint()
    image.write_bytes(whole)
    (tiny / "val" / "images" / "val_1.JPEG").unlink()
    assert "val_1.JPEG" in complaint()
    (tiny / "val" / "val_annotations.txt").unlink()
    assert "val_annotations.txt" in complaint()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_the_device_sees_the_same_batches():
    on_cpu, on_gpu = make_split(augment=True), make_split(augment=True)
    on_gpu = Split(*(getattr(on_gpu, field).cuda() for field in ("images", "labels", "mean", "std")), augment=True)
    on_cpu, on_gpu = on_cpu.batches(8), on_gpu.batches(8)
    pairs = [(next(on_cpu), next(on_gpu))]
    torch.cuda.set_sync_debug_mode("error")  # after the first, no batch makes the host wait
    try:
        pairs += zip(on_cpu, on_gpu)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert len(pairs) == 5
    for (images, labels), (images_gpu, labels_gpu) in pairs:
        assert torch.equal(labels, labels_gpu.cpu())
        torch.testing.assert_close(images, images_gpu.cpu())
