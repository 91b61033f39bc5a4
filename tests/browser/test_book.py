"""The built book in a browser, from files, on a phone's width: whole, quiet, and without the network."""

import pytest

from lottery_lib.paths import ROOT

SITE = ROOT / "_build" / "html"
MODULES = sorted(SITE.glob("api/*.html"), key=lambda path: path.stat().st_size)  # pages of one form: the largest do
PAGES = [p.relative_to(SITE).as_posix() for p in sorted(SITE.rglob("*.html"))
         if p.relative_to(SITE).parts[0] not in {"_static", "_sources"} and p not in MODULES[:-3]] or [
    pytest.param("index.html", marks=pytest.mark.skip(reason="the book is not built: make book"))]  # fmt: skip


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_page_is_whole_on_a_phone(open_page, name, scheme):
    page, visit = open_page(SITE / name, scheme)
    assert visit.asked_elsewhere == []
    assert visit.errors == []
    assert visit.bad_maths == []
    assert visit.too_wide == []
    assert page.locator("html").get_attribute("data-theme") == scheme  # the page follows the reader's system


@pytest.mark.parametrize("name", PAGES)
def test_paper_shows_what_is_folded_but_for_code(open_page, name):
    page, _ = open_page(SITE / name)
    page.emulate_media(media="print")
    for box in page.locator("article .cell_input").all():
        assert box.is_visible() == (box.locator("xpath=ancestor::details").count() == 0)
    for text in page.locator("article details:not(.hide) > :not(summary)").all():
        assert text.is_visible()


def test_pages_with_widgets_are_light(open_page, served):
    """What such a page loads beyond what all pages share, the theme and MathJax: at most 400 kB."""
    with_widgets = [
        name
        for name in PAGES
        if isinstance(name, str)
        and "application/vnd.jupyter.widget-view+json" in (SITE / name).read_text(encoding="utf-8")
    ]
    if not with_widgets:
        pytest.skip("the book is not built: make book")
    site = served(SITE)
    for name in with_widgets:
        answers = []
        page, _ = open_page(f"{site}/index.html")
        page.on("response", lambda answer, answers=answers: answers.append(answer))  # a builtin is refused
        page.goto(f"{site}/{name}", wait_until="networkidle")
        own = {
            answer.url: len(answer.body())
            for answer in answers
            if "/_static/" not in answer.url or "/anyviews.js" in answer.url
        }
        assert len(own) >= 2 and sum(own.values()) <= 400_000, own


@pytest.mark.parametrize(("bad", "complaint"), [
    ('<img src="https://other.invalid/x.png">', "asked_elsewhere"),
    ("<script>import('https://other.invalid/x.js').catch(() => 0)</script>", "asked_elsewhere"),
    ("<script>console.error('x')</script>", "errors"),
    ("<script>throw Error('x')</script>", "errors"),
    ('<article><span class="math">\\(x\\)</span></article>', "bad_maths"),
    ('<p style="width: 500px">x</p>', "too_wide"),
])  # fmt: skip
def test_bad_page_is_found(open_page, tmp_path, bad, complaint):
    (tmp_path / "x.html").write_text("<!doctype html><title>x</title><p>x</p>" + bad)
    assert getattr(open_page(tmp_path / "x.html")[1], complaint)
