"""Exercises of notebook 06."""

import torch
from torch import Tensor

from pruning_lib.teaching.exercises.exercise import Exercise, draw, uniform, whole

EXERCISES: dict[str, Exercise] = {}


def _kept_by(scores: Tensor) -> Tensor:
    """True at the two largest of every four in a row."""
    groups = scores.reshape(len(scores), -1, 4)
    return torch.zeros_like(groups, dtype=torch.bool).scatter_(-1, groups.topk(2).indices, True).view_as(scores)


def _strided(weight: Tensor) -> Tensor:
    """Columns in the order in which four, each a quarter of the row apart, follow each other."""
    return weight.view(len(weight), 4, -1).mT.flatten(1)


MASK = Exercise(  # notebook 01 asks for it too
    lambda generator: (draw(generator, 4, 8),),
    lambda weight: _kept_by(weight.abs()),
    _kept_by,
    "You compare signed values: −9 would go before 1. Take the absolute value first.",
    lambda weight: _kept_by(weight.abs().T).T,
    "Your groups run down the columns, over four outputs. They lie within a row: consecutive inputs of one neuron.",
    lambda weight: _kept_by(_strided(weight.abs())).view(len(weight), -1, 4).mT.flatten(1),
    "Your groups stride through the row, every second column here. A group is four *neighboring* columns.",
    lambda weight: ~_kept_by(weight.abs()),
    "Your mask is True where a weight goes. Here True means that it stays.",
    lambda weight: weight.abs() > weight.abs().median(),
    "You keep half of the whole matrix. The rule holds in every group of four: exactly two stay in each.",
    lambda weight: weight.abs() >= weight.abs().median(),
    "Half of all weights stay, but not two of every four: that is unstructured pruning at 50 %.",
    lambda weight: weight * _kept_by(weight.abs()),
    "You return the pruned weight. Asked for is the mask, True and False.",
)
EXERCISES["two_four_mask"] = MASK


def _two_four_row(generator: torch.Generator) -> tuple[Tensor]:
    """One row with exactly two non-zeros in every four."""
    weight = draw(generator, 1, 16)
    return ((weight * _kept_by(weight.abs()))[0],)


def _places(row: Tensor) -> list[tuple[int, int]]:
    return [tuple(group.nonzero().flatten().tolist()) for group in row.view(-1, 4)]


EXERCISES["two_four_nibbles"] = Exercise(
    _two_four_row,
    lambda row: [low | high << 2 for low, high in _places(row)],
    lambda row: [low << 2 | high for low, high in _places(row)],
    "The halves are swapped: the first index belongs in the lower two bits, the second in the upper two.",
    lambda row: [low | high << 1 for low, high in _places(row)],
    "An index takes two bits: shift the second one by 2. With a shift by 1 the two overlap.",
    lambda row: [1 << low | 1 << high for low, high in _places(row)],
    "That is a bit mask, one bit for each weight. It takes four bits too, but the hardware reads two indices.",
    lambda row: [(3 - high) | (3 - low) << 2 for low, high in _places(row)],
    "You count the places from the right. Index 0 is the first weight of the group.",
)


def _packed_inputs(generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """values (3, 4), indices (3, 4) of 8 columns, x (16, 2): so padded that a step too wide is told, not an error."""
    pairs = torch.rand(3, 2, 4, generator=generator).argsort(-1)[..., :2].sort(-1).values
    return draw(generator, 3, 4), pairs.flatten(1), draw(generator, 16, 2)


def product(values: Tensor, columns: Tensor, x: Tensor) -> Tensor:
    return (values.unsqueeze(-1) * x[columns]).sum(1)


def _starts(indices: Tensor) -> Tensor:
    return 4 * (torch.arange(indices.shape[1]) // 2)


EXERCISES["two_four_multiplexer"] = Exercise(
    _packed_inputs,
    lambda values, indices, x: product(values, indices + _starts(indices), x),
    lambda values, indices, x: product(values, indices, x),
    "All your operands come from the first four rows of x. Value j belongs to group ⌊j/2⌋, which starts at row 4⌊j/2⌋.",
    lambda values, indices, x: product(values, indices + 4 * torch.arange(indices.shape[1]), x),
    "You step four rows for every value. There are two values in each group: step after two.",
    lambda values, indices, x: product(values, indices + 4 * (torch.arange(indices.shape[1]) % 2), x),
    "You go back and forth between two groups (j mod 2). Values 0 and 1 belong to group 0, 2 and 3 to group 1: ⌊j/2⌋.",
    lambda values, indices, x: product(values, indices + 2 * (torch.arange(indices.shape[1]) // 2), x),
    "Your groups are two wide. Two values are stored, but they stand for four columns.",
    lambda values, indices, x: x[indices + _starts(indices)].sum(1),
    "You add the selected operands without their weights: multiply by the values first.",
)


EXERCISES["two_four_shares"] = Exercise(
    lambda generator: (2 ** whole(generator, 2, 6), uniform(generator, 0.3, 0.9)),
    lambda bits, sparsity: ((bits / 2 + 1) / bits, (1 - sparsity) * (bits + 32) / bits),
    lambda bits, sparsity: (0.5, 1 - sparsity),
    "You count the values only. Where they belong has to be stored too.",
    lambda bits, sparsity: ((bits / 2 + 2) / bits, (1 - sparsity) * (bits + 32) / bits),
    "Your 2:4 takes 2 bits more per weight. It is 2 bits per *kept* value, and every second one is kept.",
    lambda bits, sparsity: ((bits / 2 + 1) / bits, (1 - sparsity) * (bits + 2) / bits),
    "2 bits are enough within a group of four. CSR names the column in the whole row, in 32 bits.",
    lambda bits, sparsity: ((bits / 2 + 1) / bits, (1 - sparsity) * (bits + 4) / bits),
    "You mix bytes and bits: a column number takes 4 bytes, that is 32 bits.",
    lambda bits, sparsity: ((bits / 2 + 1) / bits, sparsity * (bits + 32) / bits),
    "Sparsity is the share of zeros. CSR stores the others, 1 − sparsity.",
    lambda bits, sparsity: (bits / 2 + 1, (1 - sparsity) * (bits + 32)),
    "Those are bits per weight. Divide by the dense number's bits to get the share.",
)


def _layers(generator: torch.Generator) -> tuple[int, int, float, float]:
    """width, tokens, peak in TFLOP/s, bandwidth in TB/s: any tokens, or near the ridge, where mistakes show."""
    exponent, any_tokens, coin, near, *speeds = torch.rand(6, generator=generator).tolist()
    width, peak, bandwidth = 1024 * round(2 ** (3 * exponent)), 100 + 400 * speeds[0], 1 + 4 * speeds[1]
    tokens = 2 ** (12 * any_tokens) if coin < 0.3 else (0.8 + 0.6 * near) * peak / bandwidth
    return width, round(tokens), peak, bandwidth


def _least_time(
    width: int, tokens: int, peak: float, bandwidth: float, join=max, share=(1.0, 0.5625), faster=2, size=2, others=2
) -> float:
    """Dense over 2:4; `size` bytes for each number, `others` times width·tokens numbers beside the weights."""
    times = []
    for part, factor in zip(share, (1, faster), strict=True):
        moved = size * (width * width * part + others * width * tokens)
        times.append(join(2 * width * width * tokens / (factor * peak), moved / bandwidth))
    return times[0] / times[1]


EXERCISES["two_four_speed_up"] = Exercise(
    _layers,
    _least_time,
    lambda *layer: _least_time(*layer, join=min),
    "You take the faster of the two. A layer has to compute *and* to move: the slower one is the limit.",
    lambda *layer: _least_time(*layer, join=lambda a, b: a + b),
    "You add both times. While a GPU multiplies it loads the next tile: the roofline takes the maximum.",
    lambda *layer: _least_time(*layer, share=(1.0, 0.5)),
    "You halve the weights' bytes. With the indices they are 0.5625 of dense float16.",
    lambda *layer: _least_time(*layer, others=0),
    "You count the weights only. The inputs are read and the outputs written too, width·tokens numbers each.",
    lambda *layer: _least_time(*layer, size=1),
    "You count one byte for each number. A float16 takes two.",
    lambda *layer: _least_time(*layer, faster=1),
    "Sparse tensor cores have twice the peak: on the 2:4 weight divide the operations by 2·peak.",
    lambda *layer: 1 / _least_time(*layer),
    "That is the time ratio sparse over dense. A speed-up is dense over sparse, above 1.",
)
