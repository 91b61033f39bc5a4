"""A browser that sees only files: what a page asks of another host is noted and refused."""

import os
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]  # fmt: skip
TYPESET = "async () => { await window.MathJax?.startup?.promise; await document.fonts.ready; }"
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
    """``open_page(path, scheme, width)``: a playwright page on a file, and the Visit that keeps what it does wrong."""
    contexts = []

    def opened(path: Path, scheme: str = "light", width: int = 400):
        context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
        contexts.append(context)
        visit = Visit()
        context.route(re.compile(r"^(?!file:|data:|blob:)"), lambda route: route.abort())
        page = context.new_page()
        page.on("request", lambda r: visit.asked_elsewhere.append(r.url) if re.match("http|ws", r.url) else None)
        page.on("console", lambda m: visit.errors.append(m.text) if is_error(m) else None)
        page.on("pageerror", lambda error: visit.errors.append(str(error)))
        page.goto(path.resolve().as_uri())
        page.evaluate(TYPESET)
        visit.bad_maths, visit.too_wide = page.evaluate(BAD_MATHS), page.evaluate(TOO_WIDE)
        return page, visit

    yield opened
    for context in contexts:
        context.close()
