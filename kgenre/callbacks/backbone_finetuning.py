"""Train a network's head first, then the whole network."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from kgenre.callbacks.callback import Callback
from kgenre.callbacks.loss_watch import factor_of_rollbacks
from kgenre.callbacks.reject_schedules import reject_schedules
from kgenre.lightning_arguments import explain_arguments

if TYPE_CHECKING:
    from kgenre.training.module import Module
    from kgenre.training.trainer import Trainer

_log = logging.getLogger("kgenre")


def multiplicative(epoch: int) -> float:
    """Double the backbone's learning rate each epoch."""
    return 2.0


class BackboneFinetuning(Callback):
    """Keeps a pretrained part of the module frozen for some epochs, then trains it with an increasing learning rate.

    The part needs an optimizer of its own: ``configure_optimizers`` returns
    ``{"backbone.*": keras.optimizers.Adam(...), ".*": keras.optimizers.Adam(1e-3)}``. Leave the part trainable before
    the fit: layers that are already frozen stay frozen. After the fit, ``trainable`` is restored everywhere.

    Args:
        unfreeze_backbone_at_epoch: the first epoch (from 0) that trains it.
        lambda_func: in each later epoch its rate is multiplied by ``lambda_func(epoch + 1)``.
        backbone_initial_ratio_lr: its first rate, relative to that of the rest.
        backbone_initial_lr: its first rate, as an absolute value instead; lowered as other rates are by rollbacks of
            `TerminateOnNaN` or `SpikeDetection`.
        should_align: once its rate reaches that of the rest, it follows it.
        train_bn: train its BatchNormalization layers from the beginning.
        verbose: log the rates of each epoch.
        backbone: the module's attribute that holds it, a Keras layer or model; or the name of a layer or model inside
            the module's, such as "MobileNetV3Small".

    Raises:
        ValueError: an invalid epoch or rate, or (when the fit begins) no attribute or layer has this name, nothing in
            it is trainable, or it shares its optimizer.
        TypeError: (when the fit begins) its optimizer was given a Keras schedule, which sets the rate by itself.

    Example:
        >>> Trainer(max_epochs=20, callbacks=BackboneFinetuning(unfreeze_backbone_at_epoch=5))
    """

    @explain_arguments
    def __init__(
        self,
        unfreeze_backbone_at_epoch: int = 10,
        lambda_func: Callable[[int], float] = multiplicative,
        backbone_initial_ratio_lr: float = 0.1,
        backbone_initial_lr: float | None = None,
        should_align: bool = True,
        train_bn: bool = True,
        verbose: bool = False,
        backbone: str = "backbone",
    ) -> None:
        first = backbone_initial_ratio_lr if backbone_initial_lr is None else backbone_initial_lr
        if unfreeze_backbone_at_epoch < 0 or not 0 < first < math.inf:
            raise ValueError(
                "BackboneFinetuning takes unfreeze_backbone_at_epoch >= 0, and a finite backbone_initial_lr or "
                "backbone_initial_ratio_lr above 0. Received: "
                f"unfreeze_backbone_at_epoch={unfreeze_backbone_at_epoch}, backbone_initial_lr={backbone_initial_lr}, "
                f"backbone_initial_ratio_lr={backbone_initial_ratio_lr}"
            )
        self.unfreeze_backbone_at_epoch = unfreeze_backbone_at_epoch
        self.lambda_func = lambda_func
        self.backbone_initial_ratio_lr = backbone_initial_ratio_lr
        self.backbone_initial_lr = backbone_initial_lr
        self.should_align = should_align
        self.train_bn = train_bn
        self.verbose = verbose
        self.backbone = backbone
        self._flags: list[tuple[Any, bool]] = []  # each layer with its original ``trainable``
        self._newest: int | None = None  # the epoch whose rate was set last

    def setup(self, trainer: Trainer, module: Module, stage: str) -> None:
        """Forget an earlier fit; a checkpoint's state is loaded later."""
        if stage == "fit":
            self._newest = None

    def on_fit_start(self, trainer: Trainer, module: Module) -> None:
        """Freeze the backbone, after its optimizer has created its state."""
        layers = self._layers(module)
        mine = {id(variable) for layer in layers for variable in layer.trainable_variables}
        if not mine:
            raise ValueError(
                f"BackboneFinetuning: {self.backbone} has no trainable weights: it was frozen before the fit. Leave it "
                "trainable; BackboneFinetuning freezes it."
            )
        owners = [[id(v) in mine for v in group.values()] for group in trainer.engine.built.groups]
        pure = [position for position, own in enumerate(owners) if own and all(own)]
        if len(pure) != 1 or sum(map(sum, owners)) != len(owners[pure[0]]) or len(owners) < 2:
            raise ValueError(
                f"BackboneFinetuning sets the learning rate of {self.backbone} separately, so it needs its own "
                f"optimizer: return {{'{self.backbone}.*': an optimizer, '.*': another}} from configure_optimizers."
            )
        self._optimizer, self._rest = pure[0], next(i for i in range(len(owners)) if i != pure[0])
        self._flags = [(part, part.trainable) for layer in layers for part in layer._flatten_layers()]
        reject_schedules("BackboneFinetuning", trainer, self._optimizer)
        if trainer.current_epoch < self.unfreeze_backbone_at_epoch:
            self._freeze()

    def on_train_epoch_start(self, trainer: Trainer, module: Module) -> None:
        """Unfreeze the backbone when its epoch has come, and set its learning rate."""
        if trainer.current_epoch < self.unfreeze_backbone_at_epoch:
            self._freeze()  # again: a rollback may have returned to an earlier epoch
            return
        # A run that was saved where the epoch's first step failed has its rate already.
        if trainer.batch_idx or trainer.current_epoch == self._newest:
            return
        self._newest = trainer.current_epoch
        rates = trainer.learning_rates()
        rest = rates[self._rest]
        if trainer.current_epoch == self.unfreeze_backbone_at_epoch:
            self._restore_flags()
            first = self.backbone_initial_lr
            rate = rest * self.backbone_initial_ratio_lr if first is None else first * factor_of_rollbacks(trainer)
        else:
            rate = rates[self._optimizer] * self.lambda_func(trainer.current_epoch + 1)
            rate = min(rate, rest) if self.should_align else rate
        trainer.set_learning_rate(rate, self._optimizer)
        if self.verbose:
            _log.info("Epoch %d: learning rate %.4g, backbone %.4g.", trainer.current_epoch + 1, rest, rate)

    def state_dict(self) -> dict[str, Any]:
        """The epoch whose rate was set last."""
        return {"newest": self._newest}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore it."""
        self._newest = state.get("newest")  # older states lack it

    def teardown(self, trainer: Trainer, module: Module, stage: str) -> None:
        """Restore the original ``trainable`` flags."""
        if stage == "fit":
            self._restore_flags()
            self._flags = []

    def _layers(self, module: Module) -> list[Any]:
        """Return the backbone; if several networks have a layer of this name, all of these."""
        import keras

        from kgenre.engines.named_variables import all_layers

        attribute = getattr(module, self.backbone, None)
        if isinstance(attribute, keras.Layer):
            return [attribute]
        parts = all_layers(module)
        if not (named := [part for part in parts if part.name == self.backbone]):
            models = ", ".join(repr(part.name) for part in parts if isinstance(part, keras.Model)) or "none"
            raise ValueError(
                f"BackboneFinetuning needs a Keras layer or model as {type(module).__name__}.{self.backbone}, or one "
                f"of this name inside its networks. The models there: {models}."
            )
        return named

    def _freeze(self) -> None:
        import keras

        for part, was_trainable in self._flags:  # outer layers come first: setting one sets all layers inside it
            part.trainable = was_trainable and self.train_bn and isinstance(part, keras.layers.BatchNormalization)

    def _restore_flags(self) -> None:
        for part, trainable in self._flags:
            part.trainable = trainable
