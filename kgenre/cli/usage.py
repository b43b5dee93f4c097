"""The error for arguments that do not go together."""


class UsageError(ValueError):
    """The message says what was given and what to give."""
