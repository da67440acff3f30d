"""Bars for the front page: what pruning half of a layer's weights saves in time, by the form they are stored in."""

from matplotlib.figure import Figure

from pruning_lib.reproduction import measured
from pruning_lib.teaching.figures import style
from pruning_lib.teaching.palette import ACCENT, GOOD, MUTED

FORMS = {  # of the record: what a reader sees
    "masked 50 %": "half of the weights set to zero",
    "CSR 50 %": "half of the weights stored, in a sparse format",
    "CSR 95 %": "5 % of the weights stored, in a sparse format",
    "neurons removed": "half of the weights taken out, with their neurons",
}


@style.in_style
def speeds() -> Figure:
    """One bar a form, in the time that one batch takes: 1 is the dense network's."""
    record = measured.read_record("06_two_four.paper.json")
    found = {entry["name"]: entry["value"] for entry in record["headline"]}
    times = {shown: 1 / found[f"speed, {form}"] for form, shown in FORMS.items()}
    figure = style.new_figure(style.WIDTH, 2.0)
    ax = figure.subplots()
    colors = [MUTED if abs(time - 1) < 0.05 else ACCENT if time > 1 else GOOD for time in times.values()]
    ax.barh(list(times), list(times.values()), color=colors, height=0.62)
    ax.invert_yaxis()
    ax.axvline(1, color=style.INK, linewidth=0.8, linestyle=":")
    for row, time in enumerate(times.values()):
        ax.text(time + 0.03, row, f"{time:.2f}", va="center")
    ax.set_xlim(0, max(times.values()) * 1.1)
    ax.set_xticks([0, 1, 2])
    ax.tick_params(axis="y", length=0)
    width, batch = record["parameters"]["width"], max(record["parameters"]["batches"])
    threads = "one CPU thread" if record["threads"] == 1 else f"{record['threads']} CPU threads"
    style.plain_axes(ax, f"time; dense = 1 (two hidden layers of {width}, {batch} images, {threads})", "")
    ax.set_title("Zeros save no time until the layer shrinks, or hardly any weights are left", loc="left")
    return figure
