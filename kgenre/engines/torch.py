"""The torch engine: each step runs eagerly, autograd works on the values of the Keras variables themselves."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import torch
from keras import ops

from kgenre.engines.base_engine import BaseEngine
from kgenre.engines.step_logs import StepLogs, add_to_sums, initial_sums
from kgenre.engines.step_options import StepOptions
from kgenre.engines.traced_step import weight_penalty
from kgenre.engines.weight_update import apply_gradients, process_gradients


class TorchEngine(BaseEngine):
    """See `kgenre.engines.engine.Engine`. The Keras variables hold the tensors.

    Nothing is compiled, so nothing is traced. A step still runs in the same scope as on the other backends: its
    assignments are made after the backward pass, as autograd does not allow in-place changes before that.
    """

    name = "torch"

    def __init__(self, options: StepOptions) -> None:
        super().__init__(options)
        self._sums: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
        self._batch_idx: dict[str, torch.Tensor] = {}
        self._device = ops.zeros(()).device  # where Keras creates tensors
        self._count = 0

    def _divide(self) -> None:
        known = dict(zip(map(id, self._trainable), self._accumulated, strict=False))  # empty without accumulation
        super()._divide()
        if self.options.devices:  # layers created before the Trainer may be on another device
            for variable in self.built.all_variables.values():
                variable.value.data = variable.value.data.to(self._device)
        self._is_checked = False  # `train_step` checks: evaluations may add variables without an optimizer
        if self.options.accumulate_grad_batches > 1:
            zeros = (torch.zeros_like(v.value, requires_grad=False) for v in self._trainable)
            self._accumulated = [known.get(id(v), zero) for v, zero in zip(self._trainable, zeros, strict=True)]

    # --- steps --------------------------------------------------------------------------------------------------

    def train_step(self, batch: Any, update: bool = True) -> tuple[dict[str, Any], Any]:
        if not self._is_checked:
            self.built.check_optimized()
            self._is_checked = True
        result = self.built.run("train", (batch, self._batch_idx["train"]))
        outputs, gradients = result.outputs, None
        if result.loss is not None:
            loss = result.loss + weight_penalty(self.built.module)
            outputs = outputs | {"loss": loss}  # including regularisation: the value that is minimised
            gradients = self._gradients(loss, is_reached=result.loss.requires_grad)
        with torch.no_grad():
            for variable, value in result.updates:
                variable.assign(value)
            recorded = result.logs.recorded()
            if self.options.accumulate_grad_batches > 1:
                gradients = self._accumulate(gradients, update)
            if update and gradients is not None:
                recorded |= self._update(gradients)
            logged = self._add_logs("train", recorded)
        return {name: _detached(value) for name, value in outputs.items()}, logged

    def eval_step(self, stage: str, batch: Any) -> Any:
        with torch.no_grad():
            result = self.built.run(stage, (batch, self._batch_idx[stage]))
            for variable, value in result.updates:
                variable.assign(value)
            self._add_logs(stage, result.logs.recorded())
        return result.outputs

    def why_single_steps(self, batch: Any) -> str | None:
        return "torch compiles nothing"

    def train_steps(self, batches: Sequence[Any], size: int, update: bool = True) -> Any:
        return [self.train_step(batch, update)[1] for batch in batches][-1]

    def _gradients(self, loss: torch.Tensor, is_reached: bool) -> Sequence[torch.Tensor]:
        if not is_reached:
            self.built.raise_no_gradient()
            return []
        values = [v.value for v in self._trainable]
        # Zero, not None, for a variable that the loss does not reach: weight decay then acts as under JAX.
        return torch.autograd.grad(self.built.scaled(loss), values, allow_unused=True, materialize_grads=True)

    def _accumulate(self, gradients: Sequence[torch.Tensor] | None, update: bool) -> Sequence[torch.Tensor] | None:
        """Accumulate; return the mean gradient, or None without an update or if no batch of the group had a loss."""
        if gradients:  # none if a hook froze every layer
            torch._foreach_add_(self._accumulated, gradients)
            self._count += 1
        if not update or not self._count:
            return None
        mean = torch._foreach_div(self._accumulated, self._count)
        torch._foreach_zero_(self._accumulated)
        self._count = 0
        return mean

    def _update(self, gradients: Sequence[torch.Tensor]) -> dict[str, Any]:
        """Update the weights unless a gradient overflowed, and return what ``configure_gradients`` logged."""
        with StepLogs(training=True) as logs:
            gradients, finite = process_gradients(self.built, self.options, gradients)
        if finite is None or bool(finite):  # waits for the device, but only under loss scaling
            apply_gradients(self.built, gradients)
        return logs.recorded()

    # --- logs ---------------------------------------------------------------------------------------------------

    def _add_logs(self, stage: str, recorded: dict[str, tuple[Any, Any]]) -> torch.Tensor:
        entries = self.built.entries[stage]
        logged = self.built.stack(stage, recorded)
        if any(entry.on_epoch for entry in entries):
            self._sums[stage] = add_to_sums(entries, self._sums[stage], logged)
        self._batch_idx[stage] = self._batch_idx[stage] + 1  # not in place: the step may have returned it
        return logged

    def start_epoch(self, stage: str, first_batch: int = 0, saved: Mapping[str, np.ndarray] | None = None) -> None:
        totals, weights = initial_sums(self.built.entries[stage], saved)
        self._sums[stage] = (self._tensor(np.array(totals, np.float32)), self._tensor(np.array(weights, np.float32)))
        self._batch_idx[stage] = self._tensor(np.int32(first_batch))
        if self.options.accumulate_grad_batches > 1 and (added := self.built.saved_gradients(saved)):
            for total, gradient in zip(self._accumulated, added[1:], strict=True):
                total.copy_(torch.from_numpy(np.array(gradient)))
            self._count = int(added[0])

    # --- state --------------------------------------------------------------------------------------------------

    @staticmethod
    def _numpy(tensor: Any) -> np.ndarray:
        if isinstance(tensor, torch.Tensor) and tensor.dtype != torch.bfloat16:
            return np.array(tensor.detach().cpu().numpy())  # Keras would pass it the tensor, and NumPy would warn
        return ops.convert_to_numpy(tensor)

    # --- input --------------------------------------------------------------------------------------------------

    def prefetch(self, batches: Iterable[Any], limit: int | None = None, at_once: int = 1) -> Iterator[Any]:
        if hasattr(batches, "as_numpy_iterator"):  # a tf.data.Dataset
            batches = batches.as_numpy_iterator()
        for batch in itertools.islice(batches, limit):
            yield keras.tree.map_structure(self._tensor, batch)

    def _tensor(self, array: Any) -> torch.Tensor:
        if not isinstance(array, torch.Tensor):
            # A copy: tf.data's arrays are read-only views, and an eager step might write to its batch.
            array = torch.from_numpy(np.array(array))
        if array.dtype == torch.float64:  # NumPy's default; JAX and Keras's own fit convert it to float32 too
            array = array.float()
        if self._device.type == "cuda" and array.device.type == "cpu":
            # A copy from pinned memory does not wait for previous steps.
            return array.pin_memory().to(self._device, non_blocking=True)
        return array.to(self._device)


def _detached(tree: Any) -> Any:
    """Detach tensors from their autograd graph, which holds all activations of the step."""
    if isinstance(tree, torch.Tensor):  # the usual case; traversing a tree costs as much as a small layer
        return tree.detach()
    return keras.tree.map_structure(lambda x: x.detach() if isinstance(x, torch.Tensor) else x, tree)
