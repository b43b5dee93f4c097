"""Starts the contestants of a group of `throughput.py`, a process each, and lets them run and measure in turn."""

from __future__ import annotations

import argparse
import importlib.util
import re
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from machine import environment_for
from networks import EPOCH, OWN, POSTERS, SEVERAL, flops
from processes import Contestant

PARTS = ("train", "inference")
GROUP = ("model", "batch_size", "precision", "source")  # what contestants are compared on
FEW_FILMS = 256  # up to this batch size a GPU may wait for the host, so several steps per call are measured too


@dataclass(frozen=True)
class Group:
    """The conditions under which contestants are compared."""

    model: str
    batch_size: int
    precision: str
    source: str

    @property
    def label(self) -> str:
        """The group in a few words, for the screen."""
        return f"{self.model}, batch {self.batch_size}, {self.precision}, {self.source}"


@dataclass
class Measured:
    """One contestant: its process, if it can take part, and what was measured."""

    name: str
    backend: str
    process: Contestant | None
    steps: int  # per round
    not_measured: str | None = None
    rounds: list[dict[str, float]] = field(default_factory=list)  # the first one compiles
    facts: dict[str, Any] = field(default_factory=dict)

    def answer(self) -> dict[str, Any]:
        """Return the next answer of the process; if it has ended, record the reason in ``not_measured``."""
        content = self.process.read()
        if content is None:
            code, lines = self.process.process.wait(), self.process.log()
            # Keras and JAX write more below the line that names the error.
            errors = [text for text in lines if re.match(r"[\w.]+(Error|Exception): ", text)] or lines
            content = {
                "not_measured": f"ended with code {code}: {errors[-1].strip()[:200] if errors else 'no message'}"
            }
        self.not_measured = content.get("not_measured")
        return content

    def go(self) -> dict[str, Any]:
        """Let the process run one more round, and wait for its answer."""
        self.process.tell()
        return self.answer()

    def end(self) -> None:
        """Kill the process, whatever it is doing."""
        if self.process:
            self.process.end()


def measure(options: argparse.Namespace, group: Group, contestants: Iterator[Measured]) -> list[dict[str, Any]]:
    """Measure one group: all contestants build, compile, run their rounds in turn, and end."""
    started: list[Measured] = []
    try:
        for contestant in contestants:
            started.append(contestant)
            if contestant.not_measured is None:
                contestant.facts |= contestant.go()  # its imports are done: let it build
        contestants = started
        for contestant in _running(contestants):
            contestant.rounds.append(contestant.go())
        for _ in range(options.rounds):
            for contestant in _running(contestants):
                contestant.rounds.append(contestant.go())
        for contestant in _running(contestants):
            if "profile" in contestant.rounds[-1]:  # sent before the last round's times
                contestant.facts["profile"] = contestant.rounds.pop()["profile"]
                contestant.rounds.append(contestant.answer())
            contestant.facts |= contestant.rounds[-1]
    finally:
        for contestant in started:
            contestant.end()
    return [_row(group, contestant, options) for contestant in contestants]


def _running(contestants: list[Measured]) -> list[Measured]:
    return [contestant for contestant in contestants if contestant.not_measured is None]


def contestants_of(options: argparse.Namespace, group: Group) -> list[tuple[str, str]]:
    """Return (contestant, backend) pairs: kgenre and its peers on each backend, Lightning on torch."""
    if group.source == "input":
        return [("input", backend) for backend in options.backends]
    padded = {"keras-fit-padded"} if group.model in POSTERS or options.words != OWN else set()
    names = ["kgenre", *(peer for peer in options.peers if peer not in {"lightning", *padded})]
    if options.device == "gpu" and group.source == "device" and group.batch_size <= FEW_FILMS:
        names.insert(1, "kgenre-several")
    pairs = [(name, backend) for backend in options.backends for name in names]
    pairs = [pair for pair in pairs if pair != ("raw", "torch")]  # on torch Lightning is the alternative
    if "lightning" in options.peers and group.source == "device":  # torch has no tf.data
        pairs.append(("lightning", "torch"))
    return pairs


def steps_of_a_round(options: argparse.Namespace, group: Group, rates: dict[str, float]) -> int:
    """Return how many steps fit into ``--seconds``, at a third of the device's rate and at least 1 to 4 ms each."""
    if options.steps:
        return options.steps
    if options.words == OWN and group.model not in POSTERS:
        return EPOCH
    work = 3 * flops(group.model, group.batch_size, options.words)
    rate = rates.get("fp32 FLOP/s", 1e11)
    step = max(work / (0.3 * rate), 1e-3 if group.model in POSTERS else 4e-3)
    steps = int(np.clip(options.seconds / step, 2, 200))
    return steps if steps < SEVERAL else steps // SEVERAL * SEVERAL


def start(options: argparse.Namespace, group: Group, rates: dict[str, float], folder: Path) -> Iterator[Measured]:
    """Start the processes of a group: each does its imports, then waits for `Measured.go`."""
    steps = steps_of_a_round(options, group, rates)
    for name, backend in contestants_of(options, group):
        yield _start(options, group, name, backend, steps, folder)


def _start(options: argparse.Namespace, group: Group, name: str, backend: str, steps: int, folder: Path) -> Measured:
    place = Path(tempfile.mkdtemp(prefix=f"{name}-{backend}-", dir=folder))
    python = options.lightning_python if name == "lightning" else sys.executable
    missing = missing_package(group, name, backend, python)
    if missing:
        return Measured(name, backend, None, steps, not_measured=missing)
    cell = asdict(group) | {
        "contestant": name,
        "backend": backend,
        "device": options.device,
        "steps": steps,
        "rounds": options.rounds + 1,
        "words": options.words,
        "folder": str(place),
        "profile": options.profile and name == "kgenre",
    }
    # An empty cache, so that every time to the first step is that of a first start.
    environment = environment_for(backend, options.device) | {"KGENRE_CACHE": str(place / "cache")}
    process = Contestant(f"{name} on {backend}", "throughput_cell.py", cell, place, environment, python)
    return Measured(name, backend, process, steps)


def missing_package(group: Group, name: str, backend: str, python: str) -> str | None:
    """Return why a contestant cannot take part here, as far as known without starting it, or None."""
    if name == "lightning":
        if python == sys.executable and not any(map(importlib.util.find_spec, ("lightning", "pytorch_lightning"))):
            return "Lightning is not installed"
        return None
    if importlib.util.find_spec(backend) is None:
        return f"{backend} is not installed"
    if group.source != "device" and importlib.util.find_spec("tensorflow") is None:
        return "TensorFlow is not installed, and the film pipeline is tf.data"
    return None


def _row(group: Group, contestant: Measured, options: argparse.Namespace) -> dict[str, Any]:
    steps = contestant.steps
    row = asdict(group) | {"contestant": contestant.name, "backend": contestant.backend, "steps": steps}
    row["words"] = options.words
    if contestant.not_measured is not None or len(contestant.rounds) < 2:
        return row | {"not_measured": contestant.not_measured or "no round came to its end"}
    facts, rounds = contestant.facts, contestant.rounds[1:]
    for part in PARTS:
        row[part] = {"ms_per_step": [1e3 * done[part] / steps for done in rounds if part in done]}
    waits = [done.get("input_wait") for done in rounds]
    row["input_wait_ms_per_step"] = [1e3 * wait / (2 * steps) for wait in waits if wait is not None]
    first = contestant.rounds[0]
    steady = sum(float(np.median(row[part]["ms_per_step"])) for part in PARTS) * steps / 1e3
    row["first_step"] = {
        "import_seconds": facts["import_seconds"],
        "build_seconds": facts["built_seconds"] - facts["import_seconds"],
        "compile_seconds": max(0.0, sum(first[part] for part in PARTS) - steady),
    }
    return row | {
        name: facts.get(name)
        for name in ("host_bytes", "device_bytes", "device_name", "versions", "profile", "bytes_per_step")
    }
