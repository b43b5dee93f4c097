"""``load_from_checkpoint``: recreate a module or datamodule from a checkpoint."""

from __future__ import annotations

import inspect
import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any

from kgenre import checkpoints
from kgenre.allowed_imports import only_allowed_imports
from kgenre.checkpoints import CheckpointError
from kgenre.training.configured_model import configure_model
from kgenre.training.resume import build_as_saved, checked_variables, restore_adapted

_log = logging.getLogger("kgenre")

_OF_LIGHTNING = ("hparams_file", "map_location", "weights_only")


def load_module(cls: type, path: str | os.PathLike[str], overrides: Mapping[str, Any], strict: bool = True) -> Any:
    """See `Module.load_from_checkpoint`."""
    checkpoint = checkpoints.read_checkpoint(checkpoints.find_checkpoint(path), weights_only=True)
    with only_allowed_imports():  # the checkpoint may come from somebody else
        module = _create(cls, path, checkpoint.state.get("model", {}), overrides)
        # Imported only now: it imports Keras, which creating the module has prepared.
        from kgenre.engines.named_variables import named_variables, refresh_layers

        module.on_load_checkpoint(checkpoint.state)
        configure_model(module)
        restore_adapted(module, checkpoint)
        build_as_saved(module, checkpoint)
        named = named_variables(module)
        named = checked_variables(module, named, checkpoint) if strict else _matching_variables(named, checkpoint)
        for name, variable in named.items():
            variable.assign(checkpoint.weights[name])
        refresh_layers(module)
    return module


def _matching_variables(named: Mapping[str, Any], checkpoint: checkpoints.Checkpoint) -> dict[str, Any]:
    """Return the variables whose name and shape match the checkpoint; warn of all others in either."""
    shapes = {name: tuple(array.shape) for name, array in checkpoint.weights.items()}
    fits = {name: variable for name, variable in named.items() if shapes.get(name) == tuple(variable.shape)}
    if others := sorted((named.keys() | shapes.keys()) - fits.keys()):
        _log.warning("Not loaded from checkpoint %s (strict=False): %s.", checkpoint.path, ", ".join(others))
    return fits


def load_data_module(cls: type, path: str | os.PathLike[str], overrides: Mapping[str, Any]) -> Any:
    """See `DataModule.load_from_checkpoint`."""
    kept = checkpoints.read_state(checkpoints.find_checkpoint(path)).get("data")
    if not kept:
        raise CheckpointError(f"Checkpoint {path} holds no datamodule: it was trained without one.")
    data = _create(cls, path, kept, overrides)
    data.load_state_dict(kept.get("state") or {})
    return data


def _create(cls: type, path: str | os.PathLike[str], kept: Mapping[str, Any], overrides: Mapping[str, Any]) -> Any:
    """Create an object of ``cls`` with the arguments that a checkpoint keeps, some of them overridden."""
    if cls.__module__.startswith("kgenre.training."):  # Module or DataModule itself
        own = str(kept.get("class_path", "MyClass")).rpartition(".")[2]
        raise CheckpointError(
            f"{cls.__name__}.load_from_checkpoint: call it on the class that was trained, "
            f"{own}.load_from_checkpoint({os.fspath(path)!r})."
        )
    unknown = overrides.keys() - _accepted(cls, overrides).keys()
    if unknown:
        takes = ", ".join(list(_signature(cls).parameters)[1:]) or "none"
        hint = " Leave it out: only Lightning needs it." if min(unknown) in _OF_LIGHTNING else ""
        raise TypeError(
            f"{cls.__name__}.load_from_checkpoint: {cls.__name__}.__init__ has no argument {min(unknown)!r}. "
            f"It has: {takes}.{hint}"
        )
    is_own = str(kept.get("class_path")).rpartition(".")[2] == cls.__name__  # its module may have been __main__
    known = kept.get("arguments" if is_own and "arguments" in kept else "hyperparameters", {})
    positional, named = _as_call(cls, _accepted(cls, known) | dict(overrides))
    lost = [name for name in kept.get("not_kept", ()) if name in _signature(cls).parameters and name not in overrides]
    try:
        _signature(cls).bind(None, *positional, **named)
    except TypeError as error:
        advice = "Give" if lost else "Call save_hyperparameters() in its __init__, or give"
        raise CheckpointError(
            f"Checkpoint {path} does not hold the arguments of {cls.__name__} ({error}). {advice} the arguments: "
            f"{cls.__name__}.load_from_checkpoint(path, {lost[0] if lost else 'name'}=value)."
        ) from error
    if lost:
        _log.warning(
            "%s.load_from_checkpoint uses the default of %s: JSON, and so the checkpoint, cannot hold the value that "
            "the run had. Give it: %s.load_from_checkpoint(path, %s=value).",
            cls.__name__,
            ", ".join(lost),
            cls.__name__,
            lost[0],
        )
    return cls(*positional, **named)


def _as_call(cls: type, arguments: dict[str, Any]) -> tuple[Sequence[Any], dict[str, Any]]:
    """Divide arguments by name into positional and named ones: ``*layers`` and ``a, /`` have no names in a call."""
    call, rest = _signature(cls).bind_partial(None), dict(arguments)
    for name, parameter in list(call.signature.parameters.items())[1:]:
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            call.arguments[name] = rest
        elif name in rest:
            call.arguments[name] = rest.pop(name)
    return call.args[1:], call.kwargs


def _signature(cls: type) -> inspect.Signature:
    return inspect.signature(cls.__init__)  # type: ignore[misc]  # of this very class, not of a subclass


def _accepted(cls: type, hyperparameters: Mapping[str, Any]) -> dict[str, Any]:
    """Drop the hyperparameters that ``cls`` does not take (a base class saved them)."""
    parameters = _signature(cls).parameters
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values()):
        return dict(hyperparameters)
    return {name: value for name, value in hyperparameters.items() if name in parameters}
