"""What Python in a step reads and changes: once, when the step is compiled. Who thinks it is each time gets told."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from kgenre.engines.step_error import StepError
from kgenre.engines.written_code import named_by, names_in


@dataclass
class Attributes:
    """The attributes of a module that a step could change in vain: what they were."""

    plain: dict[str, Any]  # numbers and strings
    sizes: dict[str, int]  # of lists, dicts and sets
    tensors: dict[str, int]  # ids
    generators: str  # what the module's own ones of NumPy's draw next
    random: str  # what Python's random and NumPy's draw next

    @classmethod
    def of(cls, module: Any) -> Attributes:
        """As they are now."""
        held = vars(module).items()
        return cls(
            _plain(module),
            {name: len(value) for name, value in held if type(value) in (list, dict, set)},
            {name: id(value) for name, value in held if keras.ops.is_tensor(value)},
            repr([v.bit_generator.state for _, v in held if isinstance(v, np.random.Generator)]),
            "" if _is_eager() else repr((random.getstate(), np.random.get_state(legacy=False))),
        )

    def check(self, module: Any, step: str) -> None:
        """After ``step`` ran: warn of what it changed, and of what it drew.

        Raises:
            StepError: it put tensors into a list, dict or set. Outside the compiled step they are no numbers.
        """
        after = Attributes.of(module)
        changed = [name for name, value in self.plain.items() if _differs(after.plain.get(name, value), value)]
        if not _is_eager():
            for name, size in after.sizes.items():
                if size > self.sizes.get(name, 0):
                    held = getattr(module, name)
                    if any(map(keras.ops.is_tensor, keras.tree.flatten(held if type(held) is not set else list(held)))):
                        raise StepError(
                            f"{step} puts tensors into self.{name}, but Python code in a step runs only when the step "
                            "is compiled. Return them: the hooks of batches get them as outputs. Or use self.log or a "
                            "Keras metric."
                        )
                    changed.append(name)
            changed += [name for name, tensor in after.tensors.items() if self.tensors.get(name) != tensor]
        drawn = after.generators != self.generators
        if after.random != self.random:  # or layers that are built draw, or a thread of the source of batches
            drawn = drawn or any(value is random or value is np.random for value in named_by(module, [step]))
        if drawn and not _is_eager():
            warnings.warn(
                f"{step} draws with Python's random or NumPy's, but Python code in a step runs only when the step is "
                "compiled: each step gets the same numbers. Use keras.random with seed=self.seed, a "
                "keras.random.SeedGenerator, or draw them in the source of batches.",
                stacklevel=2,
            )
        if changed:
            warnings.warn(
                f"{step} changes self.{min(changed)}, but Python code in a step runs only when the step is compiled. "
                "Keep the value in a keras.Variable, or change it in a hook such as on_train_batch_end.",
                stacklevel=2,
            )


class ReadValues:
    """The numbers and strings that compiled steps have read from the module: they keep them, whatever hooks do."""

    def __init__(self) -> None:
        self._read: dict[tuple[str, str], Any] = {}  # by step and attribute
        self._said: set[str] = set()

    def note(self, module: Any, step: Callable[..., Any]) -> None:
        """A step is being compiled."""
        if _is_eager():
            return
        names = names_in(module, step)
        self._read |= {(step.__name__, name): value for name, value in _plain(module).items() if name in names}

    def changed(self, module: Any) -> list[tuple[str, str, Any, Any]]:
        """Step, attribute, value then and now of those that are no longer what a step has read."""
        now = _plain(module)
        pairs = [(step, name, value, now.get(name, value)) for (step, name), value in self._read.items()]
        return [pair for pair in pairs if _differs(pair[2], pair[3])]

    def warn_of_changes(self, module: Any) -> None:
        """Warn once of each that is no longer what a step has read."""
        for step, name, value, now in self.changed(module):
            if name not in self._said:
                self._said.add(name)
                warnings.warn(
                    f"self.{name} is {now!r} now, but {step} was compiled when it was {value!r}, and goes on "
                    f"with that. For a value that changes write self.{name} = keras.Variable({value!r}, "
                    f"trainable=False), and self.{name}.assign(...) in the hook.",
                    stacklevel=2,
                )


def warn_of_counter(name: str, value: int) -> None:
    """Warn that a step reads a counter of the trainer's, which it then keeps."""
    if not _is_eager():
        warnings.warn(
            f"A step reads self.{name} and goes on with {value}, its value when it was compiled. For one that changes "
            "keep a keras.Variable(0.0, trainable=False) in the module, assign it in a hook such as "
            "on_train_epoch_start, and read that.",
            stacklevel=4,
        )


def _is_eager() -> bool:
    return keras.backend.backend() == "torch"


def _differs(value: Any, other: Any) -> bool:
    return value is not other and value != other  # NaN is not even itself


def _plain(module: Any) -> dict[str, Any]:
    return {name: value for name, value in vars(module).items() if isinstance(value, bool | int | float | str)}
