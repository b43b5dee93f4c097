"""Averaged weights: an exponential moving average, or the mean of the last part of training (SWA)."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from kgenre.callbacks.averaged_weights import AveragedWeights
from kgenre.callbacks.callback import Callback
from kgenre.lightning_arguments import explain_arguments

if TYPE_CHECKING:
    from kgenre.training.module import Module
    from kgenre.training.trainer import Trainer

_log = logging.getLogger("kgenre")


class WeightAveraging(Callback):
    """Averages the weights inside the compiled step, validates with the average, and ends with it.

    Validations during a fit, checkpoints and the module after the fit use the averaged weights (after Ctrl-C only the
    checkpoints); training continues with its own weights, also after a resume. Until the average is first updated,
    nothing changes. All weights of layers are averaged, including BatchNorm statistics, as in Lightning's
    ``EMAWeightAveraging``.

    Args:
        decay: the average becomes ``decay * average + (1 - decay) * weights``; None: the plain mean of the weights so
            far (stochastic weight averaging, Izmailov et al. 2018, https://arxiv.org/abs/1803.05407).
        update_every_n_steps: update the average every n optimizer updates.
        update_starting_at_step: from this update on; None: the first.
        update_starting_at_epoch: from this epoch on, counted from 0; None: the first.

    Raises:
        ValueError: a decay outside [0, 1), or an invalid count; (when the fit begins) there are several.

    Example:
        >>> Trainer(callbacks=[WeightAveraging(decay=0.999)])
        >>> Trainer(max_epochs=40, callbacks=[WeightAveraging(decay=None, update_starting_at_epoch=30)])  # SWA
    """

    @explain_arguments
    def __init__(
        self,
        decay: float | None = 0.999,
        update_every_n_steps: int = 1,
        update_starting_at_step: int | None = None,
        update_starting_at_epoch: int | None = None,
    ) -> None:
        if decay is not None and not 0 <= decay < 1:
            raise ValueError(f"WeightAveraging(decay=...) must be at least 0 and below 1, or None. Received: {decay}")
        first_step, first_epoch = update_starting_at_step or 0, update_starting_at_epoch or 0
        if update_every_n_steps < 1 or first_step < 0 or first_epoch < 0:
            raise ValueError(
                "WeightAveraging takes update_every_n_steps >= 1, update_starting_at_step >= 0 and "
                f"update_starting_at_epoch >= 0. Received: update_every_n_steps={update_every_n_steps}, "
                f"update_starting_at_step={update_starting_at_step}, "
                f"update_starting_at_epoch={update_starting_at_epoch}"
            )
        self.first_epoch = first_epoch
        self.step_part: AveragedWeights = AveragedWeights(decay, update_every_n_steps, first_step)

    def setup(self, trainer: Trainer, module: Module, stage: str) -> None:
        """Refuse a second `WeightAveraging`: the module can end with only one average."""
        if stage == "fit" and sum(isinstance(callback, WeightAveraging) for callback in trainer.callbacks) > 1:
            raise ValueError("A run can have only one WeightAveraging: its average is validated. Received: several.")

    def on_fit_start(self, trainer: Trainer, module: Module) -> None:
        """Forget the weights that an earlier fit put aside."""
        self.step_part.trained = None

    def on_train_epoch_start(self, trainer: Trainer, module: Module) -> None:
        """Start averaging in the epoch ``update_starting_at_epoch``."""
        trainer.engine.set_variable(self.step_part.active, trainer.current_epoch >= self.first_epoch)

    def on_validation_epoch_start(self, trainer: Trainer, module: Module) -> None:
        """Put the average into the module for validation."""
        if trainer.stage == "fit" and trainer.engine.get_variable(self.step_part.count) > 0:
            self.step_part.trained = self._weights(trainer)
            self._put_average(trainer)

    def on_validation_epoch_end(self, trainer: Trainer, module: Module) -> None:
        """Put the training weights back."""
        self._put_back(trainer)

    def on_exception(self, trainer: Trainer, module: Module, exception: BaseException) -> None:
        """Put the training weights back if validation was interrupted."""
        self._put_back(trainer)

    def on_train_end(self, trainer: Trainer, module: Module) -> None:
        """Leave the average in the module; warn if most of it is still the weights that it started with."""
        decay, count = self.step_part.decay, int(trainer.engine.get_variable(self.step_part.count))
        first = decay ** (count - 1) if decay is not None and count > 0 else 0.0
        if first > 0.5 and not trainer.fast_dev_run:
            _log.warning(
                "WeightAveraging(decay=%g): after %d updates, %.0f %% of the average is still the weights after the "
                "first one. Train longer, or set a smaller decay, such as %.2g.",
                *(decay, count, 100 * first, 0.01 ** (1 / count)),  # with which one percent is left
            )
        if count > 0:
            trained = self._weights(trainer)
            self._put_average(trainer)
            for name, variable in self.step_part.averages.items():  # for a checkpoint that is saved after the fit
                variable.assign(trained[name])
            trainer.engine.pull()
            self.step_part.is_exchanged = True

    def _weights(self, trainer: Trainer) -> dict[str, Any]:
        return trainer.engine.to_host({name: variable.value for name, variable in self.step_part.averaged.items()})

    def _put_average(self, trainer: Trainer) -> None:
        for name, variable in self.step_part.averaged.items():
            variable.assign(self.step_part.averages[name])
        trainer.engine.pull()

    def _put_back(self, trainer: Trainer) -> None:
        trained, self.step_part.trained = self.step_part.trained, None
        if trained is not None:
            for name, variable in self.step_part.averaged.items():
                variable.assign(trained[name])
            trainer.engine.pull()
