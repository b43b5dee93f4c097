"""Whole training steps are lowered for CUDA, with the operations that a GPU gets: this needs no GPU."""

import keras
import numpy as np
import pytest

from kgenre.engines import create_engine
from kgenre.engines.step_options import StepOptions
from kgenre.models import GenreClassifier
from kgenre.training.precision import policy_of

pytestmark = pytest.mark.skipif(keras.backend.backend() != "jax", reason="JAX's kernels for GPUs")
BOTH = [{"network": "poster_resnet_colours"}, {"network": "overview_lstm_words"}]


@pytest.fixture
def lstms(monkeypatch):
    """Choose kernels as on a GPU; a list to which each masked LSTM that is traced appends the dtype of its inputs."""
    from kgenre.kernels import jax_platform, masked_lstm_jax, masked_lstm_jax_cpu, masked_lstm_jax_gpu

    seen, compute = [], masked_lstm_jax_gpu.masked_lstm
    for module in (jax_platform, masked_lstm_jax):
        monkeypatch.setattr(module, "platform", lambda: "gpu")
    monkeypatch.setattr(masked_lstm_jax_cpu, "masked_lstm", lambda *_: pytest.fail("the loop for CPUs"))
    monkeypatch.setattr(
        masked_lstm_jax_gpu, "masked_lstm", lambda x, *rest: [seen.append(str(x.dtype)), compute(x, *rest)][1]
    )
    return seen


@pytest.mark.parametrize(
    ("network", "args", "precision", "dtypes"),
    [
        ("poster_cnn_2024", {}, "bf16-mixed", set()),
        ("overview_lstm", {}, "bf16-mixed", {"bfloat16"}),
        ("fused", {"members": BOTH}, "16-mixed", {"float16"}),
    ],
)
def test_training_step(lstms, network, args, precision, dtypes):
    batch = {
        "poster": np.zeros((2, 32, 32, 3), "uint8"),
        "overview": np.ones((2, 8), "int32"),
        "genres": np.ones((2, 5), "float32"),
        "weight": np.ones(2, "float32"),
    }
    with policy_of(precision):
        module = GenreClassifier(network, network_args=args)
        module.prepare_for(list("abcde"), {"image_size": (32, 32), "vocabulary_size": 20})
    options = StepOptions(gradient_clip_val=1.0, accumulate_grad_batches=2, loss_scaling=precision == "16-mixed")
    engine = create_engine(options)
    engine.build(module, {".*": keras.optimizers.Adam()}, {"train": batch})
    lstms.clear()
    lowered = engine._train.trace(engine._state, batch, update=True).lower(lowering_platforms=("cuda",)).as_text()
    assert set(lstms) == dtypes
    assert ("stablehlo.while" in lowered) == bool(dtypes), "only an LSTM needs a loop"
