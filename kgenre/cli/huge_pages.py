"""Huge memory pages, which the C library uses only if they are enabled when a process starts."""

from __future__ import annotations

import contextlib
import os
import platform
import sys
from pathlib import Path

from kgenre.engines.backend import BackendError, check_backend

TUNABLE = "glibc.malloc.hugetlb"
MODE = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def restart_with_huge_pages(arguments: list[str]) -> None:
    """Restart this process with huge pages, where training is faster with them: under JAX on Linux.

    On a CPU, XLA allocates and frees the memory of each step, hundreds of megabytes in pages of 4 kB. With pages of
    2 MB the course's networks train 1.05 to 1.2 times as fast (benchmarks/README.md), on a busy machine up to 1.5
    times. The C library enables them only if the variable GLIBC_TUNABLES requests them when the process starts: hence
    the restart, which takes 20 ms.

    Args:
        arguments: of the command line, the command first. Only ``fit`` restarts: the others are short, or run ``fit``.
    """
    helps = any(word in ("-h", "--print_config") or word.endswith("help") for word in arguments)
    if arguments[0] != "fit" or helps or not _would_help():
        return
    before = os.environ.get("GLIBC_TUNABLES")
    os.environ["GLIBC_TUNABLES"] = f"{before}:{TUNABLE}=1" if before else f"{TUNABLE}=1"
    sys.stdout.flush()
    with contextlib.suppress(OSError):
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _would_help() -> bool:
    if TUNABLE in os.environ.get("GLIBC_TUNABLES", "") or sys.gettrace() is not None or not sys.executable:
        return False  # already set (0 forbids it), or a debugger is attached
    try:
        # "always" gives them to every process, "never" to none.
        return "[madvise]" in MODE.read_text(encoding="utf-8") and _glibc() >= (2, 35) and check_backend() == "jax"
    except (OSError, BackendError):
        return False  # not Linux; or a wrong backend, which is reported later


def _glibc() -> tuple[int, ...]:
    """Return glibc's version; () for another C library."""
    name, version = platform.libc_ver()
    return tuple(map(int, version.split("."))) if name == "glibc" else ()
