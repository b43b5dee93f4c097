"""The command line imports kgenre.evaluation before it knows what to do: nothing heavy may come with it."""

import pytest

pytestmark = pytest.mark.backend_free


def test_importing_brings_neither_backend_nor_scikit_learn(run_python):
    script = """
import sys, kgenre.evaluation as e
from numpy import array
heavy = {"keras", "tensorflow", "jax", "torch", "sklearn", "scipy", "rich"}
print(sorted(heavy & set(sys.modules)))
y = array([[1, 0], [0, 1]])  # metrics and the frequencies are NumPy alone, too
e.multilabel_metrics(y, e.FrequencyBaseline().fit(["", ""], y).predict_proba(["", ""]))
print(sorted(heavy & set(sys.modules)))
"""
    assert run_python(script).splitlines() == ["[]", "[]"]
