"""callables.py: losses of the same name are told apart by what they compute with, and the same one is known again."""

import subprocess
import sys
import textwrap
from functools import partial
from types import ModuleType, SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from toy import RECIPE, noise, perceptron

from lottery_lib.training import callables
from lottery_lib.training.loop import train

SCALE = 2.0


def closed(scale):
    return lambda outputs, labels: scale * cross_entropy(outputs, labels)


def weighted(weight):
    return nn.CrossEntropyLoss(weight=torch.tensor([1.0, weight]))


class Scaled:
    def __init__(self, scale):
        self.scale = scale

    def __call__(self, outputs, labels):
        return self.scale * cross_entropy(outputs, labels)

    def method(self, outputs, labels):
        return self(outputs, labels)


def by_settings(scale):
    settings = SimpleNamespace(scale=scale)
    return lambda outputs, labels: settings.scale * cross_entropy(outputs, labels)


def by_default(scale):
    def loss(outputs, labels, scale=scale):
        return scale * cross_entropy(outputs, labels)

    return loss


def of_class(scale):
    class Loss(nn.Module):
        gamma = scale

        @staticmethod
        def bare(value):
            return value

        def forward(self, outputs, labels):
            return self.gamma * self.bare(cross_entropy(outputs, labels))

    return Loss()


def of_namespace(scale):
    class Settings:
        value = scale

    return lambda outputs, labels: Settings.value * cross_entropy(outputs, labels)


def of_module(scale):
    losses = ModuleType("losses")
    exec(f"def focal(value): return {scale} * value", vars(losses))
    exec(
        "def loss(outputs, labels): return losses.focal(outputs.mean())",
        module := {"losses": losses, "__name__": "mine"},
    )
    return module["loss"]


def of_cells(scale):
    first, second = (None, 2.0) if scale == 1 else (2.0, None)
    return lambda outputs, labels: outputs.mean() * (first or 1) / (second or 1)


MAKERS = {
    "class": of_class, "namespace": of_namespace, "module": of_module, "cells": of_cells,
    "delta": lambda value: nn.HuberLoss(delta=value), "weight": weighted, "closure": closed, "object": Scaled,
    "keyword": lambda value: partial(cross_entropy, label_smoothing=value / 9),
    "method": lambda value: Scaled(value).method, "settings": by_settings,
    "default": by_default, "inner": lambda value: partial(closed(value)),
}  # fmt: skip


@pytest.mark.parametrize("name", MAKERS)
def test_what_a_loss_computes_with_is_part_of_it(name):
    make = MAKERS[name]
    assert callables.told(make(1.0)) == callables.told(make(1.0)) != callables.told(make(2.0))


def test_what_its_code_reads_of_its_module_is_part_of_it(monkeypatch):
    def loss(outputs, labels):
        return (lambda value: SCALE * value)(cross_entropy(outputs, labels))

    before = callables.told(loss)
    monkeypatch.setitem(globals(), "SCALE", 3.0)
    assert callables.told(loss) != before


def test_code_of_the_same_name_is_told_apart_and_what_only_watches_is_not():
    classes = [type("Loss", (nn.Module,), {"forward": forward}) for forward in (lambda *_: 1.0, lambda *_: 2.0)]
    assert callables.told(classes[0]()) == callables.told(classes[0]()) != callables.told(classes[1]())
    once, twice = (lambda out, labels: 1.0 * out.mean()), (lambda out, labels: 2.0 * out.mean())
    assert callables.told(once) != callables.told(twice)
    teacher, log = nn.Linear(2, 2), (line for line in "ab")

    def watched(outputs, labels):
        next(log)
        return teacher(outputs).mean()

    before = callables.told(watched)
    watched(torch.ones(2, 2), None)
    teacher.register_forward_hook(print).remove()
    assert callables.told(watched) == before


def test_compiled_ones_are_told_as_what_they_are_made_of():
    def plain(outputs, labels):
        return outputs.mean()

    compiled, module, inputs = torch.compile(plain, backend="eager"), nn.Linear(2, 2), torch.ones(1, 2)
    network = torch.compile(module, backend="eager")
    before = callables.told(network)
    for _ in range(2):
        assert callables.told(compiled) == callables.told(plain)
        assert callables.told(network) == callables.told(module) == before
        compiled(inputs, None), network(inputs)


def test_what_is_named_beside_globals_of_that_name_is_none_of_them(monkeypatch):
    def loss(outputs, labels):
        return outputs.SCALE.mean()

    before = callables.told(loss)
    monkeypatch.setitem(globals(), "SCALE", 9.0)
    assert callables.told(loss) == before
    assert callables.told({len, max, cross_entropy}) == callables.told({cross_entropy, len, max})


def test_functions_that_read_each_other_are_told_once():
    names = [f"f{k}" for k in range(20)]
    code = "\n".join(f"def {name}(out): return {' + '.join(f'{other}(out)' for other in names)}" for name in names)
    exec(code, module := {"__name__": "mine"})
    assert callables.told(module["f0"]) != callables.told(module["f1"]) and len(callables.told(module["f0"])) < 10**5


def test_a_set_that_a_function_lies_in_and_reads_ends():
    """Members of a set were told as if nothing had been told before."""
    exec("def loss(out, labels): return len(known) * out.mean()", module := {"__name__": "mine"})
    module["known"] = {module["loss"]}
    assert callables.told(module["loss"]) == callables.told(module["loss"])


def test_another_process_tells_the_same(tmp_path):
    code = textwrap.dedent("""
        from torch import nn
        from lottery_lib.training import callables
        model, scale = nn.Linear(2, 2), 3
        with __import__("torch").no_grad(): model.weight.fill_(1), model.bias.fill_(1)
        def objective(net, batch): return scale * net(batch).mean() + model(batch).sum() + len({"a", "b", "c"} & {"x"})
        print(__import__("hashlib").sha256(callables.told(objective)).hexdigest())
    """)
    found = {
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    }
    assert len(found) == 1


def test_a_work_folder_does_not_take_one_loss_for_another(tmp_path):
    """They agree on the first batch; only a later one has the rare class, whose weight was changed."""
    (inputs, labels), *_ = [next(noise().train.in_order())]
    batches = [(inputs[:8], labels[:8] * 0), (inputs[8:16], labels[8:16] * 0 + 1)]
    from lottery_lib.data.batches import own

    def trained(weight):
        model = perceptron()
        weights = torch.ones(model(inputs).shape[1]).index_fill(0, torch.tensor([1]), weight)
        loss = nn.CrossEntropyLoss(weight=weights, reduction="sum")
        return train(model, own(batches), RECIPE, loss=loss, work=tmp_path).epochs[-1]["loss"]

    assert trained(1.0) == trained(1.0) != trained(50.0)
    assert len(list(tmp_path.iterdir())) == 2
