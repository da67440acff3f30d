from importlib import import_module

import pytest

from pruning_lib import taxonomy


def test_every_method_has_its_place():
    names = [method.name for method in taxonomy.METHODS]
    assert len(names) == len(set(names))
    for method in taxonomy.METHODS:
        assert set(method.structures) <= set(taxonomy.STRUCTURES)
        assert method.time in taxonomy.TIMES and method.data in taxonomy.DATA
        assert method.notebook[:2].isdigit()


@pytest.mark.parametrize("method", taxonomy.METHODS, ids=lambda method: method.name)
def test_every_method_is_in_the_library(method):
    module, _, name = method.function.rpartition(".")
    assert callable(getattr(import_module(module), name))


def test_find():
    assert [method.name for method in taxonomy.find(time="before")] == ["SNIP"]
    assert "SparseGPT" in [method.name for method in taxonomy.find("semi-structured", "after")]
    assert taxonomy.find() == list(taxonomy.METHODS)
    with pytest.raises(ValueError, match="structure is 'rows', must be one of 'unstructured'"):
        taxonomy.find("rows")
    with pytest.raises(ValueError, match="time is 'later', must be one of 'before', 'during', 'after'"):
        taxonomy.find(time="later")
