"""How a mask is held through training: hooks on the weight, and on its modules so that copies take them along."""

import copy
from collections.abc import Mapping
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.optimizer import Optimizer, register_optimizer_step_post_hook

INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}  # by size in bytes


class Hold:
    """Keeps the entries of one weight where `keep` is False at zero.

    It is a forward pre-hook and a load_state_dict post-hook of the weight's modules, and ties itself to the weight: to
    its gradient, and to the steps of optimizers. Copies and pickles of a module carry it, and tie it to their weight.
    """

    def __init__(self, name: str, weight: nn.Parameter, keep: Tensor):
        self.name, self.weight, self.keep = name, weight, keep.to(weight.device)
        self.removed = weight.detach()[~self.keep]
        self.bits: dict[tuple, Tensor] = {}

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"bits": {}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.tie()

    def __deepcopy__(self, memo: dict[int, Any]) -> "Hold":
        clone = Hold.__new__(Hold)
        clone.__setstate__(self.__getstate__() | {"weight": copy.deepcopy(self.weight, memo)})
        return clone

    def __call__(self, module: nn.Module, _: Any) -> None:
        weight = module._parameters.get(self.name)
        if not isinstance(weight, nn.Parameter):
            return  # a tensor that functional_call put there: the caller's own
        if weight is not self.weight:
            self.untie()
            self.weight = weight
            weight.data = weight.data.clone()  # it may share memory with the state_dict that it was assigned from
        self.tie()

    def tie(self) -> None:
        """Zero the weight and see that it stays so; doing it twice does no harm."""
        zero_after_every_step()
        if not held(self.weight):
            self.weight.held = Tie(self)
        if self.weight.requires_grad and self.weight.held.gradient is None:
            self.weight.held.gradient = self.weight.register_hook(self.masked)
        self.zero_()

    def untie(self) -> None:
        if held(self.weight):
            if self.weight.held.gradient is not None:
                self.weight.held.gradient.remove()
            del self.weight.held

    def zero_(self) -> None:
        # .data: a model run twice before one backward pass must not look to autograd as if its weights had changed.
        data = self.weight.data
        data.view(INTEGERS[data.element_size()]).bitwise_and_(self.bits_like(data))

    def masked(self, gradient: Tensor) -> Tensor:
        if gradient.requires_grad:  # second derivatives are asked for, and bits have none
            return gradient.masked_fill(~self.keep.to(gradient.device), 0)
        bits = self.bits_like(gradient)
        return (gradient.view(bits.dtype) & bits).view(gradient.dtype)

    def bits_like(self, tensor: Tensor) -> Tensor:
        """`keep` as all ones or all zeros in the bits of each number.

        A bitwise "and" with it gives exact zeros, even from nan, in a tenth of the time of masked_fill.
        """
        key = tensor.device, tensor.element_size()
        if key not in self.bits:
            self.bits[key] = -self.keep.to(device=tensor.device, dtype=INTEGERS[tensor.element_size()])
        return self.bits[key]


class Tie:
    """The attribute `held` of a held weight; a pickled weight arrives with None instead, and is tied anew."""

    def __init__(self, hold: Hold):
        self.hold, self.gradient = hold, None

    def __reduce__(self):
        return type(None), ()


@cache
def zero_after_every_step() -> None:
    """A gradient of zero is not enough: momentum gathered before the mask came would still move the weight."""

    def zero(optimizer: Optimizer, args: tuple, kwargs: dict) -> None:
        for group in optimizer.param_groups:
            for weight in group["params"]:
                if held(weight):
                    weight.held.hold.zero_()

    register_optimizer_step_post_hook(zero)


class Handle:
    """What `Masks.hold` returns."""

    def __init__(self, model: nn.Module, holds: list[Hold]):
        self.model, self.holds = model, holds

    def remove(self, restore: bool = False) -> None:
        """Stop holding. The zeros stay, or with `restore` the masked weights get back the values they had before.

        Raises
        ------
        ValueError
            If it was removed already.
        """
        if not self.holds:
            raise ValueError("handle is removed already, must be in force")
        take_off(self.model, self.holds, restore)
        self.holds = []


def held(weight: Tensor) -> bool:
    """Whether a mask holds `weight`."""
    return getattr(weight, "held", None) is not None


def hold(model: nn.Module, keep: Mapping[str, Tensor]) -> Handle:
    parameters = dict(model.named_parameters(remove_duplicate=False))
    holds = []
    try:
        for name, mask in keep.items():
            holds.append(Hold(name.rpartition(".")[2], parameters[name], mask))
            holds[-1].tie()
            for module in model.modules():
                if module._parameters.get(holds[-1].name) is holds[-1].weight:
                    module.register_forward_pre_hook(holds[-1])
                    module.register_load_state_dict_post_hook(holds[-1])
    except Exception:
        holds[-1].untie()  # what failed has changed nothing that could be put back
        take_off(model, holds[:-1], restore=True)
        raise
    return Handle(model, holds)


def release(model: nn.Module, restore: bool = False) -> None:
    """Take all held masks off `model`, which may be a copy of the one that was held.

    The zeros stay in the weights ("baked"), or with `restore` the values from before `Masks.hold` come back.
    """
    hooks = [hook for module in model.modules() for hook in module._forward_pre_hooks.values()]
    take_off(model, list({id(hook): hook for hook in hooks if isinstance(hook, Hold)}.values()), restore)


def take_off(model: nn.Module, holds: list[Hold], restore: bool) -> None:
    gone = {id(hook) for hook in holds}
    for module in model.modules():
        for hooks in (module._forward_pre_hooks, module._load_state_dict_post_hooks):
            for key in [key for key, hook in hooks.items() if id(hook) in gone]:
                del hooks[key]
    for hook in holds:
        hook.untie()
        if restore:
            with torch.no_grad():
                hook.weight[~hook.keep.to(hook.weight.device)] = hook.removed.to(hook.weight)
