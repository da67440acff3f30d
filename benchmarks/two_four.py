"""2:4 and CSR on the CPU: packing, and what masking, half the rows and CSR do to the time of a linear layer.

    python benchmarks/two_four.py [--width 4096] [--batches 1 32 256] [--rounds 9] [--threads 2]

The forms of a layer run in turns, so that a busy machine slows them alike; times are medians.
"""

import argparse

import torch
from torch import nn

from pruning_lib.acceleration import cost, two_four
from pruning_lib.structure import keep_largest

SPARSITIES = [0.5, 0.7, 0.8, 0.9, 0.95, 0.99]


def packing(width: int, rounds: int) -> None:
    weight = torch.randn(width, width).half()
    weight.masked_fill_(~two_four.best_mask(weight), 0)
    values, indices = two_four.pack(weight)
    runs = {
        "pack": lambda: two_four.pack(weight),
        "unpack": lambda: two_four.unpack(values, indices, width),
        "compress (values and words)": lambda: two_four.compress(weight),
    }
    for name, taken in cost.time_in_turns(runs, rounds).items():
        limit = " (at most 0.5)" if name == "pack" else ""
        print(f"{name}, {width}² float16: {taken.seconds:.3f} s{limit}")
    size = two_four.size(weight)
    print(f"bytes: dense {size.dense:,}, values {size.values:,}, metadata {size.metadata:,}: {size.share} of dense")


def masked(linear: nn.Linear, sparsity: float) -> nn.Linear:
    """The same layer with the smallest weights zero."""
    pruned = nn.Linear(linear.in_features, linear.out_features)
    pruned.load_state_dict(linear.state_dict())
    keep_largest({"weight": pruned.weight.detach().abs()}, sparsity).zero_(pruned)
    return pruned


@torch.no_grad()
def latency(width: int, batches: list[int], rounds: int) -> None:
    dense = nn.Linear(width, width)
    layers = {"masked 50 %": masked(dense, 0.5), "half the rows": nn.Linear(width, width // 2)}
    layers |= {f"CSR {sparsity:.0%}": cost.CSRLinear(masked(dense, sparsity)) for sparsity in SPARSITIES}
    print(f"\nLinear {width}², float32, speed against dense; {torch.get_num_threads()} threads")
    print(f"{'batch':>14}" + "".join(f"{batch:>8}" for batch in batches))
    speeds: dict[str, list[float]] = {name: [] for name in layers}
    for batch in batches:
        x = torch.randn(batch, width)
        runs = {name: lambda layer=layer, x=x: layer(x) for name, layer in ({"dense": dense} | layers).items()}
        times = cost.time_in_turns(runs, rounds)
        for name in layers:
            speeds[name].append(times["dense"].seconds / times[name].seconds)
    for name, ratios in speeds.items():
        print(f"{name:>14}" + "".join(f"{ratio:>7.2f}×" for ratio in ratios))


def permutations(width: int) -> None:
    torch.manual_seed(0)
    weight = torch.randn(width, width) * torch.randn(width).exp()  # channels of unlike size, as in trained networks
    found = []

    def search() -> None:
        found.append(two_four.find_permutation(weight))

    seconds = cost.time_in_turns({"search": search}, 1, 0)["search"].seconds
    total = float(weight.abs().sum())
    before, after = (two_four.kept_magnitude(w) / total for w in (weight, weight[:, found[0]]))
    print(f"\nchannel permutation, {width}²: {seconds:.1f} s, magnitude kept {before:.4f} → {after:.4f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=4096)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 32, 256])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    packing(given.width, given.rounds)
    latency(given.width, given.batches, given.rounds)
    permutations(min(given.width, 512))


if __name__ == "__main__":
    main()
