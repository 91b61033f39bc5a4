"""planted.py: a draw says what its arrays say, is the same again, and refuses what is out of range."""

import numpy as np
import pytest

from lottery_lib.errors import LotteryError
from lottery_lib.experiments import planted, records
from lottery_lib.experiments.planted import LAMBDAS, PENALTIES, SETTINGS, Planted


@pytest.fixture(scope="module")
def drawn():
    return planted.run(Planted(problems=30, regressions=1))


def test_a_draw(drawn):
    record, arrays = drawn
    assert len(record["regressions"]) == len(SETTINGS) * len(PENALTIES)
    assert len(arrays["error"]) == 2 * 4 * 30 and set(arrays["penalty"]) == {"ℓ1", "log"}
    assert arrays["errors"].shape == (len(SETTINGS), len(PENALTIES), len(LAMBDAS))
    for row, curve in zip(record["regressions"], arrays["errors"].reshape(-1, len(LAMBDAS))):
        assert row["error"] <= curve.min() + 1e-6 and 0 <= row["exact"] <= 1  # each regression at its own best λ
    assert sum(row["violated"] for row in record["checks"]) == 0


def test_the_same_draw_again(drawn):
    record, arrays = planted.run(Planted(problems=30, regressions=1))
    assert {key: value for key, value in record.items() if key != "seconds"} == {
        key: value for key, value in drawn[0].items() if key != "seconds"
    }
    for name, values in arrays.items():
        np.testing.assert_array_equal(values, drawn[1][name])


def test_the_best_lambda_lies_among_those_tried():
    """On record: hardly a regression would rather have a λ beyond the ends, but where noise hides everything."""
    record, _ = records.read(Planted())
    edges = [row["edge"] for row in record["regressions"] if row["noise"] < 2]
    assert np.mean(edges) < 0.05


@pytest.mark.parametrize(
    "field, value, rule", [("problems", 0, "at least 1"), ("regressions", 0, "at least 1"), ("eps", 0.0, "> 0"),
                           ("eps", float("inf"), "a finite number"), ("problems", 2.5, "a whole number"),
                           ("problems", "3", "a whole number")]
)  # fmt: skip
def test_refused(field, value, rule):
    with pytest.raises(LotteryError, match=f"^{field} = {value!r}: must be {rule}$"):
        Planted(**{field: value})
