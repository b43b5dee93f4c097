"""Call a module's ``configure_model``, and detect whether it replaced the network of an earlier stage."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kgenre.training.module import Module


def configure_model(module: Module) -> bool:
    """Call ``module.configure_model``; return whether it dropped variables that an earlier call had created."""
    from kgenre.engines.initial_weights import drawing_initial_weights
    from kgenre.engines.named_variables import named_variables

    known = named_variables(module) if module._is_configured else {}
    with drawing_initial_weights():
        module.configure_model()
    module._is_configured = True
    return not {id(v) for v in known.values()} <= {id(v) for v in named_variables(module).values()}
