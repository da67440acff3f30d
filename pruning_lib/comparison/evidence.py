"""What the recorded runs say of each variant, in the few rounded numbers that advice is given from."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from pruning_lib.comparison.statistics import Runs, by_seed, of_cell, spread, student
from pruning_lib.comparison.variants import SPARSITIES, VARIANTS

_NEAR = 1.25  # a measured point stands for sparsities at which up to so many times more or fewer weights are left


def evidence(runs: Runs, timed: Sequence[Mapping[str, Any]], about: str) -> dict[str, Any]:
    """Accuracy, bytes, MACs and latency of every variant at each of its settings: means over the seeds.

    Parameters
    ----------
    runs : records of `run_cell`, of the dense network too
    timed : the runs of benchmarks/comparison_latency.py, one for each number of images ("batch"), the smallest first,
        with "latency": name "FORM SETTING" → [median, fastest] in seconds. The fastest counts, since whatever else a
        machine does only adds. Empty where nothing was timed
    about : where the numbers come from, in words

    Returns
    -------
    dict
        Plain and rounded, so that a page can compute from it what Python does: accuracies as [mean, standard deviation,
        seeds] in %, "cut" before retraining, and "dense_cut" the dense network's at that moment; "seeds" has each of
        them seed by seed. "bytes" and "macs" say how many times less than dense, bytes in the smallest of the recorded
        forms and a bitmap, MACs without those of zeros; "latency" says it for each of the "batches", of the first
        seed's shapes, None where none was measured. "student" is the factor of CMP-2 by the number of seeds, "unpruned"
        what the dense network costs, and "timing" by how many times two timings of the same shapes differ.
    """
    dense = _points(runs, "dense", [])[0]
    of_dense = next(run for run in runs if run["variant"] == "dense")
    dense_cut = by_seed(runs, "dense_twice", 0.0, "pruned_accuracy")
    methods = []
    for name, variant in VARIANTS.items():
        found = [] if variant.structure == "none" else _points(runs, name, timed)
        if found:
            traits = {"name": name, "label": variant.label, "time": variant.time, "structure": variant.structure}
            methods.append(traits | {"data": variant.data, "only": _only(name, found), "points": found})
    return {
        "about": about,
        "sparsities": [s for s in SPARSITIES if any(run["setting"] == s for run in runs)],
        "near": _NEAR,
        "dense": dense["retrained"],
        "dense_cut": _percent(dense_cut),
        "seeds": {"dense": dense["seeds"]["retrained"], "dense_cut": _each(dense_cut)},
        "student": {str(n): round(student(n), 8) for n in range(2, dense["retrained"][2] + 1)},
        "batches": [run["batch"] for run in timed],
        "timing": [_apart(run["latency"]) for run in timed],
        "unpruned": {
            "bytes": of_dense["bytes"]["dense"],
            "macs": of_dense["macs"]["dense"],
            "seconds": [run["latency"]["dense"][1] for run in timed],
        },
        "methods": methods,
    }


def called(settings: Mapping[str, Any]) -> str:
    """The network and the data of a record, in words."""
    names = {"lenet5": "LeNet-5", "resnet8": "ResNet-8", "mnist": "MNIST"}
    model, data = (names.get(settings[key], settings[key]) for key in ("model", "data"))
    return f"{model} on {data}"


def described(record: Mapping[str, Any]) -> str:
    """What a record of benchmarks/comparison.py is of: network, data, budget and seeds, in words."""
    settings, seeds = record["settings"], {run["seed"] for run in record["runs"]}
    epochs = settings["dense_epochs"] + settings["retrain_epochs"]
    return (
        f"{called(settings)}, {settings['train_samples']:,} training images, {epochs} epochs in all, {len(seeds)} seeds"
    )


def bitmap(run: Mapping[str, Any]) -> int:
    """Bytes of a recorded float32 network as one bit for each parameter, and the values that are not zero."""
    return 4 * (run["parameters"] - run["zeros"]) + math.ceil(run["parameters"] / 8)


def _points(runs: Runs, name: str, timed: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The settings of one variant at which it did not fail."""
    of_dense = next(run for run in runs if run["variant"] == "dense")
    found = []
    for setting in VARIANTS[name].settings:
        here = of_cell(runs, name, setting)
        if not here:
            continue
        smallest = spread(min(*run["bytes"].values(), bitmap(run)) for run in here).mean
        macs = spread(run["macs"]["nonzero"] for run in here).mean
        retrained, cut = by_seed(runs, name, setting), by_seed(runs, name, setting, "pruned_accuracy")
        sparsity = round(spread(run["sparsity"] for run in here).mean, 3)
        which = "{}:{}".format(*setting) if isinstance(setting, tuple) else f"at {100 * sparsity:.3g} %"
        found.append(
            {
                "name": f"{VARIANTS[name].label} {which}",
                "setting": list(setting) if isinstance(setting, tuple) else setting,
                "sparsity": sparsity,
                "retrained": _percent(retrained),
                "cut": _percent(cut) if cut else None,
                "seeds": {"retrained": _each(retrained), "cut": _each(cut)},
                "bytes": round(of_dense["bytes"]["dense"] / smallest, 2),
                "macs": round(of_dense["macs"]["dense"] / macs, 2),
                "latency": [_speed(run["latency"], name, setting) for run in timed],
            }
        )
    return found


def _percent(values: Mapping[int, float]) -> list[float]:
    mean, sd, n = spread(100 * value for value in values.values())
    return [round(mean, 2), round(sd, 2) if n > 1 else 0.0, n]


def _each(values: Mapping[int, float]) -> dict[str, float]:
    """In %, seed by seed; the seeds are texts, as in JSON."""
    return {str(seed): round(100 * value, 4) for seed, value in values.items()}


def _apart(latency: Mapping[str, Any]) -> float:
    """By how many times two timings of the same shapes differ at most: of removed filters and of networks so built."""
    removed = {name[8:]: taken[1] for name, taken in latency.items() if name.startswith("filters ")}
    built = {setting: latency[f"small {setting}"][1] for setting in removed if f"small {setting}" in latency}
    return round(max((max(removed[s] / t, t / removed[s]) for s, t in built.items()), default=1.0), 3)


def _speed(latency: Mapping[str, Any], name: str, setting: Any) -> float | None:
    """Times as fast as dense on the CPU: of removed structure its own; of unstructured zeros CSR's, at least 1.

    A masked network runs as the dense one, so nobody has to take CSR where it is slower. n:m has no kernel on a CPU.
    """
    structure = VARIANTS[name].structure
    key = f"csr {setting}" if structure == "unstructured" else f"{name} {setting}"
    if structure == "semi-structured" or key not in latency:
        return None
    ratio = latency["dense"][1] / latency[key][1]
    return round(max(ratio, 1.0) if structure == "unstructured" else ratio, 2)


def _only(name: str, found: list[dict[str, Any]]) -> str:
    """Why a variant may have nothing at a sparsity."""
    if VARIANTS[name].structure == "semi-structured":
        return f"exists as {' and '.join('{}:{}'.format(*point['setting']) for point in found)} only"
    shares = sorted({round(100 * point["sparsity"]) for point in found})
    return f"measured at {', '.join(map(str, shares))} % only"
