"""The variants that are compared: each takes a case to a pruned network that has had its whole training."""

import math
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from pruning_lib.after_training import magnitude, retraining, sparsegpt, wanda
from pruning_lib.after_training.calibration import prune_in_order
from pruning_lib.after_training.reconstruction import Hessian, refit
from pruning_lib.before_training import iterative_snip, snip, synflow
from pruning_lib.checks import check_sparsity
from pruning_lib.comparison.controls import random_scores, shuffled
from pruning_lib.comparison.protocol import Case
from pruning_lib.during_training import sss
from pruning_lib.structure import Masks, choose_units, keep_largest, keep_n_of_m, prunable, remove, score_units
from pruning_lib.taxonomy import METHODS
from pruning_lib.workbench import data, models

SPARSITIES = (0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)
GAMMAS = (0.01, 0.015, 0.02, 0.03, 0.045)
PATTERNS = ((2, 4), (4, 8))
NOT_COMPARED = {  # methods of the taxonomy without a variant, and why: the grid was made for LeNet-5
    "Stripes": "only the choice is here, not the training of the filters' skeletons that makes it a method",
    "Network Slimming": "it goes by the scales of batch norm, and LeNet-5 has none",
    "Kernel patterns": "they are made for many kernels of 3×3; LeNet-5 has a thousand, of 5×5",
    "Optimal Brain Surgeon": "for n weights its inverse Hessian has n² entries: 741 GB for LeNet-5",
    "Swaps": "they lower the error of a layer that is not trained afterwards: notebook 05c measures that",
}


@dataclass(frozen=True)
class Variant:
    """One way to prune. `settings` is what it is tried at: sparsities, γ, or its only one, n of m."""

    name: str
    run: Callable  # (case) -> (pruned and trained model, accuracy before retraining or None)
    label: str
    time: str
    structure: str
    data: str = "none"  # needed to choose
    settings: tuple[Any, ...] = SPARSITIES
    method: str | None = None  # of `METHODS`; a baseline has none


def _of(method: str, name: str, run: Callable | None = None, masks: Callable | None = None, **own: Any) -> Variant:
    """A variant of a method in the taxonomy, with its traits but for its `own`; by `masks` in one shot at its time."""
    (row,) = (row for row in METHODS if row.name == method)
    traits = {"label": method, "time": row.time, "structure": row.structures[0], "data": row.data}
    return Variant(name, run or _one_shot(row.time, masks), **traits | own, method=method)


def _one_shot(time: str, choose: Callable[[nn.Module, Case], Masks]) -> Callable:
    """Masks on fresh weights, or after training on trained ones (which `choose` may change); then the epochs left."""

    def run(case: Case) -> tuple[nn.Module, float | None]:
        after = time == "after"
        model = case.dense if after else case.protocol.fresh(case.images, case.seed)
        handle = choose(model, case).hold(model)
        pruned = case.accuracy(model) if after else None
        case.fit(model, case.protocol.retrain_epochs if after else case.protocol.epochs, int(after))
        handle.remove()
        return model, pruned

    return run


def _in_rounds(kind: str) -> Callable:
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


def _gated(case: Case) -> tuple[nn.Module, float]:
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
    return _retrained(case, sss.remove_closed(model, case.images.test[0][:2]))


def _filters(case: Case) -> tuple[nn.Module, float]:
    """Filters and neurons of the smallest L1 norm removed, the same share of each layer, until the sparsity is met."""
    return _retrained(case, smaller(case.dense, case.images.test[0][:2], case.setting))


def _retrained(case: Case, small: nn.Module) -> tuple[nn.Module, float]:
    pruned = case.accuracy(small)
    case.fit(small, case.protocol.retrain_epochs, 1)
    return small, pruned


def _built_small(case: Case) -> tuple[nn.Module, None]:
    """What `_filters` leaves, but built that small and trained from the start: does removing beat building?"""
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
        for unit, kind, fixed in (("filter", nn.Conv2d, 0), ("neuron", nn.Linear, 1))  # the last neurons are classes
        if sum(isinstance(module, kind) for module in model.modules()) > fixed
        for name, score in score_units(model, unit, "l1", example_inputs).items()
    }

    def without(thousandths: int) -> nn.Module:  # `choose_units` leaves one in each layer
        units = choose_units(scores, thousandths / 1000, "layer")
        return remove(model, example_inputs, units) if units else model

    total = weights(model)
    small = without(bisect_left(range(999), sparsity * total, key=lambda share: total - weights(without(share))))
    if total - weights(small) < sparsity * total:
        most = math.floor(1e6 * (1 - weights(small) / total)) / 1e6
        raise ValueError(f"sparsity is {sparsity}, must be at most {most:.6f}: each layer keeps a unit")
    return small


def weights(model: nn.Module) -> int:
    """How many prunable weights `model` has."""
    return sum(weight.numel() for weight in prunable(model).values())


def _random(model: nn.Module, case: Case) -> Masks:
    return keep_largest(random_scores(model, case.seed), case.setting)


def _snip(model: nn.Module, case: Case) -> Masks:
    return snip.prune(model, [case.sample(case.protocol.scoring)], case.setting)


def _iterative_snip(model: nn.Module, case: Case) -> Masks:
    return iterative_snip.prune(model, [case.sample(case.protocol.scoring)], case.setting, progress=False)


def _synflow(model: nn.Module, case: Case) -> Masks:
    return synflow.prune(model, case.images.train[0][:1], case.setting, progress=False)


def _magnitude(model: nn.Module, case: Case) -> Masks:
    return magnitude.prune(model, case.setting)


def _magnitude_layer(model: nn.Module, case: Case) -> Masks:
    return magnitude.prune(model, case.setting, scope="layer")


def calibrated(prune: Callable, **target: Any) -> Callable:
    """Masks by `prune`, which sees a few unlabeled images and gets the case's sparsity, or `target` in its place."""

    def choose(model: nn.Module, case: Case) -> Masks:
        inputs = case.sample(case.protocol.calibration)[0]
        return prune(model, list(inputs.split(128)), progress=False, **target or {"sparsity": case.setting})

    return choose


def magnitude_refitted(model: nn.Module, batches: list[Tensor], sparsity: float, progress: bool) -> Masks:
    """The mask of magnitude per layer, then exact least squares on it (GPT-2): compensation and nothing else."""

    def prune_layer(matrix: Tensor, hessian: Tensor) -> tuple[Tensor, Tensor]:
        keep = keep_largest({"layer": matrix.abs()}, sparsity)["layer"]
        return refit(matrix, hessian, keep, damping=0.01), keep

    return prune_in_order(model, batches, prune_layer, Hessian, progress=progress)


def _fitting(model: nn.Module, m: int) -> list[str]:
    """Weights whose rows divide into groups of m; the others stay dense."""
    return [name for name, weight in prunable(model).items() if weight[0].numel() % m == 0]


def _n_of_m(model: nn.Module, case: Case) -> Masks:
    scores = magnitude.scores(model)
    return keep_n_of_m({name: scores[name] for name in _fitting(model, case.setting[1])}, *case.setting)


def _n_of_m_sparsegpt(model: nn.Module, case: Case) -> Masks:
    layers = [name.removesuffix(".weight") for name in _fitting(model, case.setting[1])]
    return calibrated(sparsegpt.prune_model, n_m=tuple(case.setting), layers=layers)(model, case)


def _snip_moved(model: nn.Module, case: Case) -> Masks:
    """SNIP's masks with each layer's zeros at random places: only how many weights a layer keeps is left of them."""
    return Masks(shuffled(_snip(model, case), case.seed))


def _but_the_first(model: nn.Module, sparsity: float) -> tuple[list[str], float]:
    """All weights but those of the first layer, and the share of them that goes if `sparsity` of all is to go."""
    first, *others = prunable(model)
    return others, sparsity * weights(model) / (weights(model) - prunable(model)[first].numel())


def _magnitude_spared(model: nn.Module, case: Case) -> Masks:
    names, sparsity = _but_the_first(model, case.setting)
    scores = magnitude.scores(model)
    return keep_largest({name: scores[name] for name in names}, sparsity, "layer")


def _sparsegpt_spared(model: nn.Module, case: Case) -> Masks:
    names, sparsity = _but_the_first(model, case.setting)
    layers = [name.removesuffix(".weight") for name in names]
    return calibrated(sparsegpt.prune_model, sparsity=sparsity, layers=layers)(model, case)


VARIANTS = {
    variant.name: variant
    for variant in (
        Variant("random", _one_shot("before", _random), "random", "before", "unstructured"),
        Variant("init", _one_shot("before", _magnitude), "magnitude at init", "before", "unstructured"),
        _of("SNIP", "snip", masks=_snip),
        _of("Iterative SNIP", "iterative_snip", masks=_iterative_snip, label="iterative SNIP"),
        _of("SynFlow", "synflow", masks=_synflow),
        _of("Gradual magnitude", "gradual", _in_rounds("gradual"), label="gradual magnitude"),
        _of("SSS", "sss", _gated, label="SSS, channels", settings=GAMMAS),
        _of("Magnitude", "magnitude", masks=_magnitude, label="magnitude"),
        _of("Magnitude", "magnitude_layer", masks=_magnitude_layer, label="magnitude per layer"),
        _of(
            "Magnitude",
            "magnitude_refit",
            masks=calibrated(magnitude_refitted),
            label="magnitude per layer, refitted",
            data="a few unlabeled samples",
        ),
        _of("Magnitude", "iterative", _in_rounds("iterative"), label="iterative magnitude"),
        _of("Wanda", "wanda", masks=calibrated(wanda.prune_model)),
        _of("SparseGPT", "sparsegpt", masks=calibrated(sparsegpt.prune_model)),
        _of("Filter norms", "filters", _filters, label="filters and neurons"),
        Variant("small", _built_small, "built small", "before", "structured"),
        _of("2:4, 4:8", "n_of_m", masks=_n_of_m, label="n:m magnitude", settings=PATTERNS),
        _of(
            "SparseGPT",
            "n_of_m_sparsegpt",
            masks=_n_of_m_sparsegpt,
            label="n:m SparseGPT",
            structure="semi-structured",
            settings=PATTERNS,
        ),
        Variant("dense", _one_shot("before", _magnitude), "dense", "before", "none", settings=(0.0,)),
        Variant("dense_twice", _one_shot("after", _magnitude), "dense, in two parts", "after", "none", settings=(0.0,)),
    )
}

# What a part of a method is worth: nothing that one would choose, so no advice is given from it.
CONTROLS = {
    variant.name: variant
    for variant in (
        _of("SNIP", "snip_moved", masks=_snip_moved, label="SNIP, shuffled", settings=(0.9, 0.95, 0.98)),
        _of("Magnitude", "magnitude_spared", masks=_magnitude_spared, label="magnitude, conv1 dense", settings=(0.98,)),
        _of("SparseGPT", "sparsegpt_spared", masks=_sparsegpt_spared, label="SparseGPT, conv1 dense", settings=(0.98,)),
    )
}

EVERY = VARIANTS | CONTROLS
