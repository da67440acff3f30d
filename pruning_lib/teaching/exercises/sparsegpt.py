"""Exercises of notebooks 05 and 05b."""

from collections.abc import Callable
from functools import cache, partial

import torch
from torch import Tensor

from pruning_lib.after_training import reconstruction, sparsegpt, wanda
from pruning_lib.structure import keep_largest
from pruning_lib.teaching.exercises.exercise import Exercise, Experiment, RuleBroken, draw, uniform, whole
from pruning_lib.teaching.exercises.given import query_layer
from pruning_lib.teaching.exercises.obs import fit_on, random_inverse
from pruning_lib.teaching.exercises.taxonomy import top_k

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


def _few_samples(generator: torch.Generator) -> tuple[Tensor]:
    """H of five inputs from three samples: it has no inverse."""
    X = draw(generator, 5, 3)
    return (X @ X.T / 3,)


def _factor(H: Tensor, added: Tensor | float) -> Tensor:
    return torch.linalg.cholesky(
        torch.linalg.inv(H + torch.diag(torch.ones(len(H), dtype=H.dtype) * added)), upper=True
    )


EXERCISES["damped_factor"] = Exercise(
    _few_samples,
    lambda H: _factor(H, 0.01 * H.diagonal().mean()),
    lambda H: torch.eye(len(H), dtype=H.dtype),
    "That is your colleague's fallback. With U = I, what is left of the score, and who makes up for a deletion?",
    lambda H: _factor(H, 0.01),
    "With 100 times the inputs (10⁴ times the H) your damping would be nothing: it needs the scale of H.",
    lambda H: _factor(H, 0.01 * H.diagonal()),
    "Each entry gets a share of itself: quiet inputs are hardly damped. Asked for is a share of the mean.",
    lambda H: _factor(H, 0.01 * H.diagonal().max()),
    "1 % of the largest entry: one loud input damps all others. Asked for is the mean.",
    lambda H: _factor(H, 0.01 * H.diagonal().mean()).T.contiguous(),
    "Your factor is lower triangular: its rows would reach to columns that are frozen.",
    lambda H: torch.linalg.cholesky(H + 0.01 * H.diagonal().mean() * torch.eye(len(H), dtype=H.dtype), upper=True),
    "That is a factor of H. The algorithm needs one of its inverse.",
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


def _magnitude(W: Tensor) -> Tensor:
    return keep_largest({"W": W.abs()}, 0.5)["W"]


def refitted(W: Tensor, H: Tensor, keep: Tensor) -> Pair:
    return reconstruction.refit(W, H, keep, 0.01), keep


def surgeons(W: Tensor, H: Tensor) -> Pair:
    """OBS in every row until half of it is gone, with damping; the best weights on each mask come by themselves."""
    first = torch.linalg.inv(H + 0.01 * H.diagonal().mean() * torch.eye(len(H), dtype=H.dtype))
    W, keep = W.clone(), torch.ones_like(W, dtype=torch.bool)
    for w, stays in zip(W, keep, strict=True):
        B = first.clone()
        for _ in range(len(H) // 2):
            q = int(torch.where(stays, w**2 / B.diagonal(), torch.inf).argmin())
            w -= w[q] / B[q, q] * B[q]
            B -= torch.outer(B[:, q], B[q]) / B[q, q]
            stays[q] = False
    return W * keep, keep


EXERCISES["layer_below"] = Experiment(
    lambda: [query_layer()],
    layer_error,
    0.1,
    "layer error",
    "{:.3f} %",
    surgeons,
    lambda W, H: (W * _magnitude(W), _magnitude(W)),
    "Nothing has moved. Half of the problem is not solved yet.",
    lambda W, H: sparsegpt.prune_weight(W, H, 0.5),
    "SparseGPT as it is. Its compensation is a shortcut: what does GPT-2 give on the same mask?",
    lambda W, H: refitted(W, H, _magnitude(W)),
    "The best weights on magnitude's mask. Now the mask: whose score knows what others can make up for?",
    lambda W, H: refitted(W, H, wanda.prune_weight(W, H, 0.5)[1]),
    "The best weights on Wanda's mask. It knows the size of the inputs, not how they depend on each other.",
    lambda W, H: sparsegpt.prune_weight(W, H, 0.5, refit=True),
    "Better weights cannot be had on this mask. Where does SparseGPT's choice know too little?",
    lambda W, H: sparsegpt.prune_weight(W, H, 0.5, block=8, refit=True),
    "Narrow blocks know more errors before they choose. Who chooses knowing all of them, one weight at a time?",
)
