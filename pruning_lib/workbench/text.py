"""Text as bytes: what ships with Python, or any file; a part is held out and never trained on."""

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

# Topics of the language reference whose text hardly differs between Python 3.11, 3.12 and 3.13.
_HELD_OUT_TOPICS = ("calls", "comparisons", "exceptions", "import", "typesmapping")
_HELD_OUT_SHARE = 0.1  # of any other text: its end
_SHORTEST = 1000  # bytes; a hundred are then held out


@dataclass(frozen=True)
class Text:
    """Bytes to train on and bytes held out, each (count,) int64 in [0, 255]."""

    name: str
    train: Tensor
    held_out: Tensor

    def __repr__(self) -> str:
        return f"{self.name}: {len(self.train):,} bytes to train on, {len(self.held_out):,} held out"


def load(source: str | os.PathLike = "topics") -> Text:
    """Load text.

    Parameters
    ----------
    source : "topics", the help texts of Python's own language reference (`pydoc_data.topics`, about 0.4 MB of English
        prose and code), or the path of a file, read as bytes

    Of "topics", `_HELD_OUT_TOPICS` are held out. The reference repeats itself, so each paragraph counts once, and none
    that occurs in a held-out topic is trained on. The text differs a little between Python versions; since topics are
    held out by name, what one version trains on stays out of what another holds out. Of a file, the last tenth is held
    out.

    Raises
    ------
    ValueError
        If the file is not there or has fewer than `_SHORTEST` bytes.
    """
    if source == "topics":
        return topics()
    path = Path(source)
    if not path.is_file():
        raise ValueError(f"text is {str(source)!r}, must be 'topics' or the path of a file")
    tokens = encode(path.read_bytes())
    if len(tokens) < _SHORTEST:
        raise ValueError(f"{path} has {len(tokens)} bytes, must have at least {_SHORTEST}")
    cut = round(len(tokens) * (1 - _HELD_OUT_SHARE))
    return Text(path.name, tokens[:cut], tokens[cut:])


def topics() -> Text:
    from pydoc_data.topics import topics

    seen: set[str] = set()

    def fresh(name: str) -> str:
        """The paragraphs of a topic that occurred in none before, whatever their indentation and line breaks."""
        kept = []
        for paragraph in re.split(r"\n\s*\n", topics[name].strip("\n")):
            words = " ".join(paragraph.split())
            if words not in seen:
                seen.add(words)
                kept.append(paragraph)
        return "\n\n".join(kept)

    held_out = [fresh(name) for name in _HELD_OUT_TOPICS]  # first: what is seen here is not trained on
    train = [fresh(name) for name in sorted(topics) if name not in _HELD_OUT_TOPICS]
    return Text("topics", *(encode("\n\n".join(filter(None, parts))) for parts in (train, held_out)))


def encode(text: str | bytes) -> Tensor:
    """The bytes of `text` (UTF-8), (count,) int64."""
    raw = text.encode() if isinstance(text, str) else text
    return torch.frombuffer(bytearray(raw), dtype=torch.uint8).long() if raw else torch.empty(0, dtype=torch.long)


def decode(tokens: Tensor) -> str:
    """The text of bytes `tokens` (count,); what is no UTF-8 becomes �."""
    return bytes(tokens.tolist()).decode(errors="replace")


def digest(tokens: Tensor) -> str:
    """SHA-256 of bytes `tokens` (count,)."""
    return hashlib.sha256(bytes(tokens.tolist())).hexdigest()


def windows(tokens: Tensor, length: int, count: int, seed: int) -> Tensor:
    """`count` stretches of `length` tokens, (count, length), at starts drawn with `seed`; they may overlap.

    Raises
    ------
    ValueError
        If `tokens` is not one-dimensional, or shorter than `length`.
    """
    check_length(tokens, length)
    generator = torch.Generator().manual_seed(seed)
    starts = torch.randint(len(tokens) - length + 1, (count,), generator=generator)
    return tokens[starts.unsqueeze(1) + torch.arange(length)]


def segments(tokens: Tensor, length: int) -> Tensor:
    """`tokens` cut into stretches of `length` that do not overlap, (count, length); what is left over is dropped."""
    check_length(tokens, length)
    count = len(tokens) // length
    return tokens[: count * length].view(count, length)


def check_length(tokens: Tensor, length: int) -> None:
    if length < 2:
        raise ValueError(f"length is {length}, must be at least 2: a token, and one to predict")
    if tokens.ndim != 1 or len(tokens) < length:
        raise ValueError(f"tokens has shape {tuple(tokens.shape)}, must be (count,) with at least {length} tokens")
