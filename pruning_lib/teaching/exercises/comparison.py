"""Exercises of notebook 07."""

import math
import statistics
from collections.abc import Callable

import torch
from scipy.special import stdtrit
from torch import nn

from pruning_lib.after_training import magnitude
from pruning_lib.structure import Masks, prunable
from pruning_lib.structure.selection import largest
from pruning_lib.teaching.exercises import given
from pruning_lib.teaching.exercises.exercise import Exercise, Experiment, RuleBroken, uniform, whole

EXERCISES: dict[str, Exercise | Experiment] = {}


def _accuracies(generator: torch.Generator) -> tuple[list[float], list[float], float]:
    """Of two methods over the same 3 to 5 seeds, which move both, and Student's t for as many."""
    n = whole(generator, 3, 6)
    seeds, noise, more = 3 * torch.randn(n, generator=generator), torch.randn(2, n, generator=generator) / 2, 1.5
    one, other = (95 + more + seeds + noise[0]).tolist(), (95 + seeds + noise[1]).tolist()
    return one, other, float(stdtrit(n - 1, 0.975))


def _interval(differences: list[float], t: float, deviation=statistics.stdev, root: bool = True) -> tuple[float, float]:
    mean, n = statistics.fmean(differences), len(differences)
    half = t * deviation(differences) / (math.sqrt(n) if root else 1)
    return mean - half, mean + half


def _pairs(one: list[float], other: list[float]) -> list[float]:
    return [a - b for a, b in zip(one, other, strict=True)]


def _unpaired(one: list[float], other: list[float], t: float) -> tuple[float, float]:
    mean = statistics.fmean(one) - statistics.fmean(other)
    half = t * math.sqrt((statistics.variance(one) + statistics.variance(other)) / len(one))
    return mean - half, mean + half


EXERCISES["paired_interval"] = Exercise(
    _accuracies,
    lambda one, other, t: _interval(_pairs(one, other), t),
    _unpaired,
    "You compare two clouds. Seed 2 was a bad start for both methods: use that you know it.",
    lambda one, other, t: _interval(_pairs(one, other), t, statistics.pstdev),
    "A little too narrow: the mean was fitted to the same few numbers.",
    lambda one, other, t: _interval(_pairs(one, other), t, root=False),
    "Single differences lie there. Asked for is where their *mean* lies.",
    lambda one, other, t: _interval(_pairs(one, other), 1.96),
    "1.96 is for many seeds. With three the deviation itself is unsure, and `t` says by how much.",
    lambda one, other, t: _interval(_pairs(other, one), t),
    "The sign is turned: asked for is what `one` has more than `other`.",
)


def _epochs(generator: torch.Generator) -> tuple[list[float], list[float]]:
    """Accuracy after each epoch on held-out training images, and on the test images, in whole images of 200."""
    accuracies = 90 + torch.randint(0, 12, (2, 9), generator=generator) / 2
    return accuracies[0].tolist(), accuracies[1].tolist()


def _argmax(values: list[float]) -> int:
    return max(range(len(values)), key=values.__getitem__)


EXERCISES["reported_accuracy"] = Exercise(
    _epochs,
    lambda held_out, test: test[_argmax(held_out)],
    lambda held_out, test: max(test),
    "That is your colleague's number. Which images decided at which epoch to stop?",
    lambda held_out, test: max(held_out),
    "The best of nine on the images that chose it: the same flattery, with other images.",
    lambda held_out, test: test[-1],
    "An honest number, but nobody chose an epoch. Which images may choose?",
    lambda held_out, test: test[len(held_out) - 1 - _argmax(held_out[::-1])],
    "Right but for ties: of equal epochs take the first.",
    lambda held_out, test: statistics.fmean(test),
    "The mean over the epochs is no network's accuracy.",
)


Candidates = list[tuple[list[float], float]]  # accuracies over the seeds, milliseconds


def _candidates(generator: torch.Generator) -> tuple[list[float], Candidates, float, float]:
    """The dense network's accuracies, those of pruned ones with the same seeds, what may be lost, and Student's t."""
    n, allowed = whole(generator, 3, 6), 0.5
    dense = 97 + torch.randn(n, generator=generator)
    found = []
    for place in range(9):  # the more a network loses, the faster it is; the first surely loses little
        lost, spread = 0.1 + 0.12 * place, 0.02 if place == 0 else uniform(generator, 0.05, 0.35)
        accuracies = dense - lost + spread * torch.randn(n, generator=generator)
        found.append((accuracies.tolist(), 8 - 0.7 * place + uniform(generator, -0.3, 0.3)))
    order = torch.randperm(len(found), generator=generator).tolist()
    return dense.tolist(), [found[i] for i in order], allowed, float(stdtrit(n - 1, 0.975))


def _fastest(candidates: Candidates, keep: Callable[[list[float]], bool]) -> int:
    """The place of the fastest that may be kept; -1 if none may."""
    able = [i for i, (accuracies, _) in enumerate(candidates) if keep(accuracies)]
    return min(able, key=lambda i: candidates[i][1], default=-1)


def _choice(dense: list[float], candidates: Candidates, allowed: float, t: float) -> int:
    return _fastest(candidates, lambda found: _interval(_pairs(found, dense), t)[0] >= -allowed)


EXERCISES["choice"] = Exercise(
    _candidates,
    _choice,
    lambda dense, candidates, allowed, t: _fastest(
        candidates, lambda found: statistics.fmean(_pairs(found, dense)) >= -allowed
    ),
    "By the mean it loses little enough. How much more may it lose for all that so few seeds say?",
    lambda dense, candidates, allowed, t: _fastest(
        candidates, lambda found: _interval(_pairs(found, dense), t)[1] >= 0
    ),
    "*Open* is not *equal*: an interval that holds zero may also hold a loss that you can't afford.",
    lambda dense, candidates, allowed, t: _fastest(
        candidates, lambda found: _interval(_pairs(found, dense), t)[1] >= -allowed
    ),
    "That is the best case. Look at the other end of the interval.",
    lambda dense, candidates, allowed, t: max(range(len(candidates)), key=lambda i: sum(candidates[i][0])),
    "That is the most accurate one. You may give up something: what do you get for it?",
    lambda dense, candidates, allowed, t: _fastest(candidates, lambda found: _unpaired(found, dense, t)[0] >= -allowed),
    "Two clouds again: here a seed moves both networks alike, so compare pair by pair.",
)


Named = dict[str, torch.Tensor]  # by layer


def _two_methods(generator: torch.Generator) -> tuple[Named, Named]:
    """Scores of one method, and the masks of another, which keeps another share of each of three layers."""
    shapes = {"conv1": (4, 6), "fc1": (6, 10), "fc2": (3, 8)}
    scores = {name: torch.rand(shape, generator=generator, dtype=torch.float64) for name, shape in shapes.items()}
    scores["conv1"] = 0.4 + scores["conv1"]  # so that one list for all layers leaves them other shares
    counts = {"conv1": whole(generator, 2, 9), "fc1": whole(generator, 20, 40), "fc2": whole(generator, 10, 16)}
    kept = {name: torch.rand(shape, generator=generator) for name, shape in shapes.items()}
    return scores, {name: _largest(kept[name], counts[name]) for name in shapes}


def _largest(scores: torch.Tensor, count: int) -> torch.Tensor:
    """True at so many largest of all."""
    return largest(scores.flatten(), count).view(scores.shape)


def _shared_out(scores: Named, rival: Named) -> Named:
    """As many in all as the rival keeps, the same share of each layer."""
    share = sum(int(mask.sum()) for mask in rival.values()) / sum(mask.numel() for mask in rival.values())
    return {name: _largest(score, round(share * score.numel())) for name, score in scores.items()}


def _by_one_list(scores: Named, rival: Named) -> Named:
    total = sum(int(mask.sum()) for mask in rival.values())
    least = torch.cat([score.flatten() for score in scores.values()]).topk(total).values[-1]
    return {name: score >= least for name, score in scores.items()}


EXERCISES["control_masks"] = Exercise(
    _two_methods,
    lambda scores, rival: {name: _largest(score, int(rival[name].sum())) for name, score in scores.items()},
    lambda scores, rival: rival,
    "These are the rival's own masks. A control differs from it in one thing: here in *which* weights stay.",
    _by_one_list,
    "One list for the complete network: that is SNIP itself, and its own counts are back. Whose counts must they be?",
    _shared_out,
    "Equal shares are a third answer to *how many*. A control keeps that as the rival has it.",
    lambda scores, rival: {name: _largest(-score, int(rival[name].sum())) for name, score in scores.items()},
    "The counts are right. But the smallest scores stay.",
)


EPOCHS = 12


class _Training:
    """`train(masks, epochs, lr, schedule)` on a network, with the masks held, within a budget of epochs."""

    def __init__(self, network: nn.Module, seed: int):
        self.network, self.seed, self.left = network, seed, EPOCHS

    def __call__(self, masks: Masks | None, epochs: int, lr: float = 0.05, schedule: str = "constant") -> None:
        if epochs not in range(self.left + 1):
            raise ValueError(f"epochs is {epochs}, must be a whole number from 0 to {self.left}: no more are left")
        handle = masks.hold(self.network) if masks is not None else None
        self.left -= epochs
        given.fit(self.network, epochs, 100 * self.seed + self.left, lr, schedule)
        if handle:
            handle.remove()


def _networks() -> list[tuple[nn.Module, _Training]]:
    networks = [given.classifier(seed) for seed in range(3)]
    return [(network, _Training(network, seed)) for seed, network in enumerate(networks)]


def _accuracy_at_95(network: nn.Module, *_: object) -> float:
    weights = list(prunable(network).values())
    zeros = sum(int((w == 0).sum()) for w in weights) / sum(w.numel() for w in weights)
    if zeros < 0.9499:
        raise RuleBroken(f"{zeros:.1%} of the weights of the network you return are zero, 95 % must be.")
    return given.accuracy(network)


def _cut(network: nn.Module, sparsity: float) -> Masks:
    masks = magnitude.prune(network, sparsity)
    masks.zero_(network)
    return masks


def _one_shot(network: nn.Module, train: _Training, before: int = EPOCHS // 2) -> nn.Module:
    if before:
        train(None, before, schedule="cosine")
    masks = _cut(network, 0.95)
    if before < EPOCHS:
        train(masks, EPOCHS - before, schedule="cosine")
    return network


def _gradually(network: nn.Module, train: _Training, lr: float = 0.2, cuts: int = 9) -> nn.Module:
    for cut in range(1, cuts + 1):
        masks = _cut(network, 0.95 * (1 - (1 - cut / cuts) ** 3))
        last = cut == cuts
        train(masks, EPOCHS - cuts + 1 if last else 1, lr, "cosine" if last else "constant")
    return network


EXERCISES["twelve_epochs"] = Experiment(
    _networks,
    _accuracy_at_95,
    93.0,
    "accuracy, mean of three seeds:",
    "{:.2f} %",
    _gradually,
    lambda network, train: _one_shot(network, train, 0),
    "Random weights were pruned by their size. What would training tell about them?",
    lambda network, train: _one_shot(network, train, EPOCHS),
    "All epochs came before the cut, none is left to recover from it.",
    _one_shot,
    "Half before the cut, half after it. How far does the network fall at the cut, and must it be one?",
    lambda network, train: _gradually(network, train, lr=0.05),
    "Cut by cut: better than one shot. Nobody has tuned the learning rate yet; is it right?",
    higher=True,
)
