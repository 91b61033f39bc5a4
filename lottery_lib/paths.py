"""Every folder the project reads or writes, named once."""

import os
from pathlib import Path


def _root() -> Path:
    """The checkout this package was installed from (``pip install -e``); elsewhere the working directory."""
    checkout = Path(__file__).resolve().parents[1]
    return checkout if (checkout / "pyproject.toml").exists() else Path.cwd()


ROOT = _root()
RESULTS = ROOT / "results"
WORK = ROOT / "_work"  # checkpoints of trainings, ignored by git
FIGURES = ROOT / "figures"
BENCHMARKS = ROOT / "benchmarks" / "results"  # one file a machine
GRIDS = ROOT / "workflow" / "grids"
PROFILES = ROOT / "workflow" / "profiles"  # of Snakemake
SNAKEFILE = ROOT / "workflow" / "Snakefile"
NOTEBOOKS = ROOT / "notebooks"
CLAIMS = ROOT / "book" / "claims.yml"


def data_dir() -> Path:
    """Where data sets lie, in torchvision's layout: ``$LOTTERY_DATA``, or ``data/`` in the checkout."""
    return Path(os.environ.get("LOTTERY_DATA") or ROOT / "data").expanduser()
