"""The command line imports kgenre.evaluation before it parses its arguments: the import must load nothing heavy."""

import pytest

pytestmark = pytest.mark.backend_free


def test_importing_loads_no_backend_and_no_scikit_learn(run_python):
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
