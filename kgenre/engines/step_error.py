"""The errors of a step that cannot be compiled as written."""

from kgenre.users_code import ShortTraceback


class StepError(ShortTraceback, RuntimeError):
    """A step does something that cannot work when compiled; the message says what to write instead."""


class XlaError(StepError):
    """XLA cannot compile an operation of TensorFlow's step; without XLA the step works."""
