"""Attention with fewer heads than its embedding has room for, which `nn.MultiheadAttention` cannot hold."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import wrap_torch_function


class FewerHeads(nn.MultiheadAttention):
    """An `nn.MultiheadAttention` that has lost heads: projections embed_dim → heads · head_dim → embed_dim.

    Called like the original. The weights it returns are those of the heads that are left. Made by `remove`.
    """

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        if is_causal and attn_mask is None:
            raise ValueError("is_causal is a hint about attn_mask, which is None: give both")
        out, weights = _attend(query, key, value, self, key_padding_mask, attn_mask, need_weights)
        return out, weights.mean(-3) if need_weights and average_attn_weights else weights


def fewer_heads_(attention: nn.MultiheadAttention) -> None:
    """Change the class of `attention`, so that its hooks, weights and mode stay what they are."""
    attention.__class__ = FewerHeads
    # torch's fused paths take the projections to be embed_dim wide; they look here.
    attention._qkv_same_embed_dim = False


@wrap_torch_function(lambda query, key, value, *_: (query, key, value))  # tracing sees it as one function
def _attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    module: FewerHeads,
    key_padding_mask: Tensor | None,
    attn_mask: Tensor | None,
    need_weights: bool,
) -> tuple[Tensor, Tensor | None]:
    """softmax(QKᵀ/√d + mask) V for each head, then the output projection; weights (batch, heads, L, S)."""
    batched = query.ndim == 3
    if not batched:
        query, key, value = (x[None] for x in (query, key, value))
        key_padding_mask = None if key_padding_mask is None else key_padding_mask[None]
    elif not module.batch_first:
        query, key, value = (x.transpose(0, 1) for x in (query, key, value))
    split = (module.q_proj_weight, module.k_proj_weight, module.v_proj_weight)
    weights = split if module.in_proj_weight is None else module.in_proj_weight.chunk(3)
    biases = (None, None, None) if module.in_proj_bias is None else module.in_proj_bias.chunk(3)
    # (batch, tokens, embedding) -> (batch, heads, tokens, head_dim)
    q, k, v = (
        F.linear(x, w, b).unflatten(-1, (module.num_heads, module.head_dim)).transpose(1, 2)
        for x, w, b in zip((query, key, value), weights, biases, strict=True)
    )
    mask = _joined_mask(q, k, attn_mask, key_padding_mask)
    dropout = module.dropout if module.training else 0.0
    shares = None
    if need_weights:
        scores = q @ k.transpose(-2, -1) / math.sqrt(module.head_dim)
        shares = F.dropout((scores if mask is None else scores + mask).softmax(-1), dropout)
        heads = shares @ v
    else:
        heads = F.scaled_dot_product_attention(q, k, v, mask, dropout)
    out = F.linear(heads.transpose(1, 2).flatten(2), module.out_proj.weight, module.out_proj.bias)
    if not batched:
        return out[0], shares if shares is None else shares[0]
    return out if module.batch_first else out.transpose(0, 1), shares


def _joined_mask(q: Tensor, k: Tensor, attn_mask: Tensor | None, key_padding_mask: Tensor | None) -> Any:
    """One additive mask that fits (batch, heads, L, S), or None."""
    batch, heads, queries, _ = q.shape
    mask = None if attn_mask is None else _additive(attn_mask, q.dtype)
    if mask is not None and mask.ndim == 3:
        if len(mask) != batch * heads:
            raise ValueError(
                f"attn_mask has shape {tuple(attn_mask.shape)}, must be ({queries}, {k.shape[2]}) or, with a mask "
                f"for each of the {heads} heads left, ({batch * heads}, {queries}, {k.shape[2]})"
            )
        mask = mask.unflatten(0, (batch, heads))
    if key_padding_mask is not None:
        padding = _additive(key_padding_mask, q.dtype)[:, None, None]
        mask = padding if mask is None else mask + padding
    return mask


def _additive(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """A mask to add to the scores: -inf where a boolean mask is True."""
    return torch.zeros_like(mask, dtype=dtype).masked_fill(mask, -math.inf) if mask.dtype == torch.bool else mask
