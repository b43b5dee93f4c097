import keras
import pytest

pytestmark = pytest.mark.skipif(keras.backend.backend() != "jax", reason="JAX's devices")


def test_a_run_that_keeps_off_the_gpu_computes_as_on_a_cpu(monkeypatch):
    import jax

    from kgenre.kernels import masked_lstm_jax
    from kgenre.kernels.jax_platform import platform

    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert (platform(), masked_lstm_jax.way()) == ("gpu", "gpu")
    with keras.device("cpu:0"):
        assert (platform(), masked_lstm_jax.way()) == ("cpu", "cpu")
