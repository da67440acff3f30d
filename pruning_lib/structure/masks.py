"""Masks: which weights stay, and how a model is kept that way."""

import os
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from pruning_lib.checks import check_model, check_seen
from pruning_lib.inputs import original
from pruning_lib.structure.holding import Handle, held, release
from pruning_lib.tensors import read_tensors, write_tensors

__all__ = ["Handle", "Masks", "prunable", "release"]


def prunable(model: nn.Module) -> dict[str, nn.Parameter]:
    """The weights that pruning may take: those of Linear and Conv1d/2d/3d, by parameter name.

    Biases, norms and embeddings are left out; so is a Linear that shares its weight with an embedding (a tied head).
    A weight used by several modules is listed once.

    Raises
    ------
    ValueError
        If the model has no such weight, or one that is computed from others (torch.nn.utils.parametrize), is complex or
        not there yet, or if its layers cannot be seen (TorchScript, exported, quantized).
    """
    model = check_model(model)
    taken = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    weights = {}
    for path, module in model.named_modules():
        if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d) and id(module.weight) not in taken:
            if not isinstance(module.weight, nn.Parameter):
                raise ValueError(f"{path}.weight is computed (parametrized), must be a parameter to be pruned")
            taken.add(id(module.weight))
            weights[f"{path}.weight" if path else "weight"] = module.weight
    if not weights:
        raise ValueError(f"model {type(model).__name__} has no prunable weight: no Linear and no Conv1d/2d/3d layer")
    return weights


class Masks(Mapping[str, Tensor]):
    """One boolean tensor per weight, by parameter name; True = stays (the M of TAX-2).

    >>> masks = keep_largest({name: w.abs() for name, w in prunable(model).items()}, sparsity=0.9)
    >>> masks.sparsity
    0.9
    >>> handle = masks.hold(model)  # train here: what is masked stays exactly zero
    >>> handle.remove()
    """

    def __init__(self, masks: Mapping[str, Tensor]):
        for name, mask in masks.items():
            kind = f"{mask.dtype} {tuple(mask.shape)}" if isinstance(mask, Tensor) else type(mask).__name__
            if not isinstance(mask, Tensor) or mask.dtype != torch.bool or not mask.numel():
                raise ValueError(f"masks[{name!r}] is {kind}, must be a torch.bool tensor (True = stays), not empty")
        if not masks:
            raise ValueError("masks is empty, must name at least one weight")
        self._masks = dict(masks)

    def __getitem__(self, name: str) -> Tensor:
        return self._masks[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._masks)

    def __len__(self) -> int:
        return len(self._masks)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Masks):
            return NotImplemented
        return self.keys() == other.keys() and all(torch.equal(mask, other[name]) for name, mask in self.items())

    __hash__ = None

    def __repr__(self) -> str:
        return f"Masks({len(self)} weights, {self.kept:,} of {self.total:,} kept, sparsity {self.sparsity:.4f})"

    @property
    def kept(self) -> int:
        """Number of weights that stay: ‖M‖₀."""
        return sum(int(mask.count_nonzero()) for mask in self.values())

    @property
    def total(self) -> int:
        """Number of weights in all: K of TAX-1."""
        return sum(mask.numel() for mask in self.values())

    @property
    def sparsity(self) -> float:
        """Share of zeros over all weights, in [0, 1]."""
        return 1 - self.kept / self.total

    def per_layer(self) -> dict[str, float]:
        """Share of zeros of each weight, in [0, 1]."""
        return {name: 1 - int(mask.count_nonzero()) / mask.numel() for name, mask in self.items()}

    def zero_(self, model: nn.Module) -> None:
        """Write zeros into `model` where the mask is False (TAX-3). Nothing keeps them zero in later training."""
        for name, weight in self.weights_of(model).items():
            with torch.no_grad():
                weight.masked_fill_(~self[name].to(weight.device), 0)

    def hold(self, model: nn.Module) -> Handle:
        """Zero the masked weights of `model` and keep them exactly zero through any training (TAX-2).

        They get no gradient, and every optimizer step, forward pass and loaded state_dict leaves them at zero; copies
        and pickles of the model are held too. Parameter names and the state_dict stay those of the plain model. Step
        hooks of your own run before the zeros are written. The exporters torch.export, torch.onnx and torch.jit.trace,
        and torch.compile, take the held model as it is, zeros and all; before torch.jit.script remove the handle.

        A new tensor in the place of a held weight is held as well, from the next pass on that is not compiled. Once the
        weight is computed from others (weight_norm and other parametrizations, torch.nn.utils.prune), has another
        shape, or its layer is replaced, the next pass raises ValueError naming it: remove the handle first.

        Returns
        -------
        Handle
            `handle.remove()` ends it and leaves the zeros; `handle.remove(restore=True)` puts the old values back.

        Raises
        ------
        ValueError
            If a name or a shape does not fit the model, two names are one weight, a weight is held already, or the
            model hides its layers. The model is unchanged.
        """
        check_seen(model)
        names: dict[int, str] = {}
        for name, weight in self.weights_of(model).items():
            if held(weight):
                raise ValueError(f"{name!r} is held by a mask already: remove that handle first")
            if id(weight) in names:
                raise ValueError(f"{name!r} and {names[id(weight)]!r} are one weight, must have one mask")
            names[id(weight)] = name
        return Handle(model, self)

    def weights_of(self, model: nn.Module) -> dict[str, nn.Parameter]:
        """The parameters of `model` that these masks belong to; ValueError if a name or a shape does not fit."""
        parameters = dict(original(model).named_parameters(remove_duplicate=False))
        for name, mask in self.items():
            if name not in parameters:
                raise ValueError(f"masks name {name!r}, which the model has not; it has {', '.join(parameters)}")
            if parameters[name].shape != mask.shape:
                raise ValueError(
                    f"masks[{name!r}] has shape {tuple(mask.shape)}, "
                    f"must be {tuple(parameters[name].shape)} as the weight"
                )
        return {name: parameters[name] for name in self}

    def save(self, path: str | os.PathLike) -> None:
        """Write the masks to `path` as safetensors, whole or not at all."""
        write_tensors(path, self)

    @classmethod
    def load(cls, path: str | os.PathLike) -> "Masks":
        """Read masks written by `save`; ValueError if the file is truncated or holds something else."""
        try:
            return cls(read_tensors(path)[0])
        except ValueError as error:
            raise ValueError(f"{path} is not a whole mask file: {error}") from error
