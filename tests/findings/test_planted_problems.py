"""findings/planted.py: what decides C2, and what the page says of it, is what the draws on record say."""

import numpy as np
import pandas as pd
import pytest

from lottery_lib import paths
from lottery_lib.errors import LotteryError
from lottery_lib.experiments.planted import Planted
from lottery_lib.findings import planted
from lottery_lib.findings.rules import FAILS, HOLDS, UNDECIDED


@pytest.fixture(scope="module")
def record():
    return planted.found()


def made(ratio, noise=(False, True), seeds=3, best=0.5):
    """Draws in which log's error is ``ratio(noise, scale)`` times ℓ1's, and ``best`` times in the regressions."""
    rows, runs = [], []
    for seed in range(seeds):
        wobble = 1 + 1e-3 * seed
        for kind in ("quadratic", "logistic"):
            for noisy in noise:
                for scale in (0.1, 0.2, 0.5, 0.9, 1.5, 1.9):
                    for penalty, error in (("ℓ1", 1.0), ("log", wobble * ratio(noisy, scale))):
                        rows.append((kind, noisy, penalty, scale, error, error, seed))
        setting = {"samples": 75, "correlation": 0.0, "exact": 0.0}
        for level in (1.0, 2.0):
            each = {"ℓ1": 1.0, "log": wobble * best, "log, ε/10": 1.0}
            regressions = [setting | {"noise": level, "penalty": name, "error": error} for name, error in each.items()]
            runs.append((seed, regressions))
    columns = ["kind", "noise", "penalty", "scale", "error", "cheapest", "seed"]
    of = [{"config": {"seed": seed}, "provenance": {"device": "an abacus"}, "regressions": rows} for seed, rows in runs]
    return planted.Found(0.1, of, pd.DataFrame(rows, columns=columns))


def statuses(found):
    return [answer.status for answer in planted.better_mask(found).answers]


def test_c2_by_its_rule():
    assert statuses(made(lambda noise, scale: 0.5)) == [HOLDS, HOLDS]
    assert statuses(made(lambda noise, scale: 1.2, best=1.2)) == [FAILS, FAILS]
    assert statuses(made(lambda noise, scale: 1.0, best=1.01)) == [FAILS, FAILS]  # level is not better
    assert statuses(made(lambda noise, scale: 0.5, seeds=2)) == [UNDECIDED, UNDECIDED]


def test_c2_where_the_theory_promises_it():
    promised = f"{HOLDS} without noise, where λ is small (λ√k/γ ≤ 0.275),"
    assert statuses(made(lambda noise, scale: 1.2 if noise or scale > 0.275 else 0.5))[0] == promised
    assert statuses(made(lambda noise, scale: 1.2 if noise else 0.5))[0] == promised
    assert statuses(made(lambda noise, scale: 0.5 if noise else 1.2))[0] == "mixed, 6 of 12"


def test_one_draw_has_no_interval_to_be_told():
    said = planted.better_mask(made(lambda noise, scale: 0.5, seeds=1)).findings
    assert not any("nan" in each for each in said) and "undecided, error 0.50 of ℓ1's" in said[0]


def test_the_verdict_names_its_evidence(record):
    verdict = planted.better_mask(record)
    assert verdict.protocol == "planted" and verdict.command == "lottery sweep planted"
    assert [answer.dataset for answer in verdict.answers] == [planted.SAME_LAMBDA, planted.BEST_LAMBDA]
    assert [answer.n for answer in verdict.answers] == ["3", "3"] and "n = 3" not in verdict.answers[0].counted
    assert len(verdict.findings) == 12 + 16


def test_without_a_record_there_is_no_verdict(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "RESULTS", tmp_path)
    assert planted.verdict() is None
    with pytest.raises(LotteryError, match="make it with: lottery train planted$"):
        planted.found()


def test_more_than_ten_thousand_problems_are_on_record_and_none_breaks_a_bound(record):
    checks = record.checks()
    assert record.problems >= 10_000 and checks.violated.sum() == 0 and checks.violated_if_tighter.min() > 0
    assert f"{record.problems:,} problems" in planted.held(record) and "**0 violations in" in planted.held(record)


def test_the_answer_in_short_is_computed(record):
    said = planted.in_short(record)
    best = planted.at_best_lambda(record)
    assert "r′(1) = 0.38" in said and f"{best.ratio.min():.2f} to {best.ratio.max():.2f} times" in said
    assert said.endswith("at equal λ it is no better on logistic problems with noise.")
    assert said.count(". ") == 1  # two sentences


def test_points_are_paired_by_problem(record):
    pairs = record.pairs()
    points = record.points
    log = points[points.penalty == "log"]
    assert len(pairs) == record.problems
    problem = ["seed", "kind", "scale", "k"]
    both = log.merge(points[points.penalty == "ℓ1"], on=problem, suffixes=("", "_of_l1"))
    merged = pairs.merge(both, on=problem, suffixes=("", "_again"))
    assert len(merged) == len(pairs)
    np.testing.assert_array_equal(merged.error, merged.error_again)
    np.testing.assert_array_equal(merged.error_l1, merged.error_of_l1)


def test_a_live_draw_has_the_tables_of_the_record():
    live = planted.live(Planted(problems=20))
    assert list(live.table().columns) == list(planted.found().table().columns) and live.problems == 80


def test_splits_lie_on_the_cheapest(record):
    found = planted.splits()
    table = planted.split_errors(found)
    on_record = table[table["where"] == "logistic regression, MNIST"]
    assert list(on_record.index) == ["ℓ1", "log"] and (on_record["median distance"] < 0.02).all()
