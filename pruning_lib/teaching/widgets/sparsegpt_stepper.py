"""SparseGPT stepper: exact OBS per row, synchronized, and with one Cholesky factor, on one small layer."""

import anywidget
import numpy as np
import traitlets
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from pruning_lib.checks import check_choice
from pruning_lib.teaching import palette
from pruning_lib.teaching.figures.style import INK, PAPER
from pruning_lib.teaching.widgets.javascript import bundle, styles
from pruning_lib.teaching.widgets.sparsegpt_forms import FORMS, State, pruned, states
from pruning_lib.teaching.widgets.still import still_figure

COLORS = {"kept": palette.KEPT, "updated": palette.UPDATED, "accent": palette.ACCENT, "muted": palette.MUTED}
COLORS |= {"good": palette.GOOD, "pruned": palette.PRUNED}
OF_FORM = {"exact": (palette.KEPT, "o", "-"), "synchronized": (palette.UPDATED, "s", "-")}
OF_FORM |= {"cholesky": (palette.GOOD, "D", ":")}
OUTLINES = {"frozen": palette.KEPT, "now": palette.ACCENT, "moved": palette.UPDATED}


class SparseGPTStepper(anywidget.AnyWidget):
    """Step through the `states` of one layer: weights and mask, the inverse or factor in use, error and cost so far.

    Everything is made in Python before; the browser draws it. The traits `form` (one of `FORMS`) and `step` (0, …,
    columns) follow the page and may be set from Python; bad values raise ValueError. The exact form has fewer steps:
    from its last on, nothing changes. For arguments and errors see `states`.
    """

    _esm = bundle("sparsegpt_stepper.js")
    _css = styles("sparsegpt_stepper.css")

    form = traitlets.Unicode().tag(sync=True)
    step = traitlets.Int().tag(sync=True)
    states = traitlets.Dict(read_only=True).tag(sync=True)  # form → a list of states, entry 0 is the start
    mask_block = traitlets.Int(read_only=True).tag(sync=True)
    palette = traitlets.Dict(COLORS, read_only=True).tag(sync=True)

    def __init__(
        self,
        weight: Tensor,
        hessian: Tensor,
        sparsity: float = 0.5,
        mask_block: int = 4,
        form: str = "exact",
        step: int = 0,
    ):
        made = states(weight, hessian, sparsity, mask_block)
        sent = {name: [{key: plain(value) for key, value in s._asdict().items()} for s in made[name]] for name in FORMS}
        self.set_trait("states", sent)
        self.set_trait("mask_block", mask_block)
        super().__init__(form=form, step=step)

    @traitlets.validate("form", "step")
    def _check(self, proposal: dict):
        name, value = proposal["trait"].name, proposal["value"]
        return check_choice(name, value, FORMS) if name == "form" else check_step(value, self.states)


def plain(value):
    return value.tolist() if isinstance(value, Tensor | np.ndarray) else value


def check_step(step: int, made: dict[str, list]) -> int:
    last = len(made["synchronized"]) - 1
    if not 0 <= step <= last:
        raise ValueError(f"step is {step}, must be from 0 to {last}")
    return step


def static_figure(
    weight: Tensor,
    hessian: Tensor,
    sparsity: float = 0.5,
    mask_block: int = 4,
    form: str = "exact",
    step: int = 1,
) -> Figure:
    """Weights, inverse or factor, and errors of `SparseGPTStepper` at `step` as a still figure; errors as there."""
    made = states(weight, hessian, sparsity, mask_block)
    check_choice("form", form, FORMS)
    check_step(step, made)
    step = min(step, len(made[form]) - 1)
    state = made[form][step]
    with still_figure(10, 6.4) as figure:
        axes = figure.subplot_mosaic("WI;EI", width_ratios=(1.2, 1), height_ratios=(1.55, 1))
        draw_weights(axes["W"], made[form][max(step - 1, 0)], state)
        axes["W"].set_title(f"{form}, step {step} of {len(made[form]) - 1}: W", fontsize="medium")
        if form == "exact":
            draw_row_inverses(axes["I"], state)
        else:
            draw_shared(axes["I"], state, form)
        draw_errors(axes["E"], made, pruned(state))
    return figure


def cell(panel: Axes, row: int, column: int, share: float, color: str, text: str) -> Rectangle:
    """A square with a number, the stronger in color the larger `share` is; returns its outline."""
    place = (column + 0.06, row + 0.06), 0.88, 0.88
    panel.add_patch(Rectangle(*place, facecolor=PAPER if text else "none", linewidth=0))  # read on dark pages too
    panel.add_patch(Rectangle(*place, facecolor=color, alpha=0.6 * share, linewidth=0))
    panel.text(column + 0.5, row + 0.52, text, ha="center", va="center", fontsize=8.5, color=INK)
    return panel.add_patch(Rectangle(*place, fill=False, edgecolor=palette.PRUNED, linewidth=0.7))


def grid(panel: Axes, rows: int, columns: int) -> None:
    panel.set(xlim=(-0.1, columns + 0.1), ylim=(rows + 0.1, -0.1))
    panel.set_xticks(np.arange(columns) + 0.5, [f"$x_{{{k + 1}}}$" for k in range(columns)])
    panel.xaxis.tick_top()
    panel.tick_params(length=0)
    panel.spines[:].set_visible(False)


def fixed(value: float, sign: str = "-") -> str:
    return f"{value:{sign}z.2f}".replace("-", "−")


def draw_weights(panel: Axes, before: State, state: State) -> None:
    """W after the step; what the step took becomes 0, what made up for it has a dot and its change below."""
    scale = float(before.weight.abs().max()) or 1.0
    for (i, k), mark in np.ndenumerate(state.marks):
        old, new = float(before.weight[i, k]), float(state.weight[i, k])
        text = {"pruned": "", "now": f"{fixed(old)}\n→ 0"}.get(mark, fixed(new))
        if mark == "moved":
            text += f"\n●{fixed(new - old, '+')}"
        share = 0.0 if mark in ("now", "pruned") else abs(new) / scale
        square = cell(panel, i, k, min(share, 1.0), palette.KEPT, text)
        if mark in OUTLINES:
            square.set(edgecolor=OUTLINES[mark], linewidth=1.8)
        if state.planned[i, k]:
            square.set(edgecolor=palette.ACCENT, linestyle=":", linewidth=1.8)
    grid(panel, *state.weight.shape)
    panel.set_yticks(np.arange(len(state.weight)) + 0.5, [f"row {i + 1}" for i in range(len(state.weight))])
    panel.set_xlabel(
        "blue line: frozen; orange, ●: compensates;\nred, → 0: pruned now; red dots: goes later", fontsize=9
    )


def draw_shared(panel: Axes, state: State, form: str) -> None:
    """(H_{U_j})⁻¹, empty where it is gone, or all of the factor; the row in use outlined."""
    matrix, factor = state.inverses[0], form == "cholesky"
    columns, scale = len(matrix), float(matrix.abs().max())
    current = state.columns[0] if state.columns else None
    for i, k in np.ndindex(columns, columns):
        value, gone = float(matrix[i, k]), not factor and min(i, k) < (current or 0)
        if factor and k < i:
            continue
        square = cell(panel, i, k, 0.0 if gone else abs(value) / scale, palette.MUTED, "" if gone else fixed(value))
        if i == current and k >= i:
            square.set(edgecolor=palette.ACCENT if k == i else palette.UPDATED, linewidth=1.8)
    grid(panel, columns, columns)
    panel.set_yticks(np.arange(columns) + 0.5, [f"$x_{{{k + 1}}}$" for k in range(columns)])
    panel.set_aspect("equal")
    name = "factor $U$ of $H^{-1}$: computed once" if factor else "$(H_{U_j})^{-1}$: one for all rows"
    panel.set_title(name, fontsize="medium")


def draw_row_inverses(panel: Axes, state: State) -> None:
    """The inverse of each row, in two columns, with the row and column that goes."""
    count, columns = len(state.inverses), state.inverses.shape[-1]
    scale = float(state.inverses.abs().amax())
    for i, inverse in enumerate(state.inverses):
        left, top = (i % 2) * (columns + 1.5), (i // 2) * (columns + 2.2)
        panel.text(
            left,
            top - 0.3,
            f"row {i + 1}" + (f": $x_{{{state.columns[i] + 1}}}$ goes" if state.columns else ""),
            fontsize=9,
        )
        for a, b in np.ndindex(columns, columns):
            if inverse[a, a] > 0 and inverse[b, b] > 0:
                alpha = 0.15 + 0.8 * abs(float(inverse[a, b])) / scale
                panel.add_patch(Rectangle((left + b, top + a), 0.94, 0.94, facecolor=palette.MUTED, alpha=alpha))
        panel.add_patch(Rectangle((left, top), columns, columns, fill=False, edgecolor=palette.PRUNED, linewidth=0.7))
        if state.columns:
            q = state.columns[i]
            for x, width, color in ((left, columns, palette.UPDATED), (left + q, 1, palette.ACCENT)):
                panel.add_patch(Rectangle((x, top + q), width, 1, fill=False, edgecolor=color, linewidth=1.8))
    panel.set(xlim=(-0.2, 2 * columns + 1.7), ylim=((count + 1) // 2 * (columns + 2.2), -1.6), aspect="equal")
    panel.axis("off")
    panel.set_title("each row its own $H^{-1}$; orange: the row that corrects", fontsize="medium")


def draw_errors(panel: Axes, made: dict[str, list[State]], until: int) -> None:
    """Error over the number of weights pruned, as far as `until`."""
    for form, (color, mark, line) in OF_FORM.items():
        points = [(pruned(state), state.error) for state in made[form] if pruned(state) <= until]
        panel.plot(*zip(*points, strict=True), color=color, marker=mark, linestyle=line, markersize=4, label=form)
    most = [form[-1] for form in made.values()]
    panel.set(xlim=(0, 1.03 * pruned(most[0]) or 1), ylim=(0, 1.08 * max(state.error for state in most) or 1))
    panel.set(xlabel="weights pruned", ylabel="error $\\mathrm{tr}(\\Delta H\\Delta^T)$")
    panel.legend(fontsize="small", frameon=False, loc="upper left")
