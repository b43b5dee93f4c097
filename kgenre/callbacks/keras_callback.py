"""A Keras callback in a kgenre run."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from kgenre.callbacks.callback import Callback

if TYPE_CHECKING:
    import keras

    from kgenre.training.module import Module
    from kgenre.training.trainer import Trainer

# Those that reach into `keras.Model.fit`, and what to take instead.
_INSTEAD = {
    "BackupAndRestore": "Trainer.fit(ckpt_path='last')",
    "ProgbarLogger": "ProgressBar",
    "SwapEMAWeights": "WeightAveraging",
    "TensorBoard": "TensorBoardLogger",
}


class KerasCallback(Callback):
    """Runs a ``keras.callbacks.Callback``, a user's own or one of Keras's.

    What maps: ``on_train_begin`` and ``_end``, ``on_epoch_*``, ``on_train_batch_*``, ``on_test_*``, ``on_predict_*``
    and their ``_batch_`` forms; ``self.model`` is the module's Keras model, with ``self.model.optimizer`` and
    ``self.model.stop_training``; ``logs`` holds the logged values under their own names and under Keras's
    ("val/loss" is "val_loss" too, "train/loss" is "loss"). A callback that overrides a batch hook makes each step wait
    for its values, as in Keras.

    What does not: a Keras callback has no state to save, so it starts anew when a run is resumed. BackupAndRestore,
    ProgbarLogger, SwapEMAWeights and TensorBoard use the insides of ``fit``; they are refused, with what to take
    instead.

    Args:
        callback: the Keras callback.
        model: the module's attribute that ``self.model`` should be; None: its only Keras model.

    Raises:
        TypeError: not a Keras callback, or one of those that are refused.
        ValueError: (when the run starts) the module has no Keras model, or several and ``model`` names none.

    Example:
        >>> Trainer(callbacks=KerasCallback(keras.callbacks.CSVLogger("log.csv")))
    """

    monitors = True

    def __init__(self, callback: keras.callbacks.Callback, model: str | None = None) -> None:
        import keras

        kind = type(callback).__name__
        if not isinstance(callback, keras.callbacks.Callback):
            raise TypeError(f"KerasCallback takes a keras.callbacks.Callback. Received: {kind}")
        if kind in _INSTEAD and type(callback).__module__.startswith("keras."):
            raise TypeError(
                f"keras.callbacks.{kind} uses the insides of keras.Model.fit. Take kgenre's {_INSTEAD[kind]} instead."
            )
        self.callback = callback
        self.model = model
        self._view: _ModelView | None = None
        # A step costs nothing for batch hooks that nobody wrote.
        for stage, ours in (("train", "train"), ("test", "validation"), ("test", "test"), ("predict", "predict")):
            for theirs, moment in (("begin", "start"), ("end", "end")):
                name = f"on_{stage}_batch_{theirs}"
                names = [name, f"on_batch_{theirs}"] if stage == "train" else [name]  # Keras's older name
                if any(getattr(type(callback), n) is not getattr(keras.callbacks.Callback, n) for n in names):
                    setattr(self, f"on_{ours}_batch_{moment}", self._batch_hook(name))

    @property
    def state_key(self) -> str:
        """One state for each class of Keras callback."""
        return f"KerasCallback({type(self.callback).__name__})"

    def setup(self, trainer: Trainer, module: Module, stage: str) -> None:
        """Another stage may be of another module."""
        self._view = None

    def on_fit_start(self, trainer: Trainer, module: Module) -> None:
        """Hand over the model."""
        self._connect(trainer, module)

    def on_train_start(self, trainer: Trainer, module: Module) -> None:
        """``on_train_begin``."""
        self._call(trainer, "on_train_begin")

    def on_train_end(self, trainer: Trainer, module: Module) -> None:
        """``on_train_end``."""
        self._call(trainer, "on_train_end", self._logs(trainer))

    def on_train_epoch_start(self, trainer: Trainer, module: Module) -> None:
        """``on_epoch_begin``."""
        self._call(trainer, "on_epoch_begin", trainer.current_epoch)

    def on_train_epoch_end(self, trainer: Trainer, module: Module) -> None:
        """``on_epoch_end``, after validation."""
        self._call(trainer, "on_epoch_end", trainer.current_epoch, self._logs(trainer))

    def on_validation_start(self, trainer: Trainer, module: Module) -> None:
        """``on_test_begin``."""
        if not trainer.sanity_checking:
            self._connect(trainer, module)
            self._call(trainer, "on_test_begin")

    def on_validation_end(self, trainer: Trainer, module: Module) -> None:
        """``on_test_end``."""
        if not trainer.sanity_checking:
            self._call(trainer, "on_test_end", self._logs(trainer))

    def on_test_start(self, trainer: Trainer, module: Module) -> None:
        """``on_test_begin``."""
        self.on_validation_start(trainer, module)

    def on_test_end(self, trainer: Trainer, module: Module) -> None:
        """``on_test_end``."""
        self.on_validation_end(trainer, module)

    def on_predict_start(self, trainer: Trainer, module: Module) -> None:
        """``on_predict_begin``."""
        self._connect(trainer, module)
        self._call(trainer, "on_predict_begin")

    def on_predict_end(self, trainer: Trainer, module: Module) -> None:
        """``on_predict_end``."""
        self._call(trainer, "on_predict_end")

    def _connect(self, trainer: Trainer, module: Module) -> None:
        if self._view is not None:
            return
        from kgenre.engines.named_variables import keras_layers

        models = [layer for layer in keras_layers(module) if hasattr(layer, "fit")]
        if self.model is not None:
            models = [getattr(module, self.model)]
        if len(models) != 1:
            raise ValueError(
                f"{self.state_key} needs one Keras model, and {type(module).__name__} has {len(models)}. "
                "Name the attribute that holds it: KerasCallback(callback, model=...)."
            )
        self._view = _ModelView(models[0], trainer)
        epochs, steps = trainer.max_epochs, trainer.num_training_batches
        self.callback.set_params({"verbose": 0, "epochs": epochs, "steps": steps})
        self.callback.set_model(self._view)

    def _batch_hook(self, name: str) -> Callable[..., None]:
        def hook(trainer: Trainer, module: Module, *arguments: Any) -> None:
            if trainer.sanity_checking:
                return
            end = name.endswith("_end")
            batch_idx = arguments[2 if end else 1]  # (outputs, batch, batch_idx), (batch, batch_idx)
            self._call(trainer, name, batch_idx, self._logs(trainer) if end else None)
            trainer.engine.pull()

        return hook

    def _call(self, trainer: Trainer, name: str, *arguments: Any) -> None:
        getattr(self.callback, name)(*arguments)
        if self._view.stop_training:
            trainer.should_stop = True

    @staticmethod
    def _logs(trainer: Trainer) -> dict[str, float]:
        metrics = trainer.callback_metrics
        return {name.removeprefix("train/").replace("/", "_"): value for name, value in metrics.items()} | metrics


class _ModelView:
    """A Keras model as a callback of ``fit`` sees it: with its optimizer and the wish to stop."""

    def __init__(self, model: keras.Model, trainer: Trainer) -> None:
        self._model = model
        self._trainer = trainer
        self.stop_training = False

    @property
    def optimizer(self) -> Any:
        return next(iter(self._trainer.optimizers), None)

    def jax_state_sync(self) -> None:
        """Keras calls this when a callback reads ``self.model`` under JAX."""
        self._trainer.engine.sync()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)
