"""experiment.py: what is drawn of a run is what its record says."""

import numpy as np
import pytest

from lottery_lib.errors import LotteryError
from lottery_lib.figures import experiment as figures

EPOCHS = [{"loss": 2.0, "val_accuracy": 50.0}, {"loss": 1.0, "val_accuracy": 60.0}]
MOVED = [epoch | {"density": density, "lam": 1e-4} for epoch, density in zip(EPOCHS, (1.0, 0.2))]
LAYERS = [{"layer": "fc1.weight", "density": 0.1}, {"layer": "fc2.weight", "density": 0.5}]
RECORD = {"history": EPOCHS[:1], "search": MOVED, "layers": LAYERS, "density": 0.15}


def drawn(ax):
    return [list(line.get_ydata()) for line in ax.lines]


def test_curves_are_those_of_search_and_retraining():
    loss, accuracy, mask, lam = figures.curves(RECORD).axes
    assert drawn(loss) == [[2.0, 1.0], [2.0]] and drawn(accuracy) == [[50.0, 60.0], [50.0]]
    assert drawn(mask) == [[1.0, 0.2]] and drawn(lam) == [[1e-4, 1e-4]]
    assert [text.get_text() for text in loss.figure.legends[0].get_texts()] == ["search", "retraining"]


def test_a_record_without_its_search_shows_what_it_has():
    older = {"history": EPOCHS, "calibration": {"epochs": [{"density": 0.4, "lam": 1e-3}]}}
    loss, _, mask, _ = figures.curves(older).axes
    assert drawn(loss) == [[2.0, 1.0]] and drawn(mask) == [[0.4]]
    assert len(figures.curves({"history": EPOCHS, "search": EPOCHS}).axes) == 2  # no mask was moved
    fixed = [{key: epoch[key] for key in epoch if key != "lam"} for epoch in MOVED]
    assert len(figures.curves({"history": EPOCHS, "search": fixed}).axes) == 3  # its λ was given


def test_layers_are_bars_in_their_order():
    (ax,) = figures.layers(RECORD).axes
    assert [bar.get_height() for bar in ax.patches] == [0.1, 0.5]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["fc1", "fc2"] and drawn(ax) == [[0.15, 0.15]]
    with pytest.raises(LotteryError, match="the dense network has no ticket"):
        figures.layers({"layers": []})


def test_the_threshold_curve_counts_entries():
    counts = np.zeros((2, 102), dtype=int)
    counts[0, [0, 51, 101]] = 6, 2, 2  # six at 0, two at 0.5, two at 1
    (ax,) = figures.threshold(RECORD, {"histogram": counts}).axes
    alphas, densities = ax.lines[0].get_xdata(), ax.lines[0].get_ydata()
    assert densities[np.searchsorted(alphas, 0.25)] == 0.4 and densities[np.searchsorted(alphas, 0.75)] == 0.2
    with pytest.raises(LotteryError, match="this method relaxes no mask"):
        figures.threshold(RECORD, {})
