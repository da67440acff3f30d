"""Image data by name, held in memory: real handwritten digits offline, the usual sets from a folder."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from tqdm.auto import tqdm

from pruning_lib.files import CHECKOUT

NAMES = ("digits", "mnist", "fashion_mnist", "cifar10")
IDX = [f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")]
# Class in torchvision.datasets, folder, and the files that it reads there.
_TORCHVISION = {
    "mnist": ("MNIST", "MNIST/raw", IDX),
    "fashion_mnist": ("FashionMNIST", "FashionMNIST/raw", IDX),
    "cifar10": ("CIFAR10", "cifar-10-batches-py", [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]),
}
Pair = tuple[Tensor, Tensor]  # inputs (samples, channels, height, width) float32, targets (samples,) int64


@dataclass(frozen=True)
class Data:
    """Inputs and targets for training and testing; inputs have mean 0 and deviation 1 per channel over `train`."""

    name: str
    train: Pair
    test: Pair
    classes: tuple[str, ...]

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of one input."""
        return tuple(self.train[0].shape[1:])

    def __repr__(self) -> str:
        sizes = f"{len(self.train[1]):,} training and {len(self.test[1]):,} test"
        return f"{self.name}: {sizes} images of shape {self.shape}, {len(self.classes)} classes"


def load(name: str = "digits", root: str | os.PathLike | None = None, download: bool = False) -> Data:
    """Load a data set by name.

    Parameters
    ----------
    name : one of `NAMES`, or "imagefolder:PATH" with PATH/train/CLASS/*.jpg and PATH/test/CLASS/*.jpg of one size; the
        classes are mixed, in an order that is the same each time
    root : folder of the torchvision sets; left out, PRUNING_LIB_DATA from the environment, else data/ here
    download : fetch a missing torchvision set into `root`

    Raises
    ------
    ValueError
        If the name is unknown.
    FileNotFoundError
        If the files are not there and were not to be fetched, naming the folder and the command that fetches them.
    ConnectionError
        If fetching failed.
    """
    if name.startswith("imagefolder:"):
        return _load_imagefolder(Path(name.removeprefix("imagefolder:")))
    if name not in NAMES:
        raise ValueError(f"data is {name!r}, must be one of {', '.join(NAMES)} or imagefolder:PATH")
    return _load_digits() if name == "digits" else _load_torchvision(name, folder(root), download)


def batches(pair: Pair, size: int, seed: int | None = None) -> Iterator[Pair]:
    """Split `pair` into batches of `size` (the last may be smaller), shuffled if a `seed` is given."""
    inputs, targets = pair
    if size < 1:
        raise ValueError(f"batch size is {size}, must be at least 1")
    if seed is None:
        yield from zip(inputs.split(size), targets.split(size), strict=True)
        return
    order = torch.randperm(len(targets), generator=torch.Generator().manual_seed(seed))
    for chosen in order.split(size):
        yield inputs[chosen], targets[chosen]


def find(name: str, root: str | os.PathLike | None = None) -> Path | None:
    """Where the files of data set `name` lie, or None; nothing is loaded."""
    if name == "digits":
        import sklearn.datasets

        return Path(sklearn.datasets.__file__).parent / "data" / "digits.csv.gz"
    _, place, files = _TORCHVISION[name]
    there = all((folder(root) / place / file).is_file() for file in files)
    return folder(root) / place if there else None


def how_to_get(name: str, root: str | os.PathLike | None = None) -> str:
    """The command that fetches data set `name`."""
    return f"python -m pruning_lib download {name} --data {folder(root)}"


def folder(root: str | os.PathLike | None) -> Path:
    return Path(root or os.environ.get("PRUNING_LIB_DATA") or CHECKOUT / "data")


def _load_digits() -> Data:
    """1,797 scans of handwritten digits, 8×8, from scikit-learn; a fifth of each class tests.

    Source: Alpaydin and Kaynak 1998, "Optical Recognition of Handwritten Digits", UCI repository.
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    inputs, targets = load_digits(return_X_y=True)
    parts = train_test_split(inputs, targets, test_size=0.2, stratify=targets, random_state=0)
    train_inputs, test_inputs, train_targets, test_targets = map(torch.as_tensor, parts)
    train, test = (train_inputs.view(-1, 1, 8, 8), train_targets), (test_inputs.view(-1, 1, 8, 8), test_targets)
    return _normalized("digits", train, test, tuple("0123456789"))


def _load_torchvision(name: str, root: Path, download: bool) -> Data:
    from torchvision import datasets

    kind = getattr(datasets, _TORCHVISION[name][0])
    try:
        train, test = (kind(root, train=part, download=download) for part in (True, False))
    except Exception as error:
        if download:
            raise ConnectionError(
                f"{name} could not be fetched into {root.absolute()} ({error}); "
                f"with a network try again: {how_to_get(name, root)}"
            ) from error
        raise FileNotFoundError(
            f"{name} is not in {root.absolute()} ({error}); fetch it with: {how_to_get(name, root)} "
            "or name its folder in PRUNING_LIB_DATA"
        ) from error
    pairs = []
    for part in (train, test):
        images = torch.as_tensor(part.data)
        images = images.unsqueeze(1) if images.ndim == 3 else images.permute(0, 3, 1, 2)
        pairs.append((images, torch.as_tensor(part.targets)))
    return _normalized(name, *pairs, tuple(train.classes))


def _load_imagefolder(path: Path) -> Data:
    from torchvision.datasets import ImageFolder
    from torchvision.transforms.functional import pil_to_tensor

    pairs, classes = [], []
    for part in ("train", "test"):
        if not (path / part).is_dir():
            raise FileNotFoundError(
                f"{path / part} is not there; imagefolder:PATH needs PATH/train/CLASS/*.jpg and PATH/test"
            )
        files = ImageFolder(path / part, pil_to_tensor)
        images = []
        for image, _ in tqdm(files, desc=f"reading {path.name}/{part}", leave=False):
            images.append(image)
            if image.shape != images[0].shape:
                file, shape = files.samples[len(images) - 1][0], tuple(images[0].shape)
                raise ValueError(f"{file} has shape {tuple(image.shape)}, must be {shape} as the first image")
        # ImageFolder reads class by class: the first thousand would hold one or two classes only.
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
        pairs.append((torch.stack(images)[order], torch.tensor(files.targets)[order]))
        classes.append(tuple(files.classes))
    if classes[0] != classes[1]:
        raise ValueError(
            f"{path} has other classes in test ({', '.join(classes[1])}) than in train ({', '.join(classes[0])})"
        )
    return _normalized(path.name, *pairs, classes[0])


def _normalized(name: str, train: Pair, test: Pair, classes: tuple[str, ...]) -> Data:
    inputs = train[0].float()
    mean = inputs.mean(dim=(0, 2, 3), keepdim=True)
    deviation = inputs.std(dim=(0, 2, 3), keepdim=True)
    deviation = torch.where(deviation > 0, deviation, 1)  # a channel that never changes becomes 0, not nan
    pairs = (((images.float() - mean) / deviation, targets.long()) for images, targets in (train, test))
    return Data(name, *pairs, classes)
