from importlib import import_module

import pytest

from pruning_lib import taxonomy


def test_every_method_has_its_place():
    names = [method.name for method in taxonomy.METHODS]
    assert len(names) == len(set(names))
    for method in taxonomy.METHODS:
        assert set(method.structures) <= set(taxonomy.STRUCTURES)
        assert method.time in taxonomy.TIMES and method.data in taxonomy.DATA
        assert method.notebook[:2].isdigit() and method.rule


@pytest.mark.parametrize("method", taxonomy.METHODS, ids=lambda method: method.name)
def test_every_method_is_in_the_library(method):
    module, _, name = method.function.rpartition(".")
    assert callable(getattr(import_module(module), name))


def test_methods():
    assert [method.name for method in taxonomy.methods_of(time="before")] == ["SNIP", "Iterative SNIP", "SynFlow"]
    assert "SparseGPT" in [method.name for method in taxonomy.methods_of("semi-structured", "after")]
    assert taxonomy.methods_of() == list(taxonomy.METHODS)
    with pytest.raises(ValueError, match="structure is 'rows', must be one of 'unstructured'"):
        taxonomy.methods_of("rows")
    with pytest.raises(ValueError, match="time is 'later', must be one of 'before', 'during', 'after'"):
        taxonomy.methods_of(time="later")
