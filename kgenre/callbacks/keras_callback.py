"""Run a Keras callback in a kgenre run."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from kgenre.callbacks.callback import Callback, overrides

if TYPE_CHECKING:
    import keras

    from kgenre.training.module import Module
    from kgenre.training.trainer import Trainer

# Callbacks that rely on internals of `keras.Model.fit`, and what to use instead.
_REPLACEMENTS = {
    "BackupAndRestore": "Trainer.fit(ckpt_path='last')",
    "ProgbarLogger": "ProgressBar",
    "SwapEMAWeights": "WeightAveraging",
    "TensorBoard": "TensorBoardLogger",
}
_STAGES, _PARTS = ("train", "validation", "test", "predict"), ("start", "end", "batch_start", "batch_end")
_HOOKS = [f"on_{stage}_{part}" for stage in _STAGES for part in _PARTS]
_HOOKS += ["on_train_epoch_start", "on_train_epoch_end"]


class KerasCallback(Callback):
    """Runs a ``keras.callbacks.Callback``, a user's own or one of Keras's.

    Supported: ``on_train_begin`` and ``_end``, ``on_epoch_*``, ``on_train_batch_*``, ``on_test_*``, ``on_predict_*``
    and their ``_batch_`` forms; ``self.model`` is the module's Keras model, with ``self.model.optimizer`` and
    ``self.model.stop_training``; ``logs`` holds the logged values under Keras's names ("val_loss" for "val/loss",
    "loss" for "train/loss", in ``on_test_*`` for "val/loss" or "test/loss") and finds them under their own names too.
    What training steps log ``on_epoch=True`` is, as in Keras, the epoch's mean so far, and otherwise the newest step's
    value. A callback that overrides a batch hook makes each step wait for its values, as in Keras.

    Not supported: a Keras callback has no state to save, so it starts from scratch when a run is resumed.
    BackupAndRestore, ProgbarLogger, SwapEMAWeights and TensorBoard rely on internals of ``fit``; they are refused, and
    the error names what to use instead.

    Args:
        callback: the Keras callback.
        model: the module's attribute that ``self.model`` should be; None: its only Keras model.

    Raises:
        TypeError: not a Keras callback, or one of the four that are refused.
        ValueError: (when the run starts) the module has no such model, or has several and ``model`` is None.

    Example:
        >>> Trainer(callbacks=KerasCallback(keras.callbacks.CSVLogger("log.csv")))
    """

    monitors = True

    def __init__(self, callback: keras.callbacks.Callback, model: str | None = None) -> None:
        import keras

        kind = type(callback).__name__
        if not isinstance(callback, keras.callbacks.Callback):
            raise TypeError(f"KerasCallback takes a keras.callbacks.Callback. Received: {kind}")
        if kind in _REPLACEMENTS and type(callback).__module__.startswith("keras."):
            raise TypeError(
                f"keras.callbacks.{kind} relies on internals of keras.Model.fit. "
                f"Use kgenre's {_REPLACEMENTS[kind]} instead."
            )
        self.callback = callback
        self.model = model
        self._view: _ModelView | None = None
        for ours in _HOOKS:
            theirs = ours.replace("start", "begin").replace("validation", "test").replace("train_epoch", "epoch")
            # Only for overridden hooks: others would cost time in each step. "on_batch_end" is Keras's older name.
            names = (theirs, theirs.replace("train_batch", "batch"))
            if any(overrides(callback, name, keras.callbacks.Callback) for name in names):
                setattr(self, ours, self._forward(ours, theirs))

    @property
    def state_key(self) -> str:
        """One key per class of Keras callback."""
        return f"KerasCallback({type(self.callback).__name__})"

    def setup(self, trainer: Trainer, module: Module, stage: str) -> None:
        """Drop the view of the model: this stage may run another module."""
        self._view = None

    def _forward(self, ours: str, theirs: str) -> Callable[..., None]:
        is_batch, at_end = "_batch_" in ours, theirs.endswith("_end")
        own = {"validation": "val/", "test": "test/"}.get(ours.split("_")[1], "train/")  # Keras leaves these out

        def hook(trainer: Trainer, module: Module, *given: Any) -> None:
            if trainer.sanity_checking:
                return
            view = self._view or self._connect(trainer, module)
            arguments: list[Any] = [trainer.current_epoch] if "epoch" in theirs else []
            if is_batch:
                arguments = [given[2 if at_end else 1]]  # of (outputs, batch, batch_idx) or (batch, batch_idx)
            logs = None
            if at_end:
                so_far = trainer.results.training_epoch_so_far(trainer.engine) if "_train_" in ours else {}
                logs = _Logs(trainer.callback_metrics | so_far, own)
            getattr(self.callback, theirs)(*arguments, logs)
            if is_batch:
                trainer.engine.pull()
            if view.stop_training:
                trainer.should_stop = True

        return hook

    def _connect(self, trainer: Trainer, module: Module) -> _ModelView:
        from kgenre.engines.named_variables import keras_layers

        models = [layer for layer in keras_layers(module) if hasattr(layer, "fit")]
        if self.model is not None:
            models = [getattr(module, self.model, None)]
            if models[0] is None:
                where = f"{type(module).__name__}.{self.model}"
                raise ValueError(f"{self.state_key} needs a Keras model as {where}. Received: None.")
        if len(models) != 1:
            raise ValueError(
                f"{self.state_key} needs one Keras model, but {type(module).__name__} has {len(models)}. "
                "Name the attribute that holds it: KerasCallback(callback, model=...)."
            )
        self._view = view = _ModelView(models[0], trainer)
        counts = {"epochs": trainer.max_epochs, "steps": trainer.num_training_batches}
        known = {name: None if math.isinf(count) else count for name, count in counts.items()}
        self.callback.set_params({"verbose": 0, **known})
        self.callback.set_model(view)
        return view


class _Logs(dict[str, float]):
    """Logged values under Keras's names; lookups by their own names work too, but iteration yields each once."""

    def __init__(self, metrics: Mapping[str, float], own: str) -> None:
        super().__init__((name.removeprefix(own).replace("/", "_"), value) for name, value in metrics.items())
        self._metrics = metrics

    def __missing__(self, name: str) -> float:
        return self._metrics[name]

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or name in self._metrics

    def get(self, name: str, default: Any = None) -> Any:
        return super().get(name, self._metrics.get(name, default))


class _ModelView:
    """A Keras model as a callback of ``fit`` sees it, with ``optimizer`` and ``stop_training``."""

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
