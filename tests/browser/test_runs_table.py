"""The table of all runs: it sorts by a click, filters by words, and shows the command of each run."""

import pytest

pytest.importorskip("anywidget")
from lottery_lib.widgets import RunsTable

SHOWN = """() => [...document.querySelectorAll("table.runs tbody tr")]
    .map((row) => [...row.children].map((cell) => cell.textContent))"""


def test_it_sorts_filters_and_shows_more(open_widget):
    table = RunsTable()
    page, visit = open_widget(table, width=900)
    shown = page.evaluate(SHOWN)
    assert len(shown) == 50 and shown[0][-1] == table.rows[0][-1]
    assert all(len(row[3].partition(".")[2]) == 2 for row in shown)
    page.get_by_role("button", name="More rows").click()
    assert len(page.evaluate(SHOWN)) == 250

    head = page.get_by_role("columnheader", name="test accuracy, %")
    for direction in ("ascending", "descending"):
        head.get_by_role("button").click()
        assert head.get_attribute("aria-sort") == direction
        values = [float(row[3]) for row in page.evaluate(SHOWN)]
        assert values == sorted(values, reverse=direction == "descending")

    page.get_by_label("filter").fill("IMP 0.05 mnist")
    found = page.evaluate(SHOWN)
    assert found and all("IMP" in row[0] and "MNIST" in row[5] and "0.05" in " ".join(row) for row in found)
    page.get_by_label("filter").fill("no such run")
    assert page.evaluate(SHOWN) == []
    assert visit.errors == visit.asked_elsewhere == visit.too_wide == []


def test_the_first_column_stays_in_sight_on_a_phone(open_widget):
    page, visit = open_widget(RunsTable(), width=400)
    box = page.get_by_role("region", name="the runs")
    box.evaluate("(node) => { node.scrollLeft = 300; }")
    first = page.locator("table.runs tbody th").first.bounding_box()
    assert first["x"] >= box.bounding_box()["x"] - 1 and visit.too_wide == []
