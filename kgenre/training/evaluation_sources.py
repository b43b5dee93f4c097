"""Split what is given to an evaluation into one or several sources of batches, and number them."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kgenre.training.errors import TrainerError
from kgenre.training.limits import number_of_batches


@dataclass(frozen=True)
class EvaluationSource:
    """A source of batches, how many of them to use, and the engine's stage that evaluates it."""

    stage: str  # "validation"; with several sources "validation/0", "validation/1", ...
    source: Any
    batches: int | float


def evaluation_sources(module: Any, stage: str, given: Any, limit: int | float | None) -> list[EvaluationSource]:
    """Return the sources of an evaluation; an empty list if ``given`` is None.

    Args:
        module: the module whose step evaluates them.
        stage: "validation", "test" or "predict".
        given: one source, such as a list of batches, or a list, tuple or dict of several sources.
        limit: the number of batches of each source, or a fraction; None: all.

    Raises:
        TrainerError: several sources for a step that does not take ``dataloader_idx``.
    """
    if given is None:
        return []
    sources, step = _several_sources(given), f"{stage}_step"
    if len(sources) > 1 and "dataloader_idx" not in inspect.signature(getattr(module, step)).parameters:
        raise TrainerError(
            f"There are {len(sources)} {stage} sets, so {type(module).__name__}.{step} must take the number of "
            f"the set: def {step}(self, batch, batch_idx, dataloader_idx=0)."
        )
    stages = [stage] if len(sources) == 1 else [f"{stage}/{number}" for number in range(len(sources))]
    name = "val" if stage == "validation" else stage
    return [
        EvaluationSource(stage, source, number_of_batches(source, limit, name))
        for stage, source in zip(stages, sources, strict=True)
    ]


def _several_sources(given: Any) -> list[Any]:
    """Return the sources in a list, tuple or dict of sources; a list of batches is one source.

    Each item is a batch if it is a dict, a tuple, an array, or a list that begins with an array. It is a source if it
    is a list that begins with a batch, or any other iterable.
    """
    if isinstance(given, Mapping):
        given = list(given.values())
        if any(map(_is_batch, given)):
            raise TrainerError(
                "A dict of data pipelines was expected. Received: a dict of arrays or batches. Divide arrays into "
                "batches with kgenre.ArrayDataset(arrays, batch_size=32)."
            )
    if isinstance(given, list | tuple) and given and not any(map(_is_batch, given)):
        return list(given)
    return [given]


def one_source(given: Any) -> Any:
    """Return the source of training batches.

    Raises:
        TrainerError: there are several sources.
    """
    sources = [given] if isinstance(given, Mapping) else _several_sources(given)
    if len(sources) > 1:
        raise TrainerError(f"Training takes one data pipeline. Received: a {type(given).__name__} of {len(sources)}.")
    return sources[0]


def _is_batch(value: Any) -> bool:
    if isinstance(value, list):
        return not (value and isinstance(value[0], Mapping | tuple | list))
    return isinstance(value, Mapping | tuple | int | float) or hasattr(value, "shape") or hasattr(value, "__array__")
