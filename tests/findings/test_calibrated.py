"""calibrated.py: O1's rule on made-up runs, what counts as steered, and a search that is watched."""

import numpy as np
import pytest
from runs import line, runs

from lottery_lib import masks
from lottery_lib.errors import LotteryError
from lottery_lib.figures import calibrated as figures
from lottery_lib.findings import calibrated, cells, tables
from lottery_lib.findings.rules import FAILS, HOLDS, UNDECIDED

GOOD, LESS, WORST = [90.0, 90.1, 90.2], [89.0, 89.2, 89.1], [85.0, 85.1, 85.2]
SET = "mask, log, calibrated"


AT = (0.2, 0.1, 0.05, 0.02, 0.01, 0.005)


def everywhere(*given: tuple) -> list[dict]:
    """Lines at all densities that the rule asks for on LeNet, with the lines that give them their scale."""
    rows = [row for d in AT for name, seen in (*given, ("random", WORST)) for row in line(name, seen, d)]
    return [*rows, *line("dense", [91.0], 1.0)]


def off(rows: list[dict], error: float) -> list[dict]:
    return [row | {"density": row["density"] * (1 + error)} for row in rows]


def _set(row: dict) -> bool:
    """Whether it is a run of a calibrated search."""
    return row.get("lam", 0) is None and row.get("mask_lr", 0) is None and "method" not in row


def answer(*rows: dict):
    """On MNIST: status and numbers."""
    found = calibrated.no_tuning(runs(*rows))
    return next(answer for answer in found.answers if answer.dataset == "MNIST")


def test_it_holds_where_the_density_is_reached_and_tickets_are_not_worse():
    rows = everywhere((SET, GOOD), ("mask, log", GOOD))
    assert answer(*rows).status == HOLDS and "; 18 of 18 densities within 2 %;" in answer(*rows).numbers
    assert "; in 6 of the 6 decided, of the λ tried by hand only one ended at α ≤ 0.1," in answer(*rows).numbers
    first = "100 % of 18 searches under log, on MNIST, within 2 % of the density asked for, the farthest 0 % off"
    found = calibrated.no_tuning(runs(*rows))
    assert found.findings[0] == first and not any("0 of 0" in each.counted for each in found.answers)
    assert answer(*everywhere((SET, LESS), ("mask, log", GOOD))).status == FAILS


def test_a_density_that_is_missed_is_no_however_good_the_tickets():
    rows = everywhere((SET, GOOD), ("mask, log", LESS))

    def off_at(density, kept):
        missed = [row | {"density": 0.97 * density} if row["density"] == density and _set(row) else row for row in rows]
        return answer(*(row for row in missed if not _set(row) or row["seed"] in kept))

    assert off_at(0.05, (0, 1, 2)).status == FAILS and "15 of 18 densities" in off_at(0.05, (0, 1, 2)).numbers
    assert off_at(0.05, (0, 1)).status == UNDECIDED  # two seeds refute nothing
    feedback = off([row for d in AT for row in line("mask, log: PI feedback", GOOD, d)], 5.0)  # not ours to answer for
    assert answer(*rows, *feedback).status == HOLDS


def test_without_a_search_or_its_opponent_there_is_no_answer():
    assert calibrated.no_tuning(runs(*everywhere((SET, GOOD)))) is None
    assert calibrated.no_tuning(runs()) is None


def test_steered_are_those_that_aim_at_a_density_by_the_protocol():
    rows = [
        *line(SET, [90.0]),
        *line("mask, log: PI feedback", [90.0]),
        *line("mask, log", [90.0]),
        *line("IMP", [90.0]),
    ]
    rows += [*line(SET, [1.0], alpha=0.3), *line(SET, [1.0], lr=0.4)]
    steered = calibrated.steered(runs(*off(rows, 0.5)))
    assert list(steered.name) == [SET, "mask, log: PI feedback"] and list(steered.error) == pytest.approx([0.5, 0.5])
    shown = calibrated.nearness(steered)
    assert shown["within 2 %"].tolist() == [0, 0] and shown["largest error, %"].tolist() == [50, 50]


@pytest.mark.parametrize("count", [0, 1])
def test_where_nothing_is_steered_the_figure_says_so(count):
    steered = calibrated.steered(runs(*line("IMP", [90.0]))[:count])
    assert steered.empty
    with pytest.raises(LotteryError, match="no run on record has what this figure shows"):
        figures.density_errors(steered)


def test_tickets_by_feedback_are_compared_where_it_came_near_its_density():
    rows = [*line(SET, [90.0, 91.0]), *off(line("mask, log: PI feedback", [90.5, 91.1]), 0.05)]
    rows += [*off(line("mask, log: dual feedback", [95.0, 95.0]), 0.3), *line("IMP", [95.0])]
    shown = calibrated.by_feedback(calibrated.steered(runs(*rows)))
    assert [name for _, name, _ in shown.index] == ["mask, log: PI feedback"]
    assert shown.iloc[0].tolist() == [2, pytest.approx(5.0), "+0.30"]
    three = [*line(SET, [90.0, 91.0, 92.0]), *off(line("mask, log: PI feedback", [90.5, 91.5, 92.8]), 0.05)]
    assert calibrated.by_feedback(calibrated.steered(runs(*three))).points.iloc[0] == "+0.60 ±\xa00.43"


@pytest.fixture(scope="module")
def watched():
    return calibrated.watch(0.1)


def test_the_price_that_is_charged_is_the_kth_of_those_that_are_seen(watched):
    before = watched.frames[watched.frames.done < watched.settling]
    assert before.lam.between(
        before["0.75"] - 1e-9, before["0.95"] + 1e-9
    ).all()  # nine tenths of the entries are to go
    assert watched.frames[watched.frames.done >= watched.settling]["0.5"].isna().all()
    assert watched.frames.density.iloc[-1] == pytest.approx(0.1, rel=0.02)
    last = watched.counts[-1]
    assert last[1 + round(0.1 * 50) :].sum() / last.sum() == pytest.approx(watched.frames.density.iloc[-1])
    assert set(watched.counts.sum(1)) == {
        sum(m.numel() for m in masks.ones(calibrated.models.create("lenet-300-100", 10, (1, 8, 8))).values())
    }


def test_watching_changes_nothing(watched):
    assert watched.frames.equals(calibrated.watch(0.1).frames)
    with pytest.raises(LotteryError, match="density"):
        calibrated.watch(0.0)


def test_figures_draw_what_was_seen(watched):
    left, right = figures.prices(watched).axes
    lam = next(drawn for drawn in left.lines if str(drawn.get_label()).startswith("λ"))
    assert np.array_equal(lam.get_ydata(), watched.frames[watched.frames.done < watched.settling].lam)
    assert np.array_equal(right.lines[0].get_ydata(), watched.frames.density)
    runs_ = runs(*off(everywhere((SET, GOOD), ("mask, log: PI feedback", GOOD)), 0.25))
    steered = calibrated.steered(runs_)
    (ax,) = figures.density_errors(steered).axes
    assert [drawn.get_xdata().tolist() for drawn in ax.lines] == [
        pytest.approx([25.0] * 18)
    ] * 2 * steered.protocol.nunique()


def test_where_it_is_behind_is_told():
    table = runs(*everywhere((SET, LESS), ("mask, log", GOOD)))
    found = cells.cells(tables.chosen(table), {"one search": (SET, "mask, log")})
    told = calibrated.behind(found)
    assert told.startswith(
        "The calibrated search lies more than 0.1 points below, on the mean, in 6 of 6: LeNet-300-100 on MNIST at 0.2, "
    )
    assert "at 0.005, one search (−1.00 ±" in told and told.endswith(", n = 3).")
    nowhere = "Nowhere does the calibrated search lie more than 0.1 points below, on the mean."
    assert calibrated.behind(found.assign(mean=-0.05)) == nowhere
