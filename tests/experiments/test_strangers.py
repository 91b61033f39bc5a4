"""strangers.py: torchvision's networks are pruned on the digits by the density alone, or by a λ."""

from dataclasses import replace

import pytest
import torch

from lottery_lib.data import datasets
from lottery_lib.errors import LotteryError
from lottery_lib.experiments import records, strangers
from lottery_lib.experiments.strangers import NETWORKS, CifarStranger, Stranger
from lottery_lib.weights import prunable


def prunable_weights(model):
    return map(model.get_parameter, prunable(model))


@pytest.mark.parametrize("network", NETWORKS)
def test_a_network_takes_the_enlarged_digits(network):
    digits = datasets.load("digits")
    data = strangers.enlarged(digits)
    small, images = (next(iter(each.test.in_order()))[0][:4] for each in (digits, data))
    assert images.shape == (4, 3, 32, 32) and torch.equal(images[:, 2, ::4, ::4], small[:, 0])
    assert NETWORKS[network][0](num_classes=data.classes)(images).shape == (4, 10)


@pytest.mark.parametrize("lam", [None, 2e-4])
def test_a_run_reaches_its_density_and_leaves_the_random_state(lam, monkeypatch, tmp_path):
    build, recipe = NETWORKS["DenseNet"]
    monkeypatch.setitem(NETWORKS, "DenseNet", (build, replace(recipe, epochs=4)))
    monkeypatch.setattr(strangers.paths, "WORK", tmp_path)
    before = torch.get_rng_state()
    record, arrays = strangers.run(Stranger("DenseNet", 0.2, lam))
    assert torch.equal(torch.get_rng_state(), before)
    assert arrays["histogram"].sum() == sum(p.numel() for p in prunable_weights(build(num_classes=10)))
    assert record["density"] == pytest.approx(0.2, rel=0.02) and record["recipe"]["epochs"] == 4
    assert record["test_accuracy"] > 20 and record["config"]["lam"] == lam


def test_what_sets_a_run_apart_is_in_its_name():
    runs = [Stranger(), Stranger("ViT"), Stranger(density=0.2), Stranger(lam=1e-4), Stranger(seed=1)]
    assert len({records.name(run) for run in [*runs, Stranger(mask="random"), CifarStranger()]}) == 7


def test_fewer_images_are_a_share_of_each_class_and_always_the_same():
    digits = datasets.load("digits")
    part = strangers.fewer(digits, 500)
    assert part.sizes == digits.sizes | {"train": 500}
    share = part.train.labels.bincount() / digits.train.labels.bincount()
    assert share.min() > 0.38 and share.max() < 0.41  # 500 of 1,258
    assert torch.equal(part.train.images, strangers.fewer(digits, 500).train.images)
    assert torch.equal(strangers.fewer(digits, 1258).train.images, digits.train.images)
    for count in (0, 1259):
        with pytest.raises(LotteryError, match=f"count = {count}: must lie between 1 and 1258, the training images"):
            strangers.fewer(digits, count)


def test_cifar_is_trained_on_in_part_and_for_ten_epochs(monkeypatch, tmp_path):
    digits = strangers.enlarged(datasets.load("digits"))
    monkeypatch.setattr(strangers.datasets, "load", lambda name: {"cifar10": digits}[name])
    monkeypatch.setattr(strangers, "IMAGES", 640)
    monkeypatch.setattr(strangers.paths, "WORK", tmp_path)
    record, _ = strangers.run(CifarStranger(density=1.0))
    assert record["dataset"] == "cifar10" and record["images"] == digits.sizes | {"train": 640}
    assert record["recipe"]["epochs"] == 10 and record["config"] == vars(CifarStranger(density=1.0))


def test_a_random_mask_has_the_density_and_no_relaxed_one(monkeypatch, tmp_path):
    build, recipe = NETWORKS["DenseNet"]
    monkeypatch.setitem(NETWORKS, "DenseNet", (build, replace(recipe, epochs=1)))
    monkeypatch.setattr(strangers.paths, "WORK", tmp_path)
    record, arrays = strangers.run(Stranger("DenseNet", 0.2, mask="random"))
    assert record["density"] == pytest.approx(0.2, rel=1e-3) and arrays == {}


@pytest.mark.parametrize(
    "given, message",
    [
        ({"network": "AlexNet"}, "network = 'AlexNet': must be one of ShuffleNet, RegNet, DenseNet, ConvNeXt, ViT"),
        ({"density": 0.0}, "density = 0.0: must be in (0, 1]"),
        ({"lam": -1.0}, "lam = -1.0: must be"),
        ({"lam": 1e-4, "mask": "random"}, "lam = 0.0001: a random mask has no λ; leave it out"),
        ({"mask": "snip"}, "mask = 'snip': must be learned or random"),
    ],
)
def test_what_is_out_of_range_is_refused(given, message):
    with pytest.raises(LotteryError) as error:
        Stranger(**given)
    assert str(error.value).startswith(message)
