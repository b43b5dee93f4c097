"""Finds a network function by name, kgenre's or a user's, and the name under which a run stores its network."""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any

from kgenre.allowed_imports import may_import, not_allowed_message
from kgenre.models.networks import NETWORKS
from kgenre.training import TrainerError
from kgenre.training.hyperparameters import is_kept
from kgenre.users_code import described, users_lines


def network_function(name: str) -> Callable[..., Any]:
    """Return the function that builds a network.

    Args:
        name: one of NETWORKS, or a user's ``file.function``, which is imported.

    Raises:
        TrainerError: there is no such network, its function lives in another program, a command may not import it, or
            its file has an error.

    Example:
        >>> network_function("overview_words")(genres=20).output_shape
        (None, 20)
    """
    import kgenre.models

    check_name(name)
    if name in NETWORKS:
        return getattr(kgenre.models, name)
    home, _, last = name.rpartition(".")
    try:
        module = importlib.import_module(home)
    except Exception as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing is None or not f"{home}.".startswith(f"{missing}."):
            raise user_code_error(f"{home} cannot be imported", error) from error
        raise TrainerError(
            f"network: {name} needs the module {missing!r}, which is neither in this folder nor installed."
        ) from None
    found = getattr(module, last, None)
    if not callable(found) or hasattr(found, "layers"):
        raise TrainerError(f"network: {home} has no function {last!r} that builds a Keras model.")
    return found


def user_code_error(what: str, error: Exception, hint: str = "") -> TrainerError:
    """Return a `TrainerError` for an error in the user's file: ``what`` went wrong, at which lines, and its message."""
    message = f"{type(error).__name__}: {' '.join(str(error).split())}"
    where = "; ".join(map(described, users_lines(error.__traceback__)))
    return TrainerError(f"network: {': '.join(filter(None, (what, where, message)))}{hint}")


def check_name(name: str) -> None:
    """Reject a name that cannot be a network's or may not be imported, without importing anything."""
    if name in NETWORKS:
        return
    if name.startswith("<"):
        raise TrainerError(
            f"The run's network was {name[1:-1]}, defined in the program that trained it. Put a function that "
            "builds it into a file, such as mine.py, and pass its name when training: network='mine.function' "
            "(--model.network mine.function); then every command finds it. To load this run in Python: "
            "GenreClassifier.load_from_checkpoint(run, network=..., network_args=...)."
        )
    if "." not in name or not all(map(str.isidentifier, name.split("."))):
        close = difflib.get_close_matches(name.lower(), NETWORKS, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise TrainerError(
            f"network must be one of {', '.join(NETWORKS)}, or your own function, file.function. "
            f"Received: {name!r}.{hint}"
        )
    if not may_import(name):
        raise TrainerError(not_allowed_message(name))


def stored_name(network: Any, arguments: Mapping[str, Any]) -> str:
    """Return the name that a run stores: one for `network_function`, or one in <> if no other program can build it."""
    home, last = getattr(network, "__module__", None), getattr(network, "__qualname__", None)
    if isinstance(network, str):
        name = network
    elif hasattr(network, "layers"):
        return f"<the Keras model {network.name}>"
    elif last in NETWORKS and home == f"kgenre.models.networks.{last}":
        name = last
    elif home == "__main__" or getattr(sys.modules.get(home or ""), last or "", None) is not network:
        return f"<{last or type(network).__name__} of {home}>"
    else:
        name = f"{home}.{last}"
    return name if is_kept(arguments) else f"<{name} with arguments that are not numbers or texts>"
