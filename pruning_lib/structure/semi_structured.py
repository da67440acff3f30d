"""Semi-structured pruning: N:M, stripes of a filter, kernel patterns (TAX-5). Fine-grained, yet regular."""

import torch
from torch import Tensor, nn

from pruning_lib.checks import check_at_least, check_choice, check_scores, check_whole
from pruning_lib.precision import without_autocast
from pruning_lib.structure.masks import Masks, prunable
from pruning_lib.structure.selection import largest
from pruning_lib.structure.unstructured import keep_largest

_ROUNDS = 10  # of refining a library of patterns; on the nets of this suite it settles in fewer


def keep_n_of_m(scores: dict[str, Tensor], n: int, m: int, along: str = "columns") -> Masks:
    """Keep the n largest scores of every m consecutive ones along the input dimension (TAX-5); 2:4 is n=2, m=4.

    Of equal scores the first stays. Source: Mishra et al. 2021, "Accelerating Sparse Deep Neural Networks".

    Parameters
    ----------
    scores : parameter name → scores (out, in, …)
    n, m : how many of how many stay
    along : "columns" | "channels"
        What is consecutive in a convolution (out, in, kh, kw). columns: the entries of a row of the matrix
        (out, in·kh·kw) that multiplies its unfolded input; a group may span kernel places. channels: the input
        channels at one kernel place, as sparse tensor cores group them. Of a linear layer both are the same.

    Raises
    ------
    ValueError
        If not 1 ≤ n ≤ m in whole numbers, `along` is unknown, scores are not finite, or a tensor has under two
        dimensions or columns (or channels) not divisible by m.
    """
    check_whole(n=n, m=m)
    check_choice("along", along, ["columns", "channels"])
    if not 1 <= n <= m:
        raise ValueError(f"n:m is {n}:{m}, must have 1 <= n <= m: n counts what is kept of every m")
    check_scores(scores)
    keep = {}
    for name, score in scores.items():
        if score.ndim < 2:
            raise ValueError(f"scores[{name!r}] has shape {tuple(score.shape)}, must be (out, in, …)")
        inputs = score.shape[1] if along == "channels" else score[0].numel()
        if inputs % m:
            raise ValueError(f"scores[{name!r}] has {inputs} {along}, must be a multiple of m = {m}")
        ordered = score.movedim(1, -1) if along == "channels" else score
        kept = largest(ordered.reshape(-1, m), n).view(ordered.shape)
        keep[name] = kept.movedim(-1, 1).contiguous() if along == "channels" else kept
    return Masks(keep)


def keep_stripes(scores: dict[str, Tensor], sparsity: float, scope: str = "global") -> Masks:
    """Keep the stripes of the largest total score (TAX-5): a K×K filter is K² stripes of shape 1×1×C.

    The score of stripe (o, i, j) is Σ_c scores[o, c, i, j]; round(stripes · (1 − sparsity)) stripes stay. A weight
    without a kernel (Linear) has no stripes and is kept whole. Source: Meng et al. 2020, "Pruning Filter in Filter".

    Raises
    ------
    ValueError
        As `keep_largest`, and if no tensor is 4-dimensional.
    """
    check_scores(scores)
    stripes = {name: score.sum(dim=1) for name, score in _with_kernels(scores).items()}  # (out, kh, kw)
    kept = keep_largest(stripes, sparsity, scope)
    masks = {name: torch.ones_like(score, dtype=torch.bool) for name, score in scores.items()}
    return Masks(masks | {name: keep.unsqueeze(1).expand_as(scores[name]).clone() for name, keep in kept.items()})


@without_autocast
def keep_patterns(scores: dict[str, Tensor], entries: int = 4, patterns: int = 8) -> Masks:
    """Keep `entries` weights of every K×K kernel, in one of at most `patterns` shapes (TAX-5).

    Each kernel votes for the places of its largest scores; the most frequent votes among all kernels of one size form
    the library; each kernel takes from it the pattern that keeps the largest total score. As in k-means, every pattern
    is then set to the best places of its own kernels, and kernels choose anew, until nothing changes: large kernels
    hardly ever vote alike. Kernels with no more than `entries` weights, and Linear weights, are kept whole.
    Source: Ma et al. 2020, "PCONV"; Niu et al. 2020, "PatDNN" (the vote).

    Raises
    ------
    ValueError
        If `entries` or `patterns` is no whole number or under 1, scores are not finite, or no kernel is larger than
        `entries`.
    """
    check_whole(entries=entries, patterns=patterns)
    check_at_least(1, entries=entries, patterns=patterns)
    check_scores(scores)
    masks = {name: torch.ones_like(score, dtype=torch.bool) for name, score in scores.items()}
    with_kernels = _with_kernels(scores)
    sizes = {score.shape[2:] for score in with_kernels.values() if score[0, 0].numel() > entries}
    if not sizes:
        raise ValueError(f"entries is {entries}, must be smaller than the kernel of some layer")
    for size in sorted(sizes):
        alike = {name: score for name, score in with_kernels.items() if score.shape[2:] == size}
        kernels = [score.flatten(2).flatten(0, 1) for score in alike.values()]  # (kernels, K²)
        parts = _assign_patterns(torch.cat(kernels), entries, patterns).split([len(own) for own in kernels])
        masks |= {name: part.view(score.shape) for part, (name, score) in zip(parts, alike.items(), strict=True)}
    return Masks(masks)


def _assign_patterns(kernels: Tensor, entries: int, patterns: int) -> Tensor:
    """Mask (kernels, K²) after the vote described in `keep_patterns`; ties go to the pattern first in binary order."""
    ballots, votes = largest(kernels, entries).unique(dim=0, return_counts=True)
    library = ballots[votes.argsort(descending=True, stable=True)[:patterns]]
    for _ in range(_ROUNDS):
        best = (kernels @ library.T.to(kernels.dtype)).argmax(dim=1)
        totals = kernels.new_zeros(library.shape).index_add_(0, best, kernels)
        used = best.bincount(minlength=len(library)) > 0
        better = torch.where(used.unsqueeze(1), largest(totals, entries), library)
        if torch.equal(better, library):
            break
        library = better
    return library[(kernels @ library.T.to(kernels.dtype)).argmax(dim=1)]


def _with_kernels(scores: dict[str, Tensor]) -> dict[str, Tensor]:
    kernels = {name: score for name, score in scores.items() if score.ndim == 4}
    if not kernels:
        raise ValueError(f"scores has no convolution (out, in, kh, kw), only {', '.join(scores)}")
    return kernels


def best_mask(weight: Tensor) -> Tensor:
    """The 2:4 mask by magnitude: True at the two largest abs(w) of every four; ties and errors as in `keep_n_of_m`.

    By size: −9 stays before 1. (A tile routine of torch, `_sparse_semi_structured_tile`, sorts signed values.)
    """
    return keep_n_of_m({"weight": magnitude(weight)}, 2, 4)["weight"]


def best_masks(model: nn.Module, layers: list[str] | None = None) -> Masks:
    """2:4 masks by magnitude for the weights of `layers` (module names), or for all prunable ones that it fits.

    Without `layers`, weights whose columns (in·kh·kw) are no multiple of 4 get no mask and stay dense.

    Raises
    ------
    ValueError
        If a layer is unknown or not prunable, its columns are no multiple of 4, or no weight is left.
    """
    weights = prunable(model)
    if layers is None:
        chosen = {name: w for name, w in weights.items() if w[0].numel() % 4 == 0}
        if not chosen:
            raise ValueError("model has no prunable weight with columns a multiple of 4, as 2:4 needs")
    else:
        names = [f"{layer}.weight" if layer else "weight" for layer in layers]
        unknown = [name for name in names if name not in weights]
        if unknown:
            raise ValueError(f"layers name {unknown[0]!r}, which is not prunable; the model has {', '.join(weights)}")
        chosen = {name: weights[name] for name in names}
    return keep_n_of_m({name: magnitude(w.detach()) for name, w in chosen.items()}, 2, 4)


def magnitude(weight: Tensor) -> Tensor:
    """abs(w); of integers in int64, where 128 and 2³¹ exist; ValueError unless a tensor of real numbers."""
    if not isinstance(weight, Tensor) or weight.dtype == torch.bool or weight.is_complex():
        kind = weight.dtype if isinstance(weight, Tensor) else type(weight).__name__
        raise ValueError(f"weight is {kind}, must be a tensor of real numbers")
    if weight.is_floating_point():
        return weight.abs()
    size = weight.to(torch.int64).abs()
    if size.numel() and size.min() < 0:
        raise ValueError(f"weight holds {size.min()}, whose size does not fit into int64")
    return size


def kept_magnitude(weight: Tensor) -> float:
    """Σ abs(w) over what `best_mask` keeps, in float64."""
    return float(magnitude(weight).detach()[best_mask(weight)].sum(dtype=torch.float64))
