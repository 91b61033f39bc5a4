"""notebooks.py: real papermill runs of tiny notebooks; every refusal comes before a cell runs and leaves no file."""

import json
import os
import re
import subprocess
import sys

import pytest

from lottery_lib import notebooks, paths
from lottery_lib.errors import LotteryError
from lottery_lib.experiments import params, protocols

nbformat = pytest.importorskip("nbformat")
pytest.importorskip("papermill")

PARAMETERS = """\
lam: float = 0.1  # weight of the penalty
digits: tuple[int, int] = (3, 8)
title: str = "a b"
"""
CONFIG = """
from dataclasses import dataclass
from lottery_lib.errors import LotteryError
from lottery_lib.experiments import params, protocols

@dataclass(frozen=True)
class Config:
    lam: float = 0.1
    digits: tuple[int, int] = (3, 8)
    unknown_to_the_notebook: int = 1

    def __post_init__(self):
        if self.lam < 0:
            raise LotteryError(f"lam = {self.lam}: must be at least 0")
"""


def write(path, *sources, parameters=PARAMETERS, **metadata):
    """A notebook: a heading, a cell of parameters, then one cell a source."""
    v4 = nbformat.v4
    cells = [v4.new_markdown_cell("# A tiny chapter\nand prose")]
    if parameters:
        cells.append(v4.new_code_cell(parameters, metadata={"tags": ["parameters"]}))
    kernel = {"kernelspec": {"name": "python3", "language": "python", "display_name": "Python 3"}}
    cells += [v4.new_code_cell(source) for source in sources]
    nbformat.write(v4.new_notebook(cells=cells, metadata=kernel | metadata), path)
    return path


def printed(path):
    """All that an executed notebook printed."""
    cells = nbformat.read(path, as_version=4).cells
    return "".join(output.get("text", "") for cell in cells for output in cell.get("outputs", []))


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A checkout with two notebooks, and the reader standing in it."""
    (tmp_path / "notebooks").mkdir()
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    monkeypatch.setattr(paths, "NOTEBOOKS", tmp_path / "notebooks")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "tiny_config", raising=False)
    (tmp_path / "tiny_config.py").write_text(CONFIG)
    source = "import sys; print(lam, tuple(digits), title, sys.executable)"
    write(tmp_path / "notebooks" / "01_tiny.ipynb", source, lottery={"config": "tiny_config:Config"})
    write(tmp_path / "notebooks" / "02_fails.ipynb", "\n# the failing cell\n1 / 0", "print('never')")
    return tmp_path


def refuse(*args, **kwargs):
    with pytest.raises(LotteryError) as refused:
        notebooks.run(*args, **kwargs)
    sentence = str(refused.value)
    assert "\n" not in sentence
    return sentence


def test_runs_with_parameters_on_this_python(root, monkeypatch):
    registered = root / "jupyter" / "kernels" / "python3"  # a kernel of the same name that is another program
    registered.mkdir(parents=True)
    spec = {"argv": ["/bin/false"], "display_name": "x", "language": "python"}
    (registered / "kernel.json").write_text(json.dumps(spec))
    monkeypatch.setenv("JUPYTER_PATH", str(root / "jupyter"))
    before = (root / "notebooks" / "01_tiny.ipynb").read_bytes()

    out = notebooks.run("01", ["lam=1e-3", "digits=4,9"])

    assert out == root / "_build" / "runs" / "01_tiny.ipynb"
    assert printed(out) == f"0.001 (4, 9) a b {sys.executable}\n"
    assert [path.name for path in out.parent.iterdir()] == [out.name]
    assert (root / "notebooks" / "01_tiny.ipynb").read_bytes() == before
    metadata = nbformat.read(out, as_version=4).metadata.papermill
    assert metadata.input_path == "notebooks/01_tiny.ipynb" and metadata.parameters == {"lam": 1e-3, "digits": [4, 9]}
    assert str(root) not in out.read_text()


def test_a_failing_cell_is_named_and_the_former_run_kept(root):
    out = root / "deep" / "er" / "{out}.ipynb"
    out.parent.mkdir(parents=True)
    out.write_text("former")
    sentence = refuse("02_fails", out=out)
    assert sentence == (
        "notebooks/02_fails.ipynb failed in code cell 2 (# the failing cell): ZeroDivisionError: division by zero; "
        "the notebook as far as it ran is deep/er/{out}.partial.ipynb"
    )
    partial = out.with_suffix(".partial.ipynb")
    assert "ZeroDivisionError" in partial.read_text() and "never\n" not in printed(partial)
    assert str(root) not in partial.read_text()
    assert out.read_text() == "former"


def test_a_dead_kernel_is_named(root):
    write(root / "dies.ipynb", "import os\nos._exit(1)", parameters=None)
    sentence = refuse("dies.ipynb")
    assert sentence.startswith("dies.ipynb failed in code cell 1 (import os): the kernel died; ")
    assert (root / "_build" / "runs" / "dies.partial.ipynb").is_file()


@pytest.mark.parametrize(
    "pair, sentence",
    [
        ("lamda=1", "unknown parameter 'lamda'; did you mean 'lam'?"),
        ("lam=abc", "lam = 'abc': must be a finite number"),
        ("lam=-1", "lam = -1.0: must be at least 0"),
        ("digits=3", "digits = '3': must be 2 comma-separated values, each a whole number"),
    ],
)
def test_parameters_are_checked_before_any_file_is_made(root, pair, sentence):
    assert refuse("01_tiny", [pair], out="new/out.ipynb") == sentence
    assert not (root / "new").exists()


def test_types_hold_without_a_config(root):
    assert refuse("02_fails", ["lam=abc"]) == "lam = 'abc': must be a finite number"
    assert " failed in code cell 3 " in refuse("02_fails", ["lam=-1"])  # reached: the second is the injected one


@pytest.mark.parametrize(
    "name, sentence",
    [
        ("01_tinny", "there is no notebook '01_tinny' in notebooks; did you mean '01_tiny'?"),
        ("zebra", "there is no notebook 'zebra' in notebooks; known: 01_tiny, 02_fails"),
        ("0", "'0' fits 2 notebooks: 01_tiny, 02_fails; write more of the name"),
        ("else/01_tiny.ipynb", "there is no notebook else/01_tiny.ipynb; give the path of an existing .ipynb file"),
    ],
)
def test_a_missing_notebook(root, name, sentence):
    assert refuse(name) == sentence


@pytest.mark.parametrize("name", ["01_tiny", "01", "01_tiny.ipynb", "notebooks/01_tiny.ipynb"])
def test_names_of_a_notebook(root, name):
    assert notebooks.find(name) == root / "notebooks" / "01_tiny.ipynb"


def test_the_source_is_never_overwritten(root, monkeypatch):
    source = root / "notebooks" / "01_tiny.ipynb"
    before = source.read_bytes()
    (root / "link.ipynb").symlink_to(source)
    os.link(source, root / "hard.ipynb")
    for out in (source, "notebooks/../notebooks/01_tiny.ipynb", "link.ipynb", "hard.ipynb"):
        assert "would overwrite the notebook that is run" in refuse("01_tiny", out=out)
    assert "lies among the sources in notebooks" in refuse("01_tiny", out="notebooks/sub/new.ipynb")
    assert not (root / "notebooks" / "sub").exists()
    assert source.read_bytes() == before


def test_a_partial_notebook_can_not_be_run_into_itself(root):
    write(root / "x.partial.ipynb")
    assert "would overwrite" in refuse("x.partial.ipynb", out="x.ipynb")


def test_an_output_that_cannot_be_written(root):
    (root / "file").write_text("")
    (root / "folder.ipynb").mkdir()
    for out in ("file/out.ipynb", "file/deep/out.ipynb"):
        assert refuse("01_tiny", out=out) == f"cannot write {out}: Not a directory; name a place you may write to"
    assert refuse("01_tiny", out="out.txt") == "the output out.txt must be the path of an .ipynb file"
    assert refuse("01_tiny", out="folder.ipynb") == "the output folder.ipynb must be the path of an .ipynb file"


@pytest.mark.parametrize(
    "line", ["lam: float = 0.1  # λ = weight", "lam: float = 2 * 3", "lam: array = 1", "x: str = '#'", "import os"]
)
def test_an_unreadable_parameters_cell(root, line):
    write(root / "x.ipynb", parameters=f"# comment\n\nname: str = ''\n{line}")
    assert refuse("x.ipynb").startswith("x.ipynb: every line of the cell tagged 'parameters' must read ")


def test_an_author_s_mistakes(root):
    write(root / "x.ipynb", lottery={"config": "tiny_config:Conifg"})
    assert refuse("x.ipynb").startswith("x.ipynb: its metadata name the config 'tiny_config:Conifg', but ")
    write(root / "x.ipynb", parameters=None)
    assert refuse("x.ipynb", ["lam=1"]) == "x.ipynb takes no parameters: it has no cell tagged 'parameters'"


@pytest.mark.parametrize("text", ["", "not json", "{}", "[]", '{"nbformat": 4, "nbformat_minor": 5}'])
def test_a_damaged_notebook(root, text):
    (root / "x.ipynb").write_text(text)
    assert refuse("x.ipynb") == "x.ipynb is not a Jupyter notebook, or a damaged one"


def test_lists_notebooks_and_parameters(root):
    assert notebooks.titles() == {"01_tiny": "A tiny chapter", "02_fails": "A tiny chapter"}
    lam = notebooks.parameters(notebooks.find("01"))["lam"]
    assert lam == ("float", float, 0.1, "weight of the penalty")


def test_without_papermill(root, monkeypatch):
    monkeypatch.setitem(sys.modules, "papermill", None)
    assert refuse("01_tiny") == "papermill is not installed: pip install -e .[book]"


def test_plain_papermill_runs_the_same_notebook(root):
    command = [sys.executable, "-m", "papermill", "notebooks/01_tiny.ipynb", "out.ipynb", "-p", "lam", "0.01"]
    subprocess.run(command, check=True, capture_output=True)
    assert printed(root / "out.ipynb").startswith("0.01 (3, 8) ")


CHECK = "from lottery_lib import notebooks\n\nnotebooks.check(globals())"


@pytest.mark.parametrize(
    "name, value, sentence",
    [
        ("lam", "abc", "lam = 'abc': must be a finite number"),
        ("digits", "3", "digits = 3: must be 2 comma-separated values, each a whole number"),
        ("lamda", "1", "unknown parameter 'lamda'; did you mean 'lam'?"),
    ],
)
def test_plain_papermill_stops_at_a_wrong_parameter(root, name, value, sentence):
    write(root / "x.ipynb", CHECK, "print('never')", parameters=f"{PARAMETERS}most: float = None")
    command = [sys.executable, "-m", "papermill", "x.ipynb", "out.ipynb", "-p", name, value]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode and done.stderr.rstrip().endswith(f"LotteryError: {sentence}")
    assert printed(root / "out.ipynb") == ""


def test_plain_papermill_goes_on_with_right_ones(root):
    write(
        root / "x.ipynb", "%matplotlib inline", CHECK, "print(lam, most)", parameters=f"{PARAMETERS}most: float = None"
    )
    command = [sys.executable, "-m", "papermill", "x.ipynb", "out.ipynb", "-p", "lam", "2", "-r", "title", "λ"]
    subprocess.run(command, check=True, capture_output=True)
    assert printed(root / "out.ipynb") == "2 None\n"


CHAPTERS = sorted(paths.NOTEBOOKS.glob("*.ipynb"))


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_every_chapter_checks_its_parameters_before_and_after_papermill_has_them(path):
    notebook = nbformat.read(path, as_version=4)
    first, second = (cell for cell in notebook.cells if cell.cell_type == "code" and cell.id in ("cell-01", "check"))
    assert "parameters" in first.metadata.tags and second.source.startswith(CHECK)
    code = [cell.id for cell in notebook.cells if cell.cell_type == "code"]
    assert code.index("check") == code.index("cell-01") + 1
    assert "lottery" in notebook.metadata or path.stem == "forty_lines"  # a program of its own: types alone


@pytest.mark.parametrize(
    "stem, pair, said",
    [
        ("explorer", "alpha=1.5", "alpha = 1.5: must be above 0 and at most 1"),
        ("explorer", "density=2", "density = 2.0: must be above 0 and at most 1"),
        ("explorer", "lam=-1", "lam = -1.0: must be > 0"),
        ("explorer", "dataset=mnits", "nothing on record under 'mnits'"),
        ("explorer", "regularizer=lgo", "no search on record with regularizer 'lgo'"),
        ("playground", "alpha=1.5", "alpha = 1.5: must be above 0 and at most 1"),
        ("playground", "iterations=4000", "iterations = 4000: must be at most 3840 in the playground"),
        ("playground", "seed=10", "seed = 10: must be at most 9 in the playground"),
        ("playground", "penalty=lp", "unknown penalty 'lp'"),
        ("playground", "dataset=cifar10", "dataset = 'cifar10': must be of grey images"),
        ("01", "dataset=cifar10", "dataset = 'cifar10': must be of grey images"),
        ("02", "density=1", "density = 1.0: must be below 1 for a ticket"),
        ("05", "protocol=digits", "protocol = 'digits': no run of it is on record"),
        ("14", "seed=-1", "seed = -1: must be a whole number"),
        ("experiment", "alpha=2", "alpha = 2.0: must lie in (0, 1]"),
    ],
)
def test_every_range_is_checked_before_the_first_cell(stem, pair, said):
    pytest.importorskip("anywidget")
    with pytest.raises(LotteryError) as error:
        notebooks._check(notebooks.find(stem), [pair])
    assert str(error.value).startswith(said)


# The commands that pages print.


def commands():
    """Every ``lottery notebook`` and ``lottery train`` of the README and the pages, as a list of words."""
    pages = [paths.ROOT / "README.md", *(paths.ROOT / "book").glob("*.md"), *paths.NOTEBOOKS.glob("*.ipynb")]
    texts = [line for page in pages for line in page.read_text("utf-8").splitlines()]
    found = [re.search(r"(?:^|[\s`\"])lottery (notebook|train) ([^#`\"\\]+)", text) for text in texts]
    return sorted({(match[1], match[2].strip()) for match in found if match and "..." not in match[2]})


@pytest.mark.parametrize("verb, given", commands(), ids=lambda part: part)
def test_a_command_on_a_page_is_one_that_would_run(verb, given):
    name, *words = given.split()
    pairs = [pair for flag, pair in zip(words, words[1:]) if flag == "-p"]
    if verb == "notebook":
        notebooks._check(notebooks.find(name), pairs)
    else:
        params.from_pairs(protocols.config_class(name), pairs)


def test_pages_print_commands():
    assert len(commands()) > 10
