"""tuning.py: what searches with λ by hand came to, density by density."""

import pytest
from runs import line, runs

from lottery_lib.findings import tuning


def test_a_single_candidate_counts_as_one():
    tried = [{"lam": lam, "density_asked": d, "density": d} for lam, d in ((1e-4, 0.2), (1e-4, 0.05), (2e-4, 0.05))]
    found = tuning.candidates(runs(*tried, *line("mask, log, calibrated", [99.0]))).set_index("density_asked")
    assert found.candidates.to_dict() == {0.05: 2, 0.2: 1} and found.edges[0.2] == [] != found.edges[0.05]


def test_how_far_each_lambda_is_behind_the_best_at_its_density():
    tried = [
        {"lam": 1e-4, "val_accuracy": 97.0, "implied_alpha": 0.0},
        {"lam": 1e-4, "val_accuracy": 98.0, "seed": 1, "implied_alpha": 0.2},
        {"lam": 2e-4, "val_accuracy": 98.0, "implied_alpha": 0.0},
        {"lam": 2e-4, "val_accuracy": 90.0, "density_asked": 0.01, "implied_alpha": 0.0},
    ]
    others = [*line("mask, log, calibrated", [99.0]), *line("mask, log, in rounds", [99.0]), *line("IMP", [99.0])]
    found = tuning.by_lambda(runs(*tried, *others))
    assert found[["density_asked", "lam", "n"]].to_numpy().tolist() == [
        [0.01, 2e-4, 1],
        [0.05, 1e-4, 2],
        [0.05, 2e-4, 1],
    ]
    assert found.behind.tolist() == pytest.approx([0, 0.5, 0]) and found.alpha.tolist() == [0, 0.2, 0]
