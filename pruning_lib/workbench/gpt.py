"""A compact GPT over bytes; the six linear layers of each block are apart, to be pruned one by one."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pruning_lib.checks import check_at_least
from pruning_lib.modes import evaluating
from pruning_lib.workbench import text
from pruning_lib.workbench.models import initialize_

_BYTES = 256  # the vocabulary


@dataclass(frozen=True)
class Config:
    """Sizes of a `GPT`: `width` of the residual stream, number of blocks, heads of a block, longest context in bytes.

    Raises
    ------
    ValueError
        If a size is no positive integer, or `heads` does not divide `width`.
    """

    width: int = 192
    depth: int = 4
    heads: int = 6
    context: int = 256

    def __post_init__(self) -> None:
        for name, size in vars(self).items():
            if isinstance(size, bool) or not isinstance(size, int) or size < 1:
                raise ValueError(f"{name} is {size!r}, must be an integer of at least 1")
        if self.width % self.heads:
            raise ValueError(f"heads is {self.heads}, must divide width = {self.width}")


class Attention(nn.Module):
    """Causal self-attention; query, key and value are three layers, as in the models that are pruned in the papers."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.output = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        # (batch, tokens, width) → (batch, heads, tokens, width / heads)
        query, key, value = (
            layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for layer in (self.query, self.key, self.value)
        )
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        return self.output(mixed.transpose(1, 2).flatten(2))  # (batch, tokens, width)


class _MLP(nn.Module):
    """Two linear layers with a GELU between; the hidden width is four times the outer one."""

    def __init__(self, width: int):
        super().__init__()
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(F.gelu(self.up(x)))


class Block(nn.Module):
    """x + Attention(norm(x)), then x + MLP(norm(x))."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = _MLP(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class GPT(nn.Module):
    """Decoder-only transformer over bytes.

    ``blocks.0.attention.{query,key,value,output}`` and ``blocks.0.mlp.{up,down}`` are plain nn.Linear layers, so that
    `prunable` finds exactly these. The logits are the products with the token embedding (a tied head), which has no
    layer of its own and is not pruned.

    Parameters
    ----------
    config : sizes; the default has 1.9 million parameters, 1.8 million of them in the blocks' linear layers
    seed : draws the weights, independent of the global random state

    Source: Radford et al. 2019, "Language Models are Unsupervised Multitask Learners" (GPT-2), section 2.3.
    """

    def __init__(self, config: Config | None = None, seed: int = 0):
        super().__init__()
        self.config = config = config or Config()
        self.token = nn.Embedding(_BYTES, config.width)
        self.position = nn.Embedding(config.context, config.width)
        self.blocks = nn.ModuleList(Block(config.width, config.heads) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.width)
        # One stream for all: begun anew for the embeddings, it would make them scaled copies of the first weights.
        generator = torch.Generator().manual_seed(seed)
        initialize_(self, generator)
        for embedding in (self.token, self.position):
            nn.init.normal_(embedding.weight, std=0.02, generator=generator)
        with torch.no_grad():
            for block in self.blocks:
                # 2·depth branches add up in the residual stream: keep its variance.
                block.attention.output.weight /= math.sqrt(2 * config.depth)
                block.mlp.down.weight /= math.sqrt(2 * config.depth)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits (batch, tokens, 256) of each next byte, for `tokens` (batch, tokens) int64 in [0, 255].

        Raises
        ------
        ValueError
            If `tokens` has another number of dimensions, is empty or longer than the context.
        """
        if tokens.ndim != 2 or not 1 <= tokens.shape[1] <= self.config.context:
            raise ValueError(
                f"tokens has shape {tuple(tokens.shape)}, must be (batch, length) with 1 to {self.config.context} bytes"
            )
        x = self.token(tokens) + self.position.weight[: tokens.shape[1]]
        for block in self.blocks:
            x = block(x)
        return F.linear(self.norm(x), self.token.weight)


def generate(model: GPT, prompt: str, count: int = 200, temperature: float = 1.0, seed: int = 0) -> str:
    """`prompt` and `count` bytes that follow it, each drawn from softmax(logits / temperature).

    Parameters
    ----------
    temperature : 1 draws from the model's distribution, less is bolder in repeating, 0 takes the most likely byte
    seed : draws the bytes, independent of the global random state

    Raises
    ------
    ValueError
        If `prompt` is empty, `count` or `temperature` negative, or the logits are not finite.
    """
    tokens = text.encode(prompt)
    if not len(tokens):
        raise ValueError("prompt is '', must have at least one byte")
    check_at_least(0, count=count)
    if not 0 <= temperature < math.inf:
        raise ValueError(f"temperature is {temperature}, must be finite and at least 0")
    generator = torch.Generator().manual_seed(seed)
    device = next(model.parameters()).device
    with evaluating(model):
        for _ in range(count):
            logits = model(tokens[-model.config.context :].unsqueeze(0).to(device))[0, -1].double().cpu()
            if not logits.isfinite().all():
                raise ValueError(f"logits are not finite after {text.decode(tokens[-20:])!r}: is the model broken?")
            if temperature > 0:
                chosen = torch.multinomial(F.softmax(logits / temperature, dim=0), 1, generator=generator)
            else:
                chosen = logits.argmax().unsqueeze(0)
            tokens = torch.cat([tokens, chosen])
    return text.decode(tokens)
