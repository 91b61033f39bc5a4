"""The film of a search: every frame is what was seen, by slider and by its button."""

import pytest

pytest.importorskip("anywidget")
from lottery_lib.findings import calibrated
from lottery_lib.widgets import SearchPlayer


@pytest.fixture(scope="module")
def watched():
    return calibrated.watch(0.1)


def test_each_frame_by_key(open_widget, watched):
    player = SearchPlayer(watched)
    page, visit = open_widget(player)
    time = page.get_by_role("slider", name="time")
    for key, frame in (("Home", player.frames[0]), ("ArrowRight", player.frames[1]), ("End", player.frames[-1])):
        time.press(key)
        counts = frame["counts"]
        histogram = page.get_by_role("img", name="entries of the mask")
        assert histogram.locator("rect").count() == sum(count > 0 for count in counts)
        assert f"{counts[0]} exactly 0, {counts[-1]} exactly 1" in histogram.get_attribute("aria-label")
        said = page.get_by_role("img", name="share of entries with m ≥ α").get_attribute("aria-label")
        done = float("{:.3g}".format(100 * frame["done"]))
        assert f"after {done:g} % of the search" in said and "asked for was 0.1" in said
    last = player.epochs[-1]
    for name, value in (("training loss", last["loss"]), ("validation accuracy, %", last["val_accuracy"])):
        told = page.get_by_role("img", name=name).get_attribute("aria-label").rpartition(" ")[2]
        assert float(told) == float(f"{value:.3g}")
    page.wait_for_function("() => document.querySelector('[role=status]').textContent.startsWith('After 100 %')")
    assert visit.errors == visit.asked_elsewhere == visit.too_wide == []


def test_it_plays_to_its_end_and_can_be_stopped(open_widget, watched):
    page, _ = open_widget(SearchPlayer(watched))
    time, last = page.get_by_role("slider", name="time"), str(len(SearchPlayer(watched).frames) - 1)
    page.get_by_role("button", name="Play").click()
    page.wait_for_function("() => document.querySelector('input[name=frame]').value > 2")
    page.get_by_role("button", name="Pause").click()
    at = time.input_value()
    page.wait_for_timeout(300)
    assert time.input_value() == at != last and page.get_by_role("button", name="Play").count() == 1
    page.get_by_role("button", name="Play").click()
    page.wait_for_function(f"() => document.querySelector('input[name=frame]').value === '{last}'")


def test_who_takes_the_slider_has_it_and_is_told_what_is_there(open_widget, watched):
    """It played on under the pointer, beside a sentence about another moment."""
    player = SearchPlayer(watched)
    page, _ = open_widget(player)
    page.get_by_role("button", name="Play").click()
    page.wait_for_function("() => document.querySelector('input[name=frame]').value > 4")
    said = page.locator(".status").inner_text()
    assert not said.startswith("After 0 %")
    box = page.get_by_role("slider", name="time").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    at = page.get_by_role("slider", name="time").input_value()
    page.wait_for_timeout(400)
    assert page.get_by_role("slider", name="time").input_value() == at
    done = float("{:.3g}".format(100 * player.frames[int(at)]["done"]))
    said = f"After {done:g} % of the search"
    assert page.locator(".status").inner_text().startswith(said)
    page.wait_for_function("said => document.querySelector('[role=status]').textContent.startsWith(said)", arg=said)


def test_a_reader_who_wants_no_motion_sees_the_end(open_widget, watched):
    page, _ = open_widget(SearchPlayer(watched), reduced_motion="reduce")
    page.get_by_role("button", name="Play").click()
    assert page.get_by_role("slider", name="time").input_value() == str(len(SearchPlayer(watched).frames) - 1)
