"""Gates: a factor λ on the output of a block, a group or a channel, and where in a model they may sit.

Where they may sit is read off the model's calls, not off names or classes, so that networks written elsewhere work
too, as long as their forward pass has no branches that depend on the data.
"""

import copy
from collections import Counter
from collections.abc import Iterator

import torch
from torch import Tensor, fx, nn
from torch.nn.modules import batchnorm, instancenorm

from pruning_lib.checks import check_choice, check_model
from pruning_lib.structure.calls import Calls
from pruning_lib.structure.layer_rules import CHANNEL_NORMS

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
NORMS = (batchnorm._BatchNorm, instancenorm._InstanceNorm)  # of each channel by itself


class Gate(nn.Module):
    """The output of `layer` times λ: `scale` holds one λ for each of `size` equal parts of the channels, at first 1.

    `unit` names what the gate closes. A gate of size 1 on a branch's last layer is SSS-8: r + λF(r).
    """

    def __init__(self, layer: nn.Module, unit: str, size: int):
        super().__init__()
        self.layer = layer
        self.unit = unit
        self.scale = nn.Parameter(layer.weight.detach().new_ones(size))

    def per_channel(self) -> Tensor:
        return self.scale.repeat_interleave(len(self.layer.weight) // len(self.scale))

    def forward(self, inputs: Tensor) -> Tensor:
        outputs = self.layer(inputs)
        return outputs * self.per_channel().view(-1, *[1] * (outputs.ndim - 2))

    def folded(self) -> nn.Module:
        """A copy of `layer` that has λ in its weight and bias and computes the same."""
        layer = copy.deepcopy(self.layer)
        with torch.no_grad():
            layer.weight.mul_(self.per_channel().view(-1, *[1] * (layer.weight.ndim - 1)))
            if layer.bias is not None:
                layer.bias.mul_(self.per_channel())
        return layer


def add_gates(model: nn.Module, level: str = "block") -> nn.Module:
    """Return a copy of `model` with open gates (λ = 1): it computes the same, and λ can be trained toward zero.

    Parameters
    ----------
    model : traceable by torch.fx; it is not changed. Normalizations without scale and shift carry no gate.
    level : what one λ multiplies.

        "block": the branch of a residual block, r + λF(r) (SSS-8). A block is a module that adds a shortcut to a longer
        branch, whose last layer is a convolution or normalization; the shortcut may hold a convolution. The unit is
        the block.

        "group": one group of a grouped convolution, behind its normalization. The unit is the convolution.

        "channel": an output channel of an ungrouped convolution, behind its normalization. The unit is the convolution.

        Groups and channels get a gate only where they could be removed: what they feed must be, by way of activations,
        poolings and flattening only, ungrouped convolutions or linear layers. That leaves out what a residual addition
        ties (a block's last layer, the stem, the shortcut), what feeds the output and what feeds a grouped
        convolution. A group must also be alone in reading its input, which has to come from an ungrouped convolution.

    Raises
    ------
    ValueError : if `model` has gates, cannot be traced, or has nothing that could carry a gate at this `level`.
    """
    check_choice("level", level, ("block", "group", "channel"))
    model = check_model(model)
    if gates(model):
        raise ValueError("model has gates already, must be a model without")
    found = Sites(model)
    sites = list(found.blocks() if level == "block" else found.convolutions(grouped=level == "group"))
    if not sites:
        raise ValueError(f"model {type(model).__name__} has no {level} that a gate could close; level is {level!r}")
    gated = copy.deepcopy(model)
    for name, unit, size in sites:
        gated.set_submodule(name, Gate(gated.get_submodule(name), unit, size))
    return gated


def gates(model: nn.Module) -> dict[str, nn.Parameter]:
    """λ of every gate in `model`, by the name of the unit: what goes to ProximalSGD, without weight decay."""
    return {gate.unit: gate.scale for gate in model.modules() if isinstance(gate, Gate)}


def fold_gates(model: nn.Module) -> nn.Module:
    """A copy of `model` without gates that computes the same: λ goes into the gated layers' weights and biases."""
    folded = copy.deepcopy(check_model(model))
    for name, module in list(folded.named_modules()):
        if isinstance(module, Gate):
            folded.set_submodule(name, module.folded())
    return folded


class Sites:
    """Where gates may sit: (layer that gets the gate, unit, number of λ), from the calls that a model makes."""

    def __init__(self, model: nn.Module):
        self.calls = Calls(model)
        self.count = Counter(node.target for node in self.calls.nodes if node.op == "call_module")

    def convolutions(self, grouped: bool) -> Iterator[tuple[str, str, int]]:
        """Convolutions whose channels, or groups, can go; the gate sits behind their normalization."""
        for node in self.calls.nodes:
            conv = self.layer(node, CONVOLUTIONS)
            if conv is None or (conv.groups > 1) != grouped:
                continue
            users = list(node.users)
            last = users[0] if len(users) == 1 and self.layer(users[0], NORMS) else node
            if self.feeds_layers_only(last) and (not grouped or self.is_read_once_from_convolution(node)):
                yield last.target, node.target, conv.groups if grouped else conv.out_channels

    def blocks(self) -> Iterator[tuple[str, str, int]]:
        """Modules that add up once, a shortcut and a longer branch that ends in a layer."""
        found = []
        for node in self.calls.nodes:
            stack = node.meta.get("nn_module_stack")
            if not stack or self.calls.name(node) not in ("add", "iadd") or len(node.all_input_nodes) != 2:
                continue
            one, other = (self.calls.ancestors(side) for side in node.all_input_nodes)
            lengths = [sum(self.layer(n, CONVOLUTIONS) is not None for n in own) for own in (one - other, other - one)]
            branch = node.all_input_nodes[lengths[0] < lengths[1]]
            # of two branches of equal length neither is a shortcut
            if lengths[0] != lengths[1] and self.layer(branch, CONVOLUTIONS + CHANNEL_NORMS) and len(branch.users) == 1:
                found.append((branch.target, list(stack.values())[-1][0], 1))
        units = Counter(unit for _, unit, _ in found)
        yield from (site for site in found if units[site[1]] == 1)

    def layer(self, node: fx.Node, kinds: tuple[type, ...]) -> nn.Module | None:
        """The module of `kinds` that `node` calls, if it has weights to fold λ into and is called only once."""
        module = self.calls.module(node, kinds)
        return module if module is not None and module.weight is not None and self.count[node.target] == 1 else None

    def feeds_layers_only(self, node: fx.Node) -> bool:
        """Whether the channels of `node` end in layers that can lose inputs, and nowhere else."""

        def loses_inputs(user: fx.Node) -> bool:
            if layer := self.layer(user, (*CONVOLUTIONS, nn.Linear)):
                return getattr(layer, "groups", 1) == 1
            return self.calls.keeps_zeros(user) and self.feeds_layers_only(user)

        return bool(node.users) and all(map(loses_inputs, node.users))

    def is_read_once_from_convolution(self, node: fx.Node) -> bool:
        """Whether what `node` reads is made by an ungrouped convolution for it alone."""
        while len(node.all_input_nodes) == 1 and len(node.all_input_nodes[0].users) == 1:
            node = node.all_input_nodes[0]
            if conv := self.layer(node, CONVOLUTIONS):
                return conv.groups == 1
            if not (self.calls.keeps_zeros(node) or self.layer(node, NORMS)):
                return False
        return False
