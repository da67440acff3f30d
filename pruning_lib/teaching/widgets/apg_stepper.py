"""APG stepper: ISTA and APG walk down the same lasso of two variables, one iteration at a time."""

import itertools

import contourpy
import numpy as np
import torch
import traitlets
from torch import Tensor

from pruning_lib.checks import check_choice
from pruning_lib.during_training.proximal import State, apg, ista
from pruning_lib.teaching.widgets.javascript import Drawn, check_range

_METHODS = {"apg": apg, "ista": ista}


class Lasso:
    """F(x) = ½‖Ax − b‖² + γ‖x‖₁ in two variables, with its exact minimum and the states of ISTA and APG.

    Parameters
    ----------
    matrix, target : A (m, 2) and b (m,)
    gamma : γ ≥ 0
    start : x_0 (2,)
    step : η > 0; left out, 1/L, where L is the largest eigenvalue of AᵀA
    steps : number of iterations of each method, at least 1

    Raises
    ------
    ValueError : for shapes that do not fit, values that are not finite, A = 0, and as `proximal.apg` does.
    """

    def __init__(
        self, matrix: Tensor, target: Tensor, gamma: float, start: Tensor, step: float | None = None, steps: int = 40
    ):
        for name, tensor, shape in (("matrix", matrix, (len(target), 2)), ("start", start, (2,))):
            if tensor.shape != shape:
                raise ValueError(f"{name} has shape {tuple(tensor.shape)}, must be {shape}")
        for name, tensor in (("matrix", matrix), ("target", target), ("start", start)):
            if not torch.isfinite(tensor).all():
                raise ValueError(f"{name} contains values that are not finite, must be finite")
        if steps < 1:
            raise ValueError(f"steps is {steps}, must be at least 1")
        self.matrix, self.target, self.gamma = matrix.double(), target.double(), gamma
        self.lipschitz = torch.linalg.eigvalsh(self.matrix.T @ self.matrix)[-1].item()
        if self.lipschitz <= 0:
            raise ValueError("matrix is zero, must have an entry that is not")
        self.step = 1 / self.lipschitz if step is None else step
        self.start = start.double()
        self.states: dict[str, list[State]] = {
            name: list(method(self.smooth, self.start, self.step, gamma, steps)) for name, method in _METHODS.items()
        }
        self.optimum = self.exact_minimum()
        self.minimum = self.value(self.optimum).item()

    def smooth(self, x: Tensor) -> Tensor:
        return 0.5 * (x @ self.matrix.T - self.target).square().sum(dim=-1)

    def value(self, x: Tensor) -> Tensor:
        """F of each point x (…, 2)."""
        return self.smooth(x) + self.gamma * x.abs().sum(dim=-1)

    def exact_minimum(self) -> Tensor:
        """For given signs s the optimality condition AᵀAx = Aᵀb − γs is linear: try all nine, keep the best."""
        candidates = []
        for signs in itertools.product((-1.0, 0.0, 1.0), repeat=2):
            s = torch.tensor(signs, dtype=torch.float64)
            x, on = torch.zeros(2, dtype=torch.float64), s != 0
            if on.any():
                part = self.matrix[:, on]
                x[on] = torch.linalg.pinv(part.T @ part) @ (part.T @ self.target - self.gamma * s[on])
            candidates.append(x)
        return min(candidates, key=self.value)

    def window(self) -> tuple[list[float], list[float]]:
        """What of the plane to show: all iterates, look-ahead points, z and the optimum, with a margin."""
        states = [s for part in self.states.values() for s in part]
        seen = [self.start, self.optimum, *(x for s in states for x in (s.point, s.look_ahead, s.z)), torch.zeros(2)]
        low, high = torch.stack(seen).aminmax(dim=0)
        margin = 0.12 * (high - low).clamp_min(0.5)
        return tuple([a.item(), b.item()] for a, b in zip(low - margin, high + margin, strict=True))

    def grid(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """x, y and F over the window."""
        x, y = (torch.linspace(low, high, 81, dtype=torch.float64) for low, high in self.window())
        points = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)  # (y, x, 2)
        return x.numpy(), y.numpy(), self.value(points).numpy()

    def levels(self) -> list[float]:
        """Values of F for contour lines, close to each other near the minimum."""
        highest = float(self.grid()[2].max()) - self.minimum
        return [self.minimum + highest * (k / 12) ** 3 for k in range(2, 13)]


class APGStepper(Drawn):
    """Step through ISTA and APG on a `Lasso`: iterates on the contours, the soft threshold, F − F* so far.

    The states are all made in Python before; the browser draws them. The traits `t` (0, …, steps) and `method` ("apg"
    or "ista", whose step is drawn in detail) follow the page and may be set from Python; bad values raise ValueError.
    """

    t = traitlets.Int().tag(sync=True)
    method = traitlets.Unicode("apg").tag(sync=True)
    problem = traitlets.Dict(read_only=True).tag(sync=True)
    paths = traitlets.Dict(read_only=True).tag(sync=True)  # method → a list of states, entry 0 is the start

    def __init__(self, lasso: Lasso, **shown: int | str):
        self._steps = len(lasso.states["apg"])
        x, y = lasso.window()
        generator = contourpy.contour_generator(*lasso.grid())
        lines = [line.round(4).tolist() for level in lasso.levels() for line in generator.lines(level)]
        problem = {"x": x, "y": y, "contours": lines, "optimum": lasso.optimum.tolist()}
        self.set_trait("problem", problem | {"threshold": lasso.step * lasso.gamma})
        paths = {}
        for name, states in lasso.states.items():
            start = State(0, lasso.start, lasso.start, lasso.start, 0.0, lasso.value(lasso.start).item())
            paths[name] = [
                {key: getattr(state, key).tolist() for key in ("point", "look_ahead", "z")}
                | {"momentum": state.momentum, "gap": state.objective - lasso.minimum}
                for state in (start, *states)
            ]
        self.set_trait("paths", paths)
        super().__init__(**shown)

    @traitlets.validate("t", "method")
    def _check(self, proposal: dict):
        name, value = proposal["trait"].name, proposal["value"]
        return check_choice(name, value, _METHODS) if name == "method" else check_range(name, value, 0, self._steps)
