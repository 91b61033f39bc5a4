"""What the planted problems on record say: whether the bounds hold, how tight they are, and C2's verdict."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import torch

from lottery_lib.experiments import records
from lottery_lib.experiments.grids import command
from lottery_lib.experiments.logistic import METHODS, LogisticConfig, is_masked
from lottery_lib.experiments.planted import PENALTIES, Planted
from lottery_lib.findings import rules
from lottery_lib.findings.cells import SEEDS
from lottery_lib.findings.comparisons import interval, number, span
from lottery_lib.findings.verdicts import Answer, Verdict
from lottery_lib.regularizers import Log, create
from lottery_lib.theory import checks, conservation
from lottery_lib.theory.induced import induced

EQUAL = 0.05  # mean errors that differ by less count as equal
ROUNDING = 1e-6  # an error that is smaller by less is not
SAME_LAMBDA, BEST_LAMBDA = "planted problems, at equal λ", "planted regressions, each at its best λ"
NAMES = {
    "T1": "T1, no dearer than the target",
    "T2": "T2, stationary",
    "x": "T2 for ℓ1: D ≤ x",
    "T3": "T3, nothing between D₁ and D₂",
    "T3, sharp": "T3, sharp form",
    "T4": "T4, exact zeros",
    "T5": "T5, exact recovery",
}


@dataclass(frozen=True)
class Found:
    """The draws on record at this ε, one a seed, laid together."""

    eps: float = 0.1
    runs: list[dict] = field(repr=False, default_factory=list)
    points: pd.DataFrame = field(repr=False, default_factory=pd.DataFrame)  # of ``theory.checks.run``, with ``seed``
    lambdas: np.ndarray = field(repr=False, default_factory=lambda: np.empty(0))
    errors: np.ndarray = field(repr=False, default_factory=lambda: np.empty(0))  # (settings, penalties, λ), means

    @property
    def near(self) -> float:
        """How large λ√k/γ may be for the theory to promise log the smaller bound, (1 + ε)/4."""
        return (1 + self.eps) / 4

    @property
    def problems(self) -> int:
        return len(self.points) // 2

    @property
    def slope(self) -> float:
        """The factor r′(1) by which log's bias is the smaller."""
        return Log(self.eps).slope(1)

    def checks(self) -> pd.DataFrame:
        """How often each bound was ``checked``, ``violated``, and would be with a constant 10 % smaller; a row each."""
        rows = pd.concat([pd.DataFrame(run["checks"]) for run in self.runs])
        return rows.groupby("bound")[["checked", "violated", "violated_if_tighter"]].sum().loc[list(NAMES)]

    def table(self) -> pd.DataFrame:
        """``checks`` to read, with the median of error over bound on quadratic and on logistic problems."""
        found = self.checks().rename(index=NAMES)
        found.columns = ["checked", "violated", "violated if 10 % smaller"]
        columns = {"T1": "T1", "T2": "T2", "T3": "first", "T3, sharp": "near"}
        clear = self.points[~self.points.noise]
        for kind, rows in clear.groupby("kind", sort=False):
            medians = {NAMES[key]: (rows.error / rows[column]).median() for key, column in columns.items()}
            found[f"error / bound, {kind}"] = pd.Series(medians).map("{:.2f}".format)
        return found.fillna("–").rename_axis(None)

    def pairs(self) -> pd.DataFrame:
        """A row each problem: ``error`` and ``cheapest`` of log, those of ℓ1 as ``error_l1`` and ``cheapest_l1``, and
        whether ``log`` or ``l1`` is closer by more than rounding."""
        log, l1 = (self.points[self.points.penalty == name].reset_index(drop=True) for name in ("log", "ℓ1"))
        bands = pd.cut(log.scale, [0, self.near, 1, 2], labels=[f"≤ {self.near:g}", f"{self.near:g} to 1", "1 to 2"])
        noise = log.noise.map({False: "without noise", True: "with noise"})
        found = log.assign(error_l1=l1.error, cheapest_l1=l1.cheapest, band=bands.astype(str), noise=noise)
        found = found.assign(log=log.error < l1.error - ROUNDING, l1=log.error > l1.error + ROUNDING)
        return found.sort_values(["kind", "noise", "scale"], ascending=[False, False, True], ignore_index=True)

    def regressions(self) -> pd.DataFrame:
        """Mean error and share of exact supports at the best λ, a row each setting, penalty and seed."""
        return pd.concat([pd.DataFrame(run["regressions"]).assign(seed=run["config"]["seed"]) for run in self.runs])


def found() -> Found:
    """What is on record; LotteryError if nothing is, with the command that makes it."""
    configs = [Planted(seed=seed) for seed in range(SEEDS)]
    known = [config for config in configs if records.exists(config)] or configs[:1]
    runs, arrays = zip(*map(records.read, known))
    curves = ("errors", "lambdas")
    points = [
        pd.DataFrame({key: column for key, column in each.items() if key not in curves}).assign(seed=config.seed)
        for config, each in zip(known, arrays)
    ]
    errors = np.mean([each["errors"] for each in arrays], axis=0)
    return Found(configs[0].eps, list(runs), pd.concat(points, ignore_index=True), arrays[0]["lambdas"], errors)


def live(config: Planted) -> Found:
    """The checks of one draw, made now and not put on record; without the regressions."""
    counts, points = checks.run(config.problems, config.eps, torch.Generator().manual_seed(config.seed))
    return Found(config.eps, [{"checks": counts.to_dict("records")}], points.assign(seed=config.seed))


def at_equal_lambda(of: Found) -> pd.DataFrame:
    """Kind by kind and band of λ√k/γ by band: the ``ratio`` of log's mean error to ℓ1's, judged over seeds (``cells``).

    ``log`` and ``l1``: the shares of problems in which either is closer.
    """
    pairs = of.pairs()
    keys = ["kind", "noise", "band"]
    each = pairs.groupby([*keys, "seed"], sort=False)[["error", "error_l1", "log", "l1"]].mean().reset_index()
    return cells(each.assign(ratio=each.error / each.error_l1), keys)


def at_best_lambda(of: Found) -> pd.DataFrame:
    """The same for the regressions, each penalty at each regression's best λ; the shares are of ``exact`` supports."""
    keys = ["samples", "noise", "correlation"]
    wide = of.regressions().pivot(index=[*keys, "seed"], columns="penalty", values=["error", "exact"])
    each = pd.DataFrame({"ratio": wide["error"]["log"] / wide["error"]["ℓ1"]})
    each["steep"] = wide["error"][PENALTIES[2]] / wide["error"]["ℓ1"]
    each = each.assign(log=wide["exact"]["log"], l1=wide["exact"]["ℓ1"], steep_exact=wide["exact"][PENALTIES[2]])
    return cells(each.reset_index(), keys)


def cells(each: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """A row each cell: over seeds the mean ``ratio`` with its 95 % interval, n, and what it says of C2.

    Log is better (``good``) if the interval lies below 1, and not (``bad``) if it lies above, or within ±5 % of it. On
    fewer than three seeds it says nothing.
    """
    grouped = each.groupby(keys, sort=False)
    told = interval(grouped.ratio).rename(columns={"mean": "ratio"})
    others = grouped.mean().drop(columns=["ratio", "seed"])
    low, high, enough = told.ratio - told.half_width, told.ratio + told.half_width, told.n >= SEEDS
    equal = (low > 1 - EQUAL) & (high < 1 + EQUAL)
    return told.join(others).assign(good=enough & (high < 1) & ~equal, bad=enough & ((low > 1) | equal)).reset_index()


def better_mask(of: Found) -> Verdict:
    """C2: log against ℓ1, by the distance of the mask found from the one planted, in two answers.

    At equal λ from m = 1: a cell is a kind of problem, with noise or without, and a band of λ√k/γ, with γ the least
    curvature at the target. If it does not hold in all, it may hold without noise, up to (1 + ε)/4, where the theory
    promises it of quadratic problems. In linear regressions, each penalty at the λ that is best for it: a cell is a
    number of samples, a noise and a correlation. Statuses are those of ``rules.status``. Which problems are drawn was
    chosen when earlier ones had been seen; the rule is older than these records, and so is the condition.
    """
    band = f"without noise, ≤ {of.near:g}"
    same = at_equal_lambda(of)
    same = same.assign(protocol="planted", model=same.kind, dataset="", reduced=False)
    same["contrast"] = same.noise + ", " + same.band
    best = at_best_lambda(of)
    where = {f"without noise, where λ is small (λ√k/γ ≤ {of.near:g}),": [band]}
    answers = []
    for name, rows, conditions in ((SAME_LAMBDA, same, where), (BEST_LAMBDA, best, {})):
        status = rules.status(rows, conditions)
        answers.append(Answer(name, status, rules.counted(rows, status, conditions, _numbers), n=span(rows.n)))
    said = [f"{row.kind}, {row.contrast}: {_ratio(row)}" for row in same.itertuples()]
    said += [
        f"regression, {row.samples} samples, noise {row.noise:g}, correlation {row.correlation:g}: {_ratio(row)}, "
        f"exact support in {100 * row.log:.0f} % against {100 * row.l1:.0f} %"
        for row in best.itertuples()
    ]
    devices = ", ".join(sorted({run["provenance"]["device"] for run in of.runs}))
    return Verdict(tuple(answers), tuple(said), "planted", devices, command(["planted"]))


def verdict() -> Verdict | None:
    """C2's verdict from what is on record; None if nothing is."""
    return better_mask(found()) if records.exists(Planted()) else None


def _numbers(rows: pd.DataFrame) -> str:
    decided = rows.good | rows.bad
    undecided = f"{(~decided).sum()} undecided" if not decided.all() else ""
    asked = f"better in {rows.good.sum()} of {len(rows)} cells"
    ratio = f"error {span(rows.ratio.round(2))} of ℓ1's"
    return ", ".join(filter(None, [asked, undecided, ratio]))


def _ratio(row) -> str:
    told = "better" if row.good else "not better" if row.bad else "undecided"
    return f"{told}, error {told_ratio(row)} of ℓ1's"


def told_ratio(row) -> str:
    """A ratio and its interval, not to be broken across lines; a single seed leaves it without one."""
    return number(row.ratio, row.half_width).replace(" ", "\N{NO-BREAK SPACE}")


def in_short(of: Found) -> str:
    """The chapter's answer, in two sentences."""
    same, best, closer = at_equal_lambda(of), at_best_lambda(of), _promised(of)["log"].mean()
    lost = " and ".join(sorted({f"{row.kind} problems {row.noise}" for row in same[same.bad].itertuples()}))
    against = f"it is no better on {lost}" if lost else "no kind of problem drawn speaks against it"
    return (
        f"Log pulls an entry that stays only r′(1) = {of.slope:.2f} times as hard as ℓ1 does: so without noise, and "
        "while λ√k/γ ≤ (1 + ε)/4, the error of its cheapest mask has a bound of about that share of ℓ1's, and from "
        f"m = 1 it was the closer in {100 * closer:.0f} % of the problems drawn there. With each penalty at its best "
        f"λ, log's error is {best.ratio.min():.2f} to {best.ratio.max():.2f} times ℓ1's; at equal λ {against}."
    )


def _promised(of: Found) -> pd.DataFrame:
    """Of ``pairs`` those of which the theory promises it: without noise, and with γ the least curvature on the box."""
    return of.pairs().query("noise == 'without noise' and x <= @of.near")


def covered(of: Found) -> str:
    """A sentence on how many logistic problems of the least λ the theorem covers, and who is closer in them."""
    pairs, within = (rows[rows.kind == "logistic"] for rows in (of.pairs(), _promised(of)))
    grey = pairs[(pairs.noise == "without noise") & (pairs.scale <= of.near)]
    closer, ratio = within["log"].mean(), within.error.sum() / within.error_l1.sum()
    return (
        "The bands of λ√k/γ, here and on the axes of figures, take for γ the least curvature at the target. For "
        "logistic problems the theorem takes that on "
        f"the whole box, which is smaller: it covers {100 * len(within) / len(grey):.0f} % of those without noise in "
        f"the grey region. Log is closer in {100 * closer:.0f} % of them, with an error {ratio:.2f} of ℓ1's."
    )


def held(of: Found) -> str:
    """A sentence on how often the bounds were checked, and violated, and would have been had they been tighter."""
    totals = of.checks()
    return (
        f"On record: {of.problems:,} problems, both penalties, four starts each: **{totals.violated.sum()} violations "
        f"in {totals.checked.sum():,} checks**. That is no idle test: with a constant 10 % smaller, each bound would "
        f"have been violated, from {totals.violated_if_tighter.min()} times to {totals.violated_if_tighter.max():,}."
    )


def regressions_table(of: Found) -> pd.DataFrame:
    """``at_best_lambda`` as a table to read."""
    rows = at_best_lambda(of)
    steep = f"log, ε = {of.eps / 10:g}"
    shares = {"exact support, %: log": rows.log, f"%: {steep}": rows.steep_exact, "%: ℓ1": rows.l1}
    columns = {
        "regression": rows.samples.map("{}\N{NO-BREAK SPACE}samples".format),
        "noise": rows.noise.map("{:g}".format),
        "correlation": rows.correlation.map("{:g}".format),
        "error, log / ℓ1": [told_ratio(row) for row in rows.itertuples()],
        f"error, {steep} / ℓ1": rows.steep.map("{:.2f}".format),
        **{name: (100 * share).round().astype(int) for name, share in shares.items()},
    }
    return pd.DataFrame(columns).set_index("regression").rename_axis(None)


def equal_lambda_table(of: Found) -> pd.DataFrame:
    """``at_equal_lambda`` as a table to read."""
    rows = at_equal_lambda(of)
    return (
        pd.DataFrame(
            {
                "problems": rows.kind + ", " + rows.noise,
                "λ√k/γ": rows.band,
                "error, log / ℓ1": [told_ratio(row) for row in rows.itertuples()],
                "log closer": [f"{100 * share:.0f} %" for share in rows["log"]],
                "ℓ1 closer": [f"{100 * share:.0f} %" for share in rows.l1],
            }
        )
        .set_index("problems")
        .rename_axis(None)
    )


def splits() -> dict[str, dict[str, pd.DataFrame]]:
    """Penalty -> where -> ``u`` and ``m`` of the weights that are left: of the record of C1, and of a network, live."""
    record, arrays = records.read(LogisticConfig())
    scale = (record["config"]["weight_decay"] / record["config"]["lam"]) ** 0.5
    masked, found = [number for number, name in enumerate(METHODS) if is_masked(name)], {}
    for penalty, weights, m in zip(("l1", "log"), arrays["weights"][masked], arrays["masks"]):
        on_record = pd.DataFrame({"u": np.abs(weights[m > 0]) * scale, "m": m[m > 0]})
        network = conservation.splits(penalty)
        found[penalty] = {"logistic regression, MNIST": on_record, "network, digits": network}
    return found


def split_errors(found: dict[str, dict[str, pd.DataFrame]]) -> pd.DataFrame:
    """How far the m's of ``splits`` are from the cheapest ones: a row each penalty and place."""
    rows = []
    for penalty, places in found.items():
        for place, split in places.items():
            best = induced(create(penalty), torch.tensor(split.u.to_numpy(), dtype=torch.float64))[1].numpy()
            off = np.abs(split.m - best)
            counts = len(split), int((split.m == 1).sum())
            rows.append((penalty.replace("l1", "ℓ1"), place, *counts, off.median(), off.max()))
    columns = ["penalty", "where", "weights left", "of them at m = 1", "median distance", "largest"]
    return pd.DataFrame(rows, columns=columns).set_index("penalty").rename_axis(None).round(3)


def drifted(walks: pd.DataFrame) -> pd.DataFrame:
    """Where the walks of ``theory.conservation.drift`` end: the change in percent, and the loss."""
    ends = walks.groupby("walk", sort=False)[["drift", "loss"]].last()
    return ends.rename(columns={"drift": "change, %", "loss": "loss at the end"}).rename_axis(None).round(3)
