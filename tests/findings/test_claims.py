"""claims.py: a record decides the status, and the README says what the records say."""

import pytest

from lottery_lib import paths
from lottery_lib.errors import LotteryError
from lottery_lib.findings import claims, pages
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
