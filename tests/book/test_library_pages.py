"""What the book's extension makes of the library's docstrings: signatures, fields, links, and their order."""

import ast
import importlib.util
import inspect
import re
from dataclasses import fields
from types import SimpleNamespace

import pytest

from lottery_lib import Recipe, concave, continuous, controls, gradual, magnitude, saliency
from lottery_lib.experiments.ticket_run import TicketRun
from lottery_lib.paths import ROOT

pytest.importorskip("sphinx")
pytest.importorskip("anywidget")
FOLDER = ROOT / "book" / "_ext"


@pytest.fixture(scope="module")
def extension():
    spec = importlib.util.spec_from_file_location("library_pages", FOLDER / "library_pages.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The page of a module as text, each line without its margin; its links in brackets."""
    application = pytest.importorskip("sphinx.application")
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("out")
    names = (
        "data.splits", "errors", "experiments.catalogue", "experiments.lenet", "experiments.pairs",
        "experiments.ticket_run", "findings.planted", "methods.concave", "notebooks", "theory.bounds",
        "training.evaluation", "training.loop", "training.tasks", "widgets.playground",
    )  # fmt: skip
    for name in names:
        (source / f"{name}.rst").write_text(f".. automodule:: lottery_lib.{name}\n   :members:\n")
    (source / "index.rst").write_text(".. toctree::\n\n" + "".join(f"   {name}\n" for name in names))
    (source / "conf.py").write_text(f"import sys; sys.path.insert(0, {str(FOLDER)!r})")
    config = {
        "extensions": ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "library_pages"],
        "autodoc_typehints": "description",
        "autodoc_preserve_defaults": True,
    }
    application.Sphinx(source, source, out, out / "trees", "html", config, status=None, warning=None).build()
    soup = pytest.importorskip("bs4").BeautifulSoup

    def text(name):
        body = soup((out / f"{name}.html").read_text("utf-8"), "html.parser").find(role="main")
        for link in body.find_all("a", class_="internal"):
            link.replace_with(f"[{link.get_text()}]")
        return re.sub(r"\s+", " ", body.get_text())

    return text


def test_a_signature_is_what_a_reader_would_write(page):
    assert "Config(density=0.05, recipe=Recipe(), seed=0, rounds=()," in page("methods.concave")
    assert "Task(loss=cross_entropy, objective=None, metric=None)" in page("training.tasks")
    assert "defaults=..., given={}, ladder=False" in page("experiments.catalogue")
    assert "Found(eps=0.1, runs=[], points=..., lambdas=" in page("findings.planted")  # a table has no short spelling
    playground = "Playground(config=LogisticConfig(dataset='digits', iterations=240), *, penalty='log',"
    assert playground in page("widgets.playground")
    assert re.search(r"class lottery_lib\.data\.splits\.TrainingData\W*A split", page("data.splits"))  # not called
    for name in ("methods.concave", "experiments.catalogue", "training.tasks"):
        assert not re.search(r"<factory>|lambda|object at|0x", page(name))


def test_defaults_can_be_read_off_their_line():
    """Sphinx counts its bytes as characters, and would cut a default behind a ℓ, or with one in it, wrongly."""
    for path in (ROOT / "lottery_lib").rglob("*.py"):
        text = path.read_text("utf-8")
        functions = [node.args for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)]
        for default in (each for args in functions for each in (*args.defaults, *args.kw_defaults) if each):
            assert text.splitlines()[default.end_lineno - 1].encode()[: default.end_col_offset].isascii(), path


def test_a_named_tuple_is_told_once(page):
    assert "Alias for field number" not in page("theory.bounds") + page("notebooks")
    assert "strength (Tensor) – γ (n,) slope (Tensor) – g (n, d) property t" in page("theory.bounds")


def test_below_a_text_come_parameters_in_their_order_then_what_is_returned_and_raised_then_the_example(page):
    text = page("training.loop").partition("loop.train(")[2]
    told = [f" {name} (" for name in ("model", "data", "recipe", "parameterization", "seed", "start", "stop", "loss")]
    marks = ["in a whole epoch is a warning.", *told, "Return type: [History]", "Raises: [LotteryError] –", ">>> from"]
    places = [text.index(mark) for mark in marks]
    assert places == sorted(places)
    assert page("training.evaluation").count("objective (Callable") == 1  # of a docstring with more than one list
    text = page("experiments.catalogue").partition("catalogue.Method(")[2]
    assert text.index("called (str) – in tables") < text.index("reads (tuple") < text.index("defaults (Callable")


def test_that_nothing_is_returned_is_not_said(page):
    assert "Return type: None" not in page("data.splits") and "Return type: Iterator[Any]" in page("data.splits")


def test_a_protocol_repeats_no_parameter_of_all_protocols(page):
    half = page("experiments.lenet").partition("LeNetHalf(")[2].partition("class lottery_lib")[0]
    assert "search_images=1.0" in half and "The parameters are those of [TicketRun]." in half
    assert "Parameters:" not in half
    network = page("experiments.pairs").partition("pairs.Cifar(")[2].partition("class lottery_lib")[0]
    assert re.search(
        r"The other parameters are those of \[Adjustable\]\. Parameters: model \(Literal.* – the network", network
    )


def test_a_subclass_says_of_a_field_what_its_base_does(page):
    assert re.search(r"iterations \(int\) – \w", page("widgets.playground").partition("Setting(")[2])


@pytest.mark.parametrize(("name", "what", "line", "dressed"), [
    ("masks.apply_", "function", "As ``validate``.", "As :py:obj:`validate <lottery_lib.masks.validate>`."),
    ("masks.random", "function", "By ``weights.prunable``; ``seed``, ``density``.",
     "By :py:obj:`weights.prunable <lottery_lib.weights.prunable>`; ``seed``, ``density``."),  # these are parameters
    ("tickets.Ticket.save", "method", "Of ``state``, ``nn.Module``.",
     "Of :py:obj:`state <lottery_lib.tickets.Ticket.state>`, ``nn.Module``."),
    ("methods.concave.search", "function", "As in ``train``.",
     "As in :py:obj:`train <lottery_lib.training.loop.train>`."),
    ("methods.concave", "module", "η_m ≥ 0 (``calibration``)",
     r"η\ :sub:`m`\  ≥ 0 (:py:obj:`calibration <lottery_lib.methods.calibration>`)"),
    ("masks.shapes", "function", "name -> shape, x >= 1", "name → shape, x ≥ 1"),
    ("masks.shapes", "function", ">>> {name -> shape}", ">>> {name -> shape}"),
    ("masks.shapes", "function", "LotteryError if", ":py:class:`LotteryError <lottery_lib.errors.LotteryError>` if"),
    ("masks.shapes", "function", "    LotteryError: if", "    LotteryError: if"),  # of a section, which is linked
])  # fmt: skip
def test_a_docstring_is_set_as_a_book_is(extension, name, what, line, dressed):
    lines = [line]
    found = importlib.import_module("lottery_lib." + name.split(".")[0])
    for part in name.split(".")[1:]:
        found = getattr(found, part)
    extension.dress(None, what, f"lottery_lib.{name}", found, None, lines)
    assert lines == [dressed]


def test_what_an_example_prints_stays_as_it_is(extension):
    lines = [">>> x", "LotteryError -> y", "", "a -> b"]
    extension.dress(None, "function", "lottery_lib.masks.shapes", lambda: None, None, lines)
    assert lines == [">>> x", "LotteryError -> y", "", "a → b"]


@pytest.mark.parametrize(
    "kind", [Recipe, *(method.Config for method in (concave, magnitude, gradual, continuous, saliency, controls))],
    ids=lambda kind: kind.__module__,
)  # fmt: skip
def test_pages_tell_of_every_field_of_what_a_search_is_given_what_it_is(extension, kind):
    lines = [""]
    extension.tell_fields(SimpleNamespace(env=SimpleNamespace(temp_data={})), "class", kind.__name__, kind, None, lines)
    told = dict(re.fullmatch(r":param (\w+): (.+)", line).groups() for line in lines if line)
    assert [*told] == [field.name for field in fields(kind)] and "" not in told.values()
    assert inspect.getdoc(kind).splitlines()[0].endswith((".", ";", ","))  # its own words, not its signature


def test_a_field_is_told_by_its_annotation_or_by_what_stands_behind_it(extension):
    lines, kept = [], {}
    app = SimpleNamespace(env=SimpleNamespace(temp_data=kept))
    extension.tell_fields(app, "class", "it", TicketRun, None, lines)
    told = "\n".join(lines).replace("\\", "")
    assert ":param search_images: share of the training images that the search sees, in (0, 1]" in told
    assert kept["annotations"]["it"]["search_images"] == "float"
    assert extension.marked("``speed`` of *all*") == r"``speed`` of \*all\*"
