"""widgets: the modules that browsers get, the still pictures, and what the Python side of a widget promises."""

import base64
import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch

from lottery_lib import paths, regularizers
from lottery_lib.errors import LotteryError
from lottery_lib.experiments import logistic, params, protocols, records
from lottery_lib.experiments.logistic import LogisticConfig

pytest.importorskip("anywidget")
from lottery_lib.findings import calibrated, tables
from lottery_lib.widgets import (
    Playground,
    RegularizerCard,
    RunsTable,
    SearchPlayer,
    TwoEntries,
    base,
    regularizer_card,
    runs_table,
    searches,
)

PNG = b"\x89PNG\r\n"
WITHOUT = """
import sys
sys.modules["anywidget"] = None
import lottery_lib.cli
try:
    import lottery_lib.widgets
except ValueError as error:
    print(type(error).__name__, error)
"""


def test_without_anywidget_the_library_works_and_the_widgets_say_what_they_need():
    done = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=True)
    sentence = "the interactive figures need anywidget: pip install -e .[book]"
    assert done.stdout == f"LotteryError {sentence}\n"


@pytest.mark.parametrize("name", ["playground", "regularizer_card", "two_entries"])
def test_a_module_holds_all_that_it_imports_once_and_first(name):
    code = base.module(name)
    assert not re.search(r"^import ", code, re.MULTILINE)
    assert re.findall(r"^export .*", code, re.MULTILINE) == ["export default { render };"]
    assert code.count("function regularizer(") == code.count("function html(") == 1
    assert code.index("function regularizer(") < code.index("function render(")


@pytest.mark.parametrize(
    "widget", [Playground, RegularizerCard, RunsTable, TwoEntries, lambda: SearchPlayer(calibrated.watch())]
)
def test_a_still_picture_stands_beside_the_view(widget):
    data, _ = widget()._repr_mimebundle_()
    assert data["application/vnd.jupyter.widget-view+json"]["model_id"]
    assert base64.b64decode(data["image/png"]).startswith(PNG)


def test_a_kernel_answers_a_greeting_and_nothing_else(monkeypatch):
    card, sent = RegularizerCard(), []
    monkeypatch.setattr(card, "send", sent.append)
    for kind in ("hello", "other"):
        card._handle_custom_msg({"kind": kind}, [])
    assert sent == [{"kind": "live"}]


def test_the_playground_has_the_data_and_the_start_of_the_experiment():
    playground = Playground(LogisticConfig(dataset="digits", digits=(4, 9), lam=0.02, seed=3, iterations=20))
    record, arrays = logistic.run(LogisticConfig(dataset="digits", digits=(4, 9), lam=0.02, seed=3, iterations=21))
    assert playground.lipschitz == pytest.approx(record["lipschitz"], rel=1e-12)
    assert playground.train == record["images"]["train"]
    assert len(playground.labels) == sum(record["images"].values()) == len(playground.pixels) // 64
    assert (playground.lam, playground.seed, playground.iterations) == (0.02, 3, 20)
    start = np.frombuffer(playground.starts).reshape(10, 64)[3]
    np.testing.assert_array_equal(start[arrays["traced"]].astype(np.float32), arrays["path"][0, 0])


@pytest.mark.parametrize("penalty, rows", [("l1", (3, 0)), ("log", (4, 1))])
def test_the_still_picture_shows_the_librarys_run(penalty, rows):
    config = LogisticConfig(dataset="digits", iterations=41, eps=1.0)
    playground = Playground(LogisticConfig(dataset="digits", iterations=40, eps=1.0), penalty=penalty)
    _, arrays = logistic.run(config)
    axes = {ax.get_title(): ax for ax in playground.still().axes}
    drawn = axes["mask m as an image"].images[0].get_array().ravel()
    np.testing.assert_allclose(drawn, arrays["masks"][rows[0] - 3], atol=1e-6)
    lines = axes["weights, subgradient (square-root scale)"].lines
    ends = [line.get_ydata()[-1] for line in lines]
    np.testing.assert_allclose(ends, arrays["weights"][rows[1]][playground.traced], atol=1e-6)


def test_the_traced_entries_are_kept_ones_and_dropped_ones():
    playground = Playground()
    mask = playground._paths[0][-1]
    kept, dropped = np.split(np.array(playground.traced), 2)
    assert (mask[kept] > 0).all() and (mask[dropped] == 0).all() and len(set(playground.traced)) == 8


@pytest.mark.parametrize(
    "make, sentence",
    [
        (lambda: Playground(penalty="l2"), "unknown penalty 'l2'; known: log, l1"),
        (lambda: Playground(variable="masks"), "unknown variable 'masks'; did you mean 'mask'?"),
        (lambda: Playground(alpha=0), "alpha = 0: must be above 0 and at most 1"),
        (lambda: Playground(LogisticConfig(dataset="digits", iterations=240, seed=10)),
         "seed = 10: must be at most 9 in the playground"),
        (lambda: Playground(LogisticConfig(dataset="digits", iterations=4000)),
         "iterations = 4000: must be at most 3840 in the playground"),
        (lambda: Playground(LogisticConfig(dataset="digits", iterations=240, step_decay=0.5)),
         "step_decay = 0.5: the playground's steps stay as they are; leave it out"),
        (lambda: RegularizerCard("lgo"), "unknown regulariser 'lgo'; did you mean 'log'?"),
        (lambda: TwoEntries(rho=1.0), "rho = 1.0: must be between -0.9 and 0.9"),
        (lambda: RegularizerCard("lp", 2.0), "p = 2.0: must be between 0 and 1, both excluded"),
    ],
)  # fmt: skip
def test_bad_input_gets_one_sentence(make, sentence):
    with pytest.raises(LotteryError) as error:
        make()
    assert str(error.value) == sentence


def test_the_price_under_l1_is_the_formula_of_the_chapter():
    u = torch.linspace(0, 2, 101, dtype=torch.float64)
    price, split = regularizer_card.induced(regularizers.L1(), u)
    expected = torch.where(u <= 1, 1.5 * u ** (2 / 3), 1 + u**2 / 2)
    torch.testing.assert_close(price, expected, atol=1e-4, rtol=0)
    torch.testing.assert_close(split, (u ** (2 / 3)).clamp(max=1), atol=5e-3, rtol=0)


def test_an_entry_stays_at_one_from_the_slope_on_that_the_chapter_gives():
    for r in (regularizers.L1(), regularizers.Log(), regularizers.Log(1.0)):
        corner = r.slope(1) ** 0.5
        _, split = regularizer_card.induced(r, torch.tensor([0.98 * corner, 1.02 * corner], dtype=torch.float64))
        assert split[0] < 1 and split[1] == 1


def test_the_best_entry_jumps_under_mcp():
    _, split = regularizer_card.induced(regularizers.MCP(1.0), torch.linspace(0.1, 2, 500, dtype=torch.float64))
    assert split.diff().max() > 0.2 and split.max() == 1


def test_every_run_has_a_row_with_the_command_that_remakes_it():
    rows = RunsTable().rows
    table = tables.runs()
    assert len(rows) == len(table) and all(len(row) == len(runs_table.COLUMNS) for row in rows)
    for row, run in [*zip(rows, table.run)][:: len(rows) // 5]:
        protocol, *pairs = row[-1].removeprefix("lottery train ").replace("-p ", "").split()
        made = params.from_pairs(protocols.config_class(protocol), pairs)
        assert records.name(made) == run


def test_a_run_of_a_package_that_is_not_here_has_a_row(tmp_path, monkeypatch):
    of_both = {record["config"].get("method"): record for record in records.read_all() if record["protocol"] == "lenet"}
    monkeypatch.setattr(paths, "RESULTS", tmp_path)
    for name, record in (("imp", of_both["imp"]), ("concave", of_both["concave"])):
        shutil.copytree(paths.ROOT / "results" / record["run"], tmp_path / record["run"])
        shutil.copytree(paths.ROOT / "results" / record["run"], tmp_path / name)
        (tmp_path / name / "record.json").write_text(json.dumps(record | {"run": name, "protocol": "theirs"}), "utf-8")
    told = {row[-1] for row in RunsTable().rows if row[-2] == "theirs"}
    assert told == {"by a package that is not installed here"} and len(RunsTable().rows) == 4
    assert list(searches.on_record()) == ["lenet"]


@pytest.mark.parametrize("eps", [1e-3, 5.0])
def test_two_entries_take_a_shape_beyond_their_slider_as_the_chapter_does(eps):
    assert TwoEntries(eps=eps).still().axes
