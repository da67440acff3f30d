"""Test images that a widget's network reads in the page, and the network itself, as few bytes."""

import copy

import torch
import traitlets
from torch import Tensor, nn

from pruning_lib.structure import prunable


class ShownImages(traitlets.HasTraits):
    """The images of a widget, sorted by class, and which of them is looked at."""

    image = traitlets.Int(0).tag(sync=True)
    shape = traitlets.List(read_only=True).tag(sync=True)  # height, width
    grays = traitlets.List(read_only=True).tag(sync=True)  # the value that each byte of the pixels stands for
    pixels = traitlets.Bytes(read_only=True).tag(sync=True)
    labels = traitlets.Bytes(read_only=True).tag(sync=True)

    def hold_images(self, network: nn.Sequential, test: tuple[Tensor, Tensor]) -> None:
        """Pack the images that `network` is to read; ValueError if it can't."""
        inputs, labels = test
        weights = list(prunable(network).values())
        pixels, classes = weights[0].shape[1], weights[-1].shape[0]
        if inputs.ndim != 4 or not len(inputs) or inputs.shape[1] != 1 or inputs[0].numel() != pixels:
            allowed = f"must be (n, 1, height, width) with the network's {pixels} pixels, n at least 1"
            raise ValueError(f"images have shape {tuple(inputs.shape)}, {allowed}")
        if (
            labels.shape != inputs.shape[:1]
            or labels.is_floating_point()
            or not ((labels >= 0) & (labels < classes)).all()
        ):
            raise ValueError(f"labels must be {len(inputs)} whole numbers from 0 to {classes - 1}, one for every image")
        if not inputs.isfinite().all():
            raise ValueError(f"images contain {inputs[~inputs.isfinite()][0].item()}, must be finite")
        order = labels.argsort(stable=True)
        grays, places = inputs[order].unique(return_inverse=True)
        if len(grays) > 256:
            raise ValueError(f"images have {len(grays)} different values, must have at most 256")
        self.set_trait("shape", list(inputs.shape[2:]))
        self.set_trait("grays", grays.tolist())
        self.set_trait("pixels", places.to(torch.uint8).numpy().tobytes())
        self.set_trait("labels", labels[order].to(torch.uint8).numpy().tobytes())

    @traitlets.validate("image")
    def _check_image(self, proposal: dict):
        if not 0 <= proposal["value"] < len(self.labels):
            raise ValueError(f"image is {proposal['value']}, must be from 0 to {len(self.labels) - 1}")
        return proposal["value"]


def rounded(network: nn.Sequential) -> nn.Sequential:
    """A copy of the network with its parameters rounded to float16; ValueError if the page could not run it."""
    layers = network if isinstance(network, nn.Sequential) else [network]
    kinds = [type(layer) for layer in layers if not isinstance(layer, nn.Flatten)]
    if kinds != [nn.Linear, nn.ReLU] * (len(kinds) // 2) + [nn.Linear]:
        found = ", ".join(kind.__name__ for kind in kinds)
        raise ValueError(f"network is {found or 'empty'}, must be a Sequential of Linear layers with ReLU between them")
    if any(isinstance(layer, nn.Linear) and layer.bias is None for layer in layers):
        raise ValueError("network has a layer without bias, must have a bias in each")
    network = copy.deepcopy(network).cpu().half().float().eval()
    for name, parameter in network.named_parameters():
        if not parameter.isfinite().all():
            raise ValueError(f"{name} is not finite in float16, must be within ±65504")
    return network


def halves(vector: Tensor) -> bytes:
    """As little-endian float16."""
    return vector.half().numpy().astype("<f2").tobytes()
