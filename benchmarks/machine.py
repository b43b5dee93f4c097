"""The machine, code and packages that a benchmark measures, and the environment of its processes on a device."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path

PACKAGES = ("kgenre", "keras", "jax", "jaxlib", "tensorflow", "numpy", "lightning", "pytorch-lightning", "torch")


def cpu_name() -> str:
    """Return the system's name for its processor."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        if names:
            return names[0]
    return platform.processor() or platform.machine()


def gpu_name() -> str | None:
    """Return the first NVIDIA GPU's name, if there is one."""
    return _asked_of_the_driver("name")


def driver() -> str | None:
    """Return the NVIDIA driver's version, if there is one."""
    return _asked_of_the_driver("driver_version")


def _asked_of_the_driver(field: str) -> str | None:
    command = ["nvidia-smi", f"--query-gpu={field}", "--format=csv,noheader"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[0]
    except (OSError, subprocess.SubprocessError, IndexError):
        return None


def git_commit() -> str | None:
    """Return the commit, with "+changes" if ``kgenre`` has uncommitted ones; outside git ``$GIT_COMMIT``."""

    def git(*command: str) -> str:
        here = Path(__file__).resolve().parent
        return subprocess.run(["git", *command], cwd=here, capture_output=True, text=True, check=True).stdout.strip()

    try:
        changes = git("status", "--porcelain", "--untracked-files=no", "--", "../kgenre")
        return git("rev-parse", "HEAD") + ("+changes" if changes else "")
    except (OSError, subprocess.SubprocessError):
        return os.environ.get("GIT_COMMIT")


def imported_versions(*others: str) -> dict[str, str]:
    """Return the versions of the packages that this process has imported, of ``PACKAGES`` and ``others``."""
    found = {}
    for package in (*PACKAGES, *others):
        if package.replace("-", "_") in sys.modules:
            try:
                found[package] = metadata.version(package)
            except metadata.PackageNotFoundError:
                found[package] = "from the source folder"
    return found


def environment_for(backend: str, device: str) -> dict[str, str]:
    """Return the environment variables for a process of one backend on one device, "cpu" or "gpu"."""
    environment = {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "2", "PYTHONUNBUFFERED": "1"}
    if device == "cpu":
        return os.environ | environment | {"CUDA_VISIBLE_DEVICES": "-1", "JAX_PLATFORMS": "cpu"}
    # Several processes share the device: none may take all of its memory.
    shared = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", "TF_FORCE_GPU_ALLOW_GROWTH": "true"}
    return os.environ | environment | shared
