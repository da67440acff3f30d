"""Pretrain, prune, retrain (PAT-1): once or in rounds, with any score and any structure.

>>> sparsities = retraining.schedule("iterative", 0.98, rounds=5)
>>> masks, history = retraining.run(model, train, measure, sparsities, seed=0)
>>> history[-1].retrained["accuracy"]

A round chooses what goes, takes it out, and trains what is left: from where it is (fine-tuning), from weights of an
earlier time (rewinding, Frankle and Carbin 2019) or from new random ones (training from scratch, Liu et al. 2019).
"""

import math
import os
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from numbers import Integral
from typing import Any

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from pruning_lib.after_training import magnitude
from pruning_lib.after_training.saved_rounds import Round, load_rounds, save_rounds
from pruning_lib.checks import check_choice, check_sparsity
from pruning_lib.modes import undone_on_error
from pruning_lib.resuming import identity
from pruning_lib.structure import Masks, keep_largest, prunable
from pruning_lib.structure.holding import held

State = Mapping[str, Tensor]
SCHEDULES: dict[str, Callable[[float, float], float]] = {  # (final sparsity, share t/T of the rounds) → sparsity
    "one-shot": lambda final, share: final,
    # every round takes the same share of what is left: 1 − s_t = (1 − s)^(t/T)
    "iterative": lambda final, share: 1 - (1 - final) ** share,
    # s_t = s·(1 − (1 − t/T)³), much at first and little at the end: Zhu and Gupta 2017, "To prune, or not to prune"
    "gradual": lambda final, share: final * (1 - (1 - share) ** 3),
}


def schedule(kind: str, sparsity: float, rounds: int = 1) -> list[float]:
    """The sparsity after each round, rising to `sparsity`.

    Parameters
    ----------
    kind : "one-shot" (one round), "iterative" (each round takes the same share of what is left) or "gradual" (cubic)
    sparsity : of the last round, in [0, 1]
    rounds : how many, T ≥ 1

    Raises
    ------
    ValueError
        For an unknown kind, a sparsity outside [0, 1], fewer than one round, or several of a single shot.
    """
    check_choice("kind", kind, SCHEDULES)
    check_sparsity(sparsity)
    if not isinstance(rounds, int) or rounds < 1 or (kind == "one-shot" and rounds > 1):
        raise ValueError(f"rounds is {rounds!r}, must be {'1' if kind == 'one-shot' else 'an integer of at least 1'}")
    return [SCHEDULES[kind](sparsity, t / rounds) for t in range(1, rounds)] + [sparsity]


def by_score(
    model: nn.Module,
    sparsity: float,
    score: Callable[[nn.Module], dict[str, Tensor]] = magnitude.scores,
    structure: Callable[[dict[str, Tensor], float], Masks] = keep_largest,
) -> Masks:
    """A choice for `run` from a score of every weight and a structure; what is held at zero already goes first.

    >>> partial(by_score, score=lambda model: snip.sensitivity(model, batches))
    >>> partial(by_score, structure=lambda scores, sparsity: keep_n_of_m(scores, round(4 * (1 - sparsity)), 4))
    """
    return structure(magnitude.gone_first(model, score(model)), sparsity)


def run(
    model: nn.Module,
    train: Callable[[nn.Module, int, int], Any],
    measure: Callable[[nn.Module], Mapping[str, float]],
    sparsities: Sequence[float],
    *,
    seed: int,
    choose: Callable[[nn.Module, float], Masks] = magnitude.prune,
    after: str = "fine-tune",
    rewind_to: State | None = None,
    fresh: Callable[[int], nn.Module] | None = None,
    folder: str | os.PathLike | None = None,
    settings: Mapping[str, Any] | None = None,
    progress: bool = True,
) -> tuple[Masks, list[Round]]:
    """Prune the trained `model` in place, in rounds, and train it after each (PAT-1); return last masks and history.

    A round: `choose`, hold the masks, `measure`, go on from the weights that `after` says, `train`, `measure`. What is
    gone stays gone. At the end the zeros are in the weights; `masks.hold(model)` keeps them there.

    Parameters
    ----------
    model : trained; or not, if the first of `sparsities` is 0, whose round trains it dense
    train : called with the model, the number of the round from 1, and a seed for that round. It changes the weights in
        place and depends on nothing else: torch's global generator is seeded, an optimizer has to be a new one.
    measure : from the model to named finite numbers, such as loss and accuracy; changes nothing
    sparsities : of each round, not falling; see `schedule`
    choose : from the model and a sparsity to masks: `magnitude.prune`, `by_score`, `magnitude.prune_units`, … with
        functools.partial. While it runs, what is gone already is held at zero.
    after : "fine-tune" keeps the weights, "rewind" sets those that stay (with biases, norms and buffers) to
        `rewind_to`, "scratch" to those of the network that `fresh(seed of the round)` returns
    rewind_to : a copy of the model's state_dict at the start of its training, or a few epochs in
    folder : the state after every round is kept here. Called again with the same arguments, the run goes on after the
        last finished round and ends with the same numbers, bit for bit, as if it had not been interrupted.
    seed : from 0 to 2⁴³ − 1, from which the seeds of the rounds are made
    settings : whatever else `train`, `measure` and `choose` depend on (rates, data, batch size), compared on going on:
        numbers, strings, arrays and the like by value, functions by name with their defaults and what they enclose

    Raises
    ------
    ValueError
        For a bad argument; masks under which removed weights come back; masked weights that training has changed;
        weights or measures that are not finite; a `folder` with a run of other arguments, or broken files. After any
        error or interruption `model` is as it was before; `folder` has the finished rounds.

    Warns
    -----
    UserWarning
        If a layer has lost all of its weights, naming it.
    """
    sparsities, seed = _check_arguments(model, sparsities, seed, after, rewind_to, fresh)
    masks, history, handle = None, [], None
    if folder is not None:
        arguments = {"model": model.state_dict(), "sparsities": sparsities, "seed": seed, "after": after}
        arguments |= {"rewind_to": rewind_to, "fresh": fresh, "settings": settings or {}}
        arguments |= {"choose": choose, "train": train, "measure": measure}
        arguments = {name: identity(value, name) for name, value in arguments.items()}
        history, state, masks = load_rounds(folder, arguments)
    bar = tqdm(total=len(sparsities), initial=len(history), desc=after, leave=False, disable=not progress)
    with undone_on_error(model) as settle, bar:
        try:
            if history:
                _check_state(model, state, f"the state in {folder}")
                model.load_state_dict(state)
                masks = Masks({name: masks[name].to(weight.device) for name, weight in masks.weights_of(model).items()})
                handle = masks.hold(model)
            for number, sparsity in list(enumerate(sparsities, 1))[len(history) :]:
                start, seed_of_round = time.perf_counter(), seed * 1_000_003 + number
                settle()
                torch.manual_seed(-1 - seed_of_round)  # else masks drawn at random would follow `fresh` weights
                chosen = _check_nested(choose(model, sparsity), masks, number)
                if handle is not None:
                    handle.remove()
                handle = chosen.hold(model)
                _warn_empty(chosen, masks, number)
                masks, pruned = chosen, measured(measure, model)
                if after != "fine-tune":
                    state = rewind_to if after == "rewind" else fresh(seed_of_round).state_dict()
                    _check_state(model, state, after)
                    model.load_state_dict(state)
                torch.manual_seed(seed_of_round)
                train(model, number, seed_of_round)
                _check_trained(model, masks, number)
                settle()
                retrained = measured(measure, model)
                seconds = time.perf_counter() - start
                history.append(Round(number, sparsity, masks.sparsity, masks.per_layer(), pruned, retrained, seconds))
                if folder is not None:
                    save_rounds(folder, arguments, history, model.state_dict(), masks)
                bar.update()
                bar.set_postfix(sparsity=f"{masks.sparsity:.4f}", **retrained)
        finally:
            if handle is not None and handle.holds:
                handle.remove()
    return masks, history


def _check_arguments(
    model: nn.Module,
    sparsities: Sequence[float],
    seed: int,
    after: str,
    rewind_to: State | None,
    fresh: Callable | None,
) -> tuple[list[float], int]:
    """Return `sparsities` as a list of floats and `seed`, or raise ValueError for whichever argument is wrong."""
    if not (isinstance(seed, Integral) and 0 <= seed < 2**43):  # the seeds of the rounds must fit in 64 bits
        raise ValueError(f"seed is {seed!r}, must be an integer from 0 to 2**43 - 1")
    sparsities = [float(check_sparsity(sparsity)) for sparsity in sparsities]
    if not sparsities:
        raise ValueError("sparsities is empty, must have at least one round")
    for earlier, later in pairwise(sparsities):
        if later < earlier:
            raise ValueError(f"sparsities fall from {earlier} to {later}, must not: what is gone stays gone")
    check_choice("after", after, ("fine-tune", "rewind", "scratch"))
    for name, value, needed in (("rewind_to", rewind_to, "rewind"), ("fresh", fresh, "scratch")):
        if (value is None) == (after == needed):
            is_now, must = ("None", "given") if value is None else ("given", f"None, as only {needed!r} uses it")
            raise ValueError(f"{name} is {is_now} and after is {after!r}, {name} must be {must}")
    if rewind_to is not None:
        _check_state(model, rewind_to, "rewind_to")
        own = {tensor.data_ptr() for tensor in model.state_dict().values() if tensor.numel()}
        for name, tensor in rewind_to.items():
            if tensor.numel() and tensor.data_ptr() in own:  # empty ones all lie at 0
                raise ValueError(
                    f"rewind_to[{name!r}] is the model's own tensor, must be a copy from earlier: deepcopy"
                )
    for name, weight in prunable(model).items():
        if held(weight):
            raise ValueError(f"{name!r} is held by a mask already: remove that handle first")
    _check_finite(model, "before the first round")
    return sparsities, int(seed)


def _check_state(model: nn.Module, state: State, what: str) -> None:
    own = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    given = {name: tuple(tensor.shape) for name, tensor in state.items()}
    for name in [*own, *given]:
        if own.get(name) != given.get(name):
            raise ValueError(f"{what} has {name!r} of shape {given.get(name)}, must be {own.get(name)} as the model's")


def _check_nested(masks: Masks, before: Masks | None, number: int) -> Masks:
    """Return `masks` if they keep nothing that `before` has not, else raise ValueError."""
    for name, mask in (before or {}).items():
        back = ~mask.to(masks[name].device) & masks[name] if name in masks else ~mask
        if back.any():
            raise ValueError(
                f"round {number}: masks let {int(back.sum())} removed weights of {name!r} come back, must not; "
                "by_score keeps them out for any score"
            )
    return masks


def _check_finite(model: nn.Module, when: str) -> None:
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        fine = torch.isfinite(tensor)
        if not isinstance(tensor, nn.Parameter):
            fine |= tensor == -math.inf  # a buffer may be the mask of an attention
        if not fine.all():
            raise ValueError(f"{name!r} is not finite {when}")


def _check_trained(model: nn.Module, masks: Masks, number: int) -> None:
    _check_finite(model, f"after the training of round {number}: is the learning rate too large?")
    for name, weight in masks.weights_of(model).items():
        if weight.detach()[~masks[name].to(weight.device)].any():
            raise ValueError(f"round {number}: train changed masked weights of {name!r}, must leave them at zero")


def _warn_empty(masks: Masks, before: Masks | None, number: int) -> None:
    for name, mask in masks.items():
        if not mask.any() and (before is None or name not in before or before[name].any()):
            warnings.warn(f"round {number} takes all weights of {name!r}: nothing passes that layer", stacklevel=3)


def measured(measure: Callable[[nn.Module], Mapping[str, float]], model: nn.Module) -> dict[str, float]:
    numbers = {name: float(value) for name, value in measure(model).items()}
    for name, value in numbers.items():
        if not math.isfinite(value):
            raise ValueError(f"measure says {name} = {value}, must be finite")
    return numbers
