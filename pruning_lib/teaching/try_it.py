"""One page to try the suite with nothing installed: widgets of the notebooks, alive, in a file that opens anywhere."""

from pathlib import Path

from pruning_lib.files import written_whole
from pruning_lib.teaching.publishing.live import STARTER, place
from pruning_lib.teaching.stills import STILLS, saved

PARTS = {  # stills by name: heading, what to try, how the widget stands at first
    "live_network": (
        "How much can go?",
        "A network of 50,200 weights reads digits here, in your browser. Move <b>sparsity</b>. When does the accuracy "
        "fall? Then take complete neurons in place of single weights. A click on a digit shows its outputs.",
        {"sparsity": 0.0},
    ),
    "surgery": (
        "Which weight, and what about the others?",
        "Two weights and the error around their minimum. Magnitude takes the smaller weight. Optimal Brain Damage "
        "(OBD) looks at the curvature, too. Optimal Brain Surgeon (OBS) asks what it costs once the other weight has "
        "made up for it. Tilt the valley (<b>correlation</b>), and see who deletes what, at what error.",
        {},
    ),
    "sparsegpt_stepper": (
        "And in a language model?",
        "SparseGPT goes through a layer column by column: some weights go, and those further right make up for them. "
        "How much each moves stands in B, the inverse of H = XXᵀ of the layer's inputs. Press <b>step</b>; under "
        "<b>change the layer</b> edit a weight.",
        {"step": 0},
    ),
    "roofline_explorer": (
        "When does it save time?",
        "NVIDIA's GPUs skip two zeros in every four weights. That promises twice the speed, where products are the "
        "limit. Where reading is, less comes of it. Move the number of tokens.",
        {},
    ),
}
_STYLE = """body { max-width: 880px; margin: 2em auto; padding: 0 1em; font: 17px/1.55 system-ui, sans-serif }
h1, h2 { line-height: 1.2 } h2 { margin-top: 2.2em } .live-widget { margin: 1em 0 } small { opacity: 0.75 }"""


def page() -> str:
    """The page's HTML; it needs neither a network nor another file."""
    parts = [
        f"<h2>{heading}</h2>\n<p>{text} <small>Notebook {STILLS[name].notebook.split('_')[0]}.</small></p>\n"
        + place(name, saved(STILLS[name]._replace(state=state)))
        for name, (heading, text, state) in PARTS.items()
    ]
    title = "Prune something, in five minutes"
    head = '<meta charset="utf-8">\n<meta name="viewport" content="width=device-width, initial-scale=1">'
    return "\n".join(
        [
            f'<!DOCTYPE html>\n<html lang="en">\n<head>\n{head}\n<meta name="color-scheme" content="light dark">',
            f"<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>",
            "<p>Four of the widgets of <em>Neural-network pruning, taught</em>. All is computed in this page. "
            "Marks such as (GPT-7) are equations of the notebooks.</p>",
            *parts,
            f'<script type="module">{STARTER}</script>\n</body>\n</html>\n',
        ]
    )


def write(path: Path) -> Path:
    """Write the page to `path`."""
    with written_whole(path) as temporary:
        Path(temporary).write_text(page(), encoding="utf-8")
    return path
