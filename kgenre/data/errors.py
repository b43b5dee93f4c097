"""The one error of this package that a user can cause and fix, and what its messages have in common."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from kgenre.users_code import ShortTraceback


class FilmDataError(ShortTraceback, ValueError):
    """Film data, or an argument about it, that cannot be used.

    The message is one or two lines: what was received, and what to give instead. A command line prints it as
    it is, without a traceback.
    """


class NotReadError(FilmDataError, RuntimeError):
    """A `FilmData` was asked for something that it has only once it has read its films."""


def check_choice(name: str, value: str | None, known: Collection[str | None]) -> None:
    """Raise `FilmDataError` unless the argument ``name`` has one of the ``known`` values; None is null in messages."""
    if value not in known:
        raise FilmDataError(f"{name}={value!r} must be one of {', '.join(one or 'null' for one in known)}.")


def shortened_list(names: Iterable[object], most: int = 8) -> str:
    """The first ``most`` names for a message, joined by commas, on one line; long names are cut."""
    texts = [" ".join(str(name).split())[:60] for name in names]
    return (", ".join(texts[:most]) + (", ..." if len(texts) > most else "")) or "nothing"
