"""The static runtime of the widgets, book/_js/anyviews.js, and what they share, on a widget made for the purpose."""

import pytest

pytest.importorskip("anywidget")
import ipywidgets
import traitlets as t

from lottery_lib.figures import style
from lottery_lib.widgets import base
from lottery_lib.widgets.base import InteractiveFigure

TOY = """
function initialize({ model }) { globalThis.initialized = (globalThis.initialized ?? 0) + 1; }
function render({ model, el }) {
  const root = frame(el, "A toy");
  slider(root, model, "share", { label: "share", min: 0.001, max: 1, steps: 30, log: true });
  choice(root, model, "kind", { label: "kind", options: { a: "first", b: "second" } });
  const say = speaker(root), bytes = new Uint8Array(model.get("raw").buffer);
  const show = () => say(`${model.get("kind")} ${model.get("share")} ${[...bytes]} ${el.dataset.live ?? "no kernel"}`);
  model.on("change:share change:kind", show);
  greet(model, () => { el.dataset.live = "live"; show(); });
  show();
}
export default { initialize, render };
"""


class Toy(InteractiveFigure):
    _esm = base.module("common") + TOY
    _css = base.sheet()
    share = t.Float(0.01).tag(sync=True)
    kind = t.Unicode("a").tag(sync=True)
    raw = t.Bytes(b"\x00\xff").tag(sync=True)


def says(page, text, which=0):
    page.wait_for_function(
        '([text, which]) => document.querySelectorAll("[role=status]")[which]?.textContent === text', arg=[text, which]
    )


def test_a_view_starts_without_a_kernel_and_answers_keys(open_widget):
    page, visit = open_widget(Toy())
    says(page, "a 0.01 0,255 no kernel")
    page.get_by_label("share").press("ArrowRight")
    says(page, "a 0.0126 0,255 no kernel")
    assert page.get_by_label("share").get_attribute("aria-valuetext") == "0.0126"
    page.get_by_label("share").press("Home")
    page.get_by_label("first").press("ArrowRight")
    says(page, "b 0.001 0,255 no kernel")
    page.get_by_label("share").press("End")
    says(page, "b 1 0,255 no kernel")
    assert page.get_by_role("group", name="A toy").count() == 1
    assert visit.asked_elsewhere == visit.errors == []


def test_two_views_of_one_widget_are_joined_and_two_widgets_are_not(open_widget):
    toy = Toy()
    page, visit = open_widget(toy, toy, Toy())
    page.get_by_label("share").first.press("Home")
    for which, text in enumerate(["a 0.001 0,255 no kernel"] * 2 + ["a 0.01 0,255 no kernel"]):
        says(page, text, which)
    assert page.evaluate("initialized") == 2 and page.locator("style").count() == 1
    assert visit.errors == []


def test_a_widget_that_needs_a_kernel_says_so(open_widget):
    page, visit = open_widget(ipywidgets.IntSlider(), Toy())
    says(page, "a 0.01 0,255 no kernel")
    assert page.get_by_text("This control needs a running Python kernel").count() == 1
    assert visit.errors == []


def test_a_widget_that_fails_says_so(open_widget):
    toy = Toy()
    toy._esm = "export default { render() { throw Error('no luck'); } };"
    page, visit = open_widget(toy)
    page.get_by_text("This interactive figure failed to start: Error: no luck").wait_for()
    assert len(visit.errors) == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_are_those_of_the_figures(open_widget, scheme):
    page, _ = open_widget(Toy(), scheme=scheme)
    mark = page.evaluate("""() => {
        const probe = document.querySelector(".lottery").appendChild(document.createElement("b"));
        probe.style.color = "var(--mark)";
        return getComputedStyle(probe).color.match(/\\d+/g).map(Number);
    }""")
    assert "#{:02x}{:02x}{:02x}".format(*mark) == (style.BLUE if scheme == "light" else style.SKY)
