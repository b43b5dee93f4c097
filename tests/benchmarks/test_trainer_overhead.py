import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.one_backend("tensorflow")
ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "benchmarks" / "trainer_overhead.py"
BACKEND = os.environ.get("KERAS_BACKEND", "tensorflow")


@pytest.fixture
def overhead(benchmarks):
    return benchmarks("trainer_overhead")


def run(*arguments):
    return subprocess.run([sys.executable, SCRIPT, *map(str, arguments)], capture_output=True, text=True, timeout=300)


def test_quick_run_trains_all_contestants_alike(tmp_path):
    output = tmp_path / "new" / "results.json"
    contestants = ["kgenre", "hand-written"]
    done = run("--quick", "--backends", BACKEND, "--contestants", *contestants, "--output", output)
    assert done.returncode == 0, done.stderr

    results = json.loads(output.read_text())
    assert [row["contestant"] for row in results["rows"]] == contestants
    assert results["steps"] == 50
    assert {"date", "cpu", "cores", "device", "git_commit"} <= results.keys()
    assert {"keras", "kgenre"} <= results["versions"].keys()
    assert ("tensorflow" in results["versions"]) == (BACKEND == "tensorflow")
    ours, by_hand = results["rows"]
    assert len(ours["us_per_step"]) == results["rounds"] == 3
    assert 0 < ours["final_loss"] < 0.5 * ours["initial_loss"]
    assert ours["final_loss"] == pytest.approx(by_hand["final_loss"], rel=1e-3)
    ratio, low, high = ours["ratios"]["hand-written"]
    assert low <= ratio <= high
    assert ratio == pytest.approx(ours["median"] / by_hand["median"])
    assert run("--render", output).stdout == done.stdout
    assert f"| kgenre | {BACKEND} |" in done.stdout


@pytest.mark.parametrize(
    "arguments", [["--rounds", "0"], ["--steps", "-1"], ["--backends", "theano"], ["--lightning-python", "/no/python"]]
)
def test_wrong_options_are_refused(arguments):
    done = run(*arguments)
    assert done.returncode == 2
    assert arguments[0] in done.stderr


def test_failed_process_shows_its_log(tmp_path):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho there is no torch here >&2\nexit 3\n")
    python.chmod(0o755)
    done = run("--quick", "--contestants", "lightning", "--lightning-python", python)
    assert done.returncode == 1
    assert "lightning on torch (arrays) ended with code 3:\nthere is no torch here" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("final", "said"), [(float("nan"), "did not train"), (1.5, "did not train"), (0.3, "the others at"), (0.101, None)]
)
def test_untrained_contestant_is_named(overhead, final, said):
    rows = [
        {"contestant": name, "backend": "jax", "input": "arrays", "initial_loss": 1.0, "final_loss": loss}
        for name, loss in (("kgenre", final), ("keras-fit", 0.1), ("hand-written", 0.1))
    ]
    lines = overhead.untrained(rows)
    assert [line.split(" on ")[0] for line in lines] == (["kgenre"] if said else [])
    assert all(said in line for line in lines)
