"""Small networks on which pruning is tried: two LeNets and a residual network, for any image size."""

import math
from collections import OrderedDict
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from pruning_lib.checks import check_at_least, check_choice

CUT_NORMAL = 0.87962566103423978  # standard deviation of a standard normal distribution cut off at ±2


def lenet_300_100(input_shape: tuple[int, int, int] = (1, 28, 28), classes: int = 10, seed: int = 0) -> nn.Sequential:
    """LeNet-300-100: two hidden layers of 300 and 100 neurons; 266,200 weights on 28×28 images (LeCun et al. 1998)."""
    _check_shape(input_shape, smallest=1)
    layers = OrderedDict(
        flatten=nn.Flatten(),
        fc1=nn.Linear(math.prod(input_shape), 300),
        relu1=nn.ReLU(),
        fc2=nn.Linear(300, 100),
        relu2=nn.ReLU(),
        fc3=nn.Linear(100, classes),
    )
    return initialize_(nn.Sequential(layers), seed)


def lenet5(input_shape: tuple[int, int, int] = (1, 28, 28), classes: int = 10, seed: int = 0) -> nn.Sequential:
    """LeNet-5 as Caffe ships it: 20 and 50 filters of 5×5, 500 neurons; 430,500 weights on 28×28 images.

    Caffe's convolutions have no padding. Images under 16 pixels would shrink to nothing, so they get a padding of 2.
    """
    channels, height, width = _check_shape(input_shape, smallest=4)
    padding = 0 if min(height, width) >= 16 else 2

    def after_stage(side: int) -> int:
        return (side + 2 * padding - 4) // 2

    features = 50 * after_stage(after_stage(height)) * after_stage(after_stage(width))
    layers = OrderedDict(
        conv1=nn.Conv2d(channels, 20, 5, padding=padding),
        relu1=nn.ReLU(),
        pool1=nn.MaxPool2d(2),
        conv2=nn.Conv2d(20, 50, 5, padding=padding),
        relu2=nn.ReLU(),
        pool2=nn.MaxPool2d(2),
        flatten=nn.Flatten(),
        fc1=nn.Linear(features, 500),
        relu3=nn.ReLU(),
        fc2=nn.Linear(500, classes),
    )
    return initialize_(nn.Sequential(layers), seed)


class ResidualBlock(nn.Module):
    """r + F(r), with F = norm2∘conv2∘relu∘norm1∘conv1; a 1×1 convolution carries r where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU()
        self.shortcut = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                OrderedDict(conv=nn.Conv2d(inputs, outputs, 1, stride, bias=False), norm=nn.BatchNorm2d(outputs))
            )

    def forward(self, r: Tensor) -> Tensor:
        branch = self.relu(self.norm1(self.conv1(r)))
        branch = self.norm2(self.conv2(branch))
        return self.relu(self.shortcut(r) + branch)


def resnet(
    input_shape: tuple[int, int, int] = (3, 32, 32), classes: int = 10, depth: int = 20, width: int = 16, seed: int = 0
) -> nn.Sequential:
    """CIFAR-style residual network: three stages of (depth - 2)/6 blocks, `width` to 4·`width` channels.

    Source: He et al. 2016, "Deep Residual Learning for Image Recognition", section 4.2.
    """
    channels, _, _ = _check_shape(input_shape, smallest=1)
    if depth < 8 or (depth - 2) % 6:
        raise ValueError(f"depth is {depth}, must be 6n + 2: 8, 14, 20, 26, 32, 44, 56, …")
    check_at_least(1, width=width)
    layers = OrderedDict(
        conv=nn.Conv2d(channels, width, 3, padding=1, bias=False), norm=nn.BatchNorm2d(width), relu=nn.ReLU()
    )
    inputs = width
    for stage, outputs in enumerate((width, 2 * width, 4 * width), start=1):
        first = ResidualBlock(inputs, outputs, stride=1 if stage == 1 else 2)
        others = [ResidualBlock(outputs, outputs, stride=1) for _ in range((depth - 8) // 6)]
        layers[f"stage{stage}"] = nn.Sequential(first, *others)
        inputs = outputs
    layers.update(pool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), fc=nn.Linear(inputs, classes))
    return initialize_(nn.Sequential(layers), seed)


MODELS: dict[str, Callable[..., nn.Module]] = {
    "lenet_300_100": lenet_300_100,
    "lenet5": lenet5,
    "resnet": resnet,
    "resnet8": partial(resnet, depth=8, width=8),  # small enough to be trained a hundred times
}


def build(name: str, input_shape: tuple[int, int, int], classes: int, seed: int = 0, **options) -> nn.Module:
    """Build the model called `name` (see `MODELS`) for images of `input_shape` = (channels, height, width)."""
    check_choice("model", name, MODELS)
    return MODELS[name](input_shape, classes, seed=seed, **options)


def initialize_(model: nn.Module, seed: int | torch.Generator, scheme: str = "fan_average") -> nn.Module:
    """Draw the weights of `model` anew by variance scaling, zero its biases; return it.

    Parameters
    ----------
    seed : the weights depend on it only, not on the global random state; a generator is continued
    scheme : "fan_average" draws from normal distributions, Glorot's for linear layers, Var[w] = 2/(fan_in + fan_out),
        and He's for convolutions, Var[w] = 2/fan_out. "fan_in", of SNIP's reference, draws all from a normal
        distribution cut off at two of its standard deviations, Var[w] = 1/fan_in.
    """
    check_choice("scheme", scheme, ("fan_average", "fan_in"))
    generator = seed if isinstance(seed, torch.Generator) else torch.Generator().manual_seed(seed)
    for module in model.modules():
        if scheme == "fan_in" and isinstance(module, nn.Linear | nn.Conv2d):
            deviation = 1 / (CUT_NORMAL * math.sqrt(module.weight[0].numel()))
            nn.init.trunc_normal_(module.weight, 0, deviation, -2 * deviation, 2 * deviation, generator)
        elif isinstance(module, nn.Linear):
            nn.init.xavier_normal_(module.weight, generator=generator)
        elif isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu", generator=generator)
        if isinstance(module, nn.Linear | nn.Conv2d) and module.bias is not None:
            nn.init.zeros_(module.bias)
    return model


def _check_shape(input_shape: tuple[int, int, int], smallest: int) -> tuple[int, int, int]:
    if len(input_shape) != 3 or min(input_shape) < 1 or min(input_shape[1:]) < smallest:
        raise ValueError(
            f"input_shape is {tuple(input_shape)}, must be (channels, height, width) with sides of at least {smallest}"
        )
    return tuple(input_shape)
