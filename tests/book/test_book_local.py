"""The book's Sphinx extension: mirrored notebooks, the cache's key, the repository of links."""

import importlib.util
import subprocess
from types import SimpleNamespace

import pytest

from lottery_lib.paths import ROOT

pytest.importorskip("sphinx")


@pytest.fixture
def book(tmp_path, monkeypatch):
    """The extension, as if ``tmp_path`` were the checkout."""
    spec = importlib.util.spec_from_file_location("book_local", ROOT / "book" / "_ext" / "book_local.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name, path in {"ROOT": "", "BOOK": "book", "SOURCE": "notebooks", "MIRROR": "book/notebooks"}.items():
        monkeypatch.setattr(module, name, tmp_path / path)
    for folder in ("notebooks", "book", "lottery_lib", "results"):
        (tmp_path / folder).mkdir()
    return module


def test_mirror_follows_the_notebooks_and_leaves_unchanged_ones_alone(book):
    for name in ("a", "b", "c"):
        (book.SOURCE / f"{name}.ipynb").write_text(name)
    book.mirror_notebooks(None, None)
    before = (book.MIRROR / "a.ipynb").stat().st_mtime_ns
    (book.SOURCE / "b.ipynb").write_text("changed")
    (book.SOURCE / "c.ipynb").unlink()
    book.mirror_notebooks(None, None)
    assert {p.name: p.read_text() for p in book.MIRROR.iterdir()} == {"a.ipynb": "a", "b.ipynb": "changed"}
    assert (book.MIRROR / "a.ipynb").stat().st_mtime_ns == before


@pytest.mark.parametrize("path", ["lottery_lib/x.py", "lottery_lib/widgets/x.js", "results/run/record.json",
                                  "benchmarks/results/x.json", "workflow/grids/x.yaml", "book/claims.yml"])  # fmt: skip
def test_notebooks_run_anew_when_what_they_read_changed(book, path):
    def key():
        config = SimpleNamespace()
        book.key_cache(None, config)
        return config.nb_execution_cache_path

    empty = key()
    assert key() == empty
    (book.ROOT / path).parent.mkdir(parents=True, exist_ok=True)
    (book.ROOT / path).write_text("1")
    first = key()
    (book.ROOT / path).write_text("2")
    assert len({empty, first, key()}) == 3


@pytest.mark.parametrize(("origin", "url"), [
    ("https://github.com/me/mine.git", "https://github.com/me/mine"),
    ("git@github.com:me/mine.git", "https://github.com/me/mine"),
    ("ssh://git@github.com/me/mine", "https://github.com/me/mine"),
    ("https://user:secret@github.com/me/mine/", "https://github.com/me/mine"),
    ("https://example.org/github.com/me/mine", "as configured"),
    ("/srv/mine.git", "as configured"),
    (None, "as configured"),
])  # fmt: skip
def test_links_name_the_clone_s_own_repository(book, origin, url):
    if origin:
        subprocess.run(["git", "init", "-q"], cwd=book.ROOT, check=True)
        subprocess.run(["git", "remote", "add", "origin", origin], cwd=book.ROOT, check=True)
    config = SimpleNamespace(html_theme_options={"repository_url": "as configured"})
    book.name_repository(None, config)
    assert config.html_theme_options["repository_url"] == url


def test_pages_are_mended_once_and_stay_whole(book, tmp_path):
    page = tmp_path / "deep" / "x.html"
    page.parent.mkdir()
    page.write_text(
        '<button class="btn search-button-field x" title="Search" aria-label="Search" id="a"></button>'
        '<i class="theme-switch fa-sun" data-mode="light" title="Light"></i>'
        '<details><summary aria-label="Toggle hidden content">Show</summary></details>'
        '<div role="list" class="citation-list"><div class="citation" id="b" role="doc-biblioentry"></div></div>'
        '<ul role="list"></ul>'
        '<h1><code><span class="pre">findings.early_bird</span></code><a class="headerlink" href="#x">#</a></h1>'
        '<p class="prev-next-title"><code><span class="pre">masks</span></code></p><code><span>a.b</span></code>.'
        '<td><p><a href="x"><code><span class="pre">a.b</span></code></a></p></td>'
        '<span><span class="pre">a.b.</span></span><span class="sig-name">c</span><span class="sig-paren">(</span>'
    )
    for _ in range(2):
        book.mend_pages(SimpleNamespace(outdir=tmp_path), None)
        assert page.read_text() == (
            '<button class="btn search-button-field x" title="Search" id="a"></button>'
            '<i class="theme-switch fa-sun" data-mode="light"></i>'
            "<details><summary>Show</summary></details>"
            '<div class="citation-list"><div class="citation" id="b"></div></div>'
            '<ul role="list"></ul>'
            '<h1><code><span class="pre">findings.<wbr>early_<wbr>bird</span></code><a class="headerlink" href="#x">'
            '#</a></h1><p class="prev-next-title"><code><span class="pre">masks</span></code></p>'
            "<code><span>a.b</span></code>."
            '<td><p><a href="x"><code><span class="pre">a.<wbr>b</span></code></a></p></td><span><span class="pre">'
            'a.<wbr>b.<wbr></span></span><span class="sig-name">c</span><span class="sig-paren">(</span><wbr>'
        )


def test_images_are_fetched_when_they_are_near_and_figures_keep_their_room(book, tmp_path):
    (tmp_path / "a b.svg").write_text('<?xml?>\n<svg xmlns="x" width="72pt" height="36.9pt" viewBox="0 0 1 1"></svg>')
    images = {"a b.svg": "a b.svg", "gone/p.png": "p.png"}
    app = SimpleNamespace(srcdir=tmp_path, builder=SimpleNamespace(images=images))
    body = '<p>x</p><img alt="A dot" src="../_images/a%20b.svg" /><img src="p.png" alt="Two" />'
    assert book.lighten(app, body) == (
        '<p>x</p><img loading="lazy" decoding="async" width="96" height="49" alt="A dot" src="../_images/a%20b.svg" />'
        '<img loading="lazy" decoding="async" src="p.png" alt="Two" />' + book.FETCH
    )
    assert book.lighten(app, "<p>x</p>") == "<p>x</p>"


def test_labels_of_the_bibliography_are_those_of_the_text(book):
    from pybtex.database import Entry, Person

    def entry(*names):
        return Entry("misc", {"year": "2009"}, {"author": [Person(name) for name in names]})

    found = book.AuthorYear().format_labels([entry("Beck, A."), entry("Beck, A.", "Li, B."), entry("A", "B", "C")])
    assert [*found] == ["Beck, 2009", "Beck and Li, 2009", "A et al., 2009"]


def test_a_page_says_what_it_is_about(book):
    nodes = pytest.importorskip("docutils.nodes")
    document = pytest.importorskip("docutils.utils").new_document("x")
    document += [nodes.title("", "T"), nodes.paragraph("", 'Masks  "and"\ntickets.')]
    app = SimpleNamespace(
        config=SimpleNamespace(html_theme_options={"repository_url": "https://github.com/me/mine"}, project="book")
    )
    book.describe(app, context := {"title": "T"}, document)
    assert 'name="description" property="description" content="Masks &quot;and&quot; tickets."' in context["metatags"]
    assert "https://me.github.io/mine/_static/local/claims.png" in context["metatags"]
    book.describe(app, context := {}, None)  # as the index of names has neither title nor text
    assert 'content="book"' in context["metatags"]


def test_a_still_picture_stands_in_where_scripts_are_off(book):
    nodes = pytest.importorskip("docutils.nodes")
    document = pytest.importorskip("docutils.utils").new_document("x")

    def output(*kinds):
        bundle = nodes.container(nb_element="mime_bundle")
        bundle += [nodes.container("", nodes.inline(text=kind), mime_type=kind) for kind in kinds]
        document.append(bundle)
        return bundle

    widget, plain = output(book.WIDGET, "image/png"), output("text/plain", "image/png")
    book.StillPictures(document).run()
    assert [node.astext() for node in widget[0]] == [book.WIDGET, "<noscript>", "image/png", "</noscript>"]
    assert [len(kind) for kind in plain] == [1, 1]


def test_source_maps_stay_out_of_the_book(book, tmp_path):
    for name in ("theme.css", "theme.css.map", "scripts/icons.js.map"):
        path = tmp_path / "_static" / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    book.drop_source_maps(SimpleNamespace(outdir=str(tmp_path)), None)
    assert [path.name for path in (tmp_path / "_static").rglob("*.*")] == ["theme.css"]
