"""The loops that do not train: validation, test and prediction."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from kgenre.training.data_module import iterate_epoch
from kgenre.training.evaluation_sources import EvaluationSource
from kgenre.training.limits import exhausted_source_error

if TYPE_CHECKING:
    from kgenre.training.trainer import Trainer


def evaluate(
    trainer: Trainer, stage: str, sources: Sequence[EvaluationSource], limit: float = math.inf
) -> list[list[Any]]:
    """Run a stage ("validation", "test" or "predict") once over its sources, at most ``limit`` batches of each.

    Returns:
        For each source, the predictions for its batches, in host memory; empty lists in the other stages.
    """
    engine, results = trainer.engine, trainer.results
    hook = {part: getattr(trainer.hooks, f"on_{stage}_{part}") for part in _HOOKS}
    predictions: list[list[Any]] = [[] for _ in sources]

    trainer.num_evaluation_batches = sum(min(one.batches, limit) for one in sources)
    outside = trainer.state.stage  # not None for a validation inside a fit
    if not trainer.sanity_checking:
        trainer.state.stage = _RUNNING[stage]
    hook["start"]()
    hook["epoch_start"]()
    engine.pull()
    results.start_evaluation()
    for dataloader_idx, one in enumerate(sources):
        count = min(one.batches, limit)
        results.start_epoch(engine, one.stage)
        batches = engine.prefetch(iterate_epoch(one.source, 0), limit=None if math.isinf(count) else int(count))
        batch_idx = -1
        for batch_idx, batch in enumerate(batches):
            results.hooks_batch = "evaluation", batch
            hook["batch_start"](batch, batch_idx, dataloader_idx)
            outputs = engine.eval_step(one.stage, batch)
            hook["batch_end"](outputs, batch, batch_idx, dataloader_idx)
            results.hooks_batch = None
            if stage == "predict" and trainer.keeps_predictions:
                predictions[dataloader_idx].append(engine.to_host(outputs))
            trainer.stop_signal.raise_if_received()
        if batch_idx < 0 < count:
            raise exhausted_source_error("val" if stage == "validation" else stage)
        results.add_epoch(engine, one.stage)
    engine.sync()
    hook["epoch_end"]()
    results.write(trainer.global_step)
    hook["end"]()
    trainer.state.stage = outside
    return predictions


_Running = Literal["validate", "test", "predict"]
_RUNNING: dict[str, _Running] = {"validation": "validate", "test": "test", "predict": "predict"}
_HOOKS = ("start", "epoch_start", "batch_start", "batch_end", "epoch_end", "end")
