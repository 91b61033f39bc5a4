"""The sanity experiment of ``experiments.logistic``, running in the reader's browser."""

from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
import torch
import traitlets as t
from matplotlib.figure import Figure
from torch import Tensor

from lottery_lib.data import datasets
from lottery_lib.errors import LotteryError, hint
from lottery_lib.experiments import logistic
from lottery_lib.experiments.logistic import METHODS, LogisticConfig
from lottery_lib.figures.style import BLUE, STYLE, VERMILION
from lottery_lib.widgets.base import InteractiveFigure, module, sheet

IMAGES = 400  # at most, for training and for testing each: then a step takes a browser about a millisecond
SEEDS = 10
LAST = 3840  # iterations, as in playground.js
PENALTIES, VARIABLES = {"log": "log", "l1": "ℓ1"}, ("mask", "weights")
METHOD_NAMES = ("mask + {}, projected", "weights + {}, subgradient")  # of logistic.METHODS, for a penalty


@dataclass(frozen=True)
class Setting(LogisticConfig):
    """What a playground opens with; LotteryError if a value is out of its range."""

    dataset: str = "digits"
    iterations: int = 240
    penalty: str = "log"
    alpha: float = 0.05

    def __post_init__(self):
        super().__post_init__()
        _check(self, self.penalty, "mask", self.alpha)


class Playground(InteractiveFigure):
    """Projected gradient on a mask beside subgradients on weights, for two digits, with every setting on a slider.

    ``config`` says which data, settings and seed (0 to 9), and how many iterations are done when the reader first sees
    it, or in its still picture where it is ``paused`` before the first; other data than ``digits`` must be at hand, and
    only the first 400 images for training and testing are taken. The ``small`` one is a button and λ beside the mask.
    ``penalty`` is "log" or "l1", ``variable`` ("mask" or "weights") what the image and the histogram show, and
    ``alpha`` the threshold in (0, 1]. LotteryError for a value out of range, or data that are not there.
    """

    _esm, _css = module("playground"), sheet("playground")

    pixels = t.Bytes().tag(sync=True)  # uint8 (images, d), those for training first
    labels = t.Bytes().tag(sync=True)  # uint8 (images,)
    train = t.Int().tag(sync=True)
    starts = t.Bytes().tag(sync=True)  # float64 (SEEDS, d), as logistic.run makes them
    traced = t.List().tag(sync=True)  # entries whose paths are drawn: half of them kept, half not
    lipschitz = t.Float().tag(sync=True)
    lam = t.Float().tag(sync=True)
    eps = t.Float().tag(sync=True)
    alpha = t.Float().tag(sync=True)
    step = t.Float().tag(sync=True)
    mask_step = t.Float().tag(sync=True)
    weight_decay = t.Float().tag(sync=True)
    penalty = t.Enum(list(PENALTIES)).tag(sync=True)
    variable = t.Enum(VARIABLES).tag(sync=True)
    seed = t.Int(min=0, max=SEEDS - 1).tag(sync=True)
    iterations = t.Int().tag(sync=True)
    small = t.Bool(False).tag(sync=True)

    def __init__(
        self,
        config: LogisticConfig = LogisticConfig(dataset="digits", iterations=240),
        *,
        penalty: str = "log",
        variable: str = "mask",
        alpha: float = 0.05,
        paused: bool = False,
        small: bool = False,
    ):
        _check(config, penalty, variable, alpha)
        x, y, x_test, y_test = (part[:IMAGES] for part in logistic.binary(datasets.load(config.dataset), config.digits))
        pixels = (torch.cat([x, x_test]) * 255).round().to(torch.uint8)
        x = x - x.mean(0)
        lipschitz = torch.linalg.eigvalsh(x.T @ x)[-1].item() / (4 * len(x))
        starts = torch.stack([_start(seed, x.shape[1]) for seed in range(SEEDS)])
        self._paths = _run(config, penalty, x, y, starts[config.seed], lipschitz)
        mask, _ = (path[-1] for path in self._paths)
        idle = np.where(mask == 0, x.std(0).numpy(), -1)
        traced = np.concatenate([np.argsort(-mask, kind="stable")[:4], np.argsort(-idle)[:4]])
        shared = ("lam", "eps", "step", "mask_step", "weight_decay", "seed")
        super().__init__(
            pixels=pixels.numpy().tobytes(),
            labels=torch.cat([y, y_test]).to(torch.uint8).numpy().tobytes(),
            train=len(x),
            starts=starts.numpy().tobytes(),
            traced=traced.tolist(),
            lipschitz=lipschitz,
            penalty=penalty,
            variable=variable,
            alpha=alpha,
            iterations=0 if paused else config.iterations,
            small=small,
            **{name: getattr(config, name) for name in shared},
        )

    @mpl.rc_context(STYLE)
    def still(self) -> Figure:
        """The first view: the mask as an image and a histogram, the paths of a few mask entries and weights."""
        figure = Figure(figsize=(7.5, 3.6), layout="constrained")
        axes = figure.subplot_mosaic([["image", "mask"], ["histogram", "weights"]], width_ratios=(1, 2.4))
        mask, weights = self._paths
        side = int(np.sqrt(mask.shape[1]))
        axes["image"].imshow(mask[-1].reshape(side, side), cmap="Blues", vmin=0, vmax=1)
        axes["image"].set(title="mask m as an image", xticks=[], yticks=[])
        axes["image"].spines[:].set_visible(True)
        _, _, bars = axes["histogram"].hist(mask[-1], bins=np.linspace(0, 1, 23), color=BLUE, log=True)
        bars[0].set_color(VERMILION)
        axes["histogram"].set(title="histogram of m", xticks=[0, 1])
        for name, path in (("mask", mask), ("weights", weights)):
            for line, entry in enumerate(self.traced):
                kept = line < len(self.traced) // 2
                axes[name].plot(path[:, entry], color=BLUE if kept else VERMILION, lw=1.3 if kept else 0.7)
        axes["mask"].set(title="mask entries, projected gradient", yticks=[0, 1])
        axes["weights"].set(title="weights, subgradient (square-root scale)", xlabel="iteration")
        axes["weights"].set_yscale("function", functions=(lambda w: np.sign(w) * np.sqrt(abs(w)), lambda s: s * abs(s)))
        axes["weights"].set_yticks([-2, 0, 2])
        return figure


def _check(config: LogisticConfig, penalty: str, variable: str, alpha: float) -> None:
    for name, value, known in (("penalty", penalty, PENALTIES), ("variable", variable, VARIABLES)):
        if value not in known:
            raise LotteryError(f"unknown {name} {value!r}{hint(value, known)}")
    if not 0 < alpha <= 1:
        raise LotteryError(f"alpha = {alpha!r}: must be above 0 and at most 1")
    if config.step_decay:
        raise LotteryError(f"step_decay = {config.step_decay!r}: the playground's steps stay as they are; leave it out")
    for name, most in (("seed", SEEDS - 1), ("iterations", LAST)):
        if getattr(config, name) > most:
            raise LotteryError(f"{name} = {getattr(config, name)}: must be at most {most} in the playground")


def _start(seed: int, size: int) -> Tensor:
    """The start (size,) of ``logistic.run`` for this seed."""
    return logistic.START_STD * torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _run(config, penalty: str, x: Tensor, y: Tensor, start: Tensor, lipschitz: float) -> list[np.ndarray]:
    """m of the projected mask and w of the subgradient, each (iterations + 1, d), for centred x (N, d)."""
    methods = []
    for name in METHOD_NAMES:
        cls, regularizer = METHODS[name.format(PENALTIES[penalty])]
        methods.append(cls(start, regularizer(config.eps), config, lipschitz))
    paths = [[method.m if method.masked else method.w] for method in methods]
    for _ in range(config.iterations):
        for method, path in zip(methods, paths):
            method.step(x.T @ (torch.sigmoid(x @ method.weights()) - y) / len(x))
            path.append(method.m if method.masked else method.w)
    return [torch.stack(path).numpy() for path in paths]
