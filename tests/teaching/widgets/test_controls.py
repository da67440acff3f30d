"""Every control of every widget at its least, usual and greatest value, as the page sends them; no browser needed.

A new widget or a new trait that the page may set has to be entered here.
"""

import json
from typing import NamedTuple

import anywidget
import pytest
import torch
from sparsegpt_states import correlated
from widgets_used import every

from pruning_lib.acceleration.two_four import GPUS
from pruning_lib.files import CHECKOUT
from pruning_lib.teaching import recorded_lenet
from pruning_lib.teaching.widgets import (
    at_initialization,
    damped_deletions,
    decision_helper,
    gpt_writer,
    inverse_hessian,
    lambda_paths,
    lasso_explorer,
    layer_race,
    live_network,
    pareto_front,
    perplexity_slider,
    predict,
    prune_by_hand,
    roofline_explorer,
    sparsegpt_forms,
    sparsegpt_stepper,
    sparsity_explorer,
    surgery,
    swap_row,
    tangent_explorer,
    taylor,
    two_four_group,
)
from pruning_lib.workbench import monks
from pruning_lib.workbench.packed_gpt import PackedGPT
from tests.comparison_runs import made_up


class Case(NamedTuple):
    """A widget, and for each trait of the page's some values, least and greatest too."""

    widget: anywidget.AnyWidget
    values: dict[str, list]


def recorded(name: str) -> list[dict]:
    return json.loads((CHECKOUT / "figures" / "measured" / name).read_text(encoding="utf-8"))["runs"]


def a_sparsity_explorer() -> Case:
    generator = torch.Generator().manual_seed(0)
    weights = {"conv": torch.randn(4, 8, 3, 3, generator=generator), "fc": torch.randn(6, 8, generator=generator)}
    values = {"sparsity": [0.0, 0.5, 1.0], "scope": ["global", "layer"], "layer": ["conv", "fc"]}
    explorer = sparsity_explorer.SparsityExplorer(weights)
    return Case(explorer, values | {"structure": list(sparsity_explorer.STRUCTURES)})


def a_lasso_explorer() -> Case:
    explorer, limits = lasso_explorer.LassoExplorer(), lasso_explorer.LIMITS
    values = {name: [low, lasso_explorer.START[name], high] for name, (low, high) in limits.items()}
    values |= {"t": [0, 12, lasso_explorer.STEPS], "method": list(lasso_explorer.METHODS), "growing": [True, False]}
    return Case(explorer, values)


def a_layer_race() -> Case:
    scores = {"fc1.weight": torch.arange(1.0, 7.0).view(2, 3), "fc2.weight": torch.ones(1, 2)}
    return Case(layer_race.LayerRace({"SNIP": scores}), {"step": [0, 25, len(layer_race.SPARSITIES) - 1]})


def a_tangent_explorer() -> Case:
    network = {"first": torch.ones(1, 2), "second": torch.tensor([[1.0], [-1.0]])}
    samples = {"inputs": torch.ones(3, 2), "targets": torch.tensor([0, 1, 1])}
    values = {"connection": [0, 1, 3], "c": [[0.0] * 4, [1.0, 0.5, 0.0, 1.0], [1.0] * 4]}
    return Case(tangent_explorer.TangentExplorer(**network, **samples), values)


def a_live_network() -> Case:
    layers = [torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2)]
    values = {"sparsity": [0.0, 0.5, 1.0], "scope": ["global", "layer"], "image": [0, 1, 2]}
    network = live_network.LiveNetwork(torch.nn.Sequential(*layers), (torch.zeros(3, 1, 2, 2), torch.tensor([0, 1, 1])))
    return Case(network, values | {"structure": list(live_network.STRUCTURES)})


def masks_at_initialization() -> Case:
    recorded = recorded_lenet.load()
    values = {"sparsity": recorded.sparsities, "score": list(recorded.ranks), "image": [0, 1, 2]}
    network = at_initialization.AtInitialization(recorded, (torch.zeros(3, 1, 8, 8), torch.tensor([0, 1, 1])))
    return Case(network, values | {"stage": list(at_initialization.STAGES)})


def lambda_paths_of_a_record() -> Case:
    runs = recorded("03_sss_sweep.json")
    dense = next(run for run in runs if run["level"] == "dense")
    block = [run for run in runs if run["level"] == "block"]
    gammas = sorted({run["gamma"] for run in block})
    values = {"gamma": [gammas[0], gammas[len(gammas) // 2], gammas[-1]]}
    values["seed"] = sorted({run["seed"] for run in block if "scales" in run})
    explorer = lambda_paths.LambdaPaths(block, dense)
    return Case(explorer, values)


def a_surgery() -> Case:
    values = {name: [low, surgery.Surgery().trait_values()[name], high] for name, (low, high) in surgery.LIMITS.items()}
    return Case(surgery.Surgery(), values)


def a_swap_row() -> Case:
    starts = {"first": torch.arange(6) < 3, "last": torch.arange(6) >= 3}
    values = {"start": list(starts), "swaps": [[], [[0, 3]], [[0, 5], [5, 0]]], "out": [0, 2, 5], "back": [0, 3, 5]}
    return Case(swap_row.SwapRow(torch.arange(1.0, 7.0), torch.eye(6) + 0.5, starts), values)


def an_inverse_hessian() -> Case:
    task = monks.xor()
    values = {"weight": [0, 4, 8], "alpha": [1e-6, 1e-3, 1.0]}
    return Case(inverse_hessian.InverseHessian(task, monks.network(task)), values)


def monks_by_hand() -> Case:
    learned = {}
    for problem in (2, 3):
        task = monks.load(problem)
        learned[task.name] = prune_by_hand.Learned(task, monks.network(task), 0.01, (15, 100.0))
    widget = prune_by_hand.PruneByHand(learned, recorded("04_monks.json"))
    values = {"problem": ["MONK2", "MONK3"], "others": ["follow", "stay"]}
    values |= {"choice": ["OBS", "magnitude", "bias → out"], "deleted": [[], [0], [38, 3]]}
    return Case(widget, values)


def a_taylor() -> Case:
    t = [0.01 * 2**k for k in range(7)]
    curve = {"t": t, "true": [x**2 + x**3 for x in t], "first": [0.0] * 7, "second": [x**2 for x in t]}
    curve["diagonal"] = [x**2 / 2 for x in t]
    points = {name: dict.fromkeys(("across", "along"), curve) for name in ("early", "late")}
    values = {"point": ["early", "late"], "direction": ["across", "along"], "index": [0, 3, 6]}
    return Case(taylor.Taylor(points), values)


def damped_deletions_of_two() -> Case:
    table = torch.arange(1.0, 10.0).view(3, 3)
    methods = {"OBS": dict.fromkeys(damped_deletions.QUANTITIES, table)}
    methods["magnitude"] = dict.fromkeys(damped_deletions.QUANTITIES, table[:1])
    values = {"alpha": [1e-3, 1e-2, 1e-1], "deleted": [0, 1, 2]}
    return Case(damped_deletions.DampedDeletions(values["alpha"], methods), values)


def a_sparsegpt_stepper() -> Case:
    layer = sparsegpt_forms.example()
    values = {"step": [0, 3, 11], "form": list(sparsegpt_forms.FORMS), "view": list(sparsegpt_forms.VIEWS)}
    values["weight"] = [(-layer[0]).tolist(), [[-9.0] * 8] * 6]
    values["hessian"] = [correlated(layer[1], rho).tolist() for rho in (0.0, 0.5, 0.99)]
    stepper = sparsegpt_stepper.SparseGPTStepper(*layer)
    return Case(stepper, values)


def a_perplexity_slider() -> Case:
    slider = perplexity_slider.PerplexitySlider(
        runs := [
            run
            for run in recorded("05_language.json")
            if run["method"] != "wanda+refit" and "block 8" not in run["method"]
        ]
    )
    patterns = perplexity_slider.patterns(runs)
    values = {"pattern": [patterns[0], patterns[len(patterns) // 2], patterns[-1]]}
    return Case(slider, values)


def a_gpt_writer() -> Case:
    writer = gpt_writer.GPTWriter(packed := PackedGPT.load())
    _, *pruned = packed.about["variants"]
    values = {name: sorted({one[name] for one in pruned}) for name in ("method", "sparsity")}
    values |= {"prompt": ["x", writer.prompt, "ö" * 300], "written": [0, writer.written, packed.config.context - 1]}
    values |= {"temperature": [0.0, 0.5, gpt_writer.HOTTEST], "seed": [0, 2, gpt_writer.LAST_SEED]}
    return Case(writer, values)


def a_group() -> Case:
    ends = (-two_four_group.LIMIT, two_four_group.LIMIT)
    values = {"weights": [[end] * 32 for end in ends], "operands": [[end] * 4 for end in ends]}
    return Case(two_four_group.TwoFourGroup(), values | {"group": [0, 4, 7], "row": [-1, 3, 31]})


def a_roofline_explorer() -> Case:
    start, limits = roofline_explorer.START, roofline_explorer.LIMITS
    values = {name: [low, start[name], high] for name, (low, high) in limits.items()}
    values |= {"gpu": list(GPUS), "dtype": list(roofline_explorer.DTYPES), "share": [0.0, 0.5, 1.0]}
    return Case(roofline_explorer.RooflineExplorer(), values)


def a_decision_helper() -> Case:
    point = {
        "setting": 0.5,
        "bytes": 1.9,
        "macs": 2.0,
        "latency": [1.2],
        "cut": [90.0, 0.5, 3],
        "retrained": [95.0, 0.2, 3],
    }
    points = [point | {"sparsity": sparsity} for sparsity in (0.5, 0.9)]
    plain = {"time": "after", "structure": "unstructured", "data": "none", "points": points, "only": "other sparsities"}
    evidence = {
        "sparsities": [0.5, 0.9],
        "near": 0.01,
        "dense": [96.0, 0.1, 3],
        "dense_cut": [95.0, 0.1, 3],
        "about": "made for this test",
    }
    evidence["methods"] = [
        plain | {"name": "one", "label": "One"},
        plain | {"name": "two", "label": "Two", "data": "few"},
    ]
    values = {name: list(options) for name, options in decision_helper.CHOICES.items()}
    values |= {"sparsity": evidence["sparsities"], "loss": decision_helper.LOSSES}
    helper = decision_helper.DecisionHelper(evidence)
    return Case(helper, values)


def a_pareto_front() -> Case:
    front = pareto_front.ParetoFront({"one": made_up(), "two": made_up()})
    values = {"record": ["one", "two"], "cost": list(front.costs), "limit": pareto_front.LIMITS}
    return Case(front, values | {"point": ["SNIP at 90 %", "SSS, channels at 40 %", "n:m magnitude 2:4"]})


def a_prediction() -> Case:
    widget = predict.Predict("How many?", 90.0, limits=(50, 99))
    return Case(widget, {"guess": [50.0, 75.0, 99.0, None], "shown": [False, True]})


MAKERS = {
    "DecisionHelper": a_decision_helper,
    "ParetoFront": a_pareto_front,
    "SparsityExplorer": a_sparsity_explorer,
    "LassoExplorer": a_lasso_explorer,
    "LayerRace": a_layer_race,
    "TangentExplorer": a_tangent_explorer,
    "AtInitialization": masks_at_initialization,
    "LambdaPaths": lambda_paths_of_a_record,
    "LiveNetwork": a_live_network,
    "Surgery": a_surgery,
    "SwapRow": a_swap_row,
    "InverseHessian": an_inverse_hessian,
    "PruneByHand": monks_by_hand,
    "Taylor": a_taylor,
    "DampedDeletions": damped_deletions_of_two,
    "SparseGPTStepper": a_sparsegpt_stepper,
    "PerplexitySlider": a_perplexity_slider,
    "GPTWriter": a_gpt_writer,
    "Predict": a_prediction,
    "TwoFourGroup": a_group,
    "RooflineExplorer": a_roofline_explorer,
}


@pytest.mark.parametrize("name", sorted(every().keys() | MAKERS.keys()))
def test_every_value_that_the_page_may_send(name):
    widget, values = MAKERS[name]()
    own = widget.traits(sync=True).keys() - anywidget.AnyWidget.class_traits(sync=True).keys()
    controls = {trait for trait in own if not trait.startswith("_") and not widget.traits()[trait].read_only}
    assert controls == values.keys()
    usual = {trait: getattr(widget, trait) for trait in controls}
    seen = []
    widget.observe(lambda change: seen.append((change["name"], json.dumps(change["new"]))), sorted(controls))
    for trait, sent in values.items():
        for value in sent:
            widget.set_state({trait: value})  # what a message from the page calls
            assert getattr(widget, trait) == value
        widget.set_state({trait: usual[trait]})
        assert {new for what, new in seen if what == trait} >= {json.dumps(v) for v in sent if v != usual[trait]}
    assert {trait: getattr(widget, trait) for trait in controls} == usual
