"""The figure of where tickets put their weights."""

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from lottery_lib.figures.lines import by_place, look
from lottery_lib.figures.style import BLACK, STYLE, new_figure

LINES = ("mask, log, calibrated", "mask, log, calibrated, in rounds", "IMP", "gradual magnitude", "SNIP", "random")
FEW = 8  # layers whose names have room to stand upright


@mpl.rc_context(STYLE)
def densities(found: pd.DataFrame, density: float) -> Figure:
    """The density of each layer from input to output, of ``layers.densities``: a panel a place, a line a method.

    Only ``LINES`` are drawn, those there are; dotted: the density asked for over all layers. LotteryError if there are
    none.
    """
    groups = by_place(found[found.name.isin(LINES)])
    figure, axes = new_figure(len(groups), 1, (7, 0.6 + 3 * len(groups)))
    shown = {}
    for ax, (label, group) in zip(axes[:, 0], groups.items()):
        for called, rows in group.groupby("name", sort=False):
            (shown[called],) = ax.plot(rows.order, rows.density, **look(called) | {"ms": 4, "lw": 1.3})
        names = group.drop_duplicates("order").sort_values("order").layer
        few = len(names) <= FEW
        ax.set_xticks(range(len(names)), names, rotation=0 if few else 60, ha="center" if few else "right")
        ax.axhline(density, color=BLACK, ls=":", lw=1)
        ax.set(yscale="log", ylabel="share of weights kept", title=label)
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.yaxis.set_minor_locator(NullLocator())
        ax.yaxis.set_major_formatter("{x:g}")
    figure.legend(shown.values(), shown, loc="outside lower center", ncols=3)
    return figure
