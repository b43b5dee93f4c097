"""XLA or not under TensorFlow: faster for some networks, ten times slower for others. Chosen by measurement."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Any

from kgenre.tuning.step_times import known_step_times, model_key, step_times, way

if TYPE_CHECKING:
    from kgenre.training.trainer import Trainer

_log = logging.getLogger("kgenre")
CLEARLY = 0.8  # of the time of the other way


def choose_jit_compile(trainer: Trainer, batch: Any) -> bool:
    """Whether this fit's steps are compiled with XLA: from the Trainer's flag, and the engine is told.

    "auto" means: as when the run began, as this machine's table of step times says, or as measured now, on the run's
    own state, which is put back.

    Args:
        trainer: about to fit, its engine built and restored.
        batch: one of training.
    """
    t = trainer
    if t.jit_compile != "auto" or t.engine.name != "tensorflow" or t.is_trial:
        return t.jit_compile is True
    chosen = t.chosen_jit_compile if t.resumed else None
    if chosen is None:
        ways = [way(t.precision, jit_compile) for jit_compile in (False, True)]
        known = known_step_times(model_key(t.engine))
        if not known.keys() >= set(ways):
            known = step_times(t.engine, batch, t.precision)
        plain, xla = (known[each] for each in ways)
        chosen = xla < CLEARLY * plain
        said = "with" if chosen else "without"
        with_xla = f"{1e3 * xla:.3g}" if math.isfinite(xla) else "impossible"
        _log.info("jit_compile=auto: %.3g ms a step, %s with XLA: %s.", 1e3 * plain, with_xla, said)
    t.engine.jit_compile(chosen)
    return chosen


def say_what_is_faster(trainer: Trainer) -> None:
    """One line, if this machine's table knows of a clearly faster way to train this model than that of this run."""
    t = trainer
    known = known_step_times(model_key(t.engine))
    now = way(t.precision, t.chosen_jit_compile is True, len(t.step_options.devices))
    best = min(known, key=lambda name: known[name], default=now)
    if not t.is_trial and now in known and known[best] < CLEARLY * known[now]:
        times = (1e3 * known[now], now, 1e3 * known[best], best)
        _log.info("A step of this model was measured here: %.3g ms as in this run (%s), %.3g with %s.", *times)
