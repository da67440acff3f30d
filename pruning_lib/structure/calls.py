"""Which call feeds which, as torch.fx reads it off a model's code, where there are no inputs to trace the model on.

It serves for what can do without shapes: the norm right behind a layer, and where gates may sit. What belongs to a
unit, and what can go, `tracing` finds out.
"""

import copy

import torch
from torch import fx, nn

from pruning_lib.structure.coupling import POOLS, RULES, elementwise

# What works on each channel by itself, as `Calls.name` writes it. Whether an elementwise one keeps zeros is tried out.
_ELEMENTWISE = {name.replace("_", "") for name, rule in RULES.items() if rule is elementwise and "alpha" not in name}
_KEEPS_ZEROS = {name.replace("_", "") for name in POOLS} | {"flatten", "identity", "prelu"}


def _silent_copy(model: nn.Module) -> nn.Module:
    """A copy without hooks: the code that tracing runs may keep what it is given, which are no tensors then."""
    computed = [t for m in model.modules() for t in vars(m).values() if isinstance(t, torch.Tensor) and not t.is_leaf]
    silent = copy.deepcopy(model, {id(tensor): tensor.detach() for tensor in computed})
    for module in silent.modules():
        for key, hooks in vars(module).items():
            if "_hooks" in key and isinstance(hooks, dict):
                hooks.clear()
    return silent


class Calls:
    """The calls a model makes, in order: `nodes`, torch.fx's, each with its `users` and `all_input_nodes`.

    Raises
    ------
    ValueError
        If torch.fx cannot trace the model, as when its forward pass branches on the data.
    """

    def __init__(self, model: nn.Module):
        try:
            self.nodes = list(fx.Tracer().trace(_silent_copy(model)).nodes)
        except Exception as error:  # tracing runs the model's own code, which may raise anything
            raise ValueError(f"model {type(model).__name__} cannot be traced by torch.fx: {error}") from error
        self.modules = dict(model.named_modules(remove_duplicate=False))

    def module(self, node: fx.Node, kinds: type | tuple[type, ...] = nn.Module) -> nn.Module | None:
        """The module that `node` calls, if it is one of `kinds`."""
        module = self.modules[node.target] if node.op == "call_module" else None
        return module if isinstance(module, kinds) else None

    def name(self, node: fx.Node) -> str:
        """Name of the function, the tensor's method or the module's class that `node` calls, without underscores."""
        module = self.module(node)
        name = type(module).__name__.lower() if module else getattr(node.target, "__name__", node.target)
        return name.replace("_", "") if node.op.startswith("call") else ""

    def keeps_zeros(self, node: fx.Node) -> bool:
        """Whether a channel of zeros comes out of the call as zeros, whatever the others hold."""
        name = self.name(node)
        if name not in _ELEMENTWISE or len(node.all_input_nodes) != 1:
            return name in _KEEPS_ZEROS
        zero = torch.zeros(1, 1, 1, 1, device="cpu")
        args, kwargs = fx.node.map_arg((node.args, node.kwargs), lambda _: zero)
        function = self.module(node) or (
            getattr(torch.Tensor, node.target) if node.op == "call_method" else node.target
        )
        return not function(*args, **kwargs).any()

    def ancestors(self, node: fx.Node) -> set[fx.Node]:
        """`node` and all that it is computed from."""
        found = {node}
        for later in reversed(self.nodes):
            if later in found:
                found.update(later.all_input_nodes)
        return found
