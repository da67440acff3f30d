"""Exercises of notebook 04."""

import torch
from torch import Tensor

from pruning_lib.teaching.exercises.exercise import Exercise, draw, uniform, whole

EXERCISES: dict[str, Exercise] = {}


def random_inverse(generator: torch.Generator, n: int) -> Tensor:
    A = draw(generator, n + 3, n)
    return torch.linalg.inv(A.T @ A / (n + 3) + 0.1 * torch.eye(n, dtype=torch.float64))


def _weights_and_inverse(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    return draw(generator, 6), random_inverse(generator, 6)


EXERCISES["obs_saliency"] = Exercise(
    _weights_and_inverse,
    lambda w, H_inv: w**2 / (2 * H_inv.diagonal()),
    lambda w, H_inv: w**2 / (2 * torch.linalg.inv(H_inv).diagonal()),
    "You divide by the diagonal of H. OBS-5 divides by the diagonal of the inverse.",
    lambda w, H_inv: torch.linalg.inv(H_inv).diagonal() * w**2 / 2,
    "That is OBD's saliency, which takes H for diagonal: 1/[H⁻¹]_qq is not H_qq.",
    lambda w, H_inv: w**2 * H_inv.diagonal() / 2,
    "You multiply by [H⁻¹]_qq: a weight on which the error depends strongly has a *small* one. Divide.",
    lambda w, H_inv: w**2 / (2 * H_inv.diagonal() ** 2),
    "Your diagonal is squared. It enters OBS-5 once.",
    lambda w, H_inv: w**2 / H_inv.diagonal(),
    "The order is right, the value twice too large: the factor ½ of OBS-1 is missing.",
    lambda w, H_inv: w**2 / (2 * H_inv),
    "You divide by the whole matrix. Each weight needs its own diagonal entry: H_inv.diagonal().",
)


def surgery(w: Tensor, H_inv: Tensor, q: int) -> Tensor:
    return w - w[q] / H_inv[q, q] * H_inv[:, q]


EXERCISES["obs_surgery"] = Exercise(
    lambda generator: (*_weights_and_inverse(generator), whole(generator, 0, 6)),
    surgery,
    lambda w, H_inv, q: w * (torch.arange(6) != q),
    "Weight q is gone, but the others did not move: that is what OBD and magnitude do.",
    lambda w, H_inv, q: w + w[q] / H_inv[q, q] * H_inv[:, q],
    "Your weight q doubles: the sign is wrong. The constraint is δw_q = −w_q.",
    lambda w, H_inv, q: w - w[q] * H_inv[:, q],
    "Divide by [H⁻¹]_qq: without it weight q does not become zero.",
    lambda w, H_inv, q: w - w[q] / H_inv.diagonal() * H_inv[:, q],
    "You divide entry by entry by the whole diagonal. Only [H⁻¹]_qq belongs there, a number.",
    lambda w, H_inv, q: surgery(w, torch.linalg.inv(H_inv), q),
    "You use H's column. The readjustment is along H⁻¹e_q, a column of the *inverse*.",
    lambda w, H_inv, q: -w[q] / H_inv[q, q] * H_inv[:, q],
    "That is δw, the change. Return the new weights, w + δw.",
)


def add_row(H_inv: Tensor, x: Tensor, samples: int) -> Tensor:
    column = H_inv @ x
    return H_inv - torch.outer(column, column) / (samples + x @ column)


EXERCISES["add_row"] = Exercise(
    lambda generator: (random_inverse(generator, 5), draw(generator, 5), whole(generator, 2, 50)),
    add_row,
    lambda H_inv, x, samples: H_inv - torch.outer(H_inv @ x, H_inv @ x) / (1 + x @ H_inv @ x),
    "With 1 in the denominator it is the Hessian of the summed error. For the mean over P samples it is P.",
    lambda H_inv, x, samples: H_inv + torch.outer(H_inv @ x, H_inv @ x) / (samples + x @ H_inv @ x),
    "Your inverse grows. More data make H larger and its inverse smaller: subtract.",
    lambda H_inv, x, samples: H_inv - torch.outer(x, x) / (samples + x @ H_inv @ x),
    "The numerator is H⁻¹x xᵀH⁻¹, not x xᵀ.",
    lambda H_inv, x, samples: H_inv - (H_inv @ x) @ (H_inv @ x) / (samples + x @ H_inv @ x),
    "Your numerator is a number, the inner product. It must be the outer product, a matrix (torch.outer).",
    lambda H_inv, x, samples: H_inv - torch.outer(H_inv @ x, H_inv @ x) / samples,
    "xᵀH⁻¹x is missing in the denominator: P + xᵀH⁻¹x.",
    lambda H_inv, x, samples: H_inv + torch.outer(x, x) / samples,
    "That is the recursion OBS-10, for H. Here the *inverse* is to follow (OBS-12).",
)


EXERCISES["cubic_schedule"] = Exercise(
    lambda generator: (uniform(generator, 0.5, 0.99), whole(generator, 3, 9)),
    lambda final, rounds: [final * (1 - (1 - t / rounds) ** 3) for t in range(1, rounds + 1)],
    lambda final, rounds: [final * (1 - (1 - t / rounds) ** 3) for t in range(rounds)],
    "Your first round prunes nothing and the last does not reach the final sparsity: t runs from 1 to T.",
    lambda final, rounds: [final * t / rounds for t in range(1, rounds + 1)],
    "Equal steps. The cubic schedule takes much at first, when there is much to spare, and little at the end.",
    lambda final, rounds: [final * (t / rounds) ** 3 for t in range(1, rounds + 1)],
    "Your curve is upside down: slow at first and fast at the end, where it hurts most.",
    lambda final, rounds: [1 - final * (1 - (1 - t / rounds) ** 3) for t in range(1, rounds + 1)],
    "You return the share that is kept. Sparsity is the share of zeros.",
    lambda final, rounds: [1 - (1 - final) ** (t / rounds) for t in range(1, rounds + 1)],
    "That is the iterative schedule, the same share of what is left each round. Gradual is the cubic one.",
    lambda final, rounds: [final * (1 - (1 - t / rounds) ** 3) for t in range(rounds + 1)],
    "Your list has one entry too many, the sparsity 0 before the first round: t runs from 1 to T.",
)
