"""Recognises out-of-memory errors of all backends."""

from __future__ import annotations

EXCEEDED = "Out of memory"  # the beginning of the note (PEP 678) that is added to such an error


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether an error, or one that caused it, is any backend's out-of-memory error."""
    words = ("resourceexhausted", "outofmemory", "allocatememory", "enoughmemory")
    while error is not None:
        text = f"{type(error).__name__} {error}".lower().replace("_", "").replace(" ", "")
        if isinstance(error, MemoryError) or any(word in text for word in words):
            return True
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return False
