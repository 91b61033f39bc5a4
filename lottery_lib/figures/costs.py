"""Figures of what a step costs: measurements by ``benchmarks/`` in, a matplotlib figure out."""

import matplotlib as mpl
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from lottery_lib.figures.lines import GREY, ticks
from lottery_lib.figures.style import BLACK, BLUE, COLUMN, STYLE, new_figure
from lottery_lib.findings import tables
from lottery_lib.findings.costs import LOOPS, at_once, measured_loops, steps

LOOKS = {  # of the loops: dense and mask in their colours, others grey
    ("ours", "dense"): {"color": BLACK, "marker": "o", "mfc": "none", "ms": 7},
    ("ours", "relaxed"): {"color": BLUE, "marker": "o", "ms": 4},
    ("ours", "calibrated"): {"color": BLUE, "marker": "D", "mfc": "none", "ms": 5},
    ("ours", "masked"): {"color": GREY, "marker": "s", "ms": 4},
    ("uncompiled", "dense"): {"color": GREY, "marker": "^", "ms": 4},
    ("reference", "masked"): {"color": GREY, "marker": "X", "ms": 6},
}


@mpl.rc_context(STYLE)
def step_times(found: dict) -> Figure:
    """Every loop's step in multiples of the machine's limit, a column a network; bars from the least to the most."""
    rows = steps(found)
    names = list(rows.model.unique())
    figure, ((ax,),) = new_figure(1, 1, (COLUMN, 3.4))
    loops = measured_loops(rows)
    for place, (key, called) in enumerate(loops.items()):
        each = rows[(rows.loop == key[0]) & (rows.phase == key[1])].set_index("model").loc[names]
        x = [column + (place - (len(loops) - 1) / 2) * 0.13 for column in range(len(names))]
        spread = [each.over_limit - each.least, each.most - each.over_limit]
        ax.errorbar(x, each.over_limit, spread, ls="", capsize=2, label=called, **LOOKS[key])
    ax.axhline(1, color="#222222", lw=1, ls=":", label="the machine's limit")
    ax.set_xticks(range(len(names)), [tables.network(name) for name in names])
    ax.set(yscale="log", ylabel="time of a step / limit")
    _plain(ax.yaxis)
    figure.legend(*ax.get_legend_handles_labels(), loc="outside right center")
    return figure


@mpl.rc_context(STYLE)
def growth(found: dict) -> Figure:
    """How the step grows with the network's width, and what it takes of the machine if trainings share the cores."""
    rows, shared = steps(found, "widths"), at_once(found)
    figure, ((width, many),) = new_figure(1, 2, (COLUMN, 3))
    for phase in ("dense", "relaxed"):
        each = rows[rows.phase == phase]
        key = "ours", phase
        width.plot(each.width, each.ms, label=LOOPS[key], **LOOKS[key])
    width.plot(each.width, each.limit, color="#222222", ls=":", lw=1, label="limit")
    label = tables.network(rows.model.iloc[0])
    width.set(xscale="log", yscale="log", xlabel=f"width of {label}", ylabel="ms a step", xticks=each.width)
    width.xaxis.set_major_formatter("×{x:g}")
    width.xaxis.set_minor_formatter("")
    _plain(width.yaxis)
    width.legend()
    if len(shared):
        for (network, ratios), marker in zip(shared["over_limit"].iterrows(), "osD^"):
            many.plot(ratios.index, ratios, color=BLUE, marker=marker, ms=4, label=network)
        many.axhline(1, color="#222222", lw=1, ls=":", label="limit")
        many.set(xscale="log", xlabel="trainings at once", ylabel="machine time a step / limit", ylim=(0, None))
        ticks(many.xaxis, ratios.index)
        many.legend()
    else:
        many.axis("off")
    return figure


def _plain(axis: Axis) -> None:
    """Numbers as they are spoken on a logarithmic axis, at 1, 2 and 5 times the powers of ten."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter("{x:,g}")
    axis.set_minor_formatter("")
