"""Initial weights drawn by NumPy, since JAX would compile a program for each shape."""

import contextlib
from unittest import mock

import numpy as np
from keras import initializers, ops


@contextlib.contextmanager
def numpy_weights():
    """Within the block, Keras's and kgenre's initializers draw with NumPy; equal shapes get equal values."""

    def drawn(self, shape, dtype=None, **_):
        values = np.random.default_rng(len(shape)).normal(0, 0.05, shape)
        return ops.convert_to_tensor(values.astype(dtype or "float32"))

    with contextlib.ExitStack() as patches:
        for kind in (initializers.VarianceScaling, initializers.Orthogonal, initializers.RandomUniform):
            patches.enter_context(mock.patch.object(kind, "__call__", drawn))
        for kind, fill in ((initializers.Zeros, np.zeros), (initializers.Ones, np.ones)):

            def filled(self, shape, dtype=None, fill=fill, **_):
                return ops.convert_to_tensor(fill(shape, dtype or "float32"))

            patches.enter_context(mock.patch.object(kind, "__call__", filled))
        yield
