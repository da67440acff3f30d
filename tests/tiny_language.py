"""A tiny language model drawn at random, in a folder as `transformers` saves it, beside a text of its words."""

import torch

from pruning_lib.workbench import huggingface

WORDS, CONTEXT = 50, 16


def save_tiny(place, config):
    """Write the model of `config`, its tokenizer of words w0 … w49, and text.txt, 1,000 of them; return `place`."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=0.3)  # so that the model has preferences
    plain = Tokenizer(models.WordLevel({f"w{i}": i for i in range(WORDS)}, unk_token="w0"))
    plain.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=plain, unk_token="w0")
    huggingface.save(huggingface.prepare_(model), place, tokenizer)
    drawn = torch.randint(10, WORDS, (1000,), generator=torch.Generator().manual_seed(1)).tolist()
    (place / "text.txt").write_text(" ".join(f"w{i}" for i in drawn))  # each word has four characters
    return place
