"""The network that a module's ``configure_model`` makes, which is called again in each stage."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kgenre.training.module import Module


def configure_model(module: Module) -> bool:
    """Call ``module.configure_model``; returns whether variables that the module had from an earlier call are gone."""
    from kgenre.engines.initial_weights import drawing_initial_weights
    from kgenre.engines.named_variables import named_variables

    known = named_variables(module) if module._is_configured else {}
    with drawing_initial_weights():
        module.configure_model()
    module._is_configured = True
    return not {id(v) for v in known.values()} <= {id(v) for v in named_variables(module).values()}
