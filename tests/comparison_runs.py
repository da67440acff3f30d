"""Records of a comparison as `comparison.run_cell` makes them, but computed by rule: tests need no training."""

from pruning_lib.comparison import GAMMAS, VARIANTS
from pruning_lib.comparison.evidence import evidence
from pruning_lib.reproduction import measured

SEEDS = (0, 1, 2)
DENSE_BYTES, DENSE_MACS = 40_000, 50_000


def runs() -> list[dict]:
    """All variants at all settings: the later in the list, the more accurate; the more zeros, the less."""
    found = []
    for place, (name, variant) in enumerate(VARIANTS.items()):
        for setting in variant.settings:
            sparsity = 0.3 + 0.1 * GAMMAS.index(setting) if name == "sss" else setting
            if isinstance(setting, tuple):  # SparseGPT also drops what belongs to inputs that are always 0
                sparsity = 0.5 if name == "n_of_m" else {2: 0.58, 4: 0.55}[setting[0]]
            for seed in SEEDS:
                accuracy = 0.95 + 0.002 * place - 0.1 * sparsity**4 + 0.001 * seed
                in_rounds = name in ("gradual", "iterative")
                found.append(record(name, setting, seed, sparsity, accuracy, variant, in_rounds))
    return found


def record(name, setting, seed, sparsity, accuracy, variant, in_rounds) -> dict:
    kept = 1 - sparsity
    stored = {"dense": DENSE_BYTES, "csr": round(2 * kept * DENSE_BYTES), "two_four": DENSE_BYTES}
    macs = {"dense": DENSE_MACS, "nonzero": round(DENSE_MACS * kept)}
    parameters = DENSE_BYTES // 4
    zeros = round(parameters * sparsity)
    if variant.structure == "structured":
        stored["dense"], macs["dense"] = round(DENSE_BYTES * kept), macs["nonzero"]
        parameters, zeros = parameters - zeros, 0
    return {
        "variant": name,
        "setting": list(setting) if isinstance(setting, tuple) else setting,
        "seed": seed,
        "accuracy": accuracy,
        "pruned_accuracy": None if variant.time == "before" or in_rounds else accuracy - 0.3 * sparsity,
        "sparsity": sparsity,
        "parameters": parameters,
        "zeros": zeros,
        "bytes": stored,
        "macs": macs,
    }


def latency() -> dict[str, list[float]]:
    """Removed structure is faster the more is gone; CSR from 90 % on."""
    found = {"dense": [0.002, 0.001]}
    for name in ("filters", "small", "sss"):
        for setting in VARIANTS[name].settings:
            found[f"{name} {setting}"] = [0.005, 0.001 * (1 - setting / 2)]
    for setting in VARIANTS["magnitude"].settings:
        found[f"csr {setting}"] = [0.005, 0.001 * (1.4 - setting / 2)]
    return found


def timed() -> list[dict]:
    """Of one image, timed as it is, and of 64."""
    return [{"batch": batch, "latency": latency()} for batch in (1, 64)]


def recorded() -> dict:
    """What notebook 07 advises from."""
    runs, timed = (measured.read_record(f"07_{name}.json")["runs"] for name in ("comparison", "latency"))
    return evidence([run for run in runs if "failed" not in run], timed, "recorded")


def made_up() -> dict:
    return evidence(runs(), timed(), "made up")
