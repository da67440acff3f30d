"""Layer race: how much of each layer is left as the global sparsity grows, for several scores, until layers die."""

import math
from collections.abc import Mapping, Sequence

import traitlets
from torch import Tensor

from pruning_lib.structure import keep_largest
from pruning_lib.teaching.widgets.javascript import Drawn, check_range

SPARSITIES = tuple(1 - 10 ** (-step / 15) for step in range(51))  # each takes a seventh of what is left, to 0.05 %
MOST = 3  # scores: as many colors and places as a lane has


class LayerRace(Drawn):
    """Share of weights left in every layer under a global ranking by each of several scores, over the sparsity.

    Parameters
    ----------
    scores : up to three kinds of scores by name, each a dict of tensors by layer name, the same layers for all. At each
        of `SPARSITIES` the weights stay that `keep_largest` keeps over all layers.
    signal : what arrives at the outputs, in units of the dense network's: for each kind of scores one number ≥ 0 for
        each of `SPARSITIES`; left out, it is not shown
    step : which of `SPARSITIES` is shown, from 0 to 50. A trait that follows the page and may be set from Python.

    Raises
    ------
    ValueError : for scores that are none, too many or of different layers, for a signal that does not fit or is not
        finite, for a step that is not there, and as `keep_largest` does; for the step also later.
    """

    step = traitlets.Int(0).tag(sync=True)
    sparsities = traitlets.List(list(SPARSITIES), read_only=True).tag(sync=True)
    layers = traitlets.List(read_only=True).tag(sync=True)  # name and number of weights; a saved dict would be sorted
    races = traitlets.List(read_only=True).tag(sync=True)  # name, counts `kept` by sparsity and layer, signal or None

    def __init__(
        self,
        scores: Mapping[str, Mapping[str, Tensor]],
        signal: Mapping[str, Sequence[float]] | None = None,
        **shown: int,
    ):
        if not 1 <= len(scores) <= MOST:
            raise ValueError(f"scores holds {len(scores)} kinds of scores, must hold 1 to {MOST}")
        first, *others = ({name: score.shape for name, score in layers.items()} for layers in scores.values())
        if any(shapes != first for shapes in others):
            raise ValueError("the kinds of scores differ in their layers or shapes, must be of one network")
        arrives = dict.fromkeys(scores) if signal is None else _check_signal(signal, scores)
        races = [
            {"name": name, "kept": [_kept(dict(layers), share) for share in SPARSITIES], "signal": arrives[name]}
            for name, layers in scores.items()
        ]
        self.set_trait("layers", [[name.removesuffix(".weight"), shape.numel()] for name, shape in first.items()])
        self.set_trait("races", races)
        super().__init__(**shown)

    @traitlets.validate("step")
    def _check(self, proposal: dict):
        return check_range("step", proposal["value"], 0, len(SPARSITIES) - 1)


def _kept(scores: dict[str, Tensor], sparsity: float) -> list[int]:
    masks = keep_largest(scores, sparsity)
    return [int(masks[name].sum()) for name in scores]


def _check_signal(signal: Mapping[str, Sequence[float]], scores: Mapping) -> dict[str, list[float]]:
    if set(signal) != set(scores):
        raise ValueError(f"signal is of {', '.join(signal)}, must be of {', '.join(scores)}")
    for name, values in signal.items():
        if len(values) != len(SPARSITIES):
            raise ValueError(f"signal[{name!r}] has {len(values)} values, must have one for each of {len(SPARSITIES)}")
        if bad := [value for value in values if not (math.isfinite(value) and value >= 0)]:
            raise ValueError(f"signal[{name!r}] contains {bad[0]}, must be finite numbers >= 0")
    return {name: [float(value) for value in signal[name]] for name in scores}
