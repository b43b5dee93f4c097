"""After a SIGKILL at any point, the next start resumes from a valid checkpoint and ends with the same weights.

By default a few kills are tried; ``pytest -m exhaustive`` tries each point of the checkpoint writer and random times.
"""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import keras
import pytest

from kgenre.checkpoints import leftovers, read_checkpoint

pytestmark = pytest.mark.one_backend("tensorflow")
PART = Path(__file__).with_name("killed_run.py")
TESTS = PART.parent.parent
KILLED = 9
FAULTS = [
    "before_writing",
    "half_a_file",
    "before_the_manifest",
    "half_a_manifest",
    "before_the_rename",
    "after_the_rename",
    "before_last",
    "half_a_pointer",
    "before_best",
    "before_pruning",
    "half_pruned",
    "after_saving_before_the_curves",
]


@pytest.fixture(scope="module")
def server():
    """``server(root, fault=..., nth=...)`` runs `killed_run.py` and returns the signal that ended the run, or None."""
    if not hasattr(os, "fork") or keras.backend.backend() == "torch":
        pytest.skip("forks after importing the backend, which torch's threads do not outlive")
    env = os.environ | {"PYTHONPATH": f"{TESTS.parent}{os.pathsep}{TESTS}", "TF_CPP_MIN_LOG_LEVEL": "3"}
    process = subprocess.Popen(
        [sys.executable, PART],
        env=env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )

    def run(root, **order):
        process.stdin.write(json.dumps({"root": str(root), **order}) + "\n")
        process.stdin.flush()
        ended = json.loads(process.stdout.readline())
        error = root / "error.txt"
        assert not error.exists(), error.read_text()[-3000:]
        return ended["signal"]

    yield run
    process.stdin.close()
    process.terminate()
    process.wait(60)


@pytest.fixture(scope="module")
def straight(server, tmp_path_factory):
    """The result of an uninterrupted run."""
    root = tmp_path_factory.mktemp("straight")
    assert server(root) is None
    return result(root)


def result(root):
    found = json.loads((root / "result.json").read_text())
    folder = Path(found.pop("folder"))
    found["rows"] = rows(folder)
    found["checkpoints"] = sorted(path.name for path in (folder / "checkpoints").iterdir())
    return found


def rows(folder):
    import csv

    with (folder / "metrics.csv").open() as file:
        return [{n: v for n, v in row.items() if not n.startswith("throughput")} for row in csv.DictReader(file)]


def check(server, straight, root, *, ends=(KILLED,), **order):
    """Kill a run, start it again and compare its result; return whether the second start resumed a checkpoint."""
    assert server(root, **order) in ends
    assert server(root) is None
    found = result(root)
    resumed, expected = found.pop("resumed"), {name: value for name, value in straight.items() if name != "resumed"}
    assert found == expected
    assert leftovers(root / "run" / "version_0" / "checkpoints") == []
    for path in (root / "run").glob("version_*/checkpoints/step=*"):
        read_checkpoint(path)
    return resumed


@pytest.mark.parametrize("fault", ["half_a_file", "after_the_rename", "half_pruned"])
def test_kill_while_saving(server, straight, tmp_path, fault):
    assert check(server, straight, tmp_path, fault=fault, nth=5)


@pytest.mark.exhaustive
@pytest.mark.parametrize("in_background", [False, True])
@pytest.mark.parametrize("nth", [1, 2, 5, 12])
@pytest.mark.parametrize("fault", FAULTS)
def test_kill_at_each_point_of_each_save(server, straight, tmp_path, fault, nth, in_background):
    resumed = check(server, straight, tmp_path, fault=fault, nth=nth, in_background=in_background)
    # A run that is killed before its first checkpoint is in place has nothing to resume from. If checkpoints are
    # written in the background, this may still be so when the curves of the second step are written.
    before_the_second = fault == "after_saving_before_the_curves" and in_background and nth == 2
    assert resumed or nth == 1 or before_the_second


@pytest.mark.exhaustive
@pytest.mark.parametrize("trial", range(60))
def test_kill_at_a_random_time(server, straight, tmp_path, trial):
    draw = random.Random(trial)
    started, after = str(tmp_path / "started"), draw.random() * 3.0
    ends = (KILLED, None)  # it may have ended before
    check(server, straight, tmp_path, ends=ends, kill_after=after, started=started, in_background=draw.random() < 0.3)
