"""Figures of the chapter on the calibrated search: prices over a search, and how near searches end to a density."""

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

from lottery_lib.figures.claims import PAPER, Row, on_one_axis
from lottery_lib.figures.lines import by_place, look
from lottery_lib.figures.style import BLACK, BLUE, COLUMN, STYLE, VERMILION, new_figure
from lottery_lib.findings.calibrated import QUANTILES, Watched
from lottery_lib.methods.concave import TOLERANCE


@mpl.rc_context(STYLE)
def prices(watched: Watched) -> Figure:
    """The prices of all weights over a search with the k-th among them, λ, and the share of entries from α up."""
    frames, done = watched.frames, 100 * watched.frames.done
    figure, ((left, right),) = new_figure(1, 2, (COLUMN, 3.5))
    columns = [str(quantile) for quantile in QUANTILES]
    for low, high, shade in ((columns[0], columns[-1], "#e0e0e0"), (columns[1], columns[-2], "#bdbdbd")):
        left.fill_between(done, frames[low], frames[high], color=shade, lw=0)
    left.plot(done, frames[columns[2]], color="#777777", lw=1, label="median of all prices")
    before = frames[frames.done < watched.settling]
    left.plot(100 * before.done, before.lam, color=BLUE, label=f"λ: the k-th largest, k = {watched.asked:g} d")
    # Early prices are as large as they are uncertain, and would press the rest together.
    settled = before[before.done > 0.1]
    top = 1.5 * max(settled.lam.max(), settled[columns[-1]].max())
    left.set(
        ylim=(min(0.0, 1.5 * settled[columns[0]].min()), top), xlabel="% of the search", ylabel="price, in units of λ"
    )
    left.set_title("what each weight could pay")
    earlier = max(before.lam.max(), before[columns[-1]].max())
    if earlier > top:
        left.text(0.14, 0.98, f"↑ before, up to {earlier:.1g}", transform=left.transAxes, va="top", size=8.5)
    right.plot(done, frames.density, color=BLUE, label=f"entries with m ≥ α = {watched.alpha:g}")
    right.axhline(watched.asked, color=BLACK, ls=":", lw=1, label="asked for")
    right.set(yscale="log", xlabel="% of the search", ylabel="share of entries")
    right.set_title("what is left")
    for ax in (left, right):
        ax.axvline(100 * watched.settling, color=VERMILION, lw=0.8, ls="--", label="entries settle from here")
    named = {name: line for ax in (left, right) for line, name in zip(*ax.get_legend_handles_labels())}
    figure.legend(named.values(), named, loc="outside lower center", ncols=2)
    right.yaxis.set_major_formatter("{x:g}")
    return figure


@mpl.rc_context(STYLE)
def density_errors(runs: pd.DataFrame) -> Figure:
    """How far off the density asked for each search of ``calibrated.steered`` ended: a row a line of a place, a dot a
    search. Grey: within the tolerance."""
    lines = {label: dict(list(group.groupby("name", sort=False))) for label, group in by_place(runs).items()}
    count = sum(1 + len(rows) for rows in lines.values())
    figure = Figure(figsize=(COLUMN, 0.8 + 0.19 * count))
    ax = figure.add_axes((0.4, 0.55 / figure.get_figheight(), 0.57, 1 - 0.6 / figure.get_figheight()))
    ax.axvspan(-100 * TOLERANCE, 100 * TOLERANCE, color="#e4e4e4", lw=0)
    at, across = iter(range(count)), ax.get_yaxis_transform()
    for label, rows in lines.items():
        ax.text(-0.68, next(at), label, transform=across, va="center", weight="bold", bbox=PAPER)
        for (name, searches), line in zip(rows.items(), at):
            ax.text(-0.03, line, name, transform=across, va="center", ha="right")
            ax.plot(100 * searches.error, [line] * len(searches), **look(name) | {"ls": "", "marker": "o", "ms": 4})
    ax.set(ylim=(count - 0.4, -0.6), yticks=[], xlabel="error of the density, % (linear to ±2, then logarithmic)")
    ax.set_xscale("symlog", linthresh=100 * TOLERANCE)
    ax.set_xlim(-150, max(15, 130 * runs.error.max()))
    ax.xaxis.set_major_formatter("{x:g}")
    ax.spines["left"].set_visible(False)
    return figure


def ablation(effects: pd.DataFrame) -> Figure:
    """What a change of one default does to the accuracy on validation (``findings.ablation.effects``), a row each."""
    groups: dict[str, list[Row]] = {}
    for cell in effects.itertuples():
        row = Row(f"{cell.part} {cell.value:g} ({cell.default:g})", cell.mean, cell.half_width, f"{cell.n:g}")
        groups.setdefault(f"{cell.place}, density {cell.density_asked:g}", []).append(row)
    return on_one_axis(groups, across="changed − default, points of validation accuracy")
