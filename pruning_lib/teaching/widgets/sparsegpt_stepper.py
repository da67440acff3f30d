"""SparseGPT stepper: exact OBS per row, synchronized, and with one Cholesky factor, on one small layer."""

import itertools

import traitlets
from torch import Tensor

from pruning_lib.checks import check_choice
from pruning_lib.teaching.widgets.javascript import Drawn, check_range
from pruning_lib.teaching.widgets.sparsegpt_forms import FORMS, states


class SparseGPTStepper(Drawn):
    """Step through the `states` of one layer: weights and mask, the inverse or factor in use, error and cost so far.

    Everything is made in Python before; the browser draws it. The traits `form` (one of `FORMS`) and `step` (0, …,
    columns) follow the page and may be set from Python; bad values raise ValueError. The exact form has fewer steps:
    from its last on, nothing changes. For arguments and errors see `states`.
    """

    form = traitlets.Unicode("exact").tag(sync=True)
    step = traitlets.Int().tag(sync=True)
    states = traitlets.Dict(read_only=True).tag(sync=True)  # form → a list of states, entry 0 is the start
    mask_block = traitlets.Int(read_only=True).tag(sync=True)

    def __init__(self, weight: Tensor, hessian: Tensor, sparsity: float = 0.5, mask_block: int = 4, **shown: str | int):
        made = states(weight, hessian, sparsity, mask_block)
        sent = {name: [state._asdict() for state in made[name]] for name in FORMS}
        for entry in itertools.chain(*sent.values()):
            entry.update({key: entry[key].tolist() for key in ("weight", "marks", "planned", "inverses")})
        self.set_trait("states", sent)
        self.set_trait("mask_block", mask_block)
        self._last = weight.shape[1]
        super().__init__(**shown)

    @traitlets.validate("form", "step")
    def _check(self, proposal: dict):
        name, value = proposal["trait"].name, proposal["value"]
        return check_choice(name, value, FORMS) if name == "form" else check_range(name, value, 0, self._last)
