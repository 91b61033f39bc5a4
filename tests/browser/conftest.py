"""A browser that sees only files: what a page asks of another host is noted and refused."""

import json
import os
import re
import shutil
import subprocess
import threading
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from lottery_lib.paths import ROOT

NAMES = ("chromium", "chromium-browser", "google-chrome")
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]  # fmt: skip
FOREIGN = re.compile(r"^(?!file:|data:|blob:|http://127\.0\.0\.1:)")
WHOLE = """async () => {
    await window.MathJax?.startup?.promise;
    await document.fonts.ready;
    const fetched = (img) => { img.loading = "eager"; return img.decode().catch(() => 0); };
    await Promise.all([...document.images].map(fetched));
}"""
BAD_MATHS = """() => [...document.querySelectorAll("article .math")].filter((m) =>
    !m.querySelector("mjx-container") || m.querySelector("mjx-merror")).map((m) => m.textContent)"""
TOO_WIDE = """() => document.documentElement.scrollWidth <= innerWidth ? [] :
    [...document.querySelectorAll("body *")].filter((e) => e.getBoundingClientRect().right > innerWidth)
        .map((e) => e.tagName + "." + e.className).slice(-5)"""


def is_error(message) -> bool:
    """On Python 3.10 the theme preloads Font Awesome in a way files are refused; the style sheet loads it anyway."""
    return message.type == "error" and not re.search(r"/fa-\w+-\d+\.woff2", message.text + message.location["url"])


@dataclass
class Visit:
    """What went wrong on a page; all lists are empty on a good one."""

    asked_elsewhere: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    bad_maths: list[str] = field(default_factory=list)
    too_wide: list[str] = field(default_factory=list)


@pytest.fixture(scope="session")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: make test")
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip("no Chromium found: install chromium, or name one by CHROMIUM=/path/to/it")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=QUIET)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser):
    """``open_page(where, scheme, width)``: a playwright page, and the Visit that keeps what it does wrong.

    ``where`` is a file or a URL that ``served`` gave; further options are those of a browser context. Images that
    would be fetched when they are scrolled to are there.
    """
    contexts = []

    def opened(where: Path | str, scheme: str = "light", width: int = 400, **options):
        context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme, **options)
        contexts.append(context)
        visit = Visit()
        context.route(FOREIGN, lambda route: route.abort())
        page = context.new_page()
        page.on("request", lambda r: visit.asked_elsewhere.append(r.url) if FOREIGN.match(r.url) else None)
        page.on("console", lambda m: visit.errors.append(m.text) if is_error(m) else None)
        page.on("pageerror", lambda error: visit.errors.append(str(error)))
        page.goto(where if isinstance(where, str) else where.resolve().as_uri())
        page.evaluate(WHOLE)
        visit.bad_maths, visit.too_wide = page.evaluate(BAD_MATHS), page.evaluate(TOO_WIDE)
        return page, visit

    yield opened
    for context in contexts:
        context.close()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture
def served():
    """``served(folder)``: the URL under which its files are served by http, from this machine."""
    servers = []

    def start(folder: Path) -> str:
        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder)))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


STATIC = """<!doctype html><html lang="en" data-theme="{scheme}"><meta charset="utf-8"><title>x</title>
<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">
<main><h1>x</h1>{words}{scripts}</main><script src="anyviews.js" defer></script>"""

DRAWN = """() => {
    const views = [...document.querySelectorAll('script[type="application/vnd.jupyter.widget-view+json"]')];
    return views.every((view) => view.previousElementSibling?.textContent);
}"""


@pytest.fixture(params=["file", "http"])
def open_widget(request, open_page, served, tmp_path):
    """``open_widget(*widgets, words="", **options)``: their views on a static page such as myst-nb writes, by file and
    http, below the HTML ``words``."""
    embed = pytest.importorskip("ipywidgets.embed")

    def opened(*widgets, words="", **options):
        data = embed.embed_data(widgets, drop_defaults=False)
        stored = [("state", data["manager_state"])] + [("view", view) for view in data["view_specs"]]
        scripts = "".join(
            f'<script type="application/vnd.jupyter.widget-{kind}+json">{escaped(content)}</script>'
            for kind, content in stored
        )
        page = STATIC.format(scheme=options.get("scheme", "light"), scripts=scripts, words=words)
        (tmp_path / "x.html").write_text(page, encoding="utf-8")
        shutil.copy(ROOT / "book" / "_js" / "anyviews.js", tmp_path)
        page, visit = open_page(
            tmp_path / "x.html" if request.param == "file" else served(tmp_path) + "/x.html", **options
        )
        page.wait_for_function(DRAWN)  # a loaded page may still be fetching the modules of its figures
        return page, visit

    return opened


def escaped(content) -> str:
    return json.dumps(content).replace("</", "<\\/")


@pytest.fixture
def javascript(request):
    """``javascript(module, body, given)``: what the function ``body`` returns, behind a module of the widgets.

    In Node if it is there, else in the browser; ``given`` and the result are JSON-able.
    """
    from lottery_lib.widgets import base

    def run(module: str, body: str, given):
        code = f"{base.module(module)}\nconst given = {json.dumps(given)};\n"
        if shutil.which("node"):
            script = code + f"console.log(JSON.stringify(({body})(given)));"
            command = ["node", "--input-type=module", "-"]
            return json.loads(subprocess.run(command, input=script, capture_output=True, text=True, check=True).stdout)
        page = request.getfixturevalue("browser").new_page()
        return page.evaluate(f"() => {{ {code} return ({body})(given); }}")

    return run
