"""The same weights and batches give the same losses under TensorFlow, JAX and torch (where it is installed)."""

import importlib.util
import json
import os
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
        pytest.skip("runs every backend itself; done in the suite's TensorFlow run")
    runs = {
        backend: subprocess.Popen(
            [sys.executable, str(SCRIPT)],
            env=os.environ | {"KERAS_BACKEND": backend},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for backend in ("tensorflow", "jax", *TORCH)
    }
    outputs = {backend: run.communicate(timeout=500) for backend, run in runs.items()}
    for backend, run in runs.items():
        assert run.returncode == 0, f"{backend}: {outputs[backend][1][-3000:]}"
    return {backend: json.loads(out.splitlines()[-1]) for backend, (out, _) in outputs.items()}


@pytest.mark.parametrize("case", ["cnn", "lstm", "everything"])
@pytest.mark.parametrize(("optimizer", "tolerance"), [("adam", 1e-3), ("sgd", 1e-5)])
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_losses_agree(results, backend, case, optimizer, tolerance):
    if backend not in results:
        pytest.skip(f"{backend} is not installed")
    tensorflow, other = (np.array(results[b][f"{case}-{optimizer}"]["losses"]) for b in ("tensorflow", backend))
    np.testing.assert_allclose(tensorflow[:3], other[:3], rtol=1e-6)
    np.testing.assert_allclose(tensorflow, other, rtol=tolerance)
    assert len(set(tensorflow.tolist())) == 20, "the weights must have moved"


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_stateful_metric_agrees(results, optimizer):
    tensorflow, *others = (results[b][f"everything-{optimizer}"]["train/error"] for b in ("tensorflow", "jax", *TORCH))
    assert others == pytest.approx([tensorflow] * len(others), rel=1e-4)
