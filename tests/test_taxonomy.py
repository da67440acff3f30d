import pytest

from pruning_lib import taxonomy


def test_every_method_has_its_place():
    names = [method.name for method in taxonomy.METHODS]
    assert len(names) == len(set(names))
    for method in taxonomy.METHODS:
        assert set(method.structures) <= set(taxonomy.STRUCTURES)
        assert method.time in taxonomy.TIMES
        assert method.notebook[:2].isdigit()


def test_the_methods_of_the_first_notebooks_are_there():
    available = {method.name for method in taxonomy.METHODS if method.available}
    assert {"SNIP", "Magnitude", "2:4, 4:8", "Stripes", "Kernel patterns", "Filter norms"} <= available


def test_find():
    assert [method.name for method in taxonomy.find(time="before")] == ["SNIP"]
    assert "SparseGPT" in [method.name for method in taxonomy.find("semi-structured", "after")]
    assert taxonomy.find() == list(taxonomy.METHODS)
    with pytest.raises(ValueError, match="structure is 'rows', must be one of 'unstructured'"):
        taxonomy.find("rows")
    with pytest.raises(ValueError, match="time is 'later', must be one of 'before', 'during', 'after'"):
        taxonomy.find(time="later")
