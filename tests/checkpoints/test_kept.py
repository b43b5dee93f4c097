"""Checkpoints of earlier versions still load, and training can be resumed from them."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from kgenre.checkpoints import read_checkpoint, read_state
from kgenre.checkpoints.migrations import SCHEMA

HERE = Path(__file__).parent
KEPT = sorted((HERE / "kept").glob("schema_*"))
_spec = importlib.util.spec_from_file_location("write_kept", HERE / "write_kept.py")
write_kept = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(write_kept)


def test_one_checkpoint_per_schema():
    assert [folder.name for folder in KEPT] == [f"schema_{n}" for n in range(1, SCHEMA + 1)]


@pytest.mark.parametrize("folder", KEPT, ids=lambda folder: folder.name)
def test_loads_and_resumes(folder):
    path = folder / "step=000006"
    state = read_checkpoint(path).state
    assert read_state(path) == state
    assert (state["epoch"], state["batch"], state["global_step"]) == (1, 2, 6)
    assert write_kept.Kept.load_from_checkpoint(path).learning_rate == 0.05
    expected = json.loads((folder / "expected.json").read_text())
    found = write_kept.outcome(write_kept.fit(8, ckpt_path=path))
    for name, array in expected["weights"].items():
        np.testing.assert_allclose(found["weights"][name], array, rtol=1e-5, atol=1e-6, err_msg=name)
    if folder.name != "schema_1":  # which lacks the metric sums of the epoch so far
        assert found["metrics"] == pytest.approx(expected["metrics"], rel=1e-5)
