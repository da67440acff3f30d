"""How a mask is held through training: hooks on modules, so that copies of the model take them along."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.optimizer import Optimizer, register_optimizer_step_post_hook


class Hold:
    """A forward pre-hook of one module that keeps some entries of one of its weights at zero.

    A deep copy of the module copies this hook. What is tied to the weight itself does not travel with a copy, so the
    first forward pass of the copy ties it anew.
    """

    def __init__(self, name: str, drop: Tensor, removed: Tensor):
        self.name, self.drop, self.removed = name, drop, removed
        # Multiplying by zeros and ones takes a tenth of the time of masked_fill.
        self.keep = (~drop).to(removed.dtype)

    def __call__(self, module: nn.Module, args: Any) -> None:
        weight = getattr(module, self.name)
        tie = getattr(weight, "held", None)
        if tie is None or tie.hold is not self:
            weight.held = Tie(self, weight)
        self.zero_(weight)

    def masked(self, gradient: Tensor) -> Tensor:
        return gradient * self.keep

    def zero_(self, weight: Tensor) -> None:
        if self.keep.device != weight.device or self.keep.dtype != weight.dtype:
            self.keep = self.keep.to(weight)
        # .data: a model run twice before one backward pass must not look to autograd as if its weights had changed.
        weight.data.mul_(self.keep)


class Tie:
    """Ties a weight to its `Hold`; a copied or unpickled weight arrives with None instead."""

    def __init__(self, hold: Hold, weight: Tensor):
        self.hold = hold
        self.gradient_hook = weight.register_hook(hold.masked) if weight.requires_grad else None

    def cut(self) -> None:
        if self.gradient_hook is not None:
            self.gradient_hook.remove()

    def __reduce__(self):
        return type(None), ()


def zero_after_step(optimizer: Optimizer, args: tuple, kwargs: dict) -> None:
    """A gradient of zero is not enough: momentum gathered before the mask came would still move the weight."""
    for group in optimizer.param_groups:
        for weight in group["params"]:
            if (tie := getattr(weight, "held", None)) is not None:
                tie.hold.zero_(weight)


register_optimizer_step_post_hook(zero_after_step)


class Handle:
    """What `Masks.hold` returns."""

    def __init__(self, model: nn.Module):
        self.model = model

    def remove(self, restore: bool = False) -> None:
        """Stop holding. The zeros stay, or with `restore` the masked weights get back the values they had before."""
        release(self.model, restore)


def hold(model: nn.Module, drop: Mapping[str, Tensor]) -> Handle:
    for name, dropped in drop.items():
        path, _, leaf = name.rpartition(".")
        module = model.get_submodule(path)
        weight = getattr(module, leaf)
        dropped = dropped.to(weight.device)
        hook = Hold(leaf, dropped, weight.detach()[dropped])
        weight.data.masked_fill_(dropped, 0)  # even if it was not finite
        module.register_forward_pre_hook(hook)
        module.register_load_state_dict_post_hook(hook)
        hook(module, ())
    return Handle(model)


def held(model: nn.Module, name: str) -> bool:
    path, _, leaf = name.rpartition(".")
    return any(hook.name == leaf for hook in holds_of(model.get_submodule(path)))


def holds_of(module: nn.Module) -> list[Hold]:
    return [hook for hook in module._forward_pre_hooks.values() if isinstance(hook, Hold)]


def release(model: nn.Module, restore: bool = False) -> None:
    """Take all held masks off `model`, which may be a copy of the one that was held.

    The zeros stay in the weights ("baked"), or with `restore` the values from before `Masks.hold` come back.
    """
    for module in model.modules():
        for key, hook in list(module._forward_pre_hooks.items()):
            if isinstance(hook, Hold):
                weight = getattr(module, hook.name)
                if (tie := getattr(weight, "held", None)) is not None:
                    tie.cut()
                    del weight.held
                if restore:
                    with torch.no_grad():
                        weight[hook.drop.to(weight.device)] = hook.removed.to(weight)
                del module._forward_pre_hooks[key]
        for key, hook in list(module._load_state_dict_post_hooks.items()):
            if isinstance(hook, Hold):
                del module._load_state_dict_post_hooks[key]
