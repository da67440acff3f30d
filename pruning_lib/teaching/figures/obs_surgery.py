"""Picture of OBS-5: what the others do when a weight goes. Magnitude, Optimal Brain Damage, Optimal Brain Surgeon."""

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor, nn

from pruning_lib.after_training import obs
from pruning_lib.teaching.figures import style
from pruning_lib.teaching.palette import GOOD, KEPT, MUTED, PRUNED, SERIES
from pruning_lib.workbench import data

_STYLES = {  # color, marker, line, name
    "magnitude": (SERIES[3], "s", "--", "magnitude: smallest |w|"),
    "obd": (GOOD, "^", "-.", "Optimal Brain Damage"),
    "obs": (KEPT, "o", "-", "Optimal Brain Surgeon"),
}
_DIGIT = 3


@style.in_style
def obs_surgery() -> Figure:
    """Left, a unit with two weights and one deletion by each method; right, one deletion after the other on real scans.

    Both units are linear: least squares trains them exactly, and their error E (OBS-6) is the parabola of the theory.
    """
    figure = style.new_figure(style.WIDTH, 4.1)
    left, right = figure.subplots(1, 2, width_ratios=[1.1, 1])
    _draw_plane(left, *two_weights())
    _draw_deletions(right, *_pixels_of_digits())
    figure.legend(*right.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def _trained(X: Tensor, t: Tensor) -> nn.Linear:
    """One linear unit at the minimum of its squared error."""
    unit = nn.Linear(X.shape[1], 1, bias=False, dtype=torch.float64)
    unit.weight.data = torch.linalg.lstsq(X, t).solution.T
    return unit


def two_weights(seed: int = 0) -> tuple[nn.Linear, Tensor, Tensor]:
    """A unit whose smaller weight is the more important one: its input is larger; the two inputs are correlated."""
    generator = torch.Generator().manual_seed(seed)
    X = torch.randn(200, 2, generator=generator, dtype=torch.float64) @ torch.tensor([[2.0, 0.75], [0, 0.7]]).double()
    t = X @ torch.tensor([[1.0], [1.5]]).double() + 0.3 * torch.randn(200, 1, generator=generator, dtype=torch.float64)
    return _trained(X, t), X, t


def _pixels_of_digits() -> tuple[nn.Linear, Tensor, Tensor]:
    """A unit that tells one digit from the nine others by the pixels of scikit-learn's scans, all centered."""
    images, labels = data.load("digits").train
    X, t = images.flatten(1).double(), (labels == _DIGIT).double()[:, None]
    X, t = X[:, X.std(0) > 0], t - t.mean()
    X = X - X.mean(0)
    return _trained(X, t), X, t


def _draw_plane(ax: Axes, unit: nn.Linear, X: Tensor, t: Tensor) -> None:
    """E over both weights as contours, from the minimum to where each method goes: an axis, where one weight is 0."""
    w = unit.weight.detach()[0]
    H = obs.hessian(obs.jacobian_rows(unit, X), len(X))
    base = obs.squared_error(unit, [(X, t)]).item()
    x, y = torch.linspace(-0.75, 2.35, 100).double(), torch.linspace(-0.5, 2.5, 90).double()
    from_w = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1) - w
    E = base + torch.einsum("...i,ij,...j->...", from_w, H, from_w) / 2  # OBS-1, exact here
    ax.contour(x, y, E, levels=[base + rise for rise in (0.05, 0.2, 0.45, 0.8, 1.25, 1.8, 2.45)], colors=PRUNED)
    ax.axhline(0, color=MUTED, linewidth=1)
    ax.axvline(0, color=MUTED, linewidth=1)
    for method, (color, marker, line, _) in _STYLES.items():
        _, pruned = next(obs.steps(unit, [(X, t)], method=method))
        end = pruned.weight.detach()[0]
        rise = obs.squared_error(pruned, [(X, t)]).item() - base
        style.arrow(ax, tuple(w), tuple(end), color, linewidth=2, linestyle=line, shrinkA=5, shrinkB=5)
        ax.plot(*end, marker, color=color, markersize=8, zorder=4)
        beside = (9, 7) if method == "obs" else (-6, 10) if method == "magnitude" else (-8, 8)
        align = "left" if beside[0] > 0 else "right"
        ax.annotate(f"+{rise:.2f}", end, beside, textcoords="offset points", ha=align)
    ax.plot(*w, "*", color=style.INK, markersize=13, zorder=4)
    ax.annotate("trained", w, (8, 6), textcoords="offset points", fontsize=style.SMALL)
    style.plain_axes(ax, "w₁", "w₂", "one of two weights goes: rise of the error E")


def _draw_deletions(ax: Axes, unit: nn.Linear, X: Tensor, t: Tensor) -> None:
    """E after every deletion. H does not change with the weights, so H⁻¹ is computed once and downdated."""
    for method, (color, _, line, name) in _STYLES.items():
        history = [deletion for deletion, _ in obs.steps(unit, [(X, t)], method=method, recompute=None)]
        left, errors = [d.left for d in history], [d.error for d in history]
        ax.plot(left, errors, line, color=color, linewidth=2, label=name)
    ax.set_xlim(X.shape[1], 0)
    style.plain_axes(ax, "weights left", "error E", f"is it a {_DIGIT}? {X.shape[1]} pixels of real digits")
