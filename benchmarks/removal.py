"""What removing units gains: time, parameters, and whether the outputs stay those of the zeroed model.

    python benchmarks/removal.py [--sparsity 0.3] [--batch 8] [--rounds 7] [--threads 2]

Dense and smaller resnet50 run in turns on the CPU, so that a busy machine slows both; the medians are compared.
"""

import argparse
import copy
import json
import statistics
import time

import torch
from torch import nn

from pruning_lib.structure.removal import remove
from pruning_lib.structure.structured import choose_units, score_units, zero_units
from pruning_lib.workbench.models import MODELS

TORCHVISION = ["resnet18", "resnet50", "vgg16_bn", "mobilenet_v2", "densenet121"]


def scramble_(model: nn.Module) -> nn.Module:
    """Norms of a trained model are not 1 and 0; with those of a fresh one a forgotten shift would not show."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.3)
            nn.init.normal_(module.running_mean, std=0.3)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return model.eval()


def clocked(function):
    start = time.perf_counter()
    result = function()
    return result, time.perf_counter() - start


@torch.no_grad()
def error(name: str, model: nn.Module, x: torch.Tensor, sparsity: float) -> dict:
    """Remove the smallest channels (of LeNet-300-100: neurons) and compare with the zeroed model."""
    unit = "neuron" if name == "lenet_300_100" else "channel"
    units = choose_units(score_units(model, unit, "l1", x), sparsity)
    smaller, seconds = clocked(lambda: remove(model, x, units))
    zeroed = copy.deepcopy(model)
    zero_units(zeroed, units, x)
    expected, dense = zeroed(x), model(x)
    count = [sum(p.numel() for p in m.parameters()) for m in (model, smaller)]
    scale = expected.abs().max()
    return {
        "model": name,
        "relative_error": float((smaller(x) - expected).abs().max() / scale),
        "effect_of_zeroing": float((dense - expected).abs().max() / scale),
        "parameters_left": count[1] / count[0],
        "remove_seconds": seconds,
    }


@torch.no_grad()
def speed(model: nn.Module, x: torch.Tensor, sparsity: float, rounds: int) -> dict:
    """Medians of dense and smaller model, run in turns."""
    _, alone = clocked(lambda: score_units(model))
    units = choose_units(score_units(model, "channel", "l1", x[:1]), sparsity)
    smaller, seconds = clocked(lambda: remove(model, x[:1], units))
    times: dict[str, list[float]] = {"dense": [], "smaller": []}
    for turn in range(rounds + 1):
        for key, m in (("dense", model), ("smaller", smaller)):
            _, passed = clocked(lambda m=m: m(x))
            if turn:  # the first turn warms up
                times[key].append(passed)
    dense, small = (statistics.median(times[key]) for key in ("dense", "smaller"))
    return {
        "model": "resnet50",
        "batch": len(x),
        "dense_seconds": dense,
        "smaller_seconds": small,
        "speed_up": dense / small,
        "worst_pair": min(d / s for d, s in zip(times["dense"], times["smaller"], strict=True)),
        "score_seconds": alone,
        "remove_seconds": seconds,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sparsity", type=float, default=0.3, help="share of channels removed")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--size", type=int, default=224, help="side of the images that are timed")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    from torchvision import models

    for name, build in MODELS.items():
        model = scramble_(build((3, 32, 32), 10))
        print(json.dumps(error(name, model, torch.randn(2, 3, 32, 32), options.sparsity)))
    for name in TORCHVISION:
        model = scramble_(getattr(models, name)())
        print(json.dumps(error(name, model, torch.randn(2, 3, 64, 64), options.sparsity)))
        if name == "resnet50":
            images = torch.randn(options.batch, 3, options.size, options.size)
            print(json.dumps(speed(model, images, options.sparsity, options.rounds)))


if __name__ == "__main__":
    main()
