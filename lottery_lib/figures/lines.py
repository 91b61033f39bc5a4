"""How lines of the table of runs look, and what all figures of accuracies share."""

from collections.abc import Callable
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from lottery_lib.errors import LotteryError
from lottery_lib.figures.style import BLACK, BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILION
from lottery_lib.findings import tables

GREY = "#777777"
LOOKS = {  # line -> its colour and style: methods that search without training are grey
    "dense": (BLACK, ":"),
    "mask, log": (BLUE, "-"),
    "mask, ℓ1": (SKY, "-"),
    "mask, log: multiplicative feedback": (ORANGE, "--"),
    "mask, log: PI feedback": (VERMILION, "-."),
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


def ticks(axis: Axis, values: pd.Series | pd.Index, apart: float = 1.25, scale: float = 1.0) -> None:
    """On a logarithmic axis, ticks at these values alone, but for those less than ``apart`` times below the next one.

    They are shown times ``scale``.
    """
    placed: list[float] = []
    for value in sorted(values.unique(), reverse=True):
        if not placed or apart * value < placed[-1]:
            placed.append(value)
    axis.set_minor_locator(NullLocator())
    axis.set_ticks(placed, [f"{scale * value:g}" for value in placed])


def densities(ax: Axes, values: pd.Series | pd.Index) -> None:
    """An axis of densities in percent, which falls to the right, with ticks at these."""
    ax.set(xscale="log", xlabel="density, % of the weights kept")
    ax.invert_xaxis()
    ticks(ax.xaxis, values, scale=100)


def accuracy_limits(least: float, best: float, factor: float) -> tuple[float, float]:
    """The ends of an axis of accuracy in %: cut where the error is ``factor`` times that of the best, if it must be."""
    room = 0.2 * (100 - best)  # above the best and, where the axis need not be cut, below the least
    return max(100 - factor * (100 - best), least - room), best + room
