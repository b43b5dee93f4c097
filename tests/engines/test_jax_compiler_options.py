"""The options with which XLA compiles a step."""

import keras
import pytest

from kgenre.engines.step_options import StepOptions

pytestmark = pytest.mark.skipif(keras.backend.backend() != "jax", reason="JAX's engine")


@pytest.fixture
def options():
    from kgenre.engines import jax_compiler_options

    jax_compiler_options._eigen_convolutions.cache_clear()
    yield jax_compiler_options
    jax_compiler_options._eigen_convolutions.cache_clear()


def compiled(options):
    import jax

    def step(pictures, kernel, matrix):
        convolved = jax.lax.conv_general_dilated(
            pictures, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        return convolved, matrix @ matrix, pictures.sum((0, 1, 2))

    shapes = (64, 32, 32, 32), (3, 3, 32, 32), (256, 256)
    arrays = [jax.ShapeDtypeStruct(shape, "float32") for shape in shapes]
    return jax.jit(step, compiler_options=options).lower(*arrays).compile().as_text()


def test_matrix_products_and_sums_of_a_training_step_are_left_to_ynnpack(options, monkeypatch):
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    by_default = compiled(None).count('"kind":"__ynn_fusion"')
    if by_default < 3:
        pytest.skip("this XLA, or this CPU, has no YNNPACK for convolutions, matrix products and sums")
    assert compiled(options.compiler_options(StepOptions(), trains=True)).count('"kind":"__ynn_fusion"') == 2


def test_evaluations_and_several_devices_have_the_defaults(options):
    assert options.compiler_options(StepOptions(), trains=False) == {}
    assert options.compiler_options(StepOptions(devices=("cpu:0", "cpu:1")), trains=True) == {}


def test_flags_of_the_user_win(options, monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_experimental_ynn_fusion_type=")
    assert options.compiler_options(StepOptions(), trains=True) == {}


def test_an_xla_without_the_option(options, monkeypatch):
    monkeypatch.setattr(options, "_YNNPACK", "xla_cpu_unknown")
    assert options.compiler_options(StepOptions(deterministic=True), trains=True) == {"xla_gpu_deterministic_ops": True}
