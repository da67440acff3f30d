"""What the recorded comparison advises: an action, its measured lead over its rivals, and what would change it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from pruning_lib.comparison.statistics import Difference, Runs, by_seed, difference
from pruning_lib.comparison.variants import EVERY

# 2:4 at best: a complete BERT (table in PyTorch's tutorial on semi-structured sparsity: batch 16; 0.71 at batch 4),
# one layer of OPT-175B on an A100 (Frantar, Alistarh 2023).
PUBLISHED = {"low": 1.23, "high": 1.79}


class Contrast(NamedTuple):
    """Two methods at one setting (of the second one `against`, where that is another), retrained or as cut."""

    one: str
    other: str
    setting: float | tuple[int, int]
    quantity: str = "accuracy"
    against: float | None = None

    @property
    def label(self) -> str:
        setting = "{}:{}".format(*self.setting) if isinstance(self.setting, tuple) else f"{100 * self.setting:g} %"
        as_cut = ", as cut" if self.quantity == "pruned_accuracy" else ""
        return f"{setting}{as_cut}: {EVERY[self.one].label} − {EVERY[self.other].label}"

    def difference(self, runs: Runs) -> Difference:
        """CMP-2, in points of accuracy, over the seeds that both have."""
        settings = {self.one: self.setting, self.other: self.setting if self.against is None else self.against}
        values = [by_seed(runs, name, setting, self.quantity) for name, setting in settings.items()]
        return difference(*({seed: 100 * value for seed, value in each.items()} for each in values))


@dataclass(frozen=True)
class Advice:
    """`when` you are in this situation, `do` this; `also` is evidence that is no difference of two accuracies."""

    when: str
    do: str
    contrasts: tuple[Contrast, ...]
    changed_by: str
    also: str = ""


def advise(timed: Mapping[str, Any], language: Mapping[str, Any]) -> Iterator[Advice]:
    """All advice of notebook 07, in the order in which one asks.

    Parameters
    ----------
    timed : record of benchmarks/comparison_latency.py
    language : record of benchmarks/sparsegpt_language.py
    """
    perplexity = {(run["method"], run["pattern"]): run["perplexity"] for run in language["runs"]}
    seconds = {run["batch"]: run["latency"]["dense"][1] / run["latency"]["filters 0.9"][1] for run in timed["runs"]}
    cut = "pruned_accuracy"
    yield Advice(
        "You train from the start anyway",
        "Prune gradually; it pays at 98 and 99 %",
        (Contrast("gradual", "snip", 0.98), Contrast("gradual", "snip", 0.99), Contrast("gradual", "iterative", 0.99)),
        "a training run so long that rounds after it cost little",
    )
    yield Advice(
        "You have a trained network and can retrain",
        "Magnitude, up to 98 % in one shot",
        tuple(Contrast("iterative", "magnitude", sparsity) for sparsity in (0.95, 0.98, 0.99)),
        "more seeds at 99 %, where rounds may be worth half a point; other data",
    )
    yield Advice(
        "… and choose its weights",
        "From 90 % on choose over all layers, or at least spare the first",
        (
            Contrast("magnitude", "magnitude_layer", 0.9),
            Contrast("magnitude", "magnitude_layer", 0.98),
            Contrast("magnitude_spared", "magnitude_layer", 0.98),
        ),
        "layers of like size: then equal shares do no harm",
    )
    yield Advice(
        "The mask must be fixed before the first step",
        "SynFlow, or up to 98 % SNIP: how many weights a layer keeps matters most",
        (
            Contrast("synflow", "snip", 0.99),
            Contrast("snip_moved", "random", 0.98),
            Contrast("snip", "snip_moved", 0.98),
        ),
        "a network in which SNIP, shuffled within its layers, falls behind",
    )
    yield Advice(
        "You have no data at all",
        "Global magnitude, up to 70 %",
        (Contrast("magnitude", "dense_twice", 0.7, cut, 0.0),),
        "a model that loses far earlier, as language models do",
    )
    yield Advice(
        "No training, a few samples, equal shares",
        "Make up for what goes: least squares, SparseGPT",
        (Contrast("magnitude_refit", "magnitude_layer", 0.8, cut),),
        "time to retrain, which mends more",
        f"Perplexity of a small GPT at 50 %: {perplexity['sparsegpt', '50 %']:.2f} by SparseGPT, "
        f"{perplexity['magnitude', '50 %']:.2f} by magnitude",
    )
    yield Advice(
        "You want seconds on a CPU",
        "Remove structure",
        (Contrast("filters", "dense", 0.9, against=0.0),),
        "kernels that use single zeros",
        "90 % removed, times as fast as dense: "
        + ", ".join(f"{x:.2f} for {n} image{'s' * (n > 1)}" for n, x in seconds.items()),
    )
    yield Advice(
        "You have an Ampere GPU",
        "2:4 costs this network little; time it",
        (Contrast("n_of_m", "dense", (2, 4), against=0.0),),
        "layers too small to fill the GPU",
        f"Published at best: {PUBLISHED['low']} × as fast for BERT, {PUBLISHED['high']} × for one large layer",
    )
    yield Advice(
        "Prune, or build it small?",
        "Remove filters if the network is trained; build it small if there is none",
        (Contrast("filters", "small", 0.8), Contrast("filters", "small", 0.95)),
        "the small one trained for as many operations, which was not run here",
    )
