"""Errors that say that memory is exceeded: how they are told from others."""

from __future__ import annotations

EXCEEDED = "Memory was exceeded"  # the beginning of the note (PEP 678) that is added to such an error


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether an error, or one that it came from, says that memory is exceeded, in any backend's words."""
    words = ("resourceexhausted", "outofmemory", "allocatememory", "enoughmemory")
    while error is not None:
        text = f"{type(error).__name__} {error}".lower().replace("_", "").replace(" ", "")
        if isinstance(error, MemoryError) or any(word in text for word in words):
            return True
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return False
