"""A protocol of runs that take a second, and made-up runs for what is read from the table of runs."""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from lottery_lib import masks
from lottery_lib.experiments.protocols import DigitsLeNet
from lottery_lib.findings import tables
from lottery_lib.training.recipes import Recipe


class Tiny(DigitsLeNet):
    protocol = "tiny"
    recipe = Recipe(epochs=2, batch_size=64)
    ladder = (0.5, 0.2)


BASE = dict.fromkeys(tables.COLUMNS) | {
    "protocol": "lenet", "model": "lenet-300-100", "dataset": "mnist", "reduced": False, "method": "concave",
    "regularizer": "log", "seed": 0, "density_asked": 0.05, "density": 0.05, "lam": 1e-4, "mask_lr": 10.0, "rounds": 1,
    "rewind_epoch": 0, "total_epochs": 20, "val_accuracy": 50.0, "test_accuracy": 50.0, "precision": "fp32",
    "device": "here", "vectors": "AVX2", "threads": 1,
}  # fmt: skip
LINES = {  # fields that give a run its line
    "mask, log": {},
    "mask, log, in rounds": {"rounds": 4, "total_epochs": 50},
    "mask, log, per layer": {"per_layer": True},
    "mask, log, early rewinding": {"rewind_epoch": 1},
    "mask, log, calibrated": {"lam": None, "mask_lr": None},
    "mask, log, calibrated, in rounds": {"lam": None, "mask_lr": None, "rounds": 4, "total_epochs": 50},
    "mask, log, calibrated, 3 epochs of search": {"lam": None, "mask_lr": None, "search_length": 3, "total_epochs": 13},
    "mask, log, calibrated, 1 epoch of search": {"lam": None, "mask_lr": None, "search_length": 1, "total_epochs": 11},
    "edge-popup": {"method": "edge-popup", "regularizer": None, "lam": None, "mask_lr": None},
    "mask, log: PI feedback": {"method": "feedback-pi", "lam": None, "mask_lr": None},
    "mask, log: dual feedback": {"method": "feedback-dual", "lam": None, "mask_lr": None},
    "mask, ℓ1": {"regularizer": "l1"},
    "IMP": {"method": "imp", "regularizer": None, "rounds": 4, "total_epochs": 50},
    "IMP, early rewinding": {"method": "imp", "regularizer": None, "rewind_epoch": 1, "total_epochs": 50},
    "gradual magnitude": {"method": "gradual", "regularizer": None},
    "one-shot magnitude": {"method": "one-shot", "regularizer": None, "score": "magnitude"},
    "dense": {"method": "dense", "regularizer": None, "total_epochs": 10, "lam": None, "mask_lr": None},
    "SNIP": {"method": "snip", "regularizer": None, "total_epochs": 10},
    "random": {"method": "random", "regularizer": None, "total_epochs": 10},
}


def runs(*rows: dict) -> pd.DataFrame:
    """A table of runs, each given by what sets it apart from ``BASE``."""
    return pd.DataFrame([BASE | row for row in rows], columns=tables.COLUMNS)


def line(name: str, accuracies: list[float], density: float = 0.05, **fields) -> list[dict]:
    """A run of that line for every seed, with these test accuracies."""
    shared = LINES[name] | {"density_asked": density, "density": density} | fields
    return [shared | {"seed": seed, "test_accuracy": accuracy} for seed, accuracy in enumerate(accuracies)]


RECORD = {  # the least that a record holds
    "protocol": "made-up", "config": {},
    "provenance": {"device": "here", "torch": "2", "numpy": "2", "commit": "none", "threads": 1},
}  # fmt: skip


def put(results: Path, run: str, layers: dict[str, np.ndarray], mask: np.ndarray | None = None) -> None:
    """The record of a run with these histograms, layer -> counts, and with a mask of one layer."""
    (results / run).mkdir()
    shape = [] if mask is None else list(mask.shape)
    layer = {"shape": shape, "weights": 1, "kept": 1}
    record = RECORD | {"run": run, "layers": [{"layer": f"{name}.weight"} | layer for name in layers]}
    (results / run / "record.json").write_text(json.dumps(record))
    arrays = {} if mask is None else {"mask": masks.pack({"layer": masks.torch.from_numpy(mask)})}
    np.savez(results / run / "arrays.npz", histogram=np.stack(list(layers.values())), **arrays)
