"""The examples in the docstrings of the method's half run, and every public name has one."""

import doctest
import importlib
import re
from types import ModuleType

import pytest
from test_structure import METHOD, MODULES, room

import lottery_lib
from lottery_lib import models, regularizers
from lottery_lib.data import datasets

WIDTH = 80  # of an example on a page of the book, in characters: there is no room for more
EXAMPLES = {  # functions of the public modules that need an example; of any other module it is ``search``
    "controls": ("search", "shuffled", "reinitialised"),
    "regularizers": ("create",),
    "masks": ("ones", "threshold", "top_k", "random", "density", "per_layer", "overlap"),
    "models": ("create",),
}


def examples(module):
    return [test for test in doctest.DocTestFinder(exclude_empty=True).find(module) if test.examples]


def public(name):
    """What a public name stands for: itself, or the main functions of a module."""
    found = getattr(lottery_lib, name)
    if not isinstance(found, ModuleType):
        return [found]
    return [getattr(found, function) for function in EXAMPLES.get(name, ("search",))]


@pytest.mark.filterwarnings("ignore:Sparse CSR")
@pytest.mark.parametrize("module", [module for module in MODULES if room(module) in METHOD])
def test_the_examples_run(module, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # some write a file
    runner = doctest.DocTestRunner()
    for test in examples(importlib.import_module(f"lottery_lib.{module}")):
        runner.run(test)
    assert runner.summarize(verbose=False).failed == 0  # what was wrong is printed


@pytest.mark.parametrize("name", lottery_lib.__all__)
def test_every_public_name_has_an_example(name):
    for found in public(name):
        module = importlib.import_module(found.__module__)
        assert f"{found.__module__}.{found.__qualname__}" in {test.name for test in examples(module)}


@pytest.mark.parametrize("module", [module for module in MODULES if room(module) in METHOD])
def test_examples_fit_the_column_of_their_page(module):
    shown = [each for test in examples(importlib.import_module(f"lottery_lib.{module}")) for each in test.examples]
    lines = [f">>> {line}" for each in shown for line in each.source.splitlines()]
    lines += [line for each in shown for line in each.want.splitlines()]
    assert [line for line in lines if len(line) > WIDTH] == []


@pytest.mark.parametrize(("function", "names"), [
    (datasets.load, datasets.NAMES), (models.create, models.NAMES), (regularizers.create, regularizers.REGULARIZERS),
])  # fmt: skip
def test_what_may_be_asked_for_by_name_is_told(function, names):
    told = re.search(r"(?:name: |The penalty )(\w.+? or [\w-]+)", function.__doc__)[1]
    assert re.split(", | or ", told) == [*names]
