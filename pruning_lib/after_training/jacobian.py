"""A network's outputs and squared error as functions of its weights, written as one vector: what OBS asks of it."""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, hessian, jacrev, vmap

from pruning_lib.inputs import Batch, Inputs, as_arguments, described, original, with_targets
from pruning_lib.precision import without_autocast
from pruning_lib.structure import prunable

_MIXING = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)  # while training
_RANDOM = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)


def weights_of(model: nn.Module, names: Iterable[str] | None = None) -> dict[str, nn.Parameter]:
    """The parameters of `model` called `names` (biases may be among them), in that order; by default `prunable`'s."""
    if names is None:
        return prunable(model)
    names, parameters = list(names), dict(original(model).named_parameters())
    for name in names:
        if name not in parameters:
            raise ValueError(f"names holds {name!r}, must be among {', '.join(parameters)}")
    if not names or len(set(names)) < len(names):
        raise ValueError(f"names is {names}, must name at least one parameter, each once")
    return {name: parameters[name] for name in names}


def as_vector(weights: dict[str, Tensor]) -> Tensor:
    """w (n,), float64: the entries of all `weights`, one tensor after the other, row by row."""
    return torch.cat([weight.detach().reshape(-1).double() for weight in weights.values()])


def split(w: Tensor, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of `as_vector`: tensors shaped as `weights`, of their types."""
    parts = w.split([weight.numel() for weight in weights.values()])
    return {
        name: part.view(like.shape).to(like.dtype) for part, (name, like) in zip(parts, weights.items(), strict=True)
    }


@torch.no_grad()
def write_(weights: dict[str, Tensor], w: Tensor) -> None:
    """Write the vector w into `weights`."""
    for name, value in split(w, weights).items():
        weights[name].copy_(value)


def check_eval(model: nn.Module) -> None:
    """Raise ValueError if a layer of `model` mixes samples or draws random numbers, as some do in training mode."""
    for path, module in original(model).named_modules():
        if module.training and isinstance(module, _MIXING + _RANDOM):
            raise ValueError(
                f"{path or 'model'} ({type(module).__name__}) is in training mode: call model.eval() first"
            )


@without_autocast
def jacobian_rows(
    model: nn.Module, inputs: Inputs, names: Iterable[str] | None = None, block: int = 256
) -> Iterator[Tensor]:
    """Rows X_l^[k] = ∂F_l/∂w of the outputs' derivatives (OBS-9): sample after sample, in each output after output.

    Every sample is differentiated by itself (torch.func), so its outputs must not depend on the others.

    Parameters
    ----------
    model : nothing of it changes; with batch norm or dropout it must be in evaluation mode
    inputs : one batch of P samples: a tensor, a tuple or a dict, the samples along the first dimension
    names : parameters that make up w, as in `weights_of`
    block : rows computed at a time, at least those of one sample

    Yields
    ------
    Tensor (rows, n) : P·n₀ rows in all, in the type of the weights

    Raises
    ------
    ValueError
        If a name is unknown, `block` is not positive, the model is in training mode and mixes samples or puts out no
        tensor, or an argument in `inputs` is no tensor of samples.
    """
    if block < 1:
        raise ValueError(f"block is {block}, must be at least 1")
    check_eval(model)
    return _rows_of(model, inputs, weights_of(model, names), block)


def _rows_of(model: nn.Module, inputs: Inputs, weights: dict[str, Tensor], block: int) -> Iterator[Tensor]:
    weights = {name: weight.detach() for name, weight in weights.items()}
    args, kwargs = as_arguments(model, inputs)
    values = *args, *kwargs.values()
    for value in values:
        if not isinstance(value, Tensor) or not value.ndim:
            raise ValueError(
                f"inputs hold {described(value)}, must be tensors with the samples along the first dimension"
            )

    def output(weights: dict[str, Tensor], *sample: Tensor) -> Tensor:
        """F of one sample, (n₀,)."""
        alone = [value.unsqueeze(0) for value in sample]
        named = dict(zip(kwargs, alone[len(args) :], strict=True))
        return _outputs(model, weights, tuple(alone[: len(args)]), named).flatten()

    derivative = vmap(jacrev(output), in_dims=(None, *[0] * len(values)))
    samples = len(values[0])
    if not samples:
        return
    with torch.no_grad():
        outputs = len(output(weights, *(value[0] for value in values)))
    step = max(1, block // outputs)
    for start in range(0, samples, step):
        found = derivative(weights, *(value[start : start + step] for value in values))
        # per weight (samples, n₀, *shape) → (samples·n₀, n)
        yield torch.cat([found[name].flatten(0, 1).flatten(1) for name in weights], dim=1)


def _outputs(model: nn.Module, weights: dict[str, Tensor], args: tuple, kwargs: dict[str, Any]) -> Tensor:
    outputs = functional_call(original(model), weights, args, kwargs)
    if not isinstance(outputs, Tensor):
        raise ValueError(f"the model puts out {described(outputs)}, must be a tensor")
    return outputs


@without_autocast
def squared_error(model: nn.Module, batches: Iterable[Batch], weights: dict[str, Tensor] | None = None) -> Tensor:
    """E = 1/(2P) Σ_k (t − o)ᵀ(t − o) over all samples (OBS-6), float64; with `weights` in place of the model's.

    Raises ValueError if targets and outputs differ in shape (labels must be one-hot), there is no sample, or batch norm
    or dropout is in training mode.
    """
    check_eval(model)
    total, samples = 0.0, 0
    for inputs, targets in with_targets(batches):
        args, kwargs = as_arguments(model, inputs)
        outputs = _outputs(model, weights or {}, args, kwargs)
        if not isinstance(targets, Tensor) or targets.shape != outputs.shape:
            raise ValueError(
                f"targets are {described(targets)}, must be a tensor of shape {tuple(outputs.shape)} as the outputs: "
                "the error is squared, so labels are given one-hot"
            )
        total = total + (targets - outputs).double().square().sum()  # half precision ends at 65504
        samples += len(targets)
    if not samples:
        raise ValueError("batches is empty, must hold at least one sample")
    return total / (2 * samples)


@without_autocast
def gradient(model: nn.Module, batches: Iterable[Batch], names: Iterable[str] | None = None) -> Tensor:
    """∂E/∂w (n,), float64: the first term of the Taylor series (OBS-1), 0 at a minimum. Errors as `squared_error`."""
    weights = {name: weight.detach().requires_grad_() for name, weight in weights_of(model, names).items()}
    with torch.enable_grad():
        found = torch.autograd.grad(squared_error(model, batches, weights), list(weights.values()))
    return as_vector(dict(zip(weights, found, strict=True)))


@without_autocast
def exact_hessian(model: nn.Module, batches: Iterable[Batch], names: Iterable[str] | None = None) -> Tensor:
    """∂²E/∂w² (n, n), float64, with the second term that OBS-8 drops (OBS-7). For small nets: n² numbers, twice.

    Errors as `squared_error`.
    """
    weights, batches = weights_of(model, names), list(batches)
    return hessian(lambda w: squared_error(model, batches, split(w, weights)))(as_vector(weights)).detach()
