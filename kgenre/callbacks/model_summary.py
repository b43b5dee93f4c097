"""Print the layers, shapes and parameter counts before training."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from kgenre.callbacks.callback import Callback
from kgenre.lightning_arguments import explain_arguments

if TYPE_CHECKING:
    from kgenre.training.module import Module
    from kgenre.training.trainer import Trainer

_NARROWEST = 24  # characters: Keras refuses to divide fewer into four columns


class ModelSummary(Callback):
    """Prints Keras's summary of each model that the module holds, and a line for each layer outside one.

    Args:
        max_depth: 1: the layers of each model; more, or -1: the layers inside of them too; 0: nothing.

    Raises:
        ValueError: ``max_depth`` is below -1.

    Example:
        >>> Trainer(callbacks=[ModelSummary(max_depth=-1)])
    """

    @explain_arguments
    def __init__(self, max_depth: int = 1) -> None:
        if max_depth < -1:
            raise ValueError(f"ModelSummary(max_depth=...) must be -1, 0 or more. Received: {max_depth}")
        self.max_depth = max_depth

    def on_fit_start(self, trainer: Trainer, module: Module) -> None:
        """Print once, before the first step."""
        import keras
        from rich.console import Console

        from kgenre.engines.named_variables import keras_layers

        # In a notebook Keras displays the table as HTML; with a print_fn it would add an empty output.
        how = None if Console().is_jupyter else print
        narrow = _NARROWEST if shutil.get_terminal_size().columns - 4 < _NARROWEST else None
        for layer in keras_layers(module) if self.max_depth else ():
            if isinstance(layer, keras.Model):
                layer.summary(line_length=narrow, print_fn=how, expand_nested=self.max_depth != 1)
            else:
                # A layer that no step uses is not built, and Keras cannot count its parameters.
                count = f"{layer.count_params():,} parameters" if layer.built else "not used in a step"
                print(f"{layer.name} ({type(layer).__name__}): {count}")
