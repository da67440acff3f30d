"""Files written whole: what they replace, what they leave, and who may read them."""

import os
import threading

import pytest
import torch

from pruning_lib.files import chromium_path, make_writable, written_whole
from pruning_lib.tensors import read_tensors, write_tensors


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    path = tmp_path / "new" / "results.json"
    with written_whole(path) as temporary:
        assert temporary.parent == path.parent and temporary.suffix == ".json" and not path.exists()
        temporary.write_text("first")
    with pytest.raises(KeyError), written_whole(path) as temporary:
        temporary.write_text("half")
        raise KeyError
    assert path.read_text() == "first" and names(path.parent) == ["results.json"]


@pytest.fixture
def umask():
    before = os.umask(0o027)
    yield 0o027
    os.umask(before)


def test_a_file_may_be_read_as_any_new_file_and_the_umask_is_never_touched(tmp_path, umask, monkeypatch):
    def touched(mask):
        raise AssertionError("the umask is the whole process's: other threads would see another one")

    monkeypatch.setattr(os, "umask", touched)
    with written_whole(tmp_path / "a.txt") as temporary:
        temporary.write_text("a")
    write_tensors(tmp_path / "b.safetensors", {"x": torch.ones(2)})
    (tmp_path / "c.txt").write_text("c")
    monkeypatch.undo()
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o666 & ~umask}


def test_many_threads_write_one_file(tmp_path):
    path, texts = tmp_path / "a.txt", [str(number) * 1000 for number in range(8)]

    def write(text):
        with written_whole(path) as temporary:
            temporary.write_text(text)

    threads = [threading.Thread(target=write, args=[text]) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_text() in texts and names(tmp_path) == ["a.txt"]


def test_a_folder_is_made_and_tried(tmp_path):
    assert make_writable(tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"out is '.*file', must be a writable folder: File exists"):
        make_writable(tmp_path / "file")


def test_tensors_come_back_with_what_they_are_about(tmp_path):
    path, shared = tmp_path / "a.safetensors", torch.arange(6.0).view(2, 3)
    about = {"steps": 3, "rate": 0.1, "names": ["é", None]}
    write_tensors(path, {"a": shared, "b": shared.T, "c": torch.tensor([True])}, about)
    tensors, read = read_tensors(path)
    assert read == about and tensors.keys() == {"a", "b", "c"}
    assert torch.equal(tensors["a"], shared) and torch.equal(tensors["b"], shared.T) and tensors["c"].item() is True
    write_tensors(path, {"a": shared})
    assert read_tensors(path)[1] is None


@pytest.mark.parametrize("content", [b"", b"no tensors", b"\xff" * 100])
def test_what_is_no_file_of_tensors_is_named(tmp_path, content):
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(ValueError, match=r"a is not a whole file of tensors"):
        read_tensors(tmp_path / "a")
    with pytest.raises(FileNotFoundError):
        read_tensors(tmp_path / "nothing")


def test_of_two_browsers_that_without_windows_is_taken(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert chromium_path() is None
    for name in ("google-chrome", "chromium", "chromium-headless-shell"):
        (tmp_path / name).touch(mode=0o755)
        assert chromium_path() == str(tmp_path / name)
