"""``kgenre fit --advise``: which backend, precision and compiler train this configuration fastest on this machine."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from kgenre.cli import configuration
from kgenre.cli.huge_pages import restart_with_huge_pages

BACKENDS, PRECISIONS = ("tensorflow", "jax"), ("32-true", "bf16-mixed")
CLEARLY = 0.8  # of this configuration's time: less is within what a busy machine does


def advise(arguments: Sequence[str], precision: str) -> int:
    """Measure a few steps each way, in a process of its own; print a table, and what to type for a faster run.

    Args:
        arguments: of ``kgenre fit``.
        precision: what they ask for.

    Returns:
        0, or 1 where not even the configuration as it is could be measured.
    """
    from kgenre.engines.backend import check_backend

    backends = [check_backend(), *BACKENDS]
    found: dict[tuple[str, str, bool], float] = {}
    for backend in dict.fromkeys(b for b in backends if importlib.util.find_spec(b)):
        for each in dict.fromkeys((precision, *PRECISIONS)):
            print(f"Measuring {backend}, {each} ...", file=sys.stderr, flush=True)
            for name, seconds in _measured(arguments, backend, each).items():
                found[backend, each, name.endswith("XLA")] = seconds
    now = (backends[0], precision, False)
    if now not in found:
        return 1
    _print_table(found, now)
    best = min(found, key=found.__getitem__)
    if found[best] >= CLEARLY * found[now]:
        print("Nothing here is clearly faster than this configuration.")
        return 0
    words = [f"KERAS_BACKEND={best[0]}"] * (best[0] != now[0]) + ["kgenre fit ..."]
    words += [f"--trainer.precision {best[1]}"] * (best[1] != now[1]) + ["--trainer.jit_compile true"] * best[2]
    print(f"{found[now] / found[best]:.1f} times as fast: {' '.join(words)}")
    return 0


def _measured(arguments: Sequence[str], backend: str, precision: str) -> dict[str, float]:
    # A file of the user's named random.py is no module of Python's; `allow_imports` lets in what options name.
    safe = [] if Path(__file__).parents[2] == Path.cwd() else ["-P"]
    command = [sys.executable, *safe, "-m", "kgenre.cli.advise", *arguments, f"--trainer.precision={precision}"]
    done = subprocess.run(command, env=os.environ | {"KERAS_BACKEND": backend}, capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        print(f"{backend}, {precision} cannot be measured: {last}", file=sys.stderr)
        return {}
    return json.loads(done.stdout.splitlines()[-1])


def _print_table(found: dict[tuple[str, str, bool], float], now: tuple[str, str, bool]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("backend", "precision", "XLA", "ms a step", "times as fast")
    for key, seconds in sorted(found.items(), key=lambda item: item[1]):
        backend, precision, xla = key
        compiled = "yes" if xla or backend == "jax" else "no"
        row = (backend, precision, compiled, f"{1e3 * seconds:.3g}", f"{found[now] / seconds:.2f}")
        table.add_row(*row, style="bold" if key == now else None)
    Console().print(table)


def main(arguments: Sequence[str]) -> int:
    """In the process of its own: the steps' seconds as a line of JSON."""
    from kgenre.tuning import Tuner

    parser = configuration.make_parser("fit", "")
    options = configuration.parse(parser, arguments)
    configuration.start(options)
    trainer, module, data = configuration.instantiate(parser, options)
    print(json.dumps(Tuner(trainer).step_times(module, datamodule=data)))
    return 0


if __name__ == "__main__":
    restart_with_huge_pages(["fit", *sys.argv[1:]])  # as `kgenre fit` does
    sys.exit(main(sys.argv[1:]))
