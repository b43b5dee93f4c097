"""Memory in huge pages, which the C library gives only to a process that starts with them."""

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
    """Become the same command with huge pages, where that trains faster: under JAX on Linux.

    On a CPU XLA takes the memory of each step from the system and gives it back, hundreds of megabytes in pages of
    4 kB. In pages of 2 MB the course's networks train 1.05 to 1.2 times as fast (benchmarks/README.md), on a busy
    machine up to 1.5 times. The C library asks for them only where the variable GLIBC_TUNABLES says so when a process
    starts, hence the new start, of 20 ms.

    Args:
        arguments: of the command line, the command first. Only ``fit`` starts anew: the others are short, or start it.
    """
    helps = any(word in ("-h", "--print_config") or word.endswith("help") for word in arguments)
    if arguments[0] != "fit" or helps or not _worth_it():
        return
    before = os.environ.get("GLIBC_TUNABLES")
    os.environ["GLIBC_TUNABLES"] = f"{before}:{TUNABLE}=1" if before else f"{TUNABLE}=1"
    sys.stdout.flush()
    with contextlib.suppress(OSError):
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _worth_it() -> bool:
    if TUNABLE in os.environ.get("GLIBC_TUNABLES", "") or sys.gettrace() is not None or not sys.executable:
        return False  # it is set already (0 forbids it), or a debugger follows this process
    try:
        # With "always" every process has them, with "never" none.
        return "[madvise]" in MODE.read_text(encoding="utf-8") and _glibc() >= (2, 35) and check_backend() == "jax"
    except (OSError, BackendError):
        return False  # a wrong name is said later, with what to do


def _glibc() -> tuple[int, ...]:
    """The C library's version; () where it is another one."""
    name, version = platform.libc_ver()
    return tuple(map(int, version.split("."))) if name == "glibc" else ()
