"""The loops that do not train: validation, test and prediction."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from kgenre.training.data_module import iterate_epoch

if TYPE_CHECKING:
    from kgenre.training.trainer import Trainer


def evaluate(trainer: Trainer, stage: str, source: Iterable[Any], batches: int | float) -> list[Any]:
    """One pass of a stage ("validation", "test" or "predict"); returns the predictions in host memory."""
    engine, results = trainer.engine, trainer.results
    hook = {part: getattr(trainer.hooks, f"on_{stage}_{part}") for part in _HOOKS}
    predictions = []

    trainer.num_evaluation_batches = batches
    outside = trainer.state.stage  # a validation inside a fit
    if not trainer.sanity_checking:
        trainer.state.stage = _RUNNING[stage]
    hook["start"]()
    hook["epoch_start"]()
    engine.pull()
    engine.start_epoch(stage)
    count = None if math.isinf(batches) else int(batches)
    for batch_idx, batch in enumerate(engine.prefetch(iterate_epoch(source, 0), limit=count)):
        hook["batch_start"](batch, batch_idx)
        outputs = engine.eval_step(stage, batch)
        hook["batch_end"](outputs, batch, batch_idx)
        if stage == "predict" and trainer.keeps_predictions:
            predictions.append(engine.to_host(outputs))
    results.add_epoch(engine, stage)
    engine.sync()
    hook["epoch_end"]()
    results.write(trainer.global_step)
    hook["end"]()
    trainer.state.stage = outside
    return predictions


_RUNNING = {"validation": "validate", "test": "test", "predict": "predict"}
_HOOKS = ("start", "epoch_start", "batch_start", "batch_end", "epoch_end", "end")
