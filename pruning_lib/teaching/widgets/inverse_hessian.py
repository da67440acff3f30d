"""Inverse Hessian: H and H⁻¹ of a tiny network as heat maps; a column of H⁻¹ is how the others move."""

import torch
import traitlets
from torch import nn

from pruning_lib.checks import check_choice
from pruning_lib.teaching.widgets.javascript import Drawn, check_range
from pruning_lib.teaching.widgets.prune_by_hand import hidden_of
from pruning_lib.workbench.monks import Problem

LIMITS = (1e-6, 1.0)  # of α
MOST = 16  # weights whose matrix can still be read


class InverseHessian(Drawn):
    """A tiny network with all of H + αI and its inverse: point at a weight, and its column says how the others move.

    The move is δw = −w_q/[H⁻¹]_qq · H⁻¹e_q (OBS-5); all is computed on the page, H as in OBS-9.

    Parameters
    ----------
    task, network : a problem whose inputs are 0 and 1, and a network inputs–hidden–1 that has learned it, at most 16
        weights
    weight : the one that is deleted, by its place in the vector of all weights
    alpha : α, from 1e-6 to 1

    The last two are traits that follow the page and may be set from Python.

    Raises
    ------
    ValueError
        For a network of another form, or with too many or not finite weights; for inputs that are not 0 or 1, a weight
        that is not there and an α out of its range.
    """

    weight = traitlets.Int(0).tag(sync=True)
    alpha = traitlets.Float(1e-3).tag(sync=True)
    limits = traitlets.List(LIMITS, read_only=True).tag(sync=True)
    learned = traitlets.Dict(read_only=True).tag(sync=True)

    def __init__(self, task: Problem, network: nn.Module, **shown: float):
        inputs, targets = task.train
        hidden = hidden_of(network, inputs.shape[1], "network")
        weights = nn.utils.parameters_to_vector(network.parameters())
        if len(weights) > MOST:
            raise ValueError(f"network has {len(weights)} weights, must have at most {MOST}")
        if not torch.isfinite(weights).all():
            raise ValueError("weights of network must be finite")
        if not ((inputs == 0) | (inputs == 1)).all():
            raise ValueError("inputs of task must be 0 or 1")
        learned = {
            "names": [f"x{i}" for i in range(1, inputs.shape[1] + 1)],
            "hidden": hidden,
            "weights": weights.tolist(),
            "cases": [row.nonzero().flatten().tolist() for row in inputs],
            "targets": targets.flatten().tolist(),
        }
        self.set_trait("learned", learned)
        super().__init__(**shown)

    @traitlets.validate("weight")
    def _check_weight(self, proposal: dict):
        return check_choice("weight", proposal["value"], range(len(self.learned["weights"])))

    @traitlets.validate("alpha")
    def _check_alpha(self, proposal: dict):
        return check_range("alpha", proposal["value"], *LIMITS)
