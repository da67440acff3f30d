"""The small layers that the SparseGPT stepper takes: an example, and what is refused."""

import torch
from torch import Tensor

FORMS = ("exact", "synchronized", "cholesky")
VIEWS = ("steps", "blocks", "layer")
SAFE = 1e-3  # a Cholesky pivot below this share of its diagonal entry is refused, as in sparsegpt_layer.js
_MOST_ROWS, _MOST_COLUMNS = 8, 10  # more numbers than that nobody reads


def example(seed: int = 7) -> tuple[Tensor, Tensor]:
    """A layer W (6, 8) and H = XXᵀ (8, 8) of inputs with variance 1 that share three causes, rounded for reading.

    Seed 7 is an ordinary case: near the median errors of seeds 0 to 59; in 50 of those the exact form has the smaller.
    """
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(6, 8, generator=generator, dtype=torch.float64).round(decimals=1)
    weight[weight == 0] = 0.1
    causes = torch.randn(8, 3, generator=generator, dtype=torch.float64)
    covariance = causes @ causes.T + 0.6 * torch.eye(8, dtype=torch.float64)
    scale = covariance.diagonal().sqrt()
    return weight, (covariance / torch.outer(scale, scale)).round(decimals=2)


def check_layer(weight: Tensor, hessian: Tensor) -> None:
    """ValueError unless the layer can be drawn and pruned: sizes, finite numbers, W ≠ 0, H symmetric and invertible."""
    if weight.ndim != 2 or not (1 <= weight.shape[0] <= _MOST_ROWS and 2 <= weight.shape[1] <= _MOST_COLUMNS):
        shape = tuple(weight.shape)
        raise ValueError(f"weight has shape {shape}, must be (1 to {_MOST_ROWS}, 2 to {_MOST_COLUMNS}): all is drawn")
    columns = weight.shape[1]
    if hessian.shape != (columns, columns):
        raise ValueError(f"hessian has shape {tuple(hessian.shape)}, must be {(columns, columns)}")
    for name, tensor in (("weight", weight), ("hessian", hessian)):
        if not torch.isfinite(tensor).all():
            raise ValueError(f"{name} contains values that are not finite, must be finite")
    if not weight.any():
        raise ValueError("weight is 0 everywhere, must not be: a layer that outputs nothing has no error to compare")
    factor, failed = torch.linalg.cholesky_ex(hessian.double())
    symmetric = torch.allclose(hessian, hessian.T)
    if not symmetric or failed or (factor.diagonal() ** 2 < SAFE * hessian.double().diagonal()).any():
        raise ValueError(
            f"hessian is not symmetric and positive definite with pivots of at least {SAFE} of its diagonal, must be: "
            "add damping to its diagonal before"
        )
