"""Exercises of notebook 02."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from pruning_lib.teaching.exercises.exercise import Exercise, Experiment, RuleBroken, draw

EXERCISES: dict[str, Exercise | Experiment] = {}
Tensors = list[Tensor]


def _shares(scores: Tensors) -> Tensors:
    total = sum(score.sum() for score in scores)
    return [score / total for score in scores]


def _products(weights: Tensors, gradients: Tensors) -> Tensors:
    return [w * g for w, g in zip(weights, gradients, strict=True)]


def _scores(weights: Tensors, gradients: Tensors) -> Tensors:
    return _shares([product.abs() for product in _products(weights, gradients)])


EXERCISES["snip_scores"] = Exercise(
    lambda generator: tuple([draw(generator, 3, 2), draw(generator, 2, 3)] for _ in range(2)),
    _scores,
    lambda weights, gradients: _shares([g.abs() for g in gradients]),
    "That is how fast the loss changes with the *weight*. The dial here is c, and it turns c·w.",
    lambda weights, gradients: [product.abs() for product in _products(weights, gradients)],
    "Right up to a factor: these are no shares yet.",
    lambda weights, gradients: [_shares([product.abs()])[0] for product in _products(weights, gradients)],
    "Within each layer your shares add up to 1. Here all connections of the model share one 1.",
    lambda weights, gradients: _shares(_products(weights, gradients)),
    "You let opposite signs cancel. Does a connection matter less if the loss falls when its dial is turned down?",
    lambda weights, gradients: _shares([w.abs() for w in weights]),
    "Your scores never look at the loss.",
    lambda weights, gradients: _shares([product**2 for product in _products(weights, gradients)]),
    "The ranking is right, the shares are not: large ones get too much.",
)


def _spread(outputs: Tensor) -> Tensor:
    return outputs.std(dim=0).mean()


def _shuffled(weights: Tensors, masks: Tensors, orders: Tensors) -> Tensors:
    return [w * mask.flatten()[order].view(w.shape) for w, mask, order in zip(weights, masks, orders, strict=True)]


def _moved(weights: Tensors, masks: Tensors, orders: Tensors) -> Tensors:
    """The weights that SNIP keeps, at random places."""
    kept = [w * mask for w, mask in zip(weights, masks, strict=True)]
    return [w.flatten()[order].view(w.shape) for w, order in zip(kept, orders, strict=True)]


def _control(
    weights: Tensors,
    masks: Tensors,
    orders: Tensors,
    x: Tensor,
    dense: bool = False,
    borrowed: bool = False,
    stale: bool = False,
    moved: bool = False,
) -> Tensors:
    """Each layer's mask in a random order, scaled until its outputs spread over `x` as those under SNIP's mask do.

    Wrong ways: as those of the `dense` layers; measured on inputs `borrowed` from SNIP; with `stale` outputs passed on;
    with the weights `moved` along.
    """
    control, theirs, ours = [], x, x
    shuffled = (_moved if moved else _shuffled)(weights, masks, orders)
    for w, mask, kept in zip(weights, masks, shuffled, strict=True):
        outputs = (theirs if borrowed else ours) @ kept.T
        theirs = theirs @ (w if dense else w * mask).T
        factor = _spread(theirs) / _spread(outputs)
        control.append(kept * factor)
        theirs, ours = theirs.relu(), (outputs if stale else outputs * factor).relu()
    return control


def _by_layers(generator: torch.Generator) -> tuple[Tensors, Tensors, Tensors, Tensor]:
    """Weights of two layers, masks that keep different shares of them, an order for each, and samples."""
    weights = [draw(generator, 6, 4), draw(generator, 3, 6)]
    sizes = [torch.rand(w.shape, generator=generator) for w in weights]
    masks = [size >= size.flatten().sort().values[-kept] for size, kept in zip(sizes, (8, 14), strict=True)]
    return weights, masks, [torch.randperm(w.numel(), generator=generator) for w in weights], draw(generator, 20, 4)


def _over_all_layers(weights: Tensors, masks: Tensors, orders: Tensors, x: Tensor) -> Tensors:
    """The colleague's: one shuffle over both layers, with the orders one behind the other."""
    order = torch.cat([orders[1] + len(orders[0]), orders[0]])
    flat = torch.cat([mask.flatten() for mask in masks])[order].split([w.numel() for w in weights])
    return [w * part.view(w.shape) for w, part in zip(weights, flat, strict=True)]


def _same_squares(weights: Tensors, masks: Tensors, orders: Tensors, x: Tensor) -> Tensors:
    kept = _shuffled(weights, masks, orders)
    return [
        now * ((w * mask).square().sum() / now.square().sum()).sqrt()
        for w, mask, now in zip(weights, masks, kept, strict=True)
    ]


def _scaled_alike(weights: Tensors, masks: Tensors, orders: Tensors, x: Tensor) -> Tensors:
    """One factor for both layers, such that the last outputs spread alike."""

    def last(layers: Tensors) -> Tensor:
        return _spread((x @ layers[0].T).relu() @ layers[1].T)

    kept = _shuffled(weights, masks, orders)
    factor = (last([w * mask for w, mask in zip(weights, masks, strict=True)]) / last(kept)).sqrt()
    return [now * factor for now in kept]


EXERCISES["fair_control"] = Exercise(
    _by_layers,
    _control,
    lambda weights, masks, orders, x: _shuffled(weights, masks, orders),
    "Right places. But SNIP's weights are larger than random ones: with the places the signal changes, too.",
    _scaled_alike,
    "One factor for all layers: the last outputs spread alike, those before them do not.",
    _same_squares,
    "Equal squares of weights do not make equal outputs: it matters which inputs they meet. Measure the outputs.",
    lambda *case: _control(*case, dense=True),
    "Now the control has the signal of the dense layer, and SNIP's mask less: again two things differ.",
    lambda *case: _control(*case, borrowed=True),
    "You run SNIP's signal through the control. Its second layer gets what its own first layer passes on.",
    lambda *case: _control(*case, stale=True),
    "You scale a layer, and pass its unscaled outputs on. The next layer then makes up for that once more.",
    lambda *case: _control(*case, moved=True),
    "You take SNIP's weights along to the new places. Leave the weights where they are, and move only the mask.",
    lambda weights, masks, orders, x: _moved(weights, masks, orders),
    "You take SNIP's weights along to the new places, and you do not scale them. Move only the mask, then scale.",
    _over_all_layers,
    "That is one shuffle over all layers: each layer keeps another number of weights than SNIP keeps in it.",
)


CALLS = 1000


class _Loss:
    """The loss of a tiny network over its 24 indicators (4×3 and 3×4 weights), which counts how often it is asked."""

    def __init__(self):
        generator = torch.Generator().manual_seed(7)
        self.w1, self.w2, self.x = draw(generator, 4, 3), draw(generator, 3, 4), draw(generator, 30, 3)
        self.y = torch.randint(0, 3, (30,), generator=generator)
        self.left = CALLS

    def __call__(self, c: Tensor) -> Tensor:
        self.left -= 1
        if self.left < 0:
            raise RuntimeError(f"the loss was asked more than {CALLS} times")
        hidden = torch.tanh(self.x @ (c[:12].view(4, 3) * self.w1).T)
        return F.cross_entropy(hidden @ (c[12:].view(3, 4) * self.w2).T, self.y)


def _loss_at(c: Tensor, loss: Callable, k: int) -> float:
    if c.shape != (24,) or not ((c == 0) | (c == 1)).all():
        raise RuleBroken("Asked for are 24 indicators, each 0 or 1.")
    if c.sum() != k:
        raise RuleBroken(f"{int(c.sum())} connections stay, it must be {k}.")
    return loss(c.double()).item()


def _ones(k: int, scores: Tensor) -> Tensor:
    return torch.zeros(24, dtype=torch.float64).index_fill(0, scores.argsort(descending=True)[:k], 1)


def _without(c: Tensor, *flipped: int) -> Tensor:
    return c.index_put((torch.tensor(flipped),), 1 - c[list(flipped)])


def _gradient(loss: Callable) -> Tensor:
    c = torch.ones(24, dtype=torch.float64, requires_grad=True)
    return torch.autograd.grad(loss(c), c)[0]


def _by_turns(loss: Callable, k: int) -> Tensor:
    c = torch.ones(24, dtype=torch.float64)
    while c.sum() > k:
        c = min((_without(c, j) for j in c.nonzero().flatten().tolist()), key=loss)
    return c


def _exchanged(loss: Callable, k: int) -> Tensor:
    c, found = _by_turns(loss, k), True
    lowest = loss(c)
    while found:
        found = False
        for j in c.nonzero().flatten().tolist():
            for i in (1 - c).nonzero().flatten().tolist():
                if loss.left and (value := loss(_without(c, i, j))) < lowest:
                    c, lowest, found = _without(c, i, j), value, True
                    break
    return c


EXERCISES["ten_of_24"] = Experiment(
    lambda: [(_Loss(), 10)],
    _loss_at,
    0.95,
    "loss",
    "{:.3f}",
    _exchanged,
    lambda loss, k: _ones(k, _gradient(loss).abs()),
    "That is SNIP, from a single gradient, and you have hundreds of calls left.",
    lambda loss, k: _ones(k, torch.stack([loss(_without(torch.ones(24, dtype=torch.float64), j)) for j in range(24)])),
    "Each connection is judged while all others are still there. What changes when the first one is gone?",
    _by_turns,
    "Judged again after every removal: good, for 245 calls. But what is gone never comes back.",
    lambda loss, k: _ones(k, torch.cat([loss.w1.flatten(), loss.w2.flatten()]).abs()),
    "The largest weights stay, and the loss was never asked.",
)
