from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from needed_cells import names, needed


def test_names_of_a_cell():
    assert names("import numpy as np, os.path\nfrom a import b as c\nx = y") == ({"np", "os", "c", "x"}, {"y"})
    assert names("x = 1\ny = x\nz += 1") == ({"x", "y", "z"}, {"z"})  # x is its own
    assert names("rows = [scale * n for n in rows]") == ({"rows"}, {"scale", "rows"})
    assert names("for n in counts:\n    print(n, total)") == ({"n"}, {"counts", "print", "total"})
    assert names("def f(x, y=one):\n    z = x\n    return lambda: z + two")[1] == {"one", "two"}
    assert names("class A(B):\n    x: int = three\n    def f(self):\n        return four")[1] >= {"B", "three", "four"}


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
