"""The networks: their sizes in the literature, their initialisation, and what a mask covers."""

import math
import re

import pytest
import torch
import torchvision
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint

from lottery_lib import models, weights
from lottery_lib.data.batches import own
from lottery_lib.errors import LotteryError
from lottery_lib.methods import controls
from lottery_lib.weights import initialize, left_dense, prunable, share

CIFAR, MNIST, TINY = (3, 32, 32), (1, 28, 28), (3, 64, 64)
PINNED = [-0.00329215, 0.0154582, -0.0335905, 6.71125]  # seed 3: the first weights, and the sum of the last layer's


def count(model, names=None):
    return sum(p.numel() for name, p in model.named_parameters() if names is None or name in names)


@pytest.mark.parametrize(
    "name, in_shape, parameters, masked",
    [
        ("logistic", MNIST, 7850, 7840),
        ("lenet-300-100", MNIST, 266_610, 266_200),  # LeCun et al. 1998; Frankle & Carbin 2019 mask all three layers
        ("conv-small", CIFAR, 94_986, 93_024),
        ("resnet20", CIFAR, 269_722, 267_696),  # He et al. 2016: 0.27 M, 0.46 M, 0.85 M with option A
        ("resnet32", CIFAR, 464_154, 461_232),
        ("resnet56", CIFAR, 853_018, 848_304),
        ("resnet18", CIFAR, 11_173_962, 11_159_232),  # 11.17 M
        ("wrn-28-2", CIFAR, 1_467_610, 1_462_704),  # Zagoruyko & Komodakis 2016: 1.5 M
        ("vgg16", CIFAR, 14_728_266, 14_710_464),  # 14.73 M with one linear layer
        ("vgg19", CIFAR, 20_040_522, 20_018_880),  # 20.04 M
    ],
)
def test_parameter_counts(name, in_shape, parameters, masked):
    model = models.create(name, 10, in_shape)
    assert count(model) == parameters
    assert count(model, prunable(model)) == masked


def test_every_network_is_counted():
    marks = test_parameter_counts.pytestmark[0].args[1]
    assert tuple(row[0] for row in marks) == models.NAMES


@pytest.mark.parametrize("name", models.NAMES)
@pytest.mark.parametrize("in_shape, classes", [(MNIST, 10), (CIFAR, 100), (TINY, 200), ((1, 8, 8), 10)])
def test_logits_and_gradients(name, in_shape, classes):
    if name.startswith("vgg") and in_shape[1] < 32:
        with pytest.raises(LotteryError, match=f"{name} needs images of at least 32 x 32 pixels"):
            models.create(name, classes, in_shape)
        return
    model = models.create(name, classes, in_shape, width=0.25)
    logits = model(torch.randn(2, *in_shape))
    assert logits.shape == (2, classes)
    logits.square().mean().backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), key


def test_resnet18_is_torchvisions_but_for_the_stem():
    ours, theirs = models.create("resnet18", 10, CIFAR), torchvision.models.resnet18(num_classes=10)
    theirs.conv1, theirs.maxpool = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Identity()
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, *CIFAR)
    assert torch.equal(ours(x), theirs(x))


def test_stages_see_tiny_imagenet_at_cifars_size():
    sizes = {}
    for shape in (CIFAR, TINY):
        model = models.create("resnet18", 10, shape, width=0.25)
        model.layer1.register_forward_hook(lambda _, __, out, shape=shape: sizes.update({shape: out.shape[2:]}))
        model(torch.randn(2, *shape))
    assert sizes[CIFAR] == sizes[TINY] == (32, 32)


def test_wide_resnet_block_against_its_definition():
    """x + conv(relu(bn(conv(relu(bn(x)))))), the projection being fed relu(bn(x))."""
    model = models.create("wrn-28-2", 10, CIFAR).eval()
    x = torch.randn(2, 16, 32, 32)
    for block, has_projection in ((model.layer1[0], True), (model.layer1[1], False)):
        pre = torch.relu(block.bn1(x))
        assert (block.downsample is not None) == has_projection
        shortcut = block.downsample(pre) if has_projection else x
        expected = shortcut + block.conv2(torch.relu(block.bn2(block.conv1(pre))))
        x = block(x)
        assert torch.equal(x, expected)
    assert count(model.layer1[0].downsample) == 16 * 32


def test_padding_shortcut():
    x = torch.arange(2 * 16, dtype=torch.float32).view(1, 2, 4, 4)
    y = models.PadShortcut(2, 5, 2)(x)
    assert y.shape == (1, 5, 2, 2) and y[0, [0, 3, 4]].eq(0).all()
    assert torch.equal(y[0, 1:3], x[0, :, [0, 2]][:, :, [0, 2]])


@pytest.mark.parametrize("name", [name for name in models.NAMES if name != "logistic"])
def test_width_multiplies_the_hidden_layers(name):
    """Doubling both sides of a weight makes it four times as large; input and output sides stay as they are."""
    shape = MNIST if name.startswith("lenet") else CIFAR
    one, two = (dict(models.create(name, 10, shape, width=w).named_parameters()) for w in (0.25, 0.5))
    weights = [key for key, p in one.items() if p.ndim > 1]
    growth = {key: two[key].numel() / one[key].numel() for key in weights}
    assert growth.pop(weights[0]) == growth.pop(weights[-1]) == 2
    assert set(growth.values()) <= {4}


def test_any_width_can_be_run():
    assert models.create("resnet20", 10, CIFAR, width=0.3)(torch.zeros(2, *CIFAR)).shape == (2, 10)
    assert models.create("vgg16", 10, CIFAR, width=0.001)(torch.zeros(2, *CIFAR)).shape == (2, 10)


# Initialisation.


@pytest.mark.parametrize("name", ["lenet-300-100", "resnet20", "wrn-28-2", "conv-small"])
def test_one_seed_one_network(name):
    first, again, other = (models.create(name, 10, CIFAR, seed=s).state_dict() for s in (1, 1, 2))
    assert all(torch.equal(first[key], again[key]) for key in first)
    for key in prunable(models.create(name, 10, CIFAR)):
        assert not torch.equal(first[key], other[key])


def test_initial_weights_are_pinned():
    model = models.create("lenet-300-100", 10, MNIST, seed=3)
    weight = model.fc1.weight.detach()
    assert weight[0, :3].tolist() == pytest.approx(PINNED[:3], rel=1e-4)
    assert model.fc3.weight.detach().sum().item() == pytest.approx(PINNED[3], rel=1e-3)


def test_the_global_random_state_is_left_alone():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = models.create("resnet20", 10, CIFAR, seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(5)
    again = models.create("resnet20", 10, CIFAR, seed=1)
    assert all(torch.equal(p, q) for p, q in zip(first.parameters(), again.parameters()))


def test_initialisation_is_he_normal_for_convolutions_and_glorot_normal_for_linear_layers():
    for name in ("lenet-300-100", "vgg16", "wrn-28-2"):
        model = models.create(name, 10, CIFAR)
        for module in model.modules():
            if isinstance(module, (nn.Linear, nn.Conv2d)):
                weight = module.weight.detach()
                fan_out = len(weight) if isinstance(module, nn.Linear) else 0
                deviation = math.sqrt(2 / (weight[0].numel() + fan_out))
                tolerance = 5 / math.sqrt(weight.numel())  # five standard errors and more
                assert abs(weight.std().item() / deviation - 1) < tolerance
                assert abs(weight.mean().item() / deviation) < tolerance
                assert module.bias is None or module.bias.eq(0).all()
            elif isinstance(module, nn.BatchNorm2d):
                assert module.weight.eq(1).all() and module.bias.eq(0).all()


def test_initialize_makes_a_used_network_new():
    model = models.create("conv-small", 10, CIFAR, seed=4)
    fresh = {key: value.clone() for key, value in model.state_dict().items()}
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 1
    model(torch.randn(8, *CIFAR))
    initialize(model, seed=4)
    assert all(torch.equal(value, fresh[key]) for key, value in model.state_dict().items())


# What a mask covers.


def test_a_perceptron_is_masked_throughout():
    assert prunable(models.create("lenet-300-100", 10, MNIST)) == ["fc1.weight", "fc2.weight", "fc3.weight"]


@pytest.mark.parametrize("name", [name for name in models.NAMES if name not in ("logistic", "lenet-300-100")])
def test_a_convolutional_network_keeps_its_last_layer(name):
    model = models.create(name, 10, CIFAR, width=0.25)
    convolutions = [f"{key}.weight" for key, module in model.named_modules() if isinstance(module, nn.Conv2d)]
    assert sorted(prunable(model)) == sorted(convolutions)


def test_a_module_that_is_not_ours():
    alexnet = torchvision.models.alexnet(num_classes=10)
    assert prunable(alexnet)[-2:] == ["classifier.1.weight", "classifier.4.weight"]  # not classifier.6
    encoder = nn.TransformerEncoderLayer(8, 2, 16)
    attention = ["self_attn.in_proj_weight", "self_attn.out_proj.weight"]
    assert prunable(encoder) == [*attention, "linear1.weight", "linear2.weight"]
    assert prunable(nn.Linear(3, 2)) == ["weight"]

    tied = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    tied[1].weight = tied[0].weight
    assert prunable(tied) == ["0.weight"]


def test_recurrent_layers_are_covered_and_what_is_frozen_is_not():
    lstm = nn.Sequential(nn.Embedding(9, 8), nn.LSTM(8, 4, 2, bidirectional=True, proj_size=2), nn.Linear(4, 9))
    covered = prunable(lstm)
    assert len(covered) == 2 * 2 * 3 + 1 and all(lstm.get_parameter(name).ndim == 2 for name in covered)
    assert not any("bias" in name for name in covered) and covered[-1] == "2.weight"
    assert prunable(nn.GRUCell(3, 4)) == ["weight_ih", "weight_hh"]
    assert prunable(nn.MultiheadAttention(8, 2, kdim=4)) == [
        "q_proj_weight", "k_proj_weight", "v_proj_weight", "out_proj.weight",
    ]  # fmt: skip
    assert left_dense(lstm, covered) == ["0.weight"]
    assert share(lstm, ["0.weight"]) == 72 / sum(p.numel() for p in lstm.parameters())
    lstm[2].weight.requires_grad_(False)
    assert prunable(lstm) == covered[:-1]
    assert prunable(lstm, ["2.weight"]) == ["2.weight"]  # unless it is named


def test_names_may_be_chosen():
    encoder = nn.TransformerEncoderLayer(8, 2, 16)
    names = prunable(encoder, ["linear1.weight", "self_attn.in_proj_weight"])
    assert names == ["self_attn.in_proj_weight", "linear1.weight"]  # in the model's order
    assert prunable(encoder, iter(names)) == names
    lenet = models.create("lenet-300-100", 10, MNIST)
    with pytest.raises(LotteryError, match=r"no parameter 'fc1.wieght'; did you mean 'fc1.weight'\?"):
        prunable(lenet, ["fc2.weight", "fc1.wieght"])


@pytest.mark.parametrize("model, names", [(nn.BatchNorm2d(3), None), (nn.Linear(3, 3), [])])
def test_nothing_to_mask(model, names):
    with pytest.raises(LotteryError, match="nothing to mask: the model needs"):
        prunable(model, names)


# Bad input.


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (("resnet-20", 10, CIFAR), "unknown model 'resnet-20'; did you mean 'resnet20'?"),
        (("perceptron", 10, CIFAR), "unknown model 'perceptron'; known: logistic,"),
        (("resnet20", 10, (784,)), "in_shape = (784,): must be three positive integers, (channels, height, width)"),
        (("resnet20", 10, (3, 0, 32)), "in_shape = (3, 0, 32): must be three positive integers"),
        (("conv-small", 10, (3, 32, 7)), "conv-small needs images of at least 8 x 8 pixels"),
        (("resnet20", 1, CIFAR), "num_classes = 1"),
        (("resnet20", 10, CIFAR, 0, 0.0), "width = 0.0"),
        ((["resnet20"], 10, CIFAR), "unknown model ['resnet20']; did you mean 'resnet20'?"),
        (("resnet20", "10", CIFAR), "num_classes = '10', width = 1.0: need two classes"),
        (("resnet20", 10, CIFAR, 0, "1"), "num_classes = 10, width = '1': need two classes"),
        (("resnet20", 10, 64), "in_shape = 64: must be three positive integers"),
    ],
)
def test_bad_input(arguments, sentence):
    with pytest.raises(LotteryError, match=re.escape(sentence)):
        models.create(*arguments)


class Auxiliary(nn.Module):
    """Its heads are registered before the trunk, and a linear layer of the trunk comes last."""

    def __init__(self, head=True):
        super().__init__()
        self.head = nn.Linear(8, 10) if head else nn.Identity()
        self.auxiliary, self.conv, self.gate = nn.Linear(8, 10), nn.Conv2d(1, 8, 3), nn.Linear(8, 8)
        self.out = nn.Conv2d(8, 10, 1)

    def forward(self, images):
        maps = self.conv(images)
        maps = maps * self.gate(maps.mean((2, 3))).sigmoid()[:, :, None, None]
        whole = self.head(maps.mean((2, 3))) if isinstance(self.head, nn.Linear) else self.out(maps).mean((2, 3))
        return whole + 0.4 * self.auxiliary(maps.amax((2, 3))).relu()


def test_the_classifier_is_the_linear_layer_nearest_the_output():
    model, fully = Auxiliary(), Auxiliary(head=False)
    images = torch.randn(4, 1, 8, 8)
    assert "gate.weight" not in prunable(model)  # the last one registered, as no run has shown more
    traced = prunable(model, trace=lambda: cross_entropy(model(images), torch.arange(4)))
    assert set(traced) == {"auxiliary.weight", "conv.weight", "gate.weight", "out.weight"}
    traced = prunable(fully, trace=lambda: cross_entropy(fully(images), torch.arange(4)))
    assert set(traced) == {"auxiliary.weight", "conv.weight", "gate.weight", "out.weight"}  # a convolution is nearer
    data, config = own((images, torch.arange(4))), controls.Config(density=0.5)
    ticket = controls.search(model, data, config)
    assert "gate.weight" in ticket.mask and "head.weight" not in ticket.mask


def test_where_the_graph_does_not_show_the_classifier_it_is_the_last_one_registered():
    class Hidden(Auxiliary):
        def forward(self, images):
            return checkpoint(super().forward, images.requires_grad_(), use_reentrant=True)

    model, data = Hidden(), own((torch.randn(4, 1, 8, 8), torch.arange(4)))
    assert [*controls.search(model, data, controls.Config(density=0.5)).mask] == prunable(model)


def test_a_frozen_classifier_hands_its_part_to_no_other_layer():
    model = nn.Sequential(nn.Conv2d(1, 8, 8), nn.Flatten(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 10))
    model[-1].requires_grad_(False)
    data = own((torch.randn(4, 1, 8, 8), torch.arange(4)))
    found = controls.search(model, data, controls.Config(density=0.5)).mask
    assert [*found] == prunable(model) == ["0.weight", "2.weight"]


@pytest.mark.parametrize("name", models.NAMES)
def test_a_run_shows_the_same_classifier_in_every_network_of_the_library(name):
    model = models.create(name, 10, CIFAR, width=0.1)
    images, asked = torch.randn(2, *CIFAR), []

    def trace():
        asked.append(name)
        return cross_entropy(model(images), torch.arange(2))

    assert (
        prunable(model, trace=trace) == prunable(model) and not asked
    )  # it has a single linear layer, or no convolution
    if any(isinstance(module, nn.Conv2d) for module in model.modules()):
        (last,) = {key for key, p in model.named_parameters() if p.ndim >= 2} - {*prunable(model)}
        assert weights.nearest(trace(), model, {*prunable(model), last}) == last
