"""The roofline of a square layer, dense and 2:4: what width, tokens, GPU and number format allow as speed-up."""

import torch
import traitlets

from pruning_lib.acceleration import two_four
from pruning_lib.acceleration.two_four import GPUS
from pruning_lib.checks import check_choice
from pruning_lib.teaching.widgets.javascript import Drawn

DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "int8": torch.int8, "float32 (TF32)": torch.float32}
LIMITS = {"width": (256, 32768), "tokens": (1, 16384)}
INTENSITIES = (0.3, 30000.0)  # the shown part of the horizontal axis, FLOP per byte
START = {"gpu": "A100 80GB SXM", "width": 4096, "tokens": 16, "dtype": "float16"}


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


class RooflineExplorer(Drawn):
    """Move width, tokens, GPU and dtype: both rooflines, where the layer stands under them, the speed-up they allow.

    Parameters
    ----------
    gpu, dtype : names in `two_four.GPUS` and `DTYPES`
    width : rows and columns of the layer, 256 to 32,768
    tokens : rows of the input, 1 to 16,384

    All are traits that follow the page and may be set from Python; other values raise ValueError. What is shown is
    `two_four.roofline` of the layer, dense and 2:4: a bound from published peaks, not a forecast.
    """

    gpu = traitlets.Unicode(START["gpu"]).tag(sync=True)
    width = traitlets.Int(START["width"]).tag(sync=True)
    tokens = traitlets.Int(START["tokens"]).tag(sync=True)
    dtype = traitlets.Unicode(START["dtype"]).tag(sync=True)
    table = traitlets.Dict(gpu_table(), read_only=True).tag(sync=True)
    limits = traitlets.Dict(LIMITS, read_only=True).tag(sync=True)
    intensities = traitlets.List(list(INTENSITIES), read_only=True).tag(sync=True)

    @traitlets.validate("gpu", "width", "tokens", "dtype")
    def _check(self, proposal: dict):
        name, value = proposal["trait"].name, proposal["value"]
        if name not in LIMITS:
            return check_choice(name, value, GPUS if name == "gpu" else DTYPES)
        low, high = LIMITS[name]
        if not low <= value <= high:
            raise ValueError(f"{name} is {value}, must be a whole number from {low} to {high}")
        return value
