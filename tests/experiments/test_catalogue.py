"""catalogue.py: a method is a module and a row, a regulariser a class and a row; all else follows."""

import sys
from dataclasses import dataclass

import pytest
import torch
from runs import Tiny

from lottery_lib import masks, paths
from lottery_lib.experiments import catalogue, grids, protocols
from lottery_lib.experiments.catalogue import METHODS, Method
from lottery_lib.figures import tickets as ticket_figures
from lottery_lib.figures.lines import LOOKS, look
from lottery_lib.findings import comparisons, tables
from lottery_lib.methods.base import SearchConfig, Trainer
from lottery_lib.regularizers import REGULARIZERS, Regularizer
from lottery_lib.training.recipes import Recipe


class Brief(Tiny):
    recipe = Recipe(epochs=1, batch_size=64)


# A method of somebody else: this file is its module.


@dataclass(frozen=True)
class Config(SearchConfig):
    start: float = 0.0


def search(model, data, config, **options):
    """Keep the weights nearest to ``start``, before any training."""
    trainer = Trainer(model, data, config, options)
    scores = {name: -(weight - config.start).abs() for name, weight in trainer.weights().items()}
    return trainer.ticket(masks.top_k(scores, config.density), trainer.rewind_state(), config.rewind_epoch)


@dataclass(frozen=True)
class Root(Regularizer):
    """A penalty of somebody else."""

    def raw(self, m):
        return torch.sqrt(m + 0.01) - 0.1

    def raw_slope(self, m):
        return 0.5 / torch.sqrt(m + 0.01)


@pytest.fixture
def record(tmp_path, monkeypatch):
    """Put runs on record in a folder of their own."""
    monkeypatch.setattr(paths, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(paths, "WORK", tmp_path / "work")
    monkeypatch.setitem(protocols.PROTOCOLS, "tiny", protocols.PROTOCOLS["digits"])
    return lambda *configs: [protocols.train(config) for config in configs]


def drawn(figure):
    return {text.get_text() for text in figure.axes[0].texts}


def test_a_new_method_is_trained_tabled_and_drawn(record, monkeypatch):
    row = Method(sys.modules[__name__], "near a value", ("start", "rewind_epoch"))
    monkeypatch.setitem(METHODS, "near", row)
    record(*(Brief("near", density, start=0.1) for density in (0.5, 0.2)))
    found = tables.runs()
    assert found.method.tolist() == ["near", "near"] and found.start.tolist() == [0.1, 0.1]
    assert found.density.tolist() == pytest.approx([0.2, 0.5], abs=1e-4) and found.lam.isna().all()
    runs = tables.chosen(found)
    assert set(runs.name) == {"near a value"}
    assert drawn(ticket_figures.accuracy_against_density(comparisons.summary(runs))) == {"near a value"}
    assert sum(grids.trainings(Brief("near", 0.2, start=0.1)).values()) == 1  # its retraining


def test_a_new_regulariser_is_trained_tabled_and_drawn(record, monkeypatch):
    monkeypatch.setitem(REGULARIZERS, "root", Root)
    record(Brief(density=0.2, regularizer="root", lam=1e-3))
    runs = tables.chosen(tables.runs())
    assert runs.name.tolist() == ["mask, root, top-k"] and "mask, root" in tables.names()
    assert drawn(ticket_figures.accuracy_against_density(comparisons.summary(runs))) == {"mask, root, top-k"}


def test_runs_of_a_method_that_is_not_here_are_tabled_by_its_name(record, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setitem(METHODS, "near", Method(sys.modules[__name__], "near a value"))
        record(Brief("near", 0.2))
    assert tables.chosen(tables.runs()).name.tolist() == ["near"]


def test_looks_stay_where_they_are_when_a_method_comes_before_them(monkeypatch):
    before = {name: look(name) for name in LOOKS}
    others = {**METHODS}
    METHODS.clear()
    METHODS.update({"new": Method(sys.modules[__name__], "new"), **others})
    try:
        assert {name: look(name) for name in LOOKS} == before
    finally:
        METHODS.clear()
        METHODS.update(others)


def test_a_protocol_is_registered_once():
    class Other(Tiny):
        protocol = "lenet"

    with pytest.raises(ValueError, match="there is a protocol 'lenet' already; give this one another name"):
        protocols.register(Other)
    assert protocols.register(protocols.LeNet) is protocols.LeNet


def test_a_plugin_that_is_broken_is_left_out_with_a_warning_that_names_it(monkeypatch):
    class Broken:
        value = "mine:add"

        def load(self):
            raise SyntaxError("no such thing")

    catalogue.load_plugins.cache_clear()
    monkeypatch.setattr(catalogue, "entry_points", lambda group: [Broken()])
    with pytest.warns(UserWarning, match="the plugin 'mine:add' is left out: SyntaxError: no such thing"):
        catalogue.load_plugins()
    catalogue.load_plugins.cache_clear()


def test_the_table_follows_what_happens_to_a_record(record):
    record(Brief("random", 0.2), Brief("random", 0.5))
    assert len(tables.runs()) == 2
    path = next(paths.RESULTS.glob("*/record.json"))
    path.write_text(path.read_text("utf-8").replace('"reduced": true', '"reduced":  false'), "utf-8")
    assert sorted(tables.runs().reduced) == [False, True]
    path.unlink()
    assert len(tables.runs()) == 1
