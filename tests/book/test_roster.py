"""The page of protocols and methods: whatever a legend calls a method is explained there."""

import re

from lottery_lib.findings import tables
from lottery_lib.paths import ROOT

PAGE = (ROOT / "book" / "protocols.md").read_text("utf-8")
ROWS = {
    name: said
    for names, said in re.findall(r"^\| (\*\*.+?\*\*) \| (.+?) \|", PAGE, re.MULTILINE)
    for name in re.findall(r"\*\*(.+?)\*\*", names)
}


def unexplained(called: str) -> str:
    """What is left of a name once the method, and then each of its forms, is found in the roster."""
    for known in sorted(ROWS, key=len, reverse=True):
        called = re.sub(rf"(?<![\w-]){re.escape(known)}(?![\w-])", "", called)
    return re.sub(r"[\s,:=\d.]|mask, log:|mask, ℓ1:", "", called)


def test_every_method_has_a_sentence():
    assert {called: left for called in tables.names() if (left := unexplained(called))} == {}


def test_every_line_of_a_legend_is_explained():
    drawn = tables.named(tables.runs()).name.unique()
    assert len(drawn) > 10 and {called: left for called in drawn if (left := unexplained(called))} == {}


def test_an_unknown_name_is_found():
    assert unexplained("mask, log, sideways") == "sideways" and unexplained("RigL") == "RigL"


def test_a_sentence_is_one():
    assert {name for name, said in ROWS.items() if not said.endswith(".")} == set()
