"""tuning.py: what searches with λ by hand came to, density by density."""

import math

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
        {"lam": 2e-4, "val_accuracy": 90.0, "density_asked": 0.01, "implied_alpha": 0.0, "tied": 0.3},
    ]
    others = [*line("mask, log, calibrated", [99.0]), *line("mask, log, in rounds", [99.0]), *line("IMP", [99.0])]
    found = tuning.by_lambda(runs(*tried, *others))
    assert found[["density_asked", "lam", "n"]].to_numpy().tolist() == [
        [0.01, 2e-4, 1],
        [0.05, 1e-4, 2],
        [0.05, 2e-4, 1],
    ]
    assert found.soft.tolist() == [True, True, False]
    assert found.behind.tolist() == pytest.approx([0, 0, math.nan], nan_ok=True)  # one seed is not the best of two


def test_rates_at_the_edge_of_what_was_tried_are_named():
    def tried(model, protocol, **accuracies):
        place = {"model": model, "protocol": protocol, "dataset": "cifar100", "method": "dense", "epochs": 3}
        return [place | {"lr": float(lr), "val_accuracy": value} for lr, value in accuracies.items()]

    least = tried("vgg19", "vgg19-cifar100-short", **{"0.025": 30.0, "0.05": 28.0, "0.1": 20.0})
    inside = tried("resnet18", "resnet18-cifar100-short", **{"0.1": 30.0, "0.2": 31.0, "0.4": 20.0})
    found = tuning.rates(runs(*least, *inside, {"method": "dense", "epochs": None, "lr": None}))
    assert found.set_index("model").best.to_dict() == {"vgg19": 0.025, "resnet18": 0.2}
    told = tuning.rates_told(found)
    assert told == (
        "The best rate is the lowest that was tried for VGG-19 at ¼ width on CIFAR-100 (0.025). The protocol does not "
        "have the best rate of VGG-19 at ¼ width on CIFAR-100, where 0.025 is 2 points better on validation (n = 1)."
    )
    assert tuning.rates_told(found[found.model == "resnet18"]).startswith("No best rate lies at the edge")


def test_a_single_rate_or_another_batch_size_is_no_choice():
    place = {"model": "resnet20", "protocol": "cifar-short", "dataset": "cifar10", "method": "dense", "epochs": 3}
    one = runs(place | {"lr": 0.2, "val_accuracy": 78.0}, place | {"lr": 0.4, "batch_size": 256, "val_accuracy": 90.0})
    assert tuning.rates(one).empty and tuning.rates_told(tuning.rates(one)) == "No rates were tried here."
    more = runs(place | {"lr": 0.1, "val_accuracy": 78.0}, place | {"lr": 0.4, "val_accuracy": 70.0})
    assert tuning.rates(more).lowest.all() and tuning.rates(more).above.isna().all()  # the protocol's was not tried
