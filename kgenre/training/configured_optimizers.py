"""Parse what ``configure_optimizers`` returns: optimizers by variable pattern, and learning-rate schedulers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kgenre.callbacks import Callback, LearningRateScheduler, ReduceLROnPlateau
from kgenre.training.errors import TrainerError

_FORMS = (
    "an optimizer, a dict with 'optimizer' and 'lr_scheduler', or a dict of these by pattern of variable names: "
    '{"encoder.*": Adam(1e-4), ".*": Adam(1e-3)}'
)
_SCHEDULER_KEYS = ("scheduler", "interval", "frequency", "monitor")
_LIGHTNINGS_KEYS = {
    "strict": "a monitored value that nothing logs is always an error: leave it out",
    "name": "LearningRateMonitor names rates after their optimizer, such as lr-Adam: leave it out",
    "reduce_on_plateau": "a ReduceLROnPlateau is recognised: leave it out",
}


@dataclass
class ConfiguredOptimizers:
    """The optimizers by pattern, in order, and the callbacks that set their learning rates."""

    optimizers: dict[str, Any] = field(default_factory=dict)
    schedulers: list[Callback] = field(default_factory=list)


def configured_optimizers(module: Any) -> ConfiguredOptimizers:
    """Read what ``module.configure_optimizers()`` returns.

    Raises:
        TrainerError: the value has none of the forms that `Module.configure_optimizers` documents.
    """
    returned, where = module.configure_optimizers(), f"{type(module).__name__}.configure_optimizers"
    if isinstance(returned, list | tuple):
        returned = _only_one(returned, where)
    by_pattern = isinstance(returned, Mapping) and "optimizer" not in returned
    configured = ConfiguredOptimizers()
    for pattern, item in (returned if by_pattern else {".*": returned}).items():
        item = item if isinstance(item, Mapping) else {"optimizer": item}
        unknown = [key for key in item if key not in ("optimizer", "lr_scheduler", "monitor")]
        if unknown or not isinstance(pattern, str):
            raise TrainerError(f"{where} must return {_FORMS}. Received the key {(unknown or [pattern])[0]!r}.")
        optimizer = _check_optimizer(item.get("optimizer"), where)
        if any(optimizer is other for other in configured.optimizers.values()):
            raise TrainerError(f"{where} uses one optimizer for several patterns: create one for each.")
        if item.get("lr_scheduler") is not None or item.get("monitor") is not None:
            options = _options(item.get("lr_scheduler"), item.get("monitor"), where)
            scheduler = _scheduler(options, optimizer, len(configured.optimizers), where)
            if any(scheduler is other for other in configured.schedulers):
                raise TrainerError(f"{where} uses one ReduceLROnPlateau for several optimizers: create one for each.")
            configured.schedulers += [scheduler] if scheduler is not None else []
        configured.optimizers[pattern] = optimizer
    if not configured.optimizers:
        raise TrainerError(f"{where} must return {_FORMS}. Received: {returned!r}")
    return configured


def _only_one(returned: Any, where: str) -> Any:
    """Unwrap Lightning's forms ``[optimizer]`` and ``[optimizer], [scheduler]``."""
    if len(returned) == 2 and all(isinstance(part, list | tuple) for part in returned):
        optimizers, schedulers = returned
        if len(optimizers) == 1 and len(schedulers) <= 1:
            return {"optimizer": optimizers[0], "lr_scheduler": schedulers[0] if schedulers else None}
    elif len(returned) == 1:
        return returned[0]
    raise TrainerError(f"{where} must return {_FORMS}. Received: {returned!r}")


def _check_optimizer(optimizer: Any, where: str) -> Any:
    import keras

    if not isinstance(optimizer, keras.optimizers.Optimizer):
        raise TrainerError(f"{where} must return {_FORMS}. Received: {optimizer!r}")
    if isinstance(optimizer, keras.optimizers.MultiOptimizer):
        raise TrainerError(
            f"{where} returned a MultiOptimizer, which has no learning rate to log or schedule, and cannot freeze a "
            'layer during a fit. Return the optimizers by pattern: {"encoder.*": Adam(1e-4), ".*": Adam(1e-3)}'
        )
    if getattr(optimizer, "gradient_accumulation_steps", None):
        raise TrainerError(
            "The optimizer has gradient_accumulation_steps, which advances schedules with every batch. "
            "Leave it out and use Trainer(accumulate_grad_batches=...)."
        )
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer) or getattr(optimizer, "loss_scale_factor", None):
        raise TrainerError(
            f"{where} returned an optimizer that scales the loss. Return a plain one: "
            "Trainer(precision='16-mixed') scales the loss where float16 needs it."
        )
    rate = optimizer._learning_rate
    if callable(rate) and not isinstance(rate, keras.optimizers.schedules.LearningRateSchedule):
        raise TrainerError(
            f"{where}: the learning rate is a function, which a compiled step would call only once. Pass a number or a "
            "Keras LearningRateSchedule, or a function (index, rate) as 'lr_scheduler'."
        )
    if optimizer.use_ema:
        raise TrainerError(
            "The optimizer has use_ema=True, which averages weights but never evaluates with them. Leave it out and "
            "give the Trainer kgenre.callbacks.WeightAveraging(decay=0.999)."
        )
    return optimizer


def _options(given: Any, monitor: str | None, where: str) -> dict[str, Any]:
    """Return a scheduler with its options; in Lightning ``monitor`` may also stand beside "lr_scheduler"."""
    options = dict(given) if isinstance(given, Mapping) else {"scheduler": given}
    for key in options:
        if key in _LIGHTNINGS_KEYS:
            raise TrainerError(f"{where}: lr_scheduler has no key {key!r}: {_LIGHTNINGS_KEYS[key]}.")
        if key not in _SCHEDULER_KEYS:
            raise TrainerError(f"{where}: lr_scheduler takes {', '.join(_SCHEDULER_KEYS)}. Received: {key!r}")
    return {"monitor": monitor, **options}


def _scheduler(options: Mapping[str, Any], optimizer: Any, position: int, where: str) -> Callback | None:
    """Return the callback that sets the learning rate; None if the optimizer got a Keras schedule to set it itself."""
    import keras

    scheduler, monitor = options.get("scheduler"), options.get("monitor")
    interval, frequency = options.get("interval", "epoch"), options.get("frequency", 1)
    if isinstance(scheduler, ReduceLROnPlateau):
        if (interval, frequency) != ("epoch", 1):
            raise TrainerError(
                f"{where}: ReduceLROnPlateau checks each validation. Leave interval and frequency out, and use its "
                f"patience and cooldown. Received: interval={interval!r}, frequency={frequency}"
            )
        scheduler.monitor, scheduler.optimizer = monitor or scheduler.monitor, position
        return scheduler
    if monitor is not None:
        raise TrainerError(f"{where}: monitor={monitor!r} needs ReduceLROnPlateau. Received: {scheduler!r}")
    if isinstance(scheduler, keras.optimizers.schedules.LearningRateSchedule):
        if (interval, frequency) == ("step", 1):
            optimizer.learning_rate = scheduler  # compiled into the step
            return None
        schedule = scheduler
        scheduler = lambda index, rate: schedule(index)  # noqa: E731
    if not callable(scheduler):
        raise TrainerError(
            f"{where}: a scheduler must be a function of (index, learning_rate), a Keras LearningRateSchedule or a "
            f"kgenre.callbacks.ReduceLROnPlateau. Received: {scheduler!r}"
        )
    try:
        return LearningRateScheduler(scheduler, interval, frequency, position)
    except ValueError as error:
        raise TrainerError(f"{where}: {error}") from None
