"""Warnings about Python code in a step that reads or changes values: it runs only once, when the step is compiled."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from kgenre.engines.named_variables import all_layers
from kgenre.engines.step_error import StepError
from kgenre.engines.written_code import is_of_users, named_by, names_in


@dataclass
class Attributes:
    """A snapshot of the attributes and random states that a compiled step changes only once."""

    plain: dict[str, Any]  # numbers and strings
    sizes: dict[str, int]  # lengths of lists, dicts and sets
    tensors: dict[str, int]  # ids
    generators: str  # states of the NumPy generators that the module holds
    random: tuple[Any, ...]  # states of Python's random and of NumPy's global generator

    @classmethod
    def of(cls, module: Any) -> Attributes:
        """Take a snapshot of a module."""
        held = vars(module).items()
        return cls(
            _plain(module),
            {name: len(value) for name, value in held if type(value) in (list, dict, set)},
            {name: id(value) for name, value in held if keras.ops.is_tensor(value)},
            repr([v.bit_generator.state for _, v in held if isinstance(v, np.random.Generator)]),
            () if _is_eager() else _random_states(),
        )

    def check(self, module: Any, step: str) -> None:
        """After ``step`` ran, warn of attributes that it changed and random numbers that it drew.

        Raises:
            StepError: it put tensors into a list or dict. Outside the compiled step these have no values.
        """
        if _is_eager():  # every step runs as Python
            return
        after = Attributes.of(module)
        changed = [name for name, value in self.plain.items() if _differs(after.plain.get(name, value), value)]
        for name, size in after.sizes.items():
            if size > self.sizes.get(name, 0):
                if any(map(keras.ops.is_tensor, keras.tree.flatten(getattr(module, name)))):
                    raise StepError(
                        f"{step} puts tensors into self.{name}, but Python code in a step runs only when the step is "
                        "compiled. Return them instead: batch hooks receive them as outputs. Or use self.log or a "
                        "Keras metric."
                    )
                changed.append(name)
        changed += [name for name, tensor in after.tensors.items() if self.tensors.get(name) != tensor]
        drawn = after.generators != self.generators
        if after.random != self.random:  # building layers or a data loader's thread may draw too
            mixes = any(isinstance(layer, keras.layers.AugMix) for layer in all_layers(module))  # with Python's numbers
            drawn = drawn or mixes or any(map(_draws, named_by(module, step)))
        if drawn:
            warnings.warn(
                f"{step} draws random numbers with Python or NumPy, but Python code in a step runs only when the step "
                "is compiled: every step gets the same numbers. Use keras.random with seed=self.seed, a "
                "keras.random.SeedGenerator, or draw the numbers in the data pipeline.",
                stacklevel=2,
            )
        if changed:
            warnings.warn(
                f"{step} changes self.{min(changed)}, but Python code in a step runs only when the step is compiled. "
                "Keep the value in a keras.Variable, or change it in a hook such as on_train_batch_end.",
                stacklevel=2,
            )


class ReadValues:
    """The Python values that compiled steps have read from the module: they keep using these, whatever hooks change."""

    def __init__(self) -> None:
        self._read: dict[tuple[str, str], Any] = {}  # by step and path of attributes

    def record(self, module: Any, step: Callable[..., Any], optimizers: Sequence[Any] = ()) -> None:
        """Record the values that a step reads while it is being compiled, and the optimizers' numbers."""
        if not _is_eager():
            values = _values(module, names_in(module, step), optimizers)
            self._read |= {(step.__name__, name): value for name, value in values}

    def warn_of_changes(self, module: Any, optimizers: Sequence[Any], said: set[str]) -> None:
        """Warn of each value that has changed since a step read it, unless its name is in ``said``; add it there."""
        current = dict(_values(module, {name.partition(".")[0] for _, name in self._read}, optimizers))
        for (step, name), value in self._read.items():
            values = value, current.get(name, value)
            if name not in said and _differs(*values):
                said.add(name)
                was, now = (repr(value) if isinstance(value, _PLAIN) else "" for value in values)
                before = f"was {was}" if was else "had its old value"
                after = f"is {now} now" if now else "has changed"
                advice = (
                    f"define self.{name} = keras.Variable({was or '...'}, trainable=False), and call "
                    f"self.{name}.assign(...) in the hook."
                    if name in vars(module)
                    else "keep it in a keras.Variable(..., trainable=False) of the module or of a layer of your own, "
                    "and assign that in the hook."
                )
                warnings.warn(
                    f"self.{name} {after}, but {step} was compiled when it {before} and keeps using that. "
                    f"For a value that changes, {advice}",
                    stacklevel=2,
                )


_PLAIN = (bool, int, float, str)
_GENERATORS = (random.Random, np.random.RandomState)
_FEW, _DEEP = 100, 5  # longer or more deeply nested containers are data, and not searched


def _values(module: Any, names: Collection[str], optimizers: Sequence[Any]) -> Iterator[tuple[str, Any]]:
    """Numbers, strings, arrays and tensors in the module's attributes of these names and in the optimizers, by path."""
    held, seen = vars(module) | {"hparams": vars(module).get("_hparams")}, {id(module)}
    for name in held:
        if name in names:
            yield from _values_in(held[name], name, seen)
    for optimizer in optimizers:
        yield from _values_in(optimizer, "trainer.optimizers", seen)


def _values_in(value: Any, path: str, seen: set[int]) -> Iterator[tuple[str, Any]]:
    if isinstance(value, _PLAIN) or keras.ops.is_tensor(value):
        yield path, value
    elif isinstance(value, np.ndarray):
        yield path, value.copy() if value.size <= _FEW else value
    elif isinstance(value, keras.Layer | keras.optimizers.Optimizer):
        for owner in value._flatten_layers() if isinstance(value, keras.Layer) else [value]:
            # Attributes that Keras itself changes are private or not numbers.
            numbers = [item for item in vars(owner).items() if type(item[1]) in (int, float) and item[0][0] != "_"]
            yield from ((f"{path}.{owner.name}.{name}", number) for name, number in numbers)
    elif id(value) in seen or path.count(".") >= _DEEP:
        return
    elif isinstance(value, list | tuple | dict) or is_of_users(type(value)):
        seen.add(id(value))
        held = value if isinstance(value, dict) else getattr(value, "__dict__", {})
        held = dict(enumerate(value)) if isinstance(value, list | tuple) else held
        for name, item in list(held.items()) if len(held) <= _FEW else ():  # a copy: threads may add items
            yield from _values_in(item, f"{path}.{name}", seen)


def _random_states() -> tuple[Any, ...]:
    numpy: Any = np.random.get_state()
    return random.getstate(), numpy[1].tobytes(), numpy[2:]  # an array has no truth value, and its repr takes 6 ms


def _draws(value: Any) -> bool:
    """Whether a step that names this may draw from Python's or NumPy's global generator."""
    owner = getattr(value, "__self__", None)  # of `from random import random`
    return value is random or value is np.random or any(type(x) in _GENERATORS for x in (value, owner))


def _is_eager() -> bool:
    return keras.backend.backend() == "torch"


def _differs(value: Any, other: Any) -> bool:
    if value is other:  # NaN is not equal to itself
        return False
    if isinstance(value, np.ndarray):
        return not np.array_equal(value, other)
    return not (isinstance(value, _PLAIN) and isinstance(other, _PLAIN)) or value != other


def _plain(module: Any) -> dict[str, Any]:
    return {name: value for name, value in vars(module).items() if isinstance(value, _PLAIN)}
