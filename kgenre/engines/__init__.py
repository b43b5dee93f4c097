"""Engines run the steps of a module on one backend: `create_engine` returns the engine for Keras's backend.

``engine.py`` has the protocol, ``base_engine.py`` what all engines share. In the order of a fit:

- ``build_module.py`` runs each step on shapes only, which builds layers, names variables (``named_variables.py``) and
  builds the optimizers. What is known then is a `BuiltModule`.
- An engine (``jax.py`` with ``jax_state.py``, ``tensorflow.py``, ``torch.py``) traces a step through `BuiltModule.run`.
  ``traced_step.py`` calls the user's method in a scope that collects what it assigns; ``step_logs.py``, what it logs.
- ``weight_update.py`` is traced after it: from gradients to new weights.

``explained_errors.py``, ``layer_modes.py``, ``constant_seeds.py``, ``python_in_steps.py`` and ``written_code.py`` tell
the user about code that works in Python, but not in a compiled step. The other files are independent of steps.
"""

from kgenre.engines.backend import BackendError, prepare_keras
from kgenre.engines.engine import Engine, create_engine

__all__ = ["BackendError", "Engine", "create_engine", "prepare_keras"]
