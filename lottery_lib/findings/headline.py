"""What the title of the landing page asks, answered from the records: the mask against iterative magnitude pruning."""

import math

import pandas as pd

from lottery_lib.experiments import protocols
from lottery_lib.findings import cells as measured
from lottery_lib.findings import effects, rules, tables, tuning
from lottery_lib.findings.cells import BETTER, EQUAL, NOT_WORSE, OPEN, WORSE
from lottery_lib.findings.comparisons import listed, number, span, tally
from lottery_lib.findings.tables import PLACE

SEARCH, ROUNDS = "one search", "in rounds"  # contrasts
GRADUAL = {SEARCH: ("mask, log, calibrated", "gradual magnitude")}
DEARER = {
    "IMP rewound to an early epoch": ("mask, log, calibrated, in rounds", "IMP, early rewinding"),
    "gradual pruning as long": ("mask, log, calibrated, in rounds", "gradual magnitude, 5 recipes long"),
}
LEAD = "Tickets of a learned concave mask against those of iterative magnitude pruning (IMP), at the same density:"
NOTHING = "No ticket of a learned mask is on record beside one of iterative magnitude pruning yet."
READ = (
    "*Dense, IMP, mask*: test accuracy of the whole network, and of the tickets of both, on average over the settings. "
    "*Difference*: the mean over settings, in points of test accuracy, with its 95 % interval over seeds; none is "
    "given where some settings are better and others worse. *Settings*: those with three seeds or more, of those "
    "planned, and how many of them are better, worse or undecided. *Epochs*: those of searching and retraining "
    "together. These means sum up; what decides a claim are its single settings."
)
BLIND = (
    "**Which settings decide** was written down before most runs, but on MNIST after them; and masks in rounds on "
    "CIFAR-10, with the weight λ of the penalty set by hand, had been seen before."
)
LEVELS = {BETTER: "better", WORSE: "worse", EQUAL: "as good", NOT_WORSE: "not worse", OPEN: "hard to tell apart"}
COLUMNS = (
    "data", "searched", "dense, IMP, mask, %", "difference", "least", "greatest", "settings", "seeds",
    "epochs, % of IMP’s",
)  # fmt: skip
Found = dict[tuple[str, str], tuple[effects.Effect, pd.DataFrame]]


def markdown() -> str:
    """Markdown: a sentence with the answer on each data set, a table of the numbers, a list of what they leave out.

    Level means within the margin of the finest of its cells.
    """
    found = against_imp()
    answer = [_sentence(found), _table(found), READ] if found else [NOTHING]
    doubts = [*_failed(found), *_slow(found)] if found else []
    doubts += [*_against_gradual(), *_in_rounds_against(), BLIND]
    return "\n\n".join([*answer, "\n".join(f"- {doubt}" for doubt in doubts)])


def against_imp() -> Found:
    """(data set, contrast) -> how the mask does against IMP: the effect, and the ``cells`` that it is the mean of.

    Of all cells of C4, C5, C9 and C10 in which the two meet, as the first of these that has a cell judges it: those
    that are judged, if that is half of them and two at least. Else, of one search, what is on record; and nothing of
    searches in rounds.
    """
    runs, asked = tables.chosen(tables.runs()), [rules.rule(id) for id in ("C4", "C5", "C9", "C10")]
    contrasts = {name: asked[0].contrasts[name] for name in (SEARCH, ROUNDS)}
    cells = pd.concat([rules.judged(rule, runs) for rule in asked]).drop_duplicates(measured.KEY)
    answers = {}
    for dataset in pd.concat([rule.cells() for rule in asked]).dataset.unique():  # in the order of the claims
        for contrast in contrasts:
            rows = cells[(cells.dataset == dataset) & (cells.contrast == contrast)]
            judged = rows.judgement.isin(measured.JUDGED)
            used = rows[judged]
            if not rules.enough(judged):
                used = effects.on_record(rows) if contrast == SEARCH else rows.iloc[:0]
            if found := effects.effect(runs, contrasts, used, len(rows)):
                answers[dataset, contrast] = found, used
    return answers


def overall() -> dict[str, dict[str, effects.Effect]]:
    """The effects of ``against_imp`` as a figure has them: contrast -> data set -> effect."""
    rows: dict[str, dict[str, effects.Effect]] = {}
    for (dataset, contrast), (found, _) in against_imp().items():
        rows.setdefault(contrast, {})[tables.dataset(dataset)] = found
    return rows


def _cells(found: Found) -> pd.DataFrame:
    return pd.concat([cells for _, cells in found.values()])


def _sentence(found: Found) -> str:
    said: dict[str, list[str]] = {}
    for (dataset, contrast), (effect, cells) in found.items():
        beside = "searched in several rounds " if contrast == ROUNDS else ""
        said.setdefault(dataset, []).append(f"{beside}{_level(effect, cells)}")
    told = "; ".join(f"on {tables.dataset(dataset)} {', '.join(parts)}" for dataset, parts in said.items())
    return " ".join([f"{LEAD} **{told}.** A setting is a network at a density.", *_reduced(found)])


def _level(effect: effects.Effect, cells: pd.DataFrame) -> str:
    """``better``, or in how many settings; and in how many IMP may have failed."""
    failed = cells.doubtful & (cells.judgement != WORSE)
    if effect.mixed:
        better, worse = (cells.judgement == BETTER).sum(), (cells.judgement == WORSE).sum()
        doubt = f", in {failed.sum()} of which IMP may have failed," if failed.any() else ""
        return f"better in {better} of {effect.cells} settings{doubt} and worse in {worse}"
    if math.isnan(effect.half_width):
        return "too few seeds to decide"
    low, high = effect.mean - effect.half_width, effect.mean + effect.half_width
    judgement = measured.judge(low, high, cells.margin.min())
    differs = judgement in (BETTER, WORSE) and (cells.judgement != judgement).any()
    where = "" if failed.all() else f" in {_share(failed.sum(), effect.cells)}"
    doubt = f", where IMP may have failed{where}" if failed.any() else ""
    return f"{LEVELS[judgement]}{' on average' if differs else ''}{doubt}"


def _reduced(found: Found) -> list[str]:
    cells = _cells(found)
    reduced = cells[cells.reduced.astype(bool)]
    if reduced.empty:
        return []
    epochs = span(pd.Series([protocols.config_class(name).recipe.epochs for name in reduced.protocol]))
    where = listed([tables.dataset(name) for name in reduced.dataset.unique()])
    return [f"Trainings on {where} are cut to {epochs} epochs."]


def _table(found: Found) -> str:
    """A row a data set and contrast; of one network, its name stands beside the data."""
    rows, named = [COLUMNS, ["---"] * len(COLUMNS)], ""
    for (dataset, contrast), (effect, cells) in found.items():
        networks = [*dict.fromkeys(map(tables.network, cells.model, cells.protocol))]
        ordered = cells.sort_values("mean", kind="stable")
        ends = [
            number(cell["mean"], math.nan, "+") + f" ({_where(cell, len(networks) > 1)})"
            for cell in (ordered.iloc[0], ordered.iloc[-1])
        ]
        data = ", ".join([tables.dataset(dataset), *(networks if len(networks) == 1 else [])])
        settings, cost = f"{effect.cells} of {effect.of}{_counts(cells)}", f"{100 * effect.epochs:.0f} %"
        accuracies = _accuracies(cells)
        row = [contrast, accuracies, str(effect), *ends, settings, effect.n, cost]
        rows.append(["" if dataset == named else data, *row])
        named = dataset
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _accuracies(cells: pd.DataFrame) -> str:
    """``98.2, 98.0, 98.0``: of the dense network, IMP and the mask; a dash where cells have no scale."""
    found = (cells.dense, cells.other, cells.other + cells["mean"])
    means = [column.mean(skipna=False) for column in found]
    return ", ".join("–" if math.isnan(mean) else f"{mean:.1f}" for mean in means)


def _counts(cells: pd.DataFrame) -> str:
    """``: 1 better, 2 worse, 3 undecided``, of those that are judged."""
    counts = cells.judgement.value_counts().rename({OPEN: "undecided"})
    parts = [f"{counts[called]} {called}" for called in (*measured.JUDGED, "undecided") if called in counts]
    return f": {', '.join(parts)}" if parts else ""


def _where(cell: pd.Series, named: bool) -> str:
    at = f"{cell.density_asked:g}"
    return f"{tables.network(cell.model, cell.protocol)}, {at}" if named else f"at {at}"


def _failed(found: Found) -> list[str]:
    """A sentence on where IMP itself is doubtful, of one search."""
    told = [
        f"{_share(cells.doubtful.sum(), effect.cells)} on {tables.dataset(dataset)}"
        for (dataset, contrast), (effect, cells) in found.items()
        if contrast == SEARCH and cells.doubtful.any()
    ]
    if not told:
        return []
    there = f"there it is hardly or not above SNIP, which prunes before any training.{_unknown(found)}"
    return [f"**IMP may have failed rather than been beaten** in {listed(told)}: {there}"]


def _unknown(found: Found) -> str:
    """A sentence on the networks at which nobody can tell, as SNIP is not on record."""
    runs = tables.chosen(tables.runs())
    known = pd.MultiIndex.from_frame(runs.loc[runs.name == "SNIP", PLACE])
    used = _cells(found)[PLACE].drop_duplicates()
    without = used[~pd.MultiIndex.from_frame(used).isin(known)]
    tasks = [tables.task(row.model, row.dataset, row.protocol) for row in without.itertuples()]
    return f" It is not known on {listed(tasks)}, where SNIP is not on record." if tasks else ""


def _share(part: int, of: int) -> str:
    if part < of:
        return f"{part} of {of} settings"
    return {1: "the only setting", 2: "both settings"}.get(of, f"all {of} settings")


def _slow(found: Found) -> list[str]:
    """A sentence on the places whose dense network was better at another rate than its protocol's, on validation."""
    used = _cells(found)[PLACE].drop_duplicates()
    rates = tuning.rates(tables.runs())
    better = rates[rates.above > 0].merge(used, on=PLACE)
    told = [f"{tables.task(row.model, row.dataset, row.protocol)} ({tuning.trial(row)})" for row in better.itertuples()]
    return [f"**Another learning rate** was better than the protocol’s on {listed(told)}."] if told else []


def _against_gradual() -> list[str]:
    """A sentence on the mask and magnitude pruned gradually, where that is judged; it decides no claim."""
    cells = measured.cells(tables.chosen(tables.runs()), GRADUAL)
    judged = cells[cells.judgement.isin(measured.JUDGED)].sort_values("reduced", kind="stable")  # the full ones first
    told = [f"on {tables.dataset(name)} {tally(rows)}" for name, rows in judged.groupby("dataset", sort=False)]
    how = "**Against magnitude pruned gradually inside one training**, a control that costs as much as a search and its"
    return [f"{how} retraining, the mask is {'; '.join(told)}."] if told else []


def _in_rounds_against() -> list[str]:
    """A sentence on what costs as much as a search in rounds and is used beside plain IMP; it decides no claim."""
    cells = measured.cells(tables.chosen(tables.runs()), DEARER)
    told = []
    for (contrast, dataset), rows in cells.groupby(["contrast", "dataset"], sort=False):
        judged = rows[rows.judgement.isin(measured.JUDGED)]
        behind = f"so far the mask is behind in {_share((rows['mean'] < 0).sum(), len(rows))}"
        few = f"on record for too few seeds to decide (n = {span(rows.n)}; {behind})"
        said = f"against which the mask is {tally(judged)}" if len(judged) else few
        told.append(f"{contrast} on {tables.dataset(dataset)}, {said}")
    how = "**What costs as much as searching in rounds** may be a better opponent than plain IMP"
    return [f"{how}: {'; '.join(told)}."] if told else []
