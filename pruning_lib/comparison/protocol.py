"""One budget for all: what the variants of a comparison share, and what each of them works from.

Whatever the variant, its network sees `dense_epochs + retrain_epochs` epochs in all: before training all of them
masked, after training the first part dense (one dense network per seed, shared), during training both in one go.
"""

import math
from dataclasses import dataclass
from typing import Any

from torch import nn

from pruning_lib.workbench import data, models, training


@dataclass(frozen=True)
class Protocol:
    """What all variants share; ValueError for less than they need."""

    model: str = "lenet5"
    dense_epochs: int = 5  # at least 2: gradual pruning begins two epochs before they end
    retrain_epochs: int = 5  # at least 3: iterative pruning has three rounds
    batch_size: int = 50
    lr: float = 0.05
    momentum: float = 0.9
    weight_decay: float = 5e-4
    scoring: int = 100  # labeled images that SNIP sees
    calibration: int = 256  # unlabeled images that Wanda and SparseGPT see

    def __post_init__(self) -> None:
        least = {"dense_epochs": 2, "retrain_epochs": 3, "batch_size": 1, "scoring": 1, "calibration": 1}
        for name, bound in least.items():
            value = getattr(self, name)
            if type(value) is not int or value < bound:
                raise ValueError(f"{name} is {value!r}, must be a whole number, at least {bound}")
        if not isinstance(self.lr, int | float) or not 0 < self.lr < math.inf:
            raise ValueError(f"lr is {self.lr!r}, must be a number above 0")

    @property
    def epochs(self) -> int:
        return self.dense_epochs + self.retrain_epochs

    def fresh(self, images: data.Data, seed: int) -> nn.Module:
        """The untrained network of a seed."""
        return models.build(self.model, images.shape, len(images.classes), seed=seed)

    def fit(self, model: nn.Module, images: data.Data, epochs: int, seed: int, fall: str = "cosine") -> None:
        """Train in place; the learning rate falls to 0, or stays with `fall="constant"`."""
        chosen = {"lr": self.lr, "momentum": self.momentum, "weight_decay": self.weight_decay}
        with training.channels_last(model):
            training.fit(
                model, images, epochs, schedule=fall, batch_size=self.batch_size, seed=seed, progress=False, **chosen
            )

    def dense(self, images: data.Data, seed: int) -> nn.Module:
        """The network of a seed after its dense epochs, from which all variants after training start."""
        model = self.fresh(images, seed)
        self.fit(model, images, self.dense_epochs, seed)
        return model


@dataclass(frozen=True)
class Case:
    """All that a variant works from. `dense` is a copy of its own."""

    protocol: Protocol
    images: data.Data
    dense: nn.Module
    setting: Any
    seed: int

    def accuracy(self, model: nn.Module) -> float:
        with training.channels_last(model):
            return training.evaluate(model, self.images.test, batch_size=200)[0]

    def sample(self, size: int) -> data.Pair:
        """The first `size` training images in an order of the seed."""
        return next(data.batches(self.images.train, size, self.seed))

    def fit(self, model: nn.Module, epochs: int, offset: int, fall: str = "cosine") -> None:
        self.protocol.fit(model, self.images, epochs, self.seed + 1000 * offset, fall)
