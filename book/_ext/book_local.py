"""What this book needs beyond Jupyter Book: pages from outside book/, a cache that sees the library, no CDN."""

import hashlib
import html
import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path
from urllib.parse import unquote

from docutils import nodes
from jupyter_cache import get_cache
from pybtex.plugin import register_plugin
from pybtex.style.formatting.unsrt import Style as UnsrtStyle
from pybtex.style.labels import BaseLabelStyle
from sphinx.errors import ExtensionError
from sphinx.transforms.post_transforms import SphinxPostTransform

BOOK = Path(__file__).resolve().parents[1]
ROOT = BOOK.parent
GITHUB = re.compile(r"(?:(?:https|ssh)://(?:[^@/]+@)?|git@)github\.com[:/](?P<name>[^/]+/[^/]+?)(?:\.git)?/?")
SIZE = re.compile(r'<svg [^>]*?width="([\d.]+)pt" height="([\d.]+)pt"')  # of matplotlib's figures
PROCESSES = 4  # that read pages, most of whose time is a notebook's; each takes about a gigabyte
READ_SAFE = {"sphinx_multitoc_numbering", "sphinx_jupyterbook_latex"}  # touch nothing while pages are read, unsaid
WIDGET = "application/vnd.jupyter.widget-view+json"
MENDED = {  # what screen readers and narrow screens stumble over in the theme's pages -> better
    r'(<button class="btn search-button-field[^>]*?) aria-label="[^"]*"': r"\1",  # its text says more
    r'(<i class="theme-switch [^>]*?) title="[^"]*"': r"\1",  # the button around it has a name
    r'(<summary) aria-label="Toggle hidden content"': r"\1",
    r'<summary>(?=<span class="toctree-toggle)': '<summary><span class="visually-hidden">pages below</span>',
    r'role="list" (?=class="citation-list")| role="doc-biblioentry"': "",
    # Where a long name may break, in a heading, a table, a link to the next page, and before an object's own name.
    r'([._])(?=[\w.]*</span></code>(?:<a class="headerlink"|(?:</a>)?</p>))': r"\1<wbr>",
    r'([._])(?=[\w.]*</span></span><span class="sig-name)': r"\1<wbr>",
    r'<span class="sig-paren">\(</span>(?!<wbr>)': r"\g<0><wbr>",  # and a signature, rather than before a comma
}
SOURCE, MIRROR = ROOT / "notebooks", BOOK / "notebooks"
LIBRARY, API = ROOT / "lottery_lib", BOOK / "api"


def hold(folder, suffix, wanted):
    """Let the files of ``folder`` be those of ``wanted``, a dict from path to content.

    Unchanged files keep their time stamp, so that they are not built again.
    """
    for name, content in wanted.items():
        if not (folder / name).exists() or (folder / name).read_bytes() != content:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
    for old in folder.rglob(f"*{suffix}"):
        if old.relative_to(folder) not in wanted:
            old.unlink()


def mirror_notebooks(app, config):
    """Copy notebooks/ to book/notebooks/ (ignored by git), as Sphinx reads nothing outside book/."""
    found = [p for p in SOURCE.rglob("*.ipynb") if ".ipynb_checkpoints" not in p.parts]
    hold(MIRROR, ".ipynb", {p.relative_to(SOURCE): p.read_bytes() for p in found})


def sources():
    """The page of each module and folder of the library -> its source; the command line has --help instead."""
    found = {".".join(p.relative_to(LIBRARY).with_suffix("").parts): p for p in sorted(LIBRARY.rglob("*.py"))}
    return {name.removesuffix(".__init__"): p for name, p in found.items() if name not in ("__init__", "cli")}


def write_api(app, config):
    """Write book/api/ (ignored by git): each module is a page, and so is each folder, as the sidebar nests by pages."""
    pages, listed = {}, re.findall(r"^   ([a-z]\S+)$", (BOOK / "api.md").read_text("utf-8"), re.MULTILINE)
    for name, path in sources().items():
        text = f".. automodule:: lottery_lib.{name}\n"
        if path.name == "__init__.py":  # it re-exports what its modules show: these are told of, in their order
            within = "".join(f"   {module}\n" for module in listed if module.startswith(f"{name}."))
            text += (
                f"   :no-members:\n\n.. currentmodule:: lottery_lib\n.. autosummary::\n   :nosignatures:\n\n{within}"
            )
        pages[Path(f"{name}.md")] = f"# `{name}`\n\n```{{eval-rst}}\n{text}```\n".encode()
    hold(API, ".md", pages)


def tabled(*_):
    """Pages with tables of modules: autosummary does not say what these depend on."""
    return ["api", *(f"api/{name}" for name, path in sources().items() if path.name == "__init__.py")]


def key_cache(app, config):
    """Run the notebooks anew when what they read has changed: jupyter-cache looks at the notebook alone."""
    files = [p for kind in ("py", "js", "css") for p in (ROOT / "lottery_lib").rglob(f"*.{kind}")]
    folders = ("results", "benchmarks/results", "workflow/grids")
    files += [p for folder in folders for p in (ROOT / folder).rglob("*") if p.is_file()] + [BOOK / "claims.yml"]
    digest = hashlib.sha256()
    for path in sorted(filter(Path.exists, files)):
        digest.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    config.nb_execution_cache_path = str(ROOT / "_build" / ".jupyter_cache" / digest.hexdigest()[:12])


def name_repository(app, config):
    """Let the edit, Binder and Colab links name the reader's own GitHub repository where the clone has one."""
    if not (ROOT / ".git").exists() or shutil.which("git") is None:  # a plain export, or no git here
        return
    ask = ["git", "remote", "get-url", "origin"]
    asked = subprocess.run(ask, cwd=ROOT, capture_output=True, text=True, check=False)  # there may be no origin
    if github := GITHUB.fullmatch(asked.stdout.strip()):
        config.html_theme_options["repository_url"] = f"https://github.com/{github['name']}"


def copy_scripts(app):
    """Serve from the book what draws maths and widgets: of MathJax's wheel 2 of 24 MB, all of it as an extension."""
    source = Path(importlib.util.find_spec("sphinx-mathjax-offline").submodule_search_locations[0], "static", "mathjax")
    target = Path(app.outdir, "_static", "local")
    for folder in ("output/chtml/fonts/woff-v2", "input/tex/extensions"):
        shutil.copytree(source / folder, target / folder, dirs_exist_ok=True)
    shutil.copyfile(source / "tex-mml-chtml.js", target / "tex-mml-chtml.js")
    shutil.copyfile(BOOK / "_js" / "anyviews.js", target / "anyviews.js")  # in _static itself, all pages would load it
    from lottery_lib.figures import gallery

    gallery.FIGURES["claims"]().savefig(target / "claims.png")  # for previews, which show no SVG


class Bibliography(UnsrtStyle):
    """With labels as citations have them in the text, and in their order."""

    default_label_style, default_sorting_style = "author_year", "author_year_title"


class AuthorYear(BaseLabelStyle):
    """``Beck and Teboulle, 2009``."""

    def format_labels(self, entries):
        for entry in entries:
            names = [" ".join(person.last_names) for person in entry.persons["author"]]
            told = " and ".join(names) if len(names) < 3 else f"{names[0]} et al."
            yield f"{told}, {entry.fields['year']}"


class Hovers(SphinxPostTransform):
    """Let a link into the glossary say on hover what the term means."""

    default_priority = 400

    def run(self):
        if "symbols" not in self.env.found_docs:
            return
        glossary = self.env.get_doctree("symbols").findall(nodes.definition_list_item)
        meaning = {
            id: item[-1].astext() for item in glossary for term in item.findall(nodes.term) for id in term["ids"]
        }
        for link in self.document.findall(nodes.reference):
            _, _, id = link.get("refuri", "").rpartition("#")
            if said := meaning.get(id or link.get("refid")):
                link["reftitle"] = said


def describe(app, context, doctree):
    """Tell search engines and previews what a page is about, by its first paragraph, and show them the figure of all
    claims; its address is that of the repository's pages."""
    first = next((" ".join(p.astext().split()) for p in doctree.findall(nodes.paragraph)), "") if doctree else ""
    owner, _, name = app.config.html_theme_options["repository_url"].removeprefix("https://github.com/").partition("/")
    said = {
        "description": first[:300],
        "og:title": context.get("title", app.config.project),
        "og:description": first[:300],
        "og:image": f"https://{owner}.github.io/{name}/_static/local/claims.png",
    }
    tags = (
        f'<meta name="{key}" property="{key}" content="{html.escape(text)}" />' for key, text in said.items() if text
    )
    context["metatags"] = "\n".join([context.get("metatags", ""), *tags])


FETCH = """<script>
addEventListener("beforeprint", () => { for (const image of document.images) image.loading = "eager"; });
</script>"""


class StillPictures(SphinxPostTransform):
    """Where scripts are off, let an interactive figure be the still picture that it carries."""

    default_priority = 3  # at 4, myst-nb keeps one representation only
    formats = ("html",)

    def run(self):
        for bundle in self.document.findall(nodes.container):
            if bundle.get("nb_element") == "mime_bundle":
                shown = {child["mime_type"]: child for child in bundle}
                if WIDGET in shown and "image/png" in shown:
                    start, end = (nodes.raw("", tag, format="html") for tag in ("<noscript>", "</noscript>"))
                    shown[WIDGET].extend([start, *shown["image/png"].deepcopy().children, end])


def lighten(app, body):
    """A page's HTML whose images are fetched when a reader comes near them, or prints; figures keep their room."""
    sources = {name: Path(app.srcdir, source) for source, name in app.builder.images.items()}

    def later(image):
        path = sources.get(unquote(image["name"]))
        drawn = SIZE.search(path.read_text(encoding="utf-8")) if path and path.suffix == ".svg" else None
        width, height = (round(float(points) * 96 / 72) for points in drawn.groups()) if drawn else (None, None)
        size = f'width="{width}" height="{height}" ' if drawn else ""
        return f'<img loading="lazy" decoding="async" {size}{image["rest"]}'

    found, images = re.subn(r'<img (?P<rest>[^>]*?src="(?:[^"]*/)?(?P<name>[^"]*)")', later, body)
    return found + FETCH if images else found


def finish_page(app, pagename, templatename, context, doctree):
    """Drop thebe, which names a CDN, point the links of a page that is made here to its source, and make it light."""
    context["script_files"] = [
        s for s in context.get("script_files", []) if "thebe" not in f"{s} {getattr(s, 'attributes', '')}".lower()
    ]

    def relink(buttons, made, source):
        for button in buttons:
            if "url" in button:
                button["url"] = button["url"].replace(made, source)
            relink(button.get("buttons", []), made, source)

    describe(app, context, doctree)
    context["body"] = lighten(app, context.get("body", ""))
    folder, _, name = pagename.partition("/")
    if folder == "notebooks":
        relink(context.get("header_buttons", []), "/book/notebooks/", "/notebooks/")
    if folder == "api" and name:
        source = sources()[name].relative_to(ROOT).as_posix()
        relink(context.get("header_buttons", []), f"/book/{pagename}.md", f"/{source}")


def mend_pages(app, exception):
    """Apply ``MENDED`` to the finished pages: parts of them come from the theme's templates, out of reach before."""
    for page in Path(app.outdir).rglob("*.html"):
        text = mended = page.read_text(encoding="utf-8")
        for found, better in MENDED.items():
            mended = re.sub(found, better, mended)
        if mended != text:
            page.write_text(mended, encoding="utf-8")


def drop_source_maps(app, exception):
    """Three megabytes of the theme's that only a debugger would ask for."""
    for path in Path(app.outdir).glob("_static/**/*.map"):
        path.unlink()


def read_side_by_side(app):
    """Have pages read by several processes, for which jupyter-book has no option.

    Pages compute with few numbers: threads beside processes would wait for each other, up to a hundred times as long.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    app.parallel = max(app.parallel, min(os.cpu_count() or 1, PROCESSES))
    _ = get_cache(app.config.nb_execution_cache_path).db  # made by one, before several would
    for name in READ_SAFE & app.extensions.keys():
        app.extensions[name].parallel_read_safe = True


def setup(app):
    if importlib.util.find_spec("lottery_lib") is None:
        raise ExtensionError("the book needs the library: run `pip install -e '.[book]'` in the checkout first")
    for prepare in (mirror_notebooks, write_api, key_cache, name_repository):
        app.connect("config-inited", prepare, priority=100)  # sphinx-external-toc looks for the pages at 900
    app.connect("builder-inited", read_side_by_side)
    app.setup_extension("sphinx.ext.autosummary")
    app.connect("env-get-outdated", tabled)
    app.connect("builder-inited", copy_scripts)
    app.add_post_transform(StillPictures)
    app.add_post_transform(Hovers)
    register_plugin("pybtex.style.labels", "author_year", AuthorYear)
    register_plugin("pybtex.style.formatting", "author_year", Bibliography)
    app.connect("html-page-context", finish_page, priority=900)  # the theme makes its buttons at 501
    app.connect("build-finished", mend_pages)
    app.connect("build-finished", drop_source_maps)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
