"""Files that say the same thing say it alike: pyproject, lock, environment, table of contents, API pages, notebooks."""

import fnmatch
import json
import pkgutil
import re
import runpy
import subprocess
import sys

import pytest
import yaml
from packaging.requirements import Requirement

import lottery_lib
from lottery_lib.paths import NOTEBOOKS, ROOT

tomllib = pytest.importorskip("tomllib" if sys.version_info >= (3, 11) else "tomli")

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LOCKED = PROJECT["optional-dependencies"] | {"sweep": []}  # Snakemake holds others back, and no build needs it
DIRECT = [Requirement(r) for r in sum(LOCKED.values(), PROJECT["dependencies"])]
LOCK = [
    Requirement(line)
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
]
PYTHONS = ["3.10", "3.11", "3.12", "3.13"]
CHAPTERS = sorted(
    p.relative_to(NOTEBOOKS).as_posix() for p in NOTEBOOKS.rglob("*.ipynb") if ".ipynb_checkpoints" not in p.parts
)
FOLDERS = {f"lottery_lib.{p.parent.name}" for p in ROOT.glob("lottery_lib/*/__init__.py")}
MODULES = FOLDERS | {
    p.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")
    for p in ROOT.glob("lottery_lib/**/*.py")
    if p.name not in ("__init__.py", "cli.py")  # the command line has --help
}


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("wanted", DIRECT, ids=lambda r: r.name)
def test_lock_fits_pyproject(wanted, python):
    here = {"python_version": python, "python_full_version": f"{python}.9", "sys_platform": "linux", "os_name": "posix"}
    locked = [r for r in LOCK if r.name == wanted.name and (r.marker is None or r.marker.evaluate(here))]
    assert len(locked) == 1, f"constraints.txt has {len(locked)} lines for {wanted.name} on Python {python}"
    (version,) = (s.version for s in locked[0].specifier)
    assert wanted.specifier.contains(version), f"{locked[0]} is outside {wanted}"


def test_lock_leaves_torch_to_the_platform():
    assert {r.name for r in LOCK if not str(r.specifier).startswith("==")} == {"torch", "torchvision"}
    assert [r.name for r in LOCK if re.match("nvidia|cuda|triton", r.name)] == []


def test_environment_is_pyproject():
    wanted = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))["dependencies"]
    assert wanted == ["python" + PROJECT["requires-python"], "pip", {"pip": ["-e .[book]"]}]


def test_table_of_contents_lists_every_notebook():
    toc = (ROOT / "book" / "_toc.yml").read_text(encoding="utf-8")
    listed = re.findall(r"file: notebooks/(\S+)", toc)  # in the order of the argument, which stems do not tell
    assert sorted(listed) == [name.removesuffix(".ipynb") for name in CHAPTERS] != []


def test_every_module_has_one_page_that_the_table_of_contents_reaches(tmp_path, monkeypatch):
    parsing = pytest.importorskip("sphinx_external_toc.parsing")
    write = runpy.run_path(str(ROOT / "book" / "_ext" / "book_local.py"))["write_api"]
    monkeypatch.setitem(write.__globals__, "API", tmp_path / "api")
    write(None, None)
    pages = {p.relative_to(tmp_path).with_suffix("").as_posix(): p.read_text("utf-8") for p in tmp_path.rglob("*.md")}
    documented = {name: page for page, text in pages.items() for name in re.findall(r"automodule:: (\S+)", text)}
    assert sorted(documented) == sorted(MODULES) and sorted(documented.values()) == sorted(pages)
    assert {name for name in MODULES if ":no-members:" in pages[documented[name]]} == FOLDERS
    for folder in FOLDERS:  # a table of its modules, each with its first line
        told = re.findall(r"^   ([a-z]\S+)$", pages[documented[folder]].partition(".. autosummary::")[2], re.MULTILINE)
        assert {f"lottery_lib.{name}" for name in told} == {name for name in MODULES if name.startswith(f"{folder}.")}

    contents = parsing.parse_toc_yaml(ROOT / "book" / "_toc.yml")
    listed = [name for name in contents if name.startswith("api/")]
    listed += [name for pattern in contents.globs() for name in fnmatch.filter(pages, pattern)]
    assert sorted(listed) == sorted(pages)


def test_overview_links_every_public_name_and_every_module():
    text = (ROOT / "book" / "api.md").read_text(encoding="utf-8")
    public = re.findall(r"^   ~(\S+)$", text, re.MULTILINE)
    assert [name.rpartition(".")[2] for name in public] == lottery_lib.__all__
    for name in public:
        assert pkgutil.resolve_name(name) is getattr(lottery_lib, name.rpartition(".")[2])
    modules = re.findall(r"^   ([a-z]\S+)$", text, re.MULTILINE)  # of lottery_lib, by ``currentmodule``
    assert sorted(f"lottery_lib.{name}" for name in modules) == sorted(MODULES)


@pytest.mark.parametrize("words", [["check"], ["format", "--check"]], ids=" ".join)
def test_code_is_formatted_and_runs_on_the_oldest_python(words):
    """Ruff also refuses what the least Python of pyproject.toml cannot parse, notebooks included."""
    ruff = subprocess.run([sys.executable, "-m", "ruff", *words, str(ROOT)], capture_output=True, text=True)
    assert ruff.returncode == 0, ruff.stdout + ruff.stderr


@pytest.mark.parametrize("name", CHAPTERS)
def test_notebook_is_committed_without_outputs(name):
    notebook = json.loads((NOTEBOOKS / name).read_text(encoding="utf-8"))
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert [cell for cell in code if cell["outputs"] or cell["execution_count"] is not None] == []
    assert "widgets" not in notebook["metadata"] and "papermill" not in notebook["metadata"]
