"""What the planted networks on record say of a loss that is not convex: O3's verdict, and what predicts the error."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import torch

from lottery_lib.experiments import records
from lottery_lib.experiments.grids import command
from lottery_lib.experiments.planted_networks import ITERATIONS, LOOKS, PENALTIES, SETTINGS, WAYS, PlantedNetworks
from lottery_lib.findings import planted, rules
from lottery_lib.findings.cells import SEEDS
from lottery_lib.findings.comparisons import interval, number, span
from lottery_lib.findings.verdicts import Answer, Verdict
from lottery_lib.regularizers import L1, Log
from lottery_lib.theory import bounds, networks, solver

DRAWS = 5  # seeds on record
SLACK = 1e-5  # what float32 and an unfinished last step may add to an error
SETTING = ["depth", "samples", "noise"]
DENSITY, BEST, NEAR = WAYS
TOLD = {DENSITY: "at equal density", BEST: "each at its best λ", NEAR: "each at its best λ, from the target"}
NAMES = {
    way: f"planted networks {where}"
    for way, where in zip(WAYS, ("at equal density", "at the best λ", "from the target, which nobody knows"))
}
BOUND = "planted networks by the bound"
LAM = 3e-3  # of searches that start in between
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)  # of the way from the target to m = 1
CURVATURES = {  # what may stand for γ in T2 -> what to call it
    "along": "least on the search, kept entries",
    "end": "least where it ends, kept entries",
    "between": "least between target and mask",
    "monotonicity": "monotonicity towards the target",
}
PREDICTORS = {  # column -> what to call it
    "held_out": "held-out loss",
    "loss": "training loss",
    "undecided": "kept entries undecided",
    "price": "price of the mask, R(m)",
    "end": "least curvature at the end",
    "along": "least curvature on the search",
    "bound": "bound by monotonicity",
    "f1": "F1 of the support",
}
KNOWN = ("bound", "f1")  # of these, what only the planter knows


@dataclass(frozen=True)
class Found:
    """Draws at this ε laid together: ``points``, a row each problem, penalty and way; and mean errors by λ."""

    eps: float = 0.1
    runs: list[dict] = field(repr=False, default_factory=list)
    points: pd.DataFrame = field(repr=False, default_factory=pd.DataFrame)
    errors: np.ndarray = field(repr=False, default_factory=lambda: np.empty(0))  # (settings, penalties, starts, λ)

    def searches(self, *depths: int) -> pd.DataFrame:
        """What searches from m = 1 came to at equal density, at these depths or at all: no target chose these."""
        searches = self.points[self.points.way == DENSITY]
        return searches[searches.depth.isin(depths)] if depths else searches


def laid_out(arrays: Mapping[str, np.ndarray], settings: tuple = SETTINGS) -> pd.DataFrame:
    """The chosen points of one draw (``experiments.planted_networks.measured``), a row each.

    Beside its numbers: its ``depth``, ``samples`` and ``noise``, ``penalty``, ``way`` and ``problem``; the least
    curvature ``along`` the search, at its ``end``, and at each look, as ``look 0`` and so on; the ``bound`` T2 with its
    monotonicity, infinite where that is not positive.
    """
    shape = arrays["error"].shape
    axes = np.indices(shape).reshape(len(shape), -1)
    rows = {name: [setting[axis] for setting in settings] for axis, name in enumerate(SETTING)}
    found = pd.DataFrame({name: np.array(values)[axes[0]] for name, values in rows.items()})
    found = found.assign(penalty=np.array(PENALTIES)[axes[1]], way=np.array(WAYS)[axes[2]], problem=axes[3])
    found = found.assign(**{key: each.ravel() for key, each in arrays.items() if each.shape == shape})
    search = np.moveaxis(arrays["search"], 3, -1).reshape(len(found), -1)
    looks = pd.DataFrame(search, columns=[f"look {look}" for look in (*LOOKS, "end")])
    found = pd.concat([found, looks], axis=1).assign(along=looks.min(axis=1), end=looks["look end"])
    return found.assign(bound=bound(found, "monotonicity"))


def bound(points: pd.DataFrame, curvature: str) -> pd.Series:
    """T2, ‖v‖/γ, with this column for γ; infinite where that is not positive."""
    return (points.force / points[curvature]).where(points[curvature] > 0, np.inf)


def found() -> Found:
    """What is on record; LotteryError if nothing is, with the command that makes it."""
    configs = [PlantedNetworks(seed=seed) for seed in range(DRAWS)]
    known = [config for config in configs if records.exists(config)] or configs[:1]
    runs, arrays = zip(*map(records.read, known))
    points = [laid_out(each).assign(seed=config.seed) for config, each in zip(known, arrays)]
    errors = np.mean([each["path_error"].mean(3) for each in arrays], axis=0)
    return Found(configs[0].eps, list(runs), pd.concat(points, ignore_index=True), errors)


def from_between(config: PlantedNetworks) -> pd.DataFrame:
    """Live: searches that start ``share`` of the way from the target to m = 1, at one λ for both penalties, with
    40 samples and noise of 0.2.

    A row each depth, penalty and share, with the mean ``error`` where they end.
    """
    rows, generator = [], torch.Generator().manual_seed(config.seed)
    for depth in sorted({depth for depth, *_ in SETTINGS}):
        problems, _ = networks.networks(config.problems, depth, samples=40, noise=0.2, generator=generator)
        many = problems.at(torch.arange(config.problems).repeat(len(SHARES)))
        share = torch.tensor(SHARES, dtype=torch.float64).repeat_interleave(config.problems)
        start, price = many.target + share[:, None] * (1 - many.target), torch.full_like(share, LAM)
        for name, regularizer in zip(PENALTIES, (L1(), Log(config.eps))):
            m, *_ = solver.backtracking(many, regularizer, price, start, ITERATIONS)
            errors = bounds.distance(many, m).view(len(SHARES), -1).mean(1)
            rows += [(depth, name, *each) for each in zip(SHARES, errors.tolist())]
    return pd.DataFrame(rows, columns=["depth", "penalty", "share", "error"])


def compared(of: Found) -> pd.DataFrame:
    """Way by way and setting by setting: the ``ratio`` of log's mean error to ℓ1's, judged over seeds.

    As ``findings.planted.cells`` does it for C2. ``f1`` and ``f1_l1`` are mean F1 of the supports.
    """
    keys = ["way", *SETTING]
    wide = of.points.pivot_table(index=[*keys, "seed"], columns="penalty", values=["error", "f1"], sort=False)
    each = pd.DataFrame({"ratio": wide["error"]["log"] / wide["error"]["ℓ1"]})
    return planted.cells(each.assign(f1=wide["f1"]["log"], f1_l1=wide["f1"]["ℓ1"]).reset_index(), keys)


def informative(of: Found) -> pd.DataFrame:
    """Setting by setting: in what share of the searches the least curvature on the way is positive, with T2 not broken.

    ``good`` if the interval over seeds lies above ½, ``bad`` if it lies below; neither on fewer than three seeds.
    """
    points = of.searches()
    held = (points.along > 0) & (points.error <= bound(points, "along") + SLACK)
    each = points.assign(held=held.astype(float)).groupby([*SETTING, "seed"], sort=False).held.mean().reset_index()
    told = interval(each.groupby(SETTING, sort=False).held).rename(columns={"mean": "share"})
    low, high, enough = told.share - told.half_width, told.share + told.half_width, told.n >= SEEDS
    return told.assign(good=enough & (low > 0.5), bad=enough & (high < 0.5)).reset_index()


def without_convexity(of: Found) -> Verdict:
    """O3, by the rule that ``book/claims.yml`` gives for it; statuses are those of ``rules.status``.

    If log is not better in all cells, it may be so at one depth of the two.
    """
    cells, held = compared(of), informative(of)
    asked = {name: cells[cells.way == way] for way, name in NAMES.items()} | {BOUND: held}
    answers, said = [], []
    for name, rows in asked.items():
        primary = _primary(rows)
        depths = sorted(primary.depth.unique())
        conditions = {f"at depth {depth}": [f"depth {depth}"] for depth in depths}
        told = _bounded if name == BOUND else _closer
        answers.append(Answer(name, rules.status(primary, conditions), told(primary), n=span(primary.n)))
        said += [
            f"{name}, {_where(row)}{'' if row.depth in depths else ' (the control)'}: {_said(row)}"
            for row in rows.itertuples()
        ]
    devices = ", ".join(sorted({run["provenance"]["device"] for run in of.runs}))
    return Verdict(tuple(answers), tuple(said), "planted-networks", devices, command(["planted-networks"]))


def verdict() -> Verdict | None:
    """O3's verdict from what is on record; None if nothing is."""
    known = any(records.exists(PlantedNetworks(seed=seed)) for seed in range(DRAWS))
    return without_convexity(found()) if known else None


def _primary(rows: pd.DataFrame) -> pd.DataFrame:
    """The cells that decide; a number of samples is a place, as conditions must be true at two."""
    asked = rules.read()["O3"]["networks"]
    among = np.logical_and.reduce([rows[name].isin(asked[name]) for name in SETTING])
    kept = rows[among]
    contrast, model = "depth " + kept.depth.astype(str), kept.samples.astype(str)
    return kept.assign(protocol="planted-networks", model=model, dataset="", reduced=False, contrast=contrast)


def _closer(rows: pd.DataFrame) -> str:
    ratio = f"error {rows.ratio.min():.2f} to {rows.ratio.max():.2f} of ℓ1's"
    return ", ".join(filter(None, [f"log better in {rows.good.sum()} of {len(rows)} cells", _undecided(rows), ratio]))


def _bounded(rows: pd.DataFrame) -> str:
    most = f"a bound for most masks in {rows.good.sum()} of {len(rows)} cells"
    return ", ".join(filter(None, [most, _undecided(rows), f"for {_percent(rows.share)} of all masks"]))


def _percent(shares: pd.Series) -> str:
    return f"{span((100 * shares).round())} %"


def _undecided(rows: pd.DataFrame) -> str:
    left = (~(rows.good | rows.bad)).sum()
    return f"{left} undecided" if left else ""


def _where(row) -> str:
    return f"depth {row.depth}, {row.samples} samples, noise {row.noise:g}"


def _said(row) -> str:
    decided = "better" if row.good else "not better" if row.bad else "undecided"
    if hasattr(row, "ratio"):
        return f"{decided}, error {planted.told_ratio(row)} of ℓ1's, F1 {row.f1:.2f} against {row.f1_l1:.2f}"
    decided = "for most" if row.good else "for fewer than half" if row.bad else "undecided"
    return f"{decided}, a bound for {100 * row.share:.0f} % of the masks"


def curvature_table(of: Found) -> pd.DataFrame:
    """By depth and what stands for γ, of searches that are done: how often it is positive, and T2 with it exceeded.

    Of both penalties, from m = 1 at equal density; the last column has the median of bound over error, where there is
    one.
    """
    rows = []
    for depth, points in of.searches().groupby("depth"):
        done = points[(points.done == 1) & (points.error > SLACK)]
        for column, name in CURVATURES.items():
            positive = done[done[column] > 0]
            value = bound(positive, column)
            broken = (positive.error > value + SLACK).sum()
            ratio = f"{(value / positive.error).median():.3g}" if len(positive) else "–"
            share = f"{100 * len(positive) / max(len(done), 1):.0f}"
            rows.append((depth, name, len(done), share, broken, ratio))
    columns = ["depth", "for γ", "masks", "positive, %", "bound exceeded", "bound / error, median"]
    return pd.DataFrame(rows, columns=columns).set_index("depth")


def predictors(of: Found) -> pd.DataFrame:
    """By depth, how each of ``PREDICTORS`` ranks the errors: Spearman's correlation, with its interval over seeds.

    It is taken among the problems of one setting, penalty and seed, so that neither samples nor noise nor penalty can
    give the error away, and then averaged over these but for the seeds; NaN where most of these have no rank.
    """
    keys, rows = ["depth", "samples", "noise", "penalty", "seed"], []
    for key, points in of.searches().groupby(keys):
        ranks = points[[*PREDICTORS, "error"]].rank()
        rows += [dict(zip(keys, key)) | {"column": name, "rank": ranks[name].corr(ranks.error)} for name in PREDICTORS]
    each = pd.DataFrame(rows).assign(known=lambda rows: rows["rank"].notna())
    each = each.groupby(["depth", "column", "seed"], sort=False)[["rank", "known"]].mean()
    groups = each.groupby(["depth", "column"], sort=False)
    told = interval(groups["rank"]).rename(columns={"mean": "rank"})
    told.loc[groups.known.mean() < 0.5, ["rank", "half_width"]] = np.nan
    return told.reset_index().assign(name=lambda rows: rows.column.map(PREDICTORS))


def ratios_table(of: Found) -> pd.DataFrame:
    """``compared`` as a table to read, a row a setting."""
    cells = compared(of)
    shown = {}
    for way in WAYS:
        rows = cells[cells.way == way].set_index(SETTING)
        shown[f"error, log / ℓ1: {way}"] = pd.Series([planted.told_ratio(row) for row in rows.itertuples()], rows.index)
        if way == DENSITY:
            shown["F1: log"], shown["ℓ1"] = rows.f1.map("{:.2f}".format), rows.f1_l1.map("{:.2f}".format)
    return pd.DataFrame(shown).reset_index().set_index("depth")


def errors_table(of: Found) -> pd.DataFrame:
    """By depth, way and penalty the means: errors of mask and weights, F1, kept entries, and who is done."""
    columns = {"error": "error", "weight_error": "of the weights", "f1": "F1", "kept": "kept", "done": "done, %"}
    points = of.points.assign(way=of.points.way.map(TOLD), done=100 * of.points.done)
    means = points.groupby(["depth", "way", "penalty"])[list(columns)].mean().rename(columns=columns)
    return means.apply(lambda column: column.map(("{:.0f}" if "%" in column.name else "{:.2f}").format))


def predictors_table(of: Found) -> pd.DataFrame:
    """``predictors`` as a table to read, a row a candidate, a column a depth."""
    told = predictors(of)
    told["text"] = [number(row.rank, row.half_width) for row in told[["rank", "half_width"]].itertuples()]
    shown = told.pivot(index="name", columns="depth", values="text").loc[list(PREDICTORS.values())].replace("nan", "–")
    return shown.rename(columns="depth {}".format).rename_axis(None).rename_axis(None, axis="columns")


def in_short(of: Found) -> str:
    """The chapter's answer, in two sentences."""
    cells, held = compared(of), _primary(informative(of))
    deep = {way: _primary(cells[cells.way == way]) for way in WAYS}
    counts = {way: f"in {rows.good.sum()} of {len(rows)} cells" for way, rows in deep.items()}
    local = deep[NEAR].good.mean() > 0.5 > max(deep[DENSITY].good.mean(), deep[BEST].good.mean())
    lesson = "near the target the advantage remains, and a search from m = 1 mostly ends elsewhere"
    return (
        f"Where the loss is not convex, log finds the better mask {counts[DENSITY]} at equal density, {counts[BEST]} "
        f"at its best λ, and {counts[NEAR]} when the search starts at the target{': ' + lesson if local else ''}. The "
        f"least curvature met on the search gives a bound in {_percent(held.share)} of the masks."
    )


def control(of: Found) -> str:
    """A sentence on the convex control: how often the bound with the least curvature was checked there, and broken."""
    points = of.points[(of.points.depth == 1) & (of.points.way != NEAR) & (of.points.done == 1)]
    checked = points[points.along > 0]
    broken = (checked.error > bound(checked, "along") + SLACK).sum()
    return (
        f"Depth 1, where the loss is convex, is the control: there the least curvature on the search was positive in "
        f"{len(checked)} of {len(points)} masks, found from m = 1 at equal density and at the best λ, and the bound "
        f"with it was exceeded by **{broken}**."
    )
