"""LeNet-300-100 on `digits`, recorded: as initialized, trained, and trained under masks chosen at initialization.

`benchmarks/recorded_lenet.py` makes the file. In float16, since widgets carry it into pages.
"""

import os
import re
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from pruning_lib.checks import check_choice
from pruning_lib.structure import Masks, keep_largest, prunable
from pruning_lib.tensors import read_tensors, write_tensors
from pruning_lib.workbench import models

FILE = Path(__file__).with_suffix(".safetensors")


class Recorded(NamedTuple):
    """What the file holds; each network is one float16 vector, as `to_vector` makes it.

    start, dense : as initialized, and trained without a mask
    ranks : score → `ranking` of all weights by it
    trained : (score, sparsity) → trained under that mask, without the weights that are masked
    about : how it was made
    """

    start: Tensor
    dense: Tensor
    ranks: dict[str, Tensor]
    trained: dict[tuple[str, float], Tensor]
    about: dict

    @property
    def sparsities(self) -> list[float]:
        """At which sparsities there is a trained network; the first is 0, the dense one."""
        return [0.0, *sorted({sparsity for _, sparsity in self.trained})]

    def masks(self, score: str, sparsity: float) -> Masks:
        """The masks that a score chooses at initialization; ValueError if it is unknown or the sparsity no share."""
        check_choice("score", score, self.ranks)
        weights = prunable(models.lenet_300_100((1, 8, 8)))
        parts = self.ranks[score].int().split([weight.numel() for weight in weights.values()])
        scores = {name: -part.view_as(weights[name]) for name, part in zip(weights, parts, strict=True)}
        return keep_largest(scores, sparsity)

    def network(self, score: str, sparsity: float, trained: bool = True) -> nn.Sequential:
        """The network under these masks, trained or as initialized; ValueError for a sparsity not in `sparsities`."""
        check_choice("sparsity", sparsity, self.sparsities)
        masks = self.masks(score, sparsity)
        vector = (self.dense if trained else self.start).float()
        if trained and sparsity:
            keep = torch.cat([mask.flatten() for mask in masks.values()])
            values = self.trained[score, sparsity].float()
            weights = torch.zeros(len(keep)).masked_scatter(keep, values[: masks.kept])
            vector = torch.cat([weights, values[masks.kept :]])
        network = from_vector(vector)
        masks.zero_(network)
        return network


def to_vector(network: nn.Module) -> Tensor:
    """All weights of the network, then all biases, rounded to float16."""
    return torch.cat([parameter.detach().flatten() for parameter in _weights_then_biases(network)]).half()


def from_vector(vector: Tensor) -> nn.Sequential:
    """The network of a vector that `to_vector` made."""
    network = models.lenet_300_100((1, 8, 8))
    parameters = _weights_then_biases(network)
    parts = vector.split([parameter.numel() for parameter in parameters])
    with torch.no_grad():
        for parameter, part in zip(parameters, parts, strict=True):
            parameter.copy_(part.view_as(parameter))
    return network.eval()


def _weights_then_biases(network: nn.Module) -> list[nn.Parameter]:
    weights = prunable(network)
    return [*weights.values(), *(bias for name, bias in network.named_parameters() if name not in weights)]


def ranking(scores: Tensor) -> Tensor:
    """The place of each of at most 65,536 scores, 0 for the largest; of equal ones the first comes first (uint16)."""
    order = scores.argsort(descending=True, stable=True)
    return torch.empty_like(order).scatter_(0, order, torch.arange(len(order))).to(torch.uint16)


def write(recorded: Recorded, path: str | os.PathLike = FILE) -> None:
    """Write the file, all ranks but magnitude's, which can be read off the weights."""
    tensors = {"start": recorded.start, "dense": recorded.dense}
    tensors |= {f"rank {score}": rank for score, rank in recorded.ranks.items() if score != "magnitude"}
    tensors |= {f"trained {score} {sparsity}": values for (score, sparsity), values in recorded.trained.items()}
    write_tensors(path, tensors, recorded.about)


def load(path: str | os.PathLike = FILE) -> Recorded:
    """Read the file that ships with the package, or another that `write` made, its scores in alphabetical order.

    ValueError if it is not whole, or one of something else.
    """
    tensors, about = read_tensors(path)
    network = models.lenet_300_100((1, 8, 8))
    weights, parameters = (sum(p.numel() for p in of) for of in (prunable(network).values(), network.parameters()))
    start, dense = (tensors.get(name, torch.empty(0)) for name in ("start", "dense"))
    ranks = {name.removeprefix("rank "): tensors[name] for name in tensors if name.startswith("rank ")}
    named = {name: re.fullmatch(r"trained (.+) ([\d.]+)", name) for name in tensors}
    trained = {(found[1], float(found[2])): tensors[name] for name, found in named.items() if found}
    every = {(score, sparsity) for score in [*ranks, "magnitude"] for _, sparsity in trained}
    sizes = [(each.shape, (parameters,)) for each in (start, dense)]
    sizes += [(rank.shape, (weights,)) for rank in ranks.values()]
    if any(shape != due for shape, due in sizes) or trained.keys() != every:
        raise ValueError(f"{path} holds no recorded LeNet: start, dense, and of each score a rank and networks")
    ranks["magnitude"] = ranking(start[:weights].abs())
    return Recorded(start, dense, dict(sorted(ranks.items())), trained, about)
