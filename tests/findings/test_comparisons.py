"""comparisons.py: what cells come to, said in sentences and tables."""

import pandas as pd
from runs import line, runs

from lottery_lib.findings import cells, comparisons, tables


def test_what_is_said_are_the_numbers():
    table = runs(
        *line("mask, log", [98.0, 98.5, 99.0, 50.0]),  # a seed that the other side lacks
        *line("IMP", [97.0, 97.5, 98.0]),
        *line("mask, log", [90.0], 0.1),
        *line("IMP", [90.1], 0.1),
        *line("random", [80.0]),
        *line("dense", [99.0], 1.0),
    )
    found = cells.cells(tables.chosen(table), {"how": ("mask, log", "IMP")})
    assert comparisons.lines(found) == [
        "LeNet-300-100 on MNIST (lenet), n = 1 to 3: how, not enough seeds at 0.1, better at 0.05 (+1.00 ±\xa00.05)"
    ]
    assert comparisons.tally(found) == "better in 1 of 1 cells"
    unjudged = found.assign(model="resnet20", judgement="not enough seeds")
    assert comparisons.tallies(pd.concat([found, unjudged])) == (
        "LeNet-300-100 on MNIST (lenet): how, better in 1 of 1 cells. "
        "On record but not judged: ResNet-20 on MNIST (lenet)."
    )
    glance = comparisons.compact(found.assign(decides=found.density_asked < 0.1))
    assert glance.to_dict("records") == [{"0.1": "n < 3", "0.05": "+1.00 ±\xa00.05, better ●"}]
    shown = comparisons.readable(found)
    assert shown.difference.tolist() == ["–", "+1.00 ±\xa00.05"] and shown.epochs.tolist() == ["20 against 50"] * 2
    assert shown["test accuracy, %"].tolist() == ["–", "98.50 against 97.50"]
    assert shown.judgement.tolist() == ["not enough seeds", "better"] and shown["M"].tolist() == ["–", "1.00"]


def test_a_table_tells_of_few_seeds_and_of_densities_that_were_missed():
    rows = [*line("IMP", [97.0, 97.5, 98.0]), *line("random", [80.0, 82.0])]
    rows += [row | {"density": 0.0064} for row in line("mask, log", [96.0, 96.5, 97.0])]
    found = comparisons.summary(tables.named(runs(*rows)))
    assert comparisons.pivot(found)["0.05"].to_dict() == {
        "mask, log": "96.50 ±\xa01.24 (kept 0.0064)", "IMP": "97.50 ±\xa01.24", "random": "81.00 (n = 2)",
    }  # fmt: skip
    assert "n = 3, and without" in comparisons.told(found)
    assert "n as counted" in comparisons.told(found[found.n < 3])
