"""How lines of the table of runs look, and what all figures of accuracies share."""

import itertools
import math
import textwrap
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from lottery_lib.errors import LotteryError
from lottery_lib.figures.style import BLACK, BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILION
from lottery_lib.findings import tables
from lottery_lib.findings.cells import SEEDS

GREY = "#777777"
LOOKS = {  # line -> its colour and style: methods that search without training are grey
    "dense": (BLACK, ":"),
    "mask, log": (BLUE, "-"),
    "mask, ℓ1": (SKY, "-"),
    "mask, log: multiplicative feedback": (ORANGE, "--"),
    "mask, log: PI feedback": (GREEN, "-."),
    "mask, log: dual feedback": (PURPLE, ":"),
    "IMP": (VERMILION, "-"),
    "IMP, LR rewinding": (VERMILION, "--"),
    "gradual magnitude": (ORANGE, "-"),
    "Continuous Sparsification": (PURPLE, "-"),
    "one-shot magnitude": (GREEN, "-"),
    "one-shot magnitude increase": (GREEN, "--"),
    "SNIP": (GREY, "-"),
    "GraSP": (GREY, "--"),
    "SynFlow": (GREY, "-."),
    "mask, log: frozen weights": (BLUE, "-."),
    "edge-popup": (PURPLE, "-."),
    "random": (GREY, ":"),
    "mask, log: shuffled": (BLUE, ":"),
    "mask, log: re-initialised": (BLUE, "--"),
}
MARKERS = {"-": "o", "--": "s", "-.": "D", ":": "v"}  # where there are points and no lines
FORMS = {
    "per layer": "P",
    "early rewinding": "D",
    "in rounds": "^",
    "of search": "<",
    "of the images": ">",
    "half resolution": "p",
    "calibrated": "*",
    "ε": "X",
}  # the method's colour, another marker
FIRST = (
    "mask, log, calibrated", "IMP", "gradual magnitude", "random", "one-shot magnitude", "mask, log",
    "mask, log, calibrated, in rounds", "mask, log, top-k", "SNIP",
)  # fmt: skip
ACCURACIES = (99.9, 99.8, 99.5, 99, 98, 97, 95, 92, 90, 85, 80, 70, 60, 40, 20)  # that an axis may name
NARROW = (10, 5, 2, 1, 0.5, 0.2, 0.1)  # else multiples of the first of these that gives two ticks
PAD = 0.05  # of an axis of accuracies is empty at either end
NAMES = 1.03  # where names at the ends of lines begin, of the width of the axes
NOTHING = (
    "no run on record has what this figure shows; put some on record with: lottery sweep, with a grid of workflow/grids"
)


def look(called: str) -> dict:
    """Colour, line style and marker of a line; a method's forms have its colour, long dashes and their own markers."""
    base = max((known for known in LOOKS if called.startswith(known)), key=len, default=None)
    colour, style = LOOKS.get(base, (PURPLE, "--"))
    shown = {"color": colour, "ls": style, "marker": MARKERS[style], "mfc": colour if style == "-" else "none"}
    form = next((marker for word, marker in FORMS.items() if word in called.removeprefix(base or "")), None)
    filled = colour if "calibrated" in called else "none"
    return shown | {"ls": (0, (7, 2)), "marker": form, "mfc": filled} if form else shown


def by_place(frame: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """``tables.places``; LotteryError if there are none, as what a figure needs is not on record."""
    if frame.empty:
        raise LotteryError(NOTHING)
    return tables.places(frame)


def heading(label: str) -> str:
    """A place's label in two lines, for a panel beside another one."""
    return label.replace(" (", "\n(")


def drawn(draw: Callable[..., Figure], *given: Any) -> Any:
    """The figure, for a page; or a line that says so, where nothing of it is on record under what the page selects."""
    from IPython.display import Markdown

    try:
        return draw(*given)
    except LotteryError as reason:
        return Markdown(f"*{str(reason).capitalize()}.*")


def ticks(axis: Axis, values: pd.Series | pd.Index, apart: float = 1.25) -> None:
    """On a logarithmic axis, ticks at these values alone, but for those less than ``apart`` times below the next."""
    placed: list[float] = []
    for value in sorted(values.unique(), reverse=True):
        if not placed or apart * value < placed[-1]:
            placed.append(value)
    axis.set_minor_locator(NullLocator())
    axis.set_ticks(placed, [f"{value:g}" for value in placed])


def densities(ax: Axes, values: pd.Series | pd.Index) -> None:
    """An axis of densities, which falls to the right, with ticks at these, or in a narrow panel at some of them."""
    ax.set(xscale="log", xlabel="density")
    ax.invert_xaxis()
    ticks(ax.xaxis, values, 1.25 if ax.bbox.width > 3 * ax.figure.dpi else 2.1)


def label_ends(ax: Axes, ends: Mapping[str, tuple[float, float, str]], wide: int = 40) -> None:
    """Name points (x, y, colour) right of the axes and near their heights, in place of a legend.

    To be called once the limits are set. Names are broken at ``wide`` characters; those too near move apart, and
    those whose lines would cross change places.
    """
    inches = 0.8 * ax.bbox.height / ax.figure.dpi  # of the axes, less what labels and titles will take
    named = {called: textwrap.fill(called, wide) for called in ends}
    room = {called: 0.155 * (1 + text.count("\n")) / inches for called, text in named.items()}
    across = ax.transData + ax.transAxes.inverted()
    at = {called: np.clip(across.transform((x, y)), 0, 1) for called, (x, y, _) in ends.items()}  # or at the rim
    order = sorted(ends, key=lambda called: at[called][1])
    placed = _apart(order, at, room)
    for _ in range(len(order) ** 2):  # more swaps than any order needs, as each makes the lines shorter
        crossed = [pair for pair in itertools.combinations(order, 2) if _cross(*pair, at, placed)]
        if not crossed:
            break
        lower, upper = map(order.index, crossed[0])
        order[lower], order[upper] = order[upper], order[lower]
        placed = _apart(order, at, room)
    for called, (*_, colour) in ends.items():
        ax.annotate(
            named[called], at[called], (NAMES, placed[called]), "axes fraction", va="center", size=8.5, color=colour,
            arrowprops={"arrowstyle": "-", "color": colour, "lw": 0.4, "shrinkA": 0, "shrinkB": 2, "relpos": (0, 0.5)},
        )  # fmt: skip


def _apart(order: list[str], at: Mapping[str, np.ndarray], room: Mapping[str, float]) -> dict[str, float]:
    """The heights of names in this order from below, as near to their points as their ``room`` allows."""
    placed, top = {}, -np.inf
    for called in order:
        placed[called] = max(at[called][1], top + room[called] / 2)
        top = placed[called] + room[called] / 2
    limit = max(1.0, sum(room.values()))
    for called in reversed(placed):
        placed[called] = min(placed[called], limit - room[called] / 2)
        limit = placed[called] - room[called] / 2
    return placed


def _cross(lower: str, upper: str, at: Mapping[str, np.ndarray], placed: Mapping[str, float]) -> bool:
    """Whether the lines from two points to their names cross; the names stand one above the other."""
    start = max(at[lower][0], at[upper][0])
    below, above = (np.interp(start, (at[name][0], NAMES), (at[name][1], placed[name])) for name in (lower, upper))
    return below > above


def first_lines(names: Iterable[str]) -> list[str]:
    """Of these lines, four at most to set side by side in a panel: those of ``FIRST``, in its order."""
    known = set(names)
    return [called for called in FIRST if called in known][:4]


def widths(rows: pd.DataFrame) -> pd.Series:
    """Half the intervals to draw on an ``accuracy_axis``: of three seeds or more, and short of an error of 0."""
    return rows.half_width.where(rows.n >= SEEDS, 0).clip(upper=0.9 * (100 - rows["mean"]))


def accuracy_axis(axis: Axis, least: float, best: float) -> None:
    """An axis of errors, logarithmic and upside down, that is labelled with accuracies in percent."""
    most, fewest = 100 - least, max(100 - best, 0.01)  # errors; none at all has no place on this axis
    pad = max((most / fewest) ** PAD, 1.01)
    axis.axes.set(yscale="log", ylim=(most * pad, fewest / pad))
    placed: list[float] = []
    for accuracy in ACCURACIES:
        if least <= accuracy <= best and (not placed or 100 - accuracy > 1.35 * (100 - placed[-1])):
            placed.append(accuracy)
    for step in NARROW:  # where the range is too narrow for two of those
        if len(placed) < 2:
            placed = [step * k for k in range(math.floor(best / step), math.ceil(least / step) - 1, -1)]
    placed = placed if len(placed) > 1 else [*dict.fromkeys((round(best, 1), round(least, 1)))]
    axis.set_minor_locator(NullLocator())
    axis.set_ticks([100 - accuracy for accuracy in placed], [f"{accuracy:g}" for accuracy in placed])
