"""Run a model once with a number on every channel, and watch where the numbers go.

Each layer gives its output channels fresh numbers. Activations, pooling and reshaping carry them along, an addition
ties the two numbers that meet, a convolution or linear layer reads them. A function through which they cannot be
followed keeps them in the model, with the reason.
"""

import copy
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from pruning_lib.checks import check_model
from pruning_lib.inputs import call
from pruning_lib.structure.coupling import RULES
from pruning_lib.structure.graph import Branch, Graph
from pruning_lib.structure.holding import release
from pruning_lib.structure.layer_rules import Trail, UnitSize, tensors_in

# Operators and in-place functions come under names of their own.
_ALIASES = {"iadd": "add", "radd": "add", "isub": "sub", "rsub": "sub", "subtract": "sub", "imul": "mul", "rmul": "mul"}
_ALIASES |= {"multiply": "mul", "truediv": "div", "itruediv": "div", "divide": "div", "true_divide": "div"}
# So do arguments, for the sake of numpy; and a function's first one has one of the names in FIRST.
_KEYWORDS = {"axis": "dim", "keepdims": "keepdim", "x2": "other", "x": "input", "x1": "input", "a": "input"}
_FIRST = ("input", "self", "tensors", "query")
# These tell about a tensor, not what is in it.
_METADATA = {"dim", "ndim", "dtype", "device", "layout", "is_nested", "is_cuda", "is_sparse", "is_quantized", "assert"}
_METADATA |= {"is_contiguous", "is_floating_point", "is_complex", "requires_grad", "grad", "get_device", "stride"}
_METADATA |= {"names", "numel", "nelement", "len", "element_size"}
_CASTS = {"to", "type", "float", "double", "half", "bfloat16", "contiguous"}  # may hand back their input as it is
_NOT_IDENTITY = "its shortcut is not the identity, so the block cannot be taken out of the way"


def trace(model: nn.Module, example_inputs: Any) -> Graph:
    """Run a copy of `model` in evaluation mode on `example_inputs` and return its dependency graph."""
    model = copy.deepcopy(check_model(model)).eval()
    release(model)  # masks act through functions of their own, which are no part of the model
    for name, module in model.named_modules():
        if not type(module).__module__.startswith("torch."):  # a size that the code reads off an attribute is known
            own = {k: v for k, v in vars(module).items() if type(v) is int and not k.startswith("_")}
            vars(module).update({k: UnitSize(v, ((name, k), Fraction(1))) for k, v in own.items()})
    with torch.random.fork_rng(devices=[]), torch.no_grad(), uncompiled(model):
        return Follower(model).run(map_tensors(torch.clone, example_inputs))


def uncompiled(model: nn.Module) -> AbstractContextManager:
    """Layers that were compiled one by one run as they are written; without any, the compiler is not even loaded."""
    compiled = any(hasattr(module, "_orig_mod") for module in model.modules())
    return torch.compiler.set_stance("force_eager") if compiled else nullcontext()


def map_tensors(function: Callable[[Tensor], Tensor], value: Any) -> Any:
    """`value` with `function` applied to each tensor in its tuples, lists and dicts."""
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, Mapping):
        return {key: map_tensors(function, item) for key, item in value.items()}
    if type(value) in (tuple, list):
        return type(value)(map_tensors(function, item) for item in value)
    return value


@dataclass(eq=False)
class Frame:
    """A module that is running, and what is needed to see whether it is a residual block."""

    name: str
    module: nn.Module
    way: Branch | None = None  # how its input came about in the module that called it
    weights: list[str] = field(default_factory=list)  # those it has used so far
    refusal: str | None = None  # set once it has added something up: why it is no block if its output has no way


def _ways_of(t: Any) -> dict[Frame, Branch]:
    """For each running module, how `t` comes from its input alone: through its children, relu and r + F(r)."""
    return getattr(t, "_ways", {})


def _starts_from(way: Branch, other: Branch | None) -> bool:
    """Whether the shortcut that came about in one `way` is what the `other` summand, the branch, starts from."""
    if other is None:  # more than a chain of steps: it may start from anything
        return not way.steps
    return len(other.steps) > len(way.steps) and other.steps[: len(way.steps)] == way.steps


class Follower(TorchFunctionMode):
    """Sees every torch function the model calls and gives its result a `Trail`."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model
        self.graph = Graph()
        self.frames = [Frame("", model)]  # there before the model's own hooks run, and after
        self.tensors = dict([*model.named_buffers(), *model.named_parameters()])
        self.names = {id(t): name for name, t in self.tensors.items()}
        self.stays: dict[str, str] = {}  # parameters in use where their units cannot be followed
        self.constants = {
            id(t) for module in model.modules() for t in tensors_in([v for k, v in vars(module).items() if k[0] != "_"])
        }

    def run(self, inputs: Any) -> Graph:
        for x in tensors_in(inputs):
            x._trail = Trail()
        for name, module in self.model.named_modules():
            if name:  # registered last, so that hooks of the user's own count as part of the module that calls
                module.register_forward_pre_hook(partial(self.enter, name), with_kwargs=True)
                module.register_forward_hook(lambda m, args, out: self.leave(m, out), always_call=True)
        with self:
            outputs = call(self.model, inputs)
        for out in tensors_in(outputs):
            self.hold(self.trail(out), "it feeds the model's output")
        if not tensors_in(outputs):
            raise ValueError(
                f"the model returns {type(outputs).__name__}, must return tensors (in tuples, lists or dicts)"
            )
        for slot in self.graph.slots.values():
            if slot.tensor in self.stays:
                self.graph.block(slot.ids, self.stays[slot.tensor])
        self.graph.close()
        return self.graph

    # Modules, as they start and end

    def enter(self, name: str, module: nn.Module, args: tuple, kwargs: dict) -> None:
        frame = Frame(name, module)
        if len(args) == 1 and not kwargs and hasattr(args[0], "_trail"):  # others may not be the copy's own
            frame.way = _ways_of(args[0]).get(self.frames[-1])
            args[0]._ways = _ways_of(args[0]) | {frame: Branch()}
        self.frames.append(frame)

    def leave(self, module: nn.Module, output: Any) -> None:
        if self.frames[-1].module is not module:
            return  # a hook raised before it was entered
        frame = self.frames.pop()
        if frame.refusal and list(frame.module.children()):
            block = _ways_of(output).get(frame)
            if block is None or not (block.last or block.refusal):
                block = Branch(refusal=frame.refusal)
            if (seen := self.graph.blocks.get(frame.name)) is None or not seen.refusal:
                self.graph.blocks[frame.name] = block
        caller = self.frames[-1]
        step = next((key for key, child in caller.module._modules.items() if child is frame.module), None)
        if frame.way and step and isinstance(output, Tensor) and caller not in _ways_of(output):
            output._ways = _ways_of(output) | {caller: frame.way.then(step)}

    def watch_blocks(self, name: str, tensors: list[Tensor], out: Tensor) -> None:
        """Follow r + F(r) and relu through the module that is running."""
        frame, block = self.frames[-1], None
        computed = [t for t in tensors if id(t) not in self.names]
        known = [_ways_of(t).get(frame) for t in computed]
        if name == "add" and len(computed) == 2:
            frame.refusal = frame.refusal or _NOT_IDENTITY
            for way, r, other, branch in zip(known, computed, reversed(known), reversed(computed), strict=True):
                source = self.trail(branch).source
                if block is None and way and (_starts_from(way, other) or self._is_zero(source)):
                    frame.refusal = "it computes more than activations after its addition"
                    kept = tuple(f"{frame.name}.{step}." for step in way.steps)
                    weights = [weight for weight in frame.weights if not weight.startswith(kept)]
                    block = replace(way, weights=weights, last=[*way.last, *source])
                    if not source:
                        block.refusal = "its branch does not end in a layer or norm that can be zeroed"
                    if out.shape != r.shape:
                        block.refusal = "it changes the shape"
        elif name == "relu" and len(computed) == 1 and known[0] and "relu" not in frame.module._modules:
            block = known[0].then("relu")
        elif name in _CASTS and any(out is t for t in computed):
            return
        out._ways = {frame: block} if block else {}

    def _is_zero(self, source: tuple[str, ...]) -> bool:
        """Whether the tensors are zero already, so that what they make adds nothing."""
        return bool(source) and not any(bool(self.tensors[name].any()) for name in source)

    # Every torch function

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = getattr(func, "__name__", str(func))
        if name == "__get__":
            name = func.__self__.__name__
        name = _ALIASES.get(name.strip("_"), name.strip("_"))
        if name in _METADATA:
            return func(*args, **kwargs)
        result = func(*args, **kwargs)
        # From here on the first argument is positional, and the others have one name each.
        kwargs = {_KEYWORDS.get(key, key): value for key, value in kwargs.items()}
        args = args or tuple(kwargs.pop(key) for key in _FIRST if key in kwargs)[:1]
        if name in ("shape", "size"):
            return self.sized(args[0], result, args[1:] or tuple(kwargs.values()))
        tensors = tensors_in([args, kwargs])
        outputs = tensors_in(result)
        if len(outputs) == 1:
            self.watch_blocks(name, tensors, outputs[0])
        rule = RULES.get(name)
        trails = rule(self, name, func, args, kwargs, outputs) if rule and args and outputs else None
        if trails is None:
            for t in tensors:
                self.hold(self.trail(t), f"channels cannot be followed through {self.where(name)}")
            trails = [Trail() for _ in outputs]
        for out, trail in zip(outputs, trails, strict=True):
            out._trail = trail
        return result

    def where(self, name: str) -> str:
        return f"{name} in {self.frames[-1].name or type(self.model).__name__!r}"

    def trail(self, t: Tensor) -> Trail:
        """The trail of a tensor; a vector of the model (a scale, a gate) starts one of its own."""
        if "_trail" in t.__dict__:
            return t._trail
        name = self.names.get(id(t))
        if name is None:
            if id(t) not in self.constants:
                everything = torch.arange(len(self.graph.parent))
                self.graph.block(everything, self.where("a tensor of unknown origin appears"))
            return Trail()  # not left on the tensor, which may not be the copy's own
        t._trail = Trail()
        if max(t.shape, default=1) == t.numel() > 1:
            axis = t.shape.index(t.numel())
            t._trail = Trail(self.graph.fresh(t.numel()), axis, source=(name,))
            self.graph.slot(name, axis, t._trail.ids, zeroed=True)
        else:
            self.stays[name] = f"{name!r} is used in a way that cannot be followed"
        return t._trail

    def hold(self, trail: Trail, reason: str) -> None:
        if trail.ids is not None:
            self.graph.block(trail.ids, reason)

    def sized(self, x: Tensor, sizes: torch.Size | int, dims: tuple) -> torch.Size | int:
        """x.shape or x.size(), with the size of the units' axis marked."""
        trail = self.trail(x)
        if trail.ids is None:
            return sizes
        marked = UnitSize(len(trail.ids), (trail.ids, Fraction(1)))
        if isinstance(sizes, int):
            return marked if dims[0] % x.ndim == trail.axis else sizes
        return torch.Size([marked if d == trail.axis else size for d, size in enumerate(sizes)])
