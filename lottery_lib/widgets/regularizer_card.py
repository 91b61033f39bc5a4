"""A penalty on the mask, and the penalty on the weight that it comes to."""

from dataclasses import fields

import matplotlib as mpl
import torch
import traitlets as t
from matplotlib.figure import Figure

from lottery_lib.figures.style import BLUE, STYLE, VERMILION, new_figure
from lottery_lib.regularizers import L1, REGULARIZERS, create
from lottery_lib.theory.induced import induced
from lottery_lib.widgets.base import InteractiveFigure, module, sheet

GREY = "#595959"


class RegularizerCard(InteractiveFigure):
    """Value and slope of a penalty of the library, and what it charges a weight; its shape is on a slider.

    ``regularizer`` is a name of ``REGULARIZERS``, and ``shape`` its one parameter, None for the default; LotteryError
    for an unknown name or a shape out of range.
    """

    _esm, _css = module("regularizer_card"), sheet("regularizer_card")

    regularizer = t.Enum(list(REGULARIZERS)).tag(sync=True)
    eps = t.Float().tag(sync=True)
    p = t.Float().tag(sync=True)
    gamma = t.Float().tag(sync=True)
    s = t.Float().tag(sync=True)

    def __init__(self, regularizer: str = "log", shape: float | None = None):
        self._chosen = create(regularizer, shape)
        shapes = {field.name: field.default for cls in REGULARIZERS.values() for field in fields(cls)}
        super().__init__(regularizer=regularizer, **shapes | vars(self._chosen))

    @mpl.rc_context(STYLE)
    def still(self) -> Figure:
        """The four curves of the chosen penalty, beside those of ℓ1."""
        figure, ((value, slope), (price, split)) = new_figure(2, 2, (7, 4.6))
        m, u = (torch.linspace(0, end, 201, dtype=torch.float64) for end in (1, 2))
        price.plot(u, 1 + u**2 / 2, color=VERMILION, ls=":", label="counting kept weights (ℓ0), with weight decay")
        shape = ", ".join(f"{name} = {number:g}" for name, number in vars(self._chosen).items())
        chosen = {"color": BLUE, "label": f"{self.regularizer} ({shape})" if shape else self.regularizer}
        for penalty, look in ((L1(), {"color": GREY, "ls": "--", "label": "ℓ1"}), (self._chosen, chosen)):
            value.plot(m, penalty.value(m), **look)
            slope.plot(m, penalty.gradient(m), **look)
            price.plot(u, induced(penalty, u)[0], **look)
            split.plot(u, induced(penalty, u)[1], **look)
        value.set(title="penalty r(m)", xlabel="mask entry m")
        slope.set(title="its pull, the slope r′(m)", xlabel="mask entry m", yscale="log", ylim=(0.01, 100))
        slope.yaxis.set_major_formatter("{x:g}")
        price.set(title="what a weight pays, in units of λ", xlabel="weight |w|, in units of √(λ/µ)", ylim=(0, 3))
        split.set(title="the m that pays it", xlabel="weight |w|, in units of √(λ/µ)")
        figure.legend(*price.get_legend_handles_labels(), loc="outside lower center", ncols=3)
        return figure
