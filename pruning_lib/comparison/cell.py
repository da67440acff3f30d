"""One cell of the comparison: a variant at a setting with a seed, run and measured."""

import copy
import time
import warnings
from typing import Any

from torch import nn

from pruning_lib.acceleration.macs import macs
from pruning_lib.acceleration.storage import stored
from pruning_lib.checks import check_choice
from pruning_lib.comparison.protocol import Case, Protocol
from pruning_lib.comparison.variants import EVERY, weights
from pruning_lib.structure import prunable
from pruning_lib.workbench import data


def run_cell(
    name: str, setting: Any, seed: int, images: data.Data, protocol: Protocol, dense: nn.Module
) -> tuple[nn.Module, dict[str, Any]]:
    """One cell: the finished network and its record, all that JSON can hold.

    Parameters
    ----------
    name : of `VARIANTS` or `CONTROLS`
    setting : a sparsity; for "sss" γ; for n:m the pair (n, m)
    dense : from `protocol.dense` with the same seed, or `protocol.fresh` for what prunes before training; it is copied

    Returns
    -------
    model : masked weights are zeros in it, removed units are not there
    record : accuracy in [0, 1] at the end and, where there is such a moment, before retraining; sparsity as the share
        of the dense network's weights that are gone; bytes of all tensors by form; MACs of one image, all and those
        with a weight that is not zero; sparsity by layer and which layers have nothing left

    Raises
    ------
    ValueError
        For an unknown variant, and what the variant's method raises.
    """
    check_choice("name", name, EVERY)
    total, start = weights(dense), time.perf_counter()
    case = Case(protocol, images, copy.deepcopy(dense), setting, seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a layer is emptied is what the record shows
        model, pruned = EVERY[name].run(case)
    seconds = time.perf_counter() - start
    left = {layer: int(weight.count_nonzero()) for layer, weight in prunable(model).items()}
    whole = {layer: weight.numel() for layer, weight in prunable(dense).items()}
    counted = macs(model, images.test[0][:1])
    return model, {
        "variant": name,
        "setting": setting,
        "seed": seed,
        "accuracy": case.accuracy(model),
        "pruned_accuracy": pruned,
        "sparsity": round(1 - sum(left.values()) / total, 6),
        "parameters": sum(p.numel() for p in model.parameters()),
        "zeros": sum(p.numel() - int(p.count_nonzero()) for p in model.parameters()),
        "bytes": {form: sizes.tensors for form, sizes in stored(model).items()},
        "macs": {"dense": counted.dense, "nonzero": counted.nonzero},
        "per_layer": {layer: round(1 - left[layer] / whole[layer], 5) for layer in left},
        "shapes": {layer: list(weight.shape[:2]) for layer, weight in prunable(model).items()},
        "emptied": [layer for layer, number in left.items() if number == 0],
        "seconds": round(seconds, 3),
    }
