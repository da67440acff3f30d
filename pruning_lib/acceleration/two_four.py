"""2:4 sparsity: packed, multiplied, weighed, permuted, and run on a GPU. The parts are in the modules named below."""

# ruff: noqa: F401 - what is imported here is what this module offers

from pruning_lib.acceleration.gpu import RULES, SizeRule, convert_, require_gpu, size_rules, sparse_weight
from pruning_lib.acceleration.metadata import Size, compress, decompress, pack_bits, plain_order, reorder, size, words
from pruning_lib.acceleration.packing import is_two_four, kept_columns, matmul, pack, pair, select, unpack
from pruning_lib.acceleration.permutation import find_orders, find_permutation, permute, permute_channels, permute_model
from pruning_lib.acceleration.roofline import GPUS, Roofline, packed_share, ridge, roofline
from pruning_lib.structure.semi_structured import best_mask, best_masks, kept_magnitude
