"""rules.py: what made-up accuracies come to, in which nothing is true, or one thing is."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from runs import runs

from lottery_lib import paths
from lottery_lib.errors import LotteryError
from lottery_lib.findings import rules, tables
from lottery_lib.findings.rules import FAILS, HOLDS, UNDECIDED, Rule

RULED = ["C3", "C4", "C5", "C6", "C9", "C10", "O2"]
TABLES = 200
DENSE, RANDOM, NOISE = 90.0, 87.0, 0.15  # so that M = 0.3


def repeated(rule: Rule, count: int) -> Rule:
    """A rule on as many tables, each a place of its own: ``0 resnet20``, ``1 resnet20``, …"""
    primary = [entry | {"model": f"{number} {entry['model']}"} for number in range(count) for entry in rule.primary]
    return replace(rule, primary=tuple(primary))


def made_up(rule: Rule, shift: float, seeds: int = 5, seed: int = 0) -> pd.DataFrame:
    """Runs of all primary cells: every line alike but for noise, the claim's own higher by ``shift`` points."""
    rng = np.random.default_rng(seed)
    ours = {line for line, _ in rule.contrasts.values()}
    lines = pd.DataFrame({"name": sorted({line for pair in rule.contrasts.values() for line in pair})})
    at = rule.cells()[[*tables.PLACE, "density_asked"]].drop_duplicates()
    at = at.merge(pd.DataFrame({"seed": range(seeds)}), how="cross")
    at["common"] = DENSE - 1 + 0.2 * rng.standard_normal(len(at))
    found = at.merge(lines, how="cross")
    found["test_accuracy"] = found.common + shift * found.name.isin(ours) + NOISE * rng.standard_normal(len(found))
    fixed = [at.assign(name="random", test_accuracy=RANDOM), at.assign(name="dense", test_accuracy=DENSE)]
    found = pd.concat([found, *fixed], ignore_index=True).drop(columns="common")
    found["density"] = found.density_asked
    found["total_epochs"] = found.name.map({"IMP": 50, "random": 10, "dense": 10}).fillna(20)
    return found.merge(runs({})[["implied_alpha", "tied", "precision", "vectors", "threads"]], how="cross")


def held(rule: Rule, shift: float, **given) -> float:
    """The share of made-up tables in which a claim is said to hold, if only under a condition."""
    of = repeated(rule, TABLES)
    cells = rules.judged(of, made_up(of, shift, **given))
    found = [
        rules.worst([rules.status(rows, rule.conditions) for _, rows in table.groupby("dataset")])
        for _, table in cells.groupby(cells.model.str.split().str[0])
    ]
    assert len(found) == TABLES
    return sum(status.startswith(HOLDS) for status in found) / TABLES


@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize("id", [id for id in RULED if rules.rule(id).asks == "better"])
def test_where_nothing_is_true_a_claim_rarely_holds(id, seeds):
    assert held(rules.rule(id), 0.0, seeds=seeds) <= 0.05


@pytest.mark.parametrize("id", RULED)
def test_where_the_mask_is_worse_by_what_matters_a_claim_all_but_never_holds(id):
    assert held(rules.rule(id), -0.3) <= 0.01


@pytest.mark.parametrize("id", RULED)
def test_where_the_mask_is_better_by_what_matters_a_claim_mostly_holds(id):
    assert held(rules.rule(id), 0.6) >= 0.9


# One table, changed by hand: eleven densities of one contrast, five seeds.

ELEVEN = Rule(
    "better",
    {"one": ("mask, log, calibrated", "IMP")},
    ({"protocol": "lenet", "model": "lenet-300-100", "densities": [round(0.9 - 0.08 * i, 2) for i in range(11)]},),
)
DENSITIES = ELEVEN.primary[0]["densities"]
MASK = "mask, log, calibrated"


@pytest.fixture
def table():
    return made_up(ELEVEN, 0.0)


def raised(table, points, densities=DENSITIES, line=MASK):
    """The table with a line's accuracies changed at some densities."""
    return table.assign(
        test_accuracy=table.test_accuracy + points * ((table.name == line) & table.density_asked.isin(densities))
    )


def said(table, rule=ELEVEN):
    return rules.status(rules.judged(rule, table), rule.conditions)


def levelled(table):
    """All lines the same on every seed, so that every cell is surely equal."""
    same = table.groupby(["density_asked", "seed"]).test_accuracy.transform("max")
    return table.assign(test_accuracy=table.test_accuracy.where(table.name.isin(["dense", "random"]), same - 1))


def test_one_lucky_cell_proves_nothing(table):
    lucky = raised(table, 1.0, DENSITIES[:1])
    assert said(lucky) == UNDECIDED  # the others are open
    assert said(raised(levelled(table), 1.0, DENSITIES[:1])) == "mixed, 1 of 11"
    assert said(levelled(table)) == FAILS  # level is not better


def test_three_of_eleven_below(table):
    assert said(raised(raised(table, 1.0), -2.0, DENSITIES[:3])) == "mixed, 8 of 11"


def test_all_above_or_all_below(table):
    assert said(raised(table, 1.0)) == HOLDS
    assert said(raised(table, -1.0)) == FAILS


def test_one_decided_cell_is_no_status(table):
    two = replace(ELEVEN, primary=({**ELEVEN.primary[0], "densities": DENSITIES[:2]},))
    better = raised(table, 1.0, DENSITIES[:2])
    assert said(better, two) == HOLDS
    assert said(better[better.density_asked != DENSITIES[1]], two) == UNDECIDED


def test_most_cells_undecided_is_no_status(table):
    assert said(raised(table, 1.0, DENSITIES[:6])) == HOLDS
    assert said(raised(table, 1.0, DENSITIES[:5])) == UNDECIDED


def test_two_seeds_are_no_result(table):
    few = raised(table, 5.0)
    cells = rules.judged(ELEVEN, few[few.seed < 2])
    assert set(cells.judgement) == {"not enough seeds"} and said(few[few.seed < 2]) == UNDECIDED
    assert cells.half_width.isna().all()


@pytest.mark.parametrize("column, other", [("precision", "bf16"), ("vectors", "AVX512"), ("threads", 2)])
def test_other_arithmetic_is_not_compared(table, column, other):
    better = raised(table, 1.0)
    changed = better.assign(**{column: better[column].where(better.name != MASK, other)})
    assert said(changed) == UNDECIDED and not rules.judged(ELEVEN, changed).n.any()


def test_a_dearer_mask_is_not_judged(table):
    better = raised(table, 1.0)
    dear = better.assign(total_epochs=better.total_epochs.where(better.name != MASK, 51))
    assert set(rules.judged(ELEVEN, dear).judgement) == {"costs too many epochs"} and said(dear) == UNDECIDED
    at_half = replace(ELEVEN, epochs=0.5)
    assert said(better, at_half) == HOLDS
    not_half = better.assign(total_epochs=better.total_epochs.where(better.name != MASK, 26))
    assert said(not_half, at_half) == FAILS  # of a claim about cost, that is what refutes it


def test_a_ticket_that_misses_its_density_is_not_compared(table):
    better = raised(table, 1.0)
    assert said(better.assign(density=better.density.where(better.name != MASK, better.density * 5))) == UNDECIDED
    assert said(better.assign(density=better.density.where(better.name != MASK, better.density * 1.01))) == HOLDS


def test_without_a_random_mask_there_is_no_scale(table):
    better = raised(table, 1.0)
    cells = rules.judged(ELEVEN, better[better.name != "random"])
    assert set(cells.judgement) == {"no random mask on record"}
    assert rules.status(cells) == UNDECIDED


def test_cells_that_are_not_on_record_count_as_undecided(table):
    better = raised(table, 1.0)
    cells = rules.judged(ELEVEN, better[better.density_asked >= DENSITIES[4]])
    assert len(cells) == 11 and cells.good.sum() == 5 and rules.status(cells) == UNDECIDED
    assert cells.reduced.eq(False).all() and set(cells.dataset) == {"mnist"}


# Not worse.

COMPARABLE = replace(ELEVEN, asks="not worse")


def test_not_worse_is_an_interval_above_minus_m(table):
    level = levelled(table)
    assert said(level, COMPARABLE) == HOLDS
    assert said(raised(level, -0.2), COMPARABLE) == HOLDS  # surely below, by less than matters
    assert said(raised(level, -0.28), COMPARABLE) == UNDECIDED  # nor surely below by what matters
    assert said(raised(level, -0.4), COMPARABLE) == FAILS
    assert said(raised(level, 1.0), COMPARABLE) == HOLDS


def test_where_a_random_mask_is_as_good_nothing_is_tested(table):
    level = levelled(table)
    near = level.assign(test_accuracy=level.test_accuracy.where(level.name != "random", level.test_accuracy.max()))
    assert said(near, COMPARABLE) == UNDECIDED


# Conditions, and several data sets.


def test_a_condition_must_be_seen_at_two_places():
    entries = [{"protocol": "cifar-short", "model": model, "densities": [0.2, 0.1]} for model in ("a", "b")]
    contrasts = {"one": (MASK, "IMP"), "rounds": (f"{MASK}, in rounds", "IMP")}
    rule = Rule("better", contrasts, tuple(entries), {"in rounds": ["rounds"]})
    table = raised(made_up(rule, 0.0), -1.0, [0.2, 0.1])
    table = raised(table, 1.0, [0.2, 0.1], f"{MASK}, in rounds")
    assert said(table, rule) == "holds in rounds"
    assert said(table, replace(rule, conditions={})) == "mixed, 4 of 8"
    alone = replace(rule, primary=tuple(entries[:1]))
    assert said(table, alone) == "mixed, 2 of 4"


def test_over_all_data_sets_the_worst_that_is_decided_counts():
    assert rules.worst([HOLDS, UNDECIDED]) == HOLDS
    assert rules.worst([HOLDS, "holds in rounds"]) == "holds in rounds"
    assert rules.worst(["mixed, 1 of 3", "holds in rounds", HOLDS]) == "mixed, 1 of 3"
    assert rules.worst([HOLDS, FAILS, UNDECIDED]) == FAILS
    assert rules.worst([UNDECIDED]) == rules.worst([]) == UNDECIDED


def test_what_stands_beside_decides_nothing(table):
    rule = replace(ELEVEN, beside={"other": ("gradual magnitude", "IMP")})
    gradual = table[table.name == MASK].assign(name="gradual magnitude")
    gradual["test_accuracy"] -= 5.0
    shown = rules.shown(rule, pd.concat([raised(table, 1.0), gradual]))
    assert shown.decides.sum() == 11 and rules.status(shown[shown.decides]) == HOLDS
    assert set(shown[~shown.decides].contrast) == {"other"} and set(shown[~shown.decides].judgement) == {"worse"}


def test_what_decides_another_claim_is_not_told_for_comparison(table):
    rule = rules.rule("C4")  # of 0.4 and 0.2 alone, where C5 is of 0.1 and 0.05 with the same two lines
    told, all_beside = rules.only_beside(rule, table), rules.beside(rule, table)
    assert 0.1 in {*all_beside.density_asked} and 0.1 not in {*told.density_asked}


@pytest.mark.parametrize("seeds", [3, 5])
def test_seeds_that_differ_more_at_low_densities_do_not_make_a_claim_hold(seeds):
    rule = replace(ELEVEN, primary=({**ELEVEN.primary[0], "densities": [0.1, 0.05, 0.02, 0.01, 0.005]},))
    of = repeated(rule, TABLES)
    table = made_up(of, 0.0, seeds=seeds)
    wild = table.density_asked <= 0.01
    noise = np.random.default_rng(1).standard_normal(len(table)) * wild * table.name.isin([MASK, "IMP"])
    cells = rules.judged(of, table.assign(test_accuracy=table.test_accuracy + 10 * NOISE * noise))
    assert (cells.groupby("model").apply(rules.status) == HOLDS).mean() <= 0.05
    errs = cells.judgement.isin(["better", "worse"]).groupby(cells.model).any().mean()
    assert errs <= 0.1  # pooled alone, it is a third to a half


# What is written down.


@pytest.mark.parametrize("id", RULED + ["C7", "O1"])
def test_the_rules_of_the_book_can_be_asked(id):
    rule = rules.rule(id)
    assert rule.asks in ("better", "not worse") and len(rule.cells()) == len(rule.cells().drop_duplicates())
    for contrasts in rule.conditions.values():
        assert set(contrasts) <= set(rule.contrasts)
    for entry in rule.primary:
        assert set(entry) <= {"protocol", "model", "densities", "contrasts"}
        assert set(entry.get("contrasts", [])) <= set(rule.contrasts)
    assert not set(rule.beside) & set(rule.contrasts)


@pytest.mark.parametrize(
    "change, sentence",
    [
        ({"asks": "beter"}, "asks: beter; it must be better, or not worse"),
        ({"primary": [{"protocol": "lenet", "model": "lenet-300", "densities": [0.1]}]}, "unknown model 'lenet-300'"),
        ({"contrasts": {"one search": ["mask, lgo", "IMP"], "in rounds": ["IMP", "IMP"]}}, "unknown line 'mask, lgo'"),
        ({"conditions": {"in rounds": ["in round"]}}, "unknown contrast 'in round'; did you mean 'in rounds'?"),
        ({"primary": [{"protocol": "lenet", "model": "lenet-300-100", "densities": [0.1], "contrasts": ["one"]}]},
         "unknown contrast 'one'"),
        ({"asks": None}, "C5 has no asks"),
        ({"primary": [{"protocol": "lenet", "model": "conv-small", "densities": [0.1]}]},
         "lenet is a protocol of lenet-300-100, not of conv-small"),
        ({"primary": [{"protocol": "lenet", "model": "lenet-300-100", "densities": [0.1, 0.05, 0.1]}]},
         "one search of lenet-300-100 under lenet at 0.1 is there twice"),
    ],
)  # fmt: skip
def test_a_rule_that_nobody_can_have_meant_is_refused(change, sentence, monkeypatch):
    row = {key: value for key, value in {**rules.read()["C5"], **change}.items() if value is not None}
    monkeypatch.setattr(rules, "read", lambda: {"C5": row})
    with pytest.raises(LotteryError) as error:
        rules.rule("C5")
    assert sentence in str(error.value) and "claims.yml" in str(error.value)


@pytest.mark.parametrize(
    "text, sentence",
    [
        ("- {id: C1, claim: x, besides: {}}", "C1: unknown key 'besides'; did you mean 'beside'?"),
        ("[{id: C1, claim: x}, {id: C1, claim: y}]", "there are two claims C1"),
        ("- {id: C1, claim: x, claim: y}", "gives 'claim' again"),
        ("C1", "must be a list of claims"),
    ],
)
def test_claims_that_would_lose_a_word_unsaid_are_refused(text, sentence, tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "CLAIMS", tmp_path / "claims.yml")
    paths.CLAIMS.write_text(text, "utf-8")
    with pytest.raises(LotteryError) as error:
        rules.read()
    assert sentence in str(error.value) and "claims.yml" in str(error.value)
