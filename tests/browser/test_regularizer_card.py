"""The regulariser card: its formulas are the library's, and its controls draw and say the right curves."""

import re
from dataclasses import fields

import numpy as np
import pytest
import torch

from lottery_lib.regularizers import REGULARIZERS, create

pytest.importorskip("anywidget")
from lottery_lib.widgets import RegularizerCard

SHAPES = {"l1": [None], "log": [0.01, 0.1, 10.0], "lp": [0.05, 0.5, 0.95], "mcp": [1.0, 2.5, 10.0],
          "exponential": [0.02, 0.2, 2.0]}  # fmt: skip
CURVES = """({ name, shape, m, u }) => {
  const r = regularizer(name, shape);
  return { value: m.map(r.value), slope: m.map(r.gradient), least: u.map((u) => induced(r, u)) };
}"""
LABELS = {"l1": "ℓ1", "log": "log", "lp": "ℓp", "mcp": "MCP", "exponential": "exponential"}


def cheapest(regularizer, lam, decay, w):
    """min over m in (0, 1] of λ r(m) + (µ/2)(w/m)², on a grid so fine that it is off by less than 10⁻⁶ λ."""
    m = torch.cat([torch.logspace(-5, 0, 100_001, dtype=torch.float64), torch.ones(1, dtype=torch.float64)])
    return (lam * regularizer.value(m) + decay / 2 * (w / m) ** 2).min().item()


@pytest.mark.parametrize("name, shape", [(name, shape) for name, shapes in SHAPES.items() for shape in shapes])
def test_the_browsers_formulas_are_the_librarys(javascript, name, shape):
    regularizer, lam, decay = create(name, shape), 0.02, 3e-3
    m, w = torch.linspace(0, 1, 41, dtype=torch.float64), np.array([0.003, 0.05, 0.5, 1.2, 2.0, 2.58, 2.7, 5.0])
    u = w * np.sqrt(decay / lam)
    found = javascript("regularizers", CURVES, {"name": name, "shape": shape, "m": m.tolist(), "u": u.tolist()})
    np.testing.assert_allclose(found["value"], regularizer.value(m), rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(found["slope"], regularizer.gradient(m), rtol=1e-12, atol=1e-15)
    prices = [cheapest(regularizer, lam, decay, x) for x in w]
    np.testing.assert_allclose([lam * least["price"] for least in found["least"]], prices, rtol=1e-6)
    for x, least in zip(w, found["least"]):  # the m that is shown pays that price
        at = torch.tensor(least["m"], dtype=torch.float64)
        paid = lam * regularizer.value(at) + decay / 2 * (x / at) ** 2
        assert paid.item() == pytest.approx(lam * least["price"], rel=1e-9) and 0 < at <= 1


def test_a_weight_of_zero_pays_nothing(javascript):
    found = javascript("regularizers", CURVES, {"name": "log", "shape": 0.1, "m": [], "u": [0]})
    assert found["least"] == [{"price": 0, "m": 0}]


# The page.


def says(page):
    status = page.get_by_role("status")
    page.wait_for_function(
        "() => document.querySelector('[role=status]')?.textContent"
        ".startsWith(document.querySelector('.key .chosen').textContent + ':')"
    )
    return status.inner_text()


def drawn(page, panel, name="chosen"):
    """The points of a curve in pixels, (n, 2)."""
    points = page.locator("svg.plot").nth(panel).locator(f"polyline.{name}").get_attribute("points")
    return np.array([point.split(",") for point in points.split()], dtype=float)


def shows(page, name, shape):
    """The card shows this penalty: what it says, and three of its curves, in units of their axes."""
    regularizer, said = create(name, shape), says(page)
    pull = re.search(r"the pull is (\S+) at m = 0 and (\S+) at m = 1\.", said).groups()
    assert [float(x) for x in pull] == pytest.approx([regularizer.slope(0), regularizer.slope(1)], rel=6e-3)
    price = [float(x) for x in re.search(r"pays (\S+) λ, one of 1 √\(λ/µ\) (\S+) λ", said).groups()]
    assert price == pytest.approx([cheapest(regularizer, 1, 1, u) for u in (0.2, 1)], rel=6e-3)

    value = drawn(page, 0)
    share = (value - value[0]) / (value[-1] - value[0])  # from (0, 0) to (1, 1)
    m = torch.from_numpy(share[:, 0])
    np.testing.assert_allclose(share[:, 1], regularizer.value(m), atol=1e-3 * max(1, regularizer.slope(0) / 10))
    ideal, paid = drawn(page, 2, "ideal"), drawn(page, 2)  # the ideal curve goes from (0, 1) to (2, 3)
    unit = (ideal[-1, 1] - ideal[0, 1]) / 2
    u = 2 * (paid[:, 0] - ideal[0, 0]) / (ideal[-1, 0] - ideal[0, 0])
    for k in range(5, len(u), 20):
        height = (paid[k, 1] - ideal[0, 1]) / unit + 1
        assert height == pytest.approx(cheapest(regularizer, 1, 1, u[k]), abs=2e-3)
    return said


def quiet(visit):
    assert visit.asked_elsewhere == visit.errors == []


@pytest.mark.parametrize("how", ["key", "mouse"])
def test_every_penalty_is_drawn(open_widget, how):
    page, visit = open_widget(RegularizerCard("l1"), width=900)
    shows(page, "l1", None)
    assert page.get_by_role("slider").count() == 0  # ℓ1 has no shape
    for before, name in zip(LABELS, list(LABELS)[1:]):
        if how == "key":
            page.get_by_label(LABELS[before], exact=True).press("ArrowRight")
        else:
            page.get_by_label(LABELS[name], exact=True).click()
        (field,) = fields(REGULARIZERS[name])
        assert page.get_by_role("slider").count() == 1
        assert float(page.get_by_role("slider").get_attribute("aria-valuetext")) == field.default
        shows(page, name, None)
    quiet(visit)


@pytest.mark.parametrize("name", ["log", "lp", "mcp", "exponential"])
def test_the_shape_slider_by_key_and_by_mouse(open_widget, name):
    page, visit = open_widget(RegularizerCard(name), width=900)
    slider, seen = page.get_by_role("slider"), set()
    for key in ("ArrowRight", "Home", "End"):
        slider.press(key)
        seen.add(float(slider.get_attribute("aria-valuetext")))
        shows(page, name, float(slider.get_attribute("aria-valuetext")))
    box = slider.bounding_box()
    page.mouse.click(box["x"] + 0.3 * box["width"], box["y"] + box["height"] / 2)
    seen.add(float(slider.get_attribute("aria-valuetext")))
    shows(page, name, float(slider.get_attribute("aria-valuetext")))
    assert len(seen) == 4
    quiet(visit)


def test_the_first_view_makes_its_point(open_widget):
    page, visit = open_widget(RegularizerCard(), width=900)
    said = shows(page, "log", 0.1)
    assert "From |w| = 0.616 √(λ/µ) on, m stays 1." in said
    chosen, reference = drawn(page, 2), drawn(page, 2, "reference")
    assert (chosen[1:30, 1] < reference[1:30, 1]).all()  # dearer, so higher up, than under ℓ1
    quiet(visit)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_small_screen(open_widget, scheme):
    page, visit = open_widget(RegularizerCard(), width=360, scheme=scheme)
    says(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    quiet(visit)
