"""Exercises of notebook 05b."""

import torch
from torch import Tensor

from pruning_lib.teaching.exercises.exercise import Exercise, draw
from pruning_lib.teaching.exercises.obs import random_inverse

EXERCISES: dict[str, Exercise] = {}


def _row(generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """B, C, v_M, S and r_P of a row that keeps the first four of seven weights (SW-1)."""
    H, w = torch.linalg.inv(random_inverse(generator, 7)), draw(generator, 7)
    B = torch.linalg.inv(H[:4, :4])
    C = B @ H[:4, 4:]
    S = H[4:, 4:] - H[4:, :4] @ C
    return B, C, w[:4] + C @ w[4:], S, S @ w[4:]


def swap_gains(
    B: Tensor, C: Tensor, v: Tensor, S: Tensor, r: Tensor, sign: float = 1.0, between: float = 1.0
) -> Tensor:
    b, s, v = B.diagonal()[:, None], S.diagonal(), v[:, None]
    return (b * r**2 + 2 * sign * between * C * v * r - s * v**2) / (b * s + between * C**2)


EXERCISES["swap_gains"] = Exercise(
    _row,
    swap_gains,
    lambda B, C, v, S, r: r**2 / S.diagonal() - (v**2 / B.diagonal())[:, None],
    "That is gain minus cost, each on its own (SW-2). Once p is there, removing q costs less: use C (SW-3).",
    lambda B, C, v, S, r: -swap_gains(B, C, v, S, r),
    "The sign is turned: an exchange gains when r_p² outweighs v_q².",
    lambda B, C, v, S, r: swap_gains(B, C, v, S, r).T,
    "Right, but transposed: rows are kept weights q, columns pruned weights p.",
    lambda B, C, v, S, r: swap_gains(B, C, v, S, r, sign=-1.0),
    "The middle term has the wrong sign: with r = H(w − v), as given, it is +2 C v r.",
    lambda B, C, v, S, r: swap_gains(B, C, v, S, r) * (B.diagonal()[:, None] * S.diagonal() + C**2),
    "That is the numerator only. Divide by B_qq S_pp + C_qp².",
    lambda B, C, v, S, r: swap_gains(B, C, v, S, r) / 2,
    "Half of it: here the error is meant without OBS's factor ½.",
    lambda B, C, v, S, r: (
        (B.diagonal()[:, None] * r**2 - S.diagonal() * v[:, None] ** 2) / (B.diagonal()[:, None] * S.diagonal() + C**2)
    ),
    "The middle term is missing: p and q know each other through C.",
)


def _descent(generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    H = torch.linalg.inv(random_inverse(generator, 6))
    keep = torch.rand(3, 6, generator=generator).argsort(1) < 4
    v, w = draw(generator, 3, 6) * keep, draw(generator, 3, 6)
    rho = ((w - v) @ H) * keep
    z = rho / H.diagonal()
    return v, z + 0.3 * draw(generator, 3, 6) * keep, rho, z, H, keep


def cg_step(
    v: Tensor, p: Tensor, rho: Tensor, z: Tensor, H: Tensor, keep: Tensor, sign: float = 1.0
) -> tuple[Tensor, Tensor]:
    q = (p @ H) * keep
    alpha = ((rho * z).sum(1) / (p * q).sum(1))[:, None]
    return v + alpha * p, rho - sign * alpha * q


def _unmasked(v: Tensor, p: Tensor, rho: Tensor, z: Tensor, H: Tensor, keep: Tensor) -> tuple[Tensor, Tensor]:
    return cg_step(v, p, rho, z, H, torch.ones_like(keep))


def _one_alpha(v: Tensor, p: Tensor, rho: Tensor, z: Tensor, H: Tensor, keep: Tensor) -> tuple[Tensor, Tensor]:
    q = (p @ H) * keep
    alpha = (rho * z).sum() / (p * q).sum()
    return v + alpha * p, rho - alpha * q


def _squared(v: Tensor, p: Tensor, rho: Tensor, z: Tensor, H: Tensor, keep: Tensor) -> tuple[Tensor, Tensor]:
    return cg_step(v, p, rho, rho, H, keep)


EXERCISES["cg_step"] = Exercise(
    _descent,
    cg_step,
    _unmasked,
    "The product pH falls on pruned columns too. Set it to zero there, or the residual is another problem's.",
    _one_alpha,
    "You have one α for all rows. Each row is a problem of its own: sum over its columns only.",
    _squared,
    "α has ρ·ρ above. With a preconditioner it is ρ·z.",
    lambda *inputs: cg_step(*inputs, sign=-1.0),
    "The weights are right. The residual shrinks: subtract α(pH)_M.",
)


def _masked_row(generator: torch.Generator) -> tuple[Tensor]:
    return ((torch.rand(3, 4, generator=generator).argsort(1) < 2).flatten(),)


def allowed_swaps(keep: Tensor, group: int = 4) -> Tensor:
    M, P = keep.nonzero().flatten(), (~keep).nonzero().flatten()
    return M[:, None] // group == P // group


EXERCISES["allowed_swaps"] = Exercise(
    _masked_row,
    allowed_swaps,
    lambda keep: torch.ones_like(allowed_swaps(keep)),
    "Any exchange keeps the row's count, but then some group of four has three weights and another one.",
    lambda keep: allowed_swaps(keep, 2),
    "Groups of two: 2:4 chooses among four consecutive weights.",
    lambda keep: allowed_swaps(keep, 8),
    "Your groups have eight weights: that is 4:8.",
    lambda keep: (keep.nonzero() - (~keep).nonzero().flatten()).abs() < 4,
    "Near is not enough: weights 3 and 4 are neighbors and in two groups.",
    lambda keep: keep.nonzero() // 4 == torch.arange((~keep).sum()) // 4,
    "Right for the kept weights. The pruned ones have columns of their own too: divide those by 4.",
)
