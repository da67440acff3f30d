"""A GPT and pruned variants of it as few bytes: whole numbers times a scale per row, and variants as differences.

Of the dense one: the vectors and the scales in float32, then an int8 code of every weight of a matrix. Of a variant: a
bit for each weight of the blocks' matrices (1: stays), then an int8 for each that stays, to be added to the code of
another variant, the base. Both lists go through a matrix in the order of the dense codes' size (what the base lost
first): zeros then lie together, and deflate finds them. `teaching/widgets/byte_gpt.js` reads the same.
"""

import os
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pruning_lib.checks import check_choice
from pruning_lib.tensors import read_tensors, write_tensors
from pruning_lib.workbench.gpt import GPT, Config

PACKED = Path(__file__).parent / "checkpoints" / "byte_gpt_packed.safetensors"
_Codes = dict[str, np.ndarray]  # name of a matrix -> int8, as the weight


@dataclass(frozen=True)
class PackedGPT:
    """Deflated `parts` by variant, the dense one first; each other is told by its difference from one of `bases`."""

    config: Config
    parts: dict[str, bytes]
    bases: dict[str, str]
    about: Any = None

    def model(self, name: str) -> GPT:
        """The variant `name` as a model in evaluation mode: each weight is a code times the scale of its row."""
        check_choice("variant", name, self.parts)
        model = GPT(self.config)
        state, (floats, _) = model.state_dict(), self._dense()
        codes = self._codes(name)
        for key, value in state.items():
            own = torch.from_numpy(floats[key])
            value.copy_(own if value.ndim == 1 else own.unsqueeze(1) * torch.from_numpy(codes[key]))
        return model.eval()

    @property
    def content(self) -> bytes:
        """All parts, one after the other."""
        return b"".join(self.parts.values())

    @property
    def index(self) -> dict[str, Any]:
        """What a reader of `content` must know: the sizes of the model, the shapes of its tensors, what is where."""
        places, at = {}, 0
        for name, part in self.parts.items():
            places[name] = {"at": at, "length": len(part), "base": self.bases.get(name)}
            at += len(part)
        shapes = [[name, list(value.shape)] for name, value in GPT(self.config).state_dict().items()]
        return {"config": vars(self.config), "shapes": shapes, "parts": places}

    def save(self, path: str | os.PathLike = PACKED) -> None:
        tensors = {name: torch.frombuffer(bytearray(part), dtype=torch.uint8) for name, part in self.parts.items()}
        about = {"config": vars(self.config), "variants": list(self.parts), "bases": self.bases, "about": self.about}
        write_tensors(path, tensors, about)

    @classmethod
    def load(cls, path: str | os.PathLike = PACKED) -> "PackedGPT":
        """Read what `save` wrote; ValueError if the file is not there or another."""
        if not Path(path).is_file():
            raise ValueError(f"{path} is not there, must be a file: benchmarks/packed_gpt.py makes it")
        tensors, about = read_tensors(path)
        try:
            parts = {name: tensors[name].numpy().tobytes() for name in about["variants"]}
            return cls(Config(**about["config"]), parts, about["bases"], about["about"])
        except (KeyError, TypeError) as error:
            raise ValueError(f"{path} is no packed GPT: {error}") from error

    def _dense(self) -> tuple[dict[str, np.ndarray], _Codes]:
        raw, at = zlib.decompress(next(iter(self.parts.values()))), 0
        floats, codes = {}, {}
        shapes = {name: tuple(value.shape) for name, value in GPT(self.config).state_dict().items()}
        for name, shape in shapes.items():
            floats[name] = np.frombuffer(raw, "<f4", shape[0], at).copy()
            at += 4 * shape[0]
        for name, shape in shapes.items():
            if len(shape) > 1:
                codes[name] = np.frombuffer(raw, np.int8, shape[0] * shape[1], at).reshape(shape).copy()
                at += shape[0] * shape[1]
        return floats, codes

    def _codes(self, name: str) -> _Codes:
        first = self._dense()[1]
        if name not in self.bases:
            return first
        base, raw = self._codes(self.bases[name]), zlib.decompress(self.parts[name])
        names = _prunable(first)
        count = sum(first[key].size for key in names)
        stays = np.unpackbits(np.frombuffer(raw, np.uint8, -(-count // 8)), count=count).astype(bool)
        changes = np.frombuffer(raw, np.int8, offset=-(-count // 8))
        codes, at, change = dict(first), 0, 0
        for key in names:
            order = _order(first[key], base[key])
            here = order[stays[at : at + len(order)]]
            codes[key] = np.zeros_like(first[key])
            codes[key].flat[here] = base[key].flat[here] + changes[change : change + len(here)]
            at, change = at + len(order), change + len(here)
        return codes


def pack(
    models: Mapping[str, GPT], scales: Mapping[str, Tensor], bases: Mapping[str, str], about: Any = None
) -> PackedGPT:
    """Pack `models`, the dense one first; of the others only the blocks' matrices may differ from it.

    Parameters
    ----------
    scales : of every matrix, (rows,): its weights are whole multiples of them, from −127 to 127
    bases : for each variant but the first, an earlier one that it resembles
    about : kept with them, must fit into JSON

    Raises
    ------
    ValueError
        If a weight is no such multiple, a vector or an embedding differs, or a base is none of the variants before.
    """
    first, *others = models
    state = models[first].state_dict()
    codes = {name: _codes_of(name, model, scales) for name, model in models.items()}
    vectors = [scales[key] if value.ndim > 1 else value for key, value in state.items()]
    raw = b"".join(vector.numpy().astype("<f4").tobytes() for vector in vectors)
    parts = {first: _deflated(raw + b"".join(code.tobytes() for code in codes[first].values()))}
    pruned = _prunable(codes[first])
    for name in others:
        base = check_choice(f"base of {name}", bases.get(name), list(parts))
        differ = [key for key, value in models[name].state_dict().items() if not torch.equal(value, state[key])]
        if fixed := sorted(set(differ) - set(pruned)):
            raise ValueError(f"{name} differs from {first} in {', '.join(fixed)}, must only in the blocks' matrices")
        parts[name] = _deflated(b"".join(_difference(pruned, codes[first], codes[base], codes[name])))
    return PackedGPT(models[first].config, parts, {name: bases[name] for name in others}, about)


def _codes_of(variant: str, model: GPT, scales: Mapping[str, Tensor]) -> _Codes:
    codes = {}
    for key, value in model.state_dict().items():
        if value.ndim > 1:
            code = (value / scales[key].unsqueeze(1)).round()
            if code.abs().max() > 127 or not torch.allclose(code * scales[key].unsqueeze(1), value, atol=1e-6):
                raise ValueError(f"{variant}: {key} is not made of whole multiples of its scales from -127 to 127")
            codes[key] = code.numpy().astype(np.int8)
    return codes


def _difference(names: list[str], first: _Codes, base: _Codes, own: _Codes) -> Iterator[bytes]:
    """The bits of all matrices, then the changes of all: what `PackedGPT` reads back."""
    stays, changes = [], []
    for key in names:
        order = _order(first[key], base[key])
        kept = own[key].flat[order] != 0
        stays.append(kept)
        changes.append((own[key].flat[order] - base[key].flat[order])[kept])  # int8 wraps around, here and back
    yield np.packbits(np.concatenate(stays)).tobytes()
    yield np.concatenate(changes).tobytes()


def _order(first: np.ndarray, base: np.ndarray) -> np.ndarray:
    """Places of a matrix: what the base has as zero, then the rest, each by the size of the dense code."""
    key = np.abs(first.astype(np.int16)) + 256 * (base != 0)
    return np.argsort(key.ravel(), kind="stable")


def _prunable(codes: _Codes) -> list[str]:
    """Names of the matrices in the blocks; embeddings stay as they are."""
    return [name for name in codes if name.startswith("blocks.")]


def _deflated(raw: bytes) -> bytes:
    """Deflated, with runs of one byte but no other repetition sought: codes have none, and chance ones cost more."""
    deflating = zlib.compressobj(9, strategy=zlib.Z_RLE)
    return deflating.compress(raw) + deflating.flush()
