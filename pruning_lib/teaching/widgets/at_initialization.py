"""At initialization: which weights stay is chosen before training; the network runs in the page before and after it."""

import traitlets
from torch import Tensor, nn

from pruning_lib.checks import check_choice
from pruning_lib.structure import Masks, prunable
from pruning_lib.teaching.recorded_lenet import Recorded, from_vector
from pruning_lib.teaching.widgets.javascript import Drawn
from pruning_lib.teaching.widgets.shown_images import ShownImages, halves

STAGES = ("as initialized", "after training")


class AtInitialization(Drawn, ShownImages):
    """Masks that SNIP, magnitude and chance choose at initialization, and what the network reads then.

    Parameters
    ----------
    recorded : what `recorded_lenet.load` gives
    test : images (n, 1, 8, 8) of at most 256 different values, and their classes
    score : name of the score that chooses, one of the recorded ones
    sparsity : one of the recorded sparsities
    stage : one of `STAGES`
    image : the image whose logits are shown; they are sorted by class

    The mask is chosen in the page from the recorded ranking; the weights after training are recorded, since a page
    can't train. `masks()` and `pruned()` give the same in PyTorch. The traits `score`, `sparsity`, `stage` and `image`
    follow the page and may be set from Python; ValueError for others than the recorded ones.
    """

    score = traitlets.Unicode("SNIP").tag(sync=True)
    sparsity = traitlets.Float(0.95).tag(sync=True)
    stage = traitlets.Unicode(STAGES[1]).tag(sync=True)
    scores = traitlets.List(read_only=True).tag(sync=True)
    sparsities = traitlets.List(read_only=True).tag(sync=True)
    stages = traitlets.List(list(STAGES), read_only=True).tag(sync=True)
    layers = traitlets.List(read_only=True).tag(sync=True)  # name and shape
    ranks = traitlets.Bytes(read_only=True).tag(sync=True)  # of each score, little-endian uint16
    start = traitlets.Bytes(read_only=True).tag(sync=True)  # all weights, then all biases, little-endian float16
    dense = traitlets.Bytes(read_only=True).tag(sync=True)
    trained = traitlets.Bytes(read_only=True).tag(sync=True)  # score by score, from the least sparsity on

    def __init__(self, recorded: Recorded, test: tuple[Tensor, Tensor], **shown: float | str):
        self._recorded = recorded
        network = from_vector(recorded.dense)
        self.hold_images(network, test)
        self.set_trait("scores", list(recorded.ranks))
        self.set_trait("sparsities", recorded.sparsities)
        shapes = {name.removesuffix(".weight"): list(weight.shape) for name, weight in prunable(network).items()}
        self.set_trait("layers", [{"name": name, "shape": shape} for name, shape in shapes.items()])
        self.set_trait("ranks", b"".join(rank.numpy().astype("<u2").tobytes() for rank in recorded.ranks.values()))
        self.set_trait("start", halves(recorded.start))
        self.set_trait("dense", halves(recorded.dense))
        order = [(score, sparsity) for score in recorded.ranks for sparsity in recorded.sparsities[1:]]
        self.set_trait("trained", b"".join(halves(recorded.trained[each]) for each in order))
        super().__init__(**shown)

    @traitlets.validate("score", "sparsity", "stage")
    def _check(self, proposal: dict):
        name = proposal["trait"].name
        allowed = {"score": self.scores, "sparsity": self.sparsities, "stage": STAGES}[name]
        return check_choice(name, proposal["value"], allowed)

    def masks(self) -> Masks:
        """What the page keeps; True = stays."""
        return self._recorded.masks(self.score, self.sparsity)

    def pruned(self) -> nn.Sequential:
        """The network that the page runs, in float16 (kept as float32)."""
        return self._recorded.network(self.score, self.sparsity, trained=self.stage == STAGES[1])
