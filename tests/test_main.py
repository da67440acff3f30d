import subprocess
import sys

import pytest
from click.testing import CliRunner

from pruning_lib.__main__ import main
from pruning_lib.files import CHECKOUT
from pruning_lib.teaching import capture, figures, stills, try_it
from pruning_lib.workbench import data

HEAVY = ("torchvision", "matplotlib", "ipywidgets", "papermill", "sklearn", "anywidget")


@pytest.mark.parametrize("module", ["pruning_lib", "pruning_lib.__main__"])
def test_import_loads_nothing_heavy(module):
    code = f"import sys, {module}; print([name for name in {HEAVY} if name in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_help_names_every_command():
    text = CliRunner().invoke(main, ["--help"]).stdout
    assert all(f"  {name} " in text for name in ("doctor", "download", "figures", "notebooks", "run"))


@pytest.mark.parametrize(("usable", "code"), [(True, 0), (False, 1)])
def test_doctor_prints_its_text_and_ends_with_1_if_unusable(monkeypatch, tmp_path, usable, code):
    monkeypatch.setattr("pruning_lib.doctor.examine", lambda root: (f"looked in {root}", usable))
    answer = CliRunner().invoke(main, ["doctor", "--data", str(tmp_path)])
    assert (answer.exit_code, answer.stdout) == (code, f"looked in {tmp_path}\n")


def test_data_folder_is_the_same_one_in_every_notebooks_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("pruning_lib.doctor.examine", lambda root: (str(root), True))
    monkeypatch.setenv("PRUNING_LIB_DATA", "here")
    assert CliRunner().invoke(main, ["doctor"]).stdout == f"{tmp_path / 'here'}\n"
    monkeypatch.delenv("PRUNING_LIB_DATA")
    assert CliRunner().invoke(main, ["doctor"]).stdout == f"{CHECKOUT / 'data'}\n"


def test_download_of_digits_prints_where_they_are():
    answer = CliRunner().invoke(main, ["download", "digits"])
    assert (answer.exit_code, answer.stdout.strip()) == (0, str(data.find("digits")))


def test_download_of_an_unknown_set_is_refused():
    answer = CliRunner().invoke(main, ["download", "imagenet"])
    assert (answer.exit_code, answer.stderr.count("\n")) == (2, 1)
    assert "data is 'imagenet', must be one of digits, mnist, fashion_mnist, cifar10" in answer.stderr


def test_a_failed_download_names_folder_and_command_in_one_line(monkeypatch, tmp_path):
    def no_network(name, root, download):
        assert download
        raise ConnectionError("no\nnetwork")

    monkeypatch.setattr(data, "load", no_network)
    answer = CliRunner().invoke(main, ["download", "mnist", "--data", str(tmp_path)])
    assert (answer.exit_code, answer.stderr.count("\n")) == (1, 1)
    assert "no network" in answer.stderr
    assert answer.stderr.count(f"python -m pruning_lib download mnist --data {tmp_path}") == 1


def test_figures_prints_what_was_drawn(monkeypatch, tmp_path):
    monkeypatch.setattr(figures, "draw_all", lambda folder: [folder / "a.svg"])
    monkeypatch.setattr(try_it, "write", lambda path: path)
    monkeypatch.setattr(stills, "take_all", lambda folder: [folder / "b.png"])
    monkeypatch.setattr(capture, "take", lambda path: path)
    answer = CliRunner().invoke(main, ["figures", "--out", str(tmp_path)])
    names = ("a.svg", "try.html", "widgets/b.png", "capture.webp")
    assert answer.stdout == "".join(f"{tmp_path / name}\n" for name in names)


def test_figures_without_chromium_says_in_one_line_what_is_missing(monkeypatch, tmp_path):
    monkeypatch.setattr(figures, "draw_all", lambda folder: [folder / "a.svg"])
    monkeypatch.setattr(try_it, "write", lambda path: path)
    monkeypatch.setenv("PATH", "")
    answer = CliRunner().invoke(main, ["figures", "--out", str(tmp_path)])
    assert (answer.exit_code, answer.stdout) == (1, f"{tmp_path / 'a.svg'}\n{tmp_path / 'try.html'}\n")
    assert answer.stderr.startswith("Error: no Chromium on PATH") and answer.stderr.count("\n") == 1


def test_figures_refuses_a_folder_below_a_file_in_one_line(tmp_path):
    (tmp_path / "file").touch()
    answer = CliRunner().invoke(main, ["figures", "--out", str(tmp_path / "file" / "x")])
    assert (answer.exit_code, answer.stderr.count("\n")) == (2, 1)
    assert "x', must be a writable folder: Not a directory" in answer.stderr


def test_a_package_that_is_not_installed_is_named_in_one_line(monkeypatch, tmp_path):
    (tmp_path / "01_a.ipynb").write_text("{}")
    monkeypatch.setitem(sys.modules, "nbformat", None)
    answer = CliRunner().invoke(main, ["run", "01_a", "--notebooks", str(tmp_path)])
    assert (answer.exit_code, answer.stderr.count("\n")) == (1, 1)
    assert "nbformat is not installed; to install it: python -m pip install -r requirements.txt" in answer.stderr
