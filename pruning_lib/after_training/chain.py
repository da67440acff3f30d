"""Blocks that feed one another, found in a model and run one by one, so that calibration passes each block only twice.

A chain is a ModuleList or Sequential whose elements each get the output of the one before, as the blocks of a
transformer do. What else they get (masks, positions) may depend on the batch but not on the blocks. No model is taken
at its word: a chain has to reproduce the model's own outputs on a batch first.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pruning_lib.inputs import Inputs, call
from pruning_lib.structure.tracing import tensors_in


@dataclass(frozen=True)
class Call:
    """What one element is called with; in the place `slot` stands what the element before puts out."""

    args: tuple
    kwargs: dict[str, Any]
    slot: int | str

    def run(self, element: nn.Module, inputs: Tensor) -> Tensor:
        args, kwargs = list(self.args), dict(self.kwargs)
        (args if isinstance(self.slot, int) else kwargs)[self.slot] = inputs
        return _main_output(element(*args, **kwargs))


def shown(name: str) -> str:
    """The name of a module in messages: the model's own is empty."""
    return name or "the model itself"


class NotAChain(Exception):
    """These elements cannot be run one by one."""


class Stop(BaseException):
    """Ends a forward pass of which no more is needed; no `except Exception` of a model takes it for its own."""


@dataclass(frozen=True)
class Chain:
    """The elements of a container, with the form of what each puts out: a tensor, or a tuple of that and no other."""

    name: str
    elements: tuple[nn.Module, ...]
    forms: tuple[Callable[[Tensor], Any], ...]

    def start(self, model: nn.Module, inputs: Inputs) -> tuple[Tensor, list[Call]]:
        """What the first element gets when `model` is called, and the call of every element, for no element's work.

        Stand-ins hand on what they were given, so that the model's own code makes all the other arguments.
        """
        calls: list[Call] = []
        first: list[Tensor] = []
        passed: list[Tensor] = []

        def stand_in(place: int) -> Callable:
            def forward(*args: Any, **kwargs: Any) -> Any:
                if place != len(calls):
                    raise NotAChain("they are not called once each, in order")
                entries = {**dict(enumerate(args)), **kwargs}
                slot = _slot_of(entries, passed)
                first[:] = first or [entries[slot]]
                passed[:] = [entries[slot].detach()]  # a tensor object of its own, to be known again
                # No reference is kept to what stood there: it would hold memory for the whole walk.
                rest = tuple(None if key == slot else value for key, value in enumerate(args))
                calls.append(Call(rest, {**kwargs, slot: None} if slot in kwargs else kwargs, slot))
                if place == len(self.elements) - 1:
                    raise Stop
                return self.forms[place](passed[0])

            return forward

        with _forwards(self.elements, [stand_in(place) for place in range(len(self.elements))]):
            try:
                call(model, inputs)
            except Stop:
                return first[0], calls
        raise NotAChain("the last one is not called")


def find_chain(model: nn.Module, name: str, inputs: Inputs) -> Chain:
    """The chain of the container `name`, proven on `inputs`; NotAChain if it is none."""
    elements = tuple(model.get_submodule(name))
    if len(set(elements)) < len(elements):
        raise NotAChain("one of them is used twice")
    outputs: list[Any] = []
    with ExitStack() as hooks:
        for element in elements:
            hooks.enter_context(element.register_forward_hook(lambda *given: outputs.append((given[0], given[2]))))
        call(model, inputs)
    if [element for element, _ in outputs] != list(elements):
        raise NotAChain("they are not called once each, in order")
    chain = Chain(name, elements, tuple(_form(output) for _, output in outputs))
    expected = _main_output(outputs[-1][1]).clone()
    outputs.clear()
    try:
        hidden, calls = chain.start(model, inputs)
        for element, its_call in zip(elements, calls, strict=True):
            its_call.run(element, hidden.clone())  # once more, as the walk does: a cache that grows would show
            hidden = its_call.run(element, hidden)
    except NotAChain:
        raise
    except Exception as error:  # whatever an element may do that is called in an unusual way
        raise NotAChain(f"run one by one they fail: {error}") from error
    # Relative to the largest output: activations may all be small.
    largest = float(expected.abs().nan_to_num(0, 0).max()) if expected.numel() else 0.0
    if hidden.shape != expected.shape or not torch.allclose(hidden, expected, 1e-3, 1e-4 * largest, equal_nan=True):
        raise NotAChain("run one by one they put out something else")
    return chain


def containers(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """All ModuleLists and Sequentials, outer ones before what is in them."""
    kinds = nn.ModuleList | nn.Sequential
    return [(name, module) for name, module in model.named_modules() if isinstance(module, kinds)]


def _main_output(output: Any) -> Tensor:
    return output[0] if isinstance(output, tuple | list) else output


def _form(output: Any) -> Callable[[Tensor], Any]:
    """How to put a tensor in the place of `output`; NotAChain if `output` is more than one tensor."""
    if isinstance(output, Tensor):
        return lambda tensor: tensor
    kind = type(output)
    if kind not in (tuple, list) or not output or not isinstance(output[0], Tensor):
        raise NotAChain(f"they put out a {kind.__name__}")
    if any(True for _ in tensors_in(output[1:])):
        raise NotAChain("they put out more than one tensor")
    return lambda tensor: kind((tensor, *output[1:]))


def _slot_of(entries: dict[int | str, Any], passed: list[Tensor]) -> int | str:
    """Where among the arguments is what the element before has passed on; for the first, the first tensor."""
    tensors = {key: value for key, value in entries.items() if isinstance(value, Tensor)}
    if passed:
        found = [key for key, value in tensors.items() if value is passed[0]]
    else:
        found = [key for key, value in tensors.items() if value.is_floating_point()] or list(tensors)
    if not found:
        raise NotAChain("one is not given the output of the one before as it is")
    return found[0]


@contextmanager
def _forwards(modules: Iterable[nn.Module], functions: Iterable[Callable]) -> Iterator[None]:
    """Call `functions` in the place of the modules' forward."""
    own = [(module, module.__dict__.get("forward")) for module in modules]
    try:
        for (module, _), function in zip(own, functions, strict=True):
            module.forward = function
        yield
    finally:
        for module, before in own:
            module.__dict__.pop("forward", None)
            if before is not None:
                module.forward = before
