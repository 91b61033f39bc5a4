"""A calibrated search as a film: the mask's histogram, λ, and the share of entries that are left."""

import matplotlib as mpl
import numpy as np
import traitlets as t
from matplotlib.figure import Figure

from lottery_lib.figures.style import BLACK, BLUE, STYLE, new_figure
from lottery_lib.findings.calibrated import Watched
from lottery_lib.widgets.base import InteractiveFigure, module, sheet

FRAMES = 80


class SearchPlayer(InteractiveFigure):
    """Plays what ``calibrated.watch`` saw; ``frame`` says which of the ``frames`` is shown."""

    _esm, _css = module("search_player"), sheet("explorer")
    asked = t.Float(read_only=True).tag(sync=True)
    alpha = t.Float(read_only=True).tag(sync=True)
    frames = t.List(read_only=True).tag(sync=True)  # {done, lam, density, counts}
    epochs = t.List(read_only=True).tag(sync=True)  # {done, loss, val_accuracy}
    frame = t.Int(0).tag(sync=True)

    def __init__(self, watched: Watched):
        shown = np.unique(np.linspace(0, len(watched.frames) - 1, FRAMES).round().astype(int))
        frames = watched.frames.iloc[shown][["done", "lam", "density"]].to_dict("records")
        frames = [frame | {"counts": counts.tolist()} for frame, counts in zip(frames, watched.counts[shown])]
        super().__init__()
        shown = {"asked": watched.asked, "alpha": watched.alpha, "frames": frames}
        for name, value in (shown | {"epochs": watched.epochs.to_dict("records")}).items():
            self.set_trait(name, value)

    @t.validate("frame")
    def _within(self, proposal) -> int:
        return min(max(proposal.value, 0), len(self.frames) - 1)

    @mpl.rc_context(STYLE)
    def still(self) -> Figure:
        """The histogram at four moments."""
        figure, (axes,) = new_figure(1, 4, (10, 2.4), sharey=True)
        moments = np.linspace(0, len(self.frames) - 1, len(axes)).round().astype(int)
        for ax, frame in zip(axes, (self.frames[moment] for moment in moments)):
            bins = len(frame["counts"]) - 2
            places = np.concatenate([[-0.03], (np.arange(bins) + 0.5) / bins, [1.03]])
            colours = np.where(places > self.alpha, BLUE, "#bbbbbb")
            ax.bar(places, frame["counts"], [0.025, *[1 / bins] * bins, 0.025], color=colours, lw=0)
            ax.axvline(self.alpha, color=BLACK, ls="--", lw=1)
            ax.set(yscale="log", ylim=(0.7, None), xlabel="mask entry m", title=self._said(frame))
        return figure

    def _said(self, frame: dict) -> str:
        return f"{100 * frame['done']:.0f} %: λ = {frame['lam']:.1e}, {frame['density']:.3g} left"
