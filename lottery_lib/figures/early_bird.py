"""Figure of the tickets that a search would draw on its way."""

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

from lottery_lib.errors import LotteryError
from lottery_lib.figures.lines import NOTHING
from lottery_lib.figures.style import BLACK, BLUE, COLUMN, STYLE, new_figure


@mpl.rc_context(STYLE)
def on_the_way(cells: pd.DataFrame) -> Figure:
    """A column each density of ``findings.early_bird.by_epoch``: above, what masks share; below, what tickets lose.

    LotteryError if there is none.
    """
    if cells.empty:
        raise LotteryError(NOTHING)
    groups = list(cells.groupby(["place", "density"], sort=False))
    figure, (above, below) = new_figure(2, len(groups), (COLUMN, 4.6), sharex=True, sharey="row")
    for top, bottom, ((place, density), rows) in zip(above, below, groups):
        top.plot(rows.epoch, 100 * rows["last"], "o-", color=BLUE, ms=4, label="the last epoch")
        top.plot(rows.epoch, 100 * rows.before, "o--", color=BLACK, ms=4, label="the epoch before")
        top.set(title=f"{place}, {density:g}", ylim=(0, 104))
        bottom.axhline(0, color=BLACK, lw=0.8)
        bottom.errorbar(rows.epoch, rows["mean"], rows.half_width, fmt="o", color=BLUE, ms=4, lw=1, capsize=2)
        bottom.set(xlabel="epoch of the search", xticks=rows.epoch)
    above[0].set_ylabel("weights shared with\nthe mask of …, %")
    below[0].set_ylabel("ticket − last ticket,\npoints of validation")
    above[0].legend(loc="lower right")
    return figure
