"""claims.py: what is drawn is what the tables say, a row or a panel for each network."""

import math

import numpy as np
import pandas as pd
import pytest
from runs import line, runs

from lottery_lib.errors import LotteryError
from lottery_lib.figures import claims as claim_figures
from lottery_lib.figures import lines
from lottery_lib.findings import cells, tables
from lottery_lib.findings.claims import Claim
from lottery_lib.findings.effects import Effect
from lottery_lib.findings.verdicts import Answer, Verdict

RESNET = {"model": "resnet20", "dataset": "cifar10", "protocol": "cifar-short", "reduced": True}


def points(line_) -> list[list[float]]:
    return np.round(line_.get_xydata(), 9).tolist()


def test_differences_draw_each_contrast_in_its_place():
    table = runs(
        *line("mask, log", [98.0, 98.5, 99.0]),
        *line("IMP", [97.0, 97.1, 97.2]),
        *line("mask, log", [95.0], 0.1),
        *line("IMP", [96.0], 0.1),
        *line("mask, log", [80.0] * 3, **RESNET),
        *line("IMP", [70.0] * 3, **RESNET),
        *line("random", [90.0]),
        *line("random", [60.0], **RESNET),
        *line("dense", [99.0], 1.0),
        *line("dense", [99.0], 1.0, **RESNET),
    )
    contrasts = {"one": ("mask, log", "IMP"), "two": ("mask, log", "random")}
    found = cells.cells(tables.chosen(table), contrasts)
    resnet, lenet = claim_figures.differences(found, "mask", "IMP").axes
    assert resnet.get_title().startswith("ResNet-20") and lenet.get_title() == "LeNet-300-100 on MNIST\n(lenet)"
    (one,) = (container.lines[0] for container in lenet.containers)
    assert points(one) == [[0.05, 1.4]]  # what a single seed says is not drawn
    assert points(resnet.containers[0].lines[0]) == [[0.05, 10.0]]
    assert one.get_color() == resnet.containers[0].lines[0].get_color()
    (band,) = lenet.collections[:1]
    assert np.abs(band.get_paths()[0].vertices[:, 1]) == pytest.approx(0.9)  # M


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
        {"density_asked": 0.05, "test_accuracy": 98.0},
        {"density_asked": 0.05, "test_accuracy": 97.0},
        {"density_asked": 0.02, "test_accuracy": 96.0},
        {"density_asked": 0.02},
        {"density_asked": 0.1},
        {"seed": 1},
    ).assign(implied_alpha=[0.5, 0.0, 0.3, 0.0, 0.3, 0.3], tied=[0.0, 0.0, 0.0, 0.9, 0.0, 0.0])
    figure = claim_figures.alpha_at_equal_density(table)
    drawn = [points(drawn) for drawn in figure.axes[0].lines if drawn.get_marker() == "o"]
    assert drawn == [[[0.0, 3.0], [0.5, 2.0]], [[0.3, 4.0]]]  # errors
    far = claim_figures.alpha_at_equal_density(table.assign(test_accuracy=[98.0, 40.0, 96.0, 0.0, 0.0, 0.0])).axes[0]
    assert far.get_ylim()[0] > 60 and "98" in [label.get_text() for label in far.get_yticklabels()]  # nothing is cut
    assert [text.get_text() for text in figure.axes[0].texts] == ["0.05", "0.02"]


def test_a_panel_has_four_contrasts_at_most_those_that_decide_first():
    table = [row for at in (98.0, 97.0) for row in line("mask, log", [at + k for k in range(3)], at / 1000)]
    table += [
        row for at in (98.0, 97.0) for row in line("IMP", [90.0] * 3, at / 1000) + line("random", [60.0], at / 1000)
    ]
    found = cells.cells(tables.chosen(runs(*table, *line("dense", [99.0], 1.0))), {"a": ("mask, log", "IMP")})
    many = pd.concat([found.assign(contrast=name, decides=name == "e") for name in "abcde"], ignore_index=True)
    (ax,) = claim_figures.differences(many, "mask", "IMP").axes
    assert [text.get_text() for text in ax.texts] == ["e", "a", "b", "c"] and len(ax.containers) == 4
    assert [text.get_color() for text in ax.texts] == [claim_figures.BLUE] + [lines.GREY] * 3


def test_modes_by_layer_are_heat_maps_with_dots_where_a_layer_passes():
    place = dict.fromkeys(tables.PLACE) | {"protocol": "lenet", "model": "m", "dataset": "mnist", "reduced": False}
    rows = [
        ("mask, log", 2.0, 0, "x", 0.04, 0.8),
        ("mask, log", 2.0, 1, "y", 0.2, 0.9),
        ("mask, log", 1.0, 0, "x", 0.6, 0.1),
        ("mask, log", 1.0, 1, "y", 0.7, 0.2),
        ("mask, ℓ1", 3.0, 0, "x", 0.3, 0.4),
        ("mask, ℓ1", 3.0, 1, "y", 0.1, 0.4),
    ]
    layers = pd.DataFrame(rows, columns=["name", "pressure", "number", "layer", "between", "top"]).assign(**place)
    between, top, _ = claim_figures.modes_by_layer(layers).axes
    assert between.images[0].get_array().tolist() == [[0.6, 0.04, 0.3], [0.7, 0.2, 0.1]]  # the softest first
    assert between.lines[0].get_xydata().tolist() == [[1, 0]] and top.lines[0].get_xydata().tolist() == [[1, 0], [1, 1]]
    assert [text.get_text() for text in between.texts] == ["mask, log", "mask, ℓ1"]
    assert [label.get_text() for label in between.get_yticklabels()] == ["x", "y"]


def test_a_page_says_where_nothing_is_on_record():
    """As of a protocol that is shown, and has no run of the kind: the page goes on."""
    pytest.importorskip("IPython")
    said = lines.drawn(claim_figures.alpha_sensitivity, runs().assign(changed=0.0))
    assert said.data.startswith("*No run on record has what this figure shows; ")


@pytest.mark.parametrize("draw", ["alpha_sensitivity", "modes_by_layer"])
def test_nothing_on_record_is_one_sentence(draw):
    with pytest.raises(LotteryError, match="no run on record has what this figure shows"):
        getattr(claim_figures, draw)(runs().assign(changed=0.0))


def test_the_forest_has_a_row_for_each_claim_and_data_set_and_no_interval_from_few_seeds():
    effects = [Effect(1.0, 0.5, "3", 2, 2, 1.0), Effect(-2.0, math.nan, "1", 1, 2, 1.0)]
    answers = [Answer(name, "holds", "", effect) for name, effect in zip(("MNIST", "CIFAR-10"), effects)]
    verdict = Verdict((*answers, Answer("digits", "holds", "0 of 3 layers")), (), "lenet", "here", "lottery x")
    claims = [Claim("C1", "It holds", None, verdict, "a − b"), Claim("C2", "?", None, None)]
    ax = claim_figures.forest(claims).axes[0]
    assert [text.get_text() for text in ax.texts] == [
        "C1  a − b", "MNIST", "+1.00 ±\xa00.50", "3", "CIFAR-10", "too few seeds", "1", "points",
        "seeds"]  # fmt: skip
    (known,) = ax.containers
    assert known.lines[0].get_xdata()[0] == 1 and known.has_xerr
    assert ax.get_xlim()[1] > 1.5  # nothing lies outside
    rows = {"one search": {"Tiny ImageNet": effects[0]}, "in rounds": {"MNIST": effects[1]}}
    answered = claim_figures.forest(claims, rows).axes[0]
    assert [text.get_text() for text in answered.texts][:8] == [
        "mask − IMP, one search", "Tiny ImageNet", "+1.00 ±\xa00.50", "3",
        "mask − IMP, in rounds", "MNIST", "too few seeds", "1"]  # fmt: skip
    answered.figure.canvas.draw()
    assert min(text.get_window_extent().x0 for text in answered.texts) >= 0  # the longest name is whole


def test_a_forest_of_nothing_is_refused():
    with pytest.raises(LotteryError, match="no run on record"):
        claim_figures.forest([Claim("C2", "?", None, None)])


def test_densities_as_a_forest_are_those_that_decide_or_else_all():
    few = [*line("mask, log", [98.0]), *line("IMP", [97.0])]
    enough = [*line("mask, log", [95.0, 95.5, 96.0], 0.1), *line("IMP", [94.0] * 3, 0.1), *line("random", [60.0], 0.1)]
    table = tables.chosen(runs(*few, *enough, *line("dense", [98.0], 1.0)))
    found = cells.cells(table, {"one search": ("mask, log", "IMP")})
    texts = [text.get_text() for text in claim_figures.by_density(found).axes[0].texts]
    assert texts[:7] == ["LeNet-300-100 on MNIST, one search", "0.1", texts[2], "3", "0.05", "too few seeds", "1"]
    assert texts[2].startswith("+1.50 ±")
    some = claim_figures.by_density(found.assign(decides=found.density_asked == 0.1)).axes[0]
    none = claim_figures.by_density(found.assign(decides=False)).axes[0]
    assert len(some.containers) == len(none.containers) == 1 < len(none.texts) - len(some.texts)
    dear = claim_figures.by_density(found.assign(judgement="costs too many epochs")).axes[0]
    assert not dear.containers and [text.get_text() for text in dear.texts].count("too dear") == 2
