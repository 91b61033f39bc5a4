"""One function a figure: a record in, a matplotlib figure out. ``draw_all`` remakes the files in ``figures/``."""

from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

from lottery_lib import paths
from lottery_lib.experiments import logistic, records
from lottery_lib.figures import calibrated as calibrated_figures
from lottery_lib.figures import claims as claim_figures
from lottery_lib.figures import costs as cost_figures
from lottery_lib.figures import masks as mask_figures
from lottery_lib.figures import networks as network_figures
from lottery_lib.figures import theory as theory_figures
from lottery_lib.figures import tickets as ticket_figures
from lottery_lib.figures.lines import FIRST
from lottery_lib.figures.logistic import logistic_convergence, logistic_maps, logistic_paths
from lottery_lib.figures.method import penalties, pipeline
from lottery_lib.figures.style import STYLE
from lottery_lib.files import whole
from lottery_lib.findings import (
    calibrated,
    claims,
    comparisons,
    costs,
    headline,
    planted,
    planted_networks,
    relaxed_masks,
    rules,
    tables,
)


def _tickets() -> pd.DataFrame:
    return comparisons.summary(tables.whole_searches(tables.chosen(tables.runs())))


def _first_tickets() -> pd.DataFrame:
    found = _tickets()
    return found[found.name.isin(["dense", *FIRST[:4]])]


def _differences(claim: str, first: str, second: str) -> Figure:
    cells = rules.shown(rules.rule(claim), tables.chosen(tables.runs()))
    return claim_figures.differences(cells, first, second)


# File stem -> the figure, from committed records or from mathematics alone.
FIGURES: dict[str, Callable[[], Figure]] = {
    "claims": lambda: claim_figures.forest(claims.load(), headline.overall()),
    "pipeline": pipeline,
    "penalties": penalties,
    "mnist-convergence": lambda: logistic_convergence(*records.read(logistic.LogisticConfig())),
    "mnist-paths": lambda: logistic_paths(*records.read(logistic.LogisticConfig())),
    "mnist-maps": lambda: logistic_maps(*records.read(logistic.LogisticConfig())),
    "planted-equal-lambda": lambda: theory_figures.at_equal_lambda(planted.found().pairs(), planted.found().near),
    "planted-best-lambda": lambda: theory_figures.at_best_lambda(planted.found()),
    "networks-ratios": lambda: network_figures.ratios(planted_networks.found()),
    "networks-curvature": lambda: network_figures.curvature(planted_networks.found()),
    "accuracy-density": lambda: ticket_figures.accuracy_against_density(_first_tickets()),
    "accuracy-epochs": lambda: ticket_figures.accuracy_against_epochs(_tickets()),
    "mask-or-magnitude": lambda: _differences("C3", "mask", "magnitude"),
    "mask-or-imp": lambda: _differences("C5", "log mask", "IMP"),
    "log-or-l1": lambda: _differences("C6", "log mask", "ℓ1 mask"),
    "alpha-sensitivity": lambda: claim_figures.alpha_sensitivity(relaxed_masks.sweeps(tables.runs())),
    "alpha-equal-density": lambda: claim_figures.alpha_at_equal_density(relaxed_masks.at_equal_density(tables.runs())),
    "mask-ridges": lambda: mask_figures.mask_ridges(relaxed_masks.samples(tables.runs())),
    "mask-modes": lambda: claim_figures.modes_by_layer(relaxed_masks.decided(relaxed_masks.searches(tables.runs()))),
    "density-errors": lambda: calibrated_figures.density_errors(
        calibrated.steered(tables.whole_searches(tables.runs()))
    ),
    "calibrated-or-fixed": lambda: _differences("O1", "calibrated", "best fixed λ"),
    "step-times": lambda: cost_figures.step_times(costs.Selection().found),
    "growth": lambda: cost_figures.growth(costs.Selection().found),
}


def draw_all(folder: Path = paths.FIGURES) -> list[Path]:
    """Remake every figure of ``FIGURES`` as SVG in ``folder`` from the records; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for stem, draw in FIGURES.items():
        with mpl.rc_context(STYLE), whole(folder / f"{stem}.svg") as unfinished:
            draw().savefig(unfinished, format="svg", metadata={"Date": None})
        written.append(folder / f"{stem}.svg")
    return written
