import re
import sys
import tomllib
from importlib import metadata

import pytest

from pruning_lib import doctor
from pruning_lib.workbench.data import IDX


@pytest.fixture
def without(monkeypatch):
    """Make packages look as if they were not installed."""

    def hide(*names):
        real = metadata.version

        def version(name):
            if name in names:
                raise metadata.PackageNotFoundError(name)
            return real(name)

        monkeypatch.setattr(metadata, "version", version)
        monkeypatch.setattr(doctor, "import_error", lambda name: "")  # torchvision takes seconds
        for name in names:
            monkeypatch.setitem(sys.modules, name, None)  # its import then fails

    return hide


def test_packages_are_those_of_the_metadata(monkeypatch):
    lines = ["one>=1", "two; python_version>='3'", "no; python_version<'3'"]
    lines += ["more; extra=='notebooks'", "x; extra=='dev'"]
    monkeypatch.setattr(metadata, "requires", lambda name: lines)
    assert doctor.required_packages() == ["one", "two"]
    assert doctor.required_packages("notebooks") == ["more"]


def test_the_metadata_are_the_projects():
    project = tomllib.loads((doctor.CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = [re.match(r"[\w-]+", line)[0] for line in project["optional-dependencies"]["notebooks"]]
    assert doctor.required_packages("notebooks") == names


def test_without_metadata_the_package_itself_is_missing(monkeypatch, tmp_path):
    def unknown(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "requires", unknown)
    monkeypatch.setattr(metadata, "version", unknown)
    lines, usable = lines_of(tmp_path)
    assert lines[-1] == "1 thing missing: pruning-lib"
    assert not usable


def lines_of(tmp_path):
    text, usable = doctor.examine(tmp_path)
    return text.split("\n"), usable


def test_a_missing_notebook_package_is_counted_but_the_library_is_usable(without, tmp_path):
    without("torchvision", "papermill")
    lines, usable = lines_of(tmp_path)
    assert usable
    assert "torchvision not installed" in lines
    assert lines[-1] == "2 things missing: torchvision, papermill"
    assert lines[-2].startswith("to install: ")


def test_a_missing_required_package_makes_it_unusable(without, tmp_path):
    without("safetensors")
    lines, usable = lines_of(tmp_path)
    assert not usable
    assert lines[-1] == "1 thing missing: safetensors"


def test_a_package_that_does_not_import_is_told_with_its_error(monkeypatch, tmp_path):
    def broken(name):
        if name == "torchvision":
            raise RuntimeError("operator torchvision::nms\ndoes not exist")

    monkeypatch.setattr(doctor.importlib, "import_module", broken)
    monkeypatch.setattr(doctor, "version", lambda name: "1.0")
    lines, usable = lines_of(tmp_path)
    assert "torchvision 1.0 does not import: RuntimeError: operator torchvision::nms does not exist" in lines
    assert lines[-1] == "1 thing missing: torchvision"
    assert usable


def test_it_works_without_torch(without, monkeypatch, tmp_path):
    without("torch")
    monkeypatch.setitem(sys.modules, "pruning_lib.workbench.data", None)
    monkeypatch.delattr("pruning_lib.workbench.data", raising=False)
    lines, usable = lines_of(tmp_path)
    assert not usable
    assert any(line.startswith("device: ") and line.endswith("CUDA unknown without torch") for line in lines)
    assert any(line.startswith("data: not looked for, ") for line in lines)


def test_ready_when_nothing_is_missing(monkeypatch, tmp_path):
    monkeypatch.setattr(doctor, "version", lambda name: "1.0")
    monkeypatch.setattr(doctor, "import_error", lambda name: "")
    lines, usable = lines_of(tmp_path)
    assert usable
    assert lines[-1] == "ready"


def test_pins_name_what_differs_and_pass_over_other_platforms(monkeypatch, tmp_path):
    path = tmp_path / "requirements.txt"
    path.write_text(
        "# pinned\n--extra-index-url https://example.org\na==1.0\nb==2.0  # why\n"
        "c==1 ; sys_platform == 'nowhere'\nd==4\ntorch==2.0\n"
    )
    monkeypatch.setattr(doctor, "version", {"a": "1.0", "b": "2.1", "torch": "2.0+cpu"}.get)
    assert doctor.pins(path) == (
        "2 of 4 packages differ from requirements.txt: b 2.1 (pinned ==2.0), d not installed (pinned ==4)"
    )
    path.write_text("a==1.0\n")
    assert doctor.pins(path) == "all 1 packages as pinned in requirements.txt"
    path.unlink()
    assert "versions not compared" in doctor.pins(path)


@pytest.mark.parametrize(
    ("torch", "answer"),
    [
        ("2.0+cpu", "all 1 packages as pinned"),
        ("2.0+cu130", "3 of 4 packages differ from requirements.txt: triton not installed"),
    ],
)
def test_a_torch_for_the_cpu_needs_no_cuda_packages(monkeypatch, tmp_path, torch, answer):
    path = tmp_path / "requirements.txt"
    path.write_text("torch==2.0\ntriton==3.0\ncuda-toolkit==13.0\nnvidia-nccl-cu13==2.0\n")
    monkeypatch.setattr(doctor, "version", {"torch": torch}.get)
    assert doctor.pins(path).startswith(answer)
    makefile = (doctor.CHECKOUT / "Makefile").read_text(encoding="utf-8")
    assert f"CUDA := ^({'|'.join(doctor._CUDA)})\n" in makefile


def test_data_sets_are_found_or_the_command_is_given(tmp_path):
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name in IDX:
        (raw / name).write_bytes(b"")
    lines = doctor.data_sets(tmp_path)
    assert f"data mnist: {raw}" in lines
    (missing,) = (line for line in lines if line.startswith("data cifar10: "))
    assert missing.endswith(f"to get it: python -m pruning_lib download cifar10 --data {tmp_path}")


def test_digits_need_scikit_learn(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    assert doctor.data_sets(tmp_path)[0].startswith("data digits: not found, ")


def test_chromium_is_told_as_needed_for_browser_tests_only(monkeypatch, tmp_path):
    monkeypatch.setattr(doctor, "chromium_path", lambda: None)
    monkeypatch.setattr(doctor, "import_error", lambda name: "")
    assert "chromium not found (needed only for the browser tests)" in lines_of(tmp_path)[0]
