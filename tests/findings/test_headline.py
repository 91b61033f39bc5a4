"""headline.py: the landing page's answer is what the records say, and hides nothing."""

import pandas as pd
import pytest
from runs import line, runs

from lottery_lib.findings import effects, headline, rules, tables


def around(mean: float) -> list[float]:
    return [mean, mean + 0.1, mean - 0.1]


@pytest.mark.parametrize(("ours", "said"), [
    (97.0, "as good"), (98.0, "better"), (95.0, "worse"),
])  # fmt: skip
def test_it_is_what_the_records_say(ours, said, monkeypatch):
    at = (0.4, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005)
    rows = [row for d in at for row in line("mask, log, calibrated", around(ours), d) + line("IMP", around(97.0), d)]
    rows += [row for d in at for row in line("random", around(60.0), d)] + line("dense", around(98.0), 1.0)
    monkeypatch.setattr(headline.tables, "runs", lambda: runs(*rows))
    lead, table, *_ = headline.markdown().split("\n\n")
    assert lead.startswith(f"{headline.LEAD} **on MNIST {said}.**") and "cut to" not in lead
    mean = f"{ours - 97:+.2f}".replace("-", "−")
    *_, row = table.splitlines()
    counted = {"as good": "equal"}.get(said, said)
    assert row.startswith(f"| MNIST, LeNet-300-100 | one search | 98.0, 97.0, {ours} | {mean} ±")
    assert row.endswith(f" | {mean} (at 0.4) | {mean} (at 0.005) | 7 of 7: 7 {counted} | 3 | 40 % |")


def test_it_tells_of_the_control_that_costs_no_more(monkeypatch):
    rows = line("mask, log, calibrated", around(96.0), 0.05) + line("random", around(60.0), 0.05)
    rows += line("dense", around(98.0), 1.0)
    monkeypatch.setattr(headline.tables, "runs", lambda: runs(*rows))
    assert "gradually" not in headline.markdown()
    monkeypatch.setattr(headline.tables, "runs", lambda: runs(*rows, *line("gradual magnitude", around(97.0), 0.05)))
    told = headline.markdown().splitlines()[-2]
    assert told.startswith("- **Against magnitude pruned gradually inside one training**")
    assert told.endswith("the mask is on MNIST worse in 1 of 1 cells.")


def test_it_does_not_hide_that_settings_differ(monkeypatch):
    at = ((0.4, 96.0), (0.2, 96.0), (0.1, 97.0), (0.05, 97.0), (0.02, 97.0), (0.01, 98.0), (0.005, 98.0))
    rows = [row for d, ours in at for row in line("mask, log, calibrated", around(ours), d)]
    rows += [row for d, _ in at for row in line("IMP", around(97.0), d) + line("random", around(60.0), d)]
    monkeypatch.setattr(headline.tables, "runs", lambda: runs(*rows, *line("dense", around(98.0), 1.0)))
    told = headline.markdown()
    assert "**on MNIST better in 2 of 7 settings and worse in 2.**" in told
    assert "| one search | 98.0, 97.0, 97.0 | +0.00 | −1.00 (at 0.4) | +1.00 (at 0.005) |" in told
    assert "| 7 of 7: 2 better, 2 worse, 3 equal |" in told


def test_it_tells_of_one_search_and_of_searches_in_rounds_as_far_as_they_are_judged(monkeypatch):
    place = {"protocol": "cifar-short", "dataset": "cifar10", "reduced": True}
    rows = []
    for model, densities in (("conv-small", (0.2, 0.1, 0.05)), ("resnet20", (0.2, 0.05))):
        here = place | {"model": model}
        rows += line("dense", around(82.0), 1.0, **here)
        for d in densities:
            rows += line("IMP", around(80.0), d, **here) + line("random", around(60.0), d, **here)
            rows += line("mask, log, calibrated", around(78.0), d, **here)
            rows += line("mask, log, calibrated, in rounds", around(83.0), d, **here)
    vgg = place | {"protocol": "vgg16-cifar10-short", "model": "vgg16"}
    few = line("mask, log, calibrated", [10.0], 0.05, **vgg) + line("IMP", [80.0], 0.05, **vgg)
    monkeypatch.setattr(headline.tables, "runs", lambda: runs(*rows, *few))
    lead, table, *_ = headline.markdown().split("\n\n")
    assert "**on CIFAR-10 worse, searched in several rounds better.**" in lead
    assert lead.endswith("Trainings on CIFAR-10 are cut to 10 epochs.")
    *_, one, rounds = table.splitlines()
    where = "{0} (small CNN, 0.2) | {0} (ResNet-20, 0.05) | 5 of 9: 5 {1} | 3 |"
    assert (
        one.startswith("| CIFAR-10 | one search | 82.0, 80.0, 78.0 | −2.00 ±") and where.format("−2.00", "worse") in one
    )
    assert (
        rounds.startswith("|  | in rounds | 82.0, 80.0, 83.0 | +3.00 ±") and where.format("+3.00", "better") in rounds
    )
    assert {of: list(rows) for of, rows in headline.overall().items()} == {
        "one search": ["CIFAR-10"], "in rounds": ["CIFAR-10"],
    }  # fmt: skip
    kept = [row for row in rows if row.get("rounds") != 4 or row["density_asked"] == 0.2]
    monkeypatch.setattr(headline.tables, "runs", lambda: runs(*kept))  # one setting may be luck
    assert "several rounds" not in headline.markdown()


def test_it_tells_who_is_ahead_so_far_of_what_costs_as_much_as_searching_in_rounds(monkeypatch):
    place = {"protocol": "cifar-short", "dataset": "cifar10", "model": "conv-small", "reduced": True}
    rows = line("mask, log, calibrated, in rounds", around(78.0), 0.05, **place)
    rows += line("mask, log, calibrated", around(78.0), 0.05, **place) + line("IMP", around(77.0), 0.05, **place)
    rows += line("IMP, early rewinding", [79.0], 0.05, **place)
    monkeypatch.setattr(headline.tables, "runs", lambda: runs(*rows))
    assert "for too few seeds to decide (n = 1; so far the mask is behind in the only setting)." in headline.markdown()


def test_nothing_on_record_is_said_in_a_sentence(monkeypatch):
    monkeypatch.setattr(headline.tables, "runs", lambda: runs(*line("IMP", around(97.0))))
    assert headline.markdown().startswith("No ticket of a learned mask is on record beside")


def test_it_says_where_seeds_are_too_few(monkeypatch):
    rows = [*line("mask, log, calibrated", [95.0], 0.1), *line("IMP", [96.0], 0.1)]
    monkeypatch.setattr(headline.tables, "runs", lambda: runs(*rows))
    told = headline.markdown()
    assert "**on MNIST too few seeds to decide.**" in told
    assert "| one search | –, 96.0, 95.0 | −1.00 | −1.00 (at 0.1) | −1.00 (at 0.1) | 1 of 7 | 1 | 40 % |" in told


def test_it_names_networks_that_differ_and_says_where_imp_may_have_failed(monkeypatch):
    rows, snip = [], []
    for model, ours, imp in (("resnet18", 66.0, 60.3), ("vgg19", 60.0, 63.0)):
        place = {"protocol": f"{model}-cifar100-short", "dataset": "cifar100", "model": model, "reduced": True}
        rows += line("dense", around(70.0), 1.0, **place)
        for d in (0.2, 0.05):
            rows += line("mask, log, calibrated", around(ours), d, **place)
            rows += line("IMP", around(imp), d, **place) + line("random", around(50.0), d, **place)
            snip += line("SNIP", around(60.0), d, **place)
    monkeypatch.setattr(headline.tables, "runs", lambda: runs(*rows, *snip))
    told = headline.markdown()
    assert "**on CIFAR-100 better in 2 of 4 settings, in 2 of which IMP may have failed, and worse in 2.**" in told
    extremes = "−3.00 (VGG-19 at ¼ width, 0.2) | +5.70 (ResNet-18 at ¼ width, 0.05)"
    assert f"| +1.35 | {extremes} | 4 of 4: 2 better, 2 worse |" in told
    assert "**IMP may have failed rather than been beaten** in 2 of 4 settings on CIFAR-100: there" in told
    assert "It is not known" not in told
    one = [row for row in snip if row["model"] == "resnet18"]
    monkeypatch.setattr(headline.tables, "runs", lambda: runs(*rows, *one))
    assert "It is not known on VGG-19 at ¼ width on CIFAR-100, where SNIP is not on record." in headline.markdown()
    monkeypatch.setattr(headline.tables, "runs", lambda: runs(*rows))
    assert headline.markdown() and "SNIP" not in headline.markdown()  # not on record


def test_it_judges_a_setting_as_its_claim_does():
    told = pd.concat([cells for _, cells in headline.against_imp().values()]).set_index(effects.KEY)
    for id in ("C4", "C5", "C10"):  # which share none
        judged = rules.judged(rules.rule(id), tables.chosen(tables.runs())).set_index(effects.KEY)
        both = told.index.intersection(judged.index)
        assert len(both) and (told.judgement[both] == judged.judgement[both]).all()
