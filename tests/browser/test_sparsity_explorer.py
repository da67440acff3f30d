"""The sparsity explorer in a real browser: in JupyterLab, without its kernel, and on a page that never had one."""

import nbformat
import pytest
import torch
from widget_page import PIXELS, all_drawn_anew, check_page, show

from pruning_lib.teaching.widgets.sparsity_explorer import SparsityExplorer, choose_masks

MAKE_WEIGHTS = """
generator = torch.Generator().manual_seed(0)
shapes = {"conv1": (8, 1, 3, 3), "conv2": (16, 8, 3, 3), "fc": (128, 128)}
weights = {name: torch.randn(shape, generator=generator) / shape[1] ** 0.5 for name, shape in shapes.items()}
"""
CELLS = [
    "from pathlib import Path\nimport torch\n"
    "from pruning_lib.teaching.widgets.sparsity_explorer import SparsityExplorer",
    MAKE_WEIGHTS,
    'explorer = SparsityExplorer(weights, sparsity=0.7, layer="fc")\nexplorer',
    # What Python sees goes to a file; what Python sets goes back to the page.
    "def follow(change):\n"
    '    Path("seen.txt").write_text(str(explorer.sparsity))\n'
    "    if explorer.sparsity == 0:\n"
    '        explorer.layer = "conv2"\n'
    'explorer.observe(follow, "sparsity")',
]
KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    scope = {"torch": torch}
    exec(MAKE_WEIGHTS, scope)
    return scope["weights"]


def sentence(weights, layer: str, *how) -> str:
    """What the live text has to say, from Python's masks."""
    masks = choose_masks(weights, *how)
    kept, total, size = int(masks[layer].sum()), masks[layer].numel(), weights[layer].double().abs()
    return (
        f"{layer}: {kept:,} of {total:,} weights stay, "
        f"with {100 * size[masks[layer]].sum() / size.sum():.1f} % of Σ|w|. All 3 layers: "
        f"{masks.kept:,} of {masks.total:,} weights stay, sparsity {100 * masks.sparsity:.1f} %."
    )


def test_explorer_in_jupyterlab(lab, page, page_errors, weights):
    from playwright.sync_api import expect

    cells = [nbformat.v4.new_code_cell(source) for source in CELLS]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=KERNEL), lab.folder / "explorer.ipynb")
    lab.open(page, "explorer.ipynb")
    widget = page.locator(".sparsity-explorer")
    slider, counts = widget.locator(".sparsity"), widget.locator("[role=status]")
    expect(counts).to_have_text(sentence(weights, "fc", 0.7))
    assert counts.get_attribute("aria-live") == "polite"

    # The keyboard moves the slider by 1 % (up and down too, which JupyterLab would like to have), and all is redrawn.
    before = page.evaluate(PIXELS)
    slider.focus()
    page.keyboard.press("ArrowRight")
    expect(counts).to_have_text(sentence(weights, "fc", 0.71))
    assert all_drawn_anew(page, before)
    page.keyboard.press("ArrowUp")
    expect(counts).to_have_text(sentence(weights, "fc", 0.72))
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowLeft")
    expect(counts).to_have_text(sentence(weights, "fc", 0.7))
    assert page.evaluate(PIXELS) == before
    expect(slider).to_be_focused()
    assert slider.evaluate("(element) => getComputedStyle(element).outlineStyle") != "none"

    widget.locator(".scope").select_option("layer")
    expect(counts).to_have_text(sentence(weights, "fc", 0.7, "unstructured", "layer"))
    widget.locator(".structure").select_option("rows")
    expect(counts).to_have_text(sentence(weights, "fc", 0.7, "rows"))
    expect(widget.locator(".scope")).to_be_disabled()
    widget.locator(".structure").select_option("2:4")
    expect(counts).to_have_text(sentence(weights, "fc", 0.7, "2:4"))
    expect(slider).to_be_disabled()
    note = "Nothing goes from conv1: 2:4 needs columns in groups of 4, and there are 9."
    expect(widget.locator(".note")).to_have_text(
        f"{note} 2:4 itself fixes scope and sparsity: 2 of every 4 neighbors stay."
    )
    widget.locator(".layer").select_option("conv1")
    expect(widget.locator(".note")).to_contain_text(note)
    expect(widget.locator(".structure option[value='4:8']")).to_be_disabled()
    widget.locator(".structure").select_option("stripes")
    expect(counts).to_have_text(sentence(weights, "conv1", 0.7, "stripes"))
    widget.locator(".structure").select_option("unstructured")
    widget.locator(".scope").select_option("global")

    # Python follows the page, and the page Python.
    slider.focus()
    page.keyboard.press("Home")
    expect(widget.locator(".layer")).to_have_value("conv2")
    expect(counts).to_have_text(sentence(weights, "conv2", 0.0))
    assert float((lab.folder / "seen.txt").read_text(encoding="utf-8")) == 0.0

    # A change of theme is drawn too.
    light = page.evaluate(PIXELS)
    page.evaluate("window.jupyterapp.commands.execute('apputils:change-theme', {theme: 'JupyterLab Dark'}); null")
    page.wait_for_function(f"(light) => {PIXELS}.every((url, i) => url !== light[i])", arg=light)
    assert page_errors == []

    # No message to a kernel is waited for: it goes on without one.
    lab.shut_down_kernels()
    widget.locator(".layer").select_option("fc")
    slider.focus()
    for _ in range(40):
        page.keyboard.press("ArrowRight")
    expect(counts).to_have_text(sentence(weights, "fc", 0.4))


def test_page_without_a_kernel(page, page_errors, weights):
    show(page, SparsityExplorer(weights, sparsity=0.9, layer="conv2"))
    counts = page.locator("[role=status]")
    counts.get_by_text(sentence(weights, "conv2", 0.9)).wait_for()
    page.locator(".sparsity").focus()
    page.keyboard.press("PageDown")
    counts.get_by_text(sentence(weights, "conv2", 0.8)).wait_for()
    check_page(page, page_errors)


def test_groups_names_and_bars(page, page_errors, weights):
    from playwright.sync_api import expect

    show(page, SparsityExplorer({f"{name}.weight": weight for name, weight in weights.items()}, structure="2:4"), 1000)
    caption, bars = page.locator(".matrix figcaption"), page.locator(".bars canvas")
    bars.click(position={"x": 200, "y": 4 + 22 * 2 + 11})
    expect(page.locator(".layer")).to_have_value("fc.weight")
    expect(page.locator(".layer option").last).to_have_text("fc (128 × 128)")
    expect(caption).to_contain_text("The first 16 × 32 weights, a line after every 4: positive")
    page.locator(".structure").select_option("4:8")
    expect(caption).to_contain_text("The first 16 × 32 weights, a line after every 8: positive")
    bars.click(position={"x": 200, "y": 4 + 22 + 11})
    page.locator(".structure").select_option("stripes")
    expect(caption).to_contain_text("The first 16 × 27 weights, a line after every 9: positive")
    expect(page.locator(".note")).to_contain_text(
        "Nothing goes from fc: only the filters of a convolution have stripes."
    )
    page.locator(".structure").select_option("rows")
    expect(caption).not_to_contain_text("The first")
    page.locator(".bars canvas").click(position={"x": 200, "y": 4 + 22 * 3 + 11})  # the axis, no layer
    expect(page.locator("[role=status]")).to_contain_text("conv2: ")
    check_page(page, page_errors)
