"""The indices as the hardware reads them: nibbles in words, words in the order of the tensor cores; bytes, exactly.

A group of four has one nibble, idx0 | idx1 << 2. Four nibbles make an int16 word (float16, bfloat16, float32), eight an
int32 word (int8), lowest nibble first. The words of a matrix are then reordered so that each thread of a warp finds its
own in one load: NVIDIA CUTLASS, tools/util/include/cutlass/util/host_reorder.h, stored column-major in pairs.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from pruning_lib.acceleration.packing import check_matrix, pack, unpack

_WORDS = {
    torch.float16: torch.int16,
    torch.bfloat16: torch.int16,
    torch.float32: torch.int16,
    torch.int8: torch.int32,
}
# rows of words that are shuffled together, seen as (part, 8) and turned into (8, part)
_PARTS = {torch.int16: 4, torch.int32: 2}


def words(indices: Tensor, dtype: torch.dtype) -> Tensor:
    """Indices (rows, columns/2) as metadata words in plain order, (rows, columns/16) int16 or (rows, columns/32) int32.

    >>> words(torch.tensor([[0, 1, 0, 2, 1, 2, 2, 3]], dtype=torch.uint8), torch.float16)  # nibbles 0x4 0x8 0x9 0xE
    tensor([[-5756]], dtype=torch.int16)

    that is 0xE984: the first group's nibble is the lowest.
    """
    word = _word_of(dtype)
    size = 2 * word.itemsize * 2  # indices per word
    packed = pack_bits(indices, 2)
    if indices.ndim != 2 or indices.shape[1] % size:
        raise ValueError(
            f"indices has shape {tuple(indices.shape)}, must be (rows, columns/2) with columns a multiple of "
            f"{2 * size}: {size} indices fill one {word} word"
        )
    return packed.view(word).view(len(indices), -1)  # bytes and words both begin with what is lowest


def reorder(plain: Tensor) -> Tensor:
    """Words in plain order → words as tensor cores read them (CUTLASS's reorder_meta); same shape."""
    rows, columns = _check_words(plain)
    part = _PARTS[plain.dtype]
    # row 8·p + q of a bundle becomes row part·q + p; then columns go in pairs, one pair after the other
    pairs = plain.view(rows // (8 * part), part, 8, columns // 2, 2).permute(3, 0, 2, 1, 4)
    # in every 2×2 block of words the corners off the diagonal change places
    return pairs.reshape(-1, 2, 2).transpose(1, 2).reshape(rows, columns).contiguous()


def plain_order(reordered: Tensor) -> Tensor:
    """The inverse of `reorder`."""
    rows, columns = _check_words(reordered)
    part = _PARTS[reordered.dtype]
    pairs = reordered.reshape(-1, 2, 2).transpose(1, 2)
    pairs = pairs.reshape(columns // 2, rows // (8 * part), 8, part, 2)
    return pairs.permute(1, 3, 2, 0, 4).reshape(rows, columns).contiguous()


def compress(dense: Tensor) -> tuple[Tensor, Tensor]:
    """Values and reordered metadata words exactly as CUTLASS has them, and torch's CUTLASS tensors (packed, meta).

    Parameters
    ----------
    dense : Tensor (rows, columns)
        float16, bfloat16 or int8: a 2:4 matrix. float32 (computed as TF32): tensor cores know only 1:2 there, one of
        every two consecutive values, which is stricter; its nibble is that of the pair's four 16-bit halves, 0b0100 for
        the first value and 0b1110 for the second. `pack` takes float32 2:4 as well, as a format without hardware.

    Returns
    -------
    values : Tensor (rows, columns/2)
    metadata : Tensor
        int16 (rows, columns/16), float32 (rows, columns/8); int8: int32 (rows, columns/32).

    Raises
    ------
    ValueError
        As `pack`, a dtype without tensor cores, float32 that is not 1:2, or a shape the words cannot be ordered in:
        rows must be a multiple of 32 (int8: 16), columns of 32 (int8: 64, float32: 16).
    """
    check_matrix(dense)
    word = _word_of(dense.dtype)
    rows, columns = 8 * _PARTS[word], 2 * 8 * word.itemsize // (2 if dense.dtype == torch.float32 else 1)
    if dense.shape[0] % rows or dense.shape[1] % columns:
        raise ValueError(
            f"dense has shape {tuple(dense.shape)}, must have rows a multiple of {rows} and columns of {columns} in "
            f"{dense.dtype}: tensor cores read the metadata in such blocks"
        )
    if dense.dtype == torch.float32:
        first, second = (dense.view(len(dense), -1, 2) != 0).unbind(-1)
        both = first & second
        if both.any():
            row, place = divmod(int(both.int().argmax()), both.shape[1])
            raise ValueError(
                f"dense is float32, for which the hardware knows 1:2 only, and not 1:2: row {row}, columns {2 * place} "
                f"and {2 * place + 1} hold {dense[row, 2 * place : 2 * place + 2].tolist()}, must hold one non-zero"
            )
        keep = (~first).long()
        values = dense.view(len(dense), -1, 2).gather(-1, keep.unsqueeze(-1)).squeeze(-1)
        indices = torch.stack([2 * keep, 2 * keep + 1], -1).flatten(1).to(torch.uint8)
    else:
        values, indices = pack(dense)
    return values, reorder(words(indices, dense.dtype))


def decompress(values: Tensor, metadata: Tensor) -> Tensor:
    """The dense matrix that `compress` made `values` and `metadata` of; ValueError if they do not fit."""
    word = _word_of(values.dtype)
    plain = plain_order(metadata)
    if metadata.dtype != word or len(metadata) != len(values):
        raise ValueError(f"metadata is {metadata.dtype} {tuple(metadata.shape)}, must be {word} with the values' rows")
    indices = (plain.view(torch.uint8).unsqueeze(-1) >> _bit_places(2, values.device) & 3).flatten(1)
    if values.dtype == torch.float32:  # each value is two halves: unpack the halves, and both land together
        return unpack(values.view(torch.float16), indices, 2 * indices.shape[1]).view(torch.float32)
    return unpack(values, indices, 2 * indices.shape[1])


class Size(NamedTuple):
    """Bytes of a matrix dense and packed."""

    dense: int
    values: int
    metadata: int

    @property
    def share(self) -> float:
        """Packed over dense: (b/2 + 1)/b for b bits per value, 0.5625 for 16, 0.625 for 8, 0.75 for 4."""
        return (self.values + self.metadata) / self.dense


def size(dense: Tensor, bits: int | None = None) -> Size:
    """Bytes of a 2:4 matrix dense and packed, counted on the tensors that hold it.

    `bits=4` is for int4 numbers (−8 to 7) held in an int8 tensor: two share a byte. Errors as `pack`.
    """
    if bits not in (None, 4):
        raise ValueError(f"bits is {bits!r}, must be None (the dtype's own) or 4")
    values, indices = pack(dense)
    held = [dense, values]
    if bits == 4:
        if dense.dtype != torch.int8 or dense.min() < -8 or dense.max() > 7:
            raise ValueError(f"dense is {dense.dtype}, must be int8 from -8 to 7 to count as 4-bit numbers")
        held = [pack_bits((tensor & 15).view(torch.uint8), 4) for tensor in held]
    return Size(*(tensor.nbytes for tensor in (*held, pack_bits(indices, 2))))


def pack_bits(codes: Tensor, bits: int) -> Tensor:
    """uint8 numbers below 2^bits (bits 2 or 4) side by side in bytes, the first lowest; flat, filled up with 0."""
    if bits not in (2, 4):
        raise ValueError(f"bits is {bits!r}, must be 2 or 4")
    if not isinstance(codes, Tensor) or codes.dtype != torch.uint8 or (codes >= 2**bits).any():
        raise ValueError(f"codes must be a uint8 tensor of numbers 0 to {2**bits - 1} to take {bits} bits each")
    places = _bit_places(bits, codes.device)
    filled = torch.nn.functional.pad(codes.flatten(), (0, -codes.numel() % len(places)))
    # what is shifted does not overlap, so the sum is the union
    return (filled.view(-1, len(places)) << places).sum(-1, dtype=torch.uint8)


def _bit_places(bits: int, device: torch.device) -> Tensor:
    """Where numbers of so many bits begin in a byte."""
    return torch.arange(0, 8, bits, dtype=torch.uint8, device=device)


def _word_of(dtype: torch.dtype) -> torch.dtype:
    if dtype not in _WORDS:
        raise ValueError(f"dtype is {dtype}, must be one that sparse tensor cores take: {', '.join(map(str, _WORDS))}")
    return _WORDS[dtype]


def _check_words(meta: Tensor) -> tuple[int, int]:
    if meta.ndim != 2 or meta.dtype not in _PARTS:
        raise ValueError(f"metadata is {meta.dtype} {tuple(meta.shape)}, must be an int16 or int32 matrix")
    rows, columns = meta.shape
    bundle = 8 * _PARTS[meta.dtype]
    if rows % bundle or columns % 2 or not meta.numel():
        raise ValueError(
            f"metadata has shape {(rows, columns)}, must have rows a multiple of {bundle} and an even number of "
            "words in each: tensor cores read them in such blocks"
        )
    return rows, columns
