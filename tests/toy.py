"""Networks and data small enough that a search takes a blink, and comparisons to the last bit."""

import json
import time
from dataclasses import replace
from functools import cache

import torch
from safetensors.torch import save_file
from torch import nn

from lottery_lib import methods, models, weights
from lottery_lib.data import batches, datasets
from lottery_lib.methods import concave, continuous, controls, gradual, magnitude, saliency
from lottery_lib.training.recipes import Recipe

torch.set_num_threads(1)  # faster than two, for networks of this size

RECIPE = Recipe(epochs=3, lr=0.1)
SEARCHES = {  # every method: (module, fields of its config beside the shared ones)
    "concave": (concave, {"lam": 1e-4}),
    "one-shot": (magnitude, {}),
    "lr-rewinding": (magnitude, {"rewind_weights": False}),
    "gradual": (gradual, {}),
    "continuous": (continuous, {}),
    "snip": (saliency, {"criterion": "snip"}),
    "grasp": (saliency, {"criterion": "grasp"}),
    "synflow": (saliency, {"criterion": "synflow"}),
    "random": (controls, {}),
}
ITERATIVE = {name: SEARCHES[name] for name in ("concave", "one-shot", "lr-rewinding", "continuous")}
LEAST = {"recipe": RECIPE, "density": 0.2}


def lenet(seed=0):
    return models.create("lenet-300-100", 10, (1, 8, 8), seed, width=0.1)


def convnet(seed=0):
    """With batch normalisation."""
    return models.create("conv-small", 10, (1, 8, 8), seed, width=0.125)


class Dropping(nn.Sequential):
    """Draws from torch's own generator, as a reader's network may."""

    def __init__(self):
        super().__init__(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 10))
        weights.initialize(self, 0)


@cache
def digits():
    """The digits, whose test images nobody may read."""
    whole = datasets.load("digits")
    return replace(whole, test=Sealed(len(whole.test)))


class Sealed:
    def __init__(self, length):
        self.length = length

    def __len__(self):
        return self.length

    def __getattr__(self, name):
        raise AssertionError(f"the test split was read: {name}")


def noise(inputs=64, features=6, classes=3, seed=0, dtype=torch.float32):
    """A random problem for ``perceptron``."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(inputs, features, generator=generator, dtype=torch.float64).to(dtype)
    return batches.own((x, torch.randint(classes, (inputs,), generator=generator)))


def perceptron(features=6, hidden=5, classes=3, seed=0, dtype=torch.float32):
    """Smooth, so that derivatives can be checked by differences."""
    model = nn.Sequential(nn.Linear(features, hidden), nn.Tanh(), nn.Linear(hidden, classes))
    weights.initialize(model, seed)
    return model.to(dtype)


def find(name, model=None, options=None, **fields):
    """The ticket of a method, on digits."""
    module, more = SEARCHES[name]
    model = model or lenet()
    return module.search(model, digits(), module.Config(**LEAST | more | fields), **options or {})


def retrained(model, ticket, **options):
    return methods.retrain(model, digits(), ticket, RECIPE, **options)


def copied(tensors):
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}


def same_bits(a, b):
    """Two dicts of tensors, -0 and +0 told apart."""
    return list(a) == list(b) and all(_bits(a[name]) == _bits(b[name]) for name in a)


def _bits(tensor):
    return tensor.dtype, tensor.shape, tensor.detach().contiguous().numpy().tobytes()


def same_values(a, b):
    return list(a) == list(b) and all(torch.equal(a[name], b[name]) for name in a)


def timeless(history):
    return [{key: value for key, value in epoch.items() if key != "seconds"} for epoch in history.epochs]


def watched(rule, check):
    """``check(rule)`` after every step."""
    push_forward = rule.push_forward

    def checked():
        push_forward()
        check(rule)

    rule.push_forward = checked
    return rule


def search_and_retrain(folder, lam):
    """What a test kills and starts again; it draws dropout, and finds torch's generator in some state or other."""
    torch.manual_seed(time.time_ns() % 2**32)
    model, recipe = Dropping(), Recipe(epochs=12)
    config = concave.Config(recipe=recipe, density=0.2, rounds=(0.5, 0.2), rewind_epoch=2, lam=lam)
    ticket = concave.search(model, digits(), config, work=folder / "work")
    history = methods.retrain(model, digits(), ticket, recipe, start=2, work=folder / "work")
    parts = {"state": model.state_dict(), "rewind": ticket.rewind, "mask": ticket.mask, "m": ticket.relaxed}
    tensors = {f"{part}/{name}": tensor for part, of in parts.items() for name, tensor in of.items()}
    save_file(tensors, folder / "unfinished", {"history": json.dumps(timeless(history))})
    (folder / "unfinished").rename(folder / "result")
