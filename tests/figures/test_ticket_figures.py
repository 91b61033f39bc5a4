"""tickets.py: what is drawn is what the table and the records say."""

import math

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text

from lottery_lib.errors import LotteryError
from lottery_lib.figures import tickets as ticket_figures
from lottery_lib.figures.lines import LOOKS, look

FOUND = pd.DataFrame(
    [
        ("dense", 1.0, 98.2, 0.1, 5, 10.0),
        ("mask, log", 0.05, 98.1, 0.1, 5, 20.0),
        ("mask, log", 0.01, 97.7, float("nan"), 1, 20.0),
        ("IMP", 0.05, 98.0, 0.2, 5, 140.0),
        ("concave, mcp", 0.01, 97.0, 0.2, 5, 20.0),
    ],
    columns=["name", "density_asked", "mean", "half_width", "n", "total_epochs"],
).assign(density=lambda table: table.density_asked, protocol="lenet", model="lenet-300-100", dataset="mnist")
FOUND["reduced"] = False
TWO = pd.concat([FOUND, FOUND.assign(mean=lambda table: table["mean"] - 20, model="resnet20")])


def drawn(ax) -> dict[str, list]:
    return {each.get_label(): np.round(each.lines[0].get_xydata(), 9).tolist() for each in ax.containers}


def names(ax) -> set[str]:
    """What stands at the ends of lines, with the breaks taken out."""
    return {text.get_text().replace("\n", " ") for text in ax.texts}


def test_accuracy_against_density_draws_a_line_a_method_named_at_its_end():
    (ax,) = ticket_figures.accuracy_against_density(FOUND[FOUND.name.isin(["dense", "mask, log", "IMP"])]).axes
    assert drawn(ax) == {"mask, log": [[0.05, 1.9], [0.01, 2.3]], "IMP": [[0.05, 2.0]]}  # errors
    assert names(ax) == {"dense", "mask, log", "IMP"}
    assert [100 - y for y in ax.get_yticks()] == pytest.approx(
        [float(text.get_text()) for text in ax.get_yticklabels()]
    )


def test_no_panel_has_more_than_four_lines_and_none_is_left_out():
    known = ["mask, log, calibrated", "IMP", "gradual magnitude", "random", "SNIP", "GraSP"]
    rows = pd.concat([FOUND[1:2].assign(name=name, mean=90.0 + k) for k, name in enumerate(known)])
    large, *small = [
        ax for ax in ticket_figures.accuracy_against_density(pd.concat([FOUND[:1], rows])).axes if ax.axison
    ]
    assert list(drawn(large)) == known[:4]
    assert [ax.get_title() for ax in small] == known[4:]
    assert [ax.containers[0].lines[0].get_ydata()[0] for ax in small] == [6, 5]
    assert all(ax.lines[0].get_ydata().tolist() == [10] for ax in small)  # the first, in grey


def test_a_place_without_tickets_has_no_panel():
    linear = FOUND[FOUND.name == "dense"].assign(protocol="linear-cifar10", model="logistic", dataset="cifar10")
    with_it = ticket_figures.accuracy_against_density(pd.concat([FOUND, linear]))
    assert len(with_it.axes) == len(ticket_figures.accuracy_against_density(FOUND).axes)


def test_nothing_is_cut_off():
    far = FOUND[2:3].assign(name="random", mean=20.0)
    for ax in ticket_figures.accuracy_against_density(pd.concat([FOUND, far, TWO[len(FOUND) :]])).axes:
        low, high = sorted(ax.get_ylim())
        assert all(low < y < high for line in ax.containers for y in line.lines[0].get_ydata())


@pytest.mark.filterwarnings("error")
def test_an_interval_beyond_100_percent_ends_below_it():
    (ax,) = ticket_figures.accuracy_against_density(FOUND[:3].assign(half_width=3.0)).axes
    low, high = sorted(ax.get_ylim())  # in errors: just beyond the ends of two intervals
    assert 0.8 * 0.1 * 1.8 < low < 0.1 * 1.8 and 1.9 + 0.9 * 1.9 < high < 1.2 * (1.9 + 0.9 * 1.9)


def test_a_narrow_range_fills_its_axis():
    small = FOUND[:3].assign(half_width=0.0, mean=[30.0, 29.0, 25.0])
    (ax,) = ticket_figures.accuracy_against_density(small).axes
    low, high = (math.log(error) for error in sorted(ax.get_ylim()))
    assert math.log(75 / 70) > 0.7 * (high - low)


def test_a_narrow_axis_has_round_numbers():
    narrow = pd.concat([FOUND[:1].assign(mean=86.6), FOUND[1:3].assign(mean=[87.4, 73.3], half_width=0.0)])
    (ax,) = ticket_figures.accuracy_against_density(narrow).axes
    assert [label.get_text() for label in ax.get_yticklabels()] == ["85", "80", "75"]


def test_names_at_the_ends_do_not_meet():
    same = pd.concat([FOUND[1:2].assign(name=name) for name in ("mask, log", "IMP", "random", "one-shot magnitude")])
    (ax,) = ticket_figures.accuracy_against_density(same).axes
    heights = sorted(text.xyann[1] for text in ax.texts)
    assert len(heights) == 4 and np.diff(heights).min() * ax.bbox.height / ax.figure.dpi > 0.15  # inches


def test_of_costs_too_near_to_each_other_the_most_are_named():
    near = FOUND.assign(total_epochs=[10.0, 20.0, 20.0, 46.0, 50.0], density_asked=0.05, density=0.05)
    (ax,) = ticket_figures.accuracy_against_epochs(near, (0.05,)).axes
    assert [label.get_text() for label in ax.get_xticklabels()] == ["5", "2"]


def test_forms_of_a_method_share_its_colour():
    plain, rounds = look("mask, log"), look("mask, log, in rounds")
    assert plain["color"] == rounds["color"] and plain["marker"] != rounds["marker"] and plain["ls"] != rounds["ls"]
    assert look("mask, log: shuffled") != rounds != look("mask, log, early rewinding")
    assert look("IMP, LR rewinding")["marker"] == "s"  # a method, not a form


def test_nothing_to_draw_is_one_sentence():
    for draw in (ticket_figures.accuracy_against_density, ticket_figures.accuracy_against_epochs):
        with pytest.raises(LotteryError, match="no run on record has what this figure shows"):
            draw(FOUND[:0])


def test_cost_and_worth_are_relative_to_the_dense_network_of_the_place():
    left, right = ticket_figures.accuracy_against_epochs(FOUND, (0.05, 0.01)).axes
    assert drawn(left) == {"mask, log": [[2.0, -0.1]], "IMP": [[14.0, -0.2]]}
    assert drawn(right) == {"mask, log": [[2.0, -0.5]], "concave, mcp": [[2.0, -1.2]]}
    assert names(left) == {"mask, log", "IMP"}
    assert names(right) == {"mask, log", "concave, mcp"}  # the first is of one seed, and so nobody's rival
    faces = {each.get_label(): each.lines[0].get_markerfacecolor() for each in right.containers}
    assert faces["mask, log"] == "white" != faces["concave, mcp"]
    with pytest.raises(LotteryError, match="no run on record"):
        ticket_figures.accuracy_against_epochs(FOUND[1:])


def test_the_front_is_what_nothing_beats_for_as_little():
    rows = pd.DataFrame({"cost": [2.0, 1.0, 2.0, 3.0, 4.0], "gain": [1.0, -1.0, 0.5, 1.0, 2.0], "n": 3})
    assert ticket_figures.front(rows).index.tolist() == [1, 0, 4]
    assert ticket_figures.front(rows.assign(n=[3, 2, 3, 3, 3])).index.tolist() == [0, 4]


def test_a_ticket_that_missed_its_density_has_no_place_among_those_that_did_not():
    missed = FOUND[1:2].assign(name="SNIP", mean=98.3, density=0.052)
    (ax,) = ticket_figures.accuracy_against_epochs(pd.concat([FOUND, missed]), (0.05,)).axes
    assert "SNIP" not in drawn(ax)


def test_what_lies_too_low_for_a_panel_is_said_at_its_foot():
    far = FOUND[1:2].assign(name="random", mean=60.0)
    (ax,) = ticket_figures.accuracy_against_epochs(pd.concat([FOUND, far]), (0.05,)).axes
    assert "random" not in drawn(ax) and "↓ random: −38.2" in names(ax)


def test_nothing_lies_beneath_what_is_said_at_the_foot():
    low = [FOUND[1:2].assign(name=f"one-shot {k}", mean=60.0 - k) for k in range(5)]
    (ax,) = ticket_figures.accuracy_against_epochs(pd.concat([FOUND, *low]), (0.05,)).axes
    ax.figure.draw_without_rendering()
    said = [text for text in ax.texts if text.get_text().startswith("↓")]
    assert [text.get_text() for text in said][:1] == ["↓ one-shot 4: −42.2"]  # a hyphen is no minus
    lowest = ax.transData.transform((1, min(each.lines[0].get_ydata().min() for each in ax.containers)))[1]
    assert max(text.get_window_extent().y1 for text in said) <= lowest


def test_of_many_names_a_panel_has_the_width_of_the_column():
    front = pd.concat(
        FOUND[1:2].assign(name=f"mask, log, calibrated, {k} epochs of search", total_epochs=10.0 + k, mean=97 + k / 10)
        for k in range(1, 9)
    )
    figure = ticket_figures.accuracy_against_epochs(pd.concat([FOUND, front]), (0.05, 0.01))
    figure.draw_without_rendering()
    upper, lower = figure.axes
    assert upper.bbox.x0 == pytest.approx(lower.bbox.x0, abs=2) and len(names(upper)) > ticket_figures.CROWD
    title = upper.title.get_window_extent()
    assert not any(title.overlaps(Text.get_window_extent(text)) for text in upper.texts)


def test_accuracy_against_epochs_at_the_lowest_density_of_each_network():
    fewer = FOUND[FOUND.density_asked >= 0.05].assign(model="resnet20", dataset="cifar10")
    figure = ticket_figures.accuracy_against_epochs(pd.concat([FOUND, fewer]), (0.05, None))
    titles = [ax.get_title().replace("\n", " ") for ax in figure.axes if ax.axison]
    assert [title[:6] + title[-13:] for title in titles] == [
        "LeNet- density 0.05",
        "LeNet- density 0.01",
        "ResNet density 0.05",
    ]


def test_the_heat_map_frames_the_best_and_brackets_what_is_not_the_papers():
    found = pd.DataFrame(
        [(0.1, 10.0, 1e-4, 97.0, False, 1.0), (0.1, 10.0, 2e-4, 98.0, True, 0.0), (0.05, 30.0, 1e-4, 90.0, False, 0.0)],
        columns=["density_asked", "mask_lr", "lam", "accuracy", "soft", "behind"],
    )
    ten, thirty = ticket_figures.accuracy_by_lambda(found).axes[:2]
    assert [text.get_text() for text in ten.texts] == ["97.0", "(98.0)"]
    assert [frame.get_xy() for frame in ten.patches] == [(-0.5, 0.5)]
    assert [frame.get_xy() for frame in thirty.patches] == [(0.5, -0.5)]
    with pytest.raises(LotteryError, match="no run on record"):
        ticket_figures.accuracy_by_lambda(found[:0])


@pytest.mark.parametrize("name", LOOKS)
def test_lines_can_be_told_apart(name):
    assert list(LOOKS.values()).count(LOOKS[name]) == 1
