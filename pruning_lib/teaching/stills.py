"""Stills: pictures of the notebooks' widgets, taken in the browser, for where no script runs."""

import ast
import base64
import contextlib
import functools
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import PIL.Image
from IPython.display import Image
from ipywidgets import Widget

from pruning_lib.checks import check_choice
from pruning_lib.files import CHECKOUT, chromium_path, written_whole
from pruning_lib.reproduction.parameters import read_notebook
from pruning_lib.teaching.needed_cells import needed
from pruning_lib.teaching.publishing.live import STARTER, place

FOLDER = CHECKOUT / "figures" / "widgets"
WIDTH = 860  # CSS pixels: enough for every widget's wide layout
SCALE = 2  # pixels of the picture for each of them
_FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
_FLAGS += ["--disable-sync", "--no-first-run"]
_FLAGS += ["--font-render-hinting=slight"]  # as the browser with windows: the shell by itself sets wider letters
_DRAWN = """() => [...document.querySelectorAll(".live-widget")].every(({ shadowRoot }) => {
  const text = shadowRoot?.lastElementChild.textContent;
  if (text?.includes("did not start")) throw new Error(text);
  const canvases = [...(shadowRoot?.querySelectorAll("canvas") ?? [])];
  return canvases.length && canvases.every((canvas) => canvas.style.height || !canvas.clientWidth);
})"""


class Still(NamedTuple):
    """A widget of a notebook, found by how its call begins, in a state that is set before the picture is taken."""

    notebook: str
    call: str
    state: dict[str, Any]


_STEPPER = "SparseGPTStepper(weight, small_hessian, "
_CORRELATED = [[1.0 if i == j else 0.95 for j in range(8)] for i in range(8)]
STILLS = {
    "live_network": Still("01_taxonomy", "LiveNetwork(lenet", {"sparsity": 0.95}),
    "sparsity_explorer": Still("01_taxonomy", "SparsityExplorer(weights", {"scope": "global"}),
    "at_initialization": Still("02_snip", "AtInitialization(lenets", {}),
    "tangent_explorer": Still("02_snip", "TangentExplorer(", {}),
    "layer_race": Still("02_snip", "LayerRace(", {"step": 30}),
    "lasso_explorer": Still("03_sss_apg", "LassoExplorer(", {"t": 12}),
    "lambda_paths": Still("03b_block_selection", "LambdaPaths(block_runs", {"gamma": 0.05, "seed": 0}),
    "lambda_paths_channels": Still("03b_block_selection", "LambdaPaths(channel_runs", {}),
    "taylor": Still("04_obs", "Taylor(", {"point": "at the minimum", "index": 32}),
    "surgery": Still("04_obs", "Surgery(", {}),
    "damped_deletions": Still("04_obs", "DampedDeletions(", {}),
    "inverse_hessian": Still("04b_obs_measured", "InverseHessian(", {}),
    "prune_by_hand": Still("04b_obs_measured", "PruneByHand(", {}),
    "prune_by_hand_stay": Still("04b_obs_measured", "PruneByHand(", {"others": "stay"}),
    "perplexity_slider": Still("05b_sparsegpt_model", "PerplexitySlider(", {}),
    "sparsegpt_stepper": Still("05_sparsegpt", _STEPPER + "sparsity", {}),
    "sparsegpt_stepper_cholesky": Still("05_sparsegpt", _STEPPER + "sparsity", {"form": "cholesky", "step": 8}),
    "sparsegpt_stepper_layer": Still("05_sparsegpt", _STEPPER + 'view="layer"', {"hessian": _CORRELATED}),
    "sparsegpt_stepper_blocks": Still("05b_sparsegpt_model", _STEPPER + 'view="blocks"', {}),
    "swap_row": Still("05c_after_sparsegpt", "SwapRow(", {"swaps": [[11, 7], [10, 0], [2, 11]]}),
    "perplexity_slider_smollm2": Still("05c_after_sparsegpt", "PerplexitySlider(", {"pattern": "50 %"}),
    "gpt_writer": Still("05b_sparsegpt_model", "GPTWriter(", {}),
    "gpt_writer_refit": Still("05b_sparsegpt_model", "GPTWriter(", {"method": "sparsegpt+refit"}),
    "two_four_group": Still("06_two_four", "TwoFourGroup(", {}),
    "roofline_explorer": Still("06b_two_four_pays", "RooflineExplorer(", {"tokens": 16}),
    "roofline_explorer_prefill": Still("06b_two_four_pays", "RooflineExplorer(", {"tokens": 2048}),
    "pareto_front": Still("07_comparison", "ParetoFront(", {}),
    "decision_helper": Still("07_comparison", "DecisionHelper(", {}),
}


def still(name: str, alt: str) -> Image:
    """The picture `name` of `STILLS`, to be shown by a notebook; `alt` says what is in it."""
    check_choice("still", name, STILLS)
    return Image(FOLDER / f"{name}.png", width=WIDTH, alt=alt)


def take_all(folder: Path = FOLDER) -> Iterator[Path]:
    """Take all `STILLS` and write them into `folder`; yield the paths."""
    with chromium() as browser, page_of(browser, {name: saved(each) for name, each in STILLS.items()}) as page:
        for name in STILLS:
            path = folder / f"{name}.png"
            picture = PIL.Image.open(io.BytesIO(page.locator(f"#{name}").screenshot())).convert("RGB")
            # 64 colors are enough for a drawing, and need a quarter of the bytes.
            small = picture.quantize(64, PIL.Image.Quantize.MAXCOVERAGE, kmeans=1, dither=0)
            with written_whole(path) as temporary:
                small.save(temporary, "PNG", optimize=True)
            yield path


@contextlib.contextmanager
def chromium() -> Iterator[Any]:
    """A browser without a window, as Playwright gives it; FileNotFoundError where there is none."""
    from playwright.sync_api import sync_playwright

    path = chromium_path()
    if path is None:
        install = "apt-get install --no-install-recommends chromium-headless-shell"
        raise FileNotFoundError(f"no Chromium on PATH (Debian: {install})")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=_FLAGS)
        yield browser
        browser.close()


@contextlib.contextmanager
def page_of(browser: Any, models: dict[str, dict[str, Any]]) -> Iterator[Any]:
    """A page without network on which the own scripts of saved models drew them, each in an element with its name."""
    context = browser.new_context(viewport={"width": WIDTH, "height": 900}, device_scale_factor=SCALE, offline=True)
    context.set_default_timeout(300_000)  # a busy machine is no failure
    page = context.new_page()
    # Each begins at a whole pixel, whatever the heights of those above: else they would change its last row.
    places = "".join(
        f"<div id='{name}' style='position: absolute; top: {3000 * index}px; width: 100%'>{place(name, model)}</div>"
        for index, (name, model) in enumerate(models.items())
    )
    page.set_content(f"<!doctype html><style>{_style()} body {{ margin: 0; }}</style>{places}")
    page.evaluate("Promise.all(['', 'bold '].map((weight) => document.fonts.load(`${weight}12px Still`)))")
    page.add_script_tag(content=STARTER, type="module")
    page.wait_for_function(_DRAWN)
    yield page
    context.close()


@functools.cache
def _style() -> str:
    """The font that the other figures have: a text then takes the same room on every machine."""
    import matplotlib

    faces = ""
    for weight, file in (("normal", "DejaVuSans.ttf"), ("bold", "DejaVuSans-Bold.ttf")):
        font = base64.b64encode(Path(matplotlib.get_data_path(), "fonts", "ttf", file).read_bytes()).decode()
        faces += f"@font-face {{ font-family: Still; font-weight: {weight}; src: url(data:font/ttf;base64,{font}); }}"
    return f"{faces} :root {{ --jp-ui-font-family: Still; }}"


def saved(each: Still) -> dict[str, Any]:
    """The state of a still's widget, as a notebook saves it."""
    widget = widget_of(each.notebook, each.call)
    usual = {trait: getattr(widget, trait) for trait in each.state}
    try:
        for trait, value in each.state.items():
            setattr(widget, trait, value)
        return Widget.get_manager_state(widgets=[widget])["state"][widget.model_id]
    finally:
        for trait, value in usual.items():
            setattr(widget, trait, value)


@functools.cache
def widget_of(notebook: str, call: str) -> Widget:
    """What the cell with `call` shows: it is run, and of the cells before it those that it needs."""
    read = read_notebook(CHECKOUT / "notebooks" / f"{notebook}.ipynb")
    (last,) = (index for index, cell in enumerate(read.cells) if cell.cell_type == "code" and call in cell.source)
    *before, shown = (line for index in needed(read, [last]) for line in ast.parse(read.cells[index].source).body)
    scope: dict[str, Any] = {"display": lambda *shown, **how: None}  # a kernel has it; here nobody looks
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        exec(compile(ast.Module(before, []), notebook, "exec"), scope)
        return eval(compile(ast.Expression(shown.value), notebook, "eval"), scope)
