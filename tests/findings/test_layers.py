"""layers.py: densities of layers, from the committed records."""

import numpy as np
import pandas as pd
import pytest

from lottery_lib.errors import LotteryError
from lottery_lib.figures import layers as layer_figures
from lottery_lib.findings import layers, tables


@pytest.fixture(scope="module")
def found():
    return layers.densities(tables.chosen(tables.runs()), 0.05)


def test_the_layers_of_a_ticket_add_up_to_it(found):
    lenet = found[(found.protocol == "lenet") & ~found.name.str.contains("feedback")]  # whose densities miss
    assert {"mask, log, calibrated", "IMP", "random"} <= {*lenet.name} and "dense" not in {*lenet.name}
    for _, rows in lenet.groupby("name"):
        assert list(rows.layer) == ["fc1", "fc2", "fc3"]
        assert np.average(rows.density, weights=rows.weights) == pytest.approx(0.05, rel=0.02)
        assert (rows.least <= rows.density).all() and (rows.density <= rows.most).all()
    random = lenet[lenet.name == "random"]
    assert (random.density.iloc[:2] / 0.05 - 1).abs().max() < 0.05  # the same in all layers; the last has few weights


def test_the_sentence_compares_the_mask_with_others_layer_by_layer(found):
    place = {"protocol": "p", "model": "vgg16", "dataset": "cifar10", "reduced": True}

    def of(name, *shares):
        rows = {"name": name, "order": range(len(shares)), "weights": [100, 300], "density": shares}
        return pd.DataFrame(rows).assign(**place)

    made = pd.concat([of("mask, log, calibrated", 0.4, 0.1), of("IMP", 0.2, 0.2), of("random", 0.1, 0.1)])
    assert layers.factors(made).loc[tuple(place.values())].tolist()[::2] == pytest.approx([2.0, 2.0])
    told = layers.told(made)
    assert "2× from those of IMP and 2× from the same share everywhere" in told and "SNIP" not in told
    assert "the first keeps 2.3× the share of all, the last 0.57×" in told
    assert "No calibrated mask" in layers.told(made[made.name != "mask, log, calibrated"])
    dead = pd.concat([of("mask, log, calibrated", 0.4, 0.0), of("IMP", 0.4, 0.1)])
    assert layers.factors(dead).IMP.iloc[0] == pytest.approx((0.1 * 300 / 0.5) ** 0.5)  # an empty layer: half a weight
    assert "from those of IMP" in layers.told(found)


def test_the_figure_draws_the_lines_there_are(found):
    figure = layer_figures.densities(found[found.protocol == "lenet"], 0.05)
    (ax,) = figure.axes
    assert [label.get_text() for label in ax.get_xticklabels()] == ["fc1", "fc2", "fc3"]
    assert {text.get_text() for text in ax.texts} >= {"IMP", "mask, log, calibrated"}
    with pytest.raises(LotteryError, match="no run on record"):
        layer_figures.densities(found[:0], 0.05)
