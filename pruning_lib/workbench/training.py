"""Training and evaluation of a classifier on data held in memory."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD, Adam, Optimizer
from torch.optim.lr_scheduler import LambdaLR
from tqdm.auto import tqdm

from pruning_lib.checks import check_at_least, check_choice
from pruning_lib.modes import evaluating
from pruning_lib.workbench.data import Data, Pair, batches


def fit(
    model: nn.Module,
    data: Data,
    epochs: int,
    *,
    optimizer: str = "sgd",
    lr: float = 0.1,
    momentum: float = 0.9,
    weight_decay: float = 5e-4,
    schedule: str = "step",
    milestones: tuple[float, ...] = (0.5, 0.75),
    batch_size: int = 100,
    shift: int = 0,
    seed: int = 0,
    after_epoch: Callable[[int], object] | None = None,
    progress: bool = True,
) -> list[float]:
    """Train `model` in place on `data.train` with cross-entropy; return the mean loss of each epoch.

    The order of the batches and their shifts follow from `seed`.

    Parameters
    ----------
    optimizer : "sgd" (with `momentum`) or "adam"
    schedule : "step" divides `lr` by 10 at each of `milestones` (shares of all steps), "cosine" lets it fall to zero,
        "constant" leaves it
    shift : each batch of images is moved by up to so many pixels, the same way for all its images (0: not at all)
    after_epoch : called with the number of epochs that are done, to look at the model meanwhile

    Raises
    ------
    ValueError
        If an option is unknown or out of range, or the loss is no longer finite (`model` is then what it had become).
    """
    check_choice("optimizer", optimizer, ("sgd", "adam"))
    check_at_least(0, epochs=epochs)
    check_at_least(1, batch_size=batch_size)
    if not lr > 0:
        raise ValueError(f"lr is {lr}, must be positive")
    if not 0 <= shift < min(data.shape[1:]):
        raise ValueError(f"shift is {shift}, must be at least 0 and below {min(data.shape[1:])}, the images' size")
    steps = epochs * math.ceil(len(data.train[1]) / batch_size)
    factor = learning_rate_factor(schedule, milestones, steps)
    stepper = (
        SGD(model.parameters(), lr, momentum=momentum, weight_decay=weight_decay)
        if optimizer == "sgd"
        else Adam(model.parameters(), lr, weight_decay=weight_decay)
    )
    scheduler = LambdaLR(stepper, factor)
    losses = []
    device = next(model.parameters()).device
    model.train()
    with tqdm(total=steps, disable=not progress, leave=False, desc="training", unit="step") as bar:
        for epoch in range(epochs):
            total = 0.0
            # A seed of its own for each epoch, so that the first epochs do not depend on how many follow.
            generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
            for inputs, targets in batches(data.train, batch_size, seed * 1_000_003 + epoch):
                if shift:
                    inputs = shifted(inputs, *torch.randint(-shift, shift + 1, (2,), generator=generator).tolist())
                total += step(model, stepper, inputs.to(device), targets.to(device)) * len(targets)
                scheduler.step()
                bar.update()
            losses.append(total / len(data.train[1]))
            bar.set_postfix(epoch=f"{epoch + 1}/{epochs}", loss=f"{losses[-1]:.4f}")
            if not math.isfinite(losses[-1]):
                raise ValueError(f"loss is {losses[-1]} in epoch {epoch + 1}, must be finite: is lr = {lr} too large?")
            if after_epoch is not None:
                after_epoch(epoch + 1)
    return losses


def step(model: nn.Module, optimizer: Optimizer, inputs: Tensor, targets: Tensor) -> float:
    """One step of training; the loss before it."""
    optimizer.zero_grad()
    loss = F.cross_entropy(model(inputs), targets)
    loss.backward()
    optimizer.step()
    return loss.item()


@contextmanager
def channels_last(model: nn.Module) -> Iterator[None]:
    """Lay the weights of convolutions out for the faster ones of a CPU (training takes a third less), then back.

    For networks whose forward flattens or reshapes: `view` refuses what such convolutions put out. Weights that have
    the layout already keep it. A strided 1 × 1 convolution of fewer than 16 channels keeps the usual layout: in
    this one oneDNN's gradient of its weight writes outside of its memory (uxlfoundation/oneDNN issue 6035).
    """
    usual = [module for module in model.modules() if isinstance(module, nn.Conv2d) and _overruns(module)]
    kept = {module.weight for module in usual}
    moved = [
        weight
        for weight in model.parameters()
        if weight.ndim == 4 and weight not in kept and not weight.is_contiguous(memory_format=torch.channels_last)
    ]
    handles = [module.register_forward_pre_hook(_in_usual_layout) for module in usual]
    for weight in moved:
        weight.data = weight.data.contiguous(memory_format=torch.channels_last)
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
        for weight in moved:
            weight.data = weight.data.contiguous()
            weight.grad = None if weight.grad is None else weight.grad.contiguous()


def _overruns(module: nn.Conv2d) -> bool:
    """If oneDNN gets its gradient wrong in the layout of channels last; 16 channels are its widest block."""
    return module.kernel_size == (1, 1) and max(module.stride) > 1 and module.in_channels // module.groups < 16


def _in_usual_layout(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """A copy: a single channel counts as contiguous in both layouts, and torch then goes by its strides."""
    return inputs[0].clone(memory_format=torch.contiguous_format), *inputs[1:]


def shifted(images: Tensor, down: int, right: int) -> Tensor:
    """`images` moved by so many pixels (negative: up, left); what comes in repeats the border."""
    height, width = images.shape[-2:]
    margin = max(abs(down), abs(right))
    padded = F.pad(images, (margin,) * 4, mode="replicate")
    return padded[..., margin - down : margin - down + height, margin - right : margin - right + width]


def learning_rate_factor(schedule: str, milestones: tuple[float, ...], steps: int):
    check_choice("schedule", schedule, ("step", "cosine", "constant"))
    if schedule == "step":
        return lambda t: 0.1 ** sum(t >= share * steps for share in milestones)
    if schedule == "cosine":
        return lambda t: 0.5 * (1 + math.cos(math.pi * min(t / max(steps, 1), 1)))
    return lambda t: 1.0


def evaluate(model: nn.Module, pair: Pair, batch_size: int = 1000) -> tuple[float, float]:
    """Accuracy in [0, 1] and mean cross-entropy of `model` on `pair`, in evaluation mode (put back after)."""
    device = next(model.parameters()).device
    if not len(pair[1]):
        raise ValueError("pair is empty, must hold at least one sample")
    correct, loss = 0, 0.0
    with evaluating(model):
        for inputs, targets in batches(pair, batch_size):
            outputs, targets = model(inputs.to(device)), targets.to(device)
            correct += int((outputs.argmax(dim=1) == targets).sum())
            loss += F.cross_entropy(outputs, targets, reduction="sum").item()
    return correct / len(pair[1]), loss / len(pair[1])
