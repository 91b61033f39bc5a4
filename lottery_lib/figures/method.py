"""Figures of the method itself, from mathematics alone."""

import matplotlib as mpl
import torch
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from lottery_lib import regularizers
from lottery_lib.experiments.catalogue import SPOKEN
from lottery_lib.figures.style import BLUE, COLUMN, GREEN, ORANGE, PURPLE, SKY, STYLE, new_figure

SYMBOLS = {"eps": "ε", "gamma": "γ"}


@mpl.rc_context(STYLE)
def penalties() -> Figure:
    """Every regulariser of the library at its default shape: r(m), and its slope r'(m), the pull towards zero."""
    figure, ((value, slope),) = new_figure(1, 2, (COLUMN, 2.8))
    m = torch.linspace(0, 1, 201, dtype=torch.float64)
    for (name, cls), colour in zip(regularizers.REGULARIZERS.items(), (SKY, BLUE, PURPLE, GREEN, ORANGE)):
        shape = ", ".join(f"{SYMBOLS.get(key, key)} = {number:g}" for key, number in vars(cls()).items())
        called = SPOKEN.get(name, name)
        value.plot(m, cls().value(m), color=colour, label=f"{called} ({shape})" if shape else called)
        slope.plot(m, cls().gradient(m), color=colour)
    value.set(title="penalty r(m)", xlabel="mask entry m")
    slope.set(title="slope r′(m)", xlabel="mask entry m", yscale="log", ylim=(0.02, 20))
    slope.yaxis.set_major_formatter("{x:g}")
    figure.legend(*value.get_legend_handles_labels(), loc="outside right center")
    return figure


STATIONS = (  # of the pipeline: heading, text, colour
    ("dense start", "weights θ₀\nmask m = 1", "#eeeeee"),
    ("search", "descend on θ,\nclip m to [0, 1]", "#d6ecfa"),
    ("threshold", "keep m ≥ α", "#d6ecfa"),
    ("rewind", "θ₀ where kept,\n0 elsewhere", "#fde8cc"),
    ("retrain", "the ticket alone", "#fde8cc"),
)


@mpl.rc_context(STYLE)
def pipeline() -> Figure:
    """The method's stations in a row, with the way back for another round."""
    figure, ((ax,),) = new_figure(1, 1, (COLUMN, 2.1))
    ax.set(xlim=(-0.05, 5.05), ylim=(-0.62, 1.05))
    ax.axis("off")
    for x, (heading, text, colour) in enumerate(STATIONS):
        ax.add_patch(FancyBboxPatch((x + 0.08, 0.08), 0.76, 0.84, boxstyle="round,pad=0.03", fc=colour, ec="#555555"))
        ax.text(x + 0.46, 0.75, heading, ha="center", va="center", weight="bold")
        ax.text(x + 0.46, 0.36, text, ha="center", va="center", fontsize=8.5)
        if x:
            ax.annotate("", (x + 0.05, 0.5), (x - 0.13, 0.5), arrowprops={"arrowstyle": "-|>", "color": "#222222"})
    curve = {"arrowstyle": "-|>", "color": "#222222", "connectionstyle": "arc3,rad=-0.22"}
    ax.annotate("", (1.46, 0.03), (3.46, 0.03), arrowprops=curve)
    ax.text(2.46, -0.55, "another round, on the weights that are left", ha="center", fontsize=8.5)
    return figure
