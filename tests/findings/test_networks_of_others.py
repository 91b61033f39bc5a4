"""findings/strangers.py: the λ is chosen on validation, and what is told is the test split's, paired by seed."""

import pandas as pd
import pytest

from lottery_lib.findings import strangers

COMPUTED = {"precision": "fp32", "vectors": "AVX2", "threads": 1}


def run(network: str, lam: float | None, seed: int, val: float, test: float, **given) -> dict:
    accuracies = {"val_accuracy": val, "test_accuracy": test}
    return (
        {"network": network, "asked": 0.05, "density": 0.05, "lam": lam, "seed": seed} | COMPUTED | accuracies | given
    )


def found(seeds: int) -> pd.DataFrame:
    rows = []
    for seed in range(seeds):
        rows += [
            run("ViT", None, seed, 80, 80 + seed, density=0.0501 if seed else 0.05),
            run("ViT", 1e-4, seed, 90, 79),  # best on validation
            run("ViT", 2e-4, seed, 85, 99),  # best on test
            run("ViT", None, seed, 95, 95, asked=1.0, density=1.0),
            run("ShuffleNet", None, seed, 80, 90),
            run("ShuffleNet", 1e-4, seed, 80, 90, vectors="AVX512" if seed == 2 else "AVX2"),
        ]
    return strangers.against_a_sweep(pd.DataFrame(rows).astype({"lam": float}))


def test_the_best_by_hand_is_chosen_on_validation():
    shuffle, vit = found(3).itertuples(index=False)
    assert (vit.network, vit.lam, vit.candidates, vit.n) == ("ViT", 1e-4, 2, 3)
    assert vit.points == pytest.approx(2) and vit.half_width == pytest.approx(4.303 / 3**0.5, rel=1e-3)
    assert (vit.calibrated, vit.by_hand, vit.dense) == (81, 79, 95) and vit.error == pytest.approx(0.002)
    assert (shuffle.network, shuffle.n) == ("ShuffleNet", 2)  # other arithmetic is no pair


def test_too_few_seeds_tell_no_difference():
    table = strangers.readable(found(3))
    assert list(table.index) == ["ShuffleNet", "ViT"]
    assert list(table.difference) == ["not enough seeds", "+2.00 ±\N{NO-BREAK SPACE}2.48"]
    nothing = strangers.against_a_sweep(strangers.runs()[:0])
    assert nothing.empty and strangers.readable(nothing).empty
