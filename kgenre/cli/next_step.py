"""The command to suggest when another one is done: test after fit, report after test."""

from __future__ import annotations

from kgenre.quoted_path import quoted_path
from kgenre.training import Module, Trainer


def print_next_command(trainer: Trainer) -> None:
    """Print the command that tests what was just trained or reports what was just tested, if there is such a run."""
    results, run = trainer.results_dir, trainer.run_dir
    if trainer.state.fn == "test":
        if results is not None and (results / "predictions_test.csv").is_file():
            print(f"Report: kgenre report {quoted_path(results)}", flush=True)
    elif trainer.state.fn == "fit" and run is not None:
        has_checkpoint = any((run / "checkpoints" / name).is_file() for name in ("best", "last"))
        if has_checkpoint and type(trainer.module).test_step is not Module.test_step:
            print(f"Test: kgenre test --ckpt_path {quoted_path(run)}", flush=True)
