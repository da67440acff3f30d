"""The explorer's state, and that JavaScript chooses exactly as Python does."""

import base64
import subprocess
import sys

import pytest
import torch
from node import computed

from pruning_lib.structure import keep_largest, keep_n_of_m, keep_stripes
from pruning_lib.structure.selection import count_kept
from pruning_lib.teaching.widgets.javascript import HERE, bundle
from pruning_lib.teaching.widgets.sparsity_explorer import STRUCTURES, SparsityExplorer, choose_masks

SHAPES = {"conv1": (5, 1, 3, 3), "conv2": (6, 8, 3, 3), "fc1": (16, 24), "fc2": (3, 5)}


def random_weights(seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=generator) for name, shape in SHAPES.items()}


def tied_weights() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {name: torch.randint(-2, 3, shape, generator=generator) / 4 for name, shape in SHAPES.items()}


@pytest.mark.parametrize("scope", ["global", "layer"])
@pytest.mark.parametrize("make", [random_weights, tied_weights])
def test_single_weights_are_chosen_by_the_library(make, scope):
    weights = make()
    expected = keep_largest({name: weight.abs() for name, weight in weights.items()}, 0.785, scope)
    masks = choose_masks(weights, 0.785, "unstructured", scope)
    assert all(masks[name].equal(expected[name]) for name in weights)


def test_rows_and_columns_by_hand():
    weights = {
        "fc": torch.tensor([[1.0, -5.0, 0.0], [2.0, 2.0, 1.0], [0.5, 0.5, 6.0]])
    }  # rows 6, 5, 7; columns 3.5, 7.5, 7
    assert choose_masks(weights, 1 / 3, "rows")["fc"][:, 0].tolist() == [True, False, True]
    assert choose_masks(weights, 1 / 3, "columns")["fc"][0].tolist() == [False, True, True]


def test_layers_that_cannot_have_the_structure_stay_whole():
    weights = random_weights()
    masks = choose_masks(weights, 0.5, "2:4")
    able = {name: weights[name].abs() for name in ("conv2", "fc1")}
    assert all(masks[name].equal(mask) for name, mask in keep_n_of_m(able, 2, 4).items())
    assert masks["conv1"].all() and masks["fc2"].all()
    masks = choose_masks(weights, 0.7, "stripes")
    expected = keep_stripes({name: weight.abs() for name, weight in weights.items()}, 0.7, "layer")
    assert all(masks[name].equal(expected[name]) for name in weights)


def test_state_follows_the_traits():
    explorer = SparsityExplorer(random_weights(), sparsity=0.8, scope="layer", layer="fc1")
    kept = {name: int(mask.sum()) for name, mask in explorer.masks().items()}
    assert kept == {"conv1": 9, "conv2": 86, "fc1": 77, "fc2": 3}
    explorer.sparsity = 0
    assert {name: int(mask.sum()) for name, mask in explorer.masks().items()} == {
        "conv1": 45,
        "conv2": 432,
        "fc1": 384,
        "fc2": 15,
    }
    explorer.structure = "1:4"
    assert explorer.masks()["fc1"].sum() == 96


def test_all_weights_travel_as_float32_in_order():
    weights = random_weights()
    sent = torch.frombuffer(bytearray(SparsityExplorer(weights).values), dtype=torch.float32)
    assert sent.equal(torch.cat([weight.flatten() for weight in weights.values()]))


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"sparsity": 1.01}, "sparsity is 1.01"),
        ({"sparsity": float("nan")}, "sparsity is nan"),
        ({"structure": "diagonal"}, "structure is 'diagonal'"),
        ({"scope": "block"}, "scope is 'block'"),
        ({"layer": "fc9"}, "layer is 'fc9'"),
    ],
)
def test_bad_values_are_refused_at_the_start_and_later(bad, message):
    with pytest.raises(ValueError, match=message):
        SparsityExplorer(random_weights(), **bad)
    explorer = SparsityExplorer(random_weights())
    ((name, value),) = bad.items()
    before = getattr(explorer, name)
    with pytest.raises(ValueError, match=message):
        setattr(explorer, name, value)
    assert getattr(explorer, name) == before


@pytest.mark.parametrize(
    ("weights", "structure", "message"),
    [
        ({}, "rows", "weights is empty"),
        ({"a": torch.tensor([[1.0, float("inf")]])}, "rows", r"weights\['a'\] contains inf"),
        ({"a": torch.ones(3)}, "rows", r"shape \(3,\), must be \(out, in\)"),
        ({"a": torch.ones(0, 3)}, "rows", "not empty"),
        ({"a": torch.ones(2, 9)}, "2:4", "a: 2:4 needs columns in groups of 4, and there are 9"),
        ({"a": torch.ones(2, 8)}, "stripes", "must be possible for some layer"),
    ],
)
def test_bad_weights_are_refused(weights, structure, message):
    for call in (SparsityExplorer, choose_masks):
        with pytest.raises(ValueError, match=message):
            call(weights, structure=structure)


def test_blocks_at_the_edge_count_their_own_weights_only(tmp_path):
    given = {"layer": {"rows": 3, "cols": 3}, "keep": [1, 1, 0, 1, 0, 0, 0, 1, 1]}
    expression = "[...keptShares(given.layer, given.keep, [2, 2])]"
    assert computed(tmp_path, "sparsity_explorer", "keptShares", expression, given) == [0.75, 0.0, 0.5, 1.0]


def test_import_of_the_package_stays_light():
    code = (
        "import sys, pruning_lib.teaching.widgets; sys.exit('anywidget' in sys.modules or 'matplotlib' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_bundle_holds_each_module_once_and_imports_none():
    text = bundle("sparsity_explorer.js")
    assert 'from "./' not in text
    assert text.count("export function chooser(") == text.count("export function sheet(") == 1
    assert text.count("export default") == 1


ANSWERS = """((choosers) =>
  given.cases.map(([which, structure, scope, sparsity]) =>
    choosers[which](structure, scope, sparsity).map(({ kept, keep }) => [kept, keep().join("")])))
  (given.weights.map(([layers, values]) => chooser(unpack(layers, Buffer.from(values, "base64")))))"""


def test_javascript_counts_as_python_does(tmp_path):
    cases = [(total, thousandths / 1000) for total in [*range(1, 41), 150, 999_999] for thousandths in range(1001)]
    expression = "given.map(([total, sparsity]) => roundHalfEven(total * (1 - sparsity)))"
    found = computed(tmp_path, "sparsity_choice", "roundHalfEven", expression, cases)
    assert found == [count_kept(*case) for case in cases]


def test_javascript_chooses_the_same_weights(tmp_path):
    constant = {name: torch.full(shape, -0.5) for name, shape in SHAPES.items()}
    zeros = {name: torch.zeros(shape) * -1 for name, shape in SHAPES.items()}  # minus zero: equal to zero, other bits
    mirrored = {name: torch.cat([weight, -weight.flip(1)]) for name, weight in random_weights(2).items()}  # tied sums
    sets = [random_weights(), tied_weights(), constant, zeros, mirrored]
    explorers = [SparsityExplorer(weights) for weights in sets]
    levels = [0.0, 0.005, 0.123, 0.25, 0.5, 0.785, 0.9, 0.995, 1.0]
    cases = [
        (which, structure, scope, sparsity)
        for which in range(len(sets))
        for structure in STRUCTURES
        for scope in (("global", "layer") if structure == "unstructured" else ("global",))
        for sparsity in levels
    ]
    weights = [(explorer.layers, base64.b64encode(explorer.values).decode()) for explorer in explorers]
    answers = computed(tmp_path, "sparsity_choice", "chooser, unpack", ANSWERS, {"weights": weights, "cases": cases})
    assert len(answers) == len(cases) == 5 * 8 * 9
    for (which, *how), answer in zip(cases, answers, strict=True):
        structure, scope, sparsity = how
        masks = choose_masks(sets[which], sparsity, structure, scope)
        expected = [[int(m.sum()), "".join("01"[int(k)] for k in m.flatten().tolist())] for m in masks.values()]
        assert answer == expected, f"weights {which}, {structure}, {scope}, sparsity {sparsity}"


def test_every_structure_is_known_to_both_languages():
    script = (HERE / "sparsity_choice.js").read_text(encoding="utf-8")
    for structure in STRUCTURES:
        assert ":" in structure or f"\n  {structure}: (" in script
