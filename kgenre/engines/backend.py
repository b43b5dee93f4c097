"""Checks the backend's name before Keras is imported, and then overrides settings that would change results."""

from __future__ import annotations

import copyreg
import importlib.util
import json
import logging
import os
import sys
from pathlib import Path

from kgenre.engines.native_output import importing_in_notebook
from kgenre.engines.random_state import reduced_generator
from kgenre.users_code import ShortTraceback

SUPPORTED = ("tensorflow", "jax", "torch")
_TO_INSTALL = {"tensorflow": "tensorflow", "jax": "jax", "torch": "'kgenre[torch]'"}
_log = logging.getLogger("kgenre")
_said: set[str] = set()  # values of KERAS_BACKEND already warned of
_running: set[int] = set()  # the id of the process that has run a stage; in one forked from it, of both


class BackendError(ShortTraceback, RuntimeError):
    """The requested backend or device cannot be used; the message names an alternative."""


def check_backend() -> str:
    """Return the backend's name; if ``KERAS_BACKEND`` is wrong, fail with one line before Keras does with forty.

    Raises:
        BackendError: the name is unknown, kgenre has no engine for it, or its package is not installed.
    """
    name = os.environ.get("KERAS_BACKEND")
    if "keras" in sys.modules or not name:
        name = _configured_backend()
    if name not in SUPPORTED:
        raise BackendError(f"KERAS_BACKEND={name}: kgenre runs on {', '.join(SUPPORTED)}. Set one of these.")
    if importlib.util.find_spec(name) is None:
        others = [other for other in SUPPORTED if importlib.util.find_spec(other)]
        instead = f" or set KERAS_BACKEND={others[0]}, which is installed" if others else ""
        raise BackendError(
            f"KERAS_BACKEND={name}, but the package {name!r} is not installed. "
            f"Run `pip install {_TO_INSTALL[name]}`{instead}."
        )
    return name


def _configured_backend() -> str:
    """The backend that Keras uses, or would use without ``KERAS_BACKEND``: from its configuration, else TensorFlow."""
    if "keras" in sys.modules:
        return sys.modules["keras"].backend.backend()
    home = Path(os.environ.get("KERAS_HOME", os.path.expanduser("~/.keras")))
    try:
        return json.loads((home / "keras.json").read_text(encoding="utf-8")).get("backend", "tensorflow")
    except (OSError, ValueError):
        return "tensorflow"


def check_process() -> None:
    """Note that this process runs a stage, or refuse to: in a fork of one that has, it would wait forever.

    Raises:
        BackendError: this process was forked from one that has run a stage.
    """
    _running.add(os.getpid())
    name = check_backend()
    if len(_running) > 1 and name != "torch":
        raise BackendError(
            f"This process was forked from one that has already used {name}, whose threads do not exist here: it would "
            "wait for them forever. Start processes with multiprocessing.get_context('spawn')."
        )


def prepare_keras() -> None:
    """Import Keras with the settings that kgenre's models are written for.

    A user's ``keras.json`` may set ``channels_first`` or ``float16``: the same script would then train a different
    model on another machine. Such settings are overridden, and each is named once in the log.

    Raises:
        BackendError: see `check_backend`.
    """
    check_backend()
    with importing_in_notebook():
        import keras

    backend, asked = keras.backend.backend(), os.environ.get("KERAS_BACKEND")
    if asked and asked != backend and asked not in _said:
        _said.add(asked)
        _log.warning(
            "KERAS_BACKEND is %s now, but Keras was imported with %s and cannot switch. Restart the kernel (or the "
            "program) and set the variable before the first import of Keras.",
            asked,
            backend,
        )
    copyreg.pickle(keras.random.SeedGenerator, reduced_generator)
    floatx, policy = keras.config.floatx(), keras.config.dtype_policy().name
    for setting, wanted, get, put in (
        ("image_data_format", "channels_last", keras.config.image_data_format, keras.config.set_image_data_format),
        ("floatx", "float32", keras.config.floatx, keras.config.set_floatx),
        ("epsilon", 1e-7, keras.config.epsilon, keras.config.set_epsilon),
    ):
        if get() != wanted:
            _log.warning("Keras is configured with %s=%s; kgenre uses %s.", setting, get(), wanted)
            put(wanted)
    if floatx != "float32" and policy == floatx:  # Keras's policy is its floatx until one is set
        keras.config.set_dtype_policy("float32")
