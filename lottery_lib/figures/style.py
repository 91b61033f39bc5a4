"""How all figures look: colours, type, axes.

Colours are Okabe and Ito's, which stay apart for colour-blind readers; a method has the same colour everywhere.
"""

import math

import numpy as np
import seaborn as sns
from matplotlib.figure import Figure

BLACK, ORANGE, SKY, GREEN, YELLOW, BLUE, VERMILION, PURPLE = (
    "#000000", "#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7",
)  # fmt: skip
STYLE = sns.axes_style("ticks") | {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "legend.fontsize": 8.5,
    "legend.handlelength": 1.5,
    "legend.columnspacing": 0.8,
    "legend.handletextpad": 0.5,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.dpi": 160,
    "savefig.dpi": 160,
    "svg.hashsalt": "lottery",  # the same figure is the same file
}


COLUMN = 6.8  # inches: the width of the book's column, so that type is shown at the size at which it is set


def new_figure(rows: int, columns: int, size: tuple[float, float], **kwargs) -> tuple[Figure, np.ndarray]:
    """A figure outside pyplot's registry: it is drawn where it is returned, and only there."""
    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **kwargs)


def panels(count: int) -> tuple[Figure, np.ndarray]:
    """A figure with this many panels, two beside each other."""
    rows, columns = math.ceil(count / 2), min(count, 2)
    figure, axes = new_figure(rows, columns, (COLUMN if columns == 2 else 4.6, 0.5 + 2.5 * rows))
    for ax in axes.flat[count:]:
        ax.set_axis_off()
    return figure, axes.flat[:count]
