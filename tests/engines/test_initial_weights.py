import contextlib
import threading

import keras
import numpy as np
import pytest

from kgenre.engines.initial_weights import drawing_initial_weights


def drawn():
    keras.utils.set_random_seed(3)
    return keras.Sequential([keras.Input((6, 6, 3)), keras.layers.Conv2D(7, 3), keras.layers.LayerNormalization()])


def test_same_weights():
    with drawing_initial_weights():
        quick = drawn().get_weights()
    for got, want in zip(quick, drawn().get_weights(), strict=True):
        np.testing.assert_allclose(got, want, atol=1e-7)


def test_bfloat16_lstm_starts_with_orthogonal_weights():
    with drawing_initial_weights():
        cell = keras.layers.LSTMCell(4, dtype="bfloat16")
        cell.build((2, 3))
    kernel = keras.ops.convert_to_numpy(keras.ops.cast(cell.recurrent_kernel, "float32"))  # (4, 16)
    np.testing.assert_allclose(kernel @ kernel.T, np.eye(4), atol=0.02)


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="the others compile nothing for them")
def test_compiler_option_applies_only_in_the_block():
    import jax

    def asked():
        return jax.config.read("jax_disable_most_optimizations")

    with drawing_initial_weights():
        assert asked()
    with contextlib.suppress(ZeroDivisionError), drawing_initial_weights():
        raise ZeroDivisionError
    assert not asked()


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="the others compile nothing for them")
def test_compiler_option_does_not_outlive_threads_that_draw_at_once():
    import jax

    entered, leave = threading.Event(), threading.Event()

    def draw():
        with drawing_initial_weights():
            entered.set()
            leave.wait(10)

    other = threading.Thread(target=draw)
    with drawing_initial_weights():
        other.start()
        entered.wait(0.2)
    leave.set()
    other.join()
    assert not jax.config.read("jax_disable_most_optimizations")


def test_bfloat16_orthogonal_weights_while_another_thread_draws():
    def draw():
        with drawing_initial_weights():
            left.wait(10)
            drawn.append(keras.initializers.Orthogonal()((2, 2), "bfloat16"))

    drawn, left = [], threading.Event()
    other = threading.Thread(target=draw)
    with drawing_initial_weights():
        other.start()
        other.join(0.2)
    left.set()
    other.join()
    assert keras.backend.standardize_dtype(drawn[0].dtype) == "bfloat16"
