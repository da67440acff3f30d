"""Schedules, what a round does, and that a run which was killed ends as if it had not been."""

import copy
import math
import os
import signal
import subprocess
import sys
import time
import warnings
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pruning_lib import tensors
from pruning_lib.after_training import magnitude, retraining
from pruning_lib.before_training import snip
from pruning_lib.resuming import identity
from pruning_lib.structure import Masks, keep_largest, keep_n_of_m, prunable, remove
from pruning_lib.tensors import read_tensors, write_tensors

GENERATOR = torch.Generator().manual_seed(0)
INPUTS = torch.randn(64, 8, generator=GENERATOR)
TARGETS = (INPUTS[:, :4].sum(1) > INPUTS[:, 4:].sum(1)).long()


def network(seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(8, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Dropout(0.2), nn.Linear(12, 2))


def train(model, number, seed, steps=6, lr=0.05):
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), lr, momentum=0.9, weight_decay=1e-3)
    for _ in range(steps):
        optimizer.zero_grad()
        F.cross_entropy(model(INPUTS), TARGETS).backward()
        optimizer.step()


def measure(model):
    modes = model.training
    model.eval()
    with torch.no_grad():
        outputs = model(INPUTS)
    model.train(modes)
    return {
        "loss": F.cross_entropy(outputs, TARGETS).item(),
        "accuracy": (outputs.argmax(1) == TARGETS).float().mean().item(),
    }


def run(model, sparsities=(0.3, 0.6, 0.8), **options):
    options = {"train": train, "measure": measure, "seed": 3, "progress": False, **options}
    return retraining.run(model, sparsities=list(sparsities), **options)


def trained(seed=0):
    model = network(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        train(model, 0, 0, steps=20)
    return model


def states(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def assert_same(model, state):
    assert model.state_dict().keys() == state.keys()
    for name, value in model.state_dict().items():
        assert torch.equal(value, state[name]), name


def without_seconds(history):
    return [replace(record, seconds=0) for record in history]


# Schedules


def test_schedules_follow_their_formulas():
    assert retraining.schedule("one-shot", 0.98) == [0.98]
    # each round keeps the same share: 0.9 removed in two rounds keeps √0.1 twice
    assert retraining.schedule("iterative", 0.9, 2) == pytest.approx([1 - math.sqrt(0.1), 0.9])
    left = [1, *(1 - s for s in retraining.schedule("iterative", 0.98, 6))]
    ratios = [after / before for before, after in pairwise(left)]
    assert ratios == pytest.approx([0.02 ** (1 / 6)] * 6)
    # s·(1 − (3/4)³), s·(1 − (2/4)³), s·(1 − (1/4)³), s
    expected = [0.8 * 37 / 64, 0.8 * 56 / 64, 0.8 * 63 / 64, 0.8]
    assert retraining.schedule("gradual", 0.8, 4) == pytest.approx(expected)


@pytest.mark.parametrize("kind", ["iterative", "gradual"])
@pytest.mark.parametrize("sparsity", [0.0, 0.1, 0.7, 0.98, 1.0])
def test_schedules_rise_to_exactly_what_was_asked(kind, sparsity):
    for rounds in (1, 2, 7, 30):
        found = retraining.schedule(kind, sparsity, rounds)
        assert len(found) == rounds and found[-1] == sparsity
        assert all(0 <= a <= b for a, b in pairwise(found))


def test_bad_schedules():
    with pytest.raises(ValueError, match="kind is 'linear', must be one of 'one-shot', 'iterative', 'gradual'"):
        retraining.schedule("linear", 0.9, 3)
    for sparsity in (-0.1, 1.01, math.nan):
        with pytest.raises(ValueError, match="sparsity is"):
            retraining.schedule("gradual", sparsity, 3)
    for rounds in (0, -1, 2.5):
        with pytest.raises(ValueError, match=r"rounds is .*, must be an integer of at least 1"):
            retraining.schedule("iterative", 0.9, rounds)
    with pytest.raises(ValueError, match="rounds is 3, must be 1"):
        retraining.schedule("one-shot", 0.9, 3)


# A round


def test_masks_hold_through_training_and_history_tells():
    model, seen = trained(), []

    def watched(model, number, seed):
        zeros = {name: weight == 0 for name, weight in prunable(model).items()}
        train(model, number, seed)
        seen.append((number, seed))
        assert all((weight[zeros[name]] == 0).all() for name, weight in prunable(model).items())

    dense = measure(model)
    masks, history = run(model, train=watched)
    assert [number for number, _ in seen] == [1, 2, 3]
    assert len({seed for _, seed in seen}) == 3
    assert [record.number for record in history] == [1, 2, 3]
    assert [record.asked for record in history] == [0.3, 0.6, 0.8]
    assert [record.sparsity for record in history] == [1 - round(120 * (1 - s)) / 120 for s in (0.3, 0.6, 0.8)]
    assert history[-1].per_layer == masks.per_layer() and history[-1].sparsity == masks.sparsity
    assert history[-1].retrained == measure(model)
    assert history[0].pruned["loss"] != dense["loss"]
    assert history[-1].retrained["loss"] < history[-1].pruned["loss"]
    assert all(record.seconds > 0 for record in history)
    for name, weight in prunable(model).items():
        assert torch.equal(weight != 0, masks[name])
        assert not retraining.held(weight) and weight.grad is None
    train(model, 4, 0)
    assert any((weight[~masks[name]] != 0).any() for name, weight in prunable(model).items())  # nothing holds any more


def test_a_first_round_at_zero_trains_the_dense_network():
    model, expected = network(), network()
    masks, history = run(model, [0.0])
    with torch.random.fork_rng():
        torch.manual_seed(3 * 1_000_003 + 1)
        train(expected, 1, 0)
    assert masks.sparsity == 0 and history[0].pruned == measure(network())
    assert_same(model, expected.state_dict())


def started_from(model, **options):
    """The state in which the training of each round started."""
    starts = []

    def recording(model, number, seed):
        starts.append(states(model))
        train(model, number, seed)

    masks, _ = run(model, train=recording, **options)
    return starts, masks


def masked(state, gone):
    return {name: value.masked_fill(gone[name], 0) if name in gone else value for name, value in state.items()}


def test_rewinding_goes_back_to_the_earlier_weights_under_the_new_masks():
    early, model = copy.deepcopy(network().state_dict()), trained()
    chosen = magnitude.prune(model, 0.3)  # on the trained weights, not on the earlier ones
    starts, _ = started_from(model, after="rewind", rewind_to=early)
    for name, value in masked(early, {name: ~mask for name, mask in chosen.items()}).items():
        assert torch.equal(starts[0][name], value), name
    for start in starts:
        gone = {name: start[name] == 0 for name in chosen}
        assert all(torch.equal(value, start[name]) for name, value in masked(early, gone).items())
    assert int((starts[-1]["0.weight"] == 0).sum()) > int((starts[0]["0.weight"] == 0).sum())


@pytest.mark.parametrize("seed", [0, 1, 2**43 - 1])
def test_masks_drawn_at_random_know_nothing_of_the_fresh_weights(seed):
    drawn = {}

    def fresh(seed):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            drawn["weights"] = nn.Sequential(nn.Linear(40, 30))
        return drawn["weights"]

    def choose(model, sparsity):
        drawn["scores"] = torch.rand(30, 40)
        return keep_largest({"0.weight": drawn["scores"]}, sparsity)

    model = nn.Sequential(nn.Linear(40, 30))
    options = {"choose": choose, "after": "scratch", "fresh": fresh, "train": lambda *given: None}
    run(model, [0.5], seed=seed, measure=lambda model: {}, **options)
    scores, weights = drawn["scores"].flatten(), drawn["weights"][0].weight.detach().flatten()
    for known in (weights, weights.abs()):
        assert torch.corrcoef(torch.stack([known, scores]))[0, 1].abs() < 4 / len(scores) ** 0.5


def test_from_scratch_starts_every_round_from_other_weights_under_the_masks():
    seeds = []

    def fresh(seed):
        seeds.append(seed)
        return network(seed)

    starts, masks = started_from(trained(), after="scratch", fresh=fresh)
    assert len(set(seeds)) == 3
    for seed, start in zip(seeds, starts, strict=True):
        gone = {name: start[name] == 0 for name in masks}
        assert all(torch.equal(v, start[name]) for name, v in masked(network(seed).state_dict(), gone).items())


def test_fine_tuning_goes_on_from_the_weights_that_were_there():
    model = trained()
    expected = masked(states(model), {name: ~mask for name, mask in magnitude.prune(model, 0.3).items()})
    starts, _ = started_from(model)
    assert all(torch.equal(starts[0][name], value) for name, value in expected.items())


# Any score, any structure


def test_any_score_what_is_gone_stays_gone_though_useless_weights_tie_with_it():
    model = trained()
    inputs = INPUTS.clone()
    inputs[:, :6] = 0  # weights of these six inputs score 0, as do those that are gone
    score = partial(snip.sensitivity, batches=[(inputs, TARGETS)])
    masks, _ = run(model, [0.1, 0.2, 0.3, 0.4], choose=partial(retraining.by_score, score=score))
    assert masks.kept == 72


def test_semi_structured_in_rounds():
    def n_of_four(scores, sparsity):
        return keep_n_of_m(scores, round(4 * (1 - sparsity)), 4)

    model = trained()
    _, history = run(model, [0.25, 0.5], choose=partial(retraining.by_score, structure=n_of_four))
    assert [record.sparsity for record in history] == [0.25, 0.5]
    for weight in prunable(model).values():
        assert ((weight != 0).view(-1, 4).sum(1) == 2).all()


def test_whole_units_in_rounds_and_then_for_real():
    model = trained()
    choose = partial(magnitude.prune_units, example_inputs=INPUTS[:2], unit="neuron")
    masks, _ = run(model, [0.25, 0.5], choose=choose)
    units = magnitude.units_gone(masks, model, INPUTS[:2], "neuron")
    assert len(units["0"]) == 6
    small = remove(model.eval(), INPUTS[:2], units)
    assert small[0].weight.shape == (6, 8) and small[4].weight.shape == (2, 6)
    torch.testing.assert_close(small(INPUTS), model(INPUTS))


def test_layerwise():
    choose = partial(retraining.by_score, structure=partial(keep_largest, scope="layer"))
    masks, _ = run(trained(), [0.25, 0.5], choose=choose)
    assert masks.per_layer() == {"0.weight": 0.5, "4.weight": 0.5}


# Going on after an interruption


STOP = {"at": None}


def train_or_stop(model, number, seed):
    train(model, number, seed, steps=3 if number == STOP["at"] else 6)
    if number == STOP["at"]:
        raise KeyboardInterrupt


def rounds_in(folder):
    """The records of the finished rounds in `folder`."""
    file = folder / "rounds.safetensors"
    return read_tensors(file)[1]["progress"] if file.exists() else []


@pytest.mark.parametrize("after", ["fine-tune", "rewind", "scratch"])
@pytest.mark.parametrize("stop_at", [1, 2, 3])
def test_an_interrupted_run_goes_on_and_ends_the_same(tmp_path, monkeypatch, after, stop_at):
    early = copy.deepcopy(network().state_dict())
    restart = {"fine-tune": {}, "rewind": {"rewind_to": early}, "scratch": {"fresh": network}}[after]
    whole, model = trained(), trained()
    # SNIP in training mode depends on dropout's noise and on the mode that the rounds leave behind
    choose = partial(retraining.by_score, score=partial(snip.sensitivity, batches=[(INPUTS, TARGETS)]))
    options = {"after": after, "choose": choose, **restart}
    masks, history = run(whole.eval(), **options)
    before = states(model)
    monkeypatch.setitem(STOP, "at", stop_at)
    with pytest.raises(KeyboardInterrupt):
        run(model.eval(), train=train_or_stop, folder=tmp_path, **options)
    assert_same(model, before)  # nothing half done
    assert not any(retraining.held(weight) for weight in model.parameters())
    assert len(rounds_in(tmp_path)) == stop_at - 1
    STOP["at"] = None
    torch.rand(7)  # the global random state is another one now
    again_masks, again_history = run(model, train=train_or_stop, folder=tmp_path, **options)
    assert_same(model, whole.state_dict())
    assert again_masks == masks and without_seconds(again_history) == without_seconds(history)
    assert [path.name for path in tmp_path.iterdir()] == ["rounds.safetensors"]


def never(*_):
    raise AssertionError("a finished run must not train")


def test_a_finished_run_is_only_read(tmp_path):
    model, again = trained(), trained()
    masks, history = run(model, folder=tmp_path)
    never.__module__, never.__qualname__, never.__defaults__ = train.__module__, train.__qualname__, train.__defaults__
    assert run(again, folder=tmp_path, train=never) == (masks, history)
    assert_same(again, model.state_dict())


def test_dying_while_a_round_is_written_costs_that_round_only(tmp_path, monkeypatch):
    model, whole = trained(), trained()
    masks, history = run(whole)
    write, written = tensors.save_file, []

    def dies(what, file, *about):
        written.append(file)
        write(what, file, *about)
        if len(written) == 2:
            raise MemoryError

    monkeypatch.setattr(tensors, "save_file", dies)
    with pytest.raises(MemoryError):
        run(model, folder=tmp_path)
    assert len(rounds_in(tmp_path)) == 1 and [path.name for path in tmp_path.iterdir()] == ["rounds.safetensors"]
    monkeypatch.undo()
    written[1].write_bytes(b"half")  # as a process leaves it that is killed
    again_masks, again_history = run(model, folder=tmp_path)
    assert_same(model, whole.state_dict())
    assert again_masks == masks and without_seconds(again_history) == without_seconds(history)
    assert [path.name for path in tmp_path.iterdir()] == ["rounds.safetensors"]


def descend(model, number, seed, hang=False):
    """Gradient steps by hand: the first torch.optim step of a process imports for seconds."""
    for step in range(6):
        if hang and number == 2 and step == 3:
            print("in round 2", flush=True)
            time.sleep(600)
        F.cross_entropy(model(INPUTS), TARGETS).backward()
        with torch.no_grad():
            for weight in model.parameters():
                weight -= 0.1 * weight.grad
                weight.grad = None


SCRIPT = """
import sys
import torch
torch.set_num_threads(1)
sys.path.insert(0, sys.argv[1])
import test_retraining as t

def train(model, number, seed):
    t.descend(model, number, seed, hang=sys.argv[3] == "hang")

model = t.network()
masks, history = t.run(model, train=train, folder=sys.argv[2])
torch.save({"state": model.state_dict(), "masks": dict(masks), "said": [r.retrained for r in history]}, sys.argv[4])
"""


def test_a_killed_process_is_gone_on_with(tmp_path):
    """SIGKILL in the midst of the second round of three; another process finishes the run."""
    command = [sys.executable, "-c", SCRIPT, str(Path(__file__).parent), str(tmp_path / "rounds")]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    hanging = [*command, "hang", str(tmp_path / "never.pt")]
    with subprocess.Popen(hanging, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stdout.readline() == "in round 2\n"
        finally:
            process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert len(rounds_in(tmp_path / "rounds")) == 1
    subprocess.run([*command, "go", str(tmp_path / "end.pt")], check=True, env=environment)
    resumed, unbroken = torch.load(tmp_path / "end.pt", weights_only=True), network()
    masks, history = run(unbroken, train=descend)
    assert_same(unbroken, resumed["state"])
    assert Masks(resumed["masks"]) == masks
    assert resumed["said"] == [record.retrained for record in history]


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("sparsities", {"sparsities": [0.3, 0.6, 0.9]}),
        ("seed", {"seed": 4}),
        ("after", {"after": "scratch", "fresh": network}),
        ("choose", {"choose": retraining.by_score}),
        ("choose", {"choose": partial(magnitude.prune, scope="layer")}),
        ("train", {"train": partial(train, lr=0.1)}),
        ("settings", {"settings": {"lr": 0.1}}),
    ],
)
def test_a_folder_with_other_arguments_is_refused_naming_them(tmp_path, name, changed):
    run(trained(), folder=tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(ValueError, match=rf"holds a run with other arguments \(.*{name} is .*, was .*give another"):
        run(trained(), folder=tmp_path, **changed)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


VALUES = [  # of a setting, and another one
    (np.int64(3), np.int64(4)),
    (np.float32(0.1), np.float32(0.2)),
    (np.bool_(True), np.bool_(False)),
    (Path("a"), Path("b")),
    ({"a", "b", "c"}, {"a", "b"}),
    (np.arange(3), np.arange(3) * 2),
    (np.arange(3), np.arange(3.0)),
    (np.zeros((2, 3)), np.zeros((3, 2))),
    (torch.arange(3), torch.arange(3) * 2),
    (torch.float16, torch.float32),
    (F.relu, F.gelu),
    ([1, {"x": np.float32(0.1)}], [1, {"x": np.float32(0.2)}]),
]


@pytest.mark.parametrize(("value", "other"), VALUES)
def test_settings_are_compared_by_their_values(tmp_path, value, other):
    run(trained(), [0.3], folder=tmp_path, settings={"x": value})
    run(trained(), [0.3], folder=tmp_path, settings={"x": copy.deepcopy(value)})
    with pytest.raises(ValueError, match=r"other arguments \(settings is "):
        run(trained(), [0.3], folder=tmp_path, settings={"x": other})


def test_a_set_is_the_same_in_every_order():
    ways = [identity(set(order), "x") for order in ([8, 0, 16], [16, 8, 0], [0, 16, 8])]
    assert ways == [[0, 16, 8]] * 3  # as text


def test_settings_whose_values_cannot_be_told_are_errors(tmp_path):
    for value in (object(), np.array([object()]), range(3), b"x"):
        with pytest.raises(ValueError, match=r"settings\['x'\]\[1\] is .*, must be made of numbers"):
            run(trained(), folder=tmp_path, settings={"x": [1, value]})
    with pytest.raises(ValueError, match=r"train.keywords\['lr'\] is .*, must be made of numbers"):
        run(trained(), folder=tmp_path, train=partial(train, lr=object()))
    assert not list(tmp_path.iterdir())


def test_other_files_in_the_folder_stay(tmp_path):
    own = ["my_rounds.safetensors", "rounds.safetensors.bak", "rounds_best.safetensors", ".rounds.x"]
    for name in own:
        (tmp_path / name).write_text("mine")
    run(trained(), folder=tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*own, "rounds.safetensors"])


def test_a_call_that_failed_in_its_first_round_does_not_bind_the_next(tmp_path):
    with pytest.raises(ValueError, match="measure says loss = nan"):
        run(trained(), folder=tmp_path, seed=9, measure=lambda model: {"loss": math.nan})
    model, whole = trained(), trained()
    assert run(model, folder=tmp_path)[0] == run(whole)[0]
    assert_same(model, whole.state_dict())
    with pytest.raises(ValueError, match=r"arguments \(seed is 9, was 3\)"):
        run(trained(), folder=tmp_path, seed=9)


def test_a_folder_that_is_a_file(tmp_path):
    (tmp_path / "runs").write_text("mine")
    with pytest.raises(ValueError, match=r"folder is '.*runs', must be a writable folder: File exists"):
        run(trained(), folder=tmp_path / "runs")
    assert (tmp_path / "runs").read_text() == "mine"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda rounds: rounds[1].pop("sparsity"),
        lambda rounds: rounds[1].update(mood="good"),
        lambda rounds: rounds[1].update(number=7),
        lambda rounds: rounds[1].update(asked=0.5),
        lambda rounds: rounds[1].update(sparsity="half"),
        lambda rounds: rounds[1].update(retrained=None),
        lambda rounds: rounds.insert(0, "round"),
        lambda rounds: rounds.append(rounds[-1] | {"number": 4}),
    ],
)
def test_spoiled_records_are_named(tmp_path, spoil):
    run(trained(), folder=tmp_path)
    path = tmp_path / "rounds.safetensors"
    saved, about = read_tensors(path)
    spoil(about["progress"])
    write_tensors(path, saved, about)
    model = trained()
    before = states(model)
    with pytest.raises(ValueError, match="rounds.safetensors holds no history of rounds"):
        run(model, folder=tmp_path)
    assert_same(model, before)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_masks_of_a_finished_run_are_where_the_model_is(tmp_path):
    def train(model, number, seed):
        with torch.no_grad():
            model.weight.mul_(0.5)

    def model():
        return nn.Linear(8, 4).cuda()

    for _ in range(2):
        torch.manual_seed(0)
        masks, _ = run(model(), train=train, measure=lambda model: {"loss": 0.0}, folder=tmp_path)
        assert masks["weight"].is_cuda


def test_a_folder_with_another_model_or_other_early_weights_is_refused(tmp_path):
    options = {"after": "rewind", "rewind_to": copy.deepcopy(network().state_dict()), "folder": tmp_path}
    run(trained(), **options)
    with pytest.raises(ValueError, match=r"arguments \(model is \"sha256:.*, was \"sha256:[^;]*\)"):
        run(trained(1), **options)
    with pytest.raises(ValueError, match=r"arguments \(rewind_to is \"sha256:"):
        run(trained(), **options | {"rewind_to": copy.deepcopy(network(1).state_dict())})


def test_broken_files_are_named(tmp_path):
    model = trained()
    run(model, folder=tmp_path)
    file = tmp_path / "rounds.safetensors"
    whole, (saved, about) = file.read_bytes(), read_tensors(file)
    model = trained()
    before = states(model)
    for part in (whole[:-10], whole[:100], b"{", b""):
        file.write_bytes(part)
        with pytest.raises(ValueError, match=r"rounds.safetensors is not a whole file of tensors"):
            run(model, folder=tmp_path)
    for other in ({}, [], {"run": {}}, None):
        write_tensors(file, saved, other)
        with pytest.raises(ValueError, match=r"rounds.safetensors is not the state of a run"):
            run(model, folder=tmp_path)
    saved.pop("state/0.weight")
    write_tensors(file, saved, about)
    with pytest.raises(ValueError, match=r"the state in .* has '0.weight' of shape None, must be \(12, 8\)"):
        run(model, folder=tmp_path)
    assert_same(model, before)


# Bad input


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sparsities": []}, "sparsities is empty"),
        ({"sparsities": [0.5, 1.2]}, "sparsity is 1.2"),
        ({"sparsities": [math.nan]}, "sparsity is nan"),
        ({"sparsities": [0.5, 0.4]}, "sparsities fall from 0.5 to 0.4"),
        ({"after": "nothing"}, "after is 'nothing', must be one of"),
        ({"after": "rewind"}, "rewind_to is None and after is 'rewind', rewind_to must be given"),
        ({"after": "scratch"}, "fresh is None and after is 'scratch', fresh must be given"),
        ({"rewind_to": {}}, "rewind_to is given and after is 'fine-tune', rewind_to must be None"),
        ({"after": "rewind", "rewind_to": {}}, r"rewind_to has '0.weight' of shape None, must be \(12, 8\)"),
        ({"after": "scratch", "fresh": lambda seed: nn.Linear(2, 2)}, r"scratch has '0.weight' of shape None"),
        ({"seed": 2.0}, "seed is 2.0, must be an integer from 0"),
        ({"seed": -1}, "seed is -1, must be an integer from 0"),
        ({"seed": 2**43}, f"seed is {2**43}, must be an integer from 0"),
        ({"measure": lambda model: {"loss": math.nan}}, "measure says loss = nan, must be finite"),
        ({"train": partial(train, lr=math.inf)}, r"'0.weight' is not finite after the training of round 1"),
        ({"choose": lambda model, sparsity: Masks({"x": torch.ones(1) > 0})}, "masks name 'x'"),
    ],
)
def test_bad_arguments_leave_the_model(options, message):
    model = trained().eval()
    before = states(model)
    with pytest.raises(ValueError, match=message):
        run(model, **options)
    assert_same(model, before)
    assert not model.training and not any(retraining.held(weight) for weight in model.parameters())


def test_a_model_that_cannot_be_pruned():
    with pytest.raises(ValueError, match="no prunable weight"):
        run(nn.BatchNorm1d(8))
    model = trained()
    with pytest.raises(ValueError, match=r"rewind_to\['0.weight'\] is the model's own tensor, must be a copy"):
        run(model, after="rewind", rewind_to=model.state_dict())
    magnitude.prune(model, 0.5).hold(model)
    with pytest.raises(ValueError, match="'0.weight' is held by a mask already"):
        run(model)
    model = trained()
    model[4].bias.data[0] = math.nan
    with pytest.raises(ValueError, match="'4.bias' is not finite before the first round"):
        run(model)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_buffers_that_are_not_finite(value):
    model = trained()

    def careless(model, number, seed):
        model[1].running_var[2] = value

    with pytest.raises(ValueError, match="'1.running_var' is not finite after the training of round 1"):
        run(model, train=careless)
    careless(model, 0, 0)
    with pytest.raises(ValueError, match="'1.running_var' is not finite before the first round"):
        run(model)


def test_empty_buffers_and_masks_of_minus_infinity_are_no_obstacle(tmp_path):
    model = trained()
    model.register_buffer("nothing", torch.empty(0))
    model.register_buffer("attention", torch.full((2, 2), -math.inf).triu(1))
    early = copy.deepcopy(model.state_dict())
    assert run(model, after="rewind", rewind_to=early, folder=tmp_path)[0].kept == 24


def test_the_largest_seed():
    assert run(trained(), [0.5], seed=np.int64(2**43 - 1))[0].kept == 60


def test_masks_that_grow_back_are_refused():
    def restless(model, sparsity):
        generator = torch.Generator().manual_seed(round(100 * sparsity))
        scores = {name: torch.rand(w.shape, generator=generator) for name, w in prunable(model).items()}
        return keep_largest(scores, sparsity)

    model = trained()
    before = states(model)
    with pytest.raises(ValueError, match=r"round 2: masks let \d+ removed weights of '0.weight' come back"):
        run(model, choose=restless)
    assert_same(model, before)

    def forgetful(model, sparsity):
        masks = magnitude.prune(model, sparsity, scope="layer")
        return masks if sparsity < 0.5 else Masks({"0.weight": masks["0.weight"]})

    with pytest.raises(ValueError, match=r"round 2: masks let \d+ removed weights of '4.weight' come back"):
        run(model, choose=forgetful)
    assert_same(model, before)


def test_training_that_gives_removed_weights_back_is_refused():
    def careless(model, number, seed):
        train(model, number, seed)
        with torch.no_grad():
            model[4].weight.add_(1)

    model = trained()
    before = states(model)
    with pytest.raises(ValueError, match=r"round 1: train changed masked weights of '4.weight'"):
        run(model, train=careless)
    assert_same(model, before)


def test_a_layer_that_lost_everything_is_named_once():
    def whole_layer(model, sparsity):
        masks = {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in prunable(model).items()}
        return Masks(masks | {"4.weight": torch.zeros(2, 12, dtype=torch.bool)})

    with pytest.warns(UserWarning, match=r"round 1 takes all weights of '4.weight'") as caught:
        run(trained(), [0.2, 0.2, 0.2], choose=whole_layer)
    assert len(caught) == 1
    with pytest.warns(UserWarning, match="takes all weights") as caught:
        masks, history = run(trained(), [1.0])
    assert len(caught) == 2 and masks.kept == 0 and history[0].sparsity == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(trained(), [0.5])


def test_modes_of_submodules_and_the_global_random_state_stay():
    model = trained()
    model[1].eval()
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    run(model)
    assert torch.equal(torch.rand(3), expected)
    assert model.training and not model[1].training and model[3].training
