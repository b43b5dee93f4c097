"""The Module: a model and its training, validation, test and prediction steps, for every backend."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, Self, cast

from kgenre.engines import prepare_keras, step_logs
from kgenre.lightning_arguments import explain_arguments
from kgenre.training.errors import MissingMethodError
from kgenre.training.hyperparameters import Hyperparameters
from kgenre.training.lightning_names import MODULE_REPLACEMENTS

if TYPE_CHECKING:
    from kgenre.callbacks.callback import Callback
    from kgenre.training.trainer import Trainer


class Module(Hyperparameters):
    """A model with its training: subclass it, hold Keras layers, models and metrics as attributes, write the steps.

    Steps are compiled, so they are written in `keras.ops` and run as Python only once. The losses that Keras layers
    collect (weight and activity regularisers, ``add_loss``) are added to the returned loss, as Keras's ``fit`` does.

    Example:
        >>> class Regression(Module):
        ...     def __init__(self):
        ...         self.model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        ...     def training_step(self, batch, batch_idx):
        ...         loss = keras.ops.mean((self.model(batch["x"]) - batch["y"]) ** 2)
        ...         self.log("train/loss", loss)
        ...         return loss
        ...     def configure_optimizers(self):
        ...         return keras.optimizers.Adam(1e-2)
    """

    _trainer: Trainer | None = None
    _is_configured = False  # whether `configure_model` was called
    # As in Lightning; there is one process.
    global_rank = local_rank = 0
    print = staticmethod(print)

    def __new__(cls, /, *args: Any, **kwargs: Any) -> Self:
        """Prepare Keras before the subclass creates its first layer: a keras.json must not change its results."""
        prepare_keras()
        return super().__new__(cls, *args, **kwargs)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the trainer: a copied or unpickled module does not belong to it."""
        return {name: value for name, value in vars(self).items() if name != "_trainer"}

    if not TYPE_CHECKING:  # a type checker would accept any attribute

        def __getattr__(self, name: str) -> Any:
            """Raise an error that says what to write instead of a Lightning attribute that does not exist here."""
            if name in MODULE_REPLACEMENTS and not hasattr(type(self), name):
                raise AttributeError(f"{type(self).__name__} has no attribute {name!r}: {MODULE_REPLACEMENTS[name]}.")
            return object.__getattribute__(self, name)  # raises Python's own error, or a property's

    # --- what a user writes -------------------------------------------------------------------------------------

    def configure_model(self) -> None:
        """Create the model here instead of in ``__init__`` where it needs the data (classes, vocabulary).

        Called after ``setup`` in each stage, and when a checkpoint is loaded: keep a network that exists already.

        Example:
            >>> def configure_model(self):
            ...     if self.model is None:  # as ``__init__`` leaves it
            ...         self.model = build_network(classes=self.trainer.datamodule.classes)
        """

    def configure_optimizers(self) -> Any:
        """Return the optimizers, in one of these forms.

        - A `keras.optimizers.Optimizer`. Its learning rate is a number or a Keras schedule, which counts updates.
        - ``{"optimizer": optimizer, "lr_scheduler": scheduler}``. A scheduler is a function ``(index, rate) -> rate``
          as `LearningRateScheduler` takes it, a Keras ``LearningRateSchedule`` or a `ReduceLROnPlateau`; or a dict
          with it under "scheduler", "interval" ("epoch" or "step": what the index counts), "frequency" (every n-th of
          these) and "monitor" (for `ReduceLROnPlateau`; this may also stand beside "lr_scheduler").
        - Several: ``{pattern: optimizer}``, each optionally with a scheduler as above. A variable is trained by the
          first pattern (regular expression) that matches its whole name, such as "model.layers.0.kernel": the attribute
          of the module, then the path inside it. Each trainable variable must match one.

        There is one loss: if it is a sum, each variable is trained on all of its terms. If a term goes through a
        network that it must not train (a GAN's generator loss, through the critic), call that network with constant
        weights:

        >>> held = [ops.stop_gradient(v) for v in self.critic.trainable_variables]
        >>> judged, _ = self.critic.stateless_call(held, self.critic.non_trainable_variables, made)

        If one network is updated n times for each update of another (a WGAN's critic), give the other's Adam a schedule
        that is zero in between; its moments then include all gradients:

        >>> class EveryFifth(keras.optimizers.schedules.LearningRateSchedule):
        ...     def __call__(self, step):
        ...         return ops.where(step % 5 == 4, 1e-4, 0.0)

        Example:
            >>> def configure_optimizers(self):
            ...     return {"encoder.*": keras.optimizers.Adam(1e-5), ".*": keras.optimizers.Adam(1e-3)}
        """
        raise MissingMethodError(
            f"{type(self).__name__} must define configure_optimizers(self), for example: "
            "return keras.optimizers.Adam(1e-3)"
        )

    def configure_callbacks(self) -> Callback | list[Callback]:
        """One or several callbacks that this module always needs; the Trainer's callbacks of the same class win."""
        return []

    def configure_gradients(self, gradients: dict[str, Any]) -> dict[str, Any]:
        """Change the gradients before they are clipped and the optimizers see them; compiled into the step.

        Called once per update: with ``accumulate_grad_batches``, on the mean gradient. It may log values, such as the
        gradients' norms.

        Args:
            gradients: the trainable variables' gradients by name ("model.layers.0.kernel"), with the variables' shapes.

        Returns:
            A dict with the same names.
        """
        return gradients

    def training_step(self, batch: Any, batch_idx: Any) -> Any:
        """Return the loss of a batch: a scalar tensor, or a dict with it under "loss"; None skips the batch.

        Pass random operations ``seed=``, a `keras.random.SeedGenerator` that the module holds; for gradients inside the
        loss use `kgenre.gradient`.

        Whether to return None is decided when the step is compiled, from Python values: the batch's shapes, the
        module's attributes. If it depends on the numbers, weight the loss instead (a weight of 0 yields a gradient of
        0). A skipped batch counts in ``global_step`` like any other, but no optimizer updates.

        Args:
            batch: a batch of the training data, as tensors.
            batch_idx: the batch's number in the epoch, an int32 scalar tensor.
        """
        raise MissingMethodError(f"{type(self).__name__} must define training_step(self, batch, batch_idx).")

    def validation_step(self, batch: Any, batch_idx: Any) -> Any:
        """Evaluate a batch: log values, return what ``on_validation_batch_end`` should receive (or nothing).

        With several validation sets write ``validation_step(self, batch, batch_idx, dataloader_idx=0)`` to receive the
        set's number, an int. Logged names then become ``name/dataloader_idx_<n>``. The same holds for test and predict.
        """
        raise MissingMethodError(f"{type(self).__name__} must define validation_step(self, batch, batch_idx).")

    def test_step(self, batch: Any, batch_idx: Any) -> Any:
        """Like `validation_step`, for the test data."""
        raise MissingMethodError(f"{type(self).__name__} must define test_step(self, batch, batch_idx).")

    def predict_step(self, batch: Any, batch_idx: Any) -> Any:
        """Return the prediction for a batch: a tensor or a structure of tensors; by default ``self(batch)``."""
        return self(batch)

    def forward(self, *inputs: Any, **options: Any) -> Any:
        """What ``self(...)`` computes. Only your own steps and the default `predict_step` call it."""
        raise MissingMethodError(
            f"{type(self).__name__} must define predict_step(self, batch, batch_idx), or forward(self, ...), which "
            "self(...) calls."
        )

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        """`forward`, as in Lightning."""
        return self.forward(*inputs, **options)

    # --- logging ------------------------------------------------------------------------------------------------

    @explain_arguments
    def log(
        self,
        name: str,
        value: Any,
        prog_bar: bool = False,
        logger: bool = True,
        on_step: bool | None = None,
        on_epoch: bool | None = None,
        reduce_fx: Literal["mean", "sum", "min", "max"] = "mean",
        batch_size: Any = None,
        add_dataloader_idx: bool = True,
        sync_dist: bool = False,
    ) -> None:
        """Log a scalar, in a step or in a hook; as in Lightning.

        In a step the value stays on the device: ``on_step`` values are fetched every ``log_every_n_steps`` in one
        transfer, ``on_epoch`` ones are accumulated on the device and fetched at the end of the epoch. With both, the
        names are ``name_step`` and ``name_epoch``.

        In a hook of batches the same arguments decide: ``on_epoch`` reduces the values over the epoch, or over all
        batches of an evaluation. In other hooks the value is logged as it is, and of several the newest is kept.

        Args:
            name: such as "train/loss"; the part before the slash groups charts in TensorBoard.
            value: a scalar tensor or number, or a `keras.metrics.Metric` that the module holds: it is read at the end
                of each epoch and reset before the next.
            prog_bar: show it in the progress bar.
            logger: write it to the loggers.
            on_step: log each step's value; default True in ``training_step`` and in hooks of training batches; ignored
                in evaluations and for metrics.
            on_epoch: log the epoch's value; default False where ``on_step`` is True by default, True elsewhere.
            reduce_fx: how the steps' values are reduced to the epoch's: "mean", "sum", "min" or "max".
            batch_size: the weight of this step in the epoch's mean, a number or scalar tensor; None: by the batch's
                rows (the first axis that all its arrays share), so that a smaller last batch counts for less; all steps
                alike if they share none.
            add_dataloader_idx: with several validation or test sets, append ``/dataloader_idx_<n>`` to the name;
                without it each set needs its own names.
            sync_dist: accepted for steps written for Lightning; changes nothing, as there is only one process.

        Raises:
            ValueError: not a scalar, no name, neither ``on_step`` nor ``on_epoch``, or the
                same name twice in a step.
        """
        if not name:
            raise ValueError("log('', ...) needs a name, such as 'train/loss'.")
        if self._trainer is not None and self._trainer.barebones:
            return
        logs = step_logs.current()
        if logs is None:
            results = self._attached_trainer("log").results
            has_steps, suffix = results.in_training_batch, ""
        else:
            results = None
            has_steps, suffix = logs.training and not hasattr(value, "update_state"), logs.suffix
        if not has_steps:
            # An evaluation has no step axis, and a metric is read once per epoch.
            on_step, on_epoch = False, True
        on_step, on_epoch = on_step is None or on_step, bool(on_epoch)
        if not (on_step or on_epoch):
            raise ValueError(
                f"log({name!r}, on_step=False) logs nothing without on_epoch=True. Set it, or leave both out."
            )
        name += suffix if add_dataloader_idx else ""
        entries = [step_logs.LogEntry(name, on_step, on_epoch, prog_bar, logger, reduce_fx)]
        if on_step and on_epoch:
            entries = [
                replace(entries[0], name=f"{name}_step", on_epoch=False, fork_of=name),
                replace(entries[0], name=f"{name}_epoch", on_step=False, fork_of=name),
            ]
        for entry in entries:
            if results is not None:
                results.log_in_hook(entry, value, batch_size)
            elif logs is not None:
                logs.record(entry, value, logs.weight if batch_size is None else batch_size)

    def log_dict(self, dictionary: Mapping[str, Any], **options: Any) -> None:
        """`log` for each item; the options are those of `log`."""
        for name, value in dictionary.items():
            self.log(name, value, **options)

    # --- the run ------------------------------------------------------------------------------------------------

    @property
    def trainer(self) -> Trainer:
        """The trainer that runs this module; in a step, wrapped in `TrainerInStep`.

        Raises:
            RuntimeError: there is none yet.
        """
        trainer = self._attached_trainer("trainer")
        if step_logs.current() is None:
            return trainer
        from kgenre.training.trainer_in_step import TrainerInStep

        return cast("Trainer", TrainerInStep(trainer))

    def _attached_trainer(self, what: str) -> Trainer:
        if self._trainer is None:
            raise RuntimeError(f"{type(self).__name__}.{what} needs a Trainer: call trainer.fit(module, ...) first.")
        return self._trainer

    @property
    def current_epoch(self) -> int:
        """Epochs finished so far; 0 without a trainer. For hooks: a compiled step would keep its first value."""
        return self.trainer.current_epoch if self._trainer else 0

    @property
    def global_step(self) -> int:
        """Optimizer updates so far; 0 without a trainer. For hooks: a compiled step would keep its first value."""
        return self.trainer.global_step if self._trainer else 0

    @property
    def logger(self) -> Any:
        """The first logger of the trainer, or None."""
        return self._trainer.logger if self._trainer else None

    @property
    def loggers(self) -> list[Any]:
        """All loggers of the trainer; none without a trainer."""
        return self._trainer.loggers if self._trainer else []

    def freeze(self) -> None:
        """Freeze every layer; in a running fit this takes effect in the next epoch at the latest."""
        self._set_trainable(False)

    def unfreeze(self) -> None:
        """Train every layer again."""
        self._set_trainable(True)

    def _set_trainable(self, trainable: bool) -> None:
        from kgenre.engines.named_variables import keras_layers

        for layer in keras_layers(self):
            layer.trainable = trainable

    @classmethod
    def load_from_checkpoint(
        cls, checkpoint_path: str | os.PathLike[str], strict: bool = True, **overrides: Any
    ) -> Self:
        """A module with the hyperparameters and weights of a checkpoint.

        Args:
            checkpoint_path: a checkpoint's folder, or a run's folder (its best checkpoint).
            strict: whether all names and shapes must match the checkpoint's. False: variables that do not match keep
                their initial values and are named in a warning (a new head on a trained backbone).
            **overrides: arguments of ``__init__`` that replace the saved ones.

        Raises:
            CheckpointError: not a checkpoint, damaged, or of another model.
            TypeError: ``__init__`` does not take one of the overrides.

        Example:
            >>> module = GenreClassifier.load_from_checkpoint("runs/poster_cnn_2024/version_0")
        """
        from kgenre.training.load_from_checkpoint import load_module

        return load_module(cls, checkpoint_path, overrides, strict)

    # --- hooks; each is called after the callbacks' hook of the same name ------------------------------------------

    def prepare_data(self) -> None:
        """Called first in each stage, before `setup`: download or prepare what is needed."""

    def setup(self, stage: str) -> None:
        """A stage ("fit", "validate", "test", "predict") begins; the datamodule is set up."""

    def teardown(self, stage: str) -> None:
        """A stage is over, however it ended. Not called if the module's own `setup` did not finish."""

    def on_fit_start(self) -> None:
        """Everything is built, and a checkpoint to resume from is loaded."""

    def on_fit_end(self) -> None:
        """The fit is over."""

    def on_sanity_check_start(self) -> None:
        """The few validation batches before training begin."""

    def on_sanity_check_end(self) -> None:
        """The sanity check is over."""

    def on_train_start(self) -> None:
        """Training begins."""

    def on_train_end(self) -> None:
        """Training is over."""

    def on_train_epoch_start(self) -> None:
        """An epoch begins."""

    def on_train_epoch_end(self) -> None:
        """An epoch is over."""

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> int | None:
        """Before a step; return -1 to skip the rest of the epoch."""

    def on_train_batch_end(self, outputs: dict[str, Any], batch: Any, batch_idx: int) -> None:
        """After a step was enqueued; ``outputs`` is what `training_step` returned, on the device."""

    def on_validation_start(self) -> None:
        """Validation begins."""

    def on_validation_end(self) -> None:
        """Validation is over."""

    def on_validation_epoch_start(self) -> None:
        """The pass over the validation data begins."""

    def on_validation_epoch_end(self) -> None:
        """The pass over the validation data is over; values logged here count as the epoch's."""

    def on_validation_batch_start(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Before a validation step."""

    def on_validation_batch_end(self, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """After a validation step was enqueued."""

    def on_test_start(self) -> None:
        """Testing begins."""

    def on_test_end(self) -> None:
        """Testing is over."""

    def on_test_epoch_start(self) -> None:
        """The pass over the test data begins."""

    def on_test_epoch_end(self) -> None:
        """The pass over the test data is over."""

    def on_test_batch_start(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Before a test step."""

    def on_test_batch_end(self, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """After a test step was enqueued."""

    def on_predict_start(self) -> None:
        """Prediction begins."""

    def on_predict_end(self) -> None:
        """Prediction is over."""

    def on_predict_epoch_start(self) -> None:
        """The pass over the data to predict begins."""

    def on_predict_epoch_end(self) -> None:
        """The pass over the data to predict is over."""

    def on_predict_batch_start(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Before a prediction step."""

    def on_predict_batch_end(self, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """After a prediction step was enqueued."""

    def on_exception(self, exception: BaseException) -> None:
        """The run was ended by an error or by Ctrl-C."""

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """A checkpoint's state (JSON values) is about to be written; add to it."""

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """A checkpoint's state was read; called before `configure_model`, and if training goes back to a checkpoint."""
