"""The examples in the docstrings of the method's half run, and every public name has one."""

import doctest
import importlib
from types import ModuleType

import pytest
from test_structure import METHOD, MODULES, room

import lottery_lib

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
