"""The playground: its JavaScript computes what the library computes, and every control changes the right numbers."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import softplus

from lottery_lib.data import datasets
from lottery_lib.experiments import logistic
from lottery_lib.experiments.logistic import METHODS, LogisticConfig

pytest.importorskip("anywidget")
from lottery_lib.widgets import Playground

CORNERS = {  # (variable, penalty) -> name in logistic.METHODS
    ("mask", "l1"): "mask + ℓ1, projected",
    ("mask", "log"): "mask + log, projected",
    ("weights", "l1"): "weights + ℓ1, subgradient",
    ("weights", "log"): "weights + log, subgradient",
}
STEPS = 200
RUN = """({ pixels, labels, train, start, settings, steps, alpha }) => {
  const data = problem(Uint8Array.from(pixels), Uint8Array.from(labels), train);
  const state = init(data, Float64Array.from(start), settings), objectives = [objective(state)], flips = [0];
  while (state.t < steps) { step(data, state); objectives.push(objective(state)); flips.push(state.flips); }
  return { objectives, flips, w: [...state.w], m: [...state.m], summary: summary(data, state, alpha) };
}"""
SINGLE_STEPS = """({ pixels, labels, train, states, settings }) => {
  const data = problem(Uint8Array.from(pixels), Uint8Array.from(labels), train);
  return states.map((w) => {
    const state = init(data, Float64Array.from(w), settings);
    step(data, state);
    return [...state.w];
  });
}"""
EASY = LogisticConfig(dataset="digits", iterations=60, eps=1.0)  # where rounding errors do not grow
SHARED = ("lam", "eps", "step", "mask_step", "weight_decay")
SLIDERS = {"λ": "lam", "ε": "eps", "α": "alpha", "step of θ": "step", "step of m": "mask_step"}


# The numbers.


def browser_input(config, variable, penalty):
    """What RUN takes: the data of the playground, and the settings of one corner."""
    playground = Playground(replace(config, iterations=10))
    start = np.frombuffer(playground.starts).reshape(10, -1)[config.seed]
    settings = {name: getattr(config, name) for name in SHARED}
    settings |= {"variable": variable, "penalty": penalty, "lipschitz": playground.lipschitz}
    images = {"pixels": list(playground.pixels), "labels": list(playground.labels), "train": playground.train}
    return images | {"start": start.tolist(), "settings": settings}


CHAOTIC = ("weights", "log", 0.1)  # has tests of its own


@pytest.mark.parametrize(
    "variable, penalty, eps", [case for corner in CORNERS for eps in (0.1, 1.0) if (case := (*corner, eps)) != CHAOTIC]
)
def test_the_browser_agrees_with_the_library(javascript, variable, penalty, eps):
    config = LogisticConfig(dataset="digits", iterations=STEPS + 1, eps=eps)
    record, arrays = logistic.run(config)
    name = CORNERS[variable, penalty]
    row = list(METHODS).index(name)
    given = browser_input(config, variable, penalty) | {"steps": STEPS, "alpha": 0.05}
    found = javascript("logistic", RUN, given)
    np.testing.assert_allclose(found["objectives"], arrays["objective"][row], rtol=1e-6)
    np.testing.assert_array_equal(found["flips"], arrays["flips"][row])
    np.testing.assert_allclose(found["w"], arrays["weights"][row], rtol=1e-6, atol=1e-7)
    if variable == "mask":
        mask = arrays["masks"][[*CORNERS.values()].index(name)]
        np.testing.assert_allclose(found["m"], mask, rtol=1e-6)
        np.testing.assert_array_equal(np.array(found["m"]) == 0, mask == 0)
    final = record["methods"][name]
    assert found["summary"]["zeros"] == pytest.approx(final["zeros"])
    assert 100 * found["summary"]["accuracy"] == pytest.approx(final["test_accuracy"])


def path(config, given, start):
    """The library's weights after 0 to STEPS iterations from this start, in the chaotic corner."""
    x, y, _, _ = logistic.binary(datasets.load("digits"))
    x = x - x.mean(0)
    cls, penalty = METHODS[CORNERS["weights", "log"]]
    method = cls(start, penalty(config.eps), config, given["settings"]["lipschitz"])
    states = [method.w]
    for _ in range(STEPS):
        method.step(x.T @ (torch.sigmoid(x @ method.w) - y) / len(x))
        states.append(method.w)
    return torch.stack(states)


@pytest.fixture(scope="module")
def chaotic():
    """Configuration, input for the browser, and the library's path where rounding errors grow."""
    variable, penalty, eps = CHAOTIC
    config = LogisticConfig(dataset="digits", eps=eps)
    given = browser_input(config, variable, penalty)
    return config, given, path(config, given, torch.tensor(given["start"], dtype=torch.float64))


def test_each_step_agrees_where_rounding_errors_grow(javascript, chaotic):
    _, given, states = chaotic
    found = javascript("logistic", SINGLE_STEPS, given | {"states": states[:-1].tolist()})
    torch.testing.assert_close(torch.tensor(found, dtype=torch.float64), states[1:], rtol=1e-9, atol=1e-12)


def test_there_the_browser_agrees_for_as_long_as_the_library_does_with_itself(javascript, chaotic):
    """A start moved by a unit in the last place leads the library elsewhere: no two programs can agree for longer."""
    config, given, states = chaotic
    nudged = path(config, given, torch.nextafter(states[0], torch.full_like(states[0], torch.inf)))
    apart = (nudged - states).abs().amax(1) / states.abs().amax(1)
    assert apart[-1] > 1e-3
    steps = int((apart >= 1e-8).nonzero().min()) - 1
    assert steps >= 25
    found = javascript("logistic", RUN, given | {"steps": steps, "alpha": 0.05})
    np.testing.assert_allclose(found["w"], states[steps], rtol=1e-6, atol=1e-6 * float(states[steps].abs().max()))


# The page.


def expected(config, penalty, alpha, steps):
    """The table of the playground after so many steps: label -> (mask, weights), as the library has it."""
    _, arrays = logistic.run(replace(config, iterations=max(steps + 1, 10)))
    x, y, x_test, y_test = logistic.binary(datasets.load("digits"), config.digits)
    x, x_test = x - x.mean(0), x_test - x.mean(0)
    table = {}
    for variable in ("mask", "weights"):
        name = CORNERS[variable, penalty]
        row = list(METHODS).index(name)
        w = torch.from_numpy(arrays["weights"][row]).double()
        size = torch.from_numpy(arrays["masks"][[*CORNERS.values()].index(name)]) if variable == "mask" else w.abs()
        logits, right = x @ w, [(x_test @ v > 0) == (y_test > 0) for v in (w, torch.where(size >= alpha, w, 0))]
        values = [
            (softplus(logits) - y * logits).mean(), arrays["objective"][row, -1], 100 * (size == 0).double().mean(),
            (size >= alpha).double().mean(), arrays["flips"][row, -1], *[100 * r.double().mean() for r in right],
        ]  # fmt: skip
        for label, value in zip(LABELS, values):
            table.setdefault(label, []).append(float(value))
    return table


LABELS = ("training loss", "… with penalty", "exactly zero", "density, ≥ α", "sign changes, last step",
          "test accuracy", "… of what is ≥ α alone")  # fmt: skip


def seen(page):
    rows = page.locator("table.numbers tbody tr").evaluate_all(
        "rows => rows.map(row => [...row.children].map(cell => cell.textContent))"
    )
    return {label: [float(cell.removesuffix(" %")) for cell in cells] for label, *cells in rows}


def settled(page, steps):
    page.wait_for_function("steps => document.querySelector('.clock')?.textContent === `iteration ${steps}`", arg=steps)
    page.evaluate("() => new Promise(requestAnimationFrame)")


def agrees(page, config, penalty="log", alpha=0.05, steps=60):
    settled(page, steps)
    found, wanted = seen(page), expected(config, penalty, alpha, steps)
    assert list(found) == list(wanted)
    for label, values in wanted.items():
        near = 1e-4 if "loss" in label or "penalty" in label else 6e-4 if "density" in label else 0.06
        assert found[label] == pytest.approx(values, abs=near), label


def quiet(visit):
    assert visit.asked_elsewhere == visit.errors == []


def by_key(page, slider):
    slider.press("ArrowRight")
    slider.press("ArrowRight")


def by_mouse(page, slider):
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    page.mouse.click(box["x"] + 0.85 * box["width"], box["y"] + box["height"] / 2)


@pytest.mark.parametrize("move", [by_key, by_mouse])
def test_every_slider_changes_the_right_numbers(open_widget, move):
    page, visit = open_widget(Playground(EASY), width=900)
    agrees(page, EASY)
    values = {name: getattr(EASY, name, 0.05) for name in SLIDERS.values()}
    for label, name in SLIDERS.items():
        slider = page.get_by_label(label)
        move(page, slider)
        spoken = float(slider.get_attribute("aria-valuetext"))
        assert spoken != values[name]
        values[name] = spoken
        alpha = values["alpha"]
        agrees(page, replace(EASY, **{key: value for key, value in values.items() if key != "alpha"}), alpha=alpha)
    quiet(visit)


@pytest.mark.parametrize("key, end", [("Home", "min"), ("End", "max")])
def test_sliders_go_to_their_ends_and_the_numbers_stay_finite(open_widget, key, end):
    page, visit = open_widget(Playground(EASY), width=900)
    ends = {"λ": (1e-4, 0.1), "ε": (0.01, 10), "α": (0.001, 1), "step of θ": (0.1, 1.9), "step of m": (0.1, 10)}
    for label, values in ends.items():
        page.get_by_label(label).press(key)
        assert float(page.get_by_label(label).get_attribute("aria-valuetext")) == values[end == "max"]
    settled(page, 60)
    assert np.isfinite([*seen(page).values()]).all()
    quiet(visit)


def test_penalty_and_seed(open_widget):
    page, visit = open_widget(Playground(EASY), width=900)
    page.get_by_label("log", exact=True).press("ArrowRight")
    assert page.get_by_label("ℓ1").is_checked()
    agrees(page, EASY, penalty="l1")
    page.get_by_label("log", exact=True).click()
    agrees(page, EASY)
    page.get_by_label("seed").press("ArrowDown")
    agrees(page, replace(EASY, seed=1))
    page.get_by_label("seed").select_option("7")
    agrees(page, replace(EASY, seed=7))
    quiet(visit)


def test_play_pause_step_and_reset(open_widget):
    page, visit = open_widget(Playground(EASY), width=900)
    settled(page, 60)
    play = page.locator("button").first
    page.get_by_role("button", name="Step").click()
    agrees(page, EASY, steps=61)
    page.get_by_role("button", name="Step").press("Enter")
    agrees(page, EASY, steps=62)
    play.press("Space")
    assert play.inner_text() == "Pause"
    page.wait_for_function("() => Number(document.querySelector('.clock').textContent.slice(10)) > 70")
    play.click()
    assert play.inner_text() == "Play"
    steps = int(page.locator(".clock").inner_text().removeprefix("iteration "))
    agrees(page, EASY, steps=steps)
    page.get_by_role("button", name="Restart").click()
    settled(page, 0)
    assert seen(page)["density, ≥ α"][0] == 1 and seen(page)["exactly zero"] == [0, 0]
    quiet(visit)


SENTENCES = """() => {
  globalThis.sentences = [];
  const line = document.querySelector(".status");
  new MutationObserver(() => sentences.push(line.textContent)).observe(line, { childList: true });
}"""


def test_what_is_said_keeps_up_with_a_run_that_plays(open_widget):
    """It said for seconds that nothing is decided, and to press Play; and again after every change of a control."""
    page, visit = open_widget(Playground(EASY, paused=True), width=900)
    page.evaluate(SENTENCES)
    page.locator("button").first.click()
    page.wait_for_function("() => Number(document.querySelector('.clock').textContent.slice(10)) > 70")
    page.get_by_role("slider", name="λ, penalty").press("ArrowLeft")
    page.wait_for_function("() => Number(document.querySelector('.clock').textContent.slice(10)) > 130")
    page.locator("button").first.click()
    said = page.evaluate("sentences")
    assert {"After 30 ", "After 60 ", "After 90 ", "After 120"} <= {each[:9] for each in said}
    assert not any("Press Play" in each for each in said)
    quiet(visit)


def test_words_of_the_page_hold_whatever_was_set_before(open_widget):
    words = '<p><span data-playground="penalty=l1">one</span> and <span data-playground="lam=0.001">another</span></p>'
    page, visit = open_widget(Playground(EASY, paused=True), width=900, words=words)
    page.get_by_role("button", name="one").click()
    agrees(page, EASY, penalty="l1", steps=240)
    page.get_by_role("slider", name="ε of the log").press("End")
    page.locator("button.play").click()
    page.wait_for_function("() => Number(document.querySelector('.clock').textContent.slice(10)) > 250")
    page.get_by_role("button", name="another").click()
    agrees(page, replace(EASY, lam=0.001), steps=240)
    page.locator("button.play").click()
    page.wait_for_function("() => Number(document.querySelector('.clock').textContent.slice(10)) > 250")
    page.get_by_role("button", name="another").click()  # where it changes nothing, too
    agrees(page, replace(EASY, lam=0.001), steps=240)
    quiet(visit)


def test_at_its_end_it_plays_anew(open_widget):
    page, visit = open_widget(Playground(replace(EASY, iterations=3840)), width=900)
    clock = "document.querySelector('.clock').textContent"
    page.wait_for_function(f"() => {clock} === 'iteration 3840'", timeout=60000)
    page.get_by_role("button", name="Play").click()
    page.wait_for_function(f"() => Number({clock}.slice(10)) < 1000")
    page.get_by_role("button", name="Pause").click()
    assert page.locator("button").first.inner_text() == "Play"
    quiet(visit)


ALPHAS = """() => {
  const canvas = document.querySelector("canvas"), cell = canvas.height / 8, context = canvas.getContext("2d");
  return Array.from({ length: 64 }, (_, i) =>
    context.getImageData((i % 8 + 0.5) * cell, (Math.floor(i / 8) + 0.5) * cell, 1, 1).data[3] / 255);
}"""


def test_the_image_and_the_histogram_are_those_of_the_chosen_variable(open_widget):
    page, visit = open_widget(Playground(EASY), width=900)
    settled(page, 60)
    _, arrays = logistic.run(replace(EASY, iterations=61))
    mask, weights = arrays["masks"][1], np.abs(arrays["weights"][1])
    np.testing.assert_allclose(page.evaluate(ALPHAS), mask, atol=0.01)
    counts = f"{(mask == 0).sum()} at 0, {((mask > 0) & (mask < 1)).sum()} between, {(mask == 1).sum()} at 1"
    assert page.get_by_role("img", name=f"Histogram of m: {counts}").count() == 1
    page.get_by_label("mask", exact=True).press("ArrowRight")
    settled(page, 60)
    np.testing.assert_allclose(page.evaluate(ALPHAS), weights / weights.max(), atol=0.01)
    assert page.get_by_role("img", name="Histogram of |w|: 0 at 0").count() == 1
    quiet(visit)


LANES = "() => [...document.querySelectorAll('canvas')].slice(2).map((canvas) => canvas.toDataURL())"


def test_paths_grow_with_every_step_and_follow_the_theme(open_widget):
    page, visit = open_widget(Playground(EASY), width=900)
    settled(page, 60)
    before = page.evaluate(LANES)
    page.get_by_role("button", name="Step").click()
    settled(page, 61)
    after = page.evaluate(LANES)
    assert len(before) == 2 and all(old != new for old, new in zip(before, after))
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    page.evaluate("() => new Promise(requestAnimationFrame)")
    assert all(old != new for old, new in zip(after, page.evaluate(LANES)))
    quiet(visit)


def test_the_first_view_makes_its_point(open_widget):
    page, visit = open_widget(Playground(), width=900)
    said = page.get_by_role("status").get_by_text(re.compile("After 240 iterations"))
    said.wait_for()
    counts = re.search(r"(\d+) are exactly 0, (\d+) exactly 1 and (\d+) in between", said.inner_text())
    zeros, ones, between = map(int, counts.groups())
    assert zeros > 32 and between < ones  # most are exactly zero, and of the others most exactly one
    assert re.search(r"between; 0 weights changed sign .* subgradient, 0 weights are exactly 0", said.inner_text())
    assert seen(page)["sign changes, last step"][1] > 10
    quiet(visit)


@pytest.mark.parametrize("small", [False, True])
def test_paused_it_starts_at_nothing_and_runs_on_one_click(open_widget, small):
    page, visit = open_widget(Playground(paused=True, small=small), width=420 if small else 900)
    settled(page, 0)
    page.get_by_role("status").get_by_text("Press Play").wait_for()
    visible = page.locator("button:visible, input:visible, select:visible").count()
    assert visible == 2 if small else visible > 6  # the small one: Play, and λ
    page.get_by_role("button", name="Play").click()
    page.wait_for_function("() => Number(document.querySelector('.clock').textContent.slice(10)) > 30")
    page.get_by_role("button", name="Pause").click()
    page.get_by_role("status").get_by_text("Press Play").wait_for(state="detached")
    quiet(visit)


PLAY_AND_LOOK = """async () => {
  document.querySelector("button").click();
  await new Promise((resolve) => setTimeout(resolve, 400));
  return document.querySelector(".clock").textContent;
}"""


def test_readers_who_want_little_motion_get_it(open_widget):
    page, visit = open_widget(Playground(EASY), width=900, reduced_motion="reduce")
    settled(page, 60)
    assert page.evaluate(PLAY_AND_LOOK) == "iteration 60"  # the first leap comes after half a second
    page.wait_for_function("() => document.querySelector('.clock').textContent !== 'iteration 60'")
    page.locator("button").first.click()
    page.wait_for_function("() => Number(document.querySelector('.clock').textContent.slice(10)) % 30 === 0")
    agrees(page, EASY, steps=int(page.locator(".clock").inner_text().removeprefix("iteration ")))
    quiet(visit)


def test_on_a_small_touch_screen(open_widget):
    page, visit = open_widget(Playground(EASY), width=360, has_touch=True)
    settled(page, 60)
    page.get_by_role("button", name="Step").tap()
    settled(page, 61)
    page.get_by_label("weights", exact=True).tap()
    assert page.get_by_role("img", name="Histogram of |w|").count() == 1
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    quiet(visit)


def test_other_data_when_run_live(open_widget):
    config = replace(EASY, digits=(0, 1))
    page, visit = open_widget(Playground(config), width=900)
    agrees(page, config)
    quiet(visit)
