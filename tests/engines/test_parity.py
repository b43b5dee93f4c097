"""The same weights and batches give the same losses under TensorFlow, JAX and torch (where it is installed)."""

import importlib.util
import itertools
import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

SCRIPT = Path(__file__).with_name("parity_losses.py")

TORCH = ["torch"] if importlib.util.find_spec("torch") else []


@pytest.fixture(scope="module")
def results():
    if keras.backend.backend() != "tensorflow":
        pytest.skip("runs the other backends itself; done in the suite's TensorFlow run")
    runs = {
        backend: subprocess.Popen(
            [sys.executable, str(SCRIPT)],
            env=os.environ | {"KERAS_BACKEND": backend},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for backend in ("jax", *TORCH)
    }
    here = runpy.run_path(str(SCRIPT))["all_losses"]()
    outputs = {backend: run.communicate(timeout=500) for backend, run in runs.items()}
    for backend, run in runs.items():
        assert run.returncode == 0, f"{backend}: {outputs[backend][1][-3000:]}"
    return {"tensorflow": here} | {backend: json.loads(out.splitlines()[-1]) for backend, (out, _) in outputs.items()}


# One test, so that one process of pytest-xdist runs the fits.
def test_losses_agree(results, subtests):
    tolerances = {"adam": 1e-3, "sgd": 1e-5}
    tensorflow, others = results["tensorflow"], [backend for backend in results if backend != "tensorflow"]
    for backend, name in itertools.product(others, tensorflow):
        case, optimizer = name.split("-")
        with subtests.test(f"{backend} {name}"):
            expected, found = (np.array(results[b][name]["losses"]) for b in ("tensorflow", backend))
            np.testing.assert_allclose(expected[:3], found[:3], rtol=1e-6)
            np.testing.assert_allclose(expected, found, rtol=tolerances[optimizer])
            assert len(set(expected.tolist())) == len(expected), "the weights must have moved"
            if case == "everything":  # it has a stateful metric
                assert results[backend][name]["train/error"] == pytest.approx(tensorflow[name]["train/error"], rel=1e-4)
