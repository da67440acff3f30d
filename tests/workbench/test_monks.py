import math

import pytest
import torch

from pruning_lib.workbench import monks


@pytest.mark.parametrize(("problem", "train", "monks_in_all"), [(1, 124, 216), (2, 169, 142), (3, 122, 228)])
def test_sizes_and_shares_are_those_published(problem, train, monks_in_all):
    task = monks.load(problem)
    inputs, targets = task.test
    assert inputs.shape == (432, 17) and targets.shape == (432, 1)
    assert task.train[0].shape == (train, 17) and task.train[1].shape == (train, 1)
    assert int((targets == 1).sum()) == monks_in_all and int((targets == -1).sum()) == 432 - monks_in_all
    assert {t.dtype for pair in (task.train, task.test) for t in pair} == {torch.float64}


def test_inputs_are_all_cases_one_hot():
    inputs, _ = monks.load(1).test
    assert len(inputs.unique(dim=0)) == 432
    for attribute in inputs.split(monks.VALUES, dim=1):
        assert torch.equal(attribute.sum(1), torch.ones(432, dtype=torch.float64))
        assert attribute.unique().tolist() == [0, 1]


def test_rules_on_cases_decided_by_hand():
    cases = torch.tensor(
        [[1, 1, 2, 2, 2, 2], [1, 2, 2, 2, 1, 2], [1, 2, 2, 3, 3, 1], [3, 3, 2, 1, 3, 2], [2, 1, 2, 2, 4, 2]]
    )
    assert monks.rule(1, cases).tolist() == [True, True, False, True, False]
    assert monks.rule(2, cases).tolist() == [True, True, True, False, False]
    assert monks.rule(3, cases).tolist() == [True, True, True, True, False]


@pytest.mark.parametrize(("problem", "wrong"), [(1, 0), (2, 0), (3, 6)])
def test_training_cases_are_distinct_and_only_problem_3_is_noisy(problem, wrong):
    task = monks.load(problem, seed=4)
    inputs, targets = task.train
    assert len(inputs.unique(dim=0)) == len(inputs)
    place = (inputs @ task.test[0].T == 6).nonzero()[:, 1]
    assert int((task.test[1][place] != targets).sum()) == wrong


def test_seeds_alone_draw_cases_and_weights():
    first, again, other = monks.load(3, 0), monks.load(3, 0), monks.load(3, 1)
    assert all(torch.equal(a, b) for a, b in zip(first.train, again.train, strict=True))
    assert not torch.equal(first.train[0], other.train[0])
    assert all(torch.equal(a, b) for a, b in zip(first.test, other.test, strict=True))
    weights = [monks.network(first, seed=seed).hidden.weight for seed in (3, 3, 4)]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])
    with pytest.raises(ValueError, match="problem is 4, must be one of 1, 2, 3"):
        monks.load(4)


def test_networks_have_the_published_numbers_of_parameters():
    sizes = [sum(p.numel() for p in monks.network(monks.load(problem)).parameters()) for problem in (1, 2, 3)]
    assert sizes == [58, 39, 39]
    assert sum(p.numel() for p in monks.network(monks.xor(), hidden=3).parameters()) == 13


def test_bad_networks_and_rules():
    for hidden in (0, -1, 2.5):
        with pytest.raises(ValueError, match=f"hidden is {hidden}, must be an integer of at least 1"):
            monks.network(monks.xor(), hidden=hidden)
    with pytest.raises(ValueError, match="problem is 7, must be one of 1, 2, 3"):
        monks.rule(7, torch.ones(1, 6))


def test_xor_is_the_exclusive_or():
    inputs, targets = monks.xor().train
    assert [(int(a) ^ int(b)) * 2 - 1 for a, b in inputs] == targets.flatten().tolist()


def test_fit_reaches_a_minimum_of_error_and_decay():
    task = monks.load(1)
    model = monks.network(task)
    norm = monks.minimize(model, task.train, weight_decay=1e-2)
    inputs, targets = task.train
    penalty = sum(p.square().sum() for p in model.parameters())
    objective = (targets - model(inputs)).square().sum() / (2 * len(targets)) + 1e-2 / 2 * penalty
    gradient = torch.cat([g.flatten() for g in torch.autograd.grad(objective, list(model.parameters()))])
    assert norm == pytest.approx(gradient.norm().item(), rel=1e-6) and norm < 1e-7
    assert monks.accuracy(model, task.train) == 1
    for bad in (math.nan, math.inf, -1e-3):
        with pytest.raises(ValueError, match=f"weight_decay is {bad}, must be a finite number"):
            monks.minimize(model, task.train, bad)


def test_accuracy_counts_signs():
    inputs = torch.tensor([[1.0], [2.0], [-1.0], [0.0]])
    pair = inputs, torch.tensor([[1.0], [-1.0], [-1.0], [1.0]])
    assert monks.accuracy(torch.nn.Identity(), pair) == 0.5
    assert monks.accuracy(torch.nn.Identity(), pair, silent=True) == 0.75


def published(folder, form="csv", newline="\n", header=True):
    """The sets in the form of the published ones: ours (class,a1,…,a6) or UCI's (class a1 … a6 name)."""
    folder.mkdir(exist_ok=True)
    for problem in (1, 2, 3):
        task = monks.load(problem)
        for part, (inputs, targets) in (("train", task.train), ("test", task.test)):
            cases = [[int(column.argmax()) + 1 for column in row.split(monks.VALUES)] for row in inputs]
            rows = [[int(target > 0), *case] for target, case in zip(targets, cases, strict=True)]
            names = ["class", *(f"a{i}" for i in range(1, 7))]
            if form == "csv":
                lines = [",".join(names)] * header + [",".join(map(str, row)) for row in rows]
            else:
                lines = [" ".join([*names, "Data_id"])] * header
                lines += [" ".join(map(str, ["", *row, f"data_{number}"])) for number, row in enumerate(rows)]
            name = f"monks-{problem}.{part}" + (".csv" if form == "csv" else "")
            (folder / name).write_bytes((newline.join(lines) + newline).encode())
    return folder


@pytest.mark.parametrize("form", ["csv", "UCI"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("header", [True, False])
def test_published_sets_are_read_in_both_forms(tmp_path, form, newline, header):
    folder = published(tmp_path / "monks", form, newline, header)
    for problem in (1, 2, 3):
        read, drawn = monks.load(problem, seed=5, data=folder), monks.load(problem)
        assert (read.name, read.hidden) == (drawn.name, drawn.hidden)
        for mine, theirs in ((read.train, drawn.train), (read.test, drawn.test)):
            assert all(torch.equal(a, b) and a.dtype == b.dtype for a, b in zip(mine, theirs, strict=True))


@pytest.mark.parametrize(
    ("file", "row", "line", "message"),
    [
        ("monks-1.train.csv", 3, "1,1,1,1,1,1,3,1", "row 3: 8 values, must be 7: class,a1,a2,a3,a4,a5,a6$"),
        ("monks-1.train.csv", 3, "1,1,1,1,1,3", "row 3: 6 values, must be 7"),
        ("monks-1.train.csv", 3, "1 1 1 1 1 1 1", "row 3: 7 values, must be 8: class a1 a2 a3 a4 a5 a6 name$"),
        ("monks-1.train.csv", 4, "1,1,1,3,1,1,1", "row 4: a3 is '3', must be one of 1, 2$"),
        ("monks-1.train.csv", 4, "1,0,1,1,1,1,1", "row 4: a1 is '0', must be one of 1, 2, 3$"),
        ("monks-1.train.csv", 4, "1,1,1,1,1.0,1,1", "row 4: a4 is '1.0', must be one of 1, 2, 3$"),
        ("monks-1.train.csv", 4, "1,,1,1,1,1,1", "row 4: a1 is '', must be"),
        ("monks-1.test.csv", 2, "2,1,1,1,1,1,1", "row 2: class is '2', must be one of 0, 1$"),
        ("monks-1.test.csv", 1, "label,a1,a2,a3,a4,a5,a6", "row 1: class is 'label', must be one of 0, 1$"),
        ("monks-1.test.csv", 3, "1,1,1,1,1,1,1", "row 3: the case of row 2 again, must be there once$"),
        ("monks-1.test.csv", 3, "", " has 431 cases, must have 432$"),
        (
            "monks-1.test.csv",
            2,
            "0,1,1,1,1,1,1",
            r": 1 of 432 classes are against .* problem 1 \(rows: 2\), must be 0$",
        ),
    ],
)
def test_a_bad_row_is_named_with_its_file(tmp_path, file, row, line, message):
    path = published(tmp_path) / file
    lines = path.read_text().splitlines()
    lines[row - 1] = line
    path.write_text("\n".join(lines))
    with pytest.raises(ValueError, match=f"{file}.*{message}") as raised:
        monks.load(1, data=tmp_path)
    assert "\n" not in str(raised.value)


def test_a_missing_file_another_problem_and_corrected_labels_are_refused(tmp_path):
    published(tmp_path)
    with pytest.raises(ValueError, match=r"nowhere has neither monks-1.train.csv nor monks-1.train, must have one"):
        monks.load(1, data=tmp_path / "nowhere")
    (tmp_path / "monks-2.test.csv").unlink()
    with pytest.raises(ValueError, match=r"has neither monks-2.test.csv nor monks-2.test, must have one of them"):
        monks.load(2, data=tmp_path)
    (tmp_path / "monks-1.test.csv").write_text((tmp_path / "monks-3.test.csv").read_text())
    with pytest.raises(ValueError, match=r"classes are against the rule of problem 1 \(rows: 8, .*, …\), must be 0"):
        monks.load(1, data=tmp_path)
    inputs, _ = monks.load(3).train
    cases = torch.stack([column.argmax(1) + 1 for column in inputs.split(monks.VALUES, dim=1)], dim=1)
    rows = [
        ",".join(map(str, [int(right), *case]))
        for right, case in zip(monks.rule(3, cases), cases.tolist(), strict=True)
    ]
    (tmp_path / "monks-3.train.csv").write_text("\n".join(rows))
    with pytest.raises(ValueError, match=r"0 of 122 classes are against the rule of problem 3, must be 6"):
        monks.load(3, data=tmp_path)


def test_bytes_that_are_no_text_are_a_bad_value(tmp_path):
    path = published(tmp_path) / "monks-1.train.csv"
    path.write_bytes(b"\xff\xfe\x00" + path.read_bytes())
    with pytest.raises(ValueError, match="monks-1.train.csv, row 1: class is"):
        monks.load(1, data=tmp_path)
