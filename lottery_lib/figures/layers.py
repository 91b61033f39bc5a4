"""The figure of where tickets put their weights."""

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from lottery_lib.figures.lines import by_place, label_ends, look
from lottery_lib.figures.style import BLACK, COLUMN, STYLE, new_figure

LINES = ("mask, log, calibrated", "IMP", "gradual magnitude", "SNIP")
FEW = 8  # layers whose names have room to stand upright


@mpl.rc_context(STYLE)
def densities(found: pd.DataFrame, density: float) -> Figure:
    """The density of each layer from input to output, of ``layers.densities``: a panel a place, a line a method.

    Only ``LINES`` are drawn, those there are; dotted: the density asked for over all layers. LotteryError if there are
    none.
    """
    groups = by_place(found[found.name.isin(LINES)])
    figure, axes = new_figure(len(groups), 1, (COLUMN, 0.2 + 2.4 * len(groups)))
    for ax, (label, group) in zip(axes[:, 0], groups.items()):
        ends = {}
        for called, rows in group.groupby("name", sort=False):
            ax.plot(rows.order, rows.density, **look(called) | {"ms": 4, "lw": 1.3})
            ends[called] = rows.order.iloc[-1], rows.density.iloc[-1], look(called)["color"]
        names = group.drop_duplicates("order").sort_values("order").layer
        few = len(names) <= FEW
        ax.set_xticks(range(len(names)), names, rotation=0 if few else 60, ha="center" if few else "right")
        ax.axhline(density, color=BLACK, ls=":", lw=1)
        ax.set(yscale="log", ylabel="density of the layer", title=label)
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.yaxis.set_minor_locator(NullLocator())
        ax.yaxis.set_major_formatter("{x:g}")
        label_ends(ax, ends)
    return figure
