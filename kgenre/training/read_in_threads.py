"""Read batches ahead of time in threads, in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any


def read_in_threads(read: Callable[[int], Any], numbers: Iterable[int], threads: int, at_most: int) -> Iterator[Any]:
    """Yield ``read(number)`` for each number, in order, while ``threads`` threads read the next ones.

    An error of ``read`` is raised where its result is due. When the iterator is closed, what has not begun is not read.

    Args:
        read: called in several threads at once.
        numbers: may be infinite.
        threads: at least 1.
        at_most: how many results are held or being read at a time, at least 1.

    Example:
        >>> list(read_in_threads(lambda number: number**2, range(4), threads=2, at_most=2))
        [0, 1, 4, 9]
    """
    remaining = iter(numbers)
    pool = ThreadPoolExecutor(threads)
    try:
        waiting = deque(pool.submit(read, number) for number in islice(remaining, at_most))
        while waiting:
            result = waiting.popleft().result()
            waiting.extend(pool.submit(read, number) for number in islice(remaining, 1))
            yield result
    finally:
        pool.shutdown(cancel_futures=True)
