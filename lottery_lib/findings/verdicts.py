"""Verdicts on C3 to C9 from the table of runs: decision rules, written down beside what they decide.

Accuracies are compared at equal density, in the same place (network and protocol), as paired differences over seeds;
``comparisons.outcome`` says what one such difference comes to, and each claim says which of them it needs. No rule
looks at the name of a protocol, so that what is put on record later has its part in the verdict at once.
"""

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import pandas as pd

from lottery_lib.experiments import logistic, records
from lottery_lib.experiments.grids import command
from lottery_lib.findings import relaxed_masks, tables
from lottery_lib.findings.comparisons import MARGIN, above, below, comparable, compare, judge, lines, lost, seeds, span
from lottery_lib.findings.tables import PLACE

STATUSES = ("confirmed", "confirmed with conditions", "not confirmed", "open", "yes", "yes, with conditions", "no")
SEPARATOR = " · "
HIGH_SPARSITY = (0.0, 0.1)  # a range of densities, as the next
MODERATE, SPARSE, SPARSER = (0.2, 0.4), (0.05, 0.1), (0.0, 0.02)
SMALL_ALPHA = 0.1
MASKS = {"one search": "mask, log", "in rounds": "mask, log, in rounds"}
SCORES = {  # the score is all that differs: the learned mask, or the magnitude
    "one shot": ("mask, log", "one-shot magnitude"),
    "in rounds": ("mask, log, in rounds", "IMP"),
    "one shot, per layer": ("mask, log, per layer", "one-shot magnitude, per layer"),
    "in rounds, per layer": ("mask, log, in rounds, per layer", "IMP, per layer"),
}
AGAINST_IMP = {how: (mask, "IMP") for how, mask in MASKS.items()}
CONTROLS = ("IMP, early rewinding", "IMP, LR rewinding", "gradual magnitude")
PENALTIES = {how: (mask, mask.replace("log", "ℓ1")) for how, mask in MASKS.items()}
PER_LAYER = {how: (f"{mask}, per layer", mask) for how, mask in MASKS.items()}


@dataclass(frozen=True)
class Verdict:
    """The answer to a claim: one of ``STATUSES``, the finding, and what it rests on.

    Between the parts of a finding stands the ``SEPARATOR``. ``seeds`` is the least that any of its numbers rests on.
    The ``caveat`` is shown wherever the status is.
    """

    status: str
    finding: str
    seeds: int
    protocol: str
    device: str
    command: str
    caveat: str = ""

    def __post_init__(self):
        assert self.status in STATUSES, self.status


def threshold_or_percentage(table: pd.DataFrame) -> Verdict | None:
    """C3, at densities up to 0.1: the log mask against magnitude, as far as on record in each of four settings.

    They are one shot or in rounds, ranked over all layers or per layer (``SCORES``). *Confirmed* asks that the mask is
    above magnitude everywhere, *with conditions* that it is somewhere; the finding says where.
    """
    cells = compare(tables.chosen(table), SCORES, HIGH_SPARSITY)
    if cells.empty:
        return None
    return verdict(table, cells, judge(above(cells), cells.outcome == "undecided"), lines(cells))


def comparable_to_imp(table: pd.DataFrame) -> Verdict | None:
    """C4, at densities from 0.2 to 0.4: the log mask against IMP rewound to θ₀, by one search and in rounds.

    Comparable is what ``comparisons.comparable`` says: a decided difference, not below by more than 0.3 points. A
    density at which a random mask is within 0.3 points of IMP tests nothing and does not count; if none is left, the
    claim is *open*. *Confirmed* asks that the mask is comparable wherever it counts, and also to IMP with LR rewinding
    and with early rewinding where these are on record; *with conditions* that it is comparable to IMP to θ₀ somewhere.
    Against early rewinding, the mask is rewound to an early epoch too, if that is on record.
    """
    return _against_imp(table, MODERATE, comparable, CONTROLS[:2], lost)


def better_than_imp(table: pd.DataFrame) -> Verdict | None:
    """C5, at densities from 0.05 to 0.1: the log mask against IMP rewound to θ₀, by one search and in rounds.

    A mask counts where its ticket cost no more training epochs in all than IMP's, and a density as for C4. *Confirmed*
    asks that it is above IMP everywhere, and nowhere below a control: those of C4, and gradual magnitude pruning inside
    one training. *With conditions* asks that it is above IMP somewhere. Lower densities are reported beside, and decide
    nothing, as the claim is not about them.
    """
    return _against_imp(table, SPARSE, above, CONTROLS, below, beside=SPARSER)


Judgement = Callable[[pd.DataFrame], pd.Series]


def _against_imp(
    table: pd.DataFrame,
    densities: tuple[float, float],
    good: Judgement,
    controls: Iterable[str],
    bad: Judgement,
    beside: tuple[float, float] | None = None,
) -> Verdict | None:
    """``good`` says which comparisons with IMP speak for the claim, ``bad`` which of those with controls against it."""
    runs = tables.chosen(table)
    cells = _at_no_more_epochs(compare(runs, AGAINST_IMP, densities))
    if cells.empty:
        return None
    easy = compare(runs, {"": ("random", "IMP")}, densities)
    easy = easy[easy["mean"] >= -MARGIN]
    counted = cells[~_where(cells).isin(_where(easy))]
    others = compare(runs, dict(_against(runs, controls)), densities)
    others = others[_where(others).isin(_where(counted))]
    status = judge(good(counted), counted.outcome == "undecided")
    if status == "confirmed" and bad(others).any():
        status = "confirmed with conditions"
    found = lines(cells) + lines(others, "controls, ") + lines(easy, "not counted, a random mask against IMP, ")
    if beside:
        found += lines(_at_no_more_epochs(compare(runs, AGAINST_IMP, beside)), "with fewer weights, beside the claim, ")
    return verdict(table, cells, status, found)


def _at_no_more_epochs(cells: pd.DataFrame) -> pd.DataFrame:
    return cells[cells.epochs <= cells.epochs_other]


def _where(cells: pd.DataFrame) -> pd.Index:
    return pd.MultiIndex.from_frame(cells[[*PLACE, "density_asked"]])


def _against(runs: pd.DataFrame, controls: Iterable[str]) -> Iterable[tuple[str, tuple[str, str]]]:
    for control, (how, mask) in itertools.product(controls, MASKS.items()):
        rewound = f"{mask}, early rewinding"
        early = "early rewinding" in control and (runs.name == rewound).any()
        yield f"{how}, against {control}", (rewound if early else mask, control)


def log_against_l1(table: pd.DataFrame) -> Verdict | None:
    """C6, at every density: the log mask against the ℓ1 mask, each tuned on validation, by one search and in rounds.

    The conditions are the places and densities at which the log mask is above. *With conditions* asks for one,
    *confirmed* that it is above in all. None, with no difference left undecided, is *not confirmed*.
    """
    cells = compare(tables.chosen(table), PENALTIES)
    if cells.empty:
        return None
    counts = f"above ℓ1 in {above(cells).sum()} and below it in {below(cells).sum()} of {len(cells)} comparisons"
    return verdict(table, cells, judge(above(cells), cells.outcome == "undecided"), [counts, *lines(cells)])


def small_alpha(table: pd.DataFrame) -> Verdict | None:
    """C7, at densities up to 0.1: does a threshold of at most 0.1 make better tickets than a higher one?

    In one search, α sets the density too, so that tickets at two α's are no fair pair. At equal density they are:
    searches that press harder reach it at a smaller α (``relaxed_masks.implied``). Of those on each side of α = 0.1 the
    one best on validation counts, and their difference is judged. *Confirmed* asks for a gain at all densities, *with
    conditions* at some. How sensitive one search is to α is reported beside it, and decides nothing.
    """
    cells, swept = alpha_cells(table), relaxed_masks.sweeps(table)
    if cells.empty and swept.empty:
        return None
    layered = compare(tables.chosen(table), PER_LAYER)
    found = lines(cells) + _sensitivity(swept) + lines(layered, "one density for each layer against one ranking, ")
    evidence = cells if len(cells) else swept.assign(n=swept.groupby(PLACE).seed.transform("nunique"))
    return verdict(table, evidence, judge(above(cells), cells.outcome == "undecided"), found)


def alpha_cells(table: pd.DataFrame) -> pd.DataFrame:
    """``compare`` of the best searches on both sides of α = 0.1, at equal density up to 0.1."""
    runs = relaxed_masks.implied(table)
    runs = runs[runs.implied.notna()]
    runs = runs.assign(name=(runs.implied <= SMALL_ALPHA).map({True: "small α", False: "larger α"}))
    return compare(tables.best(runs), {"": ("small α", "larger α")}, HIGH_SPARSITY)


def _sensitivity(swept: pd.DataFrame) -> list[str]:
    found = []
    for place, rows in tables.places(swept).items():
        means = rows.groupby("alpha")[["density", "test_accuracy", "changed"]].mean()
        least, most = means.iloc[0], means.iloc[-1]
        changed = f", {100 * most.changed:.0f} % of the weights kept change" if pd.notna(most.changed) else ""
        found.append(
            f"one search, {place}, {seeds(rows.groupby('alpha').seed.nunique())}: from α = {least.name:g} to "
            f"{most.name:g} the density goes from {least.density:.3g} to {most.density:.3g}{changed}, and the accuracy "
            f"stays between {means.test_accuracy.min():.2f} and {means.test_accuracy.max():.2f} %"
        )
    return found


def cheaper(table: pd.DataFrame) -> Verdict | None:
    """C9, at densities up to 0.1: one search by the log mask against IMP, at half of IMP's training epochs or less.

    A density counts for the claim if the mask is comparable to IMP there, as in C4, at that price. *Confirmed* asks for
    all of them, *with conditions* for some. What a step of either takes is in ``benchmarks/``, and decides nothing.
    """
    cells = compare(tables.chosen(table), {"one search": AGAINST_IMP["one search"]}, HIGH_SPARSITY)
    if cells.empty:
        return None
    half = cells.epochs <= cells.epochs_other / 2
    parts = [
        f"epochs in all, {place}: one search and its retraining {span(rows.epochs)}, IMP {span(rows.epochs_other)}"
        for place, rows in tables.places(cells).items()
    ] + lines(cells, "accuracy against IMP, ")
    return verdict(table, cells, judge(comparable(cells) & half, cells.outcome == "undecided"), parts)


def bimodal(table: pd.DataFrame) -> Verdict | None:
    """C8: the relaxed log masks that validation chose, at the end of one search, layer by layer.

    A layer counts as bimodal if at most 5 % of its entries lie between 0.05 and 0.95, so that it is decided, *and* it
    has a second mode at the top: more entries from 0.75 up than from 0.25 to 0.75 (``relaxed_masks.shares``).
    *Confirmed* asks for all layers of all these searches, *with conditions* for some. ℓ1 is reported beside it.
    """
    layers = relaxed_masks.decided(relaxed_masks.searches(tables.chosen(table)))
    layers["n"] = layers.groupby([*PLACE, "name", "lam", "mask_lr"]).seed.transform("nunique")
    log = layers[layers.name == "mask, log"]
    if log.empty:
        return None
    found = []
    for place, rows in tables.places(layers).items():
        modes = "; ".join(f"{called}, {_modes(one)}" for called, one in rows.groupby("name"))
        found.append(f"{place}, {seeds(rows.n)}: {modes}")
    return verdict(table, log, judge(relaxed_masks.is_bimodal(log), log.between.isna()), found)


def _modes(layers: pd.DataFrame) -> str:
    between, second = 100 * layers.between, layers.second > 1
    return (
        f"{relaxed_masks.is_bimodal(layers).sum()} of {len(layers)} layers bimodal ({second.sum()} have a second mode; "
        f"{between.min():.2g} to {between.max():.2g} % of a layer's entries lie between)"
    )


def verdict(table: pd.DataFrame, evidence: pd.DataFrame, status: str, found: list[str]) -> Verdict:
    """The verdict that rests on ``evidence``, rows with a place and ``n``.

    From one seed it is called preliminary. One network alone does not confirm a claim on networks: that is a condition.
    """
    protocols, least = evidence.protocol.unique(), int(evidence.n.min())
    if status == "confirmed" and evidence.model.nunique() == 1:
        status, found = "confirmed with conditions", [*found, "so far on one network alone"]
    caveat = f"preliminary, {'' if evidence.n.max() == 1 else 'in part '}from one seed" if least == 1 else ""
    devices = ", ".join(sorted(table[table.protocol.isin(protocols)].device.unique()))
    finding, names = SEPARATOR.join(found), ", ".join(protocols)
    return Verdict(status, finding, least, names, devices, command(protocols), caveat)


def oscillation(record: dict) -> Verdict:
    """C1 from one ``mnist-logistic`` record.

    *Confirmed* asks for ≥ 30 % exact zeros and not one sign flip in the last tenth of the iterations from both masks,
    and the opposite from both subgradient methods: flips to the end and no exact zero. If proximal gradient on the
    weights does as well as the masks, what beats the subgradient is not the mask alone: *confirmed with conditions*.
    """
    methods = record["methods"]

    def settled(name: str) -> bool:
        return methods[name]["zeros"] >= 0.3 and methods[name]["late_flips"] == 0

    masks = [name for name in logistic.METHODS if logistic.is_masked(name)]
    subgradients = [name for name in logistic.METHODS if "subgradient" in name]
    holds = all(settled(name) for name in masks) and all(
        methods[name]["zeros"] == 0 and methods[name]["late_flips"] > 0 for name in subgradients
    )
    proximal = settled(logistic.REFERS_TO)

    def found(names: list[str]) -> str:
        zeros = " and ".join(f"{100 * methods[name]['zeros']:.1f} %" for name in names)
        flips = " and ".join(f"{methods[name]['late_flips_per_iteration']:.3g}" for name in names)
        return f"{zeros} exact zeros and {flips} sign flips an iteration"

    return Verdict(
        status="not confirmed" if not holds else "confirmed with conditions" if proximal else "confirmed",
        finding=f"The ℓ1 and log masks end with {found(masks)}, the subgradient methods with {found(subgradients)}, "
        f"proximal gradient on the weights with {found([logistic.REFERS_TO])}.",
        seeds=1,
        protocol=record["protocol"],
        device=record["provenance"]["device"],
        command=records.command(logistic.LogisticConfig(**record["config"])),
    )
