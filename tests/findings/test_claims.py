"""claims.py: a record decides the status, and the README says what the records say."""

import pandas as pd
import pytest
from runs import line, runs

from lottery_lib import paths
from lottery_lib.errors import LotteryError
from lottery_lib.findings import claims, effects, pages, rules, tables
from lottery_lib.findings.claims import MARKERS, NOT_RUN, Claim
from lottery_lib.findings.effects import Effect
from lottery_lib.findings.rules import FAILS, HOLDS, UNDECIDED
from lottery_lib.findings.verdicts import Answer, Verdict

STATUSES = (HOLDS, f"{HOLDS} ", "mixed, ", FAILS, UNDECIDED)
VERDICT = Verdict(
    (
        Answer("MNIST", HOLDS, "3 of 3", Effect(1.0, 0.5, "3", 3, 3, 1.0), "3"),
        Answer("CIFAR-10", UNDECIDED, "", n="1", reduced=True),
    ),
    ("one", "two"),
    "lenet",
    "here",
    "lottery x",
)


# The list and the table.


def test_the_claims_in_their_order():
    found = claims.load()
    assert [claim.id for claim in found] == [f"C{i}" for i in range(1, 11)] + ["O1", "O2", "O3"]
    assert len({claim.text for claim in found}) == len(found)
    for claim in found:
        assert claim.verdict is None or claim.id in claims.VERDICTS
        assert claim.status.startswith(STATUSES if claim.verdict else NOT_RUN)
        assert claim.chapter is not None or claim.verdict is None, "a verdict that no chapter tells"
        assert claim.chapter is None or (paths.ROOT / f"{claim.chapter}.ipynb").exists()
    assert claims.VERDICTS.keys() <= {claim.id for claim in found}


def test_a_status_is_never_typed():
    written = paths.CLAIMS.read_text("utf-8")
    assert not any(status in written for status in (HOLDS, FAILS, UNDECIDED, "mixed"))


def test_no_status_rests_on_fewer_than_three_seeds():
    for claim in claims.load():
        for answer in claim.verdict.answers if claim.verdict else ():
            assert answer.status == UNDECIDED or answer.n.partition(" ")[0] not in ("0", "1", "2")


def test_what_a_page_says_is_the_verdict(monkeypatch):
    monkeypatch.setattr(claims, "VERDICTS", {"C4": lambda: VERDICT})
    found = {claim.id: claim for claim in claims.load()}
    said = claims.answer("C4", "C2")
    assert said.startswith(
        f"**C4: holds on MNIST.** *{found['C4'].text}*\n\nOn MNIST, it **holds**: 3 of 3, {found['C4'].short} "
        "+1.00 ±\xa00.50 points, n = 3. On CIFAR-10, in shortened trainings, there is **not enough evidence**: n = 1.\n"
    )
    assert "- one\n- two\n\nProtocols lenet, on here." in said
    assert said.endswith(f"**C2: not yet run.** *{found['C2'].text}*")


def test_table():
    rows = [Claim("C1", "It holds", "a", VERDICT), Claim("C2", "And this", "notebooks/02", None)]
    assert claims.table(rows, lambda claim: f"{claim.id}.md").splitlines()[2:] == [
        "| [C1](C1.md) | It holds | MNIST | +1.00 ±\xa00.50 | 3 | **holds**: 3 of 3 |",
        "| [C1](C1.md) |  | CIFAR-10, reduced | – | 1 | **not enough evidence** |",
        "| [C2](C2.md) | And this | | | | not yet run |",
    ]


def test_what_is_open_is_told_with_where():
    rows = [Claim("C1", "It holds", "a", VERDICT), Claim("C2", "And this", "notebooks/02", None)]
    assert pages.opened(rows) == "- **C1**, on CIFAR-10: It holds\n- **C2**, not yet run: And this"


def test_only_what_stands_between_the_markers_is_renewed():
    found = [Claim("O1", "What then?", None, None)]
    text = f"before | a\n\n{MARKERS[0]}\nstale\n{MARKERS[1]}\nafter {MARKERS[1]}\n"
    renewed = f"before | a\n\n{MARKERS[0]}\n{claims.summary(found)}\n{MARKERS[1]}\nafter {MARKERS[1]}\n"
    assert claims.with_summary(text, found) == renewed
    assert claims.with_summary(renewed, found) == renewed


@pytest.mark.parametrize("text", ["", MARKERS[0], MARKERS[1], "".join(reversed(MARKERS))])
def test_lost_markers(text):
    with pytest.raises(LotteryError, match=f"lost its markers {MARKERS[0]} and {MARKERS[1]}; put them around"):
        claims.with_summary(text, [])


def test_the_readme_says_what_the_records_say():
    readme = (paths.ROOT / "README.md").read_text("utf-8")
    assert readme == claims.with_summary(readme, claims.load()), "run: lottery claims --write"


def test_the_page_of_claims_says_what_the_records_say():
    assert (paths.ROOT / "book" / "claims.md").read_text("utf-8") == claims.page(claims.load()), (
        "run: lottery claims --write"
    )


# The answer to the title's question.


def around(mean: float) -> list[float]:
    return [mean, mean + 0.1, mean - 0.1]


@pytest.mark.parametrize(("ours", "said"), [
    (97.0, "as good"), (98.0, "better"), (95.0, "worse"),
])  # fmt: skip
def test_the_headline_is_what_the_records_say(ours, said, monkeypatch):
    at = (0.4, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005)
    rows = [row for d in at for row in line("mask, log, calibrated", around(ours), d) + line("IMP", around(97.0), d)]
    rows += [row for d in at for row in line("random", around(60.0), d)] + line("dense", around(98.0), 1.0)
    monkeypatch.setattr(claims.tables, "runs", lambda: runs(*rows))
    lead, told = claims.headline().split("\n\n")
    assert "iterative magnitude pruning (IMP)" in lead and "CIFAR" not in told
    mean = f"{ours - 97:+.2f}".replace("-", "−")
    assert told.startswith(f"- **On MNIST, {said}**: {mean} ±")
    extremes = f"from {mean} (density 0.4) to {mean} (density 0.005)"
    assert f" over all 7 settings of LeNet-300-100, {extremes}; 3 seeds, 40 % of IMP’s" in told


def test_the_headline_tells_of_the_control_that_costs_no_more(monkeypatch):
    rows = line("mask, log, calibrated", around(96.0), 0.05) + line("random", around(60.0), 0.05)
    rows += line("dense", around(98.0), 1.0)
    monkeypatch.setattr(claims.tables, "runs", lambda: runs(*rows))
    assert "gradually" not in claims.headline()
    monkeypatch.setattr(claims.tables, "runs", lambda: runs(*rows, *line("gradual magnitude", around(97.0), 0.05)))
    told = claims.headline().splitlines()[-1]
    assert told.startswith("- **Against magnitude pruned gradually inside one training**")
    assert told.endswith("the mask is on MNIST worse in 1 of 1 cells.")


def test_the_headline_does_not_hide_that_settings_differ(monkeypatch):
    at = ((0.4, 96.0), (0.2, 96.0), (0.1, 97.0), (0.05, 97.0), (0.02, 97.0), (0.01, 98.0), (0.005, 98.0))
    rows = [row for d, ours in at for row in line("mask, log, calibrated", around(ours), d)]
    rows += [row for d, _ in at for row in line("IMP", around(97.0), d) + line("random", around(60.0), d)]
    monkeypatch.setattr(claims.tables, "runs", lambda: runs(*rows, *line("dense", around(98.0), 1.0)))
    told = claims.headline()
    assert "**On MNIST, better in 2 settings and worse in 2**: +0.00 on average over all 7 settings" in told
    assert "from −1.00 (density 0.4) to +1.00 (density 0.005)" in told


def test_the_headline_tells_of_one_search_and_of_searches_in_rounds_as_far_as_they_are_judged(monkeypatch):
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
    monkeypatch.setattr(claims.tables, "runs", lambda: runs(*rows, *few))
    one, rounds = claims.headline().split(" **Searched in several rounds instead, ")
    assert "\n- **On CIFAR-10, in trainings cut to 10 epochs, worse**: −2.00 ±" in one
    where = "over 5 of 9 settings, from {0} (small CNN, density 0.2) to {0} (ResNet-20, density 0.05); 3 seeds"
    assert where.format("−2.00") in one
    assert rounds.startswith("better**: +3.00 ±") and where.format("+3.00") in rounds
    assert {of: list(rows) for of, rows in claims.overall().items()} == {
        "one search": ["CIFAR-10"], "in rounds": ["CIFAR-10"],
    }  # fmt: skip
    kept = [row for row in rows if row.get("rounds") != 4 or row["density_asked"] == 0.2]
    monkeypatch.setattr(claims.tables, "runs", lambda: runs(*kept))  # one setting may be luck
    assert "several rounds" not in claims.headline()


def test_the_headline_says_where_seeds_are_too_few(monkeypatch):
    rows = [*line("mask, log, calibrated", [95.0], 0.1), *line("IMP", [96.0], 0.1)]
    monkeypatch.setattr(claims.tables, "runs", lambda: runs(*rows))
    few = "- **On MNIST, too few seeds to decide**: −1.00 over 1 of 7 settings; 1 seed, 40 % of IMP’s training epochs."
    assert claims.headline().endswith(few)


def test_the_headline_names_networks_that_differ_and_says_where_imp_may_have_failed(monkeypatch):
    rows, snip = [], []
    for model, ours, imp in (("resnet18", 66.0, 60.3), ("vgg19", 60.0, 63.0)):
        place = {"protocol": f"{model}-cifar100-short", "dataset": "cifar100", "model": model, "reduced": True}
        rows += line("dense", around(70.0), 1.0, **place)
        for d in (0.2, 0.05):
            rows += line("mask, log, calibrated", around(ours), d, **place)
            rows += line("IMP", around(imp), d, **place) + line("random", around(50.0), d, **place)
            snip += line("SNIP", around(60.0), d, **place)
    monkeypatch.setattr(claims.tables, "runs", lambda: runs(*rows, *snip))
    told = claims.headline()
    where = "**On CIFAR-100, in trainings cut to 10 epochs, "
    assert f"{where}better in 2 settings and worse in 2**: +1.35 on average over all 4 settings, from" in told
    assert "from −3.00 (VGG-19 at ¼ width, density 0.2) to +5.70 (ResNet-18 at ¼ width, density 0.05)" in told
    assert "In 2 of 4 settings IMP is hardly or not above SNIP" in told
    monkeypatch.setattr(claims.tables, "runs", lambda: runs(*rows))
    assert claims.headline() and "SNIP" not in claims.headline()  # not on record


def test_the_headline_judges_a_setting_as_its_claim_does():
    told = pd.concat([cells for _, cells in claims.against_imp().values()]).set_index(effects.KEY)
    for id in ("C4", "C5", "C10"):  # which share none
        judged = rules.judged(rules.rule(id), tables.chosen(tables.runs())).set_index(effects.KEY)
        both = told.index.intersection(judged.index)
        assert len(both) and (told.judgement[both] == judged.judgement[both]).all()
