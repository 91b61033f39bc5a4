"""Types: mypy finds no mistake in the method's half, and finds those of a program that uses it."""

import re
import subprocess
import sys

import pytest
from test_structure import METHOD, PACKAGE

from lottery_lib.paths import ROOT

PROGRAM = """\
import torch
import lottery_lib as lottery

pair = torch.zeros(8, 64), torch.zeros(8, dtype=torch.long)
model = lottery.models.create("lenet-300-100", 10, (1, 8, 8))
recipe = lottery.Recipe(epochs=2)
for data in (lottery.load("digits"), lottery.own(pair), lottery.own([pair], val=pair)):
    lottery.train(model, data, recipe, seed=1)
    ticket = lottery.magnitude.search(model, data, lottery.magnitude.Config(recipe=recipe), progress=True)
    lottery.retrain(model, data, ticket, recipe)
    lottery.evaluate(model, data.train)
1 - lottery.masks.overlap(ticket.mask, ticket.mask)

lottery.Recipe(epochs="2")  # wrong
lottery.magnitude.Config(density="0.2")  # wrong
lottery.train(model, pair, recipe)  # wrong
lottery.train(model, lottery.own(pair), recipe, seed="1")  # wrong
lottery.masks.threshold(ticket.mask, "0.5")  # wrong
lottery.regularizers.create("log").value(0.5)  # wrong
"""


def mypy(*arguments):
    run = [sys.executable, "-m", "mypy", "--no-error-summary", *arguments]
    return subprocess.run(run, cwd=ROOT, capture_output=True, text=True)


def test_every_room_of_the_method_is_checked():
    tomllib = pytest.importorskip("tomllib" if sys.version_info >= (3, 11) else "tomli")
    checked = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["mypy"]["files"]
    rooms = [name if (PACKAGE / name).is_dir() else f"{name}.py" for name in ("__init__", *METHOD)]
    assert checked == [f"lottery_lib/{name}" for name in rooms]


def test_mypy_finds_the_mistakes_there_are(tmp_path):  # one test: the second run knows torch from the first
    own = mypy()
    assert own.returncode == 0, own.stdout + own.stderr
    (tmp_path / "program.py").write_text(PROGRAM, "utf-8")
    program = mypy(str(tmp_path / "program.py"))
    wrong = [number for number, line in enumerate(PROGRAM.splitlines(), start=1) if line.endswith("# wrong")]
    found = re.findall(r"program\.py:(\d+): error", program.stdout)
    assert [int(number) for number in found] == wrong, program.stdout + program.stderr
