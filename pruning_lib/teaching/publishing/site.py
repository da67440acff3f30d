"""The whole suite as a static site: built offline, read offline from disk, with search.

Sphinx takes a copy of the checkout's pages, in which every notebook is replaced by its executed copy with its widgets
alive; nothing is executed here.
"""

import io
import re
import shutil
import tempfile
from copy import deepcopy
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

from pruning_lib import __version__
from pruning_lib.files import CHECKOUT, make_writable
from pruning_lib.reproduction.parameters import notebook_paths, read_notebook
from pruning_lib.teaching.publishing import MATHJAX, live
from pruning_lib.teaching.publishing.gather import executed
from pruning_lib.teaching.publishing.pages import without_places

_STYLE = Path(__file__).parent / "templates" / "site.css"
# A search shows what stands around a word, for which it fetches the pages: a browser refuses that for files.
_SEARCH = 'if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;'
_LINK = re.compile(r"\]\(([^)#\s:]+)")  # path of [text](path#place): no address on the net, no place in the same page
_WHOLE_LINK = re.compile(r"(\[[^]]*\])\(([^)#\s:]+)[^)\s]*\)")
_ITEM = re.compile(r"(\S[^:]*?) : (\S.*)")  # of a section of a NumPy-style docstring, all on one line
_CODE_OR_BAR = re.compile(r"(`.*?`)|[|]")
_SETTINGS = {
    "project": "Neural-network pruning, taught",
    "html_title": "Neural-network pruning, taught",
    "project_copyright": "",
    "version": __version__,
    "root_doc": "index",
    "extensions": ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode", "sphinx.ext.mathjax"],
    "exclude_patterns": ["_static"],
    "nb_execution_mode": "off",
    "myst_enable_extensions": ["dollarmath", "amsmath"],
    "myst_heading_anchors": 4,
    "smartquotes": False,
    "suppress_warnings": ["ref.python"],  # two attributes named bytes: a type in a signature is no reference to them
    "default_role": "literal",
    "add_module_names": False,
    "autodoc_member_order": "bysource",
    "autodoc_inherit_docstrings": False,
    "autodoc_preserve_defaults": True,  # as they are written: no path of this machine
    "napoleon_google_docstring": False,
    "html_theme": "furo",
    "html_static_path": ["_static"],
    "html_css_files": [_STYLE.name],
    "html_copy_source": False,
    "html_show_sourcelink": False,
    "html_show_copyright": False,
    "html_js_files": [(None, {"body": _SEARCH})],
    "mathjax_path": MATHJAX.name,
}


def build_site(runs: str | Path, out: str | Path, checkout: str | Path = CHECKOUT) -> Path:
    """Build the site in ``out/site`` and return its start page.

    Parameters
    ----------
    runs
        Folder with the executed copies, ``runs/NAME/smoke/NAME.ipynb`` for each notebook.
    out
        ``out/site`` is made anew; what an earlier build left there is removed.
    checkout
        Folder with README.md and other pages, docs/, notebooks/ and the files that they link to.

    Raises
    ------
    ValueError
        If a notebook has no executed copy, `out` can't be written to, ``out/site`` holds something else, or Sphinx has
        something to complain about, a dead link for instance; an earlier site stays as it was.
    """
    site, checkout = Path(out).resolve() / "site", Path(checkout).resolve()
    if site.exists() and any(site.iterdir()) and not (site / "searchindex.js").is_file():
        raise ValueError(f"{site} holds something else, must be empty or an earlier site")
    copies = [executed(runs, name) for name in notebook_paths(checkout / "notebooks")]
    with tempfile.TemporaryDirectory(prefix=".site.", dir=make_writable(site.parent)) as work:
        source, built = Path(work, "source"), Path(work, "site")
        pages = _collect(checkout, copies, source)
        _start_page(source, pages, "".join(map(_first_widget, copies)))
        _run_sphinx(source, built, Path(work, "doctrees"))
        shutil.rmtree(site, ignore_errors=True)
        built.replace(site)
    return site / "index.html"


def _collect(checkout: Path, copies: list[Path], source: Path) -> list[str]:
    """Copy what becomes a page, and what the pages link to, from `checkout` to `source`; return the pages' names."""
    pages = (path for path in sorted((checkout / "docs").rglob("*.md")) if path.parent.name != "slides")
    written = [*sorted(checkout.glob("*.md")), *pages]
    texts = {path: _with_links_of_the_site(path, checkout) for path in written}
    pages = dict(texts)
    for copy in copies:
        path = checkout / "notebooks" / copy.name
        try:
            notebook = _prepared(read_notebook(copy))
        except ValueError as error:
            raise ValueError(f"{copy}: {error}") from None
        texts[path] = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
        pages[path] = nbformat.writes(notebook)
    for path, text in pages.items():
        _write(source / path.relative_to(checkout), text)
    for path, text in texts.items():
        for target in {(path.parent / link).resolve() for link in _LINK.findall(text)} - set(pages):
            if target.is_file() and target.is_relative_to(checkout):
                place = source / target.relative_to(checkout)
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(target, place)
    return [path.relative_to(checkout).with_suffix("").as_posix() for path in pages]


def _with_links_of_the_site(path: Path, checkout: Path) -> str:
    """Text of a page: links to README lead to the start page; a folder is no page, so a link to one is just text."""

    def changed(link: re.Match) -> str:
        target = (path.parent / link[2]).resolve()
        if target == checkout / "README.md":
            return link[0].replace("README.md", "index.md")
        return link[1].strip("[]") if target.is_dir() else link[0]

    return _WHOLE_LINK.sub(changed, path.read_text(encoding="utf-8"))


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _prepared(notebook: NotebookNode) -> NotebookNode:
    """Return the executed notebook as its page shows it: widgets alive, code tagged ``hide`` not shown."""
    notebook = without_places(live(notebook))
    for cell in notebook.cells:
        # The tag that myst-nb knows; of other metadata, slide types for instance, it would complain.
        cell.metadata = {"tags": ["remove-input"]} if "hide" in cell.metadata.get("tags", []) else {}
        for output in cell.get("outputs", []):
            if alt := output.get("metadata", {}).get("image/png", {}).get("alt"):
                cell.metadata["mystnb"] = {"image": {"alt": alt}}
    return notebook


def _first_widget(copy: Path) -> str:
    """A chapter's title, which leads to it, and its first widget, alive; nothing if it has none but questions."""
    notebook = live(read_notebook(copy))
    title = re.search(r"^# (.+)$", notebook.cells[0].source, re.MULTILINE)[1]
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    pages = [output.data["text/html"] for output in outputs if "text/html" in output.get("data", {})]
    widgets = [page for page in pages if 'class="live-widget"' in page and '"question"' not in page]
    return f"\n**[{title}](notebooks/{copy.stem}.ipynb)**\n\n```{{raw}} html\n{widgets[0]}\n```\n" if widgets else ""


def _start_page(source: Path, pages: list[str], widgets: str) -> None:
    """Make README the start page, with `widgets` before its first section and all others in its table of contents."""
    groups = {
        "Notebooks": "notebooks/",
        "For lecturers": "docs/lecturer/",
        "По-русски": "docs/ru/",
        "Library": "docs/reference/",
    }
    contents, others = "", [page for page in pages if page not in ("README", "CONTRIBUTING")]
    for caption, folder in groups.items():
        inside = [page for page in others if page.startswith(folder)]
        inside.sort(key=lambda page: (not page.endswith("/README"), page))
        contents += _table_of_contents(caption, inside)
        others = [page for page in others if page not in inside]
    contents += _table_of_contents("More", [*sorted(others), "CONTRIBUTING"])
    readme = source / "README.md"
    top, heading, rest = readme.read_text(encoding="utf-8").partition("\n## ")
    tried = f"\n## Try them here\n\nOne widget of each chapter, alive.\n{widgets}" if widgets else ""
    _write(source / "index.md", top + tried + heading + rest + contents)
    readme.unlink()


def _table_of_contents(caption: str, pages: list[str]) -> str:
    lines = "\n".join(f"/{page}" for page in pages)
    return f"\n```{{toctree}}\n:hidden:\n:caption: {caption}\n\n{lines}\n```\n" if pages else ""


def _run_sphinx(source: Path, built: Path, doctrees: Path) -> None:
    """Build `source`; every warning is an error."""
    from sphinx.application import Sphinx
    from sphinx.util.docutils import docutils_namespace, patch_docutils

    static = source / "_static"
    static.mkdir()
    for file in (MATHJAX, _STYLE):
        shutil.copyfile(file, static / file.name)
    warnings = io.StringIO()
    with patch_docutils(), docutils_namespace():  # else a second build in the same process would warn of the first
        settings = deepcopy(_SETTINGS)  # Sphinx changes its lists
        app = Sphinx(source, None, built, doctrees, "html", settings, status=None, warning=warnings, freshenv=True)
        app.connect("autodoc-process-docstring", as_restructured_text, priority=100)  # before napoleon
        app.connect("doctree-read", _leave_formulas)
        app.build()
    if warnings.getvalue():
        plain = re.sub(r"\x1b\[[0-9;]*m", "", warnings.getvalue()).replace(f"{source}/", "")
        raise ValueError(f"the site was not built:\n{plain}")


def _leave_formulas(app: Any, doctree: Any) -> None:
    """Sphinx's hook: no ``split`` around a formula of several lines, in which MathJax allows no number."""
    from docutils.nodes import math_block

    for formula in doctree.findall(math_block):
        formula["classes"].append("amsmath")


def as_restructured_text(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Sphinx's hook: make of `lines`, a docstring as we write them, one as Sphinx reads them.

    A bar is a bar and no substitution. ``name : what it is`` of a section becomes name, line break, what it is: Sphinx
    takes the first line's end for a type.
    """
    in_section, result = False, []
    for number, line in enumerate(lines):
        line = _CODE_OR_BAR.sub(lambda found: found[1] or r"\|", line)
        if set(lines[min(number + 1, len(lines) - 1)]) == {"-"}:
            in_section = True
        item = _ITEM.fullmatch(line) if in_section else None
        result += [item[1], f"    {item[2]}"] if item else [line]
    only_python = "".join(lines[:1]).startswith("Alias for field number")  # of a named tuple
    lines[:] = [] if only_python else result
