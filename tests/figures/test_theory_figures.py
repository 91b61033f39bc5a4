"""theory.py: what is drawn is what was found."""

import numpy as np
import pytest

from lottery_lib.figures import theory
from lottery_lib.findings import planted
from lottery_lib.regularizers import Log


@pytest.fixture(scope="module")
def record():
    return planted.found()


def test_no_dot_lies_above_its_bound(record):
    for bound in ("T1", "T2"):
        for ax in theory.error_against_bound(record.points, bound, "x").axes:
            dots = ax.lines[:-1]
            assert [line.get_label() for line in dots] == ["ℓ1", "log"]
            for line in dots:
                assert len(line.get_xdata()) > 500 and (line.get_ydata() <= line.get_xdata() + 1e-5).all()


def test_no_dot_lies_in_the_forbidden_band(record):
    whole, sharp = theory.forbidden(record).axes
    root = 1.21 - 4 * Log(0.1).scale * (x := np.concatenate([line.get_xdata() for line in whole.lines[:2]]))
    apart = np.concatenate([line.get_ydata() for line in whole.lines[:2]])
    first, second = ((1.1 + sign * np.sqrt(root.clip(0))) / 2 for sign in (-1, 1))
    assert not ((apart > first + 1e-5) & (apart < second - 1e-5) & (root > 0)).any() and len(x) > 1000
    dots = sharp.collections[0].get_offsets()
    assert (dots[:, 1] <= dots[:, 0] + 1e-5).all()


def test_the_isotropic_case_tells_where_zero_becomes_cheaper():
    short, share = theory.isotropic(Log(0.1)).axes
    (told,) = [text.get_text() for text in short.texts]
    assert told.startswith("from t = 0.53 on") and share.lines[0].get_ydata()[0] == pytest.approx(0.379, abs=2e-3)


def test_a_title_says_what_the_curves_say(record):
    many, few = theory.at_best_lambda(record).axes
    assert many.get_title().endswith("log is nearer") and few.get_title().endswith("concavity gains nothing")
    assert [line.get_label() for line in many.lines[::2]] == ["ℓ1", "log, ε = 0.1", "log, ε = 0.01"]
    for ax in (many, few):
        for curve, lowest in zip(ax.lines[::2], ax.lines[1::2]):
            assert curve.get_ydata().min() == lowest.get_ydata()[0]


def test_equal_lambda_draws_the_ratio_of_means(record):
    pairs = record.pairs()
    first, _ = theory.at_equal_lambda(pairs, record.near).axes
    line = first.lines[0]
    rows = pairs[(pairs.kind == "quadratic") & (pairs.noise == "without noise") & (pairs.scale <= 0.2)]
    assert line.get_label() == "quadratic, without noise"
    assert line.get_ydata()[0] == pytest.approx(rows.error.mean() / rows.error_l1.mean(), rel=1e-6)


def test_the_window_of_recovery():
    _, window = theory.zeros_and_recovery(Log(0.1)).axes
    assert [text.get_text() for text in window.texts] == [
        "kept: 1 or more", "dead: 1 or less", "kept: 0.38 or more", "dead: 4.2 or less",
    ]  # fmt: skip


@pytest.mark.parametrize("eps", [1e-3, 0.01, 0.1, 10.0])
def test_nothing_of_zeros_and_recovery_lies_outside(eps):
    hold, window = theory.zeros_and_recovery(Log(eps)).axes
    assert max(line.get_ydata().max() for line in hold.lines) < hold.get_ylim()[1]
    assert all(bar.get_x() + bar.get_width() <= window.get_xlim()[1] for bar in window.patches)


def test_the_forest_has_a_row_for_each_cell_that_decides(record):
    (ax,) = theory.forest(record).axes
    cells = [*planted.at_equal_lambda(record).ratio, *planted.at_best_lambda(record).ratio]
    assert sorted(drawn.lines[0].get_xdata()[0] for drawn in ax.containers) == sorted(cells)
    assert ax.lines[0].get_xdata() == [1, 1]
