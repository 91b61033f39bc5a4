"""verdicts.py: what records come to, on each data set, with the numbers it rests on."""

from dataclasses import asdict, replace

import numpy as np
import pytest
from runs import line, put, runs

from lottery_lib import paths
from lottery_lib.experiments import grids
from lottery_lib.experiments.logistic import METHODS, REFERS_TO, LogisticConfig
from lottery_lib.findings import claims, relaxed_masks, verdicts
from lottery_lib.findings.rules import FAILS, HOLDS, UNDECIDED
from lottery_lib.findings.verdicts import Answer, Verdict

CNN = {"model": "conv-small", "dataset": "cifar10", "protocol": "cifar-short", "reduced": True}
LOW, HIGH = [90.0, 90.1, 90.2], [91.0, 91.1, 91.3]
SET, PLAIN = "mask, log, calibrated", "mask, log"
SCALE = [*line("dense", [91.5], 1.0), *(row for d in (0.1, 0.05) for row in line("random", [85.0], d))]


def better(**fields) -> list[dict]:
    """Two densities at which the mask is better than IMP and than one-shot magnitude."""
    lines = ((SET, HIGH), ("IMP", LOW), ("one-shot magnitude", LOW))
    rows = [row for d in (0.1, 0.05) for name, seen in lines for row in line(name, seen, d)]
    return [row | fields for row in [*rows, *SCALE]]


@pytest.mark.parametrize("id", [id for id in claims.VERDICTS if id not in ("C1", "C2", "O3")])
def test_nothing_on_record_is_no_verdict(id, monkeypatch):
    others = [*line("IMP", HIGH), *line("random", LOW)]
    overridden = [*line(SET, HIGH, lr=0.4, run="gone"), *line("IMP", LOW), *line("mask, ℓ1", LOW, lr=0.4)]
    for rows in ([], others, overridden):
        monkeypatch.setattr(verdicts.tables, "runs", lambda rows=rows: runs(*rows))
        assert claims.VERDICTS[id]() is None


def test_each_data_set_has_its_answer_with_its_numbers():
    verdict = verdicts.ruled("C5", runs(*better(), *(row | CNN for row in better())))
    mnist, cifar = sorted(verdict.answers, key=lambda answer: answer.dataset, reverse=True)
    assert (mnist.dataset, mnist.status, cifar.dataset, cifar.status) == ("MNIST", HOLDS, "CIFAR-10", UNDECIDED)
    assert mnist.numbers == "better in 2 of 2 cells, +1.03 ±\xa00.14 points, n = 3"
    assert cifar.numbers == "2 of 6 cells decided, 4 never run, n = 0 to 3, reduced"
    assert str(mnist) == f"holds on MNIST ({mnist.numbers})" and str(verdict) == "holds on MNIST"
    assert any("one search, better at 0.1 (+1.03 ±" in finding for finding in verdict.findings)


def test_it_is_said_where_one_network_of_several_decides_alone():
    rounds = [row for d in (0.1, 0.05) for row in line(f"{SET}, in rounds", HIGH, d)]
    decided = [row | CNN for row in [*better(), *rounds]]
    (mnist, cifar) = verdicts.ruled("C5", runs(*better(), *decided)).answers
    assert cifar.counted == "better in 4 of 6 cells, 2 undecided, decided on small CNN alone"
    assert mnist.counted == "better in 2 of 2 cells"  # which is asked of one network
    both = verdicts.ruled("C5", runs(*decided, *(row | CNN | {"model": "resnet20"} for row in better())))
    assert both.answers[-1].counted == "better in 5 of 6 cells, 1 undecided"


def test_one_seed_says_nothing():
    verdict = verdicts.ruled("C5", runs(*(row for row in better() if row["seed"] == 0)))
    assert {answer.status for answer in verdict.answers} == {UNDECIDED} and str(verdict) == UNDECIDED
    assert "points" not in verdict.answers[0].numbers


def test_a_ticket_by_top_k_decides_nothing():
    soft = [row | ({"implied_alpha": 0.3} if "implied_alpha" not in row else {}) for row in line(PLAIN, HIGH, 0.1)]
    table = runs(*better(), *soft)
    beside = [finding for finding in verdicts.ruled("C5", table).findings if "top-k, better at 0.1" in finding]
    assert len(beside) == 1 and beside[0].startswith("for comparison, ")


def test_a_verdict_names_protocols_devices_and_commands(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "GRIDS", tmp_path)
    (tmp_path / "some.yaml").write_text("{protocol: lenet, over: {}, runs: [{}]}")
    (tmp_path / "other.yaml").write_text("{protocol: cifar, over: {}, runs: [{}]}")
    verdict = verdicts.ruled("C3", runs(*better(), *line("IMP", LOW, protocol="cifar", device="there")))
    assert (verdict.device, "some" in verdict.command, "other" in verdict.command) == ("here", True, False)
    (tmp_path / "some.yaml").unlink()
    assert grids.command(["lenet"]) == "lottery train lenet"


def test_c9_asks_for_half_of_imps_epochs():
    def answer(epochs):
        rows = better()
        rows += [row for d in (0.02, 0.01) for row in (*line(SET, HIGH, d), *line("IMP", LOW, d))]
        rows += [row for d in (0.02, 0.01) for row in line("random", [85.0], d)]
        table = runs(*(row | ({"total_epochs": epochs} if row.get("lam", 0) is None else {}) for row in rows))
        table = table[table.dataset == "mnist"]
        return next(a for a in verdicts.ruled("C9", table).answers if a.dataset == "MNIST").status

    assert (answer(25), answer(26)) == (HOLDS, FAILS)


def test_what_is_worse_by_less_than_matters_is_told():
    at = (0.1, 0.05, 0.02, 0.01, 0.005)
    rows = [row for d in at for row in (*line(SET, LOW, d), *line("IMP", [90.4, 90.5, 90.6], d))]
    rows += [row for d in at for row in line("random", [60.0], d)] + line("dense", [91.5], 1.0)
    told = verdicts.ruled("C9", runs(*rows)).answers[0]
    assert (told.status, told.counted) == (
        HOLDS,
        "not worse by M in 5 of 5 cells (worse by less in 5: by 0.4, where M is 1)",
    )


def test_what_is_worse_by_nobody_knows_how_much_is_told():
    rows = [row for d in (0.4, 0.2) for row in (*line(SET, [89.4, 89.9, 90.4], d), *line("IMP", [91.0] * 3, d))]
    rows += [row for d in (0.4, 0.2) for row in line("random", [81.0], d)] + line("dense", [91.0], 1.0)
    told = verdicts.ruled("C4", runs(*rows)).answers[0]
    assert told.status == UNDECIDED
    assert told.counted == "0 of 2 cells decided (of the rest 2 worse, perhaps by less than M)"


def test_what_holds_under_a_condition_has_the_numbers_of_that():
    rows = []
    for model, at in (("conv-small", (0.1, 0.05)), ("resnet20", (0.05,))):
        place = CNN | {"model": model}
        rows += line("dense", [91.5], 1.0, **place)
        for d in at:
            lines = ((SET, LOW), (f"{SET}, in rounds", HIGH), ("IMP", LOW), ("random", [85.0]))
            rows += [row for name, seen in lines for row in line(name, seen, d, **place)]
    told = verdicts.ruled("C5", runs(*rows)).answers[1]
    assert (told.status, told.under) == ("holds in rounds", "in rounds") and told.effect.cells == 3
    assert (
        told.numbers.startswith("better in 3 of 3 cells (without the condition better in 3 of 6 cells), +1.03 ±")
        and told.n == "3"
    )


def test_where_imp_itself_may_have_failed_is_told():
    doubt = "0 of 2 cells decided, IMP hardly or not above SNIP in 2"
    for snip, told in ((89.9, doubt), (90.5, doubt), (89.0, "better in 2 of 2 cells")):
        table = runs(*better(), *(row for d in (0.1, 0.05) for row in line("SNIP", [snip] * 3, d)))
        assert verdicts.ruled("C5", table).answers[0].counted == told
        assert "SNIP" not in verdicts.ruled("C3", table).answers[0].counted  # whose opponent is another


# C7 and C8.


@pytest.fixture
def results(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "RESULTS", tmp_path)
    return tmp_path


def test_c7_compares_at_the_same_step_size(monkeypatch):
    def table(rate):
        small = line(PLAIN, HIGH, 0.01, lam=2.0, implied_alpha=0.05, tied=0.0)
        large = line(PLAIN, LOW, 0.01, lam=1.0, implied_alpha=0.5, tied=0.0, mask_lr=rate)
        return runs(*small, *large, *line("random", [85.0], 0.01), *line("dense", [91.5], 1.0))

    cells = verdicts.rules.judged(verdicts.rules.rule("C7"), relaxed_masks.by_alpha(table(10.0)))
    assert cells[cells.n > 0][["contrast", "judgement"]].to_numpy().tolist() == [["ηₘ = 10", "better"]]
    assert verdicts.ruled("C7", table(30.0), relaxed_masks.by_alpha(table(30.0))) is None  # untested


def counts(m: float, kept: int = 10) -> np.ndarray:
    """100 entries, of which 90 are zero and ``kept`` at m."""
    found = np.zeros(102, dtype=int)
    found[[0, 1 + int(100 * m)]] = 100 - kept, kept
    return found


def test_c8(results):
    def answer(*layers, seeds=3):
        rows = []
        for seed in range(seeds):
            run = f"{layers}-{seed}"
            if not (results / run).exists():
                put(results, run, {str(number): counts(*layer) for number, layer in enumerate(layers)})
            rows.append({"run": run, "seed": seed})
        return verdicts.bimodal(runs(*rows)).answers[0]

    good, undecided, low, empty = (0.99, 4), (0.8, 10), (0.06, 4), (0.03, 4)
    assert (
        answer(good, good).status == HOLDS
        and "6 of 6 layers of 3 searches bimodal, n = 3" in answer(good, good).numbers
    )
    assert answer(good, undecided).status == "mixed, 3 of 6"
    assert answer(low, empty, undecided).status == FAILS  # nearly empty is not bimodal
    assert answer(good, good, seeds=2).status == UNDECIDED


def test_c8_is_about_the_plain_searches_that_validation_chose(results):
    put(results, "best", {"layer": counts(0.99, 4)})
    put(results, "other", {"layer": counts(0.3)})
    put(results, "set", {"layer": counts(0.3)})
    rows = [{"run": "best", "lam": 1.0, "val_accuracy": 99.0}, {"run": "other", "lam": 2.0, "val_accuracy": 90.0}]
    rows += [{"run": "set", "lam": None, "mask_lr": None}]
    assert "1 of 1 layers bimodal" in " ".join(verdicts.bimodal(runs(*rows)).findings)
    assert verdicts.bimodal(runs(rows[-1])) is None


# C1.

SUBGRADIENTS, MASKS = list(METHODS)[:2], list(METHODS)[3:]


def records(seeds: int = 3) -> list[dict]:
    """Records in which the claim holds, of all variants."""
    settled = {"zeros": 0.3, "late_flips": 0, "late_flips_per_iteration": 0.0}
    restless = {"zeros": 0.0, "late_flips": 1, "late_flips_per_iteration": 0.005}
    return [
        {
            "protocol": "mnist-logistic",
            "config": asdict(replace(variant, seed=seed)),
            "methods": {name: dict(settled if name in MASKS else restless) for name in METHODS},
            "provenance": {"device": "an abacus"},
        }
        for variant in verdicts.VARIANTS.values()
        for seed in range(seeds)
    ]


def test_c1_holds_at_its_bounds():
    verdict = verdicts.oscillation(records())
    assert (verdict.answers[0].status, verdict.device) == (HOLDS, "an abacus")
    assert verdict.answers[0].numbers == "9 of 9 runs, n = 3" and len(verdict.findings) == 3
    assert str(verdicts.oscillation(records(2))) == UNDECIDED and verdicts.oscillation([]) is None


@pytest.mark.parametrize(
    "name, change",
    [(name, change) for name in MASKS for change in ({"zeros": 0.29}, {"late_flips": 1})]
    + [(name, change) for name in SUBGRADIENTS for change in ({"zeros": 0.001}, {"late_flips": 0})],
)
def test_c1_needs_every_method(name, change):
    found = records()
    found[4]["methods"][name] |= change
    assert verdicts.oscillation(found).answers[0].status == "mixed, 8 of 9"
    for run in found:
        run["methods"][name] |= change
    assert verdicts.oscillation(found).answers[0].status == FAILS


def test_c1_says_what_proximal_gradient_does():
    found = records()
    found[0]["methods"][REFERS_TO] |= {"zeros": 0.945}
    assert "proximal gradient on the weights with 0 to 94.5 % exact zeros" in verdicts.oscillation(found).findings[0]


def test_c1_reads_its_variants_alone(results, monkeypatch):
    other = records(1) + [{"protocol": "mnist-logistic", "config": asdict(LogisticConfig(lam=0.5))}]
    monkeypatch.setattr(verdicts.records, "read_all", lambda: other + [{"protocol": "lenet"}])
    assert verdicts.logistic_runs() == other[:3]


@pytest.mark.parametrize(
    "places, told",
    [
        (["MNIST"], "MNIST"),
        (["CIFAR-10", "CIFAR-100"], "CIFAR-10, CIFAR-100"),
        (["planted networks at once", "planted networks by a bound"], "planted networks at once, by a bound"),
    ],
)
def test_where_a_claim_fails_is_said_once(places, told):
    answers = tuple(Answer(place, FAILS, "", n="3") for place in places)
    assert str(Verdict(answers, (), "", "", "")) == f"{FAILS} on {told}"


def test_a_verdict_tells_of_all_that_is_decided_the_worst_first():
    of = {"MNIST": HOLDS, "CIFAR-10": FAILS, "CIFAR-100": HOLDS, "Tiny ImageNet": UNDECIDED}
    told = str(Verdict(tuple(Answer(place, status, "") for place, status in of.items()), (), "", "", ""))
    assert told == f"{FAILS} on CIFAR-10; {HOLDS} on MNIST, CIFAR-100"
