"""What the open experiments are about: a small classifier of digits, and a layer of the language model."""

import functools

import torch
from torch import Tensor, nn

from pruning_lib.after_training.reconstruction import Hessian
from pruning_lib.workbench import language, models, training
from pruning_lib.workbench import text as workbench_text
from pruning_lib.workbench.data import Data, load


@functools.cache
def digits() -> Data:
    """1,100 of the training images, and as `test` the other training images: the test images decide nothing here."""
    data = load("digits")
    (first, rest), (labels, held) = ((part[:1100], part[1100:]) for part in data.train)
    return Data(data.name, (first, labels), (rest, held), data.classes)


def classifier(seed: int) -> nn.Sequential:
    """64 pixels, 64 neurons, 10 classes; random weights."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    return models.initialize_(network, seed=seed)


def fit(network: nn.Module, epochs: int, seed: int, lr: float = 0.05, schedule: str = "cosine") -> None:
    training.fit(network, digits(), epochs, lr=lr, schedule=schedule, seed=seed, progress=False)


def accuracy(network: nn.Module) -> float:
    """In percent, on the images that are held out."""
    return 100 * training.evaluate(network, digits().test)[0]


@functools.cache
def query_layer(rows: int = 24) -> tuple[Tensor, Tensor]:
    """The first `rows` rows of a query layer of the byte GPT, and its H over 1,024 bytes, in float64."""
    weight, inputs = query_inputs(rows)
    return weight, Hessian(weight.shape[1], dtype=torch.float64).add(inputs).matrix


@functools.cache
def query_inputs(rows: int = 24, unseen: bool = False) -> tuple[Tensor, Tensor]:
    """The same rows, and the inputs of their layer at 1,024 bytes of text, held out if `unseen`, (1024, columns)."""
    model, about = language.load_checkpoint()
    context, source = model.config.context, workbench_text.load(about["text"])
    layer, seen = model.get_submodule("blocks.2.attention.query"), []
    hook = layer.register_forward_pre_hook(lambda module, arguments: seen.append(arguments[0].double()))
    segments = workbench_text.segments(source.held_out, context)[:4]
    with torch.no_grad():
        model(segments if unseen else workbench_text.windows(source.train, context, 4, 0))
    hook.remove()
    return layer.weight.detach()[:rows].double(), seen[0].flatten(0, 1)
