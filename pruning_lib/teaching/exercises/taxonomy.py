"""Exercises of notebook 01."""

import copy
import functools

import torch
from torch import Tensor, nn

from pruning_lib.structure import keep_largest, prunable
from pruning_lib.teaching.exercises import given
from pruning_lib.teaching.exercises.exercise import Exercise, Experiment, RuleBroken, draw, whole

EXERCISES: dict[str, Exercise | Experiment] = {}
Scores = dict[str, Tensor]


def top_k(scores: Tensor, k: int) -> Tensor:
    keep = torch.zeros_like(scores, dtype=torch.bool)
    keep[scores.argsort(descending=True, stable=True)[:k]] = True
    return keep


def _drawn_scores(generator: torch.Generator) -> tuple[Scores, int]:
    layers = {"first": (3, 4), "second": (2, 5)}
    drawn = {name: torch.randint(0, 4, shape, generator=generator).double() for name, shape in layers.items()}
    return drawn, whole(generator, 5, 12)


def _flat(scores: Scores) -> Tensor:
    return torch.cat([score.flatten() for score in scores.values()])


def _split(flat: Tensor, scores: Scores) -> Scores:
    parts = flat.split([score.numel() for score in scores.values()])
    return {name: part.view(scores[name].shape) for name, part in zip(scores, parts, strict=True)}


def _keep_k(scores: Scores, k: int) -> Scores:
    return _split(top_k(_flat(scores), k), scores)


def _threshold(scores: Scores, k: int) -> Tensor:
    return _flat(scores).sort(descending=True).values[k - 1]


EXERCISES["keep_k_largest"] = Exercise(
    _drawn_scores,
    _keep_k,
    lambda scores, k: {name: score >= _threshold(scores, k) for name, score in scores.items()},
    "Sometimes more than k stay. Look at an input with several equal scores: which of them does your rule let through?",
    lambda scores, k: {name: score > _threshold(scores, k) for name, score in scores.items()},
    "Sometimes fewer than k stay. Look at an input with several equal scores.",
    lambda scores, k: {name: ~keep for name, keep in _keep_k(scores, k).items()},
    "Your mask is the wrong way round: True means that a weight stays.",
    lambda scores, k: _keep_k({name: -score for name, score in scores.items()}, k),
    "The weights that stay are those with the smallest scores.",
    lambda scores, k: {name: keep.double() for name, keep in _keep_k(scores, k).items()},
    "Right places, wrong kind: a mask is boolean, True where a weight stays.",
    lambda scores, k: _split(top_k(_flat(scores).flip(0), k).flip(0), scores),
    "Of equal scores you keep the last; asked for are the first.",
    lambda scores, k: {
        name: top_k(score.flatten(), round(k * score.numel() / 22)).view(score.shape) for name, score in scores.items()
    },
    "You give every layer the same share. Here all layers compete for the same k places.",
)


def _momentum_step(generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    weight, velocity, gradient = draw(generator, 3, 6)
    keep = torch.rand(6, generator=generator) < 0.6
    keep[0], keep[1] = True, False
    return weight, velocity, gradient, keep


EXERCISES["masked_step"] = Exercise(
    _momentum_step,
    lambda weight, velocity, gradient, keep: (weight - 0.1 * (0.9 * velocity + gradient)) * keep,
    lambda weight, velocity, gradient, keep: weight - 0.1 * (0.9 * velocity + gradient * keep),
    "That is your colleague's step. Follow a pruned weight through it whose velocity was not zero: where does it go?",
    lambda weight, velocity, gradient, keep: weight - 0.1 * (0.9 * velocity + gradient),
    "Now nothing holds the mask at all: pruned weights learn like the others.",
    lambda weight, velocity, gradient, keep: weight - 0.1 * (0.9 * velocity * keep + gradient),
    "You stopped the old velocity; now the new gradient moves the pruned weights.",
    lambda weight, velocity, gradient, keep: weight - 0.1 * (0.9 * velocity + gradient) * keep,
    "Pruned weights no longer move, but the one that was not zero when the mask came stays where it was.",
    lambda weight, velocity, gradient, keep: (weight + 0.1 * (0.9 * velocity + gradient)) * keep,
    "The mask holds, but the weights that stay walk uphill.",
)


Layers = list[tuple[Tensor, Tensor]]


def _three_layers(generator: torch.Generator) -> tuple[Layers, list[int]]:
    shapes = ((6, 4), (6, 6), (3, 6))
    layers = [(draw(generator, *shape), draw(generator, shape[0])) for shape in shapes]
    return layers, [whole(generator, 2, 6), whole(generator, 2, 6)]


def _strongest(W: Tensor, width: int) -> Tensor:
    """The `width` rows of largest L1 norm, the largest first."""
    return W.abs().sum(dim=1).topk(width).indices


def _without_others(layers: Layers, stays: list[Tensor]) -> Layers:
    """Of hidden layer l the neurons `stays[l]`, in this order."""
    rows = [*stays, torch.arange(len(layers[-1][0]))]
    columns = [torch.arange(layers[0][0].shape[1]), *stays]
    return [(W[row][:, column], b[row]) for (W, b), row, column in zip(layers, rows, columns, strict=True)]


def _fewer_neurons(layers: Layers, widths: list[int]) -> Layers:
    norms = zip(layers[:-1], widths, strict=True)
    return _without_others(layers, [_strongest(W, width).sort().values for (W, _), width in norms])


def _one_after_the_other(layers: Layers, widths: list[int]) -> Layers:
    """Each layer's neurons are judged when those before it are gone already."""
    layers = list(layers)
    for i, width in enumerate(widths):
        (W, b), (reads, own) = layers[i : i + 2]
        stays = _strongest(W, width).sort().values
        layers[i : i + 2] = [(W[stays], b[stays]), (reads[:, stays], own)]
    return layers


def _zeroed(layers: Layers, widths: list[int]) -> Layers:
    """Rows of zeros instead of fewer rows; biases stay."""
    stays = [_strongest(W, width) for (W, _), width in zip(layers[:-1], widths, strict=True)]
    kept = [torch.zeros(len(W)).index_fill(0, rows, 1) for (W, _), rows in zip(layers[:-1], stays, strict=True)]
    return [(W * keep[:, None], b) for (W, b), keep in zip(layers[:-1], kept, strict=True)] + layers[-1:]


def _all_biases(layers: Layers, widths: list[int]) -> Layers:
    return [(W, b) for (W, _), (_, b) in zip(_fewer_neurons(layers, widths), layers, strict=True)]


EXERCISES["fewer_neurons"] = Exercise(
    _three_layers,
    _fewer_neurons,
    _all_biases,
    "The matrices are right. Each neuron has one more number, which its layer adds.",
    _zeroed,
    "Rows of zeros are still multiplied, and such a neuron outputs relu(b). Take rows, biases and columns out.",
    lambda layers, widths: _without_others(
        layers,
        [
            (-W.abs().sum(dim=1)).topk(width).indices.sort().values
            for (W, _), width in zip(layers, widths, strict=False)
        ],
    ),
    "The neurons that stay are those of smallest norm.",
    lambda layers, widths: _without_others(
        layers, [_strongest(W, width) for (W, _), width in zip(layers[:-1], widths, strict=True)]
    ),
    "The right neurons, and the same function, but sorted by their norms: leave them in their old order.",
    _one_after_the_other,
    "You measure a row after its inputs have lost columns. Measure every norm in the network as it is given.",
)


@functools.cache
def _trained() -> list[nn.Module]:
    networks = [given.classifier(seed) for seed in range(3)]
    for seed, network in enumerate(networks):
        given.fit(network, 8, seed)
    return networks


def _accuracy_as_cut(masks: Scores, network: nn.Module, images: Tensor, sparsity: float) -> float:
    weights = prunable(network)
    if not isinstance(masks, dict) or set(masks) != set(weights):
        raise RuleBroken(f"Return a mask for each of {', '.join(weights)}.")
    if any(mask.dtype != torch.bool for mask in masks.values()):
        raise RuleBroken("A mask is boolean, True where a weight stays.")
    for name, weight in weights.items():
        if masks[name].shape != weight.shape:
            shapes = tuple(masks[name].shape), tuple(weight.shape)
            raise RuleBroken(f"The mask of {name} has shape {shapes[0]}, must be {shapes[1]} as its weights.")
    kept = sum(int(mask.sum()) for mask in masks.values())
    most = sum(w.numel() for w in weights.values()) * (1 - sparsity)
    if kept > most + 1:
        raise RuleBroken(f"{kept} weights stay, at most {round(most)} may.")
    pruned = copy.deepcopy(network)
    for name, weight in prunable(pruned).items():
        weight.data.mul_(masks[name])
    return given.accuracy(pruned)


def _sizes(network: nn.Module) -> Scores:
    return {name: weight.detach().abs() for name, weight in prunable(network).items()}


def _times_input(network: nn.Module, images: Tensor, measure=Tensor.norm) -> Scores:
    """|w| times a measure of the input that it multiplies."""
    x = images.flatten(1)
    with torch.no_grad():
        hidden = torch.relu(network[1](x))
    inputs = {"1.weight": measure(x, dim=0), "3.weight": measure(hidden, dim=0)}
    return {name: size * inputs[name] for name, size in _sizes(network).items()}


def _through_the_network(network: nn.Module, images: Tensor, sparsity: float) -> Scores:
    """What varies at the input of a weight, times the weight, times what the next layer makes of it."""
    scores = _times_input(network, images, Tensor.std)
    scores["1.weight"] = scores["1.weight"] * network[3].weight.detach().norm(dim=0)[:, None]
    return dict(keep_largest(scores, sparsity))


EXERCISES["masks_only"] = Experiment(
    lambda: [(network, given.digits().train[0], 0.9) for network in _trained()],
    _accuracy_as_cut,
    83.0,
    "accuracy, mean of three networks:",
    "{:.2f} %",
    _through_the_network,
    lambda network, images, sparsity: dict(keep_largest(_sizes(network), sparsity)),
    "Global magnitude. A weight's size is half of what it does: what does it multiply?",
    lambda network, images, sparsity: dict(keep_largest(_sizes(network), sparsity, "layer")),
    "Magnitude, every layer alike. A weight's size is half of what it does: what does it multiply?",
    lambda network, images, sparsity: dict(keep_largest(_times_input(network, images), sparsity)),
    "Size times input, over both layers. What comes after the weight? And is a constant input worth one?",
    lambda network, images, sparsity: dict(keep_largest({n: -size for n, size in _sizes(network).items()}, sparsity)),
    "The smallest weights stay.",
    higher=True,
)
