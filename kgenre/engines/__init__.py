"""One step on one backend: `create_engine` gives the engine of the backend that Keras runs on."""

from kgenre.engines.backend import BackendError, prepare_keras
from kgenre.engines.engine import Engine, create_engine

__all__ = ["BackendError", "Engine", "create_engine", "prepare_keras"]
