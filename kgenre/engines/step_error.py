"""The error of a step that cannot be compiled as it is written."""

from kgenre.users_code import ShortTraceback


class StepError(ShortTraceback, RuntimeError):
    """A step does what cannot work once it is compiled; the message says what to write instead."""
