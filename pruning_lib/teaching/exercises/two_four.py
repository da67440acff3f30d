"""Exercises of notebook 06."""

import torch
from torch import Tensor

from pruning_lib.acceleration.permutation import find_permutation
from pruning_lib.teaching.exercises.exercise import Exercise, Experiment, RuleBroken, draw, uniform, whole
from pruning_lib.teaching.exercises.given import query_layer

EXERCISES: dict[str, Exercise | Experiment] = {}


def _packed_inputs(generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """values (3, 4), indices (3, 4) of 8 columns, x (16, 2): so padded that a step too wide gets a hint, no error."""
    pairs = torch.rand(3, 2, 4, generator=generator).argsort(-1)[..., :2].sort(-1).values
    return draw(generator, 3, 4), pairs.flatten(1), draw(generator, 16, 2)


def _product(values: Tensor, columns: Tensor, x: Tensor) -> Tensor:
    return (values.unsqueeze(-1) * x[columns]).sum(1)


def _starts(indices: Tensor) -> Tensor:
    return 4 * (torch.arange(indices.shape[1]) // 2)


EXERCISES["two_four_multiplexer"] = Exercise(
    _packed_inputs,
    lambda values, indices, x: _product(values, indices + _starts(indices), x),
    lambda values, indices, x: _product(values, indices, x),
    "All your operands come from the first group. An index is a place *within* its group.",
    lambda values, indices, x: _product(values, indices + 4 * torch.arange(indices.shape[1]), x),
    "You go on to the next group after every value. How many values does a group have?",
    lambda values, indices, x: _product(values, indices + 4 * (torch.arange(indices.shape[1]) % 2), x),
    "You go back and forth between two groups. To which group do the values 0, 1, 2, 3 belong?",
    lambda values, indices, x: _product(values, indices + 2 * (torch.arange(indices.shape[1]) // 2), x),
    "Your groups are too narrow: how many columns does one stand for?",
    lambda values, indices, x: x[indices + _starts(indices)].sum(1),
    "You select the right operands and never use the values.",
)


def _products_on_a_gpu(generator: torch.Generator) -> tuple[int, int, int, float, float, float]:
    """m, k, tokens, dense peak, bandwidth, share of the time; tokens on either side of the ridge."""
    m, k = (1024 * whole(generator, 1, 13) for _ in range(2))
    peak = uniform(generator, 1e14, 1e15)
    bandwidth = peak / uniform(generator, 100, 300)
    return m, k, 2 ** whole(generator, 0, 13), peak, bandwidth, uniform(generator, 0.3, 0.95)


def _layer_gain(m, k, tokens, peak, bandwidth, share=1.0, *, packed=0.5625, rest=1.0, faster=2.0) -> float:
    """Dense over 2:4 time by TF-5; of 2:4 the weights take `packed`, inputs and outputs `rest` of dense's bytes."""
    flop, weights, others = 2 * m * k * tokens, 2 * m * k, 2 * (m + k) * tokens
    dense = max(flop / peak, (weights + others) / bandwidth)
    return dense / max(flop / (faster * peak), (packed * weights + rest * others) / bandwidth)


def _amdahl(share: float, gain: float) -> float:
    return 1 / (1 - share + share / gain)


EXERCISES["model_forecast"] = Exercise(
    _products_on_a_gpu,
    lambda *case: _amdahl(case[-1], _layer_gain(*case)),
    lambda *case: 1 - case[-1] + case[-1] * _layer_gain(*case, rest=0.5625),
    "That is your colleague's forecast. Which bytes does 2:4 shrink? And what adds up in a model: speed-ups, or times?",
    lambda *case: _amdahl(case[-1], _layer_gain(*case, rest=0.5625)),
    "One of two bugs is left. At few tokens your bound is too high: which bytes stay as many as before?",
    lambda *case: 1 - case[-1] + case[-1] * _layer_gain(*case),
    "One of two bugs is left. Of 100 ms, 80 go to products that get twice as fast. How many ms are left in all?",
    lambda *case: _layer_gain(*case),
    "That is the gain of the products. The rest of the model takes its time as before.",
    lambda *case: _amdahl(case[-1], _layer_gain(*case, faster=1.0)),
    "At many tokens your products gain nothing. Half of the multiplications are skipped: which peak does 2:4 have?",
    lambda *case: _amdahl(case[-1], _layer_gain(*case, packed=0.5)),
    "Your packed weights are half of the dense bytes. What else is stored beside the values?",
)


def _kept_by(scores: Tensor) -> Tensor:
    """True at the two largest of every four in a row."""
    groups = scores.reshape(len(scores), -1, 4)
    return torch.zeros_like(groups, dtype=torch.bool).scatter_(-1, groups.topk(2).indices, True).view_as(scores)


def _kept_share(order: Tensor, weight: Tensor) -> float:
    """Percent of Σ|w| that 2:4 keeps when the columns are in this order."""
    columns = weight.shape[1]
    if order.shape != (columns,) or sorted(order.tolist()) != list(range(columns)):
        raise RuleBroken(f"Return an order: each number from 0 to {columns - 1} once.")
    sizes = weight[:, order].abs()
    return 100 * (sizes[_kept_by(sizes)].sum() / sizes.sum()).item()


def _by_size(weight: Tensor) -> Tensor:
    return weight.abs().sum(0).argsort(descending=True)


def _luckiest(weight: Tensor, tries: int = 200) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    orders = [torch.randperm(weight.shape[1], generator=generator) for _ in range(tries)]
    return max(orders, key=lambda order: _kept_share(order, weight))


def _shaken(weight: Tensor, rounds: int = 20, columns: int = 24) -> Tensor:
    """Search, mix a few columns of the best order found, search again."""
    generator = torch.Generator().manual_seed(0)
    best = find_permutation(weight)
    for _ in range(rounds):
        order, moved = best.clone(), torch.randperm(len(best), generator=generator)[:columns]
        order[moved] = order[moved[torch.randperm(columns, generator=generator)]]
        found = order[find_permutation(weight[:, order])]
        best = max(best, found, key=lambda each: _kept_share(each, weight))
    return best


EXERCISES["better_order"] = Experiment(
    lambda: [(query_layer(96)[0],)],
    _kept_share,
    76.5,
    "share of Σ|w| kept:",
    "{:.2f} %",
    _shaken,
    lambda weight: torch.arange(weight.shape[1]),
    "The columns stand where they stood.",
    _by_size,
    "Large columns side by side fight each other for two places in each group.",
    lambda weight: _by_size(weight).view(4, -1).T.flatten(),
    "Every group now has a share of large columns. But which weights are large differs from row to row.",
    _luckiest,
    "The luckiest of 200 random orders. Why throw a good order away? Change a little of it.",
    find_permutation,
    "That is the lesson's search: no exchange of two columns helps any more. Where would it end from another start?",
    higher=True,
)
