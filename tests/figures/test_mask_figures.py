"""masks.py: what is drawn of masks is what the records hold."""

import numpy as np
import pytest

from lottery_lib.errors import LotteryError
from lottery_lib.figures import masks as mask_figures


def test_mask_histograms_show_all_entries():
    counts = np.array([[5, 0, 2, 3], [1, 1, 0, 9]])
    record = {"layers": [{"layer": "a.weight"}, {"layer": "b.weight"}]}
    figure = mask_figures.mask_histograms({"LeNet": {"mask, log": (record, {"histogram": counts})}})
    for ax, expected in zip(figure.axes, counts, strict=True):
        (bars,), (low, high) = ax.patches[:1], ax.containers[0]
        assert [low.get_height(), *bars.get_data().values, high.get_height()] == expected.tolist()
    assert [ax.get_ylabel() for ax in figure.axes] == ["a", "b"]
    assert figure.axes[0].texts[0].get_text() == "20.0 % between"  # of ten entries, the two in the upper of two bins


def test_of_many_layers_some_are_drawn():
    record = {"layers": [{"layer": f"{number}.weight"} for number in range(20)]}
    runs = {"mask, log": (record, {"histogram": np.arange(20 * 102).reshape(20, 102)})}
    figure = mask_figures.mask_histograms({"one": runs, "two": runs})
    assert [ax.get_ylabel() for ax in figure.axes] == ["0", "10", "19"] * 2
    assert figure.axes[1].patches[0].get_data().values[0] == 10 * 102 + 1


def test_ridges_are_as_high_as_the_logarithm_of_their_counts():
    counts = np.array([[99, 0, 9, 3], [9, 1, 0, 99]])
    record = {"layers": [{"layer": "a.weight"}, {"layer": "b.weight"}]}
    runs = {name: (record, {"histogram": counts}) for name in ("mask, log", "mask, ℓ1")}
    figure = mask_figures.mask_ridges({"LeNet": runs})
    assert [ax.get_title() for ax in figure.axes] == ["a", "b"]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["mask, log", "mask, ℓ1"]
    for ax, layer in zip(figure.axes, counts):
        for base, ends in zip((1, 0), ax.containers):  # the first on top
            assert [bar.get_y() for bar in ends] == [base] * 2
            heights = 0.85 * np.log1p(layer[[0, -1]]) / np.log1p(layer.max())
            np.testing.assert_allclose([bar.get_height() for bar in ends], heights)


def test_kept_pixels_counts_over_units():
    mask = np.zeros((3, 4), dtype=bool)
    mask[:, 1] = mask[0, 2] = True
    (image,) = mask_figures.kept_pixels({"IMP": mask}).axes[0].images
    assert image.get_array().tolist() == [[0, 3], [1, 0]]


def test_nothing_to_draw_is_one_sentence():
    for draw in (mask_figures.mask_histograms, mask_figures.mask_ridges):
        with pytest.raises(LotteryError, match="no run on record has what this figure shows"):
            draw({})
