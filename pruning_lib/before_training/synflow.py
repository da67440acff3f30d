"""SynFlow: which weights carry the flow from inputs to outputs, asked without data, in many small steps.

Source: Tanaka et al. 2020, "Pruning neural networks without any data by iteratively conserving synaptic flow".
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

from pruning_lib.before_training.iterative_snip import in_rounds
from pruning_lib.checks import check_scores
from pruning_lib.inputs import Inputs, as_arguments, described, original
from pruning_lib.modes import evaluating
from pruning_lib.structure import Masks, prunable

_OTHER_NORMS = (nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, _InstanceNorm)


def scores(model: nn.Module, example_inputs: Inputs) -> dict[str, Tensor]:
    """Synaptic saliency of every prunable weight, in float64.

    s_j = |w_j| · ∂R/∂|w_j| with R = 1ᵀ (∏_l |W^l|) 1: the sum of the outputs for inputs that are all 1, with absolute
    weights and no biases. So s_j is the sum over all paths through weight j of the product of the path's |w|, and in a
    chain of layers each layer's scores add up to R: a layer with few weights left scores high, and none dies before the
    others. (Layers that a shortcut passes by share R with it, and can die.)

    Parameters
    ----------
    model : with activations that let positive values pass, as ReLU does. It runs in evaluation mode; of batch norm
        only the scale |γ|/√(σ² + ε) counts. Nothing of it changes.
    example_inputs : what the model's forward takes; only the shapes count. One sample is enough.

    Raises
    ------
    ValueError
        If no input is of floating point, the outputs are no tensor, a norm is not batch norm with running statistics
        (others scale the flow back, whatever is gone), there is no prunable weight, or a score is not finite.
    """
    names = list(prunable(model))
    model = original(model)
    for name, module in model.named_modules():
        if isinstance(module, _OTHER_NORMS) or (isinstance(module, _BatchNorm) and module.running_mean is None):
            raise ValueError(f"layer {name!r} is {type(module).__name__}, must be batch norm with running statistics")
    with evaluating(model), torch.enable_grad():
        # In float64: the sum over all paths of a deep network is beyond float32.
        parameters = {
            name: torch.zeros_like(value, dtype=torch.float64)
            if name.endswith("bias")
            else value.detach().double().abs()
            for name, value in model.named_parameters()
        }
        buffers = {
            name: value.double() if value.is_floating_point() else value for name, value in model.named_buffers()
        }
        buffers |= {name: torch.zeros_like(buffers[name]) for name in buffers if name.endswith("running_mean")}
        weights = [parameters[name].requires_grad_() for name in names]
        args, kwargs = as_arguments(model, example_inputs)
        if not any(map(_is_real, (*args, *kwargs.values()))):
            raise ValueError(f"example_inputs is {described(example_inputs)}, must hold a floating-point tensor")
        args, kwargs = tuple(map(_ones, args)), {name: _ones(value) for name, value in kwargs.items()}
        outputs = functional_call(model, (parameters, buffers), args, kwargs)
        outputs = getattr(outputs, "logits", outputs)
        if not isinstance(outputs, Tensor):
            raise ValueError(f"outputs are {described(outputs)}, must be a tensor")
        # R = 1ᵀ (∏ |W|) 1
        flows = torch.autograd.grad(outputs.sum(), weights, allow_unused=True)
    # s = |w| · ∂R/∂|w|
    found = [torch.zeros_like(w) if flow is None else w.detach() * flow for w, flow in zip(weights, flows, strict=True)]
    return check_scores(dict(zip(names, found, strict=True)))


def prune(model: nn.Module, example_inputs: Inputs, sparsity: float, rounds: int = 100, progress: bool = True) -> Masks:
    """Masks that keep round(m · (1 − sparsity)) weights, by `scores`, chosen anew in each of the steps of `in_rounds`.

    The model is unchanged; `masks.hold(model)` applies them. Raises ValueError as `scores` and `in_rounds` do.
    """
    return in_rounds(model, lambda left: scores(left, example_inputs), sparsity, rounds, progress)


def _is_real(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()


def _ones(value: Any) -> Any:
    return torch.ones_like(value, dtype=torch.float64) if _is_real(value) else value
