"""Where a step's time goes, by PyTorch's profiler: why it takes longer than the limit. For CPUs."""

import re
from collections import Counter
from typing import Any
from unittest import mock

from torch.profiler import ProfilerActivity, profile, record_function

from lottery_lib.training import loop as training

BEFORE = "rehearsal"
PRODUCTS = re.compile(r"aten::(\w*conv\w*|\w*mm|linear)")


def where(loop: Any, steps: int) -> dict[str, float]:
    """Milliseconds a step of ``loop``, one of ``steps`` an epoch, by kind; together they are the step.

    ``mask`` is what its parameterization adds to a dense step. What a compiled network fuses, its normalisation and
    activations, is part of ``other``; ``between`` is when no operation runs: the interpreter, and the profiler itself.
    An operation's time is its own, without those that it calls. What goes before the first step is no part of it.
    """
    rule = loop.rule
    marked = {name: record_function("mask")(getattr(rule, name)) for name in ("pull_back", "push_forward")}
    before = mock.patch.object(training, "rehearse", record_function(BEFORE)(training.rehearse))
    with before, mock.patch.multiple(rule, **marked), profile(activities=[ProfilerActivity.CPU]) as profiler:
        step = 1000 * loop.epoch()
    spent = Counter(products=0.0, optimizer=0.0, mask=0.0, other=0.0)
    for event in profiler.events():
        spent[_kind(event)] += event.self_cpu_time_total / 1000 / steps
    del spent[BEFORE]
    return dict(spent) | {"between": step - spent.total()}


def _kind(event: Any) -> str:
    above = event
    while above is not None:
        if above.name in ("mask", BEFORE):
            return above.name
        if above.name.startswith("Optimizer.step"):
            return "optimizer"
        above = above.cpu_parent
    return "products" if PRODUCTS.fullmatch(event.name) else "other"
