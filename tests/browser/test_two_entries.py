"""Two entries: the browser's stationary points and bounds are the library's, and its sliders draw and say them."""

import re

import numpy as np
import pytest
import torch

from lottery_lib.regularizers import L1, Log
from lottery_lib.theory import bounds, solver

pytest.importorskip("anywidget")
from lottery_lib.widgets import TwoEntries
from lottery_lib.widgets.two_entries import minima

CASES = [
    (0.3, 0.1, 1.0, 0.3),
    (0.3, 0.1, 1.0, 0.0),
    (0.5, 0.1, 1.0, -0.6),
    (0.05, 0.01, 0.3, 0.8),
    (1.0, 0.3, 0.5, 0.2),
    (0.3, 1e-4, 1.0, 0.3),
    (0.3, 1e4, 1.0, -0.3),
    (0.1, 0.01, 0.2, 0.3),  # ℓ1's minimum is one of the points that are scanned
]
FOUND = """({ lam, eps, gamma, rho }) => ({
  l1: stationary(loss(gamma, rho), regularizer("l1"), lam),
  log: stationary(loss(gamma, rho), regularizer("log", eps), lam),
  bounds: bounds(lam, gamma, eps),
})"""


@pytest.mark.parametrize("lam, eps, gamma, rho", CASES)
def test_its_minima_are_where_projected_gradient_ends(javascript, lam, eps, gamma, rho):
    found = javascript("two_entries", FOUND, {"lam": lam, "eps": eps, "gamma": gamma, "rho": rho})
    for name, regularizer in (("l1", L1()), ("log", Log(eps))):
        shown = [point["m"] for point in found[name] if point["minimum"]]
        np.testing.assert_allclose(shown, minima(gamma, rho, regularizer, lam), atol=2e-6)
    x = torch.tensor([lam / gamma], dtype=torch.float64)
    first, second = (bound.item() for bound in bounds.gap(Log(eps), x))
    assert found["bounds"]["x"] == pytest.approx(lam / gamma)
    for shown, expected in ((found["bounds"]["first"], first), (found["bounds"]["second"], second)):
        assert shown == pytest.approx(expected) if expected == expected else shown is None


@pytest.mark.parametrize("lam, eps, gamma, rho", CASES)
def test_no_stationary_point_lies_in_the_gap_minimum_or_not(javascript, lam, eps, gamma, rho):
    found = javascript("two_entries", FOUND, {"lam": lam, "eps": eps, "gamma": gamma, "rho": rho})
    limit = found["bounds"]
    assert all(point["distance"] <= limit["x"] + 1e-9 for point in found["l1"])
    if limit["first"] is not None:
        for point in found["log"]:
            assert point["distance"] <= limit["first"] + 1e-9 or point["distance"] >= limit["second"] - 1e-9


def test_an_isotropic_loss_has_the_points_of_the_closed_form(javascript):
    found = javascript("two_entries", FOUND, {"lam": 0.5, "eps": 0.1, "gamma": 1.0, "rho": 0.0})
    kept = sorted(point["m"][0] for point in found["log"] if point["m"][1] == 0)
    assert kept == pytest.approx(solver.kept_entry(Log(0.1), 0.5), abs=1e-9)
    assert [point["minimum"] for point in found["log"]] == [True, False, True]  # near, the hilltop, zero


# The page.


def says(page, words):
    page.wait_for_function(
        "(words) => document.querySelector('[role=status]')?.textContent.includes(words)", arg=words, timeout=5000
    )
    return page.get_by_role("status").inner_text()


def test_sliders_draw_and_say(open_widget):
    page, visit = open_widget(TwoEntries(rho=0.0), width=900)
    said = says(page, "Log cannot end between")
    first, second = map(float, re.search(r"between (\S+) and (\S+)\.", said).groups())
    expected = bounds.gap(Log(0.1), torch.tensor([0.3], dtype=torch.float64))
    assert [first, second] == pytest.approx([bound.item() for bound in expected], rel=6e-3)
    assert "ℓ1 ends 0.3 from the target, and its bound is 0.3" in said
    box = page.get_by_role("img", name="entry to drop")
    assert box.locator("polygon.gap").count() == 1 and box.locator("circle.hollow").count() == 1
    page.get_by_role("slider", name="λ").press("End")
    assert "λ is too large" in says(page, "no gap")
    assert box.locator("polygon.gap").count() == 0
    page.get_by_role("slider", name="λ").press("Home")
    says(page, "its bound is 0.01;")
    assert box.locator("circle.hollow").count() == 0 and box.locator("circle.chosen").count() == 1
    correlation = page.get_by_role("slider", name="correlation")
    correlation.fill("18")  # the middle of its way
    assert correlation.get_attribute("aria-valuetext") == "0"
    assert visit.errors == visit.asked_elsewhere == visit.too_wide == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone(open_widget, scheme):
    page, visit = open_widget(TwoEntries(), width=360, scheme=scheme)
    assert visit.errors == visit.too_wide == [] and page.get_by_role("slider").count() == 4
