"""findings/planted_networks.py: O3's verdict follows its rule, and the page says what the draws on record say."""

import numpy as np
import pandas as pd
import pytest

from lottery_lib import paths
from lottery_lib.errors import LotteryError
from lottery_lib.experiments.planted_networks import LOOKS, PENALTIES, SETTINGS, WAYS, PlantedNetworks
from lottery_lib.findings import planted_networks as networks
from lottery_lib.findings.rules import FAILS, HOLDS, UNDECIDED


@pytest.fixture(scope="module")
def record():
    return networks.found()


def made(ratio=lambda depth, way: 0.5, along=lambda depth: 0.1, force=1.0, seeds=3):
    """Draws of four problems in which log's error is ``ratio`` times ℓ1's, and the curvature met is ``along``."""
    rows = []
    for seed in range(seeds):
        for depth, samples, noise in SETTINGS:
            for way in WAYS:
                for penalty in PENALTIES:
                    for problem in range(4):
                        error = (1 + 1e-3 * seed) * (1 + problem) * (ratio(depth, way) if penalty == "log" else 1)
                        rows.append((depth, samples, noise, way, penalty, problem, seed, error, along(depth)))
    columns = ["depth", "samples", "noise", "way", "penalty", "problem", "seed", "error", "along"]
    points = pd.DataFrame(rows, columns=columns).assign(f1=0.5, force=force, done=1.0)
    return networks.Found(0.1, [{"provenance": {"device": "an abacus"}}], points)


def statuses(found):
    return [answer.status for answer in networks.without_convexity(found).answers]


def test_o3_by_its_rule():
    assert statuses(made()) == [HOLDS] * 4
    assert statuses(made(lambda depth, way: 1.2)) == [FAILS] * 3 + [HOLDS]
    assert statuses(made(lambda depth, way: 0.99)) == [FAILS] * 3 + [HOLDS]  # level is not better
    assert statuses(made(seeds=2)) == [UNDECIDED] * 4
    near = made(lambda depth, way: 0.5 if "target" in way else 1.0)
    assert statuses(near) == [FAILS, FAILS, HOLDS, HOLDS]


def test_depth_one_decides_nothing():
    assert (
        statuses(made(lambda depth, way: 2.0 if depth == 1 else 0.5, along=lambda depth: (depth - 1) / 10))
        == [HOLDS] * 4
    )


def test_o3_at_one_depth():
    assert statuses(made(lambda depth, way: 0.5 if depth == 2 else 1.2))[0] == f"{HOLDS} at depth 2"


def test_a_bound_must_be_there_and_hold():
    assert statuses(made(along=lambda depth: -0.1))[3] == FAILS
    assert statuses(made(along=lambda depth: 0.1 if depth == 2 else 0.0))[3] == f"{HOLDS} at depth 2"
    assert statuses(made(force=1e-3))[3] == FAILS  # a bound of 0.01, below every error


def test_the_verdict_names_its_evidence(record):
    verdict = networks.without_convexity(record)
    assert verdict.protocol == "planted-networks" and verdict.command == "lottery sweep planted-networks"
    assert [answer.dataset for answer in verdict.answers] == [*networks.NAMES.values(), networks.BOUND]
    assert len(verdict.findings) == 4 * len(SETTINGS) and {answer.n for answer in verdict.answers} == {"5"}


def test_without_a_record_there_is_no_verdict(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "RESULTS", tmp_path)
    assert networks.verdict() is None
    with pytest.raises(LotteryError, match="make it with: lottery train planted-networks$"):
        networks.found()


def test_arrays_are_laid_out_by_their_axes():
    shape = (2, len(PENALTIES), len(WAYS), 5)
    number = np.arange(np.prod(shape), dtype=float).reshape(shape)
    looks = number[:, :, :, None] + np.arange(len(LOOKS) + 1)[:, None]
    arrays = {"error": number, "force": number + 1, "monotonicity": 2 * number - 50, "search": looks}
    points = networks.laid_out(arrays, ((1, 40, 0.2), (3, 160, 0.5)))
    row = points[(points.depth == 3) & (points.penalty == "log") & (points.way == WAYS[2]) & (points.problem == 4)]
    assert row[["error", "samples", "noise"]].to_numpy().tolist() == [[number[1, 1, 2, 4], 160, 0.5]]
    assert row[["along", "look 1", "end"]].to_numpy().tolist() == [[59, 60, 59 + len(LOOKS)]]
    assert row.bound.tolist() == [60 / 68] and points.bound[points.monotonicity <= 0].eq(np.inf).all()


def test_the_convex_control_keeps_its_bound(record):
    told = networks.curvature_table(record).reset_index()
    quadratic = told[told.depth == 1].set_index("for γ")
    assert quadratic.loc[networks.CURVATURES["along"], ["positive, %", "bound exceeded"]].tolist() == ["100", 0]
    assert "exceeded by **0**" in networks.control(record) and "640 of 640" in networks.control(record)


def test_monotonicity_where_positive_is_never_exceeded_and_is_the_tightest(record):
    told = networks.curvature_table(record).reset_index()
    assert (told[told["for γ"] == networks.CURVATURES["monotonicity"]]["bound exceeded"] == 0).all()
    quadratic = told[told.depth == 1].set_index("for γ")["bound / error, median"].astype(float)
    assert quadratic.idxmin() == networks.CURVATURES["monotonicity"] and quadratic.min() >= 1


def test_ranks_are_those_of_the_errors():
    found = made()
    found.points[list(networks.PREDICTORS)] = 1.0
    found.points["loss"], found.points["price"] = found.points.error, -found.points.error
    told = networks.predictors(found).set_index(["depth", "column"])["rank"]
    assert told[2]["loss"] == pytest.approx(1) and told[3]["price"] == pytest.approx(-1)
    assert np.isnan(told[2]["end"])  # what is the same for all ranks nothing


def test_the_answer_in_short_is_computed(record):
    said, cells = networks.in_short(record), networks.compared(record)
    places = ("at equal density,", "at its best λ,", "when the search starts at the target")
    for way, place in zip(WAYS, places):
        rows = cells[(cells.way == way) & (cells.depth > 1)]
        assert f"in {rows.good.sum()} of 8 cells {place}" in said
    assert said.count(". ") == 1  # two sentences


def test_near_the_target_a_start_is_as_good_as_the_target():
    errors = networks.from_between(PlantedNetworks(problems=2))
    wide = errors.pivot(index=["depth", "penalty"], columns="share", values="error")
    assert (wide.loc[1].std(axis=1) < 1e-3).all()  # convex: every start will do
    assert (wide[0.25] < 1.25 * wide[0.0]).all() and (wide.loc[3][1.0] > 2 * wide.loc[3][0.0]).all()


def test_tables_hold_every_setting_and_candidate(record):
    assert len(networks.ratios_table(record)) == len(SETTINGS)
    assert len(networks.errors_table(record)) == 3 * len(WAYS) * len(PENALTIES)
    assert list(networks.predictors_table(record).index) == list(networks.PREDICTORS.values())
