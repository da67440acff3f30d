"""The networks that run in the widgets of notebooks 01 and 02: LeNet-300-100 on `digits`, under a minute on one core.

    python benchmarks/recorded_lenet.py [--write]

Trained dense, and under masks that SNIP, magnitude and chance choose at initialization, as in notebook 02. Prints the
test accuracies; with --write the networks go to pruning_lib/teaching/recorded_lenet.safetensors.
"""

import argparse
import itertools

import torch

from pruning_lib.before_training import snip
from pruning_lib.structure import prunable
from pruning_lib.teaching import recorded_lenet
from pruning_lib.teaching.recorded_lenet import Recorded, from_vector, ranking, to_vector
from pruning_lib.workbench import data, models, training

SEED = 0
SPARSITIES = [0.5, 0.8, 0.9, 0.95, 0.98, 0.99]
HOW = {"epochs": 12, "lr": 0.05, "schedule": "cosine", "batch_size": 100}


def record() -> Recorded:
    images = data.load("digits")
    start = to_vector(models.lenet_300_100(images.shape, len(images.classes), SEED))
    network = from_vector(start)
    weights = {name: weight.detach() for name, weight in prunable(network).items()}
    batch = next(data.batches(images.train, HOW["batch_size"], SEED))
    generator = torch.Generator().manual_seed(1000 + SEED)
    scores = {
        "SNIP": snip.sensitivity(network, [batch]),
        "magnitude": {name: weight.abs() for name, weight in weights.items()},  # as `load` ranks it
        "random": {name: torch.rand(weight.shape, generator=generator) for name, weight in weights.items()},
    }
    ranks = {name: ranking(torch.cat([part.flatten() for part in each.values()])) for name, each in scores.items()}
    about = {"by": "benchmarks/recorded_lenet.py", "data": images.name, "seed": SEED} | HOW
    recorded = Recorded(start, torch.zeros(0), ranks, {}, about)
    recorded = recorded._replace(dense=to_vector(_fitted(from_vector(start), images)))
    for score, sparsity in itertools.product(scores, SPARSITIES):
        network, masks = from_vector(start), recorded.masks(score, sparsity)
        masks.hold(network)
        vector = to_vector(_fitted(network, images))
        keep = torch.cat([mask.flatten() for mask in masks.values()])
        recorded.trained[score, sparsity] = torch.cat([vector[: masks.total][keep], vector[masks.total :]])
    return recorded


def _fitted(network: torch.nn.Module, images: data.Data) -> torch.nn.Module:
    training.fit(network, images, seed=SEED, progress=False, **HOW)
    return network


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    recorded = record()
    test = data.load("digits").test
    print("sparsity   " + "  ".join(f"{score:>9}" for score in recorded.ranks))
    for sparsity in recorded.sparsities:
        row = [training.evaluate(recorded.network(score, sparsity), test)[0] for score in recorded.ranks]
        print(f"{sparsity:>8.0%}   " + "  ".join(f"{accuracy:>9.1%}" for accuracy in row))
    if arguments.write:
        recorded_lenet.write(recorded)


if __name__ == "__main__":
    main()
