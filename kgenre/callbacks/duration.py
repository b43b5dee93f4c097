"""Parse a length of time as users write it."""

from __future__ import annotations

import contextlib
import re
from datetime import timedelta

Duration = str | timedelta | dict[str, float]


def read_duration(argument: str, value: Duration) -> timedelta:
    """Parse a length of time; ``argument`` is the name of the argument, for the error message.

    Raises:
        ValueError: ``value`` has none of the three forms, or is negative.

    Example:
        >>> read_duration("max_time", "00:12:00:00") == read_duration("max_time", {"hours": 12})
        True
    """
    duration = value if isinstance(value, timedelta) else None
    if isinstance(value, str) and re.fullmatch(r"\d+:\d\d:\d\d:\d\d", value):
        days, hours, minutes, seconds = map(int, value.split(":"))
        duration = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    elif isinstance(value, dict) and value:
        # An unknown keyword, NaN, or more than a timedelta can hold.
        with contextlib.suppress(TypeError, ValueError, OverflowError):
            duration = timedelta(**value)
    if duration is None or duration < timedelta(0):
        raise ValueError(
            f"{argument} takes a length of time: a string 'DD:HH:MM:SS' (in quotes, also in YAML), a dict such as "
            f"{{'days': 1, 'minutes': 30}} with the keywords of datetime.timedelta, or a timedelta that is not "
            f"negative. Received: {value!r}"
        )
    return duration
