"""No step converts a tensor to a NumPy array: on a GPU, torch refuses to. This needs no GPU."""

from contextlib import contextmanager
from unittest import mock

import keras
import pytest

import kgenre
from kgenre.data import FilmData
from kgenre.models import GenreClassifier

pytestmark = pytest.mark.skipif(keras.backend.backend() != "torch", reason="torch's tensors on a GPU")


@contextmanager
def as_on_a_gpu():
    import torch

    def refuse(tensor, *args, **kwargs):
        raise TypeError("can't convert cuda:0 device type tensor to numpy.")

    with mock.patch.object(torch.Tensor, "__array__", refuse):
        yield


class Refusing(GenreClassifier):
    def training_step(self, batch, batch_idx):
        with as_on_a_gpu():
            return super().training_step(batch, batch_idx)

    def validation_step(self, batch, batch_idx):
        with as_on_a_gpu():
            return super().validation_step(batch, batch_idx)


@pytest.mark.parametrize(
    ("network", "options"),
    [
        ("poster_cnn_2024", {"label_smoothing": 0.1, "mixup": 0.2}),
        ("poster_cnn_2025", {"loss": "weighted_binary_crossentropy", "cutmix": 1.0}),
        ("poster_resnet_colours", {"loss": "focal", "mirror": True}),
        ("overview_lstm", {"loss": "asymmetric"}),
        ("overview_lstm_words", {"members": 2}),
        ("poster_overview_fusion", {}),
    ],
)
def test_steps_of_networks_and_losses(sample, network, options):
    overviews = network.startswith("overview")
    inputs = {"posters": not overviews, "overviews": overviews or "fusion" in network, "image_size": (32, 32)}
    films = FilmData(str(sample), batch_size=16, **inputs)
    trainer = kgenre.Trainer(fast_dev_run=1, enable_progress_bar=False, enable_model_summary=False)
    trainer.fit(Refusing(network, **options), datamodule=films)
    assert trainer.global_step == 1
