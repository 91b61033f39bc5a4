"""costs.py: measurements of steps read as tables, and priced to a ticket."""

import json

import pandas as pd
import pytest

from lottery_lib.errors import LotteryError
from lottery_lib.figures import costs as cost_figures
from lottery_lib.findings import costs, tables

MS = {("ours", "dense"): 2.0, ("ours", "relaxed"): 3.0, ("ours", "calibrated"): 3.3, ("ours", "masked"): 2.5,
      ("uncompiled", "dense"): 2.2, ("reference", "masked"): 20.0}  # fmt: skip


def times(value):
    """Of three rounds, the machine half as fast in the last."""
    return [value, value, 2 * value]


def rows(model, width=1, loops=MS):
    return [
        {"model": model, "width": width, "batch_size": 128, "precision": "fp32", "weights": 10, "limit": times(1.6),
         "loop": loop, "phase": phase, "ms": times(width * ms), "warm_up_seconds": 4.0}
        for (loop, phase), ms in loops.items()
    ]  # fmt: skip


@pytest.fixture
def found():
    ours = {key: ms for key, ms in MS.items() if key[0] == "ours" and key[1] != "masked"}
    rates = {1: [10.0, 9.0, 10.0], 2: [15.0, 20.0, 10.0]}
    return {
        "provenance": {"device": "A machine", "threads": 2, "torch": "9.9"},
        "steps": rows("lenet-300-100") + rows("resnet20"),
        "widths": [row for width in (1, 2, 4) for row in rows("resnet20", width, ours)],
        "memory": [{"phase": "dense", "bytes_a_weight": 8.0}, {"phase": "relaxed", "bytes_a_weight": 26.0}],
        "at_once": [{"model": "resnet20", "trainings": n, "steps_per_second": each} for n, each in rates.items()],
    }


def test_measurements_are_those_of_every_machine(tmp_path, found):
    with pytest.raises(LotteryError, match="no measurements in .*; make them with: make bench"):
        costs.measured(tmp_path)
    other = found | {"provenance": found["provenance"] | {"device": "Another"}}
    for stem, each in (("a", found), ("b", other)):
        (tmp_path / f"{stem}.json").write_text(json.dumps(each))
    assert costs.measured(tmp_path) == {"A machine": found, "Another": other}


def test_a_machine_is_named_by_its_beginning_and_else_the_one_measured_last_is_shown(found, monkeypatch):
    days = {"A machine": "2026-01-02", "Another": "2026-03-01", "B": "2026-02-01"}
    made = {name: {"provenance": {"date": day}, "name": name} for name, day in days.items()}
    monkeypatch.setattr(costs, "measured", lambda: made)
    shown = {named: costs.Selection(machine=named).found["name"] for named in ("", "A", "A m", "B")}
    assert shown == {"": "Another", "A": "Another", "A m": "A machine", "B": "B"}
    with pytest.raises(LotteryError) as error:
        costs.Selection(machine="C")
    assert str(error.value) == "machine = 'C': no such one was measured; known: A machine, Another, B"
    with pytest.raises(LotteryError, match="density = 0.3: on record are 0.4, "):
        costs.Selection(density=0.3)


def test_the_table_gives_each_loop_and_the_ratios(found):
    shown = costs.summary(found)
    assert list(shown.index) == ["LeNet-300-100", "ResNet-20"]
    row = shown.loc["ResNet-20"]
    assert tuple(row[["precision", "limit, ms", "dense, ms", "dense / limit"]]) == ("fp32", 1.6, 2.0, 1.25)
    assert (row["relaxed / dense"], row["calibrated / relaxed"], row["usual / ours"]) == (1.5, 1.1, 8.0)


def test_a_measurement_from_before_a_loop_was_timed_is_shown_without_it(found):
    found["steps"] = [row for row in found["steps"] if row["phase"] != "calibrated"]
    assert not [column for column in costs.summary(found) if "calibrated" in column]
    names = {bar.get_label() for bar in cost_figures.step_times(found).axes[0].containers}
    assert "relaxed: weights and mask" in names and not [name for name in names if "calibrated" in name]


def test_ratios_are_of_the_same_round(found):
    """Relaxed steps measured while the machine was slow are not called slow."""
    dense, relaxed = found["steps"][:2]
    dense["ms"], dense["limit"], relaxed["ms"] = [2.0, 4.0, 6.0], [1.0, 2.0, 3.0], [3.0, 6.0, 3.0]
    row = costs.summary(found).loc["LeNet-300-100"]
    assert (row["relaxed / dense"], row["dense / limit"], row["dense, ms"]) == (1.5, 2.0, 4.0)
    timed = costs.steps(found).iloc[1]
    assert (timed.n, timed.least, timed.most) == (3, 3 / 3.2, 6 / 1.6)


def test_machines_stand_side_by_side_with_the_precision_of_each(found):
    """One of them was not timed on ResNet-20."""
    quick = [row | {"precision": "bf16", "ms": times(row["ms"][0] / 2)} for row in found["steps"][: len(MS)]]
    shown = costs.machines([found, found | {"provenance": {"device": "Another"}, "steps": quick}])
    assert shown["A machine"].to_dict() == {"LeNet-300-100": "1.25 in fp32", "ResNet-20": "1.25 in fp32"}
    assert shown["Another"].dropna().to_dict() == {"LeNet-300-100": "0.62 in bf16"}


def test_memory_is_given_beyond_dense(found):
    assert costs.memory(found)["beyond dense"].to_dict() == {"dense": 0.0, "relaxed: weights and mask": 18.0}


def test_the_machine_and_the_warm_up_are_named(found):
    said = costs.machine(found)
    assert "A machine, 2 threads, torch 9.9" in said and "ResNet-20 4 s" in said


def test_a_step_is_parted_in_multiples_of_the_limit(found):
    spent = {"limit": 1.6, "products": 2.4, "optimizer": 0.4, "other": 0.8, "between": 0.4}
    for row in found["steps"]:
        if row["loop"] == "ours":
            row["where"] = spent if row["phase"] == "relaxed" else {}
    parts = costs.where(found, "relaxed")
    assert list(parts.index) == ["LeNet-300-100", "ResNet-20"] and set(parts["the step"]) == {2.5}
    assert parts.loc["ResNet-20", "convolutions and products"] == 1.5 and parts.loc["ResNet-20", "optimiser"] == 0.25


def test_a_machine_without_a_profile_shows_none(found):
    assert costs.where(found, "dense").empty


def test_a_ticket_is_priced_by_its_epochs_and_the_steps_of_its_phases(found, monkeypatch):
    """A search of 10 epochs on a moving mask, then 10 masked; IMP masked all the way. 1,000 steps an epoch."""
    lines = [("mask, log, calibrated", "concave", 10, 20, None), ("mask, log", "concave", 10, 20, 1e-4),
             ("IMP", "imp", 40, 50, None), ("random", "random", 0, 10, None)]  # fmt: skip
    runs = pd.DataFrame(
        {"run": called, "protocol": "lenet", "model": "lenet-300-100", "name": called, "method": method,
         "density_asked": 0.05, "search_epochs": search, "total_epochs": total, "test_accuracy": accuracy,
         "lam": lam}
        for called, method, search, total, lam in lines for accuracy in (90.0, 92.0)
    )  # fmt: skip
    untimed = runs.assign(model="vgg16")
    monkeypatch.setattr(costs.tables, "chosen", lambda table: table)
    record = {"images": {"train": 128_000}, "recipe": {"batch_size": 128}}
    monkeypatch.setattr(costs.records, "read_record", lambda run: record)
    other = runs.assign(density_asked=0.2, test_accuracy=0.0)
    priced = costs.to_a_ticket(pd.concat([runs, untimed, other]), found, 0.05)
    assert set(priced.index) == {"mask, log, calibrated", "mask, log", "IMP"} and set(priced.network) == {
        "LeNet-300-100, lenet"
    }
    assert priced.seconds.to_dict() == {
        "mask, log, calibrated": 10 * (3.3 + 2.5), "mask, log": 10 * (3 + 2.5), "IMP": 50 * 2.5
    }  # fmt: skip
    assert {*priced["test accuracy, %"]} == {91.0} and set(priced.n) == {2}


def test_the_fast_path_is_compared_seed_by_seed_with_the_plain_one():
    """A run that overrides its recipe, and one without its partner, are left out."""
    shared = {"protocol": "cifar-short", "model": "resnet20", "dataset": "cifar10", "reduced": True, "method": "dense",
              "density_asked": 1.0, "total_epochs": 10, "epochs": None, "lr": None, "batch_size": None,
              "vectors": "AVX2", "threads": 1}  # fmt: skip
    accuracies = {(0, True): 80.0, (1, True): 81.0, (2, True): 85.0, (0, False): 80.5, (1, False): 80.0}
    rows = [shared | {"seed": seed, "fast": None if fast else False, "test_accuracy": accuracy}
            for (seed, fast), accuracy in accuracies.items()]  # fmt: skip
    found = costs.accuracy_of_the_fast_path(pd.DataFrame([*rows, rows[0] | {"lr": 0.4, "test_accuracy": 10.0}]))
    assert found.index.to_list() == ["ResNet-20 on CIFAR-10 (cifar-short, reduced)"] and found.n.to_list() == [2]
    assert found["fast − plain, % on test"].to_list() == ["+0.25 (n = 2)"]
    otherwise = [row | ({"vectors": "AVX512"} if row["seed"] == 1 and row["fast"] is False else {}) for row in rows]
    assert costs.accuracy_of_the_fast_path(pd.DataFrame(otherwise)).n.to_list() == [1]
    assert costs.accuracy_of_the_fast_path(pd.DataFrame(rows[:3])).empty


def test_no_ticket_at_that_density_is_an_empty_table(found):
    assert costs.to_a_ticket(tables.runs(), found, density=1.0).empty


def test_the_figures_show_the_measurements(found):
    ax = cost_figures.step_times(found).axes[0]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["LeNet-300-100", "ResNet-20"]
    heights = {bar.get_label(): list(bar.lines[0].get_ydata()) for bar in ax.containers}
    assert heights["dense"] == pytest.approx([1.25, 1.25])
    assert heights["the usual loop, under a fixed mask"] == pytest.approx([12.5, 12.5])
    width, many = cost_figures.growth(found).axes
    lines = {line.get_label(): list(line.get_ydata()) for line in width.lines}
    assert lines["dense"] == [2.0, 4.0, 8.0] and lines["relaxed: weights and mask"] == [3.0, 6.0, 12.0]
    lines = {line.get_label(): line.get_xydata().tolist() for line in many.lines}
    assert lines["ResNet-20"] == [[1, 62.5], [2, pytest.approx(1000 / 15 / 1.6)]]


def test_trainings_that_share_the_cores_are_given_beside_the_limit(found):
    shares = costs.shares(found)["ResNet-20"].to_dict()
    assert shares == {"1 at once, ms a step": 100.0, "2 at once, ms a step": 66.67,
                      "1 at once / limit": 62.5, "2 at once / limit": 41.67}  # fmt: skip


def test_without_trainings_at_once_table_and_panel_are_empty(found):
    del found["at_once"]
    assert costs.shares(found).empty
    assert not cost_figures.growth(found).axes[1].axison
