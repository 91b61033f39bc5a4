"""analysis.py: what is chosen on validation, and what is said about the mean."""

import math

import numpy as np
import pandas as pd
import pytest

from lottery_lib import analysis, experiments


def runs(*rows: dict) -> pd.DataFrame:
    base = dict.fromkeys(experiments.COLUMNS) | {"protocol": "lenet", "method": "concave", "regularizer": "log", "seed": 0}
    base |= {"density_asked": 0.05, "density": 0.05, "lam": 1e-4, "total_epochs": 20, "precision": "fp32", "device": "here"}
    return pd.DataFrame([base | row for row in rows], columns=experiments.COLUMNS)


def test_the_choice_is_made_on_validation_alone_and_holds_for_all_seeds():
    table = runs(
        {"run": "a", "lam": 1e-4, "val_accuracy": 97.0, "test_accuracy": 99.0},
        {"run": "b", "lam": 2e-4, "val_accuracy": 98.0, "test_accuracy": 90.0},
        {"run": "c", "lam": 2e-4, "seed": 1, "val_accuracy": 50.0, "test_accuracy": 91.0},
        {"run": "d", "lam": 1e-4, "seed": 1, "val_accuracy": 99.0, "test_accuracy": 99.0},
        {"run": "e", "alpha": 0.1, "val_accuracy": 99.9, "test_accuracy": 99.9},
        {"run": "f", "density_asked": 0.01, "val_accuracy": 90.0, "test_accuracy": 90.0},
    )
    assert sorted(analysis.chosen(table).run) == ["b", "c", "f"]


def test_missing_hyperparameters_are_one_setting():
    table = runs(
        {"run": "a", "method": "imp", "regularizer": None, "lam": None, "val_accuracy": 97.0, "test_accuracy": 97.0},
        {"run": "b", "method": "imp", "regularizer": None, "lam": math.nan, "seed": 1, "val_accuracy": 96.0, "test_accuracy": 96.0},
    )  # fmt: skip
    assert sorted(analysis.chosen(table).run) == ["a", "b"]


def test_interval_of_the_mean():
    accuracies = [97.0, 97.2, 97.7, 97.1, 97.5]
    table = runs(*({"seed": s, "val_accuracy": a, "test_accuracy": a} for s, a in enumerate(accuracies)))
    (found,) = analysis.summary(analysis.chosen(table)).to_dict("records")
    assert found["n"] == 5 and found["mean"] == pytest.approx(np.mean(accuracies)) and found["total_epochs"] == 20
    assert found["half_width"] == pytest.approx(2.7764451 * np.std(accuracies, ddof=1) / math.sqrt(5))
    assert analysis.pivot(analysis.summary(analysis.chosen(table))).to_dict() == {"0.05": {"mask, log": "97.30 ± 0.36"}}


def test_one_seed_has_no_interval():
    found = analysis.summary(analysis.chosen(runs({"val_accuracy": 97.0, "test_accuracy": 96.5})))
    assert math.isnan(found.half_width[0])
    assert analysis.pivot(found).to_dict() == {"0.05": {"mask, log": "96.50"}}


def test_every_method_has_a_name():
    table = runs(
        {"method": "concave", "regularizer": "mcp"}, {"method": "one-shot", "score": "increase"}, {"method": "snip"},
    )  # fmt: skip
    assert [analysis.name(row) for _, row in table.iterrows()] == ["concave, mcp", "one-shot magnitude increase", "SNIP"]


def test_status_counts_runs_and_seeds():
    table = runs({"val_accuracy": 1.0}, {"seed": 1, "val_accuracy": 1.0})
    assert analysis.status(table).startswith("On record: 2 runs, seeds 0, 1 (n = 2 ")
    assert analysis.status(table[:0]) == "No run is on record yet."
