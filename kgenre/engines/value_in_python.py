"""Python in a step that asks for the numbers in a tensor, of which there are none while the step is compiled."""

from __future__ import annotations

import re
import sys
import sysconfig
import traceback
from pathlib import Path

_JAX = {
    "ConcretizationTypeError",
    "NonConcreteBooleanIndexError",
    "TracerArrayConversionError",
    "TracerBoolConversionError",
    "TracerIntegerConversionError",
}
_TENSORFLOW = (
    "Cannot convert a symbolic tf.Tensor",
    "Using a symbolic `tf.Tensor`",
    "Iterating over a symbolic `tf.Tensor`",
    "len is not well defined for a symbolic Tensor",
    "not 'SymbolicTensor'",  # float() and int()
    "'SymbolicTensor' object has no attribute 'numpy'",
    "'SymbolicTensor' object has no attribute 'item'",
    "'SymbolicTensor' object has no attribute 'tolist'",
    "'SymbolicTensor' object cannot be interpreted as an integer",
)
_NOT_THE_USERS = (
    *{sysconfig.get_path(name) for name in ("purelib", "platlib", "stdlib")},
    str(Path(__file__).parents[1]),
)


def value_in_python(error: Exception, step: str) -> str | None:
    """What to say of such an error, with the line that asks; None: it is another, or no line of the user's."""
    is_jax = any(kind.__name__ in _JAX and kind.__module__.startswith("jax") for kind in type(error).__mro__)
    if not is_jax and not any(words in str(error) for words in _TENSORFLOW):
        return None
    lines = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_users(frame.filename)]
    if not lines:
        return None
    last = lines[-1]
    return (
        f"{step} asks for the numbers in a tensor at {_named(last.filename)}, line {last.lineno} ({last.line}), but "
        "a step is compiled before there are any. Write it with tensors: keras.ops.where(condition, a, b) for if, "
        "keras.ops for NumPy and float(), x.shape[0] for len(x), self.model(x) for predict; self.log takes the tensor."
    )


def _is_users(file: str) -> bool:
    # Packages lie elsewhere too: in the user's home, in the environment that this one was made from.
    return not file.startswith((*_NOT_THE_USERS, "<frozen")) and not re.search(r"[/\\](site|dist)-packages[/\\]", file)


def _named(file: str) -> str:
    """As a notebook numbers its cells, whose code lies in files with random names."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    name_cell = getattr(getattr(shell, "compile", None), "format_code_name", lambda file: None)
    return " ".join(name_cell(file) or [Path(file).name])
