import keras
import pytest

pytestmark = pytest.mark.skipif(keras.backend.backend() != "jax", reason="JAX's devices")


def test_device_scope_cpu_overrides_the_gpu(monkeypatch):
    import jax

    from kgenre.kernels import masked_lstm_jax
    from kgenre.kernels.jax_platform import platform

    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert (platform(), masked_lstm_jax.platform_loop()) == ("gpu", "gpu")
    with keras.device("cpu:0"):
        assert (platform(), masked_lstm_jax.platform_loop()) == ("cpu", "cpu")


@pytest.mark.parametrize("error", [AssertionError(), RuntimeError("Unable to initialize backend")])
def test_error_for_an_unavailable_platform(monkeypatch, error):
    import jax

    from kgenre.kernels.jax_platform import JaxPlatformError, platform

    def refuse():
        raise error

    monkeypatch.setattr(jax, "default_backend", refuse)
    monkeypatch.setenv("JAX_PLATFORMS", "cuda")
    with pytest.raises(JaxPlatformError, match="JAX_PLATFORMS=cuda, but JAX finds no such device here"):
        platform()
    monkeypatch.delenv("JAX_PLATFORMS")
    with pytest.raises(type(error)):
        platform()
