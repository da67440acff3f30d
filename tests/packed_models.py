"""A tiny GPT and two variants of it on a grid of whole numbers, packed."""

import copy

import torch

from pruning_lib.workbench.gpt import GPT, Config
from pruning_lib.workbench.packed_gpt import PackedGPT, pack

TINY = Config(width=16, depth=2, heads=2, context=80)
VARIANTS = [
    {"name": "dense", "method": "dense", "sparsity": 0.0, "perplexity": 4.0},
    {"name": "a, 50 %", "method": "a", "sparsity": 0.5, "perplexity": 6.0},
    {"name": "b, 50 %", "method": "b", "sparsity": 0.5, "perplexity": 5.0},
]


def on_a_grid() -> tuple[dict[str, GPT], dict[str, torch.Tensor]]:
    """The models by name, and the scales of their rows; the second variant is far from its base in some weights."""
    generator = torch.Generator().manual_seed(0)
    dense, scales = GPT(TINY), {}
    for name, value in dense.state_dict().items():
        if value.ndim == 1:
            value += 0.1 * torch.randn(value.shape, generator=generator)
        else:
            scales[name] = 0.01 + 0.01 * torch.rand(len(value), generator=generator)
            value.copy_(torch.randint(-20, 21, value.shape, generator=generator) * scales[name].unsqueeze(1))
    models = {"dense": dense}
    for variant, changes in (("a, 50 %", 1), ("b, 50 %", 100)):
        models[variant] = copy.deepcopy(dense)
        for name, value in models[variant].state_dict().items():
            if name in scales and name.startswith("blocks."):
                changed = value / scales[name].unsqueeze(1) + torch.randint(
                    -changes, changes + 1, value.shape, generator=generator
                )
                changed *= torch.rand(value.shape, generator=generator) < 0.4
                value.copy_(changed.round() * scales[name].unsqueeze(1))
    return models, scales


def packed() -> PackedGPT:
    models, scales = on_a_grid()
    return pack(models, scales, {"a, 50 %": "dense", "b, 50 %": "a, 50 %"}, {"variants": VARIANTS})
