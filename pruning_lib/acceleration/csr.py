"""Unstructured sparsity stored and multiplied as CSR: what zeros anywhere gain on a CPU."""

import copy
import warnings

import torch
from torch import Tensor, nn

from pruning_lib.precision import autocast_off
from pruning_lib.structure.holding import release


def csr(matrix: Tensor) -> Tensor:
    """A matrix in CSR with int32 indices: values, their columns, and where each row begins.

    int32, since the 64-bit indices of `to_sparse_csr` take twice the room and multiply several times slower on a CPU.
    """
    if matrix.ndim != 2:
        raise ValueError(
            f"matrix has shape {tuple(matrix.shape)}, must be (rows, columns); of a convolution, flatten(1)"
        )
    nonzero = matrix != 0
    starts = torch.zeros(len(matrix) + 1, dtype=torch.int32, device=matrix.device)
    starts[1:] = nonzero.sum(1).cumsum(0)
    columns = nonzero.nonzero()[:, 1].to(torch.int32)
    return _assembled(starts, columns, matrix[nonzero], matrix.shape)


def _assembled(starts: Tensor, columns: Tensor, values: Tensor, shape: torch.Size) -> Tensor:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        return torch.sparse_csr_tensor(starts, columns, values, shape, check_invariants=False)


class CSRLinear(nn.Module):
    """A Linear layer for inference whose weight is stored as CSR: y = S x + b with the non-zeros only."""

    def __init__(self, linear: nn.Linear):
        super().__init__()
        if linear.weight.dtype not in (torch.float32, torch.float64):
            raise ValueError(f"weight is {linear.weight.dtype}, must be float32 or float64: CSR products take no other")
        self.out_features, self.in_features = linear.weight.shape
        matrix = csr(linear.weight.detach())
        self.values = nn.Parameter(matrix.values(), requires_grad=False)
        self.register_buffer("columns", matrix.col_indices())
        self.register_buffer("starts", matrix.crow_indices())
        self.bias = None if linear.bias is None else nn.Parameter(linear.bias.detach().clone(), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_autocast_enabled(x.device.type):  # what half types another layer put out
            x = x.to(self.values.dtype)
        matrix = _assembled(self.starts, self.columns, self.values, (self.out_features, self.in_features))
        rows = x.reshape(-1, self.in_features)
        # S @ x.T, since F.linear(x, S) takes a path several times slower; of one row S @ x, twice as fast again
        with autocast_off():  # there are no products of CSR in half types
            out = (matrix @ rows[0])[None] if len(rows) == 1 else (matrix @ rows.T).T
        if self.bias is not None:
            out = out + self.bias
        return out.reshape(*x.shape[:-1], self.out_features)


def as_csr(model: nn.Module) -> nn.Module:
    """A copy of `model` whose Linear layers are `CSRLinear`, with their hooks and mode; all else stays as it is.

    That goes for convolutions, for subclasses of Linear and for a Linear whose weight is computed from other tensors
    (torch's prune and weight_norm): make that permanent first.

    Raises
    ------
    ValueError
        If there is no such Linear, one is neither float32 nor float64, or the model has an nn.TransformerEncoderLayer,
        which reads the weights of its Linear layers past their forward.
    """
    for name, module in model.named_modules():
        if isinstance(module, nn.TransformerEncoderLayer):
            raise ValueError(
                f"module {name!r} is an nn.TransformerEncoderLayer, which reads its Linear weights directly"
            )
    converted = copy.deepcopy(model)
    release(converted)  # the zeros are what CSR leaves out
    replaced = {module: _as_csr(module) for module in converted.modules() if _computes_as_linear(module)}
    if not replaced:
        raise ValueError(
            f"model {type(model).__name__} has no Linear layer with a weight of its own, which is what CSR can run"
        )
    for module in list(converted.modules()):
        for key, child in module._modules.items():
            if child in replaced:
                module._modules[key] = replaced[child]
    return replaced.get(converted, converted)


def _computes_as_linear(module: nn.Module) -> bool:
    """Whether it is a Linear of torch's own with a weight of its own, and not one with another forward put in.

    A subclass may compute something else, or be read by its owner past its forward, as nn.MultiheadAttention does.
    """
    return type(module) is nn.Linear and "weight" in module._parameters and "forward" not in vars(module)


def _as_csr(linear: nn.Linear) -> CSRLinear:
    """In CSR with the hooks of its calls, of which those on its state expect a dense weight."""
    layer = CSRLinear(linear).train(linear.training)
    hooks = {key: value for key, value in vars(linear).items() if "_hook" in key and "state_dict" not in key}
    vars(layer).update(hooks)
    return layer
