"""Ctrl-C, SIGTERM and the restart loop of the README, with the command in a process of its own.

Each start takes seconds: by default only Ctrl-C is sent, on one backend; `pytest -m exhaustive` sends SIGTERM too.
"""

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kgenre.checkpoints import leftovers, read_checkpoint

EXAMPLES = Path(__file__).parents[2] / "configs" / "examples"
EPOCHS, BATCHES = 60, 5
LOOP = 'until "$@" --ckpt_path last; do echo $? >> codes; read; done; echo 0 >> codes'


class Loop(subprocess.Popen):
    def wait_for(self, is_there, seconds=120):
        end = time.monotonic() + seconds
        while not is_there():
            assert self.poll() is None, "the loop has ended"
            assert time.monotonic() < end, f"nothing in {seconds} s"
            time.sleep(0.02)


def validated(run):
    """Return the steps of the validations so far."""
    with (run / "metrics.csv").open(newline="") as file:
        return [int(row["step"]) for row in csv.DictReader(file) if row.get("val/loss")]


CODES = {signal.SIGINT: "130", signal.SIGTERM: "143"}


@pytest.mark.one_backend("jax")
@pytest.mark.parametrize("signals", [[signal.SIGINT], pytest.param([*CODES], marks=pytest.mark.exhaustive)])
def test_the_restart_loop_resumes_after_each_signal(tmp_path, signals):
    command = [sys.executable, "-m", "kgenre", "fit", "--model", "digits.DigitNet", "--data", "digits.Digits"]
    command += ["--data.batch_size", "240", "--trainer.name", "run", "--trainer.max_epochs", str(EPOCHS)]
    folders = f"{EXAMPLES}{os.pathsep}{EXAMPLES.parents[1]}"
    environment = os.environ | {"KGENRE_ALLOW_IMPORT": "digits", "PYTHONPATH": folders}
    run, codes = tmp_path / "runs" / "run" / "version_0", tmp_path / "codes"
    bash, pipe = ["bash", "-c", LOOP, "loop", *command], subprocess.PIPE
    with (tmp_path / "log.txt").open("w") as log:
        loop = Loop(bash, cwd=tmp_path, env=environment, stdin=pipe, stdout=log, stderr=log)
        try:
            seen = 0
            for ended, number in enumerate(signals, 1):
                # Wait until it is a few epochs further than before.
                loop.wait_for(lambda seen=seen: (run / "metrics.csv").exists() and len(validated(run)) > seen + 2)
                os.kill(int((run / ".lock").read_text()), number)
                loop.wait_for(lambda ended=ended: codes.exists() and len(codes.read_text().split()) == ended)
                assert not (run / ".lock").exists()
                assert leftovers(run / "checkpoints") == []
                saved = [read_checkpoint(path) for path in (run / "checkpoints").glob("step=*")]
                step, seen = max(checkpoint.state["global_step"] for checkpoint in saved), len(validated(run))
                assert validated(run) == [BATCHES * epoch for epoch in range(1, seen + 1)]
                # Stopped in an epoch's last step, it leaves the validation to the resumed run.
                assert seen == step // BATCHES or (seen == step // BATCHES - 1 and step % BATCHES == 0)
                loop.stdin.write(b"\n")
                loop.stdin.flush()
            assert loop.wait(120) == 0
        finally:
            loop.kill()
    assert codes.read_text().split() == [*(CODES[number] for number in signals), "0"]
    text = (tmp_path / "log.txt").read_text()
    assert (
        text.count("no checkpoint under runs/run that a run can be resumed from, so training starts from the beginning")
        == 1
    )
    assert text.count("Resuming from") == len(signals)
    assert "Traceback" not in text
    assert [path.name for path in run.parent.iterdir()] == ["version_0"]
    assert validated(run) == [BATCHES * epoch for epoch in range(1, EPOCHS + 1)]
