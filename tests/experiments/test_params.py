"""params.py: texts become typed values, or one sentence that says what is wrong."""

from dataclasses import dataclass
from typing import Literal, Optional

import pytest

from lottery_lib.errors import LotteryError
from lottery_lib.experiments import params

FIELDS = {
    "lam": float,
    "iterations": int,
    "name": str,
    "momentum": bool,
    "digits": tuple[int, int],
    "widths": tuple[int, ...],
    "steps": list[float],
    "penalty": Literal["l1", "log"],
    "depth": Literal[18, 20],
    "alpha": float | None,
    "label": Optional[str],  # noqa: UP045, as older code writes it
}


@pytest.mark.parametrize(
    "pair, value",
    [
        ("lam=1e-3", 1e-3),
        (" lam = -2 ", -2.0),
        ("iterations=200", 200),
        ("name=a=b, c", "a=b, c"),
        ("name=", ""),
        ("momentum=True", True),
        ("momentum=no", False),
        ("momentum=1", True),
        ("digits=3,8", (3, 8)),
        ("digits=[3, 8]", (3, 8)),
        ("widths=(300,)", (300,)),
        ("widths=[]", ()),
        ("steps=0.1, 1e-2", [0.1, 0.01]),
        ("penalty=log", "log"),
        ("depth=20", 20),
        ("alpha=none", None),
        ("alpha=0.5", 0.5),
        ("label=None", None),
        ("label=x", "x"),
    ],
)
def test_reads(pair, value):
    (read,) = params.parse([pair], FIELDS).values()
    assert read == value and type(read) is type(value)


@pytest.mark.parametrize(
    "pairs, sentence",
    [
        (["lamda=1"], "unknown parameter 'lamda'; did you mean 'lam'?"),
        (["zzz=1"], f"unknown parameter 'zzz'; known: {', '.join(FIELDS)}"),
        (["lam"], "parameter 'lam' must be written as NAME=VALUE"),
        (["=1"], "parameter '=1' must be written as NAME=VALUE"),
        (["lam=1", "lam=2"], "parameter 'lam' is given twice; give it once"),
        (["lam=abc"], "lam = 'abc': must be a finite number"),
        (["lam=nan"], "lam = 'nan': must be a finite number"),
        (["lam=-inf"], "lam = '-inf': must be a finite number"),
        (["iterations=1.5"], "iterations = '1.5': must be a whole number"),
        (["momentum=maybe"], "momentum = 'maybe': must be true or false"),
        (["digits=3"], "digits = '3': must be 2 comma-separated values, each a whole number"),
        (["digits=3,8,9"], "digits = '3,8,9': must be 2 comma-separated values, each a whole number"),
        (["widths=300,,100"], "widths = '300,,100': must be comma-separated values, each a whole number"),
        (["digits=[3,8"], "digits = '[3,8': must be 2 comma-separated values, each a whole number"),
        (["penalty=l2"], "penalty = 'l2': must be one of l1, log"),
        (["alpha=x"], "alpha = 'x': must be a finite number or none"),
    ],
)
def test_refuses_in_one_sentence(pairs, sentence):
    with pytest.raises(LotteryError) as refused:
        params.parse(pairs, FIELDS)
    assert str(refused.value) == sentence


@pytest.mark.parametrize("kind", [dict, list])
def test_refuses_a_type_that_no_text_can_spell(kind):
    with pytest.raises(LotteryError, match="^table = '1': must be set in Python: no text can spell "):
        params.parse(["table=1"], {"table": kind})


@dataclass
class Config:
    lam: "float" = 0.1
    penalty: 'Literal["l1", "log"]' = "log"

    def __post_init__(self):
        if self.lam < 0:
            raise LotteryError(f"lam = {self.lam}: must be at least 0")


def test_builds_a_dataclass_from_its_defaults_and_what_is_given():
    assert params.from_pairs(Config, ["lam=0.5"]) == Config(lam=0.5, penalty="log")


def test_a_dataclass_refuses_what_is_out_of_range():
    with pytest.raises(LotteryError, match=r"^lam = -1.0: must be at least 0$"):
        params.from_pairs(Config, ["lam=-1"])
