"""The byte GPT writes in the page: dense beside pruned, from the prompt that the reader types."""

import math

import traitlets

from pruning_lib.checks import check_choice
from pruning_lib.teaching.widgets.javascript import Drawn, check_range
from pruning_lib.workbench.packed_gpt import PackedGPT

PROMPT = "The import statement "
HOTTEST = 1.5
LAST_SEED = 9999
WRITTEN = 120


class GPTWriter(Drawn):
    """Two models continue a prompt byte by byte; bars show what each expects next. All is computed in the browser.

    Parameters
    ----------
    packed : the dense model and pruned ones; its `about["variants"]` lists each with "name", "method", "sparsity" and
        "perplexity", the dense one first, and of the others every method at every sparsity
    prompt : what is continued, of at least one byte. Of a long one the last bytes are read, so that 64 fit behind it
    method, sparsity : of the pruned model; left out, the first one's
    temperature : from 0 (always the likeliest byte) to 1.5; 1 draws from the model's own distribution
    seed : whole number from 0 to 9999 that draws the bytes, the same for both
    written : bytes after the prompt, as many as fit into the context

    All but `packed` are traits that follow the page and may be set from Python; other values raise ValueError.
    """

    prompt = traitlets.Unicode(PROMPT).tag(sync=True)
    method = traitlets.Unicode().tag(sync=True)
    sparsity = traitlets.Float().tag(sync=True)
    temperature = traitlets.Float(0.5).tag(sync=True)
    seed = traitlets.Int(2).tag(sync=True)
    written = traitlets.Int(WRITTEN).tag(sync=True)
    variants = traitlets.List(read_only=True).tag(sync=True)
    index = traitlets.Dict(read_only=True).tag(sync=True)
    content = traitlets.Bytes(read_only=True).tag(sync=True)

    def __init__(self, packed: PackedGPT, **shown):
        _, *pruned = variants = _check_variants(packed)
        self._allowed = {key: list(dict.fromkeys(one[key] for one in pruned)) for key in ("method", "sparsity")}
        self.set_trait("variants", variants)
        self.set_trait("index", packed.index)
        self.set_trait("content", packed.content)
        usual = {key: values[0] for key, values in self._allowed.items()}
        super().__init__(**usual | {"written": min(WRITTEN, packed.config.context - 1)} | shown)

    @traitlets.validate("method", "sparsity")
    def _check_variant(self, proposal: dict):
        name = proposal["trait"].name
        return check_choice(name, proposal["value"], self._allowed[name])

    @traitlets.validate("temperature", "seed", "written")
    def _check_number(self, proposal: dict):
        name = proposal["trait"].name
        limits = {"temperature": HOTTEST, "seed": LAST_SEED, "written": self.index["config"]["context"] - 1}
        return check_range(name, proposal["value"], 0, limits[name])

    @traitlets.validate("prompt")
    def _check_prompt(self, proposal: dict):
        if not proposal["value"]:
            raise ValueError("prompt is '', must have at least one byte")
        return proposal["value"]


def _check_variants(packed: PackedGPT) -> list[dict]:
    """What `packed` says of its variants; ValueError unless one is dense and the others are a full grid."""
    variants = packed.about["variants"]
    if [one["name"] for one in variants] != list(packed.parts):
        raise ValueError(f"variants are {[one['name'] for one in variants]}, must be the parts: {list(packed.parts)}")
    grid = sorted((one["method"], one["sparsity"]) for one in variants[1:])
    if not grid or grid != sorted((m, s) for m in {m for m, _ in grid} for s in {s for _, s in grid}):
        raise ValueError(f"pruned variants are {grid}, must be every method at every sparsity, each once")
    for one in variants:
        if not (math.isfinite(one["perplexity"]) and one["perplexity"] >= 1):
            raise ValueError(f"{one['name']}: perplexity is {one['perplexity']}, must be finite and at least 1")
    return variants
