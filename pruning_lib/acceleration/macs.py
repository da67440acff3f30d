"""Multiply–accumulates of a forward pass, by module, all of them and those with a weight that is not zero.

A dispatch mode sees every product that runs, whoever calls it: convolutions, linear layers, plain matrix products, and
the two inside attention; hooks tell in which module. One MAC is two FLOP; products with padding count, as usual.
"""

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from math import prod
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from pruning_lib.checks import check_seen
from pruning_lib.inputs import Inputs, call
from pruning_lib.modes import evaluating

_aten = torch.ops.aten
# op → where its two factors stand among the arguments
_PRODUCTS = dict.fromkeys([_aten.mm, _aten.bmm, _aten.mv, _aten.dot, _aten.vdot, _aten._int_mm], (0, 1))
_PRODUCTS |= dict.fromkeys([_aten.addmm, _aten.addbmm, _aten.baddbmm, _aten.addmv, _aten._addmm_activation], (1, 2))
_PRODUCTS[_aten._sparse_addmm] = 1, 2  # what torch.sparse.mm calls
_CONVOLUTIONS = (_aten.convolution, _aten._convolution)
# they multiply, but what is not visible from here
_OPAQUE = re.compile("rnn|trilinear|native_multi_head|encoder_layer_fwd|semi_structured|cutlass|cslt|cusparselt")
_OTHER_PRODUCT = re.compile("mm(_|$)|matmul")  # names of products that are not in the table


class Count(NamedTuple):
    """Multiply–accumulates: all, and those whose weight is not zero."""

    dense: int
    nonzero: int


class Macs(NamedTuple):
    """MACs of one forward pass on the given inputs, whole batch."""

    dense: int
    nonzero: int
    by_module: dict[str, Count]  # the innermost module's name → its own products


def macs(model: nn.Module, example_inputs: Inputs) -> Macs:
    """Count the multiply–accumulates of one forward pass.

    A weight is used once per output position (convolution) or row of its input (linear): dense counts every use,
    `nonzero` those of weights that are not zero, which a perfect sparse machine would do. Products of two activations,
    Q Kᵀ and the attention times V, count in full in both, masked or not: batch·heads·queries·keys·(d_k + d_v).

    Parameters
    ----------
    model : nn.Module
        Run once in evaluation mode without gradients; unchanged after it.
    example_inputs : tensor, tuple of positional or dict of keyword arguments

    Raises
    ------
    ValueError
        If an operator multiplies out of sight (a recurrent layer's fused kernel) or is a product that is not known, or
        the model's layers cannot be seen (TorchScript, an exported graph, quantized).
    """
    model = check_seen(model)
    counter = Counter(model)
    with evaluating(model), _unfused_attention(), counter.named(model), counter:
        call(model, example_inputs)
    by_module = {name: Count(*both) for name, both in counter.counts.items()}
    return Macs(sum(c.dense for c in by_module.values()), sum(c.nonzero for c in by_module.values()), by_module)


class Counter(TorchDispatchMode):
    """Adds up the products of a model's forward pass."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.weights = {tensor.untyped_storage().data_ptr() for tensor in model.parameters()}
        self.stack: list[tuple[str, nn.Module]] = []
        self.counts: dict[str, list[int]] = {}

    @contextmanager
    def named(self, model: nn.Module) -> Iterator[None]:
        """Know at each time which module runs."""
        with ExitStack() as hooks:
            for name, module in model.named_modules():
                before = module.register_forward_pre_hook(lambda m, args, name=name: self.stack.append((name, m)))
                hooks.enter_context(before)
                hooks.enter_context(module.register_forward_hook(lambda m, args, out: self.stack.pop() and None))
            yield

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        packet = func._overloadpacket
        name = packet.__name__
        unseen = "one fused kernel" if _OPAQUE.search(name) else None
        if not unseen and packet not in _PRODUCTS and packet not in _CONVOLUTIONS:
            with self:  # in inference mode composite operators arrive whole: take them apart
                parts = func.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
            unseen = "unknown product" if _OTHER_PRODUCT.search(name) else None
        if unseen:
            raise ValueError(f"the multiply–accumulates of {name} in {self.where!r} cannot be counted: {unseen}")
        out = func(*args, **kwargs)
        if packet in _PRODUCTS:
            self.product(*(args[place] for place in _PRODUCTS[packet]))
        elif packet in _CONVOLUTIONS:
            self.convolution(args[0], args[1], out, transposed=args[6])
        elif name.startswith("_scaled_dot_product"):
            self.attention(*args[:3])
        return out

    @property
    def where(self) -> str:
        return self.stack[-1][0] if self.stack else ""

    def add(self, dense: int, nonzero: int) -> None:
        both = self.counts.setdefault(self.where, [0, 0])
        both[0] += dense
        both[1] += nonzero

    def product(self, a: Tensor, b: Tensor) -> None:
        """(…, m, k) × (…, k, n): Σ_k (entries in column k of a) · (entries in row k of b)."""
        a = a if a.ndim > 1 else a[None]
        b = b if b.ndim > 1 else b[:, None]
        dense = a.numel() * b.shape[-1]
        # in a Linear the second factor is the weight, even one that is computed on the fly
        linear = bool(self.stack) and isinstance(self.stack[-1][1], nn.Linear)
        weights = self.is_weight(a), self.is_weight(b) or linear
        nonzero = dense if not any(weights) else int((_uses(a, -2, weights[0]) * _uses(b, -1, weights[1])).sum())
        self.add(dense, nonzero)

    def convolution(self, x: Tensor, weight: Tensor, out: Tensor, transposed: bool) -> None:
        """Each weight is used at every output position, or input position if transposed, of every image."""
        positions = len(x) * prod((x if transposed else out).shape[2:])
        self.add(weight.numel() * positions, int(weight.count_nonzero()) * positions)

    def attention(self, q: Tensor, k: Tensor, v: Tensor) -> None:
        """(…, L, d_k), (…, S, d_k), (…, S, d_v): L·S·(d_k + d_v) for every head of q."""
        count = q[..., 0].numel() * k.shape[-2] * (q.shape[-1] + v.shape[-1])
        self.add(count, count)

    def is_weight(self, tensor: Tensor) -> bool:
        """A parameter of the model, a view of one, or a sparse tensor."""
        return tensor.layout != torch.strided or tensor.untyped_storage().data_ptr() in self.weights


def _uses(tensor: Tensor, dim: int, weight: bool) -> Tensor:
    """Entries along `dim` for every index of the other last dimension; of a weight only those that are not zero."""
    if tensor.layout == torch.sparse_csr:
        columns = tensor.col_indices()[tensor.values() != 0].long()
        return columns.bincount(minlength=tensor.shape[1])
    if tensor.layout != torch.strided:
        tensor = tensor.to_dense()
    if weight:
        return (tensor != 0).sum(dim)
    return torch.full_like(tensor.select(dim, 0), tensor.shape[dim], dtype=torch.int64)


@contextmanager
def _unfused_attention() -> Iterator[None]:
    """Without torch's fused inference path of attention, in which the products cannot be seen."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
