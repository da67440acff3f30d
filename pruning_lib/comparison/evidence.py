"""What the recorded runs say of each variant, in the few rounded numbers that advice is given from."""

from collections.abc import Mapping
from typing import Any

from pruning_lib.comparison.statistics import Runs, by_seed, of_cell, spread
from pruning_lib.comparison.variants import SPARSITIES, VARIANTS

_NEAR = 1.25  # a measured point stands for sparsities at which up to so many times more or fewer weights are left


def evidence(runs: Runs, latency: Mapping[str, Any], about: str) -> dict[str, Any]:
    """Accuracy, bytes, MACs and latency of every variant at each of its settings: means over the seeds.

    Parameters
    ----------
    runs : records of `run_cell`, of the dense network too
    latency : name "FORM SETTING" → [median, fastest] in seconds, as benchmarks/comparison_latency.py records them; the
        fastest counts, since whatever else a machine does only adds
    about : where the numbers come from, in words

    Returns
    -------
    dict
        Plain and rounded, so that a page can compute from it what Python does: accuracies as [mean, standard
        deviation, seeds] in %, "cut" before retraining, and "dense_cut" the dense network's at that moment; "bytes",
        "macs" and "latency" say how many times less than dense, bytes in the smallest of the forms, MACs without those
        of zeros; latency, of the first seed's shapes, is None where none was measured.
    """
    dense = _points(runs, "dense", {})[0]
    methods = []
    for name, variant in VARIANTS.items():
        found = [] if variant.structure == "none" else _points(runs, name, latency)
        if found:
            traits = {"name": name, "label": variant.label, "time": variant.time, "structure": variant.structure}
            methods.append(traits | {"data": variant.data, "only": _only(name, found), "points": found})
    return {
        "about": about,
        "sparsities": [s for s in SPARSITIES if any(run["setting"] == s for run in runs)],
        "near": _NEAR,
        "dense": dense["retrained"],
        "dense_cut": _percent(by_seed(runs, "dense_twice", 0.0, "pruned_accuracy")),
        "methods": methods,
    }


def _points(runs: Runs, name: str, latency: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The settings of one variant at which it did not fail."""
    of_dense = next(run for run in runs if run["variant"] == "dense")
    found = []
    for setting in VARIANTS[name].settings:
        here = of_cell(runs, name, setting)
        if not here:
            continue
        smallest = spread(min(run["bytes"].values()) for run in here).mean
        macs = spread(run["macs"]["nonzero"] for run in here).mean
        cut = by_seed(runs, name, setting, "pruned_accuracy")
        found.append(
            {
                "setting": list(setting) if isinstance(setting, tuple) else setting,
                "sparsity": round(spread(run["sparsity"] for run in here).mean, 3),
                "retrained": _percent(by_seed(runs, name, setting)),
                "cut": _percent(cut) if cut else None,
                "bytes": round(of_dense["bytes"]["dense"] / smallest, 2),
                "macs": round(of_dense["macs"]["dense"] / macs, 2),
                "latency": _speed(latency, name, setting),
            }
        )
    return found


def _percent(values: Mapping[int, float]) -> list[float]:
    mean, sd, n = spread(100 * value for value in values.values())
    return [round(mean, 2), round(sd, 2) if n > 1 else 0.0, n]


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
