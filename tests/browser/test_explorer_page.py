"""The explorer in a browser: every stop of its controls shows the record's numbers, from files, by http, and live."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from importlib.util import find_spec

import numpy as np
import pytest

pytest.importorskip("anywidget")

from lottery_lib.experiments.protocols import DigitsLeNet
from lottery_lib.paths import ROOT
from lottery_lib.widgets import TicketExplorer
from lottery_lib.widgets.searches import Point, Search, Task, on_record

PAGE = ROOT / "_build" / "html" / "notebooks" / "explorer.html"
START = {"dataset": "lenet", "regularizer": "log", "lam": 5.8e-5, "mask_lr": 10.0, "alpha": 0.05}


@pytest.fixture(scope="module")
def tasks():
    return on_record()


def seen(page) -> dict:
    """What the page shows, as ``Search.at`` would say it."""
    shown = page.locator(".lottery").evaluate("node => ({...node.dataset})")
    return {
        "search": (float(shown["asked"] or "nan"), float(shown["lam"]), float(shown["rate"])),
        "alpha": float(shown["alpha"]),
        "kept": [int(kept) for kept in shown["kept"].split()],
        "density": float(shown["density"]),
        "kind": shown["kind"],
        "accuracy": float(shown["accuracy"] or "nan"),
    }


def expected(search, alpha) -> dict:
    found = search.at(alpha)
    worth = found.pop("accuracy")
    found.pop("exact")
    accuracy = pytest.approx(worth.get("accuracy", float("nan")), nan_ok=True)
    return found | {
        "search": pytest.approx((search.asked or float("nan"), *search.pressure), nan_ok=True),
        "kind": worth["kind"],
        "accuracy": accuracy,
        "density": pytest.approx(found["density"]),
    }


def control(page, name):
    return page.get_by_role("slider", name=name)


def says(page, text):
    page.wait_for_function(
        "text => document.querySelector('.lottery [role=status]').textContent.includes(text)", arg=text
    )


def test_every_search_on_record_by_key(open_widget, tasks):
    page, visit = open_widget(TicketExplorer(tasks, **START))
    for task in tasks.values():
        page.get_by_role("combobox", name="network").select_option(task.label)
        for family in task.families():
            page.get_by_label(family.replace("l1", "ℓ1"), exact=True).check()
            found = [s for s in task.searches if s.family == family]
            by_rate = {rate: [s for s in found if s.asked or s.config.mask_lr == rate]
                       for rate in sorted({None if s.asked else s.config.mask_lr for s in found})}  # fmt: skip
            if len(by_rate) > 1:
                control(page, "ηₘ").press("Home")
            for searches in by_rate.values():
                pressure = control(page, "density asked for" if found[0].asked else "λ")  # the other is hidden
                if len(searches) > 1:
                    pressure.press("Home")
                for search in searches:
                    for key in ("Home", "ArrowRight", "End", "ArrowLeft"):
                        control(page, "α").press(key)
                        shown = seen(page)
                        assert shown == expected(search, shown["alpha"])
                    if len(searches) > 1:
                        pressure.press("ArrowRight")
                if len(by_rate) > 1:
                    control(page, "ηₘ").press("ArrowRight")
    assert visit.errors == visit.asked_elsewhere == []


def test_a_choice_by_key_keeps_the_focus(open_widget):
    page, _ = open_widget(TicketExplorer(**START), width=900)
    network = page.get_by_role("combobox", name="network")
    network.focus()
    network.press("ArrowDown")
    page.wait_for_function("() => document.querySelector('select').value !== 'lenet'")
    assert network.evaluate("node => node === document.activeElement")


def test_every_threshold_by_key(open_widget, tasks):
    page, _ = open_widget(TicketExplorer(tasks, **START))
    search, alphas, kinds = tasks["lenet"].nearest("log", 5.8e-5), [], set()
    control(page, "α").press("Home")
    for _ in range(int(control(page, "α").get_attribute("max")) + 1):
        shown = seen(page)
        assert shown == expected(search, shown["alpha"])
        alphas.append(shown["alpha"])
        kinds.add(shown["kind"])
        control(page, "α").press("ArrowRight")
    assert alphas[0] <= 1 / search.bins and alphas[-1] == 1 and sorted(set(alphas)) == alphas
    assert set(search.cuts) <= set(alphas) and kinds == {"measured", "interpolated", "unknown"}


def test_mouse_and_words(open_widget, tasks):
    page, visit = open_widget(TicketExplorer(tasks, **START), width=1280)
    task = tasks["lenet"]
    found = task.nearest("log", 5.8e-5).at(0.05)
    says(page, f"{sum(found['kept']):,} of 266,200 weights kept")
    says(page, f"{found['accuracy']['accuracy']:.2f} %")

    slider = control(page, "α")
    box = slider.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 4, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] - 1, box["y"] + box["height"] / 2, steps=5)
    page.mouse.up()
    assert seen(page)["alpha"] == 1 and slider.get_attribute("aria-valuetext") == "1"
    says(page, "test accuracy not measured")

    control(page, "λ").click(position={"x": 2, "y": 8})
    beside = [s for s in task.searches if s.family == "log" and s.config.mask_lr == START["mask_lr"]]
    lightest = min(beside, key=lambda s: s.config.lam)
    assert seen(page) == expected(lightest, 1)
    page.get_by_label("ℓ1", exact=True).click()
    assert seen(page)["search"][1] == task.nearest("l1", lightest.config.lam, lightest.config.mask_lr).config.lam
    assert visit.errors == visit.asked_elsewhere == []


def test_the_bars_are_the_histogram(open_widget, tasks):
    page, _ = open_widget(TicketExplorer(tasks, **START))
    counts = tasks["lenet"].nearest("log", 5.8e-5).counts.sum(0)
    plot = page.get_by_role("img", name="entries of the mask")
    for kind, among in (("pruned", counts[:6]), ("kept", counts[6:])):  # α = 0.05 parts them after bins 0 … 4
        bars = plot.locator(f"rect.{kind}")
        assert bars.count() == np.count_nonzero(among)
        heights = np.array(bars.evaluate_all("bars => bars.map((bar) => Number(bar.getAttribute('height')))"))
        given = np.log(among[among > 0] / 0.7)
        assert sorted(heights) == pytest.approx(sorted(given * heights.max() / given.max()))
    assert f"{counts[0]:,} are exactly 0" in plot.get_attribute("aria-label")


def test_what_is_measured_and_what_is_not_look_different(open_widget):
    counts = np.array([[90, 2, 2, 2, 2, 2]])
    points = [Point(0.04, 80.0, None, 1), Point(0.087, 90.0, 1.5, 3, 0.25)]  # α's mean density over seeds
    task = Task("a toy", [("fc", 100)], [Search(DigitsLeNet(lam=0.1), counts, points)])
    page, _ = open_widget(TicketExplorer({"toy": task}, lam=0.1, alpha=1.0))
    plot = page.get_by_role("img", name="test accuracy")
    control(page, "α").press("Home")
    says(page, "90.00 % ± 1.50, measured (n = 3)")
    assert plot.locator("circle.measured").count() == 1 and plot.locator(".interpolated").count() == 0
    control(page, "α").press("ArrowRight")
    says(page, "interpolated between the measured densities 0.04 and 0.087")
    assert plot.locator("circle.measured").count() == 0
    assert plot.locator("circle.interpolated").count() == plot.locator("path.interpolated").count() == 1
    control(page, "α").press("End")
    says(page, "not measured")
    assert plot.locator(".measured, .interpolated").count() == 0 and plot.get_by_text("not measured").count() == 1


def test_the_step_of_the_mask_has_a_slider_of_its_own(open_widget):
    counts = np.array([[90, 2, 2, 2, 2, 2]])
    known = [Search(DigitsLeNet(lam=0.1, mask_lr=rate), counts) for rate in (1.0, 5.0)]
    page, _ = open_widget(TicketExplorer({"toy": Task("a toy", [("fc", 100)], known)}, lam=0.1, mask_lr=1.0))
    assert seen(page)["search"][1:] == (0.1, 1)
    assert control(page, "λ").is_disabled()  # there is one at this step
    control(page, "ηₘ").press("ArrowRight")
    assert seen(page)["search"][1:] == (0.1, 5) and control(page, "ηₘ").get_attribute("aria-valuetext") == "5"


def test_stops_that_are_measured_are_marked_counted_and_snapped_to(open_widget):
    counts = np.array([[49, *[1] * 50, 1]])
    points = [Point(0.26, 80.0, None, 1, 0.5)]
    search = Search(DigitsLeNet(lam=0.1), counts, points, {0.5: [26]})
    page, _ = open_widget(
        TicketExplorer({"toy": Task("a toy", [("fc", 100)], [search])}, lam=0.1, alpha=1.0), width=900
    )
    slider = control(page, "α")
    stops = int(slider.get_attribute("max")) + 1
    assert page.locator(".stops:visible i").count() == 1
    assert f"Measured: 1 of {stops} stops of α" in page.locator(".note").inner_text()
    mark, box = (place.bounding_box() for place in (page.locator(".stops:visible i"), slider))
    one = (box["width"] - 16) / (stops - 1)
    page.mouse.click(mark["x"] + mark["width"] / 2 - 1.5 * one, box["y"] + box["height"] / 2)
    assert seen(page)["alpha"] == 0.5 and seen(page)["kind"] == "measured"
    slider.press("ArrowLeft")  # by key every stop is reached
    assert seen(page)["kind"] == "unknown"


@pytest.mark.skipif(not PAGE.exists(), reason="the book is not built: make book")
def test_words_of_the_page_set_the_sliders(open_page):
    page, visit = open_page(PAGE)
    page.locator(".lottery").wait_for()
    page.get_by_role("button", name="ask for a density of 0.01").click()
    assert seen(page)["search"][0] == 0.01
    page.get_by_role("button", name="ℓ1 by hand").click()
    assert page.get_by_label("ℓ1", exact=True).is_checked()
    assert visit.errors == []


def test_without_a_kernel_the_buttons_say_so(open_widget, tasks):
    page, _ = open_widget(TicketExplorer(tasks, **START))
    for name in ("Retrain this ticket", "Bring the mask here"):
        assert page.get_by_role("button", name=name).is_disabled()
    assert page.get_by_text("Both need a Python kernel").count() == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_the_narrowest_phone(open_widget, tasks, scheme):
    page, visit = open_widget(TicketExplorer(tasks, **START), width=360, scheme=scheme, has_touch=True)
    assert page.evaluate("document.documentElement.scrollWidth") == 360 and visit.too_wide == []
    control(page, "α").focus()
    page.keyboard.press("ArrowRight")
    assert control(page, "α").evaluate("node => getComputedStyle(node).outlineStyle") == "solid"
    box = control(page, "α").bounding_box()
    page.touchscreen.tap(box["x"] + box["width"] - 2, box["y"] + box["height"] / 2)
    assert seen(page)["alpha"] == 1


@pytest.mark.skipif(not PAGE.exists(), reason="the book is not built: make book")
def test_the_page_is_light_and_alive(open_page):
    page, visit = open_page(PAGE)
    page.locator(".lottery").wait_for()
    before = seen(page)
    control(page, "α").press("ArrowRight")
    assert seen(page) != before
    assert page.get_by_text("This control needs a running Python kernel").count() == 1  # the one built of ipywidgets
    assert PAGE.stat().st_size + (ROOT / "book" / "_js" / "anyviews.js").stat().st_size <= 400_000
    assert visit.errors == visit.asked_elsewhere == []


CELL = """\
from lottery_lib.experiments.protocols import DigitsLeNet
from lottery_lib.widgets import TicketExplorer

TicketExplorer.live(DigitsLeNet(lam=0.0005), alpha=0.05)"""


@pytest.fixture
def lab(tmp_path):
    """The URL of a JupyterLab of this Python with a notebook x.ipynb, whose one cell is ``CELL``."""
    if find_spec("jupyterlab") is None:
        pytest.skip("jupyterlab is not installed: pip install -e .[lab]")
    cell = {"cell_type": "code", "id": "a", "metadata": {}, "source": CELL, "outputs": [], "execution_count": None}
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = {"cells": [cell], "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    (tmp_path / "x.ipynb").write_text(json.dumps(notebook))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"
    options = ["--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1", f"--ServerApp.port={url.rpartition(':')[2]}",
               "--IdentityProvider.token=", f"--ServerApp.root_dir={tmp_path}"]  # fmt: skip
    own = {f"JUPYTER_{kind}_DIR": str(tmp_path / kind) for kind in ("CONFIG", "DATA", "RUNTIME")}
    command = [sys.executable, "-m", "jupyterlab", *options]
    with open(tmp_path / "log", "w") as log:
        server = subprocess.Popen(command, env=os.environ | own, stdout=log, stderr=log)
    try:
        while server.poll() is None:
            with suppress(OSError), urllib.request.urlopen(f"{url}/api"):
                break
            time.sleep(0.2)
        yield url
    finally:
        server.terminate()
        server.wait()


def test_in_jupyterlab_the_kernel_computes_what_the_page_does_not_hold(lab, open_page):
    page, visit = open_page(f"{lab}/lab/tree/x.ipynb?reset", width=1280)
    page.set_default_timeout(120_000)  # the kernel imports torch and searches
    page.locator(".jp-CodeCell").click()
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()
    page.keyboard.press("Control+Enter")
    page.locator("[data-live]").wait_for()
    control(page, "α").press("ArrowLeft")
    page.locator('[data-alpha="0.047"]').wait_for()  # between the edges of bins, which is all that tables hold
    here = TicketExplorer.live(DigitsLeNet(lam=0.0005), alpha=0.047)  # the same search on the same machine
    assert here.view["kept"] != Search(here.search.config, here.search.counts).at(0.047)["kept"]
    assert seen(page)["kept"] == here.view["kept"]
    page.get_by_role("button", name="Retrain this ticket").click()
    says(page, "measured (n = 1)")
    here.retrain()
    assert seen(page)["accuracy"] == here.view["accuracy"]["accuracy"]
    assert visit.asked_elsewhere == []


def test_no_dot_lies_outside_the_axis_and_the_step_is_said(open_widget):
    counts = np.zeros((1, 102), int)
    counts[0, [0, 50, 101]] = 80, 10, 10
    good = [Point(0.1 + 0.01 * k, 96.0, None, 1) for k in range(28)]  # so many that two others are left out of the span
    points = [Point(0.001, 60.0, None, 1), Point(0.002, 62.0, None, 1), *good]
    task = Task("a toy", [("fc", 100)], [Search(DigitsLeNet(lam=0.1, mask_lr=5.0), counts, points)])
    page, _ = open_widget(TicketExplorer({"toy": task}, lam=0.1, alpha=1.0))
    plot = page.get_by_role("img", name="test accuracy of the ticket")
    heights = [float(dot.get_attribute("cy")) for dot in plot.locator("circle.ours.point").all()]
    assert len(set(heights)) == 3  # none is moved to the rim
    assert control(page, "ηₘ").get_attribute("aria-valuetext") == "5"
    assert "retrained: 30." in page.locator(".note").inner_text()


@pytest.mark.parametrize("many", [5, 6])
def test_many_networks_are_a_list_to_open(open_widget, many):
    """A few stand beside each other."""
    counts = np.array([[90, 2, 2, 2, 2, 2]])
    known = {
        f"net{number}": Task(f"network {number}", [("fc", 100)], [Search(DigitsLeNet(lam=0.1 * number), counts)])
        for number in range(1, many + 1)
    }
    page, _ = open_widget(TicketExplorer(known, dataset="net1", lam=0.1))
    if many > 5:
        page.get_by_role("combobox", name="network").select_option("network 3")
    else:
        page.get_by_role("radio", name="network 3").check()
    assert seen(page)["search"][1] == pytest.approx(0.3)
