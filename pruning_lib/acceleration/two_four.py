"""2:4 sparsity: packed, multiplied, weighed, permuted, and run on a GPU. The parts are in the modules named below."""

from pruning_lib.acceleration.gpu import RULES, SizeRule, convert_, require_gpu, size_rules, sparse_weight
from pruning_lib.acceleration.metadata import Size, compress, decompress, pack_bits, plain_order, reorder, size, words
from pruning_lib.acceleration.packing import is_two_four, kept_columns, matmul, pack, pair, select, unpack
from pruning_lib.acceleration.permutation import find_permutation, permute, permute_model
from pruning_lib.acceleration.roofline import GPUS, Roofline, packed_share, ridge, roofline
from pruning_lib.structure.semi_structured import best_mask, best_masks, kept_magnitude

__all__ = [
    "GPUS",
    "RULES",
    "Roofline",
    "Size",
    "SizeRule",
    "best_mask",
    "best_masks",
    "compress",
    "convert_",
    "decompress",
    "find_permutation",
    "is_two_four",
    "kept_columns",
    "kept_magnitude",
    "matmul",
    "pack",
    "pack_bits",
    "packed_share",
    "pair",
    "permute",
    "permute_model",
    "plain_order",
    "reorder",
    "require_gpu",
    "ridge",
    "roofline",
    "select",
    "size",
    "size_rules",
    "sparse_weight",
    "unpack",
    "words",
]
