"""tickets.py: what is drawn is what the table and the records say."""

import numpy as np
import pandas as pd
import pytest

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


def test_accuracy_against_density_draws_a_line_a_method():
    figure = ticket_figures.accuracy_against_density(FOUND)
    lines = {c.get_label(): c.lines[0].get_xydata().tolist() for c in figure.axes[0].containers}
    assert lines == {
        "mask, log": [[0.05, 98.1], [0.01, 97.7]],
        "IMP": [[0.05, 98.0]],
        "concave, mcp": [[0.01, 97.0]],
    }
    assert list(figure.axes[0].lines[-1].get_ydata()) == [98.2, 98.2]
    assert {text.get_text() for text in figure.legends[0].texts} == {"dense", *lines}


def test_every_network_has_its_panel_and_one_of_the_top_where_lines_fall_far():
    far = FOUND[2:3].assign(name="random", mean=60.0)
    figure = ticket_figures.accuracy_against_density(pd.concat([FOUND, far, TWO[len(FOUND) :]]))
    shown = [ax for ax in figure.axes if ax.axison]
    lenet = "LeNet-300-100 on MNIST\n(lenet)"
    assert [ax.get_title() for ax in shown] == [lenet, f"{lenet}: the top", "ResNet-20 on MNIST\n(lenet)"]
    assert [ax.containers[0].lines[0].get_ydata()[0] for ax in shown] == [98.1, 98.1, 78.1]
    (low, _), (cut, high), _ = (ax.get_ylim() for ax in shown)
    assert low < cut < 98.1 < high
    low, high = shown[2].get_ylim()
    assert all(low < y < high for line in shown[2].containers for y in line.lines[0].get_ydata())
    figure = ticket_figures.accuracy_against_epochs(TWO, (0.05,))
    assert [ax.containers[0].lines[0].get_ydata()[0] for ax in figure.axes] == [98.1, 78.1]


def test_of_epochs_too_near_to_each_other_the_most_are_named():
    near = FOUND.assign(total_epochs=[10.0, 20.0, 20.0, 46.0, 50.0], density_asked=0.05)
    (ax,) = ticket_figures.accuracy_against_epochs(near, (0.05,)).axes
    assert [label.get_text() for label in ax.get_xticklabels()] == ["50", "20", "10"]


def test_forms_of_a_method_share_its_colour():
    plain, rounds = look("mask, log"), look("mask, log, in rounds")
    assert plain["color"] == rounds["color"] and plain["marker"] != rounds["marker"] and plain["ls"] != rounds["ls"]
    assert look("mask, log: shuffled") != rounds != look("mask, log, early rewinding")
    assert look("IMP, LR rewinding")["marker"] == "s"  # a method, not a form


def test_nothing_to_draw_is_one_sentence():
    for draw in (ticket_figures.accuracy_against_density, ticket_figures.accuracy_against_epochs):
        with pytest.raises(LotteryError, match="no run on record has what this figure shows"):
            draw(FOUND[:0])
    with pytest.raises(LotteryError, match="no run on record has what this figure shows"):
        ticket_figures.mask_histograms({})


def test_accuracy_against_epochs_draws_a_point_a_method():
    figure = ticket_figures.accuracy_against_epochs(FOUND, (0.05, 0.01))
    left, right = ({c.get_label(): c.lines[0].get_xydata()[0].tolist() for c in ax.containers} for ax in figure.axes)
    assert left == {"mask, log": [20.0, 98.1], "IMP": [140.0, 98.0]}
    assert right == {"mask, log": [20.0, 97.7], "concave, mcp": [20.0, 97.0]}
    assert {text.get_text() for text in figure.legends[0].texts} == left.keys() | right.keys()


def test_accuracy_against_epochs_at_the_lowest_density_of_each_network():
    fewer = FOUND[FOUND.density_asked >= 0.05].assign(model="resnet20", dataset="cifar10")
    figure = ticket_figures.accuracy_against_epochs(pd.concat([FOUND, fewer]), (0.05, None))
    drawn = {ax.get_title().replace("\n", " "): len(ax.containers) for ax in figure.axes if ax.axison}
    assert [title[:6] + title[-9:] for title in drawn] == ["LeNet- 5 % kept", "LeNet- 1 % kept", "ResNet 5 % kept"]
    assert all(drawn.values())


def test_mask_histograms_show_all_entries():
    counts = np.array([[5, 0, 2, 3], [1, 1, 0, 9]])
    record = {"layers": [{"layer": "a.weight"}, {"layer": "b.weight"}]}
    figure = ticket_figures.mask_histograms({"LeNet": {"mask, log": (record, {"histogram": counts})}})
    for ax, expected in zip(figure.axes, counts, strict=True):
        (bars,), (low, high) = ax.patches[:1], ax.containers[0]
        assert [low.get_height(), *bars.get_data().values, high.get_height()] == expected.tolist()
    assert [ax.get_ylabel() for ax in figure.axes] == ["a", "b"]
    assert figure.axes[0].texts[0].get_text() == "20.0 % between"  # of ten entries, the two in the upper of two bins


def test_of_many_layers_some_are_drawn():
    record = {"layers": [{"layer": f"{number}.weight"} for number in range(20)]}
    runs = {"mask, log": (record, {"histogram": np.arange(20 * 102).reshape(20, 102)})}
    figure = ticket_figures.mask_histograms({"one": runs, "two": runs})
    assert [ax.get_ylabel() for ax in figure.axes] == ["0", "10", "19"] * 2
    assert figure.axes[1].patches[0].get_data().values[0] == 10 * 102 + 1


def test_ridges_are_as_high_as_the_logarithm_of_their_counts():
    counts = np.array([[99, 0, 9, 3], [9, 1, 0, 99]])
    record = {"layers": [{"layer": "a.weight"}, {"layer": "b.weight"}]}
    runs = {name: (record, {"histogram": counts}) for name in ("mask, log", "mask, ℓ1")}
    figure = ticket_figures.mask_ridges({"LeNet": runs})
    assert [ax.get_title() for ax in figure.axes] == ["a", "b"]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["mask, log", "mask, ℓ1"]
    for ax, layer in zip(figure.axes, counts):
        for base, ends in zip((1, 0), ax.containers):  # the first on top
            assert [bar.get_y() for bar in ends] == [base] * 2
            heights = 0.85 * np.log1p(layer[[0, -1]]) / np.log1p(layer.max())
            np.testing.assert_allclose([bar.get_height() for bar in ends], heights)
    with pytest.raises(LotteryError):
        ticket_figures.mask_ridges({})


def test_kept_pixels_counts_over_units():
    mask = np.zeros((3, 4), dtype=bool)
    mask[:, 1] = mask[0, 2] = True
    (image,) = ticket_figures.kept_pixels({"IMP": mask}).axes[0].images
    assert image.get_array().tolist() == [[0, 3], [1, 0]]


@pytest.mark.parametrize("name", LOOKS)
def test_lines_can_be_told_apart(name):
    assert list(LOOKS.values()).count(LOOKS[name]) == 1
