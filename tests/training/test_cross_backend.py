"""A run started under one backend resumes under another."""

import importlib.util
import json
import os
from pathlib import Path

import keras
import pytest

HERE = keras.backend.backend()
OTHERS = [name for name in ("tensorflow", "jax", "torch") if name != HERE]

PART = Path(__file__).with_name("cross_backend_part.py")


@pytest.mark.parametrize("there", OTHERS)
def test_losses_agree_after_switching_the_backend(run_python, tmp_path, there):
    if importlib.util.find_spec(there) is None:
        pytest.skip(f"{there} is not installed")
    folder = str(tmp_path)
    # There: train to the middle of the second epoch (of four batches), save a checkpoint, and take three more steps.
    script = (
        f"import json, cross_backend_part as part; part.begin({folder!r}); print(json.dumps(part.go_on({folder!r})))"
    )
    begun = json.loads(
        run_python(script, backend=there, PYTHONPATH=f"{PART.parent}{os.pathsep}{PART.parent.parent}").splitlines()[-1]
    )

    spec = importlib.util.spec_from_file_location("cross_backend_part", PART)
    part = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(part)
    here = part.go_on(folder)
    assert here["losses"] == pytest.approx(begun["losses"], rel=1e-5)
    assert len(set(here["losses"])) == 3
    assert (here["step"], here["epoch"]) == (9, 2)
