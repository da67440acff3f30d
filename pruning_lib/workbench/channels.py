"""Which channels of a language model can change places: what its architecture lets move and a run doesn't show."""

from collections.abc import Sequence

from torch import nn

from pruning_lib.checks import check_choice
from pruning_lib.workbench.huggingface import BLOCKS, decoder_blocks, family

_GATED = ("llama", "qwen2", "qwen3")  # RMS norms, rotary positions, a gated MLP
_PARTS = ("weight", "bias")


def free_channels(model: nn.Module) -> list[list[tuple[str, int, range]]]:
    """The sets of channels that can change places without a change of the outputs; of LLaMA's kind only.

    The residual stream: one order for all that write it (rows), read it (columns) or scale it; tied embeddings write
    and read it by the same columns. In each block the hidden units of the MLP, and the values within a head: the query
    heads that share it multiply them by their attention, number by number, so the output projection reads them in the
    same order in each of those heads.

    Returns
    -------
    list of sets, each a list of places (parameter, dimension, range along it)
        As `two_four.permute_channels` takes them; of a model in float32 or less: in float64 its outputs change by more
        than rounding, as the norms of `transformers` compute in float32.

    Raises
    ------
    ValueError
        If the model is of another family.
    """
    prefix = BLOCKS[check_choice("model family", family(model), _GATED)]
    parameters, config = dict(model.named_parameters()), model.config
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    shared = config.num_attention_heads // config.num_key_value_heads

    def places(names: Sequence[str], dim: int, along: range) -> list[tuple[str, int, range]]:
        return [(name, dim, along) for name in names if name in parameters]  # not every model has biases, or a head

    stream, hidden = range(config.hidden_size), range(config.intermediate_size)
    residual = places(["model.embed_tokens.weight", "lm_head.weight"], 1, stream)
    residual += places(["model.norm.weight"], 0, stream)
    inner = []
    for number in range(len(decoder_blocks(model))):
        block = f"{prefix}.{number}"
        attention, mlp = f"{block}.self_attn", f"{block}.mlp"
        readers = [f"{attention}.{part}_proj.weight" for part in "qkv"]
        residual += places([*readers, f"{mlp}.gate_proj.weight", f"{mlp}.up_proj.weight"], 1, stream)
        writers = [f"{layer}.{part}" for layer in (f"{attention}.o_proj", f"{mlp}.down_proj") for part in _PARTS]
        norms = [f"{block}.{name}_layernorm.weight" for name in ("input", "post_attention")]
        residual += places(writers + norms, 0, stream)
        for head in range(config.num_key_value_heads):
            value = places([f"{attention}.v_proj.{part}" for part in _PARTS], 0, range(head * size, (head + 1) * size))
            for query in range(head * shared, (head + 1) * shared):
                value += places([f"{attention}.o_proj.weight"], 1, range(query * size, (query + 1) * size))
            inner.append(value)
        makers = [f"{mlp}.{name}_proj.{part}" for name in ("gate", "up") for part in _PARTS]
        inner.append(places(makers, 0, hidden) + places([f"{mlp}.down_proj.weight"], 1, hidden))
    return [residual, *inner]
