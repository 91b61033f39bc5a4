"""Figures of the built book as a reader sees them: type of at least 11 pixels, and on a phone of 10."""

import re
from urllib.parse import unquote, urlsplit

import pytest
from test_book import PAGES, SITE

SHOWN = """() => [...document.querySelectorAll("article img")].filter((img) => img.src.endsWith(".svg"))
    .map((img) => [img.src, img.getBoundingClientRect().width / img.naturalWidth])"""
PIXELS = 100 * 96 / 72  # of a glyph drawn at scale 1: matplotlib's outlines are a hundred points high


def smallest(svg: str) -> float:
    """The least size of type in a figure, in pixels at its natural size."""
    return min((PIXELS * float(scale) for scale in re.findall(r"scale\((0\.\d+) -0\.\d+\)", svg)), default=100.0)


def too_small(page, least: float) -> list[str]:
    found = []
    for address, shown in page.evaluate(SHOWN):
        text = open(unquote(urlsplit(address).path), encoding="utf-8").read()
        if (size := shown * smallest(text)) < least:
            found.append(f"{address}: {size:.1f} px")
    return found


@pytest.mark.parametrize(("width", "least"), [(1280, 11), (400, 10)])
@pytest.mark.parametrize("name", PAGES)
def test_type_in_figures_can_be_read(open_page, name, width, least):
    page, _ = open_page(SITE / name, width=width)
    assert too_small(page, least) == []


def test_small_type_is_found(open_page, tmp_path):
    glyph = '<g transform="translate(0 9) scale(0.08 -0.08)"><path d="M0 0h50v70z"/></g>'
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" width="100" height="20">{glyph}</svg>'
    (tmp_path / "x.svg").write_text(svg)
    (tmp_path / "x.html").write_text("<!doctype html><title>x</title><article><img src='x.svg' alt='x'></article>")
    page, _ = open_page(tmp_path / "x.html")
    assert too_small(page, 10) == [] != too_small(page, 11)


THERE = "() => [...document.images].every((img) => img.complete && img.naturalWidth)"
LONG = SITE / "notebooks" / "11_why_concave.html"


@pytest.mark.skipif(not LONG.exists(), reason="the book is not built: make book")
def test_what_is_fetched_when_it_is_near_is_fetched_for_paper_too(open_page):
    page, _ = open_page(SITE / "index.html", width=1280)
    page.goto(LONG.as_uri())
    assert not page.evaluate(THERE)
    page.pdf()
    page.wait_for_function(THERE)


CHAPTERS = [name for name in PAGES if isinstance(name, str) and re.match(r"notebooks/(0[3-7]|1\d)_", name)]


@pytest.mark.parametrize("name", CHAPTERS)
def test_the_verdict_is_within_the_first_screen(open_page, name):
    page, _ = open_page(SITE / name, width=1280)
    verdict = page.locator("article strong").filter(has_text=re.compile(r"^[CO]\d+: ")).first
    assert verdict.bounding_box()["y"] < 900
