"""lines.py: names at the ends of lines can be read."""

import itertools

import numpy as np
import pytest
from matplotlib.figure import Figure

from lottery_lib.figures.lines import label_ends


def named(ends):
    """Where each name is tied to its point, and where it stands, in shares of the axes."""
    ax = Figure((6, 3)).subplots()
    ax.set(xlim=(0, 1), ylim=(0, 1))
    label_ends(ax, {called: (*point, "black") for called, point in ends.items()})
    return {text.get_text(): (text.xy, text.get_position()) for text in ax.texts}


def crosses(first, second):
    ((x1, y1), (end, end1)), ((x2, y2), (_, end2)) = first, second
    heights = [(np.interp(x, (x1, end), (y1, end1)), np.interp(x, (x2, end), (y2, end2))) for x in (max(x1, x2), end)]
    return (heights[0][0] - heights[0][1]) * (heights[1][0] - heights[1][1]) < 0


def test_names_stand_at_their_points_where_there_is_room():
    found = named({"low": (1, 0.2), "high": (0.5, 0.7)})
    assert found["low"] == (pytest.approx((1, 0.2)), pytest.approx((1.03, 0.2)))
    assert found["high"][1] == pytest.approx((1.03, 0.7))


@pytest.mark.parametrize("seed", range(5))
def test_in_a_crowd_names_keep_apart_and_no_two_lines_cross(seed):
    points = np.random.default_rng(seed).uniform((0, 0.8), (1, 1), (8, 2))
    found = named({str(number): tuple(point) for number, point in enumerate(points)})
    heights = sorted(place[1] for _, place in found.values())
    assert min(np.diff(heights)) > 0.05
    assert not any(crosses(*pair) for pair in itertools.combinations(found.values(), 2))
