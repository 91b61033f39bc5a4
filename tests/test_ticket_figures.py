"""ticket_figures.py: what is drawn is what the table and the records say."""

import numpy as np
import pandas as pd
import pytest

from lottery_lib import ticket_figures

FOUND = pd.DataFrame(
    [
        ("dense", 1.0, 98.2, 0.1, 5, 10.0),
        ("mask, log", 0.05, 98.1, 0.1, 5, 20.0),
        ("mask, log", 0.01, 97.7, float("nan"), 1, 20.0),
        ("IMP", 0.05, 98.0, 0.2, 5, 140.0),
        ("concave, mcp", 0.01, 97.0, 0.2, 5, 20.0),
    ],
    columns=["name", "density_asked", "mean", "half_width", "n", "total_epochs"],
).assign(density=lambda table: table.density_asked, protocol="lenet")


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


def test_accuracy_against_epochs_draws_a_point_a_method():
    figure = ticket_figures.accuracy_against_epochs(FOUND, (0.05, 0.01))
    left, right = ({c.get_label(): c.lines[0].get_xydata()[0].tolist() for c in ax.containers} for ax in figure.axes)
    assert left == {"mask, log": [20.0, 98.1], "IMP": [140.0, 98.0]}
    assert right == {"mask, log": [20.0, 97.7], "concave, mcp": [20.0, 97.0]}
    assert {text.get_text() for text in figure.legends[0].texts} == left.keys() | right.keys()


def test_mask_histograms_show_all_entries():
    counts = np.array([[5, 0, 2, 3], [1, 1, 0, 9]])
    record = {"layers": [{"layer": "a.weight"}, {"layer": "b.weight"}]}
    figure = ticket_figures.mask_histograms({"mask, log": (record, {"histogram": counts})})
    for ax, expected in zip(figure.axes, counts, strict=True):
        bars, ends = ax.containers
        assert [bar.get_height() for bar in (ends[0], *bars, ends[1])] == expected.tolist()
    assert [ax.get_ylabel() for ax in figure.axes] == ["a", "b"]


def test_kept_pixels_counts_over_units():
    mask = np.zeros((3, 4), dtype=bool)
    mask[:, 1] = mask[0, 2] = True
    (image,) = ticket_figures.kept_pixels({"IMP": mask}).axes[0].images
    assert image.get_array().tolist() == [[0, 3], [1, 0]]


def test_alpha_sweep_averages_over_seeds_and_leaves_other_runs_out():
    table = pd.DataFrame(
        {"alpha": [0.1, 0.1, 0.01, None], "density": [0.02, 0.04, 0.1, 0.5], "test_accuracy": [97.0, 98.0, 98.5, 1.0]}
    )
    density, accuracy = ticket_figures.alpha_sweep(table).axes
    np.testing.assert_allclose(density.lines[0].get_xydata(), [[0.01, 0.1], [0.1, 0.03]])
    np.testing.assert_allclose(accuracy.lines[0].get_xydata(), [[0.1, 98.5], [0.03, 97.5]])
    assert [text.get_text() for text in accuracy.texts] == ["α = 0.01", "α = 0.1"]


@pytest.mark.parametrize("name", ticket_figures.LINES)
def test_lines_can_be_told_apart(name):
    assert list(ticket_figures.LINES.values()).count(ticket_figures.LINES[name]) == 1
