import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from pruning_lib.teaching.needed_cells import needed


@pytest.mark.parametrize(
    ("before", "last", "uses"),
    [
        ("import numpy as np, os.path", "np.ones(1)", True),
        ("import numpy as np, os.path", "os.getcwd()", True),
        ("from a import b as c", "b", False),
        ("x = 2", "x = 1\ny = x", False),  # its own
        ("z = 2", "z += 1", True),
        ("n = 2", "rows = [scale * n for n in rows]", False),
        ("scale = 2", "rows = [scale * n for n in rows]", True),
        ("for n in counts:\n    pass", "n", True),
        ("x = z = 3", "def f(x, y=one):\n    z = x\n    return lambda: z + two", False),
        ("one = 1", "def f(x, y=one):\n    z = x\n    return lambda: z + two", True),
        ("two = 2", "def f(x, y=one):\n    z = x\n    return lambda: z + two", True),
        ("three = int", "class A(B):\n    x: three = 3\n    def f(self):\n        return four", True),
        ("four = 4", "class A(B):\n    x: three = 3\n    def f(self):\n        return four", True),
        ("def f():\n    inside = 1", "inside", False),
        ("class A:\n    pass", "A()", True),
    ],
)
def test_names_that_a_cell_uses(before, last, uses):
    notebook = new_notebook(cells=[new_code_cell(before), new_code_cell(last)])
    assert needed(notebook, [1]) == ([0, 1] if uses else [1])


def test_cells_that_others_need():
    sources = [
        "import math",
        "scale = 2",
        "heavy = scale ** 100",  # for nothing
        "n = 1",
        "n = 2",
        "def area(r):\n    return math.pi * scale * r",
        "n = area(n)",  # after the first that is wanted, before the second
        "show(n)",
    ]
    notebook = new_notebook(cells=[new_markdown_cell("n"), *(new_code_cell(source) for source in sources)])
    assert needed(notebook, []) == []
    assert needed(notebook, [3]) == [2, 3]
    assert needed(notebook, [5]) == [5]
    assert needed(notebook, [8]) == [1, 2, 5, 6, 7, 8]
    assert needed(notebook, [4, 8]) == [1, 2, 4, 5, 6, 7, 8]
