import gzip
import struct

import pytest
import torch
from PIL import Image

from pruning_lib.workbench import data


def write_idx(path, array):
    """MNIST's own format: magic number, sizes, bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    header = struct.pack(f">I{array.ndim}I", 0x0800 | array.ndim, *array.shape)
    path.write_bytes(header + bytes(array.to(torch.uint8).flatten().tolist()))


@pytest.fixture
def tiny_mnist(tmp_path):
    generator = torch.Generator().manual_seed(0)
    for part, count in (("train", 20), ("t10k", 6)):
        folder = tmp_path / "MNIST" / "raw"
        write_idx(folder / f"{part}-images-idx3-ubyte", torch.randint(0, 256, (count, 28, 28), generator=generator))
        write_idx(folder / f"{part}-labels-idx1-ubyte", torch.arange(count) % 10)
    return tmp_path


def test_digits():
    digits = data.load("digits")
    assert digits.shape == (1, 8, 8)
    assert len(digits.train[1]) + len(digits.test[1]) == 1797
    assert len(digits.classes) == 10
    for pair in (digits.train, digits.test):
        counts = pair[1].bincount(minlength=10)
        assert counts.max() - counts.min() <= 0.1 * counts.max()
    assert digits.train[0].mean().abs() < 1e-6
    assert digits.train[0].std() == pytest.approx(1, abs=1e-3)
    both = {tuple(image.flatten().tolist()) for image in digits.train[0]}
    assert sum(tuple(image.flatten().tolist()) in both for image in digits.test[0]) == 0
    assert torch.equal(data.load("digits").test[0], digits.test[0])


def test_mnist_from_a_folder(tiny_mnist, monkeypatch):
    mnist = data.load("mnist", root=tiny_mnist)
    assert mnist.shape == (1, 28, 28)
    assert mnist.train[1].tolist() == [i % 10 for i in range(20)]
    assert "20 training and 6 test images" in repr(mnist)
    assert data.find("mnist", tiny_mnist) == tiny_mnist / "MNIST" / "raw"
    monkeypatch.setenv("PRUNING_LIB_DATA", str(tiny_mnist))
    assert torch.equal(data.load("mnist").test[0], mnist.test[0])


def test_missing_data_names_folder_and_command(tmp_path):
    for name in ("mnist", "fashion_mnist", "cifar10"):
        assert data.find(name, tmp_path) is None
        with pytest.raises(FileNotFoundError) as error:
            data.load(name, root=tmp_path)
        assert str(tmp_path) in str(error.value)
        assert f"python -m pruning_lib download {name} --data {tmp_path}" in str(error.value)


def test_failed_download_names_folder_and_command(tmp_path, monkeypatch):
    import torchvision.datasets.mnist

    def no_network(*args, **kwargs):
        raise OSError("no network")

    monkeypatch.setattr(torchvision.datasets.mnist, "download_and_extract_archive", no_network)
    with pytest.raises(ConnectionError, match="no network") as error:
        data.load("mnist", root=tmp_path, download=True)
    assert f"python -m pruning_lib download mnist --data {tmp_path}" in str(error.value)


def test_truncated_files_are_not_taken_for_data(tiny_mnist):
    path = tiny_mnist / "MNIST" / "raw" / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(FileNotFoundError, match="mnist is not in"):
        data.load("mnist", root=tiny_mnist)


def test_unknown_name():
    with pytest.raises(ValueError, match="data is 'imagenet', must be one of digits, mnist"):
        data.load("imagenet")


@pytest.mark.parametrize("change", ["none", "missing", "compressed"])
def test_what_is_found_can_be_loaded_and_the_other_way_round(tiny_mnist, change):
    labels = tiny_mnist / "MNIST" / "raw" / "t10k-labels-idx1-ubyte"
    if change == "compressed":
        labels.with_name(f"{labels.name}.gz").write_bytes(gzip.compress(labels.read_bytes()))
    if change != "none":
        labels.unlink()
    found = data.find("mnist", tiny_mnist) is not None
    try:
        data.load("mnist", root=tiny_mnist)
    except FileNotFoundError:
        assert not found
    else:
        assert found
    assert found == (change == "none")
    assert data.find("digits").exists()


def save_image(path, color, size=(6, 5)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, color).save(path)


def test_imagefolder(tmp_path):
    for part, count in (("train", 3), ("test", 2)):
        for label, color in (("cat", (250, 10, 10)), ("dog", (10, 10, 250))):
            for index in range(count):
                save_image(tmp_path / part / label / f"{index}.png", color)
    pets = data.load(f"imagefolder:{tmp_path}")
    assert pets.shape == (3, 5, 6)
    assert pets.classes == ("cat", "dog")
    assert pets.train[1].bincount().tolist() == [3, 3]
    assert (pets.train[0][pets.train[1] == 0, 0] > 0).all() and (pets.train[0][pets.train[1] == 1, 0] < 0).all()
    assert (pets.train[0][:, 1] == 0).all()  # green never changes
    save_image(tmp_path / "test" / "cat" / "9.png", (0, 0, 0), size=(7, 5))
    with pytest.raises(ValueError, match=r"9\.png has shape \(3, 5, 7\), must be \(3, 5, 6\)"):
        data.load(f"imagefolder:{tmp_path}")


def test_the_first_images_of_an_imagefolder_are_of_all_classes_and_the_same_each_time(tmp_path):
    for part, count in (("train", 20), ("test", 1)):
        for label, color in (("cat", (250, 10, 10)), ("dog", (10, 10, 250))):
            for index in range(count):
                save_image(tmp_path / part / label / f"{index}.png", color)
    once, again = (data.load(f"imagefolder:{tmp_path}").train[1] for _ in range(2))
    assert torch.equal(once, again)
    assert set(once[:20].tolist()) == {0, 1}


def test_imagefolder_that_is_not_one(tmp_path):
    with pytest.raises(FileNotFoundError, match="train is not there"):
        data.load(f"imagefolder:{tmp_path / 'nothing'}")
    save_image(tmp_path / "train" / "cat" / "0.png", (0, 0, 0))
    save_image(tmp_path / "test" / "dog" / "0.png", (0, 0, 0))
    with pytest.raises(ValueError, match=r"other classes in test \(dog\) than in train \(cat\)"):
        data.load(f"imagefolder:{tmp_path}")


def test_batches_cover_everything_once_and_follow_the_seed():
    pair = (torch.arange(10.0).view(10, 1, 1, 1), torch.arange(10))
    assert [targets.tolist() for _, targets in data.batches(pair, 4)] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    shuffled = [targets for _, targets in data.batches(pair, 4, seed=1)]
    assert torch.cat(shuffled).sort().values.tolist() == list(range(10))
    assert torch.cat(shuffled).tolist() != list(range(10))
    again = [targets for _, targets in data.batches(pair, 4, seed=1)]
    assert all(torch.equal(a, b) for a, b in zip(shuffled, again, strict=True))
    for inputs, targets in data.batches(pair, 3, seed=2):
        assert torch.equal(inputs.flatten().long(), targets)
    with pytest.raises(ValueError, match="batch size is 0"):
        list(data.batches(pair, 0))
