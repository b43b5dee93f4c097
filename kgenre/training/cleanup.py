"""Calls that must all be made, although some of them fail, and must not hide the error that led to them."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

_log = logging.getLogger("kgenre")

Part = tuple[str, Callable[[], Any]]  # what it does, the subject of a message, and the call


def attempt(name: str, call: Callable[[], Any]) -> None:
    """Make a call; if it fails, log its error, with its traceback for a logger that takes DEBUG."""
    try:
        call()
    except Exception as error:
        described = traceback.format_exception_only(error)[0].strip()  # with the file's name, which `repr` lacks
        _log.warning("%s failed: %s", name, described, exc_info=_log.isEnabledFor(logging.DEBUG))


@contextmanager
def cleaning_up(parts: Iterable[Part]) -> Iterator[None]:
    """Make all calls at the end of the block, however it ends.

    An error of the block is the one that is raised. Otherwise it is the first of the calls', and only the others are
    logged. ``parts`` is read at the end: a generator sees what has become of the block.
    """
    parts = iter(parts)
    try:
        yield
        for _, call in parts:
            call()
    except BaseException:
        for part in parts:  # those that are left
            attempt(*part)
        raise
