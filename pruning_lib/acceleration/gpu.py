"""2:4 on a GPU that multiplies it: what is needed is checked first, then torch.sparse does the product.

Two backends. CUTLASS keeps values and metadata apart, cuSPARSELt in one tensor. torch's CUTLASS kernels are for GPUs of
compute capability 8.x only (pytorch/pytorch#132928); cuSPARSELt also serves newer ones.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from pruning_lib.acceleration.metadata import compress
from pruning_lib.acceleration.packing import pack
from pruning_lib.checks import check_choice

_AMPERE = (8, 0)
_READ_PAST_FORWARD = (
    nn.TransformerEncoderLayer,
    nn.MultiheadAttention,
)  # their fused paths take the weights themselves


class SizeRule(NamedTuple):
    """Least size of the sparse weight and of the dense operand; each must also be a multiple of it."""

    sparse_rows: int
    sparse_columns: int
    dense_rows: int  # torch pads the dense operand up to these
    dense_columns: int


RULES = {
    "cutlass": {
        torch.float16: SizeRule(32, 64, 8, 8),
        torch.bfloat16: SizeRule(32, 64, 8, 8),
        torch.int8: SizeRule(16, 128, 16, 16),
        torch.float32: SizeRule(32, 32, 4, 4),
    },
    "cusparselt": {
        torch.float16: SizeRule(16, 16, 8, 8),
        torch.bfloat16: SizeRule(16, 16, 8, 8),
        torch.int8: SizeRule(32, 32, 16, 16),
    },
}


def size_rules(dtype: torch.dtype, backend: str) -> SizeRule:
    """The sizes a backend can multiply in `dtype`; ValueError for a dtype it does not take."""
    check_choice("backend", backend, RULES)
    if dtype not in RULES[backend]:
        raise ValueError(f"dtype is {dtype}, must be one of {', '.join(map(str, RULES[backend]))} for {backend}")
    return RULES[backend][dtype]


def require_gpu(backend: str, device: torch.device | str | int | None = None) -> str:
    """The name of the GPU if 2:4 products run on it, else ValueError that says what is missing.

    `torch.backends.cusparselt.is_available()` alone does not tell: it says True without a GPU.
    """
    check_choice("backend", backend, RULES)
    if not torch.cuda.is_available():
        raise ValueError("2:4 products need an NVIDIA GPU of compute capability 8.0 (Ampere) or newer: found no GPU")
    name, capability = torch.cuda.get_device_name(device), torch.cuda.get_device_capability(device)
    found = f"found {name}, {capability[0]}.{capability[1]}"
    if capability < _AMPERE:
        raise ValueError(f"2:4 products need a GPU of compute capability 8.0 (Ampere) or newer: {found}")
    if backend == "cutlass" and capability[0] != 8:
        raise ValueError(f"backend 'cutlass' needs a GPU of compute capability 8.x, newer ones 'cusparselt': {found}")
    if backend == "cusparselt" and not torch.backends.cusparselt.is_available():
        raise ValueError("backend 'cusparselt' needs a torch that was built with cuSPARSELt: this one was not")
    return name


def _check_weight(weight: Tensor, backend: str) -> None:
    """ValueError unless `weight` can be multiplied: dtype, shape, a capable GPU it lies on, and 2:4 (float32: 1:2)."""
    rule = size_rules(weight.dtype, backend)
    if isinstance(weight, torch.sparse.SparseSemiStructuredTensor):
        raise ValueError(f"weight is a {type(weight).__name__}, must be dense: it is packed as 2:4 already")
    if weight.ndim != 2:
        raise ValueError(f"weight has shape {tuple(weight.shape)}, must be a matrix (rows, columns)")
    rows, columns = weight.shape
    if not rows or rows % rule.sparse_rows or not columns or columns % rule.sparse_columns:
        raise ValueError(
            f"weight has shape {(rows, columns)}, must have rows a multiple of {rule.sparse_rows} and columns of "
            f"{rule.sparse_columns} for {backend} in {weight.dtype}"
        )
    if not weight.is_cuda:
        raise ValueError(f"weight is on {weight.device}, must be on a GPU: move it with weight.cuda()")
    require_gpu(backend, weight.device)
    # torch keeps two of every four and drops the rest without a word
    (compress if weight.dtype == torch.float32 else pack)(weight)


def sparse_weight(weight: Tensor, backend: str, algorithm: int = 0) -> Tensor:
    """A 2:4 matrix on a GPU as torch's SparseSemiStructuredTensor, for `F.linear(x, sparse_weight(...))`.

    The backend's class is asked directly: `to_sparse_semi_structured` chooses it by a global flag.

    Parameters
    ----------
    weight : Tensor (rows, columns)
        On a GPU; sizes as `size_rules` says; 2:4, in float32 (CUTLASS, TF32) 1:2.
    backend : "cutlass" | "cusparselt"
    algorithm : cuSPARSELt's number of the kernel, as torch._cslt_sparse_mm_search finds it; CUTLASS has one.

    Raises
    ------
    ValueError
        As `_check_weight`.
    """
    _check_weight(weight, backend)
    weight = weight.detach().contiguous()
    if backend == "cutlass":
        return torch.sparse.SparseSemiStructuredTensorCUTLASS.from_dense(weight)
    return torch.sparse.SparseSemiStructuredTensorCUSPARSELT.from_dense(weight, alg_id=algorithm)


def convert_(model: nn.Module, backend: str, layers: list[str] | None = None) -> dict[str, str]:
    """Replace, in place, the weights of Linear layers by 2:4 ones that the GPU multiplies at double rate.

    For inference: the new weights take no gradient, and a state_dict cannot hold them.

    Parameters
    ----------
    model : nn.Module
        On a GPU; weights pruned to 2:4 already.
    backend : "cutlass" | "cusparselt"
    layers : names of the Linear layers to convert, optional
        Each must be convertible. Left out: all Linear layers that are.

    Returns
    -------
    dict of str to str
        Name → reason, for each Linear layer that stays dense: also subclasses of nn.Linear (a parametrized layer is
        one) and the layers of nn.TransformerEncoderLayer and nn.MultiheadAttention, which read their weights directly.

    Raises
    ------
    ValueError
        If a named layer cannot be converted, or none can, with the reasons; or if a weight to convert is held by a
        mask. The model is unchanged then.
    """
    check_choice("backend", backend, RULES)
    linears = {name: module for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    for name in layers or ():
        if name not in linears:
            raise ValueError(f"layers name {name!r}, which is no Linear layer; the model has {', '.join(linears)}")
    owned = {part for module in model.modules() if isinstance(module, _READ_PAST_FORWARD) for part in module.modules()}
    packed, reasons = {}, {}
    for name, linear in linears.items():
        if layers is not None and name not in layers:
            reasons[name] = "not in layers"
            continue
        # as structure.holding.held, which would bring safetensors along: the GPU benchmark needs torch alone
        if getattr(linear.weight, "held", None) is not None:
            raise ValueError(f"'{name}.weight' is held by a mask: take it off with release(model) before converting")
        try:
            if type(linear) is not nn.Linear or linear in owned or "weight" not in linear._parameters:
                raise ValueError("it is not a plain nn.Linear that its own forward alone reads")
            packed[name] = sparse_weight(linear.weight, backend)
        except ValueError as error:
            if layers is not None:
                raise ValueError(f"layer {name!r} cannot be converted: {error}") from None
            reasons[name] = str(error)
    if not packed:
        told = "; ".join(f"{name!r}: {reason}" for name, reason in reasons.items()) or "it has no Linear layer"
        raise ValueError(f"no layer of the model can be converted to 2:4: {told}")
    for name, weight in packed.items():
        linears[name].weight = nn.Parameter(weight, requires_grad=False)
    return reasons
