"""Exercises of notebooks 05 and 05b."""

from collections.abc import Callable
from functools import cache, partial

import torch
from torch import Tensor

from pruning_lib.after_training import reconstruction, sparsegpt
from pruning_lib.after_training.calibration import prune_in_order
from pruning_lib.structure import prunable
from pruning_lib.teaching.exercises.exercise import Exercise, Experiment, RuleBroken, draw, uniform, whole
from pruning_lib.teaching.exercises.given import query_layer
from pruning_lib.teaching.exercises.obs import fit_on, random_inverse
from pruning_lib.teaching.exercises.taxonomy import top_k
from pruning_lib.workbench import language
from pruning_lib.workbench import text as workbench_text

EXERCISES: dict[str, Exercise | Experiment] = {}
Pair = tuple[Tensor, Tensor]


def _column_inputs(generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    keep = torch.rand(5, generator=generator) < 0.5
    keep[0], keep[1] = True, False
    return draw(generator, 5, 4), keep, random_inverse(generator, 4)[0]


def _column(W: Tensor, keep: Tensor, row: Tensor) -> Tensor:
    return W - torch.outer(torch.where(keep, 0, W[:, 0]) / row[0], row)


EXERCISES["sparsegpt_column"] = Exercise(
    _column_inputs,
    _column,
    lambda W, keep, row: torch.cat([(W[:, 0] * keep)[:, None], W[:, 1:]], 1),
    "The first column is right, and nobody makes up for it.",
    lambda W, keep, row: _column(W, ~keep, row),
    "Those go that should stay: keep says True = stays.",
    lambda W, keep, row: W - torch.outer(torch.where(keep, 0, W[:, 0]), row),
    "The directions are right, the lengths are not: does the first column become zero where it should?",
    lambda W, keep, row: _column(W, torch.zeros_like(keep), row),
    "All rows lose their first weight. What should a row do that keeps it?",
    lambda W, keep, row: torch.cat([W[:, :1], _column(W, keep, row)[:, 1:]], 1),
    "The others made up for a weight that is still there.",
    lambda W, keep, row: 2 * W - _column(W, keep, row),
    "The weights that should go have doubled.",
    lambda W, keep, row: _column(W, keep, row**2),
    "The first column is right. The others move along the row itself, not along its squares.",
)


def _layer_and_mask(generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Five rows with masks of their own; the second column stays in all of them."""
    keep = torch.rand(5, 6, generator=generator) < 0.5
    keep[:, 1], keep[0, 0], keep[1, 0] = True, False, True
    return draw(generator, 5, 6), torch.linalg.inv(random_inverse(generator, 6)), keep


def _downdated(W: Tensor, H: Tensor, keep: Tensor, *, downdate=True, frozen=True, lengths=True, skip=False) -> Tensor:
    """The pass by GPT-5 to GPT-7 on a given mask, with one inverse and no factor; what mistakes leave out."""
    W, B = W.clone(), torch.linalg.inv(H)
    for j in range(W.shape[1]):
        gone, first = torch.where(keep[:, j], 0, W[:, j]), j if frozen else 0
        W[:, first:] -= torch.outer(gone / (B[j, j] if lengths else 1), B[j, first:])
        if downdate and not (skip and keep[:, j].all()):
            B = B - torch.outer(B[:, j], B[j]) / B[j, j]
    return W


EXERCISES["downdated_pass"] = Exercise(
    _layer_and_mask,
    _downdated,
    partial(_downdated, skip=True),
    "That is your colleague's pass. A column that all rows keep: may it still move when later ones go?",
    partial(_downdated, downdate=False),
    "You never downdate. On which columns does row j of the first inverse let column j count?",
    partial(_downdated, downdate=False, frozen=False),
    "Frozen columns move, and zeros come back to life.",
    partial(_downdated, lengths=False),
    "The directions are right, the lengths are not: does a pruned weight become zero?",
    partial(_downdated, frozen=False, skip=True),
    "A column that all rows keep freezes, too: here it moves.",
    lambda W, H, keep: _downdated(W, H, ~keep),
    "Those go that should stay: keep says True = stays.",
    lambda W, H, keep: W * keep,
    "The zeros are right, and nobody makes up for them.",
    lambda W, H, keep: torch.stack([fit_on(w, H, k.nonzero().flatten()) for w, k in zip(W, keep, strict=True)]),
    "These are the best weights on the mask (GPT-2), an inverse for every row. Asked for is one pass, one inverse.",
)


def _scores_and_sparsity(generator: torch.Generator) -> tuple[Tensor, float]:
    # Whole numbers, so that there are ties; counts that are no multiple of the rows, and a little off whole numbers.
    scores = torch.randint(1, 13, (4, 6), generator=generator).double()
    count = 2 * whole(generator, 2, 10) + 1
    return scores, (count + uniform(generator, -0.4, 0.4)) / scores.numel()


def choose(scores: Tensor, sparsity: float) -> Tensor:
    return top_k(scores.flatten(), round(scores.numel() * (1 - sparsity))).view(scores.shape)


def _nth(scores: Tensor, n: int) -> Tensor:
    """The n-th score from below, counted from 0."""
    return scores.flatten().sort().values[n]


EXERCISES["choose_block"] = Exercise(
    _scores_and_sparsity,
    choose,
    lambda scores, sparsity: scores > _nth(scores, int(scores.numel() * sparsity)),
    "That is the rule of the paper's code. Count what is left, once without ties and once with.",
    lambda scores, sparsity: scores > _nth(scores, round(scores.numel() * sparsity) - 1),
    "Right without ties. What happens to scores that equal the threshold?",
    lambda scores, sparsity: ~choose(scores, sparsity),
    "Your True means that a weight goes. Here True = stays.",
    lambda scores, sparsity: choose(scores, sparsity + 1 / scores.numel()),
    "Still one weight too many goes.",
    lambda scores, sparsity: choose(scores, int(scores.numel() * sparsity) / scores.numel()),
    "Too many stay now and then: 24 · 0.325 = 7.8, and how many go?",
    lambda scores, sparsity: choose(scores, 1 - sparsity),
    "You take sparsity for the share that stays.",
    lambda scores, sparsity: choose(scores.flip(0, 1), sparsity).flip(0, 1),
    "Right but for ties: of equal scores the first must stay, yours keeps the last.",
    lambda scores, sparsity: torch.stack([choose(row, sparsity) for row in scores]),
    "You choose in every row. A block is chosen as one: some rows may lose more than others.",
    lambda scores, sparsity: choose(-scores, sparsity),
    "The weights stay that cost least to delete.",
)


def _layer_and_factor(generator: torch.Generator) -> tuple[Tensor, Tensor, Callable, int, int]:
    """A layer of two blocks, the second one narrower; the mask is chosen for four columns at a time."""
    U = torch.linalg.cholesky(random_inverse(generator, 10), upper=True)
    return draw(generator, 3, 10), U, lambda scores: choose(scores, 0.5), 4, 6


def _pass(
    W: Tensor,
    U: Tensor,
    choose: Callable,
    group: int,
    block: int,
    score: Callable = lambda now, first, diagonal: now**2 / diagonal**2,
    error: Callable = lambda keep, w, pivot: torch.where(keep, 0, w) / pivot,
    inside: bool = True,
    lazy: Callable = lambda E, rows: E @ rows,
) -> Pair:
    """GPT-8, with what mistakes put in its places."""
    first, W, M = W, W.clone(), torch.ones_like(W, dtype=torch.bool)
    for start in range(0, W.shape[1], block):
        end = min(start + block, W.shape[1])
        E = torch.zeros_like(W[:, start:end])
        for j in range(start, end):
            if (j - start) % group == 0:
                due = slice(j, min(j + group, end))
                M[:, due] = choose(score(W[:, due], first[:, due], U.diagonal()[due]))
            E[:, j - start] = error(M[:, j], W[:, j], U[j, j])
            if inside:
                W[:, j:end] -= torch.outer(E[:, j - start], U[j, j:end])
        W[:, end:] -= lazy(E, U[start:end, end:])
    return W * M, M


EXERCISES["sparsegpt_pass"] = Exercise(
    _layer_and_factor,
    _pass,
    partial(_pass, score=lambda now, first, diagonal: now**2),
    "Your mask is magnitude's, block by block. What does a deletion cost by GPT-5, and where in U does that stand?",
    partial(_pass, score=lambda now, first, diagonal: now**2 / diagonal),
    "The diagonal of U is the root of what OBS divides by.",
    partial(_pass, score=lambda now, first, diagonal: first**2 / diagonal**2),
    "You score the weights that were given. By the time a mask is due, earlier columns have moved them.",
    partial(_pass, score=lambda now, first, diagonal: -(now**2) / diagonal**2),
    "The weights go that cost most: `choose` keeps the highest scores.",
    partial(_pass, error=lambda keep, w, pivot: torch.where(keep, 0, w)),
    "The directions are right, the lengths are not: does a pruned weight become zero by your update?",
    partial(_pass, error=lambda keep, w, pivot: torch.where(keep, w, 0) / pivot),
    "Others make up for the weights that stay. E should hold those that go.",
    partial(_pass, inside=False),
    "Nothing moves inside the block. Only what lies to the right of the block may wait.",
    partial(_pass, lazy=lambda E, rows: 0),
    "The weights to the right of a block never hear of it.",
    partial(_pass, lazy=lambda E, rows: torch.outer(E[:, -1], rows[-1])),
    "To the right of the block only its last column counts. All columns of E have made an error.",
    lambda *given: (_pass(*given)[0], ~_pass(*given)[1]),
    "The weights are right, the mask is turned: True = stays.",
)


_HELPERS = 16


@cache
def _damped_query_layer() -> Tensor:
    H = query_layer()[1]
    return H + 0.01 * H.diagonal().mean() * torch.eye(len(H), dtype=H.dtype)


def _cost_with(helpers: list[int], H: Tensor, q: int, k: int) -> float:
    """What deleting q costs if only the helpers make up for it, over its cost with all others (GPT-5)."""
    chosen = [int(one) for one in helpers]
    if len(chosen) != k or len(set(chosen)) != k or q in chosen:
        raise RuleBroken(f"{k} different columns are asked for, and q is not one of them.")
    if not all(0 <= one < len(H) for one in chosen):
        raise RuleBroken(f"Columns are numbered from 0 to {len(H) - 1}.")
    S = [q, *chosen]
    return (torch.linalg.inv(H)[q, q] / torch.linalg.inv(H[S][:, S])[0, 0]).item()


def _most(scores: Tensor, q: int, k: int) -> list[int]:
    return scores.index_fill(0, torch.tensor(q), -1).topk(k).indices.tolist()


def _one_by_one(H: Tensor, q: int, k: int) -> list[int]:
    left, helpers = H.clone(), []
    for _ in range(k):
        gain = left[q] ** 2 / left.diagonal()
        gain[[q, *helpers]] = -1
        helpers.append(int(gain.argmax()))
        left -= torch.outer(left[:, helpers[-1]], left[helpers[-1]]) / left[helpers[-1], helpers[-1]]
    return helpers


EXERCISES["sixteen_helpers"] = Experiment(
    lambda: [(_damped_query_layer(), q, _HELPERS) for q in range(4, 192, 8)],
    _cost_with,
    5.0,
    "cost, over OBS's,",
    "{:.2f} times",
    _one_by_one,
    lambda H, q, k: [(q + 1 + i) % len(H) for i in range(k)],
    "The columns to the right, whatever they know. Which inputs say what q's input says?",
    lambda H, q, k: _most(H.diagonal(), q, k),
    "The largest inputs. They can do much, but do they do q's work?",
    lambda H, q, k: _most(H[q].abs(), q, k),
    "Those with the largest entries in q's row of H: large inputs look more alike than they are.",
    lambda H, q, k: _most(H[q].abs() / H.diagonal().sqrt(), q, k),
    "Those most correlated with q, each on its own. What does the second know that the first does not?",
    lambda H, q, k: _most(torch.linalg.inv(H)[q].abs() / torch.linalg.inv(H).diagonal().sqrt(), q, k),
    "Those that would move most if all moved. With the others frozen their work is another.",
)


def layer_error(result: Pair, W: Tensor, H: Tensor, *_: object) -> float:
    """Error in percent of (weights, mask), of which at most half may stay."""
    weight, keep = result
    if weight.shape != W.shape or keep.shape != W.shape or keep.dtype != torch.bool:
        raise RuleBroken("Return the new weights and a boolean mask, both of W's shape.")
    if weight[~keep].any():
        raise RuleBroken("Some weights are not zero although your mask says that they go.")
    if keep.sum() > W.numel() // 2:
        raise RuleBroken(f"{int(keep.sum())} weights stay, at most {W.numel() // 2} may.")
    return 100 * reconstruction.error(W, weight, H)


def _names() -> list[str]:
    return [name.removesuffix(".weight") for name in prunable(language.load_checkpoint()[0])]


@cache
def _perplexities(shares: tuple[float, ...]) -> tuple[float, float]:
    """Of the GPT whose layers lost these shares by SparseGPT: on training text and on unseen text."""
    model, about = language.load_checkpoint()
    source, due = workbench_text.load(about["text"]), iter(shares)
    calibration, judged = (workbench_text.windows(source.train, 256, 4, seed) for seed in (0, 1))

    def prune_layer(weight: Tensor, hessian: Tensor) -> Pair:
        return sparsegpt.prune_weight(weight, hessian, next(due))

    prune_in_order(model, [calibration], prune_layer, reconstruction.Hessian, progress=False)
    return language.perplexity(model, judged.flatten()), language.perplexity(model, source.held_out[4096:6656])


class _Asked:
    """Tells the perplexity on training text, up to eight times."""

    left = 8

    def __call__(self, shares: dict[str, float]) -> float:
        if not self.left:
            raise RuleBroken("perplexity_of was called more than 8 times.")
        self.left -= 1
        return _perplexities(_checked(shares))[0]


def _checked(shares: dict[str, float]) -> tuple[float, ...]:
    """The shares in the order of the layers."""
    names = _names()
    if not isinstance(shares, dict) or set(shares) != set(names):
        raise RuleBroken(f"Asked for is a dict with a share for each of the {len(names)} layers.")
    if not all(0 <= share <= 1 for share in shares.values()):
        raise RuleBroken("A share is a number from 0 to 1.")
    return tuple(float(shares[name]) for name in names)


def _layers_and_judge() -> list[tuple[dict[str, int], _Asked]]:
    sizes = {name.removesuffix(".weight"): one.numel() for name, one in prunable(language.load_checkpoint()[0]).items()}
    return [(sizes, _Asked())]


def _of_equal_shares(shares: dict[str, float], weights: dict[str, int], _: _Asked) -> float:
    """In percent of the perplexity with equal shares, since the text differs from Python to Python."""
    given = dict(zip(_names(), _checked(shares), strict=True))
    gone = sum(share * weights[name] for name, share in given.items()) / sum(weights.values())
    if gone < 0.7 - 1e-6:
        raise RuleBroken(f"{gone:.1%} of all weights go, at least 70 % must.")
    return 100 * _perplexities(tuple(given.values()))[1] / _perplexities((0.7,) * len(given))[1]


def _spared(weights: dict[str, int], part: str, share: float = 0.6) -> dict[str, float]:
    """`share` of the layers with `part` in their name, and so much of the others that 70 % go in all."""
    chosen = sum(size for name, size in weights.items() if part in name) / sum(weights.values())
    return {name: share if part in name else (0.7 - share * chosen) / (1 - chosen) for name in weights}


def _best_of_three(weights: dict[str, int], perplexity_of: _Asked) -> dict[str, float]:
    first = _spared({name: size for name, size in weights.items() if "mlp" in name}, "blocks.0.", 0.65)
    attention = _spared(weights, "attention")
    return min(
        (attention, _spared(weights, "blocks.0."), attention | {name: first[name] + 0.05 for name in first}),
        key=perplexity_of,
    )


EXERCISES["spread_the_zeros"] = Experiment(
    _layers_and_judge,
    _of_equal_shares,
    81.0,
    "perplexity on unseen text, of that with equal shares,",
    "{:.1f} %",
    _best_of_three,
    lambda weights, _: dict.fromkeys(weights, 0.7),
    "All layers lose the same share, as in the lesson. Which group of them does the model miss most? Ask.",
    lambda weights, _: _spared(weights, "mlp"),
    "You spared the MLP. The attention layers, half as many weights, had to lose 90 %.",
    lambda weights, _: _spared(weights, "blocks.3."),
    "You spared the last block. Whose errors do all the others meet?",
    lambda weights, _: _spared(weights, "blocks.0."),
    "You spared the first block, whose errors all others meet. There is another way to group the layers: by kind.",
)
