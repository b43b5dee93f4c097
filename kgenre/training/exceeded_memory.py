"""The note that is added to an out-of-memory error."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kgenre.engines.devices import computing_devices
from kgenre.engines.out_of_memory import EXCEEDED, is_out_of_memory
from kgenre.users_code import ShortTraceback

if TYPE_CHECKING:
    from kgenre.training.trainer import Trainer


def add_memory_advice(trainer: Trainer, error: BaseException) -> None:
    """Add a note (PEP 678) to an out-of-memory error; not to kgenre's own errors, nor in a search, which handles it."""
    t = trainer
    if t.is_trial or isinstance(error, ShortTraceback) or not is_out_of_memory(error):
        return
    sizes = (getattr(owner, "batch_size", None) for owner in (t.datamodule, t.module))
    size = next((f" with batches of {size}" for size in sizes if size), "")
    said = f"{EXCEEDED}{size}. Use a smaller batch_size"
    if t.stage == "fit":
        said += (
            " (accumulate_grad_batches can keep the updates the same) or precision='bf16-mixed'. "
            "The callback BatchSizeFinder finds the largest size that fits"
        )
    if computing_devices(t.step_options.devices)[0].startswith("gpu"):
        said += ". Another program, such as a notebook kernel, may be using the GPU's memory (nvidia-smi shows it)"
    error.add_note(f"{said}.")
