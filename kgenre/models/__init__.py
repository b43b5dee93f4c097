"""Film-genre networks, and the module that trains any of them. Importing this package imports no backend."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from kgenre.engines import prepare_keras
from kgenre.models.genre_classifier import GenreClassifier
from kgenre.models.networks import NETWORKS

if TYPE_CHECKING:
    from kgenre.models.networks.fused import fused as fused
    from kgenre.models.networks.overview_lstm import overview_lstm as overview_lstm
    from kgenre.models.networks.overview_lstm_pooled import overview_lstm_pooled as overview_lstm_pooled
    from kgenre.models.networks.overview_lstm_words import overview_lstm_words as overview_lstm_words
    from kgenre.models.networks.overview_words import overview_words as overview_words
    from kgenre.models.networks.poster_cnn_2024 import poster_cnn_2024 as poster_cnn_2024
    from kgenre.models.networks.poster_cnn_2025 import poster_cnn_2025 as poster_cnn_2025
    from kgenre.models.networks.poster_colours import poster_colours as poster_colours
    from kgenre.models.networks.poster_overview_fusion import poster_overview_fusion as poster_overview_fusion
    from kgenre.models.networks.poster_resnet import poster_resnet as poster_resnet
    from kgenre.models.networks.poster_resnet_colours import poster_resnet_colours as poster_resnet_colours

__all__ = ["NETWORKS", "GenreClassifier", *NETWORKS]


def __getattr__(name: str) -> Any:
    if name not in NETWORKS:
        raise AttributeError(f"module 'kgenre.models' has no attribute {name!r}")
    prepare_keras()
    # Imported at first use: these files import Keras.
    return getattr(importlib.import_module(f"kgenre.models.networks.{name}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *NETWORKS})
