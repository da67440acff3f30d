"""Exercises of notebooks 06 and 06b."""

import torch
from torch import Tensor

from pruning_lib.acceleration.permutation import find_permutation
from pruning_lib.teaching.exercises.exercise import Exercise, Experiment, RuleBroken, draw, uniform, whole
from pruning_lib.teaching.exercises.given import query_inputs

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


def _cut_layers(generator: torch.Generator) -> tuple[int, int, int, float, int]:
    """rows, columns, taken, sparsity, bits; few and short rows, so that where they start counts."""
    rows, columns = (whole(generator, 8, 64) for _ in range(2))
    taken, sparsity = whole(generator, 1, rows // 2), uniform(generator, 0.55, 0.95)
    return rows, columns, taken, sparsity, 8 * 2 ** whole(generator, 0, 3)


def _seventh_form(rows, columns, taken, sparsity, bits, *, address=32, starts=None, of=None, done=None) -> tuple:
    """Shares of dense: non-zeros, bytes, MACs; of `of` weights, with `starts` row starts, `done` of the MACs."""
    left = (rows - taken) * columns * (1 - sparsity)
    starts = rows - taken + 1 if starts is None else starts
    dense = rows * columns if of is None else of
    size = left * (bits + address) + 32 * starts
    share = left / dense
    return share, size / (dense * bits), share if done is None else done


EXERCISES["seventh_form"] = Exercise(
    _cut_layers,
    _seventh_form,
    lambda *case: _seventh_form(*case, address=0),
    "Your bytes are those of the values and row starts. Where does the file say in which column a value belongs?",
    lambda *case: _seventh_form(*case, starts=0),
    "These rows are short: where does each of them start in the list of values?",
    lambda *case: _seventh_form(*case, starts=case[0] + 1),
    "Your format says where every row starts, also of those that were taken out.",
    lambda *case: _seventh_form(*case, starts=case[0] - case[2]),
    "One number is missing: the last row must also say where it ends.",
    lambda *case: _seventh_form(*case, done=1 - case[2] / case[0]),
    "Your MACs are those of a dense product of the rows that are left. Which products does CSR skip?",
    lambda *case: _seventh_form(*case, done=1),
    "You count all MACs of the dense layer. Which of them does CSR, of which are rows left?",
    lambda *case: _seventh_form(*case, of=(case[0] - case[2]) * case[1]),
    "Your shares are of the smaller layer. Asked are shares of the dense one, before rows were taken out.",
    lambda rows, columns, taken, sparsity, bits: _seventh_form(rows, columns, taken, 1 - sparsity, bits),
    "You take sparsity for the share that is left.",
    lambda rows, columns, taken, sparsity, bits: _seventh_form(rows, columns, rows - taken, sparsity, bits),
    "You keep the rows that were taken out.",
)


def _timed_rounds(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Seconds of both forms by round, an odd number after the first; load comes and goes, the first round sets up."""
    rounds = 2 * whole(generator, 3, 6)
    load = 1 + 3 * torch.rand(rounds, generator=generator, dtype=torch.float64) ** 2
    load[0] = 8.0
    both = load * (1 + 0.1 * torch.rand(2, rounds, generator=generator, dtype=torch.float64))
    return both[0], uniform(generator, 0.7, 1.3) * both[1]


def _middle(values: Tensor) -> float:
    return float(values.median())


EXERCISES["fair_speed"] = Exercise(
    _timed_rounds,
    lambda dense, other: _middle(dense[1:] / other[1:]),
    lambda dense, other: float(dense.mean() / other.min()),
    "That is your colleague's number. What would it say of a layer that is timed against itself?",
    lambda dense, other: float(dense[1:].mean() / other[1:].min()),
    "The set-up is gone. But one form is judged by its mean, the other by its luckiest round.",
    lambda dense, other: float(dense.mean() / other.mean()),
    "Both are treated alike now. The first round still counts, and so do the busiest most.",
    lambda dense, other: float(dense[1:].mean() / other[1:].mean()),
    "Alike, and without set-up. But in a mean the busiest rounds decide. Divide first, round by round.",
    lambda dense, other: _middle(dense / other),
    "Paired, and the median. What does the first round hold besides the product?",
    lambda dense, other: _middle(dense[1:]) / _middle(other[1:]),
    "The two medians may come from different rounds, one busy and one calm. Divide within a round.",
    lambda dense, other: float(dense[1:].min() / other[1:].min()),
    "Two lucky rounds. Asked is the median over all rounds after the first.",
    lambda dense, other: _middle(other[1:] / dense[1:]),
    "Upside down: how many times as *fast* is the other form?",
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


def _lost(weight: Tensor, order: Tensor) -> Tensor:
    """What 2:4 by magnitude takes away, with the columns in `order`."""
    moved = weight[:, order]
    return moved * ~_kept_by(moved.abs())


def _output_error(weight: Tensor, order: Tensor, x: Tensor) -> float:
    """What the lost weights put out, as a share of all outputs."""
    return float((x[:, order] @ _lost(weight, order).T).square().sum() / (x @ weight.T).square().sum())


def _layer_and_inputs(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """weight (5, 8) and x (24, 8): inputs of unlike size that go together, so that both count."""
    sizes = 0.3 + 2 * torch.rand(8, generator=generator, dtype=torch.float64)
    return draw(generator, 5, 8), (draw(generator, 24, 8) + draw(generator, 24, 1)) * sizes


def _by_inputs(weight: Tensor, x: Tensor) -> Tensor:
    return _kept_by(weight.abs() * x.norm(dim=0))


def _refitted(weight: Tensor, x: Tensor, keep: Tensor) -> Tensor:
    """Each row by least squares on what it keeps."""
    moved = torch.zeros_like(weight)
    for row, mask in enumerate(keep):
        moved[row, mask] = torch.linalg.lstsq(x[:, mask], x @ weight[row, :, None]).solution[:, 0]
    return moved


def _one_by_one(weight: Tensor, x: Tensor) -> Tensor:
    """Each kept weight fitted as if it were the only one."""
    return (x @ weight.T).T @ x / x.square().sum(0) * _kept_by(weight.abs())


def _row_by_a_factor(weight: Tensor, x: Tensor) -> Tensor:
    kept = weight * _kept_by(weight.abs())
    wanted, had = x @ weight.T, x @ kept.T
    return kept * ((wanted * had).sum(0) / had.square().sum(0))[:, None]


EXERCISES["two_four_refit"] = Exercise(
    _layer_and_inputs,
    lambda weight, x: _refitted(weight, x, _kept_by(weight.abs())),
    lambda weight, x: weight * _kept_by(weight.abs()),
    "That is plain magnitude: what stays did not move. (A fit to the *pruned* layer's outputs ends here, too.)",
    lambda weight, x: weight * _by_inputs(weight, x),
    "You changed the choice and moved nothing: SparseGPT's other half. Here the choice must be magnitude's.",
    lambda weight, x: _refitted(weight, x, _by_inputs(weight, x)),
    "You changed the choice *and* moved what stays: then nobody knows which of the two helped.",
    lambda weight, x: weight.clone(),
    "Nothing went: a fit that may use all weights gives the dense layer back.",
    _one_by_one,
    "You fit each weight as if it were alone. Inputs go together: fit the kept weights of a row jointly.",
    _row_by_a_factor,
    "One factor for a row is too little: each kept weight may move on its own.",
)


def _error_of_order(order: Tensor, weight: Tensor, x: Tensor) -> float:
    """Percent of the outputs' sum of squares that 2:4 by magnitude gets wrong when the columns are in this order."""
    columns = weight.shape[1]
    if order.shape != (columns,) or sorted(order.tolist()) != list(range(columns)):
        raise RuleBroken(f"Return an order: each number from 0 to {columns - 1} once.")
    return 100 * _output_error(weight, order, x)


def _by_size(weight: Tensor, x: Tensor) -> Tensor:
    return weight.abs().sum(0).argsort(descending=True)


def _luckiest(weight: Tensor, x: Tensor, tries: int = 200) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    orders = [torch.randperm(weight.shape[1], generator=generator) for _ in range(tries)]
    return min(orders, key=lambda order: _error_of_order(order, weight, x))


def _by_swaps(weight: Tensor, x: Tensor, tries: int = 1500) -> Tensor:
    """From the order that keeps most magnitude, random swaps that lower the error on `x`."""
    generator, gram = torch.Generator().manual_seed(0), x.T @ x
    best, least = find_permutation(weight), float("inf")
    for number in range(tries):
        order = best.clone()
        if number:
            two = torch.randint(len(order), (2,), generator=generator)
            order[two] = order[two.flip(0)]
        lost = _lost(weight, order)
        error = float((lost @ gram[order][:, order] * lost).sum())
        if error < 0.99999 * least:  # a swap within a group changes nothing but rounding
            best, least = order, error
    return best


EXERCISES["better_order"] = Experiment(
    lambda: [query_inputs(96)],
    _error_of_order,
    4.0,
    "error of the outputs:",
    "{:.2f} %",
    _by_swaps,
    lambda weight, x: torch.arange(weight.shape[1]),
    "The columns stand where they stood.",
    _by_size,
    "Large columns side by side fight each other for two places in each group.",
    lambda weight, x: _by_size(weight, x).view(4, -1).T.flatten(),
    "Every group now has a share of large columns. But which weights are large differs from row to row.",
    _luckiest,
    "The luckiest of 200 random orders. Why throw a good order away? Change a little of it.",
    lambda weight, x: find_permutation(weight),
    "That is the lesson's search: it keeps much magnitude, and never looks at the inputs. Judge a swap by its error.",
    lambda weight, x: find_permutation(weight * x.norm(dim=0)),
    "You know how large each input is. But errors of two columns add up or cancel, as their inputs go together.",
)
