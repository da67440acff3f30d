"""MONK's networks on the page: deletions as in the record and as the library makes them, and what is refused."""

import json

import pytest
import torch
from node import computed
from torch import nn

from pruning_lib.after_training import obs
from pruning_lib.files import CHECKOUT
from pruning_lib.teaching.widgets.prune_by_hand import INPUTS, METHODS, OTHERS, Learned, PruneByHand, connections
from pruning_lib.workbench import monks

RECORD = json.loads((CHECKOUT / "figures" / "measured" / "04_monks.json").read_text(encoding="utf-8"))["runs"]


def run_of(problem: int, select: str = "obs", then: str = "readjust") -> dict:
    way = {"cases": "drawn", "problem": problem, "select": select, "then": then, "seed": 0}
    return next(run for run in RECORD if way.items() <= run.items())


def learned(problem: int, select: str = "obs", then: str = "readjust") -> Learned:
    """The network that the record's first seed prunes this way."""
    run, task = run_of(problem, select, then), monks.load(problem)
    network = monks.network(task, seed=1000 * run["start"])
    monks.minimize(network, task.train, run["decay"])
    return Learned(task, network, run["decay"] * (run["alpha_over_decay"] or 1), (14, 100.0))


@pytest.fixture(scope="module")
def widget():
    return PruneByHand({"MONK2": learned(2), "MONK1": learned(1)}, RECORD)


def played(tmp_path, widget, calls: str):
    """What `calls` of the page's player give, with the problems of `widget`."""
    given = {"problems": widget.problems, "cases": widget.cases, "names": widget.names}
    return computed(tmp_path, "prune_by_hand", "player", f"((play) => ({calls}))(player(given))", given)


@pytest.mark.parametrize(("select", "then"), [("obs", "readjust"), ("magnitude", "readjust"), ("obd", "stay")])
def test_the_page_deletes_as_recorded(tmp_path, select, then):
    hand = PruneByHand({"MONK1": learned(1, select, then)}, RECORD)
    method = {name.lower(): name for name in METHODS}[select]
    others = {recorded: name for name, recorded in OTHERS.items()}[then]
    way = json.dumps(["MONK1", others])[1:-1]
    path = f"play.path({way}, play.further({way}, [], {json.dumps(method)}, 57))"
    tests = played(tmp_path, hand, f"{path}.map((state) => state.test)")
    assert [round(432 * share) for share in tests] == run_of(1, select, then)["test_right"]


def test_the_page_computes_what_the_library_does(tmp_path, widget):
    one, deleted = learned(2), [3, 20, 38]
    calls = """play.path("MONK2", "follow", [3, 20, 38]).map(({ w, error, train, chosen, alive }) =>
      ({ w, error, train, scores: Object.values(chosen).map(({ scores }) => scores), alive }))"""
    states = played(tmp_path, widget, calls)
    w, alive = nn.utils.parameters_to_vector(one.network.parameters()).detach(), list(range(39))
    for q, state in zip([*deleted, None], states, strict=True):
        nn.utils.vector_to_parameters(w.clone(), one.network.parameters())
        names = [name for name, _ in one.network.named_parameters()]
        rows = torch.cat(list(obs.jacobian_rows(one.network, one.task.train[0], names)))[:, alive]
        H_inv, local = obs.inverse_hessian(rows, one.alpha), w[alive]
        scores = [local.abs(), (rows.square().mean(0) + one.alpha) * local**2 / 2, obs.saliency(local, H_inv)]
        assert state["alive"] == alive and state["w"] == pytest.approx(w.tolist(), abs=1e-8)
        assert state["error"] == pytest.approx(obs.squared_error(one.network, [one.task.train]).item(), abs=1e-8)
        assert state["train"] == pytest.approx(monks.accuracy(one.network, one.task.train))
        for found, expected in zip(state["scores"], scores, strict=True):
            assert found == pytest.approx(expected.tolist(), rel=1e-6, abs=1e-9)
        if q is not None:
            w[alive] = obs.surgery(local, H_inv, alive.index(q))[0]
            alive.remove(q)
            w[q] = 0


def test_names_of_the_connections(tmp_path, widget):
    names = connections(INPUTS, 3)
    assert len(names) == 58 and names[0] == "a1=1 → h1" and names[17] == "a1=1 → h2"
    assert names[51:] == ["bias → h1", "bias → h2", "bias → h3", "h1 → out", "h2 → out", "h3 → out", "bias → out"]
    assert computed(tmp_path, "network_drawing", "weightNames", "weightNames(...given)", [INPUTS, 3]) == names


def test_curves_are_means_and_ranges_of_the_record(widget):
    curve = widget.problems["MONK2"]["curves"]["stay"]["OBD"]
    runs = [
        run
        for run in RECORD
        if run["cases"] == "drawn" and (run["problem"], run["select"], run["then"]) == (2, "obd", "stay")
    ]
    last = [100 * run["test_right"][-15] / 432 for run in runs]
    assert curve["n"] == len(runs) == 10 and len(curve["mean"]) == 39
    assert (curve["low"][-15], curve["high"][-15]) == pytest.approx((min(last), max(last)), abs=1e-3)
    assert curve["mean"][-15] == pytest.approx(sum(last) / 10, abs=1e-3)


def test_a_new_problem_starts_with_all_weights(widget):
    assert (widget.problem, widget.others, widget.choice, widget.deleted) == ("MONK2", "follow", "OBS", [])
    widget.deleted, widget.choice = [5, 7], "magnitude"
    widget.problem = "MONK1"
    assert (widget.deleted, widget.choice) == ([], "OBS")
    widget.deleted = [57]
    widget.problem = "MONK2"
    assert widget.deleted == []
    given = PruneByHand({"MONK2": learned(2)}, RECORD, deleted=[3], choice="a1=2 → h2", others="stay")
    assert (given.deleted, given.choice, given.others) == ([3], "a1=2 → h2", "stay")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("problem", "MONK3", "problem is 'MONK3', must be one of 'MONK2', 'MONK1'"),
        ("others", "retrain", "others is 'retrain', must be one of"),
        ("choice", "a5=1 → h3", "choice is 'a5=1 → h3', must be one of"),
        ("deleted", [39], "deleted is .*39.*, must be different places from 0 to 38"),
        ("deleted", [1, 1], "deleted is .*1, 1.*, must be different places"),
        ("deleted", list(range(39)), "not all of them"),
    ],
)
def test_bad_values_are_refused(widget, name, value, message):
    before = {key: getattr(widget, key) for key in ("problem", "others", "choice", "deleted")}
    with pytest.raises(ValueError, match=message):
        setattr(widget, name, value)
    assert {key: getattr(widget, key) for key in before} == before


def test_networks_and_records_that_do_not_fit_are_refused():
    one = learned(2)
    with pytest.raises(ValueError, match="learned is empty"):
        PruneByHand({}, RECORD)
    with pytest.raises(
        ValueError, match="'problem': 2, 'select': 'obs', 'then': 'readjust'} have no sizes, must have 39"
    ):
        PruneByHand({"MONK2": one}, [])
    with pytest.raises(ValueError, match=r"have \[58\] sizes, must have 39"):
        PruneByHand({"MONK2": one}, [run | {"problem": 2} for run in RECORD if run["problem"] == 1])
    with pytest.raises(ValueError, match="alpha of MONK2 is 0, must be above 0"):
        PruneByHand({"MONK2": one._replace(alpha=0)}, RECORD)
    for wrong in (monks.network(monks.xor()), nn.Sequential(nn.Linear(17, 2), nn.Tanh(), nn.Linear(2, 1))):
        with pytest.raises(ValueError, match="network of MONK2 must have 17 inputs and one output"):
            PruneByHand({"MONK2": one._replace(network=wrong)}, RECORD)
    nn.init.constant_(one.network.output.bias, float("inf"))
    with pytest.raises(ValueError, match="weights of MONK2 must be finite"):
        PruneByHand({"MONK2": one}, RECORD)
