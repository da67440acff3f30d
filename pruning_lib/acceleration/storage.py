"""Bytes of a model stored dense, as CSR and as 2:4: of the tensors themselves, and of files written with them."""

import tempfile
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from pruning_lib.acceleration.csr import csr
from pruning_lib.acceleration.metadata import pack_bits
from pruning_lib.acceleration.packing import DTYPES, is_two_four, pack
from pruning_lib.checks import check_seen
from pruning_lib.structure import prunable


class Stored(NamedTuple):
    """Bytes of all tensors together, and of the safetensors file that holds them (a header more)."""

    tensors: int
    file: int


FORMS = ("dense", "csr", "two_four")


def stored(model: nn.Module) -> dict[str, Stored]:
    """Bytes of the model's parameters and buffers in each of `FORMS`; shared tensors count once.

    dense: as they are. csr: each prunable weight (a convolution as the matrix (out, in·kh·kw)) as its non-zeros with
    int32 indices. two_four: each prunable weight that is 2:4 as values and 2-bit indices. Everything else stays dense.
    A form that fits no weight takes the room of the dense one. ValueError for a model that hides its layers, since a
    quantized one hides its weights.
    """
    model = check_seen(model)
    weights = _weights_of(model)
    sizes = {}
    for form in FORMS:
        tensors: dict[str, Tensor] = {}
        for name, tensor in [*model.named_parameters(), *model.named_buffers()]:  # a shared one under its first name
            tensors |= _parts(name, tensor.detach().cpu(), form if name in weights else "dense")
        sizes[form] = Stored(sum(t.nbytes for t in tensors.values()), _file_size(tensors))
    return sizes


def _parts(name: str, tensor: Tensor, form: str) -> dict[str, Tensor]:
    """The tensors that store one tensor in `form`."""
    if form == "csr":
        matrix = csr(tensor.flatten(1))
        kept = {"values": matrix.values(), "columns": matrix.col_indices(), "starts": matrix.crow_indices()}
        return {f"{name}.{key}": part for key, part in kept.items()}
    if form == "two_four" and tensor[0].numel() % 4 == 0 and tensor.dtype in DTYPES and is_two_four(tensor.flatten(1)):
        values, indices = pack(tensor.flatten(1))
        return {f"{name}.values": values, f"{name}.indices": pack_bits(indices, 2)}
    return {name: tensor}


def _file_size(tensors: dict[str, Tensor]) -> int:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tensors.safetensors"
        save_file({name: tensor.clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()}, path)
        return path.stat().st_size


def _weights_of(model: nn.Module) -> set[str]:
    """Names of the prunable weights, none for a model without."""
    try:
        return set(prunable(model))
    except ValueError:
        return set()
