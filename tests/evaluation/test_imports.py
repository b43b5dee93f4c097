"""The command line imports kgenre.evaluation before it knows what to do: nothing heavy may come with it."""

import os
import subprocess
import sys


def test_importing_brings_neither_backend_nor_scikit_learn():
    code = (
        "import sys, kgenre.evaluation as e; from numpy import array;"
        "heavy = {'keras', 'tensorflow', 'jax', 'torch', 'sklearn', 'scipy', 'rich'};"
        "print(sorted(heavy & set(sys.modules)));"
        # Metrics and the frequencies are NumPy alone, too.
        "y = array([[1, 0], [0, 1]]);"
        "e.multilabel_metrics(y, e.FrequencyBaseline().fit(['', ''], y).predict_proba(['', '']));"
        "print(sorted(heavy & set(sys.modules)))"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines() == ["[]", "[]"]
