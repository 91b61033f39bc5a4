"""claims.py: what is drawn is what the tables say, a row or a panel for each network."""

import numpy as np
import pandas as pd
import pytest
from runs import line, runs

from lottery_lib.errors import LotteryError
from lottery_lib.figures import claims as claim_figures
from lottery_lib.figures import lines
from lottery_lib.findings import comparisons, tables

RESNET = {"model": "resnet20", "dataset": "cifar10", "protocol": "cifar-short", "reduced": True}


def points(line_) -> list[list[float]]:
    return np.round(line_.get_xydata(), 9).tolist()


def test_differences_draw_each_contrast_in_its_place():
    table = runs(
        *line("mask, log", [98.0, 98.5]),
        *line("IMP", [97.0, 97.1]),
        *line("mask, log", [95.0], 0.1),
        *line("IMP", [96.0], 0.1),
        *line("mask, log", [80.0], **RESNET),
        *line("IMP", [70.0], **RESNET),
    )
    cells = comparisons.compare(tables.chosen(table), {"one": ("mask, log", "IMP"), "two": ("IMP", "mask, log")})
    resnet, lenet = claim_figures.differences(cells, "mask", "IMP").axes
    assert resnet.get_title().startswith("ResNet-20") and lenet.get_title() == "LeNet-300-100 on MNIST (lenet)"
    one, two = (container.lines[0] for container in lenet.containers)
    assert points(one) == [[0.1, -1.0], [0.05, 1.2]] and [y for _, y in points(two)] == [1.0, -1.2]
    assert points(resnet.containers[0].lines[0]) == [[0.05, 10.0]]
    filled = [drawn for drawn in lenet.lines if drawn.get_marker() == "o" and drawn.get_ls() == "None"]
    assert points(filled[0]) == [[0.05, 1.2]]  # a single seed stays hollow
    assert one.get_color() == resnet.containers[0].lines[0].get_color() != two.get_color()


def test_alpha_sensitivity_averages_over_seeds():
    swept = runs(
        {"alpha": 0.1, "density": 0.02, "test_accuracy": 97.0},
        {"alpha": 0.1, "density": 0.04, "test_accuracy": 98.0, "seed": 1},
        {"alpha": 0.01, "density": 0.1, "test_accuracy": 98.5},
    ).assign(changed=[0.7, np.nan, 0.0])
    drawn = [points(ax.containers[0].lines[0]) for ax in claim_figures.alpha_sensitivity(swept).axes]
    assert drawn == [[[0.01, 0.1], [0.1, 0.03]], [[0.01, 0.0], [0.1, 0.7]], [[0.01, 98.5], [0.1, 97.5]]]


def test_alpha_at_equal_density_draws_a_line_a_density():
    table = runs(
        {"density_asked": 0.1, "test_accuracy": 98.0},
        {"density_asked": 0.1, "test_accuracy": 97.0},
        {"density_asked": 0.05, "test_accuracy": 96.0},
        {"density_asked": 0.05},
        {"density_asked": 0.2},
        {"seed": 1},
    ).assign(implied=[0.5, 0.0, 0.3, np.nan, 0.3, 0.3])
    figure = claim_figures.alpha_at_equal_density(table)
    drawn = [points(drawn) for drawn in figure.axes[0].lines if drawn.get_marker() == "o"]
    assert drawn == [[[0.0, 97.0], [0.5, 98.0]], [[0.3, 96.0]]]
    assert [text.get_text() for text in figure.legends[0].texts] == ["0.1", "0.05"]


def test_modes_by_layer_draw_a_line_a_search():
    place = dict.fromkeys(tables.PLACE) | {"protocol": "lenet", "model": "m", "dataset": "mnist", "reduced": False}
    rows = [
        ("a", "mask, log", 0, "x", 0.1, 2.0),
        ("a", "mask, log", 1, "y", 0.2, 4.0),
        ("b", "mask, ℓ1", 0, "x", 0.3, 0.5),
    ]
    layers = pd.DataFrame(rows, columns=["run", "name", "number", "layer", "between", "second"]).assign(**place)
    figure = claim_figures.modes_by_layer(layers)
    between, second = ([points(drawn) for drawn in ax.lines] for ax in figure.axes)
    assert between == [[[0, 0.1], [1, 0.2]], [[0, 0.3]]] and second == [[[0, 2.0], [1, 4.0]], [[0, 0.5]]]
    assert [drawn.get_color() for drawn in figure.axes[0].lines] == [
        lines.look(n)["color"] for n in ("mask, log", "mask, ℓ1")
    ]
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["x", "y"]


@pytest.mark.parametrize("draw", ["alpha_sensitivity", "modes_by_layer"])
def test_nothing_on_record_is_one_sentence(draw):
    with pytest.raises(LotteryError, match="no run on record has what this figure shows"):
        getattr(claim_figures, draw)(runs().assign(changed=0.0))
