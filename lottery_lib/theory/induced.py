"""The penalty on a weight w = mθ that R(m) and weight decay on θ come to, once the split is the cheapest there is."""

import torch
from torch import Tensor

from lottery_lib.regularizers import Regularizer


def induced(regularizer: Regularizer, u: Tensor) -> tuple[Tensor, Tensor]:
    """What r with weight decay µ on θ charges a weight w = mθ, split as cheaply as possible, and the m of that split.

    ``min over m in (0, 1] of λ r(m) + (µ/2)(w/m)²``, in units of λ, depends on u = w √(µ/λ) alone; u and the results
    are float64 (n,). The minimum is taken on 2000 values of m, evenly spaced on a log scale from 10⁻⁴. For ℓ1 it is
    (3/2) u^(2/3) with m = u^(2/3) up to u = 1, and 1 + u²/2 with m = 1 beyond.
    """
    m = torch.logspace(-4, 0, 2000, dtype=torch.float64)
    price, best = (regularizer.value(m) + (u[:, None] / m) ** 2 / 2).min(1)
    return torch.where(u == 0, 0, price), torch.where(u == 0, 0, m[best])
