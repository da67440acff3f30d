"""A layer as the matrix products it does: Linear as it is, a convolution unfolded, one product per group."""

import math
from collections.abc import Iterator

from torch import Tensor, nn
from torch.nn import functional as F

CHUNK = 2**26  # bytes of unfolded inputs at a time: each input of a convolution appears once per place of the kernel


def as_matrices(layer: nn.Module, weight: Tensor) -> list[Tensor]:
    """`weight` of `layer`, one matrix (out, in·kh·kw) per group; views of it."""
    return list(weight.flatten(1).chunk(getattr(layer, "groups", 1)))


def unfolded(layer: nn.Module, inputs: Tensor) -> Iterator[tuple[int, Tensor]]:
    """(group, inputs (samples, columns)) with which `layer` multiplies the matrices of `as_matrices`, in pieces."""
    if isinstance(layer, nn.Linear):
        yield 0, inputs.reshape(-1, layer.in_features)
        return
    spatial = len(layer.kernel_size)
    if inputs.ndim == spatial + 1:
        inputs = inputs[None]
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    inputs = F.pad(inputs, layer._reversed_padding_repeated_twice, mode)
    per_sample = inputs.shape[1:].numel() * math.prod(layer.kernel_size) * inputs.element_size()
    for part in inputs.split(max(1, CHUNK // per_sample)):
        windows = part
        for dim, (kernel, dilation, stride) in enumerate(
            zip(layer.kernel_size, layer.dilation, layer.stride, strict=True), start=2
        ):
            windows = windows.unfold(dim, (kernel - 1) * dilation + 1, stride)[..., ::dilation]
        # (samples, in, places…, kernel…) -> (samples, places…, in, kernel…)
        windows = windows.movedim(1, 1 + spatial)
        for group, channels in enumerate(windows.chunk(layer.groups, dim=1 + spatial)):
            yield group, channels.flatten(1 + spatial).flatten(0, -2)
