"""Tangent explorer: one connection's indicator from 1 to 0, the loss, its tangent (SNIP-3) and its chord (SNIP-2)."""

from collections.abc import Sequence

import torch
import traitlets
from torch import Tensor

from pruning_lib.teaching.widgets.javascript import Drawn, check_range

MOST = 24  # connections: more than that nobody can tell apart in a drawing


class TangentExplorer(Drawn):
    """Drag the indicator c_j of any connection of a tiny network: the loss, what the tangent promises, what is true.

    The network is o = W₂c₂·tanh(W₁c₁·x), without biases; the loss is the mean cross-entropy over all samples. The
    browser computes it, its slopes g_j = ∂L/∂c_j at c_j = 1 (SNIP-3) and the effects ΔL_j = L(c_j = 1) − L(c_j = 0)
    (SNIP-2), for the other indicators as they stand: with all of them 1 those are `snip.sensitivity`'s before the
    absolute value, and `snip.exact_effect`'s.

    Parameters
    ----------
    first, second : W₁ (hidden, inputs) and W₂ (outputs, hidden), with at most `MOST` weights in all
    inputs, targets : samples (n, inputs) and their classes (n,)
    connection : j, the connection shown, from 0; first W₁'s, then W₂'s, each row by row
    c : the indicators of all connections, from 0 to 1; left out, all 1

    `connection` and `c` are traits that follow the page and may be set from Python.

    Raises
    ------
    ValueError : for shapes that do not fit, too many weights, values that are not finite, targets that are no classes,
        and for a choice that is not there; at the start and later.
    """

    connection = traitlets.Int(0).tag(sync=True)
    c = traitlets.List(traitlets.Float()).tag(sync=True)
    network = traitlets.Dict(read_only=True).tag(sync=True)

    def __init__(self, first: Tensor, second: Tensor, inputs: Tensor, targets: Tensor, **shown: int | Sequence[float]):
        self._count = _check(first, second, inputs, targets)
        tensors = {"first": first, "second": second, "inputs": inputs}
        network = {name: tensor.detach().double().tolist() for name, tensor in tensors.items()}
        self.set_trait("network", network | {"targets": targets.tolist()})
        super().__init__(**{"c": [1.0] * self._count} | shown)

    @traitlets.validate("connection", "c")
    def _check(self, proposal: dict):
        name, value = proposal["trait"].name, proposal["value"]
        if name == "connection":
            return check_range(name, value, 0, self._count - 1)
        if len(value) != self._count:
            raise ValueError(f"c has {len(value)} values, must have one for each of {self._count} connections")
        return [check_range(f"c[{j}]", one, 0, 1) for j, one in enumerate(value)]


def _check(first: Tensor, second: Tensor, inputs: Tensor, targets: Tensor) -> int:
    """The number of connections, or ValueError as `TangentExplorer` tells."""
    for name, tensor in {"first": first, "second": second, "inputs": inputs}.items():
        if tensor.ndim != 2 or not tensor.numel():
            raise ValueError(f"{name} has shape {tuple(tensor.shape)}, must have two axes and not be empty")
        if not tensor.isfinite().all():
            raise ValueError(f"{name} contains {tensor[~tensor.isfinite()][0].item()}, must be finite")
    expected = {"second": (len(second), len(first)), "inputs": (len(inputs), first.shape[1]), "targets": (len(inputs),)}
    for name, tensor in {"second": second, "inputs": inputs, "targets": targets}.items():
        if tuple(tensor.shape) != expected[name]:
            raise ValueError(f"{name} has shape {tuple(tensor.shape)}, must be {expected[name]} as the others are")
    if targets.dtype not in (torch.int32, torch.int64) or not ((targets >= 0) & (targets < len(second))).all():
        raise ValueError(f"targets are {targets.tolist()}, must be classes from 0 to {len(second) - 1}")
    if (count := first.numel() + second.numel()) > MOST:
        raise ValueError(f"first and second have {count} weights, must have at most {MOST} to be drawn")
    return count
