"""What leaves the notebooks: pages for hand-outs, slides and the site, all of which work with no network.

`live` keeps widgets alive on a page, `MATHJAX` is the script that typesets formulas there.
"""

from pathlib import Path

from pruning_lib.teaching.publishing.live import live

MATHJAX = Path(__file__).parent / "vendor" / "mathjax-tex-svg.js"

__all__ = ["MATHJAX", "live"]
