"""cheaper.py: the forms of a cheaper search, held against the whole one."""

from itertools import groupby

import pandas as pd
import pytest
import torch
from runs import line, runs

from lottery_lib.findings import cheaper, rules, tables

WHOLE, THIRD, TENTH = (f"mask, log, calibrated{form}" for form in ("", ", 3 epochs of search", ", 1 epoch of search"))
GOOD = [98.3, 98.2, 98.25, 98.35, 98.2]


def off(points):
    return [value + points for value in GOOD]


@pytest.fixture
def found():
    rows = [row for density in (0.05, 0.01) for row in line(WHOLE, GOOD, density) + line(THIRD, off(-0.02), density)]
    rows += line(TENTH, off(0.01), 0.05) + line(TENTH, off(-1.0), 0.01)
    rows += [row for density in (0.05, 0.01) for row in line("random", off(-4), density)]
    rows += (
        line("dense", off(0.1), 1.0)
        + line("IMP", off(0.1))
        + line("edge-popup", off(-2))
        + line("gradual magnitude", GOOD)
    )
    return tables.chosen(runs(*({"run": str(number)} | row for number, row in enumerate(rows))))


def test_a_cheaper_search_is_a_line_of_its_own(found):
    assert {WHOLE, THIRD, TENTH, "edge-popup"} <= {*found.name}
    assert {*cheaper.lines(found).name} == {
        WHOLE, THIRD, TENTH, "edge-popup", "IMP", "gradual magnitude", "random", "dense",
    }  # fmt: skip


def shown(runs):
    return rules.shown(rules.rule("O2"), runs)


def test_the_cheapest_search_that_is_nowhere_worse_is_recommended(found):
    judged = shown(found)
    said = cheaper.recommendation(judged)
    assert "a third of the epochs, 13 epochs with retraining, is the cheapest nowhere worse" in said
    assert "(at 0.05 and 0.01)" in said
    tenth = judged[judged.contrast == "a tenth of the epochs"].set_index("density_asked").judgement
    assert tenth[0.01] == "worse" != tenth[0.05]
    worse = found.assign(test_accuracy=found.test_accuracy - (found.name == THIRD))
    assert "is worse somewhere" in cheaper.recommendation(shown(worse))
    assert cheaper.recommendation(judged[:0]) == "No cheaper search is judged yet."
    noisy = found.test_accuracy - (found.name == THIRD) * (found.seed - 2)
    unsure = shown(found.assign(test_accuracy=noisy))
    assert "open" in {*unsure.judgement[unsure.contrast == "a third of the epochs"]}
    assert "is worse somewhere, or may be" in cheaper.recommendation(unsure)  # open is not level


def test_masks_are_held_against_that_of_the_whole_search(found, monkeypatch):
    kept = {True: torch.tensor([True, True, False, False]), False: torch.tensor([True, False, True, False])}
    whole = {*found[found.name == WHOLE].run}
    monkeypatch.setattr(cheaper, "ticket_mask", lambda run: {"fc": kept[run in whole]})
    shared = cheaper.overlaps(found.assign(search_epochs=found.total_epochs - 10))
    assert shared[shared.name == WHOLE].overlap.eq(1).all() and shared[shared.name != WHOLE].overlap.eq(0.5).all()
    table = cheaper.readable(shared)
    assert [search for *_, search in table.index[:3]] == ["whole", "3 epochs of search", "1 epoch of search"]
    assert [density for _, density, _ in table.index] == [0.05] * 3 + [0.01] * 3
    both = [shared, shared.assign(model="conv-small", protocol="cifar-short")]
    two = cheaper.readable(pd.concat(both, ignore_index=True))
    assert [len(list(rows)) for _, rows in groupby(two.index, key=lambda key: key[0])] == [6, 6]  # a network at a time
    assert cheaper.readable(cheaper.overlaps(found[:0])).empty


def test_what_a_mask_knows_without_training(found, monkeypatch):
    record = {"search": [{"val_accuracy": 20.0}, {"val_accuracy": 60.0}]}
    monkeypatch.setattr(cheaper.records, "read_record", lambda run: record)
    (row,) = cheaper.untrained(found).reset_index().to_dict("records")
    assert (row["mask"], row["n"]) == ("edge-popup", 5)
    assert row["not a weight trained: validation, %"].startswith("60.00")
    assert cheaper.untrained(found[:0]).empty and isinstance(cheaper.untrained(found[:0]), pd.DataFrame)


def test_other_chapters_leave_them_out(found):
    assert {*tables.whole_searches(found).name} == {WHOLE, "dense", "IMP", "gradual magnitude", "random"}
