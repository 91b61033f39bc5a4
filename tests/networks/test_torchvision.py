"""Every family of torchvision's classifiers, a segmentation network and a detector, with random weights."""

from functools import partial

import pytest
import torch
from journey import images, travel
from torch import nn
from torch.nn.functional import cross_entropy
from torchvision import models
from torchvision.models import convnext, densenet, maxvit, resnet, swin_transformer, vgg, vision_transformer
from torchvision.ops import box_iou

import lottery_lib as lottery
from lottery_lib.errors import LotteryError


def narrow(build, features):
    """The classifiers of AlexNet and VGG have a hundred million weights: here a few."""

    def make():
        with torch.device("meta"):
            whole = build()
        model = nn.Sequential(whole.features, whole.avgpool, nn.Flatten()).to_empty(device="cpu")
        for module in model.modules():
            if hasattr(module, "reset_parameters"):
                module.reset_parameters()
        return model.extend([nn.Linear(features, 8), nn.ReLU(inplace=True), nn.Dropout(), nn.Linear(8, 4)])

    return make


BLOCKS = [convnext.CNBlockConfig(8, 16, 1), convnext.CNBlockConfig(16, None, 1)]
SWIN = {"patch_size": [2, 2], "embed_dim": 8, "depths": [1, 1], "num_heads": [1, 2], "window_size": [4, 4]}
VIT = {"image_size": 32, "patch_size": 8, "num_layers": 1, "num_heads": 2, "hidden_dim": 16, "mlp_dim": 32}
CLASSIFIERS = {  # name -> (constructor, pixels); the smallest of each family, or smaller
    "alexnet": (narrow(models.alexnet, 256 * 36), 64),
    "convnext": (partial(models.ConvNeXt, BLOCKS, num_classes=4), 32),
    "densenet": (partial(densenet.DenseNet, 4, (2, 2, 2, 2), 8, num_classes=4), 32),
    "efficientnet": (partial(models.efficientnet_b0, num_classes=4), 32),
    "googlenet": (partial(models.googlenet, num_classes=4, init_weights=False), 32),
    "inception": (partial(models.inception_v3, num_classes=4, init_weights=False, aux_logits=False), 75),
    "maxvit": (
        partial(maxvit.MaxVit, (32, 32), 8, 2, [8, 8], [1, 1], 4, 0.1, num_classes=4),
        32,
    ),
    "mnasnet": (partial(models.mnasnet0_5, num_classes=4), 32),
    "mobilenet v2": (partial(models.mobilenet_v2, num_classes=4, width_mult=0.25), 32),
    "mobilenet v3": (partial(models.mobilenet_v3_small, num_classes=4), 32),
    "regnet": (partial(models.regnet_y_400mf, num_classes=4), 32),
    "resnet": (partial(resnet.ResNet, resnet.Bottleneck, [1, 1, 1, 1], num_classes=4), 32),
    "resnext": (partial(resnet.ResNet, resnet.Bottleneck, [1] * 4, num_classes=4, groups=8, width_per_group=4), 32),
    "shufflenet": (partial(models.shufflenet_v2_x0_5, num_classes=4), 32),
    "squeezenet": (partial(models.squeezenet1_1, num_classes=4), 32),
    "swin": (partial(swin_transformer.SwinTransformer, **SWIN, num_classes=4), 32),
    "swin v2": (
        partial(
            swin_transformer.SwinTransformer, **SWIN, num_classes=4, block=swin_transformer.SwinTransformerBlockV2,
            downsample_layer=swin_transformer.PatchMergingV2,
        ),
        32,
    ),
    "vgg": (narrow(partial(vgg.VGG, vgg.make_layers([8, "M", 16, "M"], batch_norm=True)), 16 * 49), 32),
    "vit": (partial(vision_transformer.VisionTransformer, **VIT, num_classes=4), 32),
}  # fmt: skip


def with_auxiliaries(outputs, labels):
    """Of the whole network and of its auxiliary classifiers, which there are in training only."""
    parts = [outputs] if isinstance(outputs, torch.Tensor) else [part for part in outputs if part is not None]
    return sum(cross_entropy(part, labels) for part in parts)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_classifiers(name, tmp_path):
    make, size = CLASSIFIERS[name]
    travel(make, images(size), tmp_path, loss=with_auxiliaries)


def squares(count=4, size=32):
    """Images, and a class for each pixel."""
    inputs = torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(0))
    return {"images": inputs, "classes": (inputs[:, 0] > 0).long() + 2 * (inputs[:, 1] > 0).long()}


def pixel_loss(model, batch):
    return cross_entropy(model(batch["images"])["out"], batch["classes"])


def mean_overlap(model, batches):
    """Intersection over union, the mean over classes, counted over all pixels of all images."""
    both, either = torch.zeros(4), torch.zeros(4)
    for batch in batches:
        found = model(batch["images"])["out"].argmax(1)
        for label in range(4):
            both[label] += ((found == label) & (batch["classes"] == label)).sum()
            either[label] += ((found == label) | (batch["classes"] == label)).sum()
    return float((both / either).mean())


def test_segmentation(tmp_path):
    make = partial(models.segmentation.lraspp_mobilenet_v3_large, weights_backbone=None, num_classes=4)
    data = lottery.own(squares(), squares())

    def again(model, data):
        whole = data.val.samples
        found = model(whole["images"])["out"].argmax(1).flatten().tolist()
        pairs = list(zip(found, whole["classes"].flatten().tolist()))
        shares = [sum(a == b == c for a, b in pairs) / sum(c in pair for pair in pairs) for c in range(4)]
        return float(torch.tensor(shares).mean())

    travel(make, data, tmp_path, "val_metric", again, objective=pixel_loss, metric=mean_overlap)


def photographs(count=4):
    """A batch as torchvision's own loaders give it: tuples of images of unlike size, and of their boxes."""
    generator = torch.Generator().manual_seed(0)
    scenes = [torch.rand(3, 64 + 8 * k, 64, generator=generator) for k in range(count)]
    boxes = [{"boxes": torch.tensor([[8.0, 8.0, 40.0, 40.0 + k]]), "labels": torch.tensor([1])} for k in range(count)]
    return [(tuple(scenes[k : k + 2]), tuple(boxes[k : k + 2])) for k in range(0, count, 2)]


def found_boxes(model, batches):
    """A stand-in for mean average precision: by what the boxes that are found overlap the true ones at best."""
    shares = []
    for scenes, truth in batches:
        for found, target in zip(model(list(scenes)), truth):
            overlap = box_iou(found["boxes"], target["boxes"])
            shares.append(float(overlap.max()) if overlap.numel() else 0.0)
    return sum(shares) / len(shares)


def detector():
    return models.detection.ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=2)


def detection_loss(model, batch):
    """Detectors tell a loss in training only."""
    scenes, boxes = batch
    return sum(model(list(scenes), list(boxes)).values()) if model.training else None


def test_detection(tmp_path):
    data = lottery.own(photographs(), photographs())

    def again(model, data):
        return found_boxes(model, [((scene,), (box,)) for batch in photographs() for scene, box in zip(*batch)])

    travel(detector, data, tmp_path, "val_metric", again, objective=detection_loss, metric=found_boxes)


def test_a_detector_without_an_objective_says_what_to_do():
    with pytest.raises(LotteryError, match="^the first batch of training fails, before any step was taken: "):
        lottery.train(detector(), lottery.own(photographs()), lottery.Recipe(epochs=1))
