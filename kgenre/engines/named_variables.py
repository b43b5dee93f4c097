"""Names for a module's variables, derived from its structure, so that a checkpoint fits any process and backend.

Keras's own paths carry process-wide counters ("dense_7/kernel"): building the same module twice changes them.
Here a name consists of attribute names and positions: ``model.layers.3.kernel``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import keras


def named_variables(module: Any) -> dict[str, keras.Variable]:
    """Every `keras.Variable` that the attributes of ``module`` hold, by structural name, in order of definition.

    Searches Keras layers, models, metrics and seed generators, lists, tuples and dicts of these, and nested modules. A
    variable found twice keeps its first name. For optimizers see `named_optimizer_variables`.

    Example:
        >>> class Net(Module):
        ...     def __init__(self):
        ...         self.model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
        >>> list(named_variables(Net()))
        ['model.layers.0.kernel', 'model.layers.0.bias']
    """
    names: dict[str, keras.Variable] = {}
    seen: set[int] = set()
    for name, variable in _walk(module, "", set(), top=True):
        if id(variable) in seen:
            continue
        seen.add(id(variable))
        unique, count = name, 1
        while unique in names:
            count += 1
            unique = f"{name}.{count}"
        names[unique] = variable
    return names


def keras_layers(module: Any) -> list[keras.Layer]:
    """The outermost Keras layers and models that ``module`` holds, without their sublayers."""
    return _outermost(module, keras.Layer)


def all_layers(module: Any) -> list[keras.Layer]:
    """Every Keras layer and model that ``module`` holds, sublayers included: each once, outer ones first."""
    layers = (layer for outer in keras_layers(module) for layer in outer._flatten_layers())
    return list({id(layer): layer for layer in layers}.values())


def keras_metrics(module: Any) -> list[keras.metrics.Metric]:
    """The Keras metrics that ``module`` holds itself; those of its layers are not among them."""
    return _outermost(module, keras.metrics.Metric)


def _outermost(module: Any, kind: type) -> list[Any]:
    found: dict[int, Any] = {}
    seen = {id(module)}  # modules may refer to each other

    def look(value: Any) -> None:
        if isinstance(value, kind):
            found[id(value)] = value
        elif isinstance(value, dict):
            for item in value.values():
                look(item)
        elif isinstance(value, list | tuple):
            for item in value:
                look(item)
        elif _is_module(value) and id(value) not in seen:
            seen.add(id(value))
            look(vars(value))

    look(vars(module))
    return list(found.values())


def refresh_layers(module: Any) -> None:
    """After assigning weights, let each `keras.layers.Normalization` recompute the tensors that it derives from them.

    It does so itself only when Keras loads a file.
    """
    for layer in all_layers(module):
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()


def named_optimizer_variables(
    optimizer: keras.optimizers.Optimizer, trainable: Mapping[str, keras.Variable], prefix: str
) -> dict[str, keras.Variable]:
    """The optimizer's variables by name: a slot is named after its kind and the variable that it belongs to.

    Args:
        optimizer: a built optimizer.
        trainable: the variables that it was built with, by name, in the same order.
        prefix: put before each name, for example "optimizers.0".
    """
    own = {id(variable) for variable in optimizer.variables}
    names: dict[int, str] = {}
    for attribute, value in vars(optimizer).items():
        kind = attribute.lstrip("_")
        if isinstance(value, keras.Variable):
            names.setdefault(id(value), f"{prefix}.{kind}")
        # "variables" lists all of them, by chance as many as ``trainable`` (two: iterations and learning rate).
        elif kind != "variables" and isinstance(value, list | tuple) and len(value) == len(trainable):
            for slot, name in zip(value, trainable, strict=True):
                if isinstance(slot, keras.Variable):
                    names.setdefault(id(slot), f"{prefix}.{kind}.{name}")
    names = {key: name for key, name in names.items() if key in own}
    # A variable that an optimizer keeps in any other form is named by its position.
    return {
        names.get(id(variable), f"{prefix}.variables.{position}"): variable
        for position, variable in enumerate(optimizer.variables)
    }


def _is_module(value: Any) -> bool:
    return callable(getattr(value, "training_step", None)) and not isinstance(value, type)


def _walk(value: Any, path: str, visited: set[int], top: bool = False) -> Iterator[tuple[str, keras.Variable]]:
    def at(child: str) -> str:
        return f"{path}.{child}" if path else child

    if isinstance(value, keras.Variable):
        yield path, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _walk(item, at(str(key)), visited)
    elif isinstance(value, list | tuple):
        for position, item in enumerate(value):
            yield from _walk(item, at(str(position)), visited)
    elif id(value) in visited:
        return
    elif isinstance(value, keras.Layer):
        visited.add(id(value))
        yield from _walk_layer(value, at, visited)
    elif isinstance(value, keras.metrics.Metric):
        visited.add(id(value))
        for position, variable in enumerate(value.variables):
            yield at(str(position)), variable
    elif isinstance(value, keras.random.SeedGenerator):
        visited.add(id(value))
        yield at("seed"), value.state
    elif top or _is_module(value):
        visited.add(id(value))
        # Saved hyperparameters come last: a network that is an argument is named after the attribute that holds it.
        for attribute, item in sorted(vars(value).items(), key=lambda named: named[0] == "_hparams"):
            yield from _walk(item, at(attribute), visited)


def _walk_layer(layer: keras.Layer, at: Any, visited: set[int]) -> Iterator[tuple[str, keras.Variable]]:
    for variable in (*layer._trainable_variables, *layer._non_trainable_variables):
        # `add_weight` without a name: Keras numbers these through the process, "variable_1".
        yield at(re.sub(r"^variable_\d+$", "variable", variable.name)), variable
    attributes = vars(layer) | vars(layer).get("_modules", {})  # where torch keeps attributes that are layers
    named = {id(item): attribute for attribute, item in attributes.items() if isinstance(item, keras.Layer)}
    # `_layers` is Keras's record of sublayers in order of definition; for functional models `layers` drops the inputs.
    children = layer.layers if isinstance(layer, keras.Model) else layer._layers
    for position, child in enumerate(children):
        name = f"layers.{position}" if isinstance(layer, keras.Model) else named.get(id(child), f"layers.{position}")
        yield from _walk(child, at(name), visited)
    for position, generator in enumerate(layer._seed_generators):
        yield from _walk(generator, at(f"seeds.{position}"), visited)
    if isinstance(layer, keras.layers.RNN) and layer.stateful:  # Keras leaves them out of the layer's variables
        yield from _walk(layer.states, at("states"), visited)
    for position, metric in enumerate(layer._metrics):  # left out as well
        yield from _walk(metric, at(f"metrics.{position}"), visited)
    # Any other variable that Keras counts as the layer's; one that already has a name keeps it.
    for position, variable in enumerate(layer.variables):
        yield at(f"variables.{position}"), variable
