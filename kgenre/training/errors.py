"""The error for what a user asked of the Trainer and cannot have."""

from kgenre.users_code import ShortTraceback


class TrainerError(ShortTraceback, ValueError):
    """A wrong argument or combination: the message says what was given and what to give."""


class NothingHasRunError(TrainerError, AttributeError):
    """The trainer was asked for what it has once something has run; for ``hasattr`` it has not."""
