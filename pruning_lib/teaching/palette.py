"""One visual language for figures and widgets, from the color-blind-safe set of Okabe and Ito (2008).

Color never speaks alone: kept is a filled square, pruned an empty one with a thin outline, updated a square with
a dot, in widgets one with its change in figures.
"""

KEPT = "#0072B2"
PRUNED = "#C8CDD2"
UPDATED = "#E69F00"
ACCENT = "#D55E00"
GOOD = "#009E73"
MUTED = "#7A828A"  # readable on white and on near-black: text and axes of figures that must serve both themes
SERIES = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#7A828A"]
MARKERS = ["o", "s", "^", "D", "v", "P", "X"]
