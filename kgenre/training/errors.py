"""The errors that the Trainer and the Module raise for wrong usage."""

from kgenre.users_code import ShortTraceback


class TrainerError(ShortTraceback, ValueError):
    """An invalid argument or combination of arguments; the message names what was received and what is valid."""


class NothingHasRunError(TrainerError, AttributeError):
    """The trainer has this attribute only once something has run; until then ``hasattr`` returns False."""


class MissingMethodError(ShortTraceback, NotImplementedError):
    """The module does not define a method that is needed; the message shows its signature."""
