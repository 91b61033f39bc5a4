"""The built book as files: nothing comes from another host, no link is dead, every image and page says what it is."""

import re
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from bs4 import BeautifulSoup

from lottery_lib.findings import claims, headline
from lottery_lib.paths import ROOT

SITE = ROOT / "_build" / "html"
ELSEWHERE = re.compile(r"\s*(?:\w+:)?//")
IN_CSS = re.compile(r"""(?:url\(\s*|@import\s+)["']?((?:https?:)?//[^"')\s;]+)""")
IN_SCRIPT = re.compile(r"""(?:\b(?:import|from|fetch|src|href)\b\W{0,3}|URL\s*=\s*)["'`]((?:https?:)?//[^"'`\s]+)""")
LOADING = ("src", "srcset", "poster", "data", "href", "xlink:href")  # an <a href> only loads when the reader asks


@cache
def soup(page: Path) -> BeautifulSoup:
    return BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser")


@cache
def anchors(page: Path) -> set[str]:
    """What a fragment may name."""
    return {tag[a] for tag in soup(page).find_all(True) for a in ("id", "name") if tag.get(a)}


def pages(site: Path) -> list[Path]:
    return [p for p in sorted(site.rglob("*.html")) if p.relative_to(site).parts[0] not in {"_static", "_sources"}]


def from_elsewhere(site: Path) -> list[str]:
    """What the pages and style sheets load from another host."""
    found = []
    for page in pages(site):
        for tag in soup(page).find_all(True):
            loaded = [tag[a] for a in LOADING if tag.get(a) and tag.name not in ("a", "area")]
            found += [f"{page.name}: {u}" for value in loaded for u in re.split(r",\s", value) if ELSEWHERE.match(u)]
            styles = tag.get("style", "") + (tag.get_text() if tag.name == "style" else "")
            scripts = tag.get_text() if tag.name == "script" else ""
            found += [f"{page.name}: {u}" for u in IN_CSS.findall(styles) + IN_SCRIPT.findall(scripts)]
    for css in sorted(site.rglob("*.css")):
        found += [f"{css.name}: {u}" for u in IN_CSS.findall(css.read_text(encoding="utf-8"))]
    return found


def dead_links(site: Path) -> list[str]:
    """Local addresses, fragments included, that lead nowhere within the site."""
    found = []
    for page in pages(site):
        for tag in soup(page).find_all(True):
            for address in filter(None, map(tag.get, ("href", "src"))):
                url = urlsplit(address)
                if url.scheme or url.netloc:
                    continue
                target = (page.parent / unquote(url.path)).resolve() if url.path else page
                lost = not target.is_file() or not target.is_relative_to(site)
                if not lost and url.fragment and target.suffix == ".html":
                    lost = unquote(url.fragment) not in anchors(target)
                if lost:
                    found.append(f"{page.name}: {address}")
    return found


def without_alt(site: Path) -> list[str]:
    """Images without a text; Sphinx puts the file's name there if the author gave none."""
    return [
        f"{page.name}: {img.get('src')}"
        for page in pages(site)
        for img in soup(page).find_all("img")
        if not img.get("alt", "").strip() or Path(img["alt"]).suffix in {".png", ".svg", ".jpg", ".gif"}
    ]


def badly_headed(site: Path) -> list[str]:
    """Pages without a title, or with another number of main headings than one (the theme repeats it for print)."""

    def headings(page):
        return [h for h in soup(page).find_all("h1") if h.get_text().strip() and not h.find_parent(class_="onlyprint")]

    return [
        page.name
        for page in pages(site)
        if len(headings(page)) != 1 or not (soup(page).title and soup(page).title.get_text(strip=True))
    ]


CHECKS = [from_elsewhere, dead_links, without_alt, badly_headed]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_book(check):
    if not (SITE / "index.html").exists():
        pytest.skip("the book is not built: make book")
    assert check(SITE) == []


def test_the_landing_page_answers_its_title():
    if not (SITE / "index.html").exists():
        pytest.skip("the book is not built: make book")
    article = soup(SITE / "index.html").find("article")
    answer, table, how, doubts = headline.markdown().replace("*", "").split("\n\n")
    defined, first, second, *_ = (said for said in article.find_all("p") if not said.find_parent("table"))
    assert defined.get_text().startswith("A winning ticket is")
    assert [first.get_text().split(), second.get_text().split()] == [answer.split(), how.split()]
    listed = [item.get_text().split() for item in article.find("ul").find_all("li")]
    assert listed == [line.removeprefix("- ").split() for line in doubts.splitlines()]
    numbers, found_table, *_ = article.find_all("table")
    shown = [[cell.get_text().split() for cell in row.find_all("td")] for row in numbers.find_all("tr")[1:]]
    assert shown == [[cell.split() for cell in row.strip("|").split("|")] for row in table.splitlines()[2:]]
    found = claims.load()
    rows = [[cell.get_text(strip=True) for cell in row.find_all("td")] for row in found_table.find_all("tr")]
    answered = {(row[0], row[2].removesuffix(", reduced")) for row in rows if row}
    for claim in found:
        for answer in claim.verdict.answers if claim.verdict else ():
            assert (claim.id, answer.dataset) in answered
    ways = [link.get_text(strip=True) for link in article.select(".sd-card .sd-card-title")]
    assert ways == ["Check the claims", "Watch a mask", "Prune my network"]


def test_numbers_of_chapters_are_those_of_the_sidebar():
    if not (SITE / "index.html").exists():
        pytest.skip("the book is not built: make book")
    sidebar = soup(SITE / "index.html").find(class_="bd-links")
    entries = [entry.get_text(strip=True) for entry in sidebar.select("li.toctree-l1 > a")]
    numbers = [int(entry.split(".")[0]) for entry in entries if entry[0].isdigit()]
    assert numbers == [*range(1, len(numbers) + 1)] != []


GOOD = """<title>t</title><h1 id="a b">h</h1><a href="#a%20b">x</a><a href="https://other.org">y</a>
<img src="i.png" alt="A dot">"""


def doctored(tmp_path: Path, html: str) -> Path:
    (tmp_path / "index.html").write_text(html, encoding="utf-8")
    (tmp_path / "i.png").touch()
    return tmp_path


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_good_page_passes(check, tmp_path):
    assert check(doctored(tmp_path, GOOD)) == []


@pytest.mark.parametrize(("check", "bad"), [
    (from_elsewhere, '<script src="https://cdn.org/x.js"></script>'),
    (from_elsewhere, '<script>import x from "https://cdn.org/x"</script>'),
    (from_elsewhere, '<script>const THEBE_JS_URL = "//cdn.org/x.js"</script>'),
    (from_elsewhere, '<link rel="preload" href="//cdn.org/x.woff2">'),
    (from_elsewhere, '<img alt="A dot" srcset="i.png 1x, https://cdn.org/i.png 2x">'),
    (from_elsewhere, '<p style="background: url(https://cdn.org/i.png)">'),
    (from_elsewhere, "<style>@import 'https://cdn.org/x.css';</style>"),
    (dead_links, '<a href="gone.html">x</a>'),
    (dead_links, '<a href="../outside.html">x</a>'),
    (dead_links, '<a href="index.html#gone">x</a>'),
    (dead_links, '<img alt="A dot" src="gone.png">'),
    (without_alt, '<img src="i.png" alt=" ">'),
    (without_alt, '<img src="i.png">'),
    (without_alt, '<img src="i.png" alt="_images/i.png">'),
    (badly_headed, "<h1>another</h1>"),
])  # fmt: skip
def test_bad_page_is_found(check, bad, tmp_path):
    assert len(check(doctored(tmp_path, GOOD + bad))) == 1


def test_page_without_title_or_heading_is_found(tmp_path):
    assert badly_headed(doctored(tmp_path, GOOD.replace("<title>t</title>", ""))) == ["index.html"]
    soup.cache_clear()
    assert badly_headed(doctored(tmp_path, GOOD.replace("h1", "h2"))) == ["index.html"]


def test_bad_style_sheet_is_found(tmp_path):
    (tmp_path / "x.css").write_text('@font-face { src: local("a"), url("https://cdn.org/a.woff2") }')
    assert from_elsewhere(doctored(tmp_path, GOOD)) == ["x.css: https://cdn.org/a.woff2"]
