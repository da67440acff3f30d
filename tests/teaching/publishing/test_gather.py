import nbformat
import pytest
from click.testing import CliRunner
from live_notebooks import markdown, notebook

from pruning_lib.__main__ import main
from pruning_lib.teaching.publishing.gather import gather


@pytest.fixture
def places(tmp_path):
    """Two notebooks and their executed copies."""
    (tmp_path / "docs" / "slides").mkdir(parents=True)
    for name in ("01_a", "02_b"):
        (tmp_path / "notebooks").mkdir(exist_ok=True)
        (tmp_path / "docs" / "slides" / f"{name}.md").write_text(f"# Text of {name}.\n\n{{{{text}}}}")
        (tmp_path / "runs" / name / "smoke").mkdir(parents=True)
        nbformat.write(notebook(), tmp_path / "notebooks" / f"{name}.ipynb")
        copy = notebook(markdown(f"Text of {name}.\n\n$$y$$", id="text"))
        copy.cells[0].source = f"# About <{name}>"
        copy.metadata.papermill = {"exception": None, "end_time": "2026-01-01T00:00:00"}
        nbformat.write(copy, tmp_path / "runs" / name / "smoke" / f"{name}.ipynb")
    return tmp_path


def into(places, kind, **options):
    return gather(kind, places / "runs", places / "build", notebooks=places / "notebooks", **options)


@pytest.mark.parametrize("kind", ["handouts", "slides"])
def test_one_page_per_notebook_and_an_index(places, kind):
    written = into(places, kind)
    folder = places / "build" / kind
    assert written == [folder / "01_a.html", folder / "02_b.html", folder / "index.html"]
    assert sorted(path.name for path in folder.iterdir()) == [path.name for path in written]
    assert "Text of 02_b." in written[1].read_text(encoding="utf-8")
    assert '<a href="02_b.html">About &lt;02_b&gt;</a>' in written[2].read_text(encoding="utf-8")


def test_of_some_notebooks(places):
    assert [path.name for path in into(places, "slides", names=["02_b"])] == ["02_b.html", "index.html"]


def test_what_was_not_run_or_failed_is_refused_with_the_command_and_nothing_is_written(places):
    copy = places / "runs" / "02_b" / "smoke" / "02_b.ipynb"
    broken = nbformat.read(copy, as_version=4)
    for state in ({"exception": True, "end_time": "later"}, {"exception": None, "end_time": None}):
        broken.metadata.papermill = state
        nbformat.write(broken, copy)
        with pytest.raises(ValueError, match=r"not run to its end, must: .* run 02_b --profile smoke"):
            into(places, "handouts")
    copy.unlink()
    with pytest.raises(ValueError, match=r"02_b.ipynb is not there, .*pruning_lib run 02_b --profile smoke"):
        into(places, "handouts")
    with pytest.raises(ValueError, match=r"run 01_a --profile lecture"):
        into(places, "handouts", profile="lecture")
    with pytest.raises(ValueError, match="notebook is '03_c', must be one of 01_a, 02_b or all"):
        into(places, "handouts", names=["03_c"])
    assert not (places / "build").exists()


def test_slides_that_are_wrong_or_not_written_are_named_and_nothing_is_written(places):
    text = places / "docs" / "slides" / "02_b.md"
    text.write_text("# A\n\n{{b}}")
    with pytest.raises(ValueError, match=r"02_b.ipynb: slide 1, 'A': 'b' is no cell of the notebook"):
        into(places, "slides")
    text.unlink()
    with pytest.raises(ValueError, match=r"02_b.ipynb: .*02_b.md is not there, must say what is on the slides"):
        into(places, "slides")
    assert list((places / "build").rglob("*.html")) == []
    into(places, "handouts")


def test_a_folder_that_cannot_be_written_to_is_refused(places):
    (places / "build").write_text("in the way")
    with pytest.raises(ValueError, match=r"out is '.*handouts', must be a writable folder: "):
        into(places, "handouts")


def test_refusals_on_the_command_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    answer = CliRunner().invoke(main, ["publish", "slides", "02_snip"])
    assert (answer.exit_code, answer.stderr.count("\n")) == (2, 1)
    assert "python -m pruning_lib run 02_snip" in answer.stderr
    answer = CliRunner().invoke(main, ["publish", "site", "02_snip"])
    assert answer.exit_code == 2 and "neither names nor a profile" in answer.stderr
