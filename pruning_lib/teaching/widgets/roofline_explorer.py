"""The roofline of a square layer, dense and 2:4: what width, tokens, GPU and number format allow as speed-up."""

from typing import NamedTuple

import anywidget
import torch
import traitlets
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pruning_lib.acceleration import two_four
from pruning_lib.acceleration.two_four import GPUS, Roofline
from pruning_lib.checks import check_choice
from pruning_lib.teaching import palette
from pruning_lib.teaching.widgets.javascript import bundle, styles
from pruning_lib.teaching.widgets.still import still_figure

COLORS = {"kept": palette.KEPT, "updated": palette.UPDATED, "accent": palette.ACCENT, "muted": palette.MUTED}
DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "int8": torch.int8, "float32 (TF32)": torch.float32}
LIMITS = {"width": (256, 32768), "tokens": (1, 16384)}
INTENSITIES = (0.3, 30000.0)  # the shown part of the horizontal axis, FLOP per byte
START = {"gpu": "A100 80GB SXM", "width": 4096, "tokens": 16, "dtype": "float16"}


class Prediction(NamedTuple):
    """Both lower bounds of one layer, and what their ratio promises at most."""

    dense: Roofline
    sparse: Roofline

    @property
    def speed_up(self) -> float:
        return self.dense.seconds / self.sparse.seconds


def prediction(gpu: str, width: int, tokens: int, dtype: str) -> Prediction:
    """`two_four.roofline` of a width × width layer on `tokens`, dense and 2:4.

    Raises
    ------
    ValueError : for a GPU or dtype that is not in the tables, or a number outside `LIMITS`.
    """
    check("gpu", gpu), check("dtype", dtype), check("width", width), check("tokens", tokens)
    return Prediction(
        *(two_four.roofline(gpu, width, width, tokens, DTYPES[dtype], sparse) for sparse in (False, True))
    )


def check(name: str, value: str | int) -> str | int:
    if name in LIMITS:
        low, high = LIMITS[name]
        if not isinstance(value, int) or not low <= value <= high:
            raise ValueError(f"{name} is {value}, must be a whole number from {low} to {high}")
    else:
        check_choice(name, value, GPUS if name == "gpu" else DTYPES)
    return value


def table() -> dict[str, dict]:
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


class RooflineExplorer(anywidget.AnyWidget):
    """Move width, tokens, GPU and dtype: both rooflines, where the layer stands under them, the speed-up they allow.

    Parameters
    ----------
    gpu, dtype : names in `two_four.GPUS` and `DTYPES`
    width : rows and columns of the layer, 256 to 32,768
    tokens : rows of the input, 1 to 16,384

    All are traits that follow the page and may be set from Python; other values raise ValueError. What is shown is
    `prediction` of the four: a bound from published peaks, not a forecast.
    """

    _esm = bundle("roofline_explorer.js")
    _css = styles()

    gpu = traitlets.Unicode().tag(sync=True)
    width = traitlets.Int().tag(sync=True)
    tokens = traitlets.Int().tag(sync=True)
    dtype = traitlets.Unicode().tag(sync=True)
    table = traitlets.Dict(table(), read_only=True).tag(sync=True)
    limits = traitlets.Dict(LIMITS, read_only=True).tag(sync=True)
    intensities = traitlets.List(list(INTENSITIES), read_only=True).tag(sync=True)
    palette = traitlets.Dict(COLORS, read_only=True).tag(sync=True)

    def __init__(
        self,
        gpu: str = START["gpu"],
        width: int = START["width"],
        tokens: int = START["tokens"],
        dtype: str = START["dtype"],
    ):
        super().__init__(gpu=gpu, width=width, tokens=tokens, dtype=dtype)

    @traitlets.validate("gpu", "width", "tokens", "dtype")
    def _check(self, proposal: dict):
        return check(proposal["trait"].name, proposal["value"])

    def prediction(self) -> Prediction:
        """What the widget shows now."""
        return prediction(self.gpu, self.width, self.tokens, self.dtype)


def static_figure(
    gpu: str = START["gpu"], width: int = START["width"], tokens: int = START["tokens"], dtype: str = START["dtype"]
) -> Figure:
    """Both panels of `RooflineExplorer` as a still figure; arguments and errors as there."""
    result = prediction(gpu, width, tokens, dtype)
    with still_figure(10, 4) as figure:
        axes = figure.subplot_mosaic("RS", width_ratios=(1.2, 1))
        draw_roofs(axes["R"], gpu, dtype, result)
        draw_speed_up(axes["S"], gpu, width, tokens, dtype)
        figure.suptitle(f"{gpu}, {dtype}, {width} × {width}, {tokens} tokens", fontsize="medium")
    return figure


def draw_roofs(panel: Axes, gpu: str, dtype: str, result: Prediction) -> None:
    """Attainable TFLOP/s over FLOP per byte for dense and 2:4, and the layer as a point under each."""
    card, at = GPUS[gpu], torch.logspace(*(torch.tensor(INTENSITIES).log10().tolist()), 200)
    looks = (("dense", result.dense, palette.UPDATED, "s", "--"), ("2:4", result.sparse, palette.KEPT, "o", "-"))
    for name, one, color, mark, line in looks:
        peak = card.peak(DTYPES[dtype], name == "2:4")
        panel.loglog(at, (at * card.bandwidth).clamp_max(peak), color=color, linestyle=line)
        reached = one.flop / one.seconds / 1e12
        panel.loglog(one.intensity, reached, mark, color=color, markersize=8, label=f"{name}: bound by {one.bound}")
    panel.set(xlabel="FLOP per byte moved", ylabel="TFLOP/s at most (zeros counted)")
    panel.legend(fontsize="small", frameon=False, loc="lower right")


def draw_speed_up(panel: Axes, gpu: str, width: int, tokens: int, dtype: str) -> None:
    """The largest possible speed-up over the number of tokens."""
    counts = [2**k for k in range(15)]
    panel.semilogx(
        counts, [prediction(gpu, width, n, dtype).speed_up for n in counts], color=palette.KEPT, base=2, marker="."
    )
    here = prediction(gpu, width, tokens, dtype).speed_up
    panel.plot(tokens, here, "D", color=palette.ACCENT, markersize=8, label=f"{tokens} tokens: at most {here:.2f}×")
    panel.axhline(1, color=palette.MUTED, linewidth=1, linestyle=":")
    panel.set(xlabel="tokens", ylabel="speed-up of 2:4 at most, ×", ylim=(0.9, 2.15))
    panel.legend(fontsize="small", frameon=False, loc="lower right")
