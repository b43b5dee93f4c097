"""The learning rate that a run was trained with, as its options say."""

from __future__ import annotations

from typing import Any

from kgenre.reports.run import Run


def learning_rate(run: Run) -> tuple[str, Any]:
    """The option for a run's first learning rate, and its value; None where it was left to Keras."""
    for part, name in (("lr_scheduler", "initial_learning_rate"), ("optimizer", "learning_rate")):
        given = run.config.get(part) or {}
        if given.get("class_path"):  # it took the place of the module's
            return f"--{part}.{name}", (given.get("init_args") or {}).get(name)
    return "--model.learning_rate", run.config.get("model", {}).get("init_args", {}).get("learning_rate")


def rate_ran_out(run: Run) -> bool:
    """Whether the learning rate fell to 0 by the end, and the losses came to rest with it."""
    schedule = run.config.get("model", {}).get("init_args", {}).get("schedule")
    if schedule != "cosine" or learning_rate(run)[0] != "--model.learning_rate":
        return False
    trainer = run.config.get("trainer", {})  # of Python code nothing is known
    ends = (trainer.get("max_epochs"), trainer.get("max_steps"))
    return not trainer or len(run.epochs) == ends[0] or run.epochs[-1]["step"] == ends[1]
