"""findings/strangers.py: the λ is chosen on validation, and what is told is the test split's, paired by seed."""

import pandas as pd
import pytest

from lottery_lib.experiments.strangers import CifarStranger
from lottery_lib.findings import strangers

COMPUTED = {"precision": "fp32", "vectors": "AVX2", "threads": 1}


def run(network: str, lam: float | None, seed: int, val: float, test: float, **given) -> dict:
    accuracies = {"val_accuracy": val, "test_accuracy": test}
    cut = {"alpha": 0.1, "tied": 0.0}
    return (
        {"network": network, "mask": "learned", "asked": 0.05, "density": 0.05, "lam": lam, "seed": seed}
        | COMPUTED | cut | accuracies | given
    )  # fmt: skip


def made_up(seeds: int) -> pd.DataFrame:
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
    return pd.DataFrame(rows).astype({"lam": float})


def found(seeds: int) -> pd.DataFrame:
    return strangers.against_a_sweep(made_up(seeds))


def test_the_best_by_hand_is_chosen_on_validation():
    shuffle, vit = found(3).itertuples(index=False)
    assert (vit.network, vit.lam, vit.candidates, vit.n) == ("ViT", 1e-4, 2, 3)
    assert vit.points == pytest.approx(2) and vit.half_width == pytest.approx(4.303 / 3**0.5, rel=1e-3)
    assert (vit.calibrated, vit.by_hand, vit.dense) == (81, 79, 95) and vit.error == pytest.approx(0.002)
    assert (shuffle.network, shuffle.n) == ("ShuffleNet", 2)  # other arithmetic is no pair


def test_random_masks_stand_beside_and_are_no_search():
    made = made_up(3)
    drawn = [run("ViT", None, seed, 70, 60 + seed, mask="random", density=0.0502) for seed in range(3)]
    with_them = strangers.against_a_sweep(pd.concat([made, pd.DataFrame(drawn)]).astype({"lam": float}))
    assert list(with_them.random[:1].isna()) == [True] and with_them.random[1] == 61
    assert with_them.drop(columns="random").equals(found(3).drop(columns="random"))
    assert list(strangers.readable(with_them)["random mask"]) == ["–", "61.0"]
    table = pd.concat([made, pd.DataFrame(drawn)])
    exactly = "±\N{NO-BREAK SPACE}0.00"
    assert strangers.above_random(table).endswith(f"the calibrated ticket is above on ViT (+20.00 {exactly}).")
    better = table.assign(test_accuracy=table.test_accuracy + 30 * (table["mask"] == "random"))
    assert strangers.above_random(better).endswith(f"ticket is below on ViT (−10.00 {exactly}).")
    assert strangers.above_random(made) == ""
    elsewhere = table.assign(vectors=table.vectors.mask(table["mask"] == "random", "AVX512"))
    assert strangers.above_random(elsewhere).startswith("Random masks on ViT were not computed alike")
    scattered = table.assign(
        test_accuracy=table.test_accuracy - 50 * ((table["mask"] == "learned") & (table.seed == 2))
    )
    assert "not told apart on ViT (+3.33 ±" in strangers.above_random(scattered)


def test_what_is_not_the_papers_ticket_can_be_left_out():
    made = made_up(3)
    best = made.lam == 1e-4
    for change in ({"alpha": made.alpha.mask(best & (made.seed == 1), 0.11)}, {"tied": made.tied.mask(best, 0.06)},
                   {"alpha": made.alpha.mask(best & (made.seed == 2))}):  # fmt: skip
        left = strangers.at_small_alpha(made.assign(**change))
        shuffle, vit = strangers.against_a_sweep(left).itertuples(index=False)
        assert (shuffle.network, shuffle.candidates) == ("ShuffleNet", 0)  # it had no other λ
        assert (vit.network, vit.lam, vit.candidates, vit.alpha) == ("ViT", 2e-4, 1, 0.1)
        assert (left.lam.isna() == made.lam.isna()[left.index]).all() and left.lam.isna().sum() == made.lam.isna().sum()
    assert strangers.at_small_alpha(made).equals(made)
    unknown = strangers.against_a_sweep(made.assign(alpha=made.alpha.mask(best & (made.seed == 2))))
    assert list(strangers.readable(unknown)["cut at α"]) == ["0.10", "–"]


def test_a_protocol_without_a_record_has_an_empty_table(monkeypatch):
    monkeypatch.setattr(strangers.records, "read_all", list)
    table = strangers.runs(CifarStranger)
    assert strangers.readable(strangers.against_a_sweep(table)).empty
    assert strangers.told(table).startswith("No λ by hand is on record") and strangers.above_random(table) == ""


def test_a_network_without_a_lambda_stands_there_beside_its_random_masks():
    made = made_up(3)
    alone = strangers.against_a_sweep(made[made.lam.isna()])
    assert list(alone.calibrated) == [90, 81] and list(alone.n) == list(alone.candidates) == [0, 0]
    shown = strangers.readable(alone)
    assert list(shown["best λ"]) == list(shown["cut at α"]) == list(shown.difference) == ["–", "–"]


def test_too_few_seeds_tell_no_difference():
    table = strangers.readable(found(3))
    assert list(table.index) == ["ShuffleNet", "ViT"]
    assert list(table.difference) == ["not enough seeds", "+2.00 ±\N{NO-BREAK SPACE}2.48"]
    nothing = strangers.against_a_sweep(strangers.runs()[:0])
    assert nothing.empty and strangers.readable(nothing).empty


def test_the_sentence_is_of_all_networks_and_names_those_that_differ():
    assert strangers.told(made_up(2)) == "No λ by hand is on record with three seeds yet."
    same = made_up(3).assign(vectors="AVX2")
    told = strangers.told(same)  # ViT +1, +2, +3 and ShuffleNet 0, 0, 0
    assert (
        "Over 2 networks, the calibrated ticket minus the best of the sweep is +1.00 points on average, from +0.00 to"
        in told
    )
    assert "+2.00, n = 3; by more than its interval: no single one. Densities are off by 0.2 % at most." in told
    worse = same.assign(test_accuracy=same.test_accuracy - 10 * (same.lam.isna() & (same.asked < 1)))
    assert "its interval: ShuffleNet (−10.00 ±\N{NO-BREAK SPACE}0.00) and ViT (−8.00 ±" in strangers.told(worse)
    assert strangers.told(same[:0]).startswith("No λ by hand")
    alone = strangers.told(same[(same.network == "ViT") | same.lam.isna()])
    assert alone.startswith("Over 1 network, ")
    assert alone.endswith("at most. There is no λ to compare with on ShuffleNet.")


def test_a_lambda_without_a_ticket_on_some_seed_is_no_candidate():
    made = made_up(3)
    lucky = pd.DataFrame([run("ViT", 5e-5, seed, 99, 99) for seed in (0, 1)])  # and none on seed 2
    _, vit = strangers.against_a_sweep(pd.concat([made, lucky])).itertuples(index=False)
    assert (vit.lam, vit.candidates, vit.n) == (1e-4, 2, 3)
