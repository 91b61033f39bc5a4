"""The explorer of λ and α: a search's mask, the ticket that a threshold makes of it, and what that ticket is worth."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import matplotlib as mpl
import numpy as np
import traitlets as t
from matplotlib.figure import Figure
from torch.optim.optimizer import register_optimizer_step_post_hook

from lottery_lib import masks, paths, weights
from lottery_lib.errors import LEAST, MOST, LotteryError, hint
from lottery_lib.experiments import arithmetic, records, ticket_run
from lottery_lib.figures import style
from lottery_lib.findings import tables
from lottery_lib.widgets import searches
from lottery_lib.widgets.base import InteractiveFigure, module, sheet
from lottery_lib.widgets.searches import Point, Search, Task


@dataclass(frozen=True)
class View:
    """What an explorer opens on; LotteryError if that is not on record, or a number is out of its range."""

    dataset: str = "lenet"
    density: float = 0.05
    regularizer: str = "log, calibrated"
    lam: float = 5.8e-5
    alpha: float = 0.1

    def __post_init__(self):
        _check(searches.on_record(), vars(self))


class TicketExplorer(InteractiveFigure):
    """Move the density, or λ, and α, and see mask, density and accuracy answer, for every search on record.

    The traits ``dataset`` (a protocol's name), ``regularizer``, ``density``, ``lam``, ``mask_lr`` and ``alpha`` say
    what is seen and may be linked to other widgets: of calibrated searches (``log, calibrated``) the one nearest in
    density, of others that nearest in λ is taken, and α goes to the nearest value that the record resolves. ``view`` is
    the answer, as ``Search.at`` gives it. LotteryError if a value is out of its range.
    """

    _esm = module("explorer")
    _css = sheet("explorer")
    dataset = t.Unicode().tag(sync=True)
    regularizer = t.Unicode("log").tag(sync=True)
    density = t.Float(0.05).tag(sync=True)
    lam = t.Float(1e-4).tag(sync=True)
    mask_lr = t.Float(10.0).tag(sync=True)
    alpha = t.Float(0.05).tag(sync=True)
    tasks = t.List(read_only=True).tag(sync=True)
    counts = t.Bytes(read_only=True).tag(sync=True)
    view = t.Dict(read_only=True).tag(sync=True)
    busy = t.Bool(False, read_only=True).tag(sync=True)
    note = t.Unicode("", read_only=True).tag(sync=True)  # beside the buttons: progress, or what went wrong

    def __init__(self, known: Mapping[str, Task] | None = None, **traits: Any):
        self._known = dict(searches.on_record() if known is None else known)
        if not self._known:
            raise LotteryError("no search is on record; make one with: lottery train lenet -p lam=5.8e-5")
        traits.setdefault("dataset", next(iter(self._known)))
        _check(self._known, traits)
        super().__init__(**traits)
        self._publish()
        self.observe(self._move, ["dataset", "regularizer", "density", "lam", "mask_lr", "alpha"])

    @classmethod
    def live(cls, config: ticket_run.TicketRun, **traits: Any) -> "TicketExplorer":
        """An explorer that opens on the search of ``config``, made now if it does not lie in the work folder.

        It holds the relaxed mask, so any α is exact. LotteryError if the method is not ``concave`` in one round.
        """
        if config.method != "concave" or config.rounds != 1 or config.per_layer:
            raise LotteryError("the explorer shows searches with method = concave, rounds = 1 and per_layer = False")
        known = searches.on_record()
        called = tables.label(config.protocol, config.model, config.dataset, config.reduced)
        free = searches.known_as(config.protocol, config.model, config.dataset, alone=config.protocol not in known)
        name = next((name for name, task in known.items() if task.label == called), free)
        task = known.setdefault(name, Task(called))
        density = config.density if config.calibrated else type(config).density
        search = task.add(Search(replace(config, density=density, alpha=None)))
        _bring(search, task)
        lam, mask_lr = search.pressure or (1.0, 1.0)
        shown = {"regularizer": search.family, "density": density, "lam": lam, "mask_lr": mask_lr}
        return cls(known, **{"dataset": name} | shown | traits)

    @property
    def search(self) -> Search:
        """The search that is seen."""
        return self._known[self.dataset].nearest(self.regularizer, self.lam, self.mask_lr, self.density)

    def bring(self) -> None:
        """Find the relaxed mask of the search that is seen, in the work folder or by searching: then any α is exact."""
        _bring(self.search, self._known[self.dataset], lambda share: self._tell(f"searching: {share} %"))
        self._publish()

    def retrain(self) -> None:
        """Rewind, cut at α, retrain and measure the ticket that is seen, as ``lottery train`` would.

        LotteryError if the search is calibrated: α decides what it steers for, so that another would be another search.
        """
        if self.search.asked:
            raise LotteryError("a calibrated search has one ticket, at the density asked for; ask for another density")
        self.bring()
        search, alpha = self.search, self.view["alpha"]
        config = replace(search.config, alpha=alpha)
        told = _counted(search.steps, lambda share: self._tell(f"retraining: {share} %"))
        with told, arithmetic.held(config):
            record = records.read(config)[0] if records.exists(config) else ticket_run.run(config)[0]
        search.add(Point(record["density"], record["test_accuracy"], None, 1, alpha))
        self._publish()
        self._tell(f"to put this ticket on record: {records.command(config)}")

    def still(self) -> Figure:
        return draw(self._known[self.dataset], self.search, self.view)

    def caption(self) -> str:
        """What the present view shows, in Markdown, with the record's numbers."""
        search, view, task = self.search, self.view, self._known[self.dataset]
        zeros, now = search.counts[:, 0].sum() / search.counts.sum(), view["accuracy"]
        more = search.at(min(1.0, 10 * view["alpha"]))
        by_whom = f"which the search set for a density of {search.asked:g}, " if search.asked else ""
        parted = "have" if more["density"] > view["density"] / 2 else "have not"
        worth = f"{now['accuracy']:.2f} % ({now['kind']})" if "accuracy" in now else "not measured"
        dense = f"; the dense network's is {task.dense.accuracy:.2f} %" if task.dense else ""
        return (
            f"**As this page opens, the entries of the mask {parted} parted into two groups.** "
            f"At λ = {search.pressure[0]:.2g}, {by_whom}{100 * zeros:.1f} % of them ended at exactly 0. "
            f"The threshold α = {view['alpha']:g} gives a density of {view['density']:.3g}, α = {more['alpha']:g} "
            f"still {more['density']:.3g}. The ticket's test accuracy: {worth}{dense}."
        )

    @t.validate("dataset")
    def _known_dataset(self, proposal) -> str:
        _check(self._known, {"dataset": proposal.value})
        return proposal.value

    @t.validate("regularizer")
    def _known_family(self, proposal) -> str:
        _check(self._known, {"dataset": self.dataset, "regularizer": proposal.value})
        return proposal.value

    @t.validate("density", "lam", "mask_lr", "alpha")
    def _in_range(self, proposal) -> float:
        _check(self._known, {"dataset": self.dataset, proposal.trait.name: proposal.value})
        return proposal.value

    @t.observe("dataset")
    def _keep_family(self, change) -> None:
        families = self._known[self.dataset].families()
        if self.regularizer not in families:
            self.regularizer = families[0]

    def _move(self, _) -> None:
        self._tell("")
        self._look()

    def _look(self) -> None:
        asked = [self.dataset, self.regularizer, self.density, self.lam, self.mask_lr, self.alpha]
        self.set_trait("view", {"asked": asked, **self.search.at(self.alpha)})

    def _publish(self) -> None:
        with self.hold_sync():
            for name, value in zip(("tasks", "counts"), searches.pack(self._known)):
                self.set_trait(name, value)
            self._look()

    def _tell(self, note: str) -> None:
        self.set_trait("note", note)

    def _answer(self, widget, content, buffers) -> None:
        super()._answer(widget, content, buffers)
        asked = {"bring": self.bring, "retrain": self.retrain}.get(content.get("kind"))
        if asked is None or self.busy:
            return
        self.set_trait("busy", True)
        try:
            asked()
        except LotteryError as reason:
            self._tell(str(reason))
        finally:
            self.set_trait("busy", False)


def _check(known: Mapping[str, Task], given: Mapping[str, Any]) -> None:
    """Refuse what cannot be shown, in this order: a data set, then the traits that were given."""
    if (dataset := given["dataset"]) not in known:
        raise LotteryError(f"nothing on record under {dataset!r}{hint(dataset, known)}")
    if "regularizer" in given:
        known[dataset].nearest(given["regularizer"], 1.0)
    for name, most in (("density", 1.0), ("alpha", 1.0), ("lam", MOST), ("mask_lr", MOST)):
        if name in given and not LEAST <= given[name] <= most:
            asked = "above 0 and at most 1" if most == 1 else "> 0"
            raise LotteryError(f"{name} = {given[name]!r}: must be {asked}")


def _bring(search: Search, task: Task, tell: Callable[[int], None] = lambda share: None) -> None:
    """Give ``search`` its relaxed mask, and the counts of that."""
    if search.relaxed:
        return
    config = search.config
    data, model = ticket_run.prepare(config)
    search.steps = data.train.steps(config.training.batch_size) * config.training.epochs
    with _counted(search.steps, tell):
        ticket = ticket_run.find(config, model, data, {"work": paths.WORK})
    search.relaxed = ticket.relaxed
    if search.asked:
        search.settled = ticket.info["lam"], ticket.info["mask_lr"]
    search.counts = masks.histogram(ticket.relaxed)
    task.layers = [(weights.layer(name), m.numel()) for name, m in ticket.relaxed.items()]


@contextmanager
def _counted(steps: int, tell: Callable[[int], None]) -> Iterator[None]:
    """Calls ``tell`` with the percentage of ``steps`` that optimisers have taken meanwhile, whenever it changes."""
    done = 0

    def count(*_: Any) -> None:
        nonlocal done
        done += 1
        if 100 * done // steps > 100 * (done - 1) // steps:
            tell(min(100, 100 * done // steps))

    hook = register_optimizer_step_post_hook(count)
    try:
        yield
    finally:
        hook.remove()


@mpl.rc_context(style.STYLE)
def draw(task: Task, search: Search, view: Mapping[str, Any]) -> Figure:
    """The explorer's three panels as a still figure; ``view`` is what ``search.at`` gave."""
    figure, ((histogram, curve, layers),) = style.new_figure(1, 3, (10, 2.9), width_ratios=[3, 3, 2])
    counts, bins, alpha = search.counts.sum(0), search.bins, view["alpha"]
    places = np.concatenate([[-0.03], (np.arange(bins) + 0.5) / bins, [1.03]])
    widths = [0.025, *[1 / bins] * bins, 0.025]
    histogram.bar(places, counts, widths, color=np.where(places > alpha, style.BLUE, "#bbbbbb"), lw=0)
    histogram.axvline(alpha, color=style.BLACK, ls="--", lw=1)
    histogram.annotate(f" α = {alpha:g}", (alpha, 0.95), xycoords=("data", "axes fraction"), size=8)
    histogram.set(yscale="log", ylim=(0.7, None), xlabel="mask entry m after the search", title="entries of the mask")

    if task.dense:
        curve.axhline(task.dense.accuracy, color=style.BLACK, ls=":", lw=1, label="dense")
    for points, colour, name in ((task.imp, style.VERMILION, "IMP"), (search.points, style.BLUE, "this search")):
        densities, accuracies, widths = zip(*(point[:3] for point in points)) if points else ((), (), ())
        widths = [width or 0 for width in widths]
        curve.errorbar(densities, accuracies, widths, color=colour, marker="o", ms=2.5, lw=1.2, capsize=2, label=name)
    now, density = view["accuracy"], view["density"]
    if density:
        curve.axvline(density, color=style.BLACK, ls="--", lw=1)
    if now["kind"] != "unknown":
        filled = style.BLUE if now["kind"] == "measured" else "white"
        curve.plot(now.get("density", density), now["accuracy"], "o", ms=8, color=style.BLUE, mfc=filled)
    words = {"measured": "measured", "interpolated": "interpolated"}.get(now["kind"], "not measured")
    worth = f"{now['accuracy']:.2f} %, " if "accuracy" in now else ""
    low, high = task.span()
    low = min([low, *(math.floor(point.accuracy) for point in (*search.points, *task.imp))])  # no dot lies outside
    curve.set(xscale="log", ylim=(low, high), xlabel="density", title=f"test accuracy: {worth}{words}")
    curve.xaxis.set_major_formatter("{x:g}")
    curve.invert_xaxis()
    curve.legend(loc="lower left")

    names, sizes = zip(*task.layers)
    shares = np.array(view["kept"]) / np.array(sizes)
    layers.barh(names, shares, color=style.BLUE)
    for row, share in enumerate(shares):
        layers.annotate(f" {share:.3g}", (share, row), va="center", size=8)
    layers.invert_yaxis()
    layers.set(xlim=(0, 1), xlabel="density of the layer", title=f"density {density:.3g}")
    lam, mask_lr = search.pressure
    asked = f" for a density of {search.asked:g}" if search.asked else ""
    setting = f"{search.family}{asked} · λ = {lam:.2g}, ηₘ = {mask_lr:.3g}"
    figure.suptitle(f"{task.label} · {setting}", size=9)
    return figure
