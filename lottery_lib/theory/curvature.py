"""How a loss that need not be convex curves, on some entries of a mask or on the way from the target to it.

Any of these in the place of γ makes a number of T2 (``theory.bounds``). Which of them make a bound is another matter.
"""

import torch
from torch import Tensor

from lottery_lib.theory import bounds
from lottery_lib.theory.networks import Networks

STEPS = 96  # of Lanczos at most
POINTS = 8  # on the way from the target to a mask
EMPTY = 1e-10  # as long is what rounding leaves of a direction once all are found, next to the curvature met


def least(problems: Networks, m: Tensor, on: Tensor, steps: int = STEPS) -> Tensor:
    """The least eigenvalue (n,) of ∇²L(m), restricted to the entries ``on`` (n, d, bool); NaN where there are none.

    By Lanczos' method with full reorthogonalisation (Golub & Van Loan, Matrix Computations, 4th ed., section 10.3), on
    products with the Hessian alone: up to rounding where there are no more than ``steps`` entries, else from above.
    """
    product, none = problems.hessian(m), ~on.any(1)
    direction = on * torch.randn(m.shape, generator=torch.Generator().manual_seed(0), dtype=m.dtype)
    direction = direction / torch.where(none, 1, direction.norm(dim=1))[:, None]
    basis, diagonal, beside = [], [], []
    for _ in range(min(steps, max(int(on.sum(1).max()), 1))):
        basis.append(direction)
        image = on * product(direction)
        along = (image * direction).sum(1)
        # Where all directions are found, the matrix is filled up with a value from between its eigenvalues.
        diagonal.append(torch.where(direction.any(1), along, diagonal[0]) if diagonal else along)
        known = torch.stack(basis, 1)
        for _ in range(2):  # once leaves too much, by rounding
            image = image - (known.mT @ (known @ image[:, :, None]))[:, :, 0]
        length = image.norm(dim=1)
        new = length > EMPTY * torch.stack(diagonal).abs().amax(0)
        beside.append(torch.where(new, length, 0))
        direction = torch.where(new[:, None], image / length[:, None], 0)
    off = torch.stack(beside, 1)[:, :-1]
    matrix = torch.diag_embed(torch.stack(diagonal, 1)) + torch.diag_embed(off, 1) + torch.diag_embed(off, -1)
    return torch.where(none, torch.nan, torch.linalg.eigvalsh(matrix)[:, 0])


def between(problems: Networks, m: Tensor) -> Tensor:
    """The least (n,) of ``least`` at the middles of eight equal parts of the way from m̃ to m.

    On the entries where these differ: it is what T2 needs, were the points dense. NaN where m is the target.
    """
    away = m - problems.target
    places = [problems.target + away * (number + 0.5) / POINTS for number in range(POINTS)]
    return torch.stack([least(problems, place, away != 0) for place in places]).amin(0)


def monotonicity(problems: Networks, m: Tensor) -> Tensor:
    """(∇L(m) − ∇L(m̃))·(m − m̃) / D² (n,), the mean curvature on the way from m̃ to m, along it. At least γ if L has one.

    Where it is positive, T2 holds with it in the place of γ, convex or not: no more of γ is used in the proof.
    """
    pull = problems.gradient(m) - problems.gradient(problems.target)
    return (pull * (m - problems.target)).sum(1) / bounds.distance(problems, m).square()
