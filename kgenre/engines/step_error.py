"""The errors of a step that cannot be compiled as it is written."""

from kgenre.users_code import ShortTraceback


class StepError(ShortTraceback, RuntimeError):
    """A step does what cannot work once it is compiled; the message says what to write instead."""


class XlaError(StepError):
    """XLA does not know what TensorFlow's step does; without it the step works."""
