"""Iterative SNIP: the same score in many small steps, each of what the steps before it have left.

Source: de Jorge et al. 2021, "Progressive Skeletonization: Trimming more fat from a network at initialization", where
it is Iter SNIP: what is gone never comes back, and of what is left each step takes the same share. (Verdenius et al.
2020, SNIP-it, take half of what is still to go in each of a few steps.)
"""

import copy
from collections.abc import Callable, Iterable

from torch import Tensor, nn
from torch.nn import functional as F
from tqdm.auto import trange

from pruning_lib.before_training import snip
from pruning_lib.checks import check_at_least, check_model, check_sparsity, check_whole
from pruning_lib.inputs import Batch, check_batches
from pruning_lib.structure import Masks, keep_largest
from pruning_lib.structure.selection import count_kept


def prune(
    model: nn.Module,
    batches: Iterable[Batch],
    sparsity: float,
    loss: snip.Loss = F.cross_entropy,
    rounds: int = 100,
    progress: bool = True,
) -> Masks:
    """Masks by the connection sensitivity of SNIP, measured anew after each of `rounds` small steps.

    s_j = |w_j · ∂L/∂w_j| at the weights c_{t−1} ⊙ w that are left, over all batches in each round; the steps are those
    of `in_rounds`. One round is SNIP. The model is unchanged; `masks.hold(model)` applies them.

    Raises
    ------
    ValueError
        As `snip.sensitivity` and `in_rounds`; so also if before the last round no weight is left that influences the
        loss.
    """
    check_sparsity(sparsity)  # before a generator is used up
    batches = list(check_batches(batches))
    return in_rounds(model, lambda left: snip.sensitivity(left, batches, loss), sparsity, rounds, progress)


def in_rounds(
    model: nn.Module,
    score: Callable[[nn.Module], dict[str, Tensor]],
    sparsity: float,
    rounds: int = 100,
    progress: bool = True,
) -> Masks:
    """Masks that keep k = round(m · (1 − sparsity)) of m weights, chosen in T = `rounds` steps of the same share.

    After step t there are k_t = round(m · (1 − sparsity)^(t/T)) left (de Jorge et al. 2021, Tanaka et al. 2020): those
    of the largest score in the network without what went before, which never comes back.

    Parameters
    ----------
    model : unchanged; a copy is pruned
    score : from a model to scores ≥ 0 of its prunable weights, larger = more important

    Raises
    ------
    ValueError
        If `sparsity` is outside [0, 1], `rounds` is no whole number of at least 1, and what `score` and `keep_largest`
        raise.
    """
    check_sparsity(sparsity)
    check_whole(rounds=rounds)
    check_at_least(1, rounds=rounds)
    left, masks = copy.deepcopy(check_model(model)), None
    for t in trange(1, rounds + 1, desc="pruning", unit="round", leave=False, disable=not progress):
        scores = score(left)
        if masks is not None:  # below all others: a weight that is left may score 0 as well
            scores = {name: own.masked_fill(~masks[name], -1) for name, own in scores.items()}
        # k_t = m · (1 − s)^(t/T)
        masks = keep_largest(scores, sparsity if t == rounds else 1 - (1 - sparsity) ** (t / rounds))
        if masks.kept == count_kept(masks.total, sparsity):
            break
        masks.zero_(left)
    return masks
