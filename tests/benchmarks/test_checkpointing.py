"""The benchmark of checkpoints: a quick run with its results, and wrong options."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "checkpointing.py"
BACKEND = os.environ.get("KERAS_BACKEND", "tensorflow")


def run(*arguments):
    return subprocess.run([sys.executable, SCRIPT, *map(str, arguments)], capture_output=True, text=True, timeout=600)


@pytest.mark.skipif(BACKEND == "torch", reason="the benchmark compares JAX and TensorFlow")
@pytest.mark.exhaustive
def test_quick_run(tmp_path):
    output = tmp_path / "results.json"
    done = run("--quick", "--backends", BACKEND, "--output", output)
    assert done.returncode == 0, done.stderr
    results = json.loads(output.read_text())
    found = {(row["measure"], row["what"]): row for row in results["rows"]}
    assert {what for measure, what in found if measure == "train"} == {"none", "async", "sync"}
    assert {what for measure, what in found if measure == "start"} == {"fresh", "resumed"}
    ours, bare = found["save", "kgenre"], found["save", "write + fsync"]
    assert ours["bytes"] == pytest.approx(bare["bytes"], rel=0.01)
    assert ours["bytes"] > 3 * 4 * 4_303_129
    assert all(len(row["seconds"]) == results["rounds"] == 2 for row in found.values())
    assert run("--render", output).stdout == done.stdout


@pytest.mark.parametrize("arguments", [["--rounds", "0"], ["--batch-size", "-1"], ["--measures", "all"]])
def test_wrong_options_are_refused(arguments):
    done = run(*arguments)
    assert done.returncode == 2
    assert arguments[0] in done.stderr
