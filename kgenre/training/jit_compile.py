"""Choose by measurement whether TensorFlow uses XLA: it is faster for some networks, ten times slower for others."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Any

from kgenre.tuning.step_times import known_step_times, model_key, step_times, way

if TYPE_CHECKING:
    from kgenre.training.trainer import Trainer

_log = logging.getLogger("kgenre")
IGNORED: dict[tuple[str, Any], str] = {("jax", False): "JAX always compiles", ("torch", True): "torch compiles nothing"}
CLEARLY_FASTER = 0.8  # a way is clearly faster if it takes less than this fraction of the other's time


def choose_jit_compile(trainer: Trainer, batch: Any) -> bool:
    """Return whether this fit's steps are compiled with XLA, by the Trainer's flag; with "auto", set the engine too.

    "auto" uses the first of these: a resumed run's earlier choice, this machine's table of step times, a measurement
    on the run's own state, which is restored afterwards. A deterministic run does not use XLA then.

    Args:
        trainer: a trainer about to fit, its engine built and restored.
        batch: a training batch.
    """
    t = trainer
    if not t.is_trial and (reason := IGNORED.get((t.engine.name, t.jit_compile))):
        _log.warning("jit_compile=%s is ignored: %s.", t.jit_compile, reason)
    if t.jit_compile != "auto" or t.engine.name != "tensorflow" or t.is_trial:
        return t.jit_compile is True
    if t.deterministic:
        _log.warning(
            "jit_compile=auto is ignored: what it measures may differ when the run is repeated, which deterministic=%s "
            "rules out. Set jit_compile=True or False.",
            t.deterministic,
        )
        return False
    chosen = t.chosen_jit_compile if t.resumed else None
    if chosen is None:
        ways = [way(t.precision, jit_compile) for jit_compile in (False, True)]
        known = known_step_times(model_key(t.engine))
        if not known.keys() >= set(ways):
            known = step_times(t.engine, batch, t.precision)
        plain, xla = (known[each] for each in ways)
        chosen = xla < CLEARLY_FASTER * plain
        use = "used" if chosen else "not used"
        with_xla = f"{1e3 * xla:.3g}" if math.isfinite(xla) else "impossible"
        _log.info("jit_compile=auto: XLA is %s (%.3g ms per step, %s with XLA).", use, 1e3 * plain, with_xla)
    t.engine.jit_compile(chosen)
    return chosen


def log_faster_setting(trainer: Trainer) -> None:
    """Log a line if this machine's table of step times has a clearly faster way to train this model than this run's."""
    t = trainer
    known = known_step_times(model_key(t.engine))
    now = way(t.precision, t.chosen_jit_compile is True, len(t.step_options.devices))
    best = min(known, key=lambda name: known[name], default=now)
    if not t.is_trial and now in known and known[best] < CLEARLY_FASTER * known[now]:
        times = (1e3 * known[now], now, 1e3 * known[best], best)
        _log.info("Measured on this machine: a step takes %.3g ms as in this run (%s), but %.3g with %s.", *times)
