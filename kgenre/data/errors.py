"""The one error of this package that a user can cause and fix."""

from __future__ import annotations

from kgenre.users_code import ShortTraceback


class FilmDataError(ShortTraceback, ValueError):
    """Film data, or an argument about it, that cannot be used.

    The message is one or two lines: what was received, and what to give instead. A command line prints it as
    it is, without a traceback.
    """
