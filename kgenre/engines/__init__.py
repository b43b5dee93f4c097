"""Engines run the steps of a module on one backend: `create_engine` returns the engine for Keras's backend."""

from kgenre.engines.backend import BackendError, prepare_keras
from kgenre.engines.engine import Engine, create_engine

__all__ = ["BackendError", "Engine", "create_engine", "prepare_keras"]
