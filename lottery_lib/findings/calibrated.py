"""What the calibrated search came to: how near to its densities, how good, O1's verdict; and one search, watched.

Its runs are lines of the table like all others (``mask, log, calibrated``). Those under feedback stand beside them.
"""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from lottery_lib import masks, models, regularizers
from lottery_lib.data import datasets
from lottery_lib.experiments import arithmetic
from lottery_lib.experiments.catalogue import METHODS
from lottery_lib.experiments.protocols import DigitsLeNet
from lottery_lib.findings import rules as judging
from lottery_lib.findings import tables, tuning
from lottery_lib.findings.cells import SEEDS
from lottery_lib.findings.cheaper import WHOLE
from lottery_lib.findings.comparisons import interval, listed, number
from lottery_lib.findings.rules import FAILS
from lottery_lib.findings.tables import COMPUTED, PLACE
from lottery_lib.findings.verdicts import Answer, Verdict, on_cells
from lottery_lib.methods import feedback
from lottery_lib.methods.calibration import CalibratedMask, Calibration
from lottery_lib.methods.concave import TOLERANCE
from lottery_lib.training.loop import train
from lottery_lib.weights import prunable

LITTLE = 0.1  # points of test accuracy
NEAR = 0.1  # of the density asked: where accuracies may still be set side by side
MOST = 0.95  # of the runs must come within the tolerance
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def steered(table: pd.DataFrame) -> pd.DataFrame:
    """The runs whose search steers for its density, with the column ``error``: how far off it ended, relatively."""
    among = table.method.isin([method for method, row in METHODS.items() if row.moves_a_mask])
    runs = tables.by_protocol(table[among & table.lam.isna() & table.alpha.isna()])
    return runs.assign(error=runs.density / runs.density_asked - 1, name=tables.line_names(runs))


def nearness(runs: pd.DataFrame) -> pd.DataFrame:
    """How near the runs of ``steered`` came, a row a place and line: how many, within 2 %, median and largest error."""
    sizes = runs.error.abs()
    groups = runs.assign(size=100 * sizes, near=sizes <= TOLERANCE).groupby([*PLACE, "name"], sort=False)
    found = groups.agg(runs=("size", "count"), within=("near", "sum"), median=("size", "median"), most=("size", "max"))
    shown = {"within": "within 2 %", "median": "median error, %", "most": "largest error, %"}
    found = found.reset_index().assign(network=tables.where)
    found = found.sort_values(["network", "name"], key=lambda c: c.map(tables.rank) if c.name == "name" else c)
    return (
        found.set_index(["network", "name"])[["runs", *shown]].rename(columns=shown).rename_axis([None, None]).round(2)
    )


def by_feedback(runs: pd.DataFrame) -> pd.DataFrame:
    """What the density costs those of ``steered`` under feedback: a row a line, place and density it came near to.

    Near is within ``NEAR``. ``points`` are of test accuracy above the calibrated search of the same seed, on average,
    with their 95 % interval from three runs on (Student's t).
    """
    keys = [*PLACE, *COMPUTED, "density_asked", "seed"]
    forecast = runs[runs.name == WHOLE].set_index(keys).test_accuracy.rename("forecast")
    under_feedback = runs.method.isin([method for method, row in METHODS.items() if row.module is feedback])
    near = runs[under_feedback & (runs.error.abs() <= NEAR)].join(forecast, on=keys, how="inner")
    near = near.assign(points=near.test_accuracy - near.forecast, error=100 * near.error)
    groups = near.groupby(["name", *PLACE, "density_asked"])
    found = groups.agg(runs=("points", "count"), error=("error", "mean"), points=("points", "mean"))
    widths = interval(groups.points).half_width.where(found.runs >= SEEDS)
    found["points"] = [number(mean, width, "+") for mean, width in zip(found.points, widths)]
    found = found.reset_index().assign(network=tables.where)
    shown = {"density_asked": "density asked", "error": "off by, %"}
    return found.rename(columns=shown).set_index(["network", "name", "density asked"])[["runs", "off by, %", "points"]]


def no_tuning(table: pd.DataFrame) -> Verdict | None:
    """O1: can λ and α be found without tuning by hand, by one set of defaults for all networks?

    On a data set it holds if at least 95 % of the calibrated log searches there, but for cheaper ones, end within 2 %
    of the density asked for, at α = 0.1 and with no top-k, and by the rule in ``book/claims.yml`` their tickets are not
    worse than those of the best fixed λ. If the first fails, so does the whole.
    """
    rule, chosen = judging.rule("O1"), tables.chosen(table)
    cells = judging.judged(rule, chosen)
    found = on_cells(rule, table, chosen, cells)
    if found is None:
        return None
    runs = steered(tables.whole_searches(table))
    runs = runs[runs.name.str.startswith(WHOLE)]
    tried = _tried_by_hand(table, rule, cells)
    answers = []
    for answer in found.answers:
        own, by_hand = (rows[rows.dataset.map(tables.dataset) == answer.dataset] for rows in (runs, tried))
        answers.append(_with_density(answer, own, by_hand.candidates))
    where = listed([*map(tables.dataset, runs.dataset.unique())])
    far = (
        f"{100 * (runs.error.abs() <= TOLERANCE).mean():.0f} % of {len(runs)} searches under log, on {where}, within "
        f"2 % of the density asked for, the farthest {100 * runs.error.abs().max():.2g} % off"
    )
    return replace(found, answers=tuple(answers), findings=(far, *found.findings))


def _tried_by_hand(table: pd.DataFrame, rule: judging.Rule, cells: pd.DataFrame) -> pd.DataFrame:
    """Those of a rule's ``cells`` that decide, with how many ``candidates`` the opponent's λ was chosen from."""
    cells = cells[cells.good | cells.bad]
    cells = cells.assign(name=[rule.contrasts[contrast][1] for contrast in cells.contrast])
    return cells.merge(tuning.candidates(table), on=tables.SETTING)


def _with_density(answer: Answer, runs: pd.DataFrame, candidates: pd.Series) -> Answer:
    if runs.empty:
        return answer
    near = runs.error.abs() <= TOLERANCE
    told = f"{answer.counted}; {near.sum()} of {len(runs)} densities within 2 %"
    if single := (candidates == 1).sum():
        told += f"; in {single} of the {len(candidates)} decided, of the λ tried by hand only one ended at α ≤ 0.1"
    missed = runs.seed.nunique() >= SEEDS and near.mean() < MOST
    return replace(answer, status=FAILS if missed else answer.status, counted=told)


def behind(cells: pd.DataFrame) -> str:
    """A sentence on the ``cells`` whose first line is on the mean more than ``LITTLE`` points below the second."""
    below = cells[cells["mean"] < -LITTLE].sort_values("mean")
    told = [
        f"{tables.task(cell.model, cell.dataset)} at {cell.density_asked:g}, {cell.contrast} "
        f"({number(cell.mean, cell.half_width)}, n = {cell.n:g})"
        for cell in below[["model", "dataset", "density_asked", "contrast", "mean", "half_width", "n"]].itertuples()
    ]
    if not told:
        return f"Nowhere does the calibrated search lie more than {LITTLE:g} points below, on the mean."
    return (
        f"The calibrated search lies more than {LITTLE:g} points below, on the mean, in {len(told)} of {len(cells)}: "
        f"{'; '.join(told)}."
    )


def rules() -> str:
    """What completes the price, as Markdown, with the numbers of the defaults and, in italics, their names."""
    plan = Calibration()
    return (
        f"- **The step $\\eta_m$** is such that the last of the {100 * plan.reach_within:g} % best supported entries "
        f"(of those to be kept, if they are fewer) can move by {plan.reach:g} in a whole search (*reach*). It follows "
        f"the supports for the first {100 * plan.follow:g} % of the search, then stays. A support is an average over "
        f"about the last {100 * plan.memory:g} % of the search (*memory*).\n"
        f"- **Landing.** Entries are steered to land at {100 * plan.landing:g} % of the search (*landing*), but "
        f"the forecast never looks less than {100 * plan.horizon:g} % of the search ahead (*horizon*), or, towards the "
        "end, half of what is left.\n"
        f"- **Settling.** In the last {100 - 100 * plan.settling:g} % (*settling*) the penalty turns into one that is "
        f"steep on both sides of α, enough for a distance to α to grow e-fold {plan.folds:g} times (*folds*), and as "
        "high at α as the price asks: nearly all entries go to 0 or to 1, a gap opens with α in it or at its edge, and "
        "any threshold within the gap gives the same ticket. Meanwhile the data are heeded less and less, so that even "
        "a network that answers violently, because hardly anything of it is left, ends at the density."
    )


@dataclass
class Watched:
    """A calibrated search, seen some 200 times: what is asked, and of each ``frame`` when, λ, and quantiles of prices.

    ``counts`` (frames, bins + 2) are those of ``masks.histogram`` over all layers. ``epochs`` are the training's: when
    each was ``done``, its ``loss`` and its ``val_accuracy`` in percent.
    """

    asked: float
    alpha: float
    settling: float
    frames: pd.DataFrame = field(default_factory=pd.DataFrame)
    counts: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), int))
    epochs: pd.DataFrame = field(default_factory=pd.DataFrame)


class _WatchedMask(CalibratedMask):
    def __init__(self, *given: Any):
        super().__init__(*given)
        self.quantiles: list[float] = []
        self.seen: list[tuple[dict[str, float], np.ndarray]] = []

    def entry_prices(self, m: Tensor, support: Tensor, every: int) -> Tensor:
        prices = super().entry_prices(m, support, every)
        self.quantiles = prices.quantile(torch.tensor(QUANTILES)).tolist()
        return prices

    def update(self, every: int) -> None:
        self.quantiles = [float("nan")] * len(QUANTILES)  # while entries settle there are no prices
        super().update(every)
        values = {str(number): m for number, m in enumerate(self.m)}
        above = masks.density(masks.threshold(values, self.calibration.alpha))
        frame = {"done": self.step / self.steps, "lam": self.lam, "density": above}
        counts = masks.histogram(values, 50).sum(0)
        self.seen.append((frame | dict(zip(map(str, QUANTILES), self.quantiles)), counts))


def watch(density: float = 0.05, regularizer: str = "log", seed: int = 0) -> Watched:
    """A calibrated search of LeNet-300-100 on the embedded digits, which takes a second; LotteryError if refused."""
    config = DigitsLeNet(density=density, regularizer=regularizer, seed=seed)
    data, recipe = datasets.load(config.dataset), config.recipe
    model = models.create(config.model, data.classes, data.shape, seed)
    names = prunable(model)
    kept = masks.count(density, sum(model.get_parameter(name).numel() for name in names))
    steps = recipe.epochs * data.train.steps(recipe.batch_size)
    rule = _WatchedMask(model, names, regularizers.create(regularizer), kept, steps)
    with arithmetic.held(config):
        history = train(model, data, recipe, parameterization=rule, seed=seed)
    frames, counts = zip(*rule.seen)
    plan = rule.calibration
    epochs = pd.DataFrame(history.epochs)[["loss", "val_accuracy"]]
    epochs["done"] = np.arange(1, len(epochs) + 1) / len(epochs)
    return Watched(density, plan.alpha, plan.settling, pd.DataFrame(frames), np.stack(counts), epochs)
