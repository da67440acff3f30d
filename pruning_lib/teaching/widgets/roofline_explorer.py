"""The roofline of a square layer, dense and 2:4: what width, tokens, GPU and number format allow as speed-up."""

import re
from collections.abc import Iterable, Iterator
from typing import Any

import torch
import traitlets

from pruning_lib.acceleration import two_four
from pruning_lib.acceleration.two_four import GPUS
from pruning_lib.checks import check_choice
from pruning_lib.teaching.widgets.javascript import Drawn, check_range

DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "int8": torch.int8, "float32 (TF32)": torch.float32}
LIMITS = {"width": (256, 32768), "tokens": (1, 16384)}
INTENSITIES = (0.3, 30000.0)  # the shown part of the horizontal axis, FLOP per byte
_VARIANT = re.compile(r"\b(PCIe|NVL|Ti|SUPER|Laptop|Max-Q|MIG|D)\b", re.IGNORECASE)
START = {"gpu": "A100 80GB SXM", "width": 4096, "tokens": 16, "dtype": "float16", "share": 0.8}


def gpu_table() -> dict[str, dict]:
    """What the page needs of `GPUS` and `DTYPES`, so that no number stands in two places."""
    gpus = {
        name: {
            "bandwidth": gpu.bandwidth,
            "peak": {key: [gpu.peak(d, s) for s in (False, True)] for key, d in DTYPES.items()},
        }
        for name, gpu in GPUS.items()
    }
    dtypes = {name: {"bytes": d.itemsize, "share": two_four.packed_share(d)} for name, d in DTYPES.items()}
    return {"gpus": gpus, "dtypes": dtypes}


def card_of(device: str) -> str | None:
    """The entry of `GPUS` that torch calls `device`, as "NVIDIA A100-SXM4-80GB"; None if the table has none.

    A card's own name must be in it, in whole words; of several entries with that name the one with most words in common
    counts. Variants under the same name are left out: they have other peaks than those of the table.
    """
    if _VARIANT.search(device):
        return None
    own = {name: " ".join(name.split()[: 2 if name.startswith("RTX") else 1]) for name in GPUS}
    same = [name for name in GPUS if re.search(rf"\b{own[name]}\b", device)]
    return max(same, key=lambda name: sum(word in device for word in name.split()), default=None)


def recorded_runs(records: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The single products among the runs that benchmarks/two_four_gpu.py recorded, kernels alone where they were timed.

    Of each: the table's name of its GPU (None: not in the table), its number format, rows, columns, tokens, and the
    seconds of the dense and of the sparse product. Records without a GPU have none.
    """
    for record in records:
        for run in record["runs"] if "gpu" in record else []:
            if "rows" in run and run.get("dense_call"):
                kind = "graph" if run["dense_graph"] else "call"
                seconds = {name: run[f"{name}_{kind}"] for name in ("dense", "sparse")}
                size = {name: run[name] for name in ("dtype", "rows", "columns", "tokens")}
                yield {"gpu": card_of(record["gpu"]["name"])} | size | seconds


class RooflineExplorer(Drawn):
    """Move width, tokens, GPU and dtype: both rooflines, where the layer stands under them, the speed-up they allow.

    Parameters
    ----------
    records : what benchmarks/two_four_gpu.py wrote, or published times in the same form; every product timed on the
        chosen GPU in the chosen format is a point under the roofs. None are drawn if there are none.
    gpu, dtype : names in `two_four.GPUS` and `DTYPES`
    width : rows and columns of the layer, 256 to 32,768
    tokens : rows of the input, 1 to 16,384
    share : of a dense model's time that goes into such products, 0 to 1. The whole model is at most
        1 / (1 − share + share / s) times as fast if they are s times as fast (Amdahl 1967).

    All but the records are traits that follow the page and may be set from Python; other values raise ValueError. What
    is shown is `two_four.roofline` of the layer, dense and 2:4: a bound from published peaks, not a forecast.
    """

    gpu = traitlets.Unicode(START["gpu"]).tag(sync=True)
    width = traitlets.Int(START["width"]).tag(sync=True)
    tokens = traitlets.Int(START["tokens"]).tag(sync=True)
    dtype = traitlets.Unicode(START["dtype"]).tag(sync=True)
    share = traitlets.Float(START["share"]).tag(sync=True)
    runs = traitlets.List(read_only=True).tag(sync=True)
    table = traitlets.Dict(gpu_table(), read_only=True).tag(sync=True)
    limits = traitlets.Dict(LIMITS, read_only=True).tag(sync=True)
    intensities = traitlets.List(list(INTENSITIES), read_only=True).tag(sync=True)

    def __init__(self, records: Iterable[dict[str, Any]] = (), **shown: str | float):
        self.set_trait("runs", list(recorded_runs(records)))
        super().__init__(**shown)

    @traitlets.validate("gpu", "width", "tokens", "dtype", "share")
    def _check(self, proposal: dict):
        name, value = proposal["trait"].name, proposal["value"]
        if name == "share":
            return check_range(name, value, 0, 1)
        if name not in LIMITS:
            return check_choice(name, value, GPUS if name == "gpu" else DTYPES)
        low, high = LIMITS[name]
        if not low <= value <= high:
            raise ValueError(f"{name} is {value}, must be a whole number from {low} to {high}")
        return value
