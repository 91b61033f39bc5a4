"""The convex sanity experiment (claim C1): sparse binary logistic regression by five first-order methods and a referee.

All minimise L(w) + λ·penalty, L the mean logistic loss of a linear classifier without bias. Three act on the weights:
the subgradient of ℓ1, the subgradient of the log penalty, and proximal gradient (ISTA) for ℓ1. Two act on w = m⊙θ with
m ∈ [0, 1]ᵈ by projected gradient, under ℓ1 and under the log penalty on m. scikit-learn's liblinear solves the ℓ1
problem from outside. All start from the same random weights, in float64, on the full batch, with steps in units of
1/‖∇²L‖.
"""

import time
import warnings
from dataclasses import asdict, dataclass
from typing import Annotated, ClassVar

import numpy as np
import pandas as pd
import sklearn
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor
from torch.nn.functional import softplus
from tqdm import tqdm

from lottery_lib import errors
from lottery_lib.data import datasets
from lottery_lib.data.images import Data
from lottery_lib.errors import LotteryError, hint
from lottery_lib.regularizers import L1, Log, Regularizer

START_STD = 0.1  # of the common random start: small against fitted weights, and nowhere exactly zero
LONGEST = 100_000  # iterations, whose paths are kept whole meanwhile
TRACED = 8  # entries whose whole path is kept


@dataclass(frozen=True)
class LogisticConfig:
    """One run of the experiment; LotteryError if a value is out of its range."""

    protocol: ClassVar[str] = "mnist-logistic"
    version: ClassVar[int] = 1  # raised when the same fields would give other numbers
    device: ClassVar[str] = "cpu"  # whatever else there is

    dataset: Annotated[str, "single-channel data set: mnist, fashion-mnist or digits"] = "mnist"
    digits: Annotated[tuple[int, int], "the two classes"] = (3, 8)
    lam: Annotated[float, "λ, weight of the penalty"] = 0.01
    eps: Annotated[float, "ε of the log penalty"] = 0.1
    step: Annotated[float, "step size of w and θ, in units of 1/‖∇²L‖; below 2"] = 1.0
    mask_step: Annotated[float, "step size of m, in the same units"] = 1.0
    weight_decay: Annotated[float, "µ in (µ/2)‖θ‖², on θ of the masked methods only"] = 1e-3
    iterations: Annotated[int, "steps of each method"] = 2000
    seed: Annotated[int, "of the random start"] = 0
    step_decay: Annotated[float, "p of the subgradients' steps, η / t^p"] = 0.0

    def __post_init__(self):
        errors.settle(self)
        rules = {
            "lam": (self.lam > 0, "> 0"),
            "eps": (self.eps > 0, "> 0"),
            "step": (0 < self.step < 2, "between 0 and 2, both excluded (in units of 1/‖∇²L‖)"),
            "mask_step": (self.mask_step > 0, "> 0"),
            "weight_decay": (self.weight_decay >= 0, "≥ 0"),
            "iterations": (10 <= self.iterations <= LONGEST, f"10 to {LONGEST}"),
            "step_decay": (self.step_decay >= 0, "≥ 0"),
        }
        errors.hold(self, rules)
        if self.dataset not in datasets.NAMES:
            raise LotteryError(f"unknown data set {self.dataset!r}{hint(self.dataset, datasets.NAMES)}")
        if self.dataset not in datasets.GREY:
            raise LotteryError(f"dataset = {self.dataset!r}: must be of grey images, {', '.join(datasets.GREY)}")
        object.__setattr__(self, "digits", tuple(self.digits))
        if len(set(self.digits)) != 2 or not set(self.digits) <= set(range(10)):
            raise LotteryError(f"digits = {self.digits!r}: must be two different digits, as in (3, 8)")


class Subgradient:
    """``w ← w − η_t(∇L(w) + λ r'(|w|) sign w)``, for any r on the absolute value, with η_t = η / t^p."""

    masked = False

    def __init__(self, start: Tensor, penalty: Regularizer, config: LogisticConfig, lipschitz: float):
        self.w, self.regularizer, self.lam = start.clone(), penalty, config.lam
        self.step_size, self.step_decay, self.taken = config.step / lipschitz, config.step_decay, 0

    def weights(self) -> Tensor:
        return self.w

    def penalty(self) -> float:
        return self.lam * self.regularizer.penalty(self.w.abs()).item()

    def step(self, gradient: Tensor) -> None:
        self.taken += 1
        pull = self.lam * self.regularizer.gradient(self.w.abs()) * self.w.sign()
        self.w = self.w - self.step_size / self.taken**self.step_decay * (gradient + pull)


class Proximal(Subgradient):
    """ISTA: ``w ← soft(w − η∇L(w), ηλ)``, the proximal step of ℓ1 (Daubechies et al. 2004)."""

    def step(self, gradient):
        moved = self.w - self.step_size * gradient
        self.w = moved.sign() * (moved.abs() - self.step_size * self.lam).clamp(min=0)


class ProjectedMask:
    """w = m⊙θ: a gradient step on θ, and on m one that is clipped to [0, 1] (arXiv 2501.11135)."""

    masked = True

    def __init__(self, start: Tensor, penalty: Regularizer, config: LogisticConfig, lipschitz: float):
        self.theta, self.m = start.clone(), torch.ones_like(start)
        self.regularizer, self.lam, self.decay = penalty, config.lam, config.weight_decay
        self.step_size, self.mask_step = config.step / lipschitz, config.mask_step / lipschitz

    def weights(self) -> Tensor:
        return self.m * self.theta

    def penalty(self) -> float:
        return self.lam * self.regularizer.penalty(self.m).item() + self.decay / 2 * self.theta.square().sum().item()

    def step(self, gradient: Tensor) -> None:
        theta_gradient = self.m * gradient + self.decay * self.theta
        mask_gradient = self.theta * gradient + self.lam * self.regularizer.gradient(self.m)
        self.theta = self.theta - self.step_size * theta_gradient
        self.m = (self.m - self.mask_step * mask_gradient).clamp(0, 1)


METHODS = {  # name -> (optimiser, penalty as a function of ε)
    "weights + ℓ1, subgradient": (Subgradient, lambda eps: L1()),
    "weights + log, subgradient": (Subgradient, Log),
    "weights + ℓ1, proximal (ISTA)": (Proximal, lambda eps: L1()),
    "mask + ℓ1, projected": (ProjectedMask, lambda eps: L1()),
    "mask + log, projected": (ProjectedMask, Log),
}
REFEREE = "weights + ℓ1, liblinear (referee)"
REFERS_TO = "weights + ℓ1, proximal (ISTA)"  # the method that solves the referee's problem


def is_masked(name: str) -> bool:
    """Whether a method of ``METHODS`` acts on a mask; False for the referee."""
    return name != REFEREE and METHODS[name][0].masked


def run(config: LogisticConfig, progress: bool = False) -> tuple[dict, dict[str, np.ndarray]]:
    """Run all methods and the referee.

    Returns a JSON-able summary, one entry a method under ``"methods"``, and arrays: ``objective``, ``flips`` and
    ``zeros`` (methods, T), the share of zeros in [0, 1] and flips as counts; ``path`` (methods, T, TRACED) and the
    traced entries' numbers ``traced``; ``weights`` (methods + referee, d); ``masks`` (masked methods, d).
    """
    started = time.perf_counter()
    x, y, x_test, y_test = binary(datasets.load(config.dataset), config.digits)
    centre = x.mean(0)  # without a bias, centred pixels also make the problem about nine times better conditioned
    x, x_test = x - centre, x_test - centre
    lipschitz = torch.linalg.eigvalsh(x.T @ x)[-1].item() / (4 * len(x))
    generator = torch.Generator().manual_seed(config.seed)
    start = START_STD * torch.randn(x.shape[1], generator=generator, dtype=x.dtype)
    methods = [cls(start, penalty(config.eps), config, lipschitz) for cls, penalty in METHODS.values()]
    referee = _liblinear(x, y, config.lam)

    trace = {key: np.empty((len(methods), config.iterations)) for key in ("objective", "flips", "zeros")}
    path = np.empty((len(methods), config.iterations, x.shape[1]), dtype=np.float32)
    before = gradient = None
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(threads if x.numel() > 10**6 else 1)  # on few numbers threads only wait for each other
        for t in tqdm(range(config.iterations), disable=not progress, unit="iteration"):
            if t:  # the start is the first state traced, and no step follows the last one
                for method, g in zip(methods, gradient.T):
                    method.step(g)
            w = torch.stack([method.weights() for method in methods], 1)  # (d, methods): one pass over x for all
            logits = x @ w
            trace["objective"][:, t] = _loss(logits, y) + np.array([method.penalty() for method in methods])
            trace["zeros"][:, t] = (w == 0).double().mean(0)
            trace["flips"][:, t] = 0 if before is None else (w * before < 0).sum(0)
            path[:, t] = w.T.float()
            before, gradient = w, x.T @ (torch.sigmoid(logits) - y[:, None]) / len(x)
    finally:
        torch.set_num_threads(threads)
    for name, objective in zip(METHODS, trace["objective"]):
        if not np.isfinite(objective).all():
            raise LotteryError(f"{name!r} diverges; lower step, mask_step or weight_decay, or raise eps")

    final = torch.stack([*w.T, referee], 1)
    correct = ((x_test @ final > 0) == (y_test[:, None] > 0)).double().mean(0)
    referee_objective = float(_loss((x @ referee)[:, None], y)[0]) + config.lam * referee.abs().sum().item()
    late = slice(-(config.iterations // 10), None)
    summary = {
        name: {
            "objective": float(objective),
            "zeros": float((w == 0).double().mean()),
            "density": float((w != 0).double().mean()),
            "kept": int((w != 0).sum()),
            "test_accuracy": 100 * float(accuracy),
        }
        for name, objective, w, accuracy in zip(
            [*METHODS, REFEREE], [*trace["objective"][:, -1], referee_objective], final.T, correct
        )
    }
    for row, name in enumerate(METHODS):
        summary[name]["late_flips"] = int(trace["flips"][row, late].sum())
        summary[name]["late_flips_per_iteration"] = float(trace["flips"][row, late].mean())
    arrays = {key: value.astype(np.float32) for key, value in trace.items()}
    traced = _entries_to_trace(path[:, -1], x.std(0).numpy())
    arrays |= {"traced": traced, "path": path[:, :, traced]}
    arrays |= {"weights": final.T.contiguous().numpy().astype(np.float32)}
    arrays["masks"] = torch.stack([method.m for method in methods if method.masked]).numpy().astype(np.float32)
    return {
        "config": asdict(config),
        "images": {"train": len(x), "test": len(x_test)},
        "lipschitz": lipschitz,
        "gap_to_referee": summary[REFERS_TO]["objective"] / referee_objective - 1,
        "methods": summary,
        "seconds": time.perf_counter() - started,
    }, arrays


def _loss(logits: Tensor, y: Tensor) -> np.ndarray:
    """Mean logistic loss of each column of logits (N, methods)."""
    return (softplus(logits) - y[:, None] * logits).mean(0).numpy()


def _liblinear(x: Tensor, y: Tensor, lam: float) -> Tensor:
    """The minimiser of L(w) + λ‖w‖₁ (d,) by scikit-learn, whose C weighs the summed loss."""
    new = tuple(map(int, sklearn.__version__.split(".")[:2])) >= (1, 8)  # 1.8 renamed penalty="l1" to l1_ratio=1
    solver = LogisticRegression(
        **({"l1_ratio": 1.0} if new else {"penalty": "l1"}),
        solver="liblinear",
        C=1 / (lam * len(x)),
        fit_intercept=False,
        tol=1e-8,
        max_iter=5000,
        random_state=0,  # of the order of its coordinates
    )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # an unfinished referee is none
            return torch.from_numpy(solver.fit(x.numpy(), y.numpy()).coef_[0])
    except Warning:
        raise LotteryError(
            f"lam = {lam!r}: the referee, liblinear, does not converge with it; take a larger one"
        ) from None


def _entries_to_trace(final: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """Half of the entries traced are ISTA's largest; half are zero for all methods that make zeros, and vary most.

    ``final`` (methods, d) are the last weights, ``spread`` (d,) the pixels' standard deviations.
    """
    exact = final[[cls is not Subgradient for cls, _ in METHODS.values()]]
    largest = np.abs(exact[0]).argsort()[::-1][: TRACED // 2]
    unneeded = np.where((exact == 0).all(0), spread, -1).argsort()[::-1][: TRACED // 2]
    return np.concatenate([largest, unneeded])


def table(record: dict) -> pd.DataFrame:
    """What a reader compares: one row a method, the referee last. Densities are fractions, accuracies percent."""
    rows = {
        name: {
            "objective": f"{final['objective']:.5f}",
            "exact zeros": f"{100 * final['zeros']:.1f} %",
            "kept": final["kept"],
            "density": f"{final['density']:.4f}",
            "sign flips an iteration, at the end": f"{final['late_flips_per_iteration']:.0f}"
            if "late_flips" in final
            else "–",
            "test accuracy": accuracy(final["test_accuracy"], record["images"]["test"]),
        }
        for name, final in record["methods"].items()
    }
    return pd.DataFrame.from_dict(rows, orient="index")


def accuracy(percent: float, images: int, decimals: int = 2) -> str:
    """To so many decimals, or where there are few images, as how many of them: a decimal would be less than one."""
    return f"{percent:.{decimals}f} %" if images >= 1000 else f"{round(percent * images / 100)} of {images}"


def binary(data: Data, digits: tuple[int, int] = (3, 8)) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Two classes of a single-channel set for logistic regression: ``(x_train, y_train, x_test, y_test)``.

    x is (N, H*W) float64 in [0, 1], not normalised; y is (N,) float64, 0 for the first class and 1 for the second.
    Training joins the train and validation splits. LotteryError unless ``digits`` are two classes that occur.
    """
    if data.shape[0] != 1:
        raise LotteryError(
            f"data set {data.name!r} has {data.shape[0]} channels; two classes are taken from grey images only"
        )
    if len(digits) != 2 or digits[0] == digits[1]:
        raise LotteryError(f"digits = {digits!r}: must be two different classes, as in (3, 8)")
    for digit in digits:
        if not (data.train.labels == digit).any():
            raise LotteryError(f"data set {data.name!r} has no class {digit}; its classes are 0 to {data.classes - 1}")

    def select(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        keep = (labels == digits[0]) | (labels == digits[1])
        return images[keep].flatten(1).double() / 255, (labels[keep] == digits[1]).double()

    joined = torch.cat([data.train.images, data.val.images]), torch.cat([data.train.labels, data.val.labels])
    return *select(*joined), *select(data.test.images, data.test.labels)
