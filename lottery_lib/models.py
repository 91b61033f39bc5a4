"""The networks of the experiments, as plain modules.

Torchvision's blocks and configurations are used where they fit. The stems are those of small images: a 3×3 convolution
and no pooling, with stride 2 from 64 pixels on, so that the stages of a ResNet-18 see Tiny ImageNet at CIFAR's size.
"""

import math
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, relu
from torchvision.models.resnet import BasicBlock
from torchvision.models.vgg import cfgs, make_layers

from lottery_lib import errors
from lottery_lib.errors import LotteryError, hint
from lottery_lib.weights import initialize


def create(name: str, num_classes: int, in_shape: tuple[int, int, int], seed: int = 0, width: float = 1.0) -> nn.Module:
    """A network that maps N images to logits (N, num_classes), initialised from ``seed`` as ``initialize`` does.

    The global random state is left as it was.

    Args:
        name: logistic, lenet-300-100, conv-small, resnet20, resnet32, resnet56, resnet18, wrn-28-2, vgg16 or vgg19.
        in_shape: (channels, height, width) of an image.
        width: Multiplies the number of channels or units of every hidden layer.

    Raises:
        LotteryError: the name is unknown, a number is out of range, or the images are too small for the network.

    >>> import torch
    >>> from lottery_lib import models
    >>> model = models.create("resnet20", num_classes=10, in_shape=(3, 32, 32))
    >>> sum(parameter.numel() for parameter in model.parameters())
    269722
    >>> model(torch.zeros(4, 3, 32, 32)).shape
    torch.Size([4, 10])
    """
    if name not in NAMES:
        raise LotteryError(f"unknown model {name!r}{hint(name, NAMES)}")
    build, base, smallest = _NETWORKS[name]
    shaped = isinstance(in_shape, (tuple, list)) and len(in_shape) == 3
    if not (shaped and all(isinstance(size, int) and size > 0 for size in in_shape)):
        raise LotteryError(f"in_shape = {in_shape!r}: must be three positive integers, (channels, height, width)")
    if min(in_shape[1:]) < smallest:
        raise LotteryError(f"in_shape = {in_shape!r}: {name} needs images of at least {smallest} x {smallest} pixels")
    numbers = errors.fits(errors.plain(num_classes), int) and errors.fits(errors.plain(width), float)
    if not (numbers and num_classes >= 2 and width > 0):
        raise LotteryError(f"num_classes = {num_classes!r}, width = {width!r}: need two classes and a positive width")
    with torch.random.fork_rng(devices=[]):  # constructors draw weights too, from the global generator
        model = build([x if x == "M" else max(1, round(x * width)) for x in base], num_classes, in_shape)
    initialize(model, seed)
    return model


def _perceptron(hidden: list[int], num_classes: int, in_shape: tuple[int, int, int]) -> nn.Module:
    layers: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
    before = math.prod(in_shape)
    for i, units in enumerate(hidden, start=1):
        layers.update({f"fc{i}": nn.Linear(before, units), f"relu{i}": nn.ReLU(inplace=True)})
        before = units
    layers[f"fc{len(hidden) + 1}"] = nn.Linear(before, num_classes)
    return nn.Sequential(layers)


def _vgg(channels: list[Any], num_classes: int, in_shape: tuple[int, int, int]) -> nn.Module:
    """3×3 convolutions with BN and ReLU, a 2×2 max-pooling at each "M", the mean over pixels, one linear layer."""
    features = make_layers(channels, batch_norm=True)
    features[0] = nn.Conv2d(in_shape[0], channels[0], 3, padding=1)  # torchvision's has three input channels
    head = nn.Linear([x for x in channels if x != "M"][-1], num_classes)
    return nn.Sequential(
        OrderedDict(features=features, avgpool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), classifier=head)
    )


def _resnet(
    channels: list[int],
    num_classes: int,
    in_shape: tuple[int, int, int],
    blocks: int,
    shortcut: Callable[[int, int, int], nn.Module],
    block: type[nn.Module] = BasicBlock,
) -> nn.Module:
    """A stem of channels[0], then a stage of ``blocks`` blocks for each further entry, every stage after the first at
    half the size; parameters are named as torchvision's. ``shortcut`` builds what joins blocks of unlike shape."""
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=_conv(in_shape[0], channels[0], 3, 2 if min(in_shape[1:]) >= 64 else 1)
    )
    norm: OrderedDict[str, nn.Module] = OrderedDict(
        bn1=nn.BatchNorm2d(channels[-1 if block is PreActivation else 0]), relu=nn.ReLU(inplace=True)
    )
    if block is not PreActivation:
        layers.update(norm)
    before = channels[0]
    for stage, planes in enumerate(channels[1:], start=1):
        modules = []
        for i in range(blocks):
            stride = 2 if stage > 1 and i == 0 else 1
            join = None if stride == 1 and before == planes else shortcut(before, planes, stride)
            modules.append(block(before, planes, stride, join))
            before = planes
        layers[f"layer{stage}"] = nn.Sequential(*modules)
    if block is PreActivation:
        layers.update(norm)
    layers.update(avgpool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), fc=nn.Linear(before, num_classes))
    return nn.Sequential(layers)


class PreActivation(nn.Module):
    """BN, ReLU and 3×3 convolution, twice (Zagoruyko & Komodakis 2016); a projection takes the activated input."""

    def __init__(self, inplanes: int, planes: int, stride: int, downsample: nn.Module | None):
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(inplanes), _conv(inplanes, planes, 3, stride)
        self.bn2, self.conv2 = nn.BatchNorm2d(planes), _conv(planes, planes, 3)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        activated = relu(self.bn1(x))
        shortcut = x if self.downsample is None else self.downsample(activated)
        return shortcut + self.conv2(relu(self.bn2(self.conv1(activated))))


class PadShortcut(nn.Module):
    """He et al.'s option A, without parameters: every ``stride``-th pixel, zeros for the channels that are new."""

    def __init__(self, inplanes: int, planes: int, stride: int):
        super().__init__()
        self.stride, self.new = stride, planes - inplanes

    def forward(self, x: Tensor) -> Tensor:
        return pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.new // 2, self.new - self.new // 2))


def _projection(inplanes: int, planes: int, stride: int) -> nn.Module:
    """He et al.'s option B."""
    return nn.Sequential(_pointwise(inplanes, planes, stride), nn.BatchNorm2d(planes))


def _pointwise(inplanes: int, planes: int, stride: int) -> nn.Module:
    return _conv(inplanes, planes, 1, stride)


def _conv(inplanes: int, planes: int, size: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inplanes, planes, size, stride, padding=size // 2, bias=False)


# name -> (builder, hidden channels or units at width 1, least height and width of the images)
_NETWORKS: dict[str, tuple[Callable[..., nn.Module], list[Any], int]] = {
    "logistic": (_perceptron, [], 1),
    "lenet-300-100": (_perceptron, [300, 100], 1),
    "conv-small": (_vgg, [32, "M", 64, "M", 128, "M"], 8),
    "resnet20": (partial(_resnet, blocks=3, shortcut=PadShortcut), [16, 16, 32, 64], 1),
    "resnet32": (partial(_resnet, blocks=5, shortcut=PadShortcut), [16, 16, 32, 64], 1),
    "resnet56": (partial(_resnet, blocks=9, shortcut=PadShortcut), [16, 16, 32, 64], 1),
    "resnet18": (partial(_resnet, blocks=2, shortcut=_projection), [64, 64, 128, 256, 512], 1),
    "wrn-28-2": (partial(_resnet, blocks=4, shortcut=_pointwise, block=PreActivation), [16, 32, 64, 128], 1),
    "vgg16": (_vgg, cfgs["D"], 32),
    "vgg19": (_vgg, cfgs["E"], 32),
}
NAMES = tuple(_NETWORKS)
OF_ONE_SIZE = tuple(name for name, (build, *_) in _NETWORKS.items() if build is _perceptron)  # as their images
