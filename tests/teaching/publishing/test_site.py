"""The site of a tiny checkout: what is on its pages, that nothing on them asks the network, and what is refused."""

import ast
import json
import re
from html.parser import HTMLParser

import nbformat
import pytest
from live_notebooks import anywidget, markdown, notebook, view
from nbformat.v4 import new_code_cell, new_output

from pruning_lib.files import CHECKOUT
from pruning_lib.reproduction.parameters import notebook_paths, read_notebook
from pruning_lib.teaching.publishing import site

# Sphinx's, of its own extensions.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning")

README = """# Tiny suite

[One](notebooks/01_one.ipynb), [how to](CONTRIBUTING.md#how), [license](LICENSE), [net](https://example.org/x.js).

![a picture](figures/dot.svg)
"""
REFERENCE = """# Runs

```{eval-rst}
.. automodule:: pruning_lib.reproduction.run
   :members: plan
```
"""
FORMULA = r"$$\begin{aligned} a &= b \\ c &= d \end{aligned} \tag{ONE-1}$$"
DOT = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
SOLUTION = "<details><summary>Solution</summary>\n\n```python\nanswer = 42\n```\n</details>"


def ended(executed):
    """The notebook with what papermill notes of a run that came to its end."""
    executed.metadata.papermill = {"exception": None, "end_time": "2026-01-01T00:00:00"}
    executed.metadata.language_info = {"name": "python", "pygments_lexer": "ipython3"}
    return nbformat.writes(executed)


def code(source, *tags, **data):
    outputs = [new_output("display_data", data)] if data else []
    return new_code_cell(source, outputs=outputs, metadata={"tags": list(tags)})


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def tiny_checkout(folder):
    """A checkout with two notebooks, whose executed copies lie in ``runs``."""
    one = notebook(
        markdown("The zugzwang of weights."),
        markdown(FORMULA),
        code("secret_drawing()", "hide", **{"text/plain": "drawn"}),
        code("# Parameters\nout = '/somewhere/results.json'", "injected-parameters"),
        view("a"),
        code("picture()", **{"image/png": DOT}),
        markdown(SOLUTION),
        a=anywidget(),
    )
    one.cells[-2].outputs[0].metadata = {"image/png": {"alt": "a <dot>", "width": 1}}
    for name, executed in (("01_one", one), ("02_two", notebook(markdown("Nothing of the kind.")))):
        write(folder / "runs" / name / "smoke" / f"{name}.ipynb", ended(executed))
        write(folder / "notebooks" / f"{name}.ipynb", nbformat.writes(notebook()))
    write(folder / "README.md", README)
    write(
        folder / "CONTRIBUTING.md",
        "# Contributing\n\n## How\n\nBack to the [start](README.md), see [pictures](figures/).\n",
    )
    write(folder / "LICENSE", "free")
    write(folder / "figures" / "dot.svg", '<svg xmlns="http://www.w3.org/2000/svg"/>')
    write(folder / "docs" / "reference" / "runs.md", REFERENCE)
    write(folder / "docs" / "glossary.md", "# Glossary\n\n[One](../notebooks/01_one.ipynb), обрезка.\n")
    write(folder / "docs" / "ru" / "01_one.md", "# Один\n\nСм. [глоссарий](../glossary.md).\n")
    write(folder / "CHANGELOG.md", "# Changelog\n")
    return folder


def build(checkout):
    return site.build_site(checkout / "runs", checkout / "build", checkout)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    checkout = tiny_checkout(tmp_path_factory.mktemp("tiny"))
    start = build(checkout)
    assert start == checkout / "build" / "site" / "index.html"
    return start.parent


def text_of(path):
    return path.read_text(encoding="utf-8")


def test_start_page_leads_to_all_others(built):
    start = text_of(built / "index.html")
    pages = ("notebooks/01_one", "notebooks/02_two", "docs/glossary", "docs/reference/runs", "docs/ru/01_one")
    for page in (*pages, "CHANGELOG", "CONTRIBUTING"):
        assert f'href="{page}.html"' in start and (built / f"{page}.html").is_file()
    assert re.search(r'href="CONTRIBUTING.html#how"', start)
    assert 'href="index.html"' in text_of(built / "CONTRIBUTING.html").split("<article")[1]
    assert "see pictures." in text_of(built / "CONTRIBUTING.html")
    assert [path.name for path in built.rglob("dot.svg")] == ["dot.svg"]
    assert [path.name for path in built.rglob("LICENSE")] == ["LICENSE"]
    assert not list(built.parent.glob(".site.*"))


def test_start_page_has_a_widget_of_each_chapter_alive(built):
    start = text_of(built / "index.html")
    assert start.count('class="live-widget"') == 1  # the second notebook has none
    assert start.index("a picture") < start.index("Try them here") < start.index('class="live-widget"')
    before = start[: start.index('class="live-widget"')].rsplit("Try them here", 1)[1]
    assert 'href="notebooks/01_one.html"' in before


def test_notebook_page(built):
    page = text_of(built / "notebooks" / "01_one.html")
    assert "secret_drawing" not in page and "drawn" in page
    assert "/somewhere" not in page
    assert page.count('class="live-widget"') == 1
    assert re.search(r'<img alt="a &lt;dot&gt;" src="\.\./_images/[^"]+\.png"', page)
    assert re.search(r"<details><summary>Solution</summary>.*answer.*</details>", page, re.DOTALL)
    assert "tag{ONE-1}" in page and r"\begin{split}" not in page
    assert "../_static/mathjax-tex-svg.js" in page and (built / "_static" / "mathjax-tex-svg.js").is_file()


def test_reference_is_made_of_docstrings(built):
    page = text_of(built / "docs" / "reference" / "runs.html")
    assert "Check all that can be checked before anything starts" in page
    assert re.search("<strong>profile</strong>.{1,9}A profile of", page)
    assert "NOTEBOOKS" in page and str(CHECKOUT) not in page


def test_search_index_knows_which_page_has_a_word(built):
    index = json.loads(text_of(built / "searchindex.js").removeprefix("Search.setIndex(").removesuffix(")"))
    assert index["docnames"][index["terms"]["zugzwang"]] == "notebooks/01_one"
    assert index["docnames"][index["terms"]["обрезка"]] == "docs/glossary"


class Loaded(HTMLParser):
    """Collects what a page loads without being asked: everything but the targets of its links."""

    def __init__(self):
        super().__init__()
        self.addresses, self.styles, self.in_style = [], [], False

    def handle_starttag(self, tag, attributes):
        self.in_style = tag == "style"
        for key, value in attributes:
            if key in ("src", "srcset", "data", "poster") or (key == "href" and tag not in ("a", "area")):
                self.addresses.append(value or "")
            if key == "style":
                self.styles.append(value or "")

    def handle_data(self, data):
        if self.in_style:
            self.styles.append(data)


def test_nothing_is_loaded_from_the_network(built):
    pages = list(built.rglob("*.html"))
    assert len(pages) >= 8
    styles = {path: text_of(path) for path in built.rglob("*.css")}
    for path in pages:
        loaded = Loaded()
        loaded.feed(text_of(path))
        assert loaded.addresses
        assert [address for address in loaded.addresses if re.match(r"(https?:)?//", address)] == [], path
        styles[path] = "\n".join(loaded.styles)
    for path, style in styles.items():
        assert re.findall(r"(?:url\(|@import)\s*['\"]?(?:https?:)?//[^)'\"]*", style) == [], path


def test_built_again_it_is_the_same_and_new(built):
    (built / "stale.html").write_text("gone")
    before = {path.relative_to(built): path.read_bytes() for path in built.rglob("*") if path.is_file()}
    build(built.parents[1])
    after = {path.relative_to(built): path.read_bytes() for path in built.rglob("*") if path.is_file()}
    assert set(before) - set(after) == {next(path for path in before if path.name == "stale.html")}
    assert [path for path in after if after[path] != before[path]] == []


@pytest.mark.parametrize(
    "lines, expected",
    [
        (["The sum of |w| and `a|b`."], [r"The sum of \|w\| and `a|b`."]),
        (["Note : this is prose."], ["Note : this is prose."]),
        (["Raises", "------", "ValueError : if bad"], ["Raises", "------", "ValueError", "    if bad"]),
        (["Alias for field number 3"], []),
    ],
)
def test_docstrings_as_sphinx_reads_them(lines, expected):
    site.as_restructured_text(None, "function", "name", None, None, lines)
    assert lines == expected


def test_refuses_without_an_executed_copy(tmp_path):
    checkout = tiny_checkout(tmp_path)
    (checkout / "runs" / "02_two" / "smoke" / "02_two.ipynb").unlink()
    with pytest.raises(ValueError, match="must be made first: python -m pruning_lib run 02_two"):
        build(checkout)
    assert not (checkout / "build").exists()


def test_names_the_copy_that_holds_no_state_of_its_widget(tmp_path):
    checkout = tiny_checkout(tmp_path)
    write(checkout / "runs" / "02_two" / "smoke" / "02_two.ipynb", ended(notebook(view("gone"))))
    with pytest.raises(ValueError, match="02_two.ipynb: .*without its state"):
        build(checkout)


def test_refuses_a_folder_with_something_else(tmp_path):
    checkout = tiny_checkout(tmp_path)
    write(checkout / "build" / "site" / "thesis.txt", "years of work")
    with pytest.raises(ValueError, match="holds something else"):
        build(checkout)
    assert text_of(checkout / "build" / "site" / "thesis.txt") == "years of work"


def test_refuses_an_unwritable_place(tmp_path):
    checkout = tiny_checkout(tmp_path)
    write(checkout / "build", "a file")
    with pytest.raises(ValueError, match="must be a writable folder"):
        build(checkout)


def test_a_dead_link_is_named_and_an_earlier_site_stays(tmp_path):
    checkout = tiny_checkout(tmp_path)
    write(checkout / "build" / "site" / "searchindex.js", "earlier")
    write(checkout / "docs" / "glossary.md", "# Glossary\n\n[Gone](gone.md)\n")
    with pytest.raises(ValueError, match=r"docs/glossary.md:3: .*gone.md"):
        build(checkout)
    assert text_of(checkout / "build" / "site" / "searchindex.js") == "earlier"
    assert [path.name for path in (checkout / "build").iterdir()] == ["site"]


def test_reference_has_every_module_that_the_notebooks_import():
    pages = "\n".join(text_of(page) for page in (CHECKOUT / "docs" / "reference").glob("*.md"))
    documented = set(re.findall(r"automodule:: (\S+)", pages))
    packages = {module.rpartition(".")[0] for module in documented} - {"pruning_lib"}
    imported = set()
    for path in notebook_paths(CHECKOUT / "notebooks").values():
        for cell in read_notebook(path).cells:
            if cell.cell_type == "code":
                froms = [node for node in ast.walk(ast.parse(cell.source)) if isinstance(node, ast.ImportFrom)]
                imported |= {(node.module, name.name) for node in froms for name in node.names}
    of_library = {(module, name) for module, name in imported if {module, module.rpartition(".")[0]} & packages}
    assert len(of_library) > 20
    missing = {(module, name) for module, name in of_library if not {module, f"{module}.{name}"} & documented}
    assert missing == set()
