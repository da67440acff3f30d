"""Gates: a factor λ on the output of a block, a group or a channel, and where in a model they may sit.

Where they may sit is read off the model's graph (torch.fx), not off names or classes, so that networks written
elsewhere work too, as long as their forward pass has no branches that depend on the data.
"""

import copy
from collections import Counter
from collections.abc import Iterator

import torch
from torch import Tensor, fx, nn

from pruning_lib.checks import check_choice

LEVELS = ("block", "group", "channel")
Conv = nn.Conv1d | nn.Conv2d | nn.Conv3d
ChannelNorm = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d | nn.InstanceNorm2d
Norm = ChannelNorm | nn.GroupNorm
# What a closed channel passes as zero, one channel at a time: 0 in, 0 out.
PASSES_ZERO = (
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Hardswish, nn.Tanh, nn.Identity),
    *(nn.Dropout, nn.Dropout2d, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.Flatten),
)
FUNCTIONS_PASSING_ZERO = {
    "relu",
    "relu_",
    "gelu",
    "silu",
    "tanh",
    "dropout",
    "max_pool2d",
    "boolean_dispatch",
    "flatten",
}
FUNCTIONS_PASSING_ZERO |= {"avg_pool2d", "adaptive_avg_pool2d"}
ADDITIONS = {"add", "add_", "iadd"}


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
        return self.scale.repeat_interleave(channels(self.layer) // len(self.scale))

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

    def extra_repr(self) -> str:
        return f"unit={self.unit!r}, size={len(self.scale)}"


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
    check_choice("level", level, LEVELS)
    if gates(model):
        raise ValueError("model has gates already, must be a model without")
    sites = list({"block": block_sites, "group": group_sites, "channel": channel_sites}[level](Graph(model)))
    if not sites:
        raise ValueError(f"model {type(model).__name__} has no {level} that a gate could close; level is {level!r}")
    gated = copy.deepcopy(model)
    for name, unit, size in sites:
        gated.set_submodule(name, Gate(gated.get_submodule(name), unit, size))
    return gated


def gates(model: nn.Module) -> dict[str, nn.Parameter]:
    """λ of every gate in `model`, by the name of the unit: what goes to ProximalSGD, without weight decay."""
    return {gate.unit: gate.scale for _, gate in named_gates(model)}


def named_gates(model: nn.Module) -> list[tuple[str, Gate]]:
    return [(name, module) for name, module in model.named_modules() if isinstance(module, Gate)]


def fold_gates(model: nn.Module) -> nn.Module:
    """A copy of `model` without gates that computes the same: λ goes into the gated layers' weights and biases."""
    folded = copy.deepcopy(model)
    for name, gate in named_gates(folded):
        folded.set_submodule(name, gate.folded())
    return folded


def channels(layer: nn.Module) -> int:
    return len(layer.weight)


class Graph:
    """The calls that a model makes, as torch.fx sees them, with the questions that gates ask."""

    def __init__(self, model: nn.Module):
        try:
            graph = fx.Tracer().trace(model)
        except Exception as error:  # tracing runs the model's own code, which may raise anything
            raise ValueError(f"model {type(model).__name__} cannot be traced by torch.fx: {error}") from error
        self.nodes = list(graph.nodes)
        self.modules = dict(model.named_modules())
        self.calls = Counter(node.target for node in self.nodes if node.op == "call_module")

    def layer(self, node: fx.Node, kind) -> nn.Module | None:
        """The module of `kind` that `node` calls, if it has weights to fold λ into and is called only once."""
        if node.op != "call_module" or self.calls[node.target] > 1:
            return None
        module = self.modules[node.target]
        return module if isinstance(module, kind) and module.weight is not None else None

    def with_norm(self, node: fx.Node) -> fx.Node:
        """The normalization right behind the convolution `node`, or `node` itself."""
        users = list(node.users)
        return users[0] if len(users) == 1 and self.layer(users[0], ChannelNorm) else node

    def passes_zero(self, node: fx.Node) -> bool:
        if node.op == "call_module":
            return isinstance(self.modules[node.target], PASSES_ZERO)
        return function_name(node) in FUNCTIONS_PASSING_ZERO

    def feeds_layers_only(self, node: fx.Node) -> bool:
        """Whether the channels of `node` end in layers that can lose inputs, and nowhere else."""
        for user in node.users:
            layer = self.layer(user, Conv | nn.Linear)
            if not (
                getattr(layer, "groups", 1) == 1 if layer else self.passes_zero(user) and self.feeds_layers_only(user)
            ):
                return False
        return bool(node.users)

    def is_read_once_from_conv(self, node: fx.Node) -> bool:
        """Whether what `node` reads is made by an ungrouped convolution for it alone."""
        while len(node.all_input_nodes) == 1 and len(node.all_input_nodes[0].users) == 1:
            node = node.all_input_nodes[0]
            if conv := self.layer(node, Conv):
                return conv.groups == 1
            if not (self.passes_zero(node) or self.layer(node, ChannelNorm)):
                return False
        return False

    def ancestors(self, node: fx.Node) -> set[fx.Node]:
        found, waiting = {node}, [node]
        while waiting:
            new = set(waiting.pop().all_input_nodes) - found
            found |= new
            waiting.extend(new)
        return found

    def convolutions(self, nodes) -> int:
        return sum(self.layer(node, Conv) is not None for node in nodes)


def function_name(node: fx.Node) -> str | None:
    """Name of the function or tensor method that `node` calls, if it calls one."""
    if node.op == "call_function":
        return getattr(node.target, "__name__", None)
    return node.target if node.op == "call_method" else None


def is_addition(node: fx.Node) -> bool:
    return function_name(node) in ADDITIONS and len(node.all_input_nodes) == 2


def channel_sites(graph: Graph) -> Iterator[tuple[str, str, int]]:
    """(layer that gets the gate, unit, number of λ) for each convolution whose channels can go."""
    for node in graph.nodes:
        conv = graph.layer(node, Conv)
        if conv is not None and conv.groups == 1 and graph.feeds_layers_only(last := graph.with_norm(node)):
            yield last.target, node.target, conv.out_channels


def group_sites(graph: Graph) -> Iterator[tuple[str, str, int]]:
    for node in graph.nodes:
        conv = graph.layer(node, Conv)
        if conv is None or conv.groups == 1:
            continue
        if graph.feeds_layers_only(last := graph.with_norm(node)) and graph.is_read_once_from_conv(node):
            yield last.target, node.target, conv.groups


def block_sites(graph: Graph) -> Iterator[tuple[str, str, int]]:
    found = []
    for node in graph.nodes:
        stack = node.meta.get("nn_module_stack")
        if not stack or not is_addition(node):
            continue
        one, other = node.all_input_nodes
        only_one, only_other = (
            graph.ancestors(one) - graph.ancestors(other),
            graph.ancestors(other) - graph.ancestors(one),
        )
        if graph.convolutions(only_one) == graph.convolutions(only_other):
            continue  # two branches of equal length: neither is a shortcut
        branch = max((only_one, one), (only_other, other), key=lambda side: graph.convolutions(side[0]))[1]
        if graph.layer(branch, Conv | Norm) and len(branch.users) == 1:
            found.append((branch.target, list(stack.values())[-1][0], 1))
    units = Counter(unit for _, unit, _ in found)
    yield from (site for site in found if units[site[1]] == 1)
