"""Controls of pruning: masks that know less than a method's, so that one sees what its knowledge is worth.

Seeds count up from 0 where weights and data are drawn, here down from −1, so that nothing here depends on those.
"""

from collections.abc import Callable, Mapping
from contextlib import ExitStack

import torch
from torch import Tensor, nn

from pruning_lib.checks import check_at_least
from pruning_lib.modes import evaluating
from pruning_lib.structure import prunable


def shuffled(tensors: Mapping[str, Tensor], seed: int) -> dict[str, Tensor]:
    """Each tensor with its entries in a random order.

    The order follows from `seed`, the sizes and their sequence only: masks and the weights under them, each shuffled
    with the same seed, stay together. Of a layer's mask nothing is left but the count.

    Source: Frankle et al. 2021, "Pruning Neural Networks at Initialization: Why Are We Missing the Mark?".
    """
    generator = _generator(seed)
    return {
        name: tensor.detach().flatten()[torch.randperm(tensor.numel(), generator=generator)].view(tensor.shape)
        for name, tensor in tensors.items()
    }


def same_counts(masks: Mapping[str, Tensor], seed: int) -> dict[str, Tensor]:
    """Each mask shuffled so that every row and every column of it keeps its count.

    Rows are a layer's outputs, columns its inputs (of a convolution: each place of the kernel for each channel). Again
    and again two connections exchange their outputs, a → b and c → d for a → d and c → b, unless one of these is there
    already. Twenty proposals for each connection; what can't change, as in a mask without zeros, stays.
    """
    generator, mixed = _generator(seed), {}
    for name, mask in masks.items():
        ends = mask.flatten(1).nonzero().tolist()  # (output, input) of each connection
        there = set(map(tuple, ends))
        for one, other in torch.randint(len(ends) or 1, (20 * len(ends), 2), generator=generator).tolist():
            (a, b), (c, d) = ends[one], ends[other]
            if (a, d) not in there and (c, b) not in there:
                there -= {(a, b), (c, d)}
                there |= {(a, d), (c, b)}
                ends[one], ends[other] = (a, d), (c, b)
        flat = torch.zeros_like(mask).flatten(1)
        if ends:
            flat[tuple(torch.tensor(ends).T)] = True
        mixed[name] = flat.view(mask.shape)
    return mixed


def random_scores(model: nn.Module, seed: int) -> dict[str, Tensor]:
    """Scores that know nothing of the weights."""
    generator = _generator(seed)
    return {name: torch.rand(weight.shape, generator=generator) for name, weight in prunable(model).items()}


def erk_scores(model: nn.Module, seed: int) -> dict[str, Tensor]:
    """Scores whose k largest are a random mask with layers as dense as Erdős–Rényi-kernel has them.

    A layer of shape (n_out, n_in, kernel…) keeps the share min(1, ε · (n_out + n_in + Σ kernel) / (n_out · n_in · Π
    kernel)) of its weights: the smaller, the denser. The weight of random rank r in its layer, counted from 1, scores
    −(r − ½)/(n_out + n_in + Σ kernel). So those above a threshold −1/ε are as many in each layer as ERK asks for,
    rounded, and never more than there are.

    Source: Evci et al. 2020, "Rigging the Lottery: Making All Tickets Winners".
    """
    generator = _generator(seed)
    return {
        name: (-0.5 - torch.randperm(weight.numel(), generator=generator).double()).view(weight.shape)
        / sum(weight.shape)
        for name, weight in prunable(model).items()
    }


def same_signal_(model: nn.Module, reference: nn.Module, inputs: Tensor) -> None:
    """Scale each prunable layer of `model` until its outputs spread over `inputs` as those of `reference` do.

    The spread is the standard deviation over the inputs, averaged over the layer's outputs. Layers are scaled one after
    the other, in the order of `prunable`, which must be that of the computation. A layer that passes nothing on stays.

    Raises
    ------
    ValueError
        For fewer than two inputs, which spread nowhere.
    """
    check_at_least(2, inputs=len(inputs))
    wanted = _spreads(reference, inputs)
    for name, weight in prunable(model).items():
        found = _spreads(model, inputs)[name]
        if found > 0:
            weight.data *= wanted[name] / found


def _spreads(model: nn.Module, inputs: Tensor) -> dict[str, Tensor]:
    """Of the outputs of each prunable layer, by its weight's name."""
    found = {}

    def noted(name: str) -> Callable[[nn.Module, tuple, Tensor], None]:
        return lambda module, given, outputs: found.update({name: outputs.std(dim=0).mean()})

    with evaluating(model), ExitStack() as hooks:
        for name in prunable(model):
            layer = model.get_submodule(name.rpartition(".")[0])
            hooks.callback(layer.register_forward_hook(noted(name)).remove)
        model(inputs)
    return found


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(-1 - seed)
