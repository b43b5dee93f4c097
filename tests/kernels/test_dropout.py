"""The noise must be as good as random: the right share is dropped, and positions, steps and seeds are uncorrelated."""

import keras
import numpy as np
import pytest

from kgenre.kernels import dropout

BACKEND = keras.backend.backend()
ONES = np.ones((64, 32, 32, 3), "float32")


@pytest.mark.skipif(BACKEND == "jax", reason="JAX has a way of its own")
def test_other_backends_are_left_to_keras():
    generator = keras.random.SeedGenerator(0)
    before = keras.ops.convert_to_numpy(generator.state.value)
    with pytest.raises(NotImplementedError, match=BACKEND):
        dropout(ONES, 0.5, generator)
    np.testing.assert_array_equal(before, keras.ops.convert_to_numpy(generator.state.value))


@pytest.mark.skipif(BACKEND != "jax", reason="the others take Keras's")
class TestUnderJax:
    def kept(self, rate=0.5, generator=None):
        return np.asarray(dropout(ONES, rate, generator or keras.random.SeedGenerator(1))) > 0

    @pytest.mark.parametrize("rate", [0.2, 0.5, 0.8])
    def test_share_and_scale(self, rate):
        out = np.asarray(dropout(ONES, rate, keras.random.SeedGenerator(0)))
        np.testing.assert_allclose(np.unique(out), [0, 1 / (1 - rate)], rtol=1e-6)
        assert abs((out > 0).mean() - (1 - rate)) < 4 * np.sqrt(rate * (1 - rate) / out.size)
        for axis in range(4):  # no film, row, column or channel loses more than its share
            shares = (out > 0).mean(axis=tuple(a for a in range(4) if a != axis))
            spread = np.sqrt(rate * (1 - rate) / (out.size / len(shares)))
            assert abs(shares - (1 - rate)).max() < 5 * spread

    def test_neighbours_steps_and_seeds_are_uncorrelated(self):
        generator = keras.random.SeedGenerator(1)
        masks = [self.kept(generator=generator) for _ in range(3)]  # (seed, counter): (1, 0), (1, 1), (1, 2)
        masks += [self.kept(generator=keras.random.SeedGenerator(seed)) for seed in (2, 3, 2**31)]
        signs = np.stack([np.where(mask, 1.0, -1.0).ravel() for mask in masks])
        limit = 5 / np.sqrt(signs.shape[1])
        between = signs @ signs.T / signs.shape[1] - np.eye(len(masks))
        assert abs(between).max() < limit
        for lag in (1, 2, 3, 32, 96, 1024, 3072):  # channels, columns, rows, films
            assert abs((signs[:, lag:] * signs[:, :-lag]).mean(axis=1)).max() < limit * 1.1

    def test_same_seed_same_noise(self):
        np.testing.assert_array_equal(self.kept(), self.kept())

    def test_gradient_has_the_same_mask(self):
        import jax

        generator = keras.random.SeedGenerator(4)

        def total(inputs):
            generator.state.assign(np.array([4, 0], "uint32"))
            return dropout(inputs, 0.3, generator).sum()

        with keras.StatelessScope():
            gradient = jax.grad(total)(ONES)
            generator.state.assign(np.array([4, 0], "uint32"))
            np.testing.assert_array_equal(gradient, dropout(ONES, 0.3, generator))
