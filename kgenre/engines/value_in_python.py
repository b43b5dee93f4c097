"""Python in a step that asks for the numbers in a tensor, of which there are none while the step is compiled."""

from __future__ import annotations

from kgenre.users_code import described, users_lines

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


def value_in_python(error: Exception, step: str) -> str | None:
    """What to say of such an error, with the line that asks; None: it is another, or no line of the user's."""
    is_jax = any(kind.__name__ in _JAX and kind.__module__.startswith("jax") for kind in type(error).__mro__)
    if not is_jax and not any(words in str(error) for words in _TENSORFLOW):
        return None
    lines = users_lines(error.__traceback__)
    if not lines:
        return None
    return (
        f"{step} asks for the numbers in a tensor at {described(lines[-1])}, but a step is compiled before there are "
        "any. Write it with tensors: keras.ops.where(condition, a, b) for if, "
        "keras.ops for NumPy and float(), x.shape[0] for len(x), self.model(x) for predict; self.log takes the tensor."
    )
