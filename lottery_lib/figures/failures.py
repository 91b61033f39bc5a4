"""The figure of searches that go wrong: what one would see of each while it runs."""

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

from lottery_lib.figures.style import BLUE, COLUMN, GREEN, ORANGE, PURPLE, STYLE, VERMILION, new_figure

COLOURS = (BLUE, VERMILION, GREEN, ORANGE, PURPLE)
SHOWN = {
    "kept": "% of entries from α up",
    "undecided": "% of entries undecided",
    "turnover": "% of the kept that are new",
    "loss": "training loss",
    "searched": "accuracy under the mask, %",
    "cut": "accuracy once cut to the density, %",
}
AS_IT_IS = ("loss", "searched", "cut")  # no share


@mpl.rc_context(STYLE)
def signs(watched: pd.DataFrame) -> Figure:
    """Epoch by epoch, of each search of ``failures.watch``: kept, undecided, new among the kept, loss, accuracies."""
    figure, axes = new_figure(3, 2, (COLUMN, 6.2), sharex=True)
    colours = dict(zip(watched.search.unique(), COLOURS))
    for ax, (column, called) in zip(axes.flat, SHOWN.items()):
        for search, rows in watched.groupby("search", sort=False):
            factor = 1 if column in AS_IT_IS else 100
            ax.plot(rows.epoch, factor * rows[column], color=colours[search], marker=".", label=search)
        ax.set(title=called, ylim=(0, None))
    for ax in axes[-1]:
        ax.set_xlabel("epoch of the search")
    handles, names = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=3)
    return figure
