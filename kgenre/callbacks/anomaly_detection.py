"""Stop training at the first number that is not finite, and report where it comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kgenre.callbacks.callback import Callback
from kgenre.users_code import ShortTraceback

if TYPE_CHECKING:
    from kgenre.training.module import Module
    from kgenre.training.trainer import Trainer


class AnomalyError(ShortTraceback, RuntimeError):
    """A training step produced a NaN or an infinity."""


class AnomalyDetection(Callback):
    """Raises an error at the first loss or weight that is NaN or infinite; ``Trainer(detect_anomaly=True)`` adds it.

    The error names the step and the first cause found, in this order: an entry of the batch, the first layer whose
    output is not finite, the loss itself, the weights whose gradient is not finite. The module keeps the weights from
    before that step. Every step waits for the device and copies the whole state, so use it to debug, not to train;
    `TerminateOnNaN` costs next to nothing.

    Raises:
        AnomalyError: (while training) see above.

    Example:
        >>> Trainer(detect_anomaly=True).fit(module, batches)
    """

    def __init__(self) -> None:
        self._before: dict[str, Any] = {}

    def on_train_batch_start(self, trainer: Trainer, module: Module, batch: Any, batch_idx: int) -> None:
        """Keep the state, random states included, so that the step can be run again."""
        self._before = trainer.engine.state_dict()

    def on_train_batch_end(
        self, trainer: Trainer, module: Module, outputs: dict[str, Any], batch: Any, batch_idx: int
    ) -> None:
        """Check the loss and the weights."""
        import keras

        from kgenre.engines.anomaly import first_layer_not_finite, is_finite

        loss = trainer.engine.to_host(outputs.get("loss", 0.0))
        after = trainer.engine.state_dict()
        bad = [name for name, array in after.items() if not is_finite(array) and is_finite(self._before[name])]
        if is_finite(loss) and not bad:
            return
        trainer.engine.load_state_dict(self._before)
        trainer.engine.sync()
        flat = keras.tree.flatten_with_path(batch)
        inputs = ["/".join(map(str, path)) or "the batch" for path, leaf in flat if not is_finite(leaf)]
        layer = None if inputs else first_layer_not_finite(trainer.engine.built, batch, batch_idx)
        if inputs:
            cause = f"the batch itself contains NaN or infinity ({', '.join(inputs)}): check the data"
        elif layer is not None:
            cause = f"the first layer whose output is not finite is {layer.name!r} ({type(layer).__name__})"
        elif not is_finite(loss):
            cause = f"the loss is {float(loss)}, though every layer's output is finite: check how it is computed"
        else:
            cause = f"the loss is {float(loss):.4g}, but its gradient is not finite for {_some(bad)}"
        raise AnomalyError(
            f"detect_anomaly: in epoch {trainer.current_epoch + 1}, batch {batch_idx + 1}, {cause}. The weights are "
            "those from before this batch."
        )


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
