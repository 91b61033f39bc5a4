"""The house: imports run one way, from what finds a ticket to what is said of it, and no module is long."""

import ast
import subprocess
import sys
from functools import cache
from graphlib import TopologicalSorter

import pytest

from lottery_lib.paths import ROOT

PACKAGE = ROOT / "lottery_lib"
MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
    if path != PACKAGE / "__init__.py"
}
METHOD = (  # rooms of the method, each may import from those before it
    "errors", "paths", "files", "randomness", "provenance", "data", "states", "weights", "models", "regularizers",
    "masks", "relaxation", "training", "ticket_files", "tickets", "methods",
)  # fmt: skip
EVIDENCE = ("theory", "experiments", "findings", "figures", "widgets", "notebooks", "cli")
ROOMS = (*METHOD, *EVIDENCE)


def room(module):
    return module.partition(".")[0]


@cache
def imported(module):
    """The library's modules that this one imports, at its top or inside a function."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module}: imports within the library are written out"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found.update(name if name.removeprefix("lottery_lib.") in MODULES else node.module for name in names)
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
    return {name.removeprefix("lottery_lib.") for name in found if name.startswith("lottery_lib.")} - {module}


def test_every_module_has_a_room():
    assert {room(module) for module in MODULES} == set(ROOMS)


@pytest.mark.parametrize("module", MODULES)
def test_imports_run_one_way(module):
    rooms = {room(name) for name in imported(module)} - {room(module)}
    assert [name for name in rooms if ROOMS.index(name) >= ROOMS.index(room(module))] == []


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_nothing_that_imports_it(module):
    if not MODULES[module].name.startswith("__init__"):  # a package names its own parts
        list(TopologicalSorter({name: imported(name) & set(MODULES) for name in reached(module)}).static_order())


def reached(module):
    seen, left = set(), [module]
    while left:
        if (name := left.pop()) not in seen and name in MODULES and not MODULES[name].name.startswith("__init__"):
            seen.add(name)
            left += imported(name)
    return seen


def test_the_house_has_at_most_ten_levels():
    above = {
        name: {room(to) for module in MODULES if room(module) == name for to in imported(module)} for name in ROOMS
    }
    level = {}
    for name in TopologicalSorter({name: to - {name} for name, to in above.items()}).static_order():
        level[name] = 1 + max((level[to] for to in above[name] - {name}), default=0)
    assert max(level.values()) <= 10, level


@pytest.mark.parametrize("module", MODULES)
def test_no_module_is_long(module):
    assert len(MODULES[module].read_text("utf-8").splitlines()) <= 300


def test_the_library_imports_nothing_of_its_users():
    """Not the benchmarks, tests, notebooks or book."""
    for module, path in MODULES.items():
        names = {
            name
            for node in ast.walk(ast.parse(path.read_text("utf-8")))
            if isinstance(node, (ast.Import, ast.ImportFrom))
            for name in ([node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names])
        }
        assert {name.partition(".")[0] for name in names if name} & {"benchmarks", "tests", "book", "tools"} == set(), (
            module
        )


@pytest.mark.parametrize("module", ["lottery_lib", "lottery_lib.methods"])
def test_a_search_needs_nothing_heavy_beside_torch(module):
    heavy = {"torchvision", "pandas", "sklearn", "scipy", "matplotlib", "seaborn", "yaml", "anywidget", "IPython"}
    code = f"import sys, {module}; print(sorted({heavy} & set(sys.modules)))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "[]\n"
