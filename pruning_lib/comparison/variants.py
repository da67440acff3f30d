"""The variants that are compared: each takes a case to a pruned network that has had its whole training."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pruning_lib.after_training import magnitude, retraining, sparsegpt, wanda
from pruning_lib.after_training.calibration import prune_in_order
from pruning_lib.after_training.reconstruction import Hessian, refit
from pruning_lib.before_training import snip
from pruning_lib.checks import check_sparsity
from pruning_lib.comparison.protocol import Case
from pruning_lib.during_training import sss
from pruning_lib.structure import Masks, choose_units, keep_largest, keep_n_of_m, prunable, remove, score_units
from pruning_lib.workbench import data, models

SPARSITIES = (0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)
GAMMAS = (0.01, 0.015, 0.02, 0.03, 0.045)


@dataclass(frozen=True)
class Variant:
    """One way to prune. `settings` is what it is tried at: sparsities, γ, or its only one, n of m."""

    name: str
    label: str
    time: str
    structure: str
    data: str  # needed to choose
    settings: tuple[Any, ...]
    run: Callable  # (case) -> (pruned and trained model, accuracy before retraining or None)


def scratch(choose: Callable[[nn.Module, Case], Masks]) -> Callable:
    """Before training: masks on fresh weights, then all epochs."""

    def run(case: Case) -> tuple[nn.Module, None]:
        model = case.protocol.fresh(case.images, case.seed)
        handle = choose(model, case).hold(model)
        case.fit(model, case.protocol.epochs, 0)
        handle.remove()
        return model, None

    return run


def trained(choose: Callable[[nn.Module, Case], Masks]) -> Callable:
    """After training, one shot: masks on trained weights (which `choose` may change), then the epochs that are left."""

    def run(case: Case) -> tuple[nn.Module, float]:
        model = case.dense
        handle = choose(model, case).hold(model)
        pruned = case.accuracy(model)
        case.fit(model, case.protocol.retrain_epochs, 1)
        handle.remove()
        return model, pruned

    return run


def in_rounds(kind: str) -> Callable:
    """In rounds: "iterative" after the dense epochs, "gradual" from fresh weights through the same number of epochs.

    The learning rate is constant while weights go; in the last round it falls.
    """

    def run(case: Case) -> tuple[nn.Module, None]:
        left = case.protocol.retrain_epochs
        if kind == "iterative":
            model, epochs = case.dense, [1, 1, left - 2]
            sparsities = retraining.schedule("iterative", case.setting, 3)
        else:
            model, dense = case.protocol.fresh(case.images, case.seed), case.protocol.dense_epochs - 2
            epochs = [dense, 1, 1, 1, left - 1]
            sparsities = [0.0, *retraining.schedule("gradual", case.setting, 4)]

        def train(model: nn.Module, number: int, seed: int) -> None:
            case.fit(model, epochs[number - 1], number, "cosine" if number == len(epochs) else "constant")

        retraining.run(model, train, lambda model: {}, sparsities, seed=case.seed, progress=False)
        return model, None

    return run


def gated(case: Case) -> tuple[nn.Module, float]:
    """SSS on channels: gates for the dense epochs, closed ones removed, the rest of the epochs without gates."""
    protocol, model = case.protocol, sss.add_gates(case.protocol.fresh(case.images, case.seed), "channel")
    sss.train_gates(
        model,
        lambda epoch: list(data.batches(case.images.train, protocol.batch_size, case.seed * 1_000_003 + epoch)),
        gamma=case.setting,
        lr=protocol.lr,
        epochs=protocol.dense_epochs,
        seed=case.seed,
        momentum=protocol.momentum,
        weight_decay=protocol.weight_decay,
        progress=False,
    )
    small = sss.remove_closed(model, case.images.test[0][:2])
    pruned = case.accuracy(small)
    case.fit(small, protocol.retrain_epochs, 1)
    return small, pruned


def filters(case: Case) -> tuple[nn.Module, float]:
    """Filters and neurons of the smallest L1 norm removed, the same share of each layer, until the sparsity is met."""
    small = smaller(case.dense, case.images.test[0][:2], case.setting)
    pruned = case.accuracy(small)
    case.fit(small, case.protocol.retrain_epochs, 1)
    return small, pruned


def built_small(case: Case) -> tuple[nn.Module, None]:
    """What `filters` leaves, but built that small and trained from the start: does removing beat building?"""
    model = smaller(case.protocol.fresh(case.images, case.seed), case.images.test[0][:2], case.setting)
    case.fit(models.initialize_(model, case.seed), case.protocol.epochs, 0)
    return model, None


def smaller(model: nn.Module, example_inputs: Tensor, sparsity: float) -> nn.Module:
    """`model` without the smallest share of its filters and neurons that takes at least `sparsity` of its weights.

    Raises
    ------
    ValueError
        If `sparsity` is not in [0, 1], or more than goes while one unit is left in each layer.
    """
    check_sparsity(sparsity)
    scores = {
        name: score
        for unit in ("filter", "neuron")
        for name, score in score_units(model, unit, "l1", example_inputs).items()
    }
    total, low, high = weights(model), 0, 999  # thousandths of the units; `choose_units` leaves one in each layer
    while low < high:
        middle = (low + high) // 2
        enough = total - weights(taken(model, example_inputs, scores, middle)) >= sparsity * total
        low, high = (low, middle) if enough else (middle + 1, high)
    small = taken(model, example_inputs, scores, low)
    if total - weights(small) < sparsity * total:
        most = math.floor(1e6 * (1 - weights(small) / total)) / 1e6
        raise ValueError(f"sparsity is {sparsity}, must be at most {most:.6f}: each layer keeps a unit")
    return small


def taken(model: nn.Module, example_inputs: Tensor, scores: dict[str, Tensor], thousandths: int) -> nn.Module:
    units = choose_units(scores, thousandths / 1000, "layer")
    return remove(model, example_inputs, units) if units else model


def weights(model: nn.Module) -> int:
    return sum(weight.numel() for weight in prunable(model).values())


def random_scores(model: nn.Module, seed: int) -> dict[str, Tensor]:
    """Scores that know nothing of the weights: seeds count up from 0 everywhere else, here down from −1."""
    generator = torch.Generator().manual_seed(-1 - seed)
    return {name: torch.rand(weight.shape, generator=generator) for name, weight in prunable(model).items()}


def calibrated(prune: Callable, model: nn.Module, case: Case, **target: Any) -> Masks:
    inputs = case.sample(case.protocol.calibration)[0]
    return prune(model, list(inputs.split(128)), progress=False, **target)


def magnitude_refitted(model: nn.Module, batches: list[Tensor], sparsity: float, progress: bool) -> Masks:
    """The mask of magnitude per layer, then exact least squares on it (GPT-2): compensation and nothing else."""

    def prune_layer(matrix: Tensor, gathered: Hessian) -> tuple[Tensor, Tensor]:
        keep = keep_largest({"layer": matrix.abs()}, sparsity)["layer"]
        return refit(matrix, gathered.matrix, keep, damping=0.01), keep

    return prune_in_order(model, batches, prune_layer, Hessian, progress=progress)


def fitting(model: nn.Module, m: int) -> list[str]:
    """Weights whose rows divide into groups of m; the others stay dense."""
    return [name for name, weight in prunable(model).items() if weight[0].numel() % m == 0]


def largest_of_m(model: nn.Module, case: Case) -> Masks:
    scores = magnitude.scores(model)
    return keep_n_of_m({name: scores[name] for name in fitting(model, case.setting[1])}, *case.setting)


def compensated_n_of_m(model: nn.Module, case: Case) -> Masks:
    layers = [name.removesuffix(".weight") for name in fitting(model, case.setting[1])]
    return calibrated(sparsegpt.prune_model, model, case, n_m=tuple(case.setting), layers=layers)


def global_magnitude(model: nn.Module, case: Case) -> Masks:
    return magnitude.prune(model, case.setting)


FREE, FEW, LABELED, ALL = "none", "a few unlabeled", "a few labeled", "the training set"
PATTERNS = ((2, 4), (4, 8))
VARIANTS = {
    variant.name: variant
    for variant in (
        Variant(
            "random",
            "random",
            "before",
            "unstructured",
            FREE,
            SPARSITIES,
            scratch(lambda model, case: keep_largest(random_scores(model, case.seed), case.setting)),
        ),
        Variant("init", "magnitude at init", "before", "unstructured", FREE, SPARSITIES, scratch(global_magnitude)),
        Variant(
            "snip",
            "SNIP",
            "before",
            "unstructured",
            LABELED,
            SPARSITIES,
            scratch(lambda model, case: snip.prune(model, [case.sample(case.protocol.scoring)], case.setting)),
        ),
        Variant("gradual", "gradual magnitude", "during", "unstructured", ALL, SPARSITIES, in_rounds("gradual")),
        Variant("sss", "SSS, channels", "during", "structured", ALL, GAMMAS, gated),
        Variant("magnitude", "magnitude", "after", "unstructured", FREE, SPARSITIES, trained(global_magnitude)),
        Variant(
            "magnitude_layer",
            "magnitude per layer",
            "after",
            "unstructured",
            FREE,
            SPARSITIES,
            trained(lambda model, case: magnitude.prune(model, case.setting, scope="layer")),
        ),
        Variant(
            "magnitude_refit",
            "magnitude per layer, refitted",
            "after",
            "unstructured",
            FEW,
            SPARSITIES,
            trained(lambda model, case: calibrated(magnitude_refitted, model, case, sparsity=case.setting)),
        ),
        Variant("iterative", "iterative magnitude", "after", "unstructured", FREE, SPARSITIES, in_rounds("iterative")),
        Variant(
            "wanda",
            "Wanda",
            "after",
            "unstructured",
            FEW,
            SPARSITIES,
            trained(lambda model, case: calibrated(wanda.prune_model, model, case, sparsity=case.setting)),
        ),
        Variant(
            "sparsegpt",
            "SparseGPT",
            "after",
            "unstructured",
            FEW,
            SPARSITIES,
            trained(lambda model, case: calibrated(sparsegpt.prune_model, model, case, sparsity=case.setting)),
        ),
        Variant("filters", "filters and neurons", "after", "structured", FREE, SPARSITIES, filters),
        Variant("small", "built small", "before", "structured", FREE, SPARSITIES, built_small),
        Variant("n_of_m", "n:m magnitude", "after", "semi-structured", FREE, PATTERNS, trained(largest_of_m)),
        Variant(
            "n_of_m_sparsegpt", "n:m SparseGPT", "after", "semi-structured", FEW, PATTERNS, trained(compensated_n_of_m)
        ),
        Variant("dense", "dense", "before", "none", FREE, (0.0,), scratch(global_magnitude)),
        Variant("dense_twice", "dense, in two parts", "after", "none", FREE, (0.0,), trained(global_magnitude)),
    )
}
