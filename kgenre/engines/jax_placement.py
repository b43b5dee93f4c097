"""The placement of the JAX engine's arrays on several devices: the state replicated, batches sharded by rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from kgenre.engines.step_error import StepError


class Placement:
    """Data parallelism by sharding: the batches are sharded, and XLA partitions the step and sums up the gradients.

    Losses, BatchNorm statistics and random numbers are those of the whole batch, as on one device.

    Args:
        devices: as Keras names them, ["gpu:0", "gpu:1"].
    """

    def __init__(self, devices: Sequence[str]) -> None:
        known = {f"{d.platform}:{d.id}": d for d in jax.devices(devices[0].partition(":")[0])}
        self.mesh = Mesh(np.array([known[name] for name in devices]), ("batch",))
        self._first = known[devices[0]]
        self.replicated = NamedSharding(self.mesh, PartitionSpec())
        self._sharded = NamedSharding(self.mesh, PartitionSpec("batch"))

    def state(self, value: jax.Array) -> jax.Array:
        """Replicate a value on all devices; inside a step, constrain it to be replicated."""
        if isinstance(value, jax.core.Tracer):
            return jax.lax.with_sharding_constraint(value, self.replicated)
        return jax.device_put(value, self.replicated)

    def variable(self, value: jax.Array) -> jax.Array:
        """Move a value to the first device, where users expect a Keras variable."""
        return jax.device_put(value, self._first)

    def batch(self, batch: Any) -> Any:
        """Shard a batch's rows over the devices; scalars are replicated.

        Raises:
            StepError: the number of rows is not divisible by the number of devices.
        """
        return jax.tree.map(self._shard, batch)

    def _shard(self, array: Any) -> jax.Array:
        if not np.ndim(array):
            return self.state(array)
        devices = self.mesh.size
        if array.shape[0] % devices:
            raise StepError(
                f"Each batch is divided among {devices} devices. Received one of {array.shape[0]} rows: make "
                f"batch_size a multiple of {devices} and drop or pad the last batch, or use another number of devices."
            )
        return jax.device_put(array, self._sharded)
