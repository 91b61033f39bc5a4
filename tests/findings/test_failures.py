"""failures.py: each search shows the sign that it is there to show."""

import math

import pytest

from lottery_lib import load, models
from lottery_lib.experiments import arithmetic
from lottery_lib.experiments.protocols import DigitsLeNet
from lottery_lib.figures import failures as failure_figures
from lottery_lib.findings import failures
from lottery_lib.methods import concave


@pytest.fixture(scope="module")
def watched():
    return failures.watch(density=0.05)


def test_each_search_shows_its_sign(watched):
    last = watched.groupby("search").last()
    assert list(watched.search.unique()) == list(failures.SEARCHES)
    well = last.loc["calibrated"]
    assert well.kept == pytest.approx(0.05, rel=0.02) and well.undecided < 0.01 and well.turnover < 0.01
    collapsed = last.loc["collapsed to 0"]
    assert collapsed.kept == 0 and collapsed.loss == pytest.approx(math.log(10), rel=0.02)
    still = last.loc["never moved"]
    assert still.kept == 1 and still.undecided < 0.1
    assert last.loc["undecided"].undecided > 0.9
    assert last.loc["follows the noise"].turnover > 0.2


def test_cutting_a_mask_that_has_not_decided_costs_accuracy_and_one_that_has_nothing(watched):
    last = watched.groupby("search").last()
    assert last.loc["calibrated"].cut == pytest.approx(last.loc["calibrated"].searched)
    assert last.loc["never moved"].cut < last.loc["never moved"].searched - 50
    assert last.loc["collapsed to 0"].searched < 20  # nothing is left to cut
    assert (last.retrained > 90).all()  # which tells nothing of how the search went


def test_a_search_goes_on_as_if_it_had_not_been_watched(watched):
    protocol = DigitsLeNet(density=0.05)
    model = models.create(protocol.model, 10, (1, 8, 8), 0)
    with arithmetic.held(protocol):
        found = concave.search(model, load("digits"), concave.Config(density=0.05, recipe=protocol.recipe))
    losses = [epoch["loss"] for epoch in found.info["history"]]
    assert losses == watched[watched.search == "calibrated"].loss.tolist()


def test_the_table_and_the_figure_tell_of_all(watched):
    table = failures.signs(watched)
    assert list(table.index) == list(failures.SEARCHES)
    told = failures.remedies().splitlines()
    assert [line.split("**")[1].lower() for line in told] == list(table.index[1:])
    figure = failure_figures.signs(watched)
    assert [ax.get_title() for ax in figure.axes] == list(failure_figures.SHOWN.values())
