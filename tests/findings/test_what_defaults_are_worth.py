"""findings/ablation.py: a change is measured against the run that has all defaults, and told if it is clear."""

import pytest

from lottery_lib.experiments import records
from lottery_lib.experiments.ablation import Ablation
from lottery_lib.figures import calibrated as figures
from lottery_lib.findings import ablation

CLEAR, NOISE = [0.5, 0.6, 0.7], [-0.4, 0.1, 0.3]


@pytest.fixture
def found(monkeypatch):
    """Two changes on three seeds, one of which matters.

    The unchanged run of a fourth seed was computed otherwise; a fifth has none.
    """
    made, recipe = [], {"precision": "fp32"}
    made_here, made_elsewhere = ({"device": "CPU", "vectors": v, "threads": 1} for v in ("AVX2", "AVX512"))
    for value, differences in ((0.7, CLEAR), (0.95, [*NOISE, 9.0, 9.0])):
        for seed, difference in enumerate(differences):
            config = {"follows": "lenet", "part": "settling", "value": value, "density": 0.05, "seed": seed}
            here = {"density": 0.05 if seed else 0.06, "val_accuracy": 97.0 + seed + difference}
            about = {"protocol": "ablation", "model": "lenet-300-100", "dataset": "mnist", "default": 0.85}
            about |= {"recipe": recipe, "provenance": made_here}
            made.append({"run": records.name(Ablation(**config)), "config": config, **about, **here})
    for seed, provenance in enumerate([made_here] * 3 + [made_elsewhere]):
        about = {"protocol": "lenet", "recipe": recipe, "provenance": provenance}
        made.append({"run": records.name(Ablation(seed=seed).followed), "val_accuracy": 97.0 + seed, **about})
    monkeypatch.setattr(records, "read_all", lambda: made)
    return ablation.changes()


def test_a_change_is_paired_by_seed(found):
    assert found.groupby("value").difference.apply(list).to_dict() == {
        0.7: pytest.approx(CLEAR),
        0.95: pytest.approx(NOISE),
    }
    assert found.error.tolist() == pytest.approx([0.2, 0, 0] * 2)


def test_what_is_clear_is_told(found):
    said = ablation.in_short(found)
    assert "in 1 of 2 comparisons on 3 seeds" in said and "one of twenty" in said  # not one of two
    assert "with LeNet-300-100 on MNIST settling 0.7 at a density of 0.05 (+0.60 ±\xa00.25)" in said
    assert "widest interval ±\xa00.90" in said
    assert "settling 0.95" not in said and "4 of 6 searches still end within 2 % of their density" in said
    two = found[found.seed < 2]
    assert ablation.effects(two).half_width.isna().all() and ablation.effects(found).half_width.notna().all()
    assert ablation.in_short(two).startswith("Too few seeds") and "lottery sweep" in ablation.in_short(two[:0])


def test_a_row_a_change(found):
    (ax,) = figures.ablation(ablation.effects(found)).axes
    texts = [text.get_text() for text in ax.texts]
    assert {"settling 0.7 (0.85)", "settling 0.95 (0.85)", "LeNet-300-100 on MNIST, density 0.05"} <= {*texts}
