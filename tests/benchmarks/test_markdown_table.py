"""Tables: the examples in the docstrings of the files that make them."""

import doctest

import pytest

pytestmark = pytest.mark.backend_free


@pytest.mark.parametrize("script", ["markdown_table", "result_file", "gpu_program"])
def test_examples(benchmarks, script):
    failed, tried = doctest.testmod(benchmarks(script))
    assert tried
    assert not failed
