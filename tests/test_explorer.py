"""widgets/searches.py and widgets/explorer.py: what the record says is what the explorer says, and a kernel adds to it.

The runs are real ones of a tiny protocol: LeNet-300-100 on the embedded digits, for two epochs.
"""

import base64
import json
import math
import zlib
from dataclasses import replace
from unittest.mock import Mock

import numpy as np
import pytest
import torch

pytest.importorskip("anywidget")
import traitlets
from runs import Tiny

from lottery_lib import masks, models, paths
from lottery_lib.data import datasets
from lottery_lib.errors import LotteryError
from lottery_lib.experiments import protocols, records, ticket_run
from lottery_lib.findings import comparisons, tables
from lottery_lib.widgets import TicketExplorer, searches
from lottery_lib.widgets.searches import Point, Search, Task


class Other(Tiny):
    protocol = "other"


LAM = 0.005
SEARCH = Tiny(lam=LAM)
RUNS = [
    Tiny("dense", density=1.0),
    Tiny("imp", density=0.2),
    *(Tiny(lam=LAM, density=density) for density in (0.4, 0.1)),
    Tiny(lam=LAM, density=0.1, seed=1),
    *(Tiny(lam=LAM, alpha=alpha) for alpha in (0.003, 0.3)),
    Tiny(lam=LAM, mask_lr=20.0, density=0.1),
    Tiny(lam=0.02, density=0.1),
    Tiny(lam=LAM, eps=1.0, density=0.1),
    Tiny(lam=LAM, density=0.1, rounds=2),
    Tiny(lam=LAM, density=0.1, per_layer=True),
    *(Tiny(density=density) for density in (0.5, 0.2)),
    Tiny(density=0.2, seed=1),
    Tiny(density=0.2, alpha=0.3),
    Other(lam=LAM, regularizer="l1", density=0.1),
]
pytestmark = pytest.mark.filterwarnings("ignore:asked for a density of")  # two epochs steer little


@pytest.fixture(scope="module")
def on_record(tmp_path_factory):
    """All runs on record, in a checkout of their own."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("RESULTS", "WORK"):
            patch.setattr(paths, name, tmp_path_factory.mktemp(name))
        patch.setattr(protocols, "PROTOCOLS", {c.protocol: (c, ticket_run.run) for c in (Tiny, Other)})
        for run in RUNS:
            protocols.train(run)
        yield searches.on_record()


@pytest.fixture(scope="module")
def relaxed(on_record):
    """The relaxed mask of ``SEARCH``, from the work folder."""
    images = datasets.load("digits")
    model = models.create(SEARCH.model, images.classes, images.shape, SEARCH.seed)
    return ticket_run.find(SEARCH, model, images, {"work": paths.WORK}).relaxed


@pytest.fixture
def explorer(on_record):
    """Opens on ``SEARCH``; what a test brings or retrains is its own."""
    return TicketExplorer(searches.on_record(), dataset="tiny", regularizer="log", lam=LAM, mask_lr=10.0)


def ask(explorer, kind):
    """What a click on a button sends."""
    explorer._handle_custom_msg({"kind": kind}, [])


def test_everything_on_record_is_there_and_nothing_else(on_record):
    assert list(on_record) == ["other", "tiny"]
    assert on_record["other"].families() == ["l1"]
    tiny = on_record["tiny"]
    # the calibrated first; rounds and per_layer are no thresholds on one mask
    assert tiny.families() == ["log, calibrated", "log", "log, eps = 1.0"]
    assert [search.asked for search in tiny.searches[:3]] == [0.2, 0.5, None]  # not the one that steers for another α
    assert [(s.config.lam, s.config.mask_lr) for s in tiny.searches[2:5]] == [(LAM, 10), (LAM, 20), (0.02, 10)]
    assert tiny.layers == [("fc1", 19200), ("fc2", 30000), ("fc3", 1000)]
    assert tiny.label == "LeNet-300-100 on digits (tiny, reduced)"
    dense, imp = records.read(RUNS[0])[0], records.read(RUNS[1])[0]
    assert tiny.dense == Point(1.0, pytest.approx(dense["test_accuracy"], abs=1e-3), None, 1)
    assert tiny.imp == [Point(imp["density"], pytest.approx(imp["test_accuracy"], abs=1e-3), None, 1)]


def test_the_histogram_counts_what_the_mask_keeps(on_record, relaxed):
    search = on_record["tiny"].nearest("log", LAM, 10)
    for edge in range(1, search.bins + 1):
        found = search.at(edge / search.bins)
        kept = masks.threshold(relaxed, edge / search.bins)
        assert found["kept"] == [int(m.sum()) for m in kept.values()]
        assert found["density"] == masks.density(kept) and not found["exact"]


def test_a_cut_on_record_is_exact_between_edges(on_record, relaxed):
    found = on_record["tiny"].nearest("log", LAM, 10).at(0.0031)
    record, _ = records.read(Tiny(lam=LAM, alpha=0.003))
    assert found["alpha"] == 0.003 and found["density"] == record["density"] != masks.density(
        masks.threshold(relaxed, 0.01)
    )
    assert found["accuracy"]["kind"] == "measured"
    assert found["accuracy"]["accuracy"] == pytest.approx(record["test_accuracy"], abs=1e-3)


def test_tickets_of_several_seeds_have_an_interval(on_record):
    point = next(p for p in on_record["tiny"].nearest("log", LAM, 10).points if p.n == 2)
    table = tables.runs()
    runs = table[table.run.isin([records.name(Tiny(lam=LAM, density=0.1, seed=seed)) for seed in (0, 1)])]
    (expected,) = comparisons.summary(runs.assign(name="")).itertuples()
    assert point == Point(0.1, pytest.approx(expected.mean, abs=1e-3), pytest.approx(expected.half_width, abs=1e-3), 2)


def test_of_calibrated_searches_the_density_is_the_control(explorer):
    explorer.regularizer, explorer.density, explorer.alpha = "log, calibrated", 0.24, 0.1
    record, arrays = records.read(Tiny(density=0.2))
    kept = [layer["kept"] for layer in record["layers"]]
    assert explorer.search.asked == 0.2 and explorer.view["kept"] == kept
    assert explorer.search.pressure == (record["calibration"]["lam"], record["calibration"]["mask_lr"])
    assert np.array_equal(explorer.search.counts, arrays["histogram"])
    worth = explorer.view["accuracy"]
    seeds = [records.read(Tiny(density=0.2, seed=seed))[0]["test_accuracy"] for seed in (0, 1)]
    assert (worth["kind"], worth["n"]) == ("measured", 2) and worth["accuracy"] == pytest.approx(
        np.mean(seeds), abs=1e-3
    )
    assert len(explorer.search.points) == 2  # one ticket a search: the line is the family's
    assert "which the search set for a density of 0.2" in explorer.caption() and explorer.still()
    explorer.density = 0.45
    assert explorer.search.asked == 0.5
    ask(explorer, "retrain")
    assert explorer.note == "a calibrated search has one ticket, at the density asked for; ask for another density"


def test_a_calibrated_search_can_be_live(on_record):
    explorer = TicketExplorer.live(Tiny(density=0.3), alpha=0.1)
    assert explorer.search.asked == 0.3 and explorer.view["exact"] and explorer.search.pressure[1] > 0
    assert len(explorer._known["tiny"].searches) == len(on_record["tiny"].searches) + 1


def test_accuracy_is_measured_interpolated_or_unknown():
    counts = np.array([[90, 2, 2, 2, 2, 2]])  # of 100 weights in 4 bins
    search = Search(SEARCH, counts, [Point(0.04, 80.0, None, 1), Point(0.08, 90.0, 1.5, 3)])
    assert search.at(0.25)["accuracy"] == {
        "kind": "measured", "density": 0.08, "accuracy": 90.0, "half_width": 1.5, "n": 3, "alpha": None,
    }  # fmt: skip
    between = search.at(0.5)["accuracy"]
    assert between["kind"] == "interpolated" and between["between"] == [0.04, 0.08]
    assert between["accuracy"] == pytest.approx(80 + 10 * math.log(6 / 4) / math.log(2))
    assert search.at(1)["accuracy"] == {"kind": "unknown"}
    search.add(Point(0.087, 95.0, 1.0, 2, 0.5))  # cut at this α; other seeds kept other numbers of weights
    assert search.at(0.5)["accuracy"]["accuracy"] == 95 and search.at(0.25)["accuracy"]["accuracy"] == 90
    assert Search(SEARCH, counts).at(0.5)["accuracy"] == {"kind": "unknown"}


def test_values_go_to_the_nearest_on_record(explorer):
    explorer.lam, explorer.alpha = 0.0181, 0.0512
    assert explorer.search.config.lam == 0.02 and explorer.view["alpha"] == 0.05
    explorer.lam, explorer.mask_lr = 0.0051, 30.0
    assert (explorer.search.config.lam, explorer.search.config.mask_lr) == (LAM, 20)
    assert explorer.view["asked"] == ["tiny", "log", 0.05, 0.0051, 30.0, 0.0512]
    explorer.dataset = "other"
    assert explorer.regularizer == "l1" and explorer.search.config.protocol == "other"


@pytest.mark.parametrize(
    "trait, value, sentence",
    [
        ("dataset", "tniy", "nothing on record under 'tniy'; did you mean 'tiny'?"),
        ("regularizer", "lgo", "no search on record with regularizer 'lgo'; did you mean 'log'?"),
        ("alpha", 0.0, "alpha = 0.0: must be above 0 and at most 1"),
        ("alpha", 1.5, "alpha = 1.5: must be above 0 and at most 1"),
        ("density", 2.0, "density = 2.0: must be above 0 and at most 1"),
        ("lam", -1.0, "lam = -1.0: must be > 0"),
        ("density", 0.0, "density = 0.0: must be above 0 and at most 1"),
    ],
)
def test_a_bad_value_is_named(explorer, trait, value, sentence):
    before = getattr(explorer, trait)
    with pytest.raises(LotteryError) as refused:
        setattr(explorer, trait, value)
    assert str(refused.value) == sentence
    with pytest.raises(LotteryError):
        TicketExplorer(explorer._known, **{"dataset": "tiny", "regularizer": "log", trait: value})
    assert getattr(explorer, trait) == before


def test_an_empty_record_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "RESULTS", tmp_path)
    with pytest.raises(LotteryError, match="^no search is on record; make one with: lottery train lenet "):
        TicketExplorer()


def test_it_links_like_any_widget(explorer, on_record):
    other = TicketExplorer(on_record, dataset="tiny", alpha=0.5)
    link = traitlets.link((explorer, "alpha"), (other, "alpha"))
    explorer.alpha = 0.2
    assert other.view["alpha"] == 0.2
    other.alpha = 0.4
    assert explorer.view["alpha"] == 0.4
    link.unlink()


def test_the_browser_gets_all_counts(on_record):
    tasks, deflated = searches.pack(on_record)
    assert json.loads(json.dumps(tasks)) == json.loads(json.dumps(tasks, allow_nan=False))
    counts = np.frombuffer(zlib.decompress(deflated), "<u4")
    expected = [search.counts.ravel() for task in on_record.values() for search in task.searches]
    assert np.array_equal(counts, np.concatenate(expected))


def test_the_still_picture_is_a_png_and_the_caption_has_the_numbers(explorer):
    bundle, _ = explorer._repr_mimebundle_()
    assert base64.b64decode(bundle["image/png"]).startswith(b"\x89PNG")
    assert "application/vnd.jupyter.widget-view+json" in bundle
    explorer.alpha = 0.3
    record, arrays = records.read(Tiny(lam=LAM, alpha=0.3))
    zeros = arrays["histogram"][:, 0].sum() / arrays["histogram"].sum()
    caption = explorer.caption()
    for number in (f"{100 * zeros:.1f} %", f"a density of {record['density']:.3g}", f"{record['test_accuracy']:.2f} %"):
        assert number in caption


def test_no_dot_of_the_still_picture_lies_outside(explorer):
    for accuracy in (3.0, 50.0):
        explorer.search.add(Point(0.3, accuracy, None, 1))
    curve = explorer.still().axes[1]
    assert all(curve.get_ylim()[0] <= y for line in curve.containers for y in line.lines[0].get_ydata())


def test_a_kernel_makes_any_threshold_exact(explorer, relaxed):
    explorer.alpha = 0.1234
    assert not explorer.view["exact"] and explorer.view["alpha"] == 0.12
    ask(explorer, "bring")
    assert explorer.view["exact"] and explorer.view["alpha"] == 0.1234
    assert explorer.view["kept"] == [int((m >= 0.1234).sum()) for m in relaxed.values()]
    assert [search["exact"] for task in explorer.tasks for search in task["searches"]].count(True) == 1


def test_retraining_adds_the_ticket_that_the_command_line_would_make(explorer, on_record, monkeypatch, tmp_path):
    monkeypatch.setattr(paths, "WORK", tmp_path)  # nothing is made yet: search and retraining are both seen
    told = []
    explorer.observe(lambda change: told.append((change.new, explorer.busy)), "note")
    explorer.alpha = 0.123
    assert explorer.view["accuracy"]["kind"] != "measured"
    ask(explorer, "retrain")  # brings the mask, too
    shares = [(note.split(":")[0], busy) for note, busy in told if note.endswith(" %")]
    assert [shares[0], shares[-1]] == [("searching", True), ("retraining", True)]
    assert told[-1] == ("to put this ticket on record: lottery train tiny -p lam=0.005 -p alpha=0.123", True)
    assert not explorer.busy
    record, _ = ticket_run.run(replace(SEARCH, alpha=0.123))
    worth = explorer.view["accuracy"]
    assert (worth["kind"], worth["accuracy"]) == ("measured", record["test_accuracy"])
    assert not records.exists(replace(SEARCH, alpha=0.123))
    explorer.alpha = 0.2
    assert explorer.note == "" and explorer.view["accuracy"]["kind"] == "interpolated"


def test_what_goes_wrong_stands_beside_the_buttons(explorer, monkeypatch):
    ask(explorer, "bring")
    monkeypatch.setattr(ticket_run, "run", Mock(side_effect=LotteryError("layer 'fc1.weight' keeps none")))
    ask(explorer, "retrain")
    assert explorer.note == "layer 'fc1.weight' keeps none"
    assert not explorer.busy


class Pictures(Tiny):
    """Convolutions round by how their weights lie in memory."""

    protocol = "pictures"
    model = "conv-small"


def test_the_mask_that_is_brought_is_the_runs(tmp_path, monkeypatch):
    """To the bit, and its checkpoint serves the run: nothing is searched twice."""
    monkeypatch.setattr(paths, "RESULTS", tmp_path / "results")
    config = Pictures(lam=0.01)
    monkeypatch.setattr(paths, "WORK", tmp_path / "run")
    data, model = ticket_run.prepare(config)
    relaxed = ticket_run.find(config, model, data, {"work": paths.WORK}).relaxed
    monkeypatch.setattr(paths, "WORK", tmp_path / "brought")
    brought = TicketExplorer.live(config).search.relaxed
    assert all(torch.equal(brought[name], relaxed[name]) for name in relaxed)
    before = {path.name: path.stat().st_mtime_ns for path in paths.WORK.iterdir()}
    assert before.keys() == {path.name for path in (tmp_path / "run").iterdir()}
    ticket_run.run(config)
    after = {path.name: path.stat().st_mtime_ns for path in paths.WORK.iterdir()}
    assert before.items() <= after.items() and len(after) == 2  # the search, as it was, and the retraining


def test_live_searches_first(on_record):
    explorer = TicketExplorer.live(Tiny(lam=0.01, alpha=0.5), alpha=0.0456)
    assert explorer.dataset == "tiny" and explorer.search.config == Tiny(lam=0.01)
    assert explorer.view["exact"] and explorer.view["alpha"] == 0.0456
    assert len(explorer._known["tiny"].searches) == len(on_record["tiny"].searches) + 1
    known = TicketExplorer.live(SEARCH)
    assert known.search.points == on_record["tiny"].nearest("log", LAM, 10).points
    with pytest.raises(LotteryError, match="^the explorer shows searches with method = concave"):
        TicketExplorer.live(Tiny("imp", density=0.2))


def test_a_live_search_stands_among_those_of_its_own_network(on_record, monkeypatch):
    search = Search(Tiny(lam=0.1), np.ones((1, 102), int))
    own, other = searches.on_record()["tiny"], Task("another network (tiny, reduced)", [("conv", 9)], [search])
    called = "tiny, lenet-300-100 on digits"
    monkeypatch.setattr(searches, "on_record", lambda: {"tiny, another on digits": other, called: own})
    explorer = TicketExplorer.live(SEARCH)
    assert explorer.dataset == called and explorer.search in own.searches
    monkeypatch.setattr(searches, "on_record", lambda: {"tiny": other})
    explorer = TicketExplorer.live(SEARCH)
    assert explorer.dataset == called and explorer._known["tiny"].layers == [("conv", 9)]


def test_a_protocol_that_is_not_on_record_can_be_live(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "RESULTS", tmp_path)
    monkeypatch.setattr(paths, "WORK", tmp_path / "work")
    explorer = TicketExplorer.live(Tiny(lam=0.01))
    assert explorer._known["tiny"].layers == [("fc1", 19200), ("fc2", 30000), ("fc3", 1000)]
    assert explorer.view["accuracy"] == {"kind": "unknown"}
    assert explorer._repr_mimebundle_()[0]["image/png"]
    assert isinstance(explorer._known["tiny"], Task)
