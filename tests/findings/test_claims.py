"""claims.py: a record decides the status, and the README says what the records say."""

import shlex
from dataclasses import asdict, replace

import pytest

from lottery_lib import paths
from lottery_lib.errors import LotteryError
from lottery_lib.experiments import params
from lottery_lib.experiments.logistic import METHODS, REFERS_TO, LogisticConfig
from lottery_lib.findings import claims, verdicts
from lottery_lib.findings.claims import MARKERS, NOT_RUN, Claim
from lottery_lib.findings.verdicts import STATUSES

SUBGRADIENTS, MASKS = list(METHODS)[:2], list(METHODS)[3:]


@pytest.fixture
def record():
    """A record in which the claim holds as it stands: proximal gradient does not do as well."""
    settled = {"zeros": 0.3, "late_flips": 0, "late_flips_per_iteration": 0.0}
    restless = {"zeros": 0.0, "late_flips": 1, "late_flips_per_iteration": 0.005}
    return {
        "protocol": "mnist-logistic",
        "config": asdict(LogisticConfig()),
        "methods": {name: dict(settled if name in MASKS else restless) for name in METHODS},
        "provenance": {"device": "an abacus"},
    }


# C1.


def test_confirmed_at_its_bounds(record):
    assert verdicts.oscillation(record).status == "confirmed"


def test_confirmed_with_conditions_if_proximal_gradient_does_as_well(record):
    record["methods"][REFERS_TO] |= {"zeros": 0.3}
    assert verdicts.oscillation(record).status == "confirmed"
    record["methods"][REFERS_TO] |= {"late_flips": 0}
    assert verdicts.oscillation(record).status == "confirmed with conditions"
    record["methods"][REFERS_TO] |= {"zeros": 0.29}
    assert verdicts.oscillation(record).status == "confirmed"


@pytest.mark.parametrize("proximal", [0.0, 0.9])
@pytest.mark.parametrize(
    "name, change",
    [(name, change) for name in MASKS for change in ({"zeros": 0.29}, {"late_flips": 1})]
    + [(name, change) for name in SUBGRADIENTS for change in ({"zeros": 0.001}, {"late_flips": 0})],
)
def test_not_confirmed_if_one_method_fails(record, name, change, proximal):
    record["methods"][REFERS_TO] |= {"zeros": proximal, "late_flips": 0}
    record["methods"][name] |= change
    assert verdicts.oscillation(record).status == "not confirmed"


def test_the_finding_is_the_records_numbers(record):
    record["methods"][MASKS[0]] |= {"zeros": 0.1234, "late_flips": 500, "late_flips_per_iteration": 2.5}
    record["methods"][SUBGRADIENTS[1]] |= {"zeros": 0.5, "late_flips_per_iteration": 557.8}
    assert verdicts.oscillation(record).finding == (
        "The ℓ1 and log masks end with 12.3 % and 30.0 % exact zeros and 2.5 and 0 sign flips an iteration, "
        "the subgradient methods with 0.0 % and 50.0 % exact zeros and 0.005 and 558 sign flips an iteration, "
        "proximal gradient on the weights with 0.0 % exact zeros and 0.005 sign flips an iteration."
    )


def test_what_a_verdict_rests_on(record):
    record["config"] |= {"lam": 0.02, "digits": [4, 9]}
    verdict = verdicts.oscillation(record)
    assert (verdict.seeds, verdict.protocol, verdict.device) == (1, "mnist-logistic", "an abacus")
    pairs = shlex.split(verdict.command)[4::2]
    assert params.from_pairs(LogisticConfig, pairs) == LogisticConfig(lam=0.02, digits=(4, 9))


def test_without_its_record_there_is_no_verdict(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "RESULTS", tmp_path)
    with pytest.raises(LotteryError, match="make it with: lottery train mnist-logistic"):
        claims.load()


# The list and the table.


def test_the_claims_in_their_order():
    found = claims.load()
    assert [claim.id for claim in found] == [f"C{i}" for i in range(1, 11)] + ["O1", "O2", "O3"]
    assert len({claim.text for claim in found}) == len(found)
    for claim in found:
        assert claim.verdict is None or claim.id in claims.VERDICTS
        assert claim.status in (STATUSES if claim.verdict else [NOT_RUN])
        assert claim.chapter is not None or claim.verdict is None, "a verdict that no chapter tells"
        assert claim.chapter is None or (paths.ROOT / f"{claim.chapter}.ipynb").exists()
    assert claims.VERDICTS.keys() <= {claim.id for claim in found}


def test_a_status_is_never_typed():
    with pytest.raises(AssertionError):
        claims.Verdict("proved", "", 1, "", "", "")
    assert "status" not in paths.CLAIMS.read_text("utf-8").replace("# A status is never written here", "")


def test_what_a_page_says_is_the_verdict():
    found = {claim.id: claim for claim in claims.load()}
    said = claims.answer("C4", "C2")
    verdict = found["C4"].verdict
    assert said.startswith(f"**C4, {found['C4'].qualified()}.** *{found['C4'].text}.*\n\n- ")
    assert [part[2:] for part in said.splitlines() if part.startswith("- ")] == verdict.finding.split(" · ")
    assert f"n = {verdict.seeds}, protocol {verdict.protocol}, on {verdict.device}." in said
    assert f"To remake it: `{verdict.command}`" in said
    assert found["C2"].verdict is not None or said.endswith(f"**C2, not yet run.** *{found['C2'].text}.*")


def test_table(record):
    verdict = verdicts.oscillation(record)
    rows = [Claim("C1", "It holds", "notebooks/01", verdict), Claim("C2", "And this", "notebooks/02", None)]
    early = replace(verdict, caveat="preliminary, from one seed")
    rows += [Claim("C3", "So far", "notebooks/03", early), Claim("O1", "What then?", None, None)]
    assert claims.table(rows).splitlines()[2:] == [
        "| C1 | It holds | [**confirmed**](notebooks/01.ipynb) |",
        "| C2 | And this | [not yet run](notebooks/02.ipynb) |",
        "| C3 | So far | [**confirmed**; preliminary, from one seed](notebooks/03.ipynb) |",
        "| O1 | What then? | not yet run |",
    ]


def test_only_what_stands_between_the_markers_is_renewed():
    found = [Claim("O1", "What then?", None, None)]
    text = f"before | a\n\n{MARKERS[0]}\nstale\n{MARKERS[1]}\nafter {MARKERS[1]}\n"
    renewed = f"before | a\n\n{MARKERS[0]}\n{claims.table(found)}\n{MARKERS[1]}\nafter {MARKERS[1]}\n"
    assert claims.with_table(text, found) == renewed
    assert claims.with_table(renewed, found) == renewed


@pytest.mark.parametrize("text", ["", MARKERS[0], MARKERS[1], "".join(reversed(MARKERS))])
def test_lost_markers(text):
    with pytest.raises(LotteryError, match=f"lost its markers {MARKERS[0]} and {MARKERS[1]}; put them around"):
        claims.with_table(text, [])


def test_the_readme_says_what_the_records_say():
    readme = (paths.ROOT / "README.md").read_text("utf-8")
    assert readme == claims.with_table(readme, claims.load()), "run: lottery claims --write"
