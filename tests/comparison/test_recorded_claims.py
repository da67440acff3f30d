"""What the records hold that notebook 07 speaks of; its rounded numbers are read from its text."""

import json

import pytest

from pruning_lib.comparison.advice import Contrast
from pruning_lib.comparison.statistics import by_seed, spread
from pruning_lib.files import CHECKOUT
from pruning_lib.reproduction import measured

CUT = "pruned_accuracy"
CLEAR = [  # "ahead", "behind", "beat": the interval leaves zero out, with this sign
    *(Contrast("magnitude", "magnitude_layer", s) for s in (0.9, 0.95, 0.98, 0.99)),
    Contrast("magnitude_spared", "magnitude_layer", 0.98),
    Contrast("magnitude", "magnitude_spared", 0.98),
    *(Contrast("snip_moved", "random", s) for s in (0.95, 0.98)),
    *(Contrast("magnitude", "init", s) for s in (0.95, 0.98, 0.99)),
    Contrast("synflow", "magnitude", 0.9),
    Contrast("iterative", "magnitude", 0.95),
    Contrast("gradual", "magnitude", 0.98),
    Contrast("filters", "small", 0.8),
    Contrast("magnitude_refit", "magnitude_layer", 0.8, CUT),
    Contrast("magnitude_refit", "magnitude_layer", 0.95, CUT),
    Contrast("magnitude_refit", "sparsegpt", 0.95, CUT),
    Contrast("magnitude", "sparsegpt", 0.98),
    *(Contrast("filters", "magnitude_layer", s) for s in (0.9, 0.95, 0.98)),
    *(Contrast("iterative", "filters", s) for s in (0.95, 0.98)),
    Contrast("synflow", "snip", 0.99),
]
OPEN = [  # "undecided", "no gain is seen"
    *(Contrast("snip", "snip_moved", s) for s in (0.95, 0.98)),
    *(Contrast("synflow", "magnitude", s) for s in (0.5, 0.7, 0.8, 0.95, 0.98, 0.99)),
    *(Contrast("gradual", "magnitude", s) for s in (0.5, 0.7, 0.8, 0.9, 0.95, 0.99)),
    *(Contrast("iterative", "magnitude", s) for s in (0.5, 0.7, 0.8, 0.9, 0.98, 0.99)),
    Contrast("dense_twice", "dense", 0.0),
    Contrast("magnitude_spared", "sparsegpt_spared", 0.98),
    *(Contrast("magnitude_refit", "magnitude_layer", s, CUT) for s in (0.5, 0.9, 0.98, 0.99)),
    *(Contrast("magnitude_refit", "magnitude_layer", s) for s in (0.95, 0.98)),
    Contrast("magnitude_spared", "filters", 0.98),
    *(Contrast("filters", "small", s) for s in (0.5, 0.7, 0.9, 0.95, 0.98, 0.99)),
]


@pytest.fixture(scope="module")
def runs():
    return {
        name: [run for run in measured.read_record(f"07_comparison{name}.json")["runs"] if "failed" not in run]
        for name in ("", "_resnet8")
    }


@pytest.fixture(scope="module")
def texts():
    cells = json.loads((CHECKOUT / "notebooks" / "07_comparison.ipynb").read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]


@pytest.mark.parametrize("contrast", CLEAR, ids=lambda contrast: contrast.label)
def test_clear(runs, contrast):
    assert contrast.difference(runs[""]).verdict == "higher"


@pytest.mark.parametrize("contrast", OPEN, ids=lambda contrast: contrast.label)
def test_undecided(runs, contrast):
    assert contrast.difference(runs[""]).verdict == "open"


def speed_of_filters(timed):
    """Times as fast as dense with 90 % of the weights removed as filters, for one image and for 64."""
    batches = measured.read_record(timed)["runs"]
    return [run["latency"]["dense"][1] / run["latency"]["filters 0.9"][1] for run in batches]


def test_numbers_to_remember(runs, texts):
    (remember,) = (text for text in texts if text.startswith("## What to remember"))

    def points(name, other, s, of="", **more):
        return Contrast(name, other, s, **more).difference(runs[of])

    where, first = (points(name, "magnitude_layer", 0.98).mean for name in ("magnitude", "magnitude_spared"))
    which = points("snip", "snip_moved", 0.98).mean
    shuffled = spread(100 * value for value in by_seed(runs[""], "snip_moved", 0.98).values()).mean
    cut = points("magnitude_refit", "magnitude_layer", 0.95, quantity=CUT)
    faster = speed_of_filters("07_latency.json")
    for said in (
        f"{where:.1f} points ahead of equal shares; sparing the first layer brings {first:.1f}",
        f"from chance to {shuffled:.1f} %; its choice of single weights brings {which:.1f}",
        f"trained weights are {points('magnitude', 'init', 0.99).mean:.1f} points ahead of sizes of random",
        f"Rounds bring {points('iterative', 'magnitude', 0.95).mean:.1f} points at 95 %",
        f"{cut.mean:.0f} points at 95 % ({cut.low:+.0f} to {cut.high:+.0f})",
        f"{faster[0]:.2f} times as fast for one image, {faster[1]:.2f} for 64",
        f"{-points('filters', 'small', 0.95, '_resnet8').mean:.1f} points behind building small",
    ):
        assert said in remember, said


def test_the_second_network(runs, texts):
    (told,) = (text for text in texts if text.startswith("**Half of the clear differences"))
    lost = -Contrast("filters", "dense", 0.9, against=0.0).difference(runs["_resnet8"]).mean
    faster = speed_of_filters("07_latency_resnet8.json")[0]
    assert f"costs {lost:.1f} points at 90 % for {faster:.2f} times the speed" in told
    where, first = (
        Contrast(one, "magnitude_layer", 0.98).difference(runs["_resnet8"]) for one in ("magnitude", "magnitude_spared")
    )
    assert first.verdict == "open" and where.verdict == "higher"
    assert f"undecided (−{-first.low:.0f} to +{first.high:.0f})" in told
    beyond = Contrast("magnitude", "magnitude_spared", 0.98).difference(runs["_resnet8"])
    assert beyond.verdict == "higher" and f"{beyond.mean:.1f} points ahead of that, clear" in told
    *some, last = (f"{100 * a:.1f}" for a in by_seed(runs["_resnet8"], "magnitude", 0.7, CUT).values())
    assert f"leaves {', '.join(some)} and {last} %" in told
