"""Steps of every parameterization on torch's meta device: a tensor that stays on the CPU cannot take part in them."""

import pytest
import torch
from torch.nn.functional import cross_entropy
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lottery_lib import masks, models, regularizers
from lottery_lib.data.images import Split
from lottery_lib.methods import continuous, gradual
from lottery_lib.relaxation import FixedMask, Parameterization, RelaxedMask
from lottery_lib.weights import prunable

META = torch.device("meta")


class OnDevice(TorchDispatchMode):
    """Refuses operations with a tensor that lies elsewhere: operations on lists of tensors do not by themselves."""

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        for tensor in tree_leaves((args, kwargs)):
            if isinstance(tensor, torch.Tensor) and tensor.dim():
                assert tensor.device == META, f"{operation} with a tensor on {tensor.device}"
        return operation(*args, **kwargs or {})


RULES = {
    "dense": lambda model, names: Parameterization(model),
    "fixed": lambda model, names: FixedMask(model, masks.ones(model)),
    "relaxed": lambda model, names: RelaxedMask(model, names, regularizers.Log(), 1e-3, 1.0),
    "relaxed within": lambda model, names: RelaxedMask(
        model, names, regularizers.L1(), 1e-3, 1.0, within=masks.ones(model)
    ),
    "gradual": lambda model, names: gradual.GradualMask(model, names, gradual.Config(density=0.2)),
    "continuous": lambda model, names: continuous.SigmoidMask(
        model, {name: torch.zeros_like(model.get_parameter(name)) for name in names}, 1e-8, 1.0
    ),
}


@pytest.fixture
def pictures():
    """Augmented, as those of CIFAR are."""
    images, half = torch.zeros(64, 3, 8, 8, dtype=torch.uint8, device=META), torch.full((3,), 0.5, device=META)
    return Split(images, torch.zeros(64, dtype=torch.int64, device=META), half, half, augment=True)


@pytest.fixture
def model():
    return models.create("conv-small", 10, (3, 8, 8), width=0.25).to(META, memory_format=torch.channels_last)


def keep_all(scores, density, within, per_layer):
    """In place of ``masks.top_k``, which must look at values, and a meta tensor has none."""
    assert {t.device for part in (scores, within) for t in part.values()} == {META}
    return {name: torch.ones_like(score, dtype=torch.bool) for name, score in scores.items()}


def step(model, rule, batch):
    inputs, labels = batch
    cross_entropy(model(inputs), labels).backward()
    rule.pull_back()


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.AdamW])
@pytest.mark.parametrize("kind", RULES)
def test_a_step_stays_on_its_device(kind, optimizer, model, pictures, monkeypatch):
    monkeypatch.setattr(gradual.masks, "top_k", keep_all)
    rule = RULES[kind](model, prunable(model))
    covered = {id(weight) for weight in rule.weights}
    steps = optimizer([*rule.leaves, *(p for p in model.parameters() if id(p) not in covered)], lr=0.1)
    for number, batch in enumerate(pictures.batches(16)):
        with OnDevice():
            rule.advance(number / 4)
            step(model, rule, batch)
            steps.step()
            rule.push_forward()
    on = {name: tensor.device for name, tensor in rule.state().items() if name != "done"}  # a count, for the host
    assert {*on.values()} <= {META} and all(value.device == META for value in rule.metrics().values())


@pytest.mark.parametrize("kind, tensors", [("fixed", "mask"), ("relaxed", "theta"), ("continuous", "s")])
def test_a_stray_tensor_is_noticed(kind, tensors, model, pictures):
    rule = RULES[kind](model, prunable(model))
    lying = getattr(rule, tensors)
    lying[:] = [torch.ones(tensor.shape) for tensor in lying]
    with OnDevice(), pytest.raises(AssertionError, match="with a tensor on cpu"):
        step(model, rule, next(pictures.batches(16)))
        rule.push_forward()


@pytest.mark.parametrize("kind", [kind for kind in RULES if kind != "dense"])
def test_a_parameterization_follows_weights_that_were_moved(kind, model, pictures, monkeypatch):
    """As somebody else's trainer moves them, after a search was attached."""
    monkeypatch.setattr(gradual.masks, "top_k", keep_all)
    rule = RULES[kind](model, prunable(model))
    for lying in (kept for kept in vars(rule).values() if isinstance(kept, list) and kept is not rule.weights):
        if isinstance(lying[0], torch.Tensor):
            lying[:] = [torch.ones(t.shape).to(t.dtype).requires_grad_(t.requires_grad) for t in lying]
    rule.follow()
    batch = next(pictures.batches(16))
    with OnDevice():
        step(model, rule, batch)
        rule.push_forward()
