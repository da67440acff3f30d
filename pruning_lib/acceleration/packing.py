"""2:4 packed and multiplied: of every four weights two values and two 2-bit indices that steer a multiplexer.

A 2:4 matrix (rows, columns) has at most two non-zeros in every four consecutive values of a row. What is stored is
`values` (rows, columns/2) and for each value its place in its group of four, `indices` (rows, columns/2), 0 to 3.
Source: Mishra et al. 2021, "Accelerating Sparse Deep Neural Networks".
"""

import torch
from torch import Tensor

DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int8)
_ACCUMULATE = {torch.float16: torch.float32, torch.bfloat16: torch.float32, torch.int8: torch.int32}
OPERANDS = 1 << 22  # how many selected operands `matmul` holds at a time


def pair(pattern: int) -> tuple[int, int]:
    """The two places stored for a group whose bit i says that value i is not zero, for at most two non-zeros.

    A group with fewer is filled up with zeros: the hardware always multiplies two. Which zeros is CUTLASS's choice, so
    that one encoder serves 1:2 as well: nothing or the last half alone → (2, 3), 0 alone → (0, 2), 1 alone → (1, 2).
    """
    first, second, _, last = (bool(pattern >> place & 1) for place in range(4))
    low = 0 if first else 1 if second else 2
    if first and second:
        return low, 1
    return low, 3 if last or not (first or second) else 2


_PAIRS = torch.tensor([pair(pattern) for pattern in range(16)], dtype=torch.uint8)
_COUNTS = torch.tensor([pattern.bit_count() for pattern in range(16)], dtype=torch.uint8)


def pack(dense: Tensor) -> tuple[Tensor, Tensor]:
    """Pack a 2:4 matrix into its kept values and their 2-bit indices.

    Parameters
    ----------
    dense : Tensor (rows, columns)
        float64, float32, float16, bfloat16 or int8; columns a multiple of 4; of a convolution `weight.flatten(1)`.
        −0 counts as zero.

    Returns
    -------
    values : Tensor (rows, columns/2), dtype of `dense`
    indices : Tensor (rows, columns/2), uint8
        0 to 3, rising within a group. Column of value j of a row: 4·⌊j/2⌋ + indices[j].

    Raises
    ------
    ValueError
        Wrong type, shape or dtype, or a group with more than two non-zeros, with row and columns of the first one:
        torch's own conversion cuts such a group down without a word.
    """
    check_matrix(dense)
    patterns = _group_patterns(dense).int()
    over = _COUNTS.to(dense.device).index_select(0, patterns) > 2
    if over.any():
        row, group = divmod(int(over.int().argmax()), dense.shape[1] // 4)
        start = 4 * group
        raise ValueError(
            f"dense is not 2:4: row {row}, columns {start} to {start + 3} hold "
            f"{dense[row, start : start + 4].tolist()}, must hold at most two non-zeros"
        )
    indices = _PAIRS.to(dense.device).index_select(0, patterns)  # (groups, 2)
    (low, high), (w0, w1, w2, w3) = indices.unbind(1), dense.reshape(-1, 4).unbind(1)
    # three ways to choose from, not four, since low < high; faster than a gather, which wants 64-bit indices
    first = torch.where(low == 0, w0, torch.where(low == 1, w1, w2))
    second = torch.where(high == 1, w1, torch.where(high == 2, w2, w3))
    return torch.stack([first, second], 1).view(len(dense), -1), indices.view(len(dense), -1)


def is_two_four(dense: Tensor) -> bool:
    """Whether `pack` would take this matrix's pattern: at most two non-zeros in every four; errors as `pack`."""
    check_matrix(dense)
    return not bool((_COUNTS.to(dense.device).index_select(0, _group_patterns(dense).int()) > 2).any())


def unpack(values: Tensor, indices: Tensor, columns: int) -> Tensor:
    """The dense matrix (rows, columns) that `pack` made `values` and `indices` of; ValueError if they do not fit."""
    _check_packed(values, indices, columns)
    dense = values.new_zeros(len(values), columns)
    return dense.scatter_(1, kept_columns(indices), values)


def kept_columns(indices: Tensor) -> Tensor:
    """The dense column of every kept value: 4·⌊j/2⌋ + indices[:, j], (rows, columns/2), int64."""
    starts = 4 * (torch.arange(indices.shape[1], device=indices.device) // 2)
    return starts + indices.long()


def select(indices: Tensor, x: Tensor) -> Tensor:
    """What the multiplexers let through: row 4·⌊j/2⌋ + indices[r, j] of `x` for every kept value.

    indices (rows, columns/2), x (columns, n) → (rows, columns/2, n); ValueError if x has not `columns` rows.
    """
    if len(x) != 2 * indices.shape[1]:
        raise ValueError(f"x has {len(x)} rows, must have {2 * indices.shape[1]}: two for each index of a row")
    return x[kept_columns(indices)]


def matmul(values: Tensor, indices: Tensor, x: Tensor) -> Tensor:
    """W x from the packed W, as the hardware does it: half the products, and each index picks its operand.

    y[r, n] = Σ_j values[r, j] · x[4·⌊j/2⌋ + indices[r, j], n],  j over columns/2 instead of columns

    Parameters
    ----------
    values, indices : Tensor (rows, columns/2)
        As `pack` returns them.
    x : Tensor (columns, n)
        Of the values' dtype.

    Returns
    -------
    Tensor (rows, n)
        Sums are float32 for float16 and bfloat16, then rounded; int8 gives int32, as in tensor cores.

    Raises
    ------
    ValueError
        If shapes or dtypes do not fit.
    """
    if not isinstance(x, Tensor) or x.ndim != 2 or x.dtype != values.dtype:
        kind = f"{x.dtype} {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
        raise ValueError(f"x is {kind}, must be a {values.dtype} matrix (columns, n)")
    _check_packed(values, indices, len(x))
    wide = _ACCUMULATE.get(x.dtype, x.dtype)
    at_once = max(1, OPERANDS // max(1, values.shape[1] * x.shape[1]))  # rows whose operands fit
    parts = [
        (v.to(wide).unsqueeze(-1) * select(i, x).to(wide)).sum(1, dtype=wide)
        for v, i in zip(values.split(at_once), indices.split(at_once), strict=True)
    ]
    product = torch.cat(parts)
    return product if wide is torch.int32 else product.to(x.dtype)


def _group_patterns(dense: Tensor) -> Tensor:
    """Bit i of a group's number says that its value i is not zero; (groups,), uint8, 0 to 15."""
    nonzero = (dense.reshape(-1, 4) != 0).view(torch.uint8)
    return nonzero[:, 0] | nonzero[:, 1] << 1 | nonzero[:, 2] << 2 | nonzero[:, 3] << 3


def check_matrix(dense: Tensor) -> None:
    if not isinstance(dense, Tensor) or dense.layout != torch.strided or dense.dtype not in DTYPES:
        kind = f"{dense.dtype}, {dense.layout}" if isinstance(dense, Tensor) else type(dense).__name__
        raise ValueError(f"dense is {kind}, must be a dense tensor of {', '.join(map(str, DTYPES))}")
    if dense.ndim != 2 or not dense.numel():
        raise ValueError(
            f"dense has shape {tuple(dense.shape)}, must be a matrix (rows, columns); "
            "of a convolution, weight.flatten(1)"
        )
    if dense.shape[1] % 4:
        raise ValueError(f"dense has {dense.shape[1]} columns, must be a multiple of 4")


def _check_packed(values: Tensor, indices: Tensor, columns: int) -> None:
    for name, tensor in (("values", values), ("indices", indices)):
        kind = tuple(tensor.shape) if isinstance(tensor, Tensor) else type(tensor).__name__
        if kind == () or kind != (len(values), columns // 2) or columns % 4 or not tensor.numel():
            raise ValueError(
                f"{name} is {kind}, must be (rows, columns/2) with columns = {columns}, a multiple of 4 above 0"
            )
    if indices.dtype != torch.uint8 or indices.max() > 3 or not (indices[:, ::2] < indices[:, 1::2]).all():
        raise ValueError("indices must be uint8, 0 to 3, and rise within each group of four, as pack returns them")
