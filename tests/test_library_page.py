"""What docs/library.md promises of the library: its snippets run, the table of methods is true."""

import contextlib
import io
import re

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pruning_lib.files import CHECKOUT
from pruning_lib.taxonomy import METHODS

PAGE = (CHECKOUT / "docs" / "library.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
PRINTS = {f"snippet {number}": code for number, code in enumerate(BLOCK.findall(PAGE)) if "print(" in code}
TABLE = PAGE.split("\n| method |")[1].split("\n\n")[0]
ROWS = {row[0]: row[1:] for line in TABLE.split("\n")[2:] for row in [line.strip("| ").split(" | ")]}


class Attention(nn.Module):
    """Two heads whose projections are Linear layers, then a classifier."""

    def __init__(self):
        super().__init__()
        self.heads = 2
        self.query, self.key, self.value, self.back = (nn.Linear(8, 8) for _ in range(4))
        self.classes = nn.Linear(8, 3)

    def forward(self, x):
        parts = (
            layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for layer in (self.query, self.key, self.value)
        )
        mixed = F.scaled_dot_product_attention(*parts).transpose(1, 2).flatten(2)
        return self.classes(self.back(mixed).mean(1))


def linear():
    return nn.Sequential(nn.Linear(8, 12), nn.ReLU(), nn.Linear(12, 3))


def convolutions():
    behind = (nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3))
    return nn.Sequential(nn.Conv2d(4, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3), *behind)


KINDS = {  # column of the table: network, shape of its inputs, what `unit` is
    "Linear": (linear, (8,), "neuron"),
    "Conv2d": (convolutions, (4, 6, 6), "filter"),
    "attention": (Attention, (5, 8), "head"),
}


@pytest.mark.parametrize("name", PRINTS)
def test_a_snippet_prints_what_stands_below_it(name):
    """Counts to the digit, accuracies within three points: training differs between processors."""
    printed = io.StringIO()
    with torch.random.fork_rng(), contextlib.redirect_stdout(printed):
        exec(PRINTS[name], {"__name__": name})
    lines, promised = printed.getvalue().splitlines(), re.findall(r"^# → (.+)$", PRINTS[name], re.MULTILINE)
    percent = re.compile(r"[\d.]+(?= %)")
    assert [percent.sub("…", line) for line in lines] == [percent.sub("…", line) for line in promised] != []
    shares = [[float(share) for line in text for share in percent.findall(line)] for text in (lines, promised)]
    assert shares[0] == pytest.approx(shares[1], abs=3)


def test_three_snippets_print():
    assert len(PRINTS) == 3


def test_the_table_has_every_method_with_its_data_and_notebook():
    assert list(ROWS) == [method.name for method in METHODS]
    for method in METHODS:
        *_, data, notebook = ROWS[method.name]
        number = method.notebook.split("_")[0]
        assert (data, notebook) == (method.data, f"[{number}](../notebooks/{method.notebook}.ipynb)")


@pytest.mark.filterwarnings("ignore")  # the networks are not trained
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ROWS)
def test_a_call_works_on_what_is_ticked_and_refuses_the_rest(name, kind):
    call, mark = ROWS[name][0].strip("`"), ROWS[name][1 + list(KINDS).index(kind)]
    build, shape, unit = KINDS[kind]
    scope = {"gamma": 0.1, "unit": unit, "train": lambda *round: None, "measure": lambda model: {"loss": 0.0}}
    exec(BLOCK.findall(PAGE)[0], scope)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        x, model = torch.randn(20, *shape), build().eval()
        labels = F.one_hot(torch.arange(20) % 3).float()
        scope |= {"model": model, "x": x, "unlabeled": [x], "labeled": [(x, labels)]}
        if mark == "–":
            with pytest.raises(ValueError, match="has no|no convolution"):
                eval(call, scope)
        else:
            assert mark == "✓" and eval(call, scope) is not None
