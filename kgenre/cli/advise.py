"""``kgenre fit --advise``: which backend, precision, compiler and number of devices train fastest on this machine."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from kgenre.allowed_imports import only_allowed_imports
from kgenre.cli import configuration
from kgenre.cli.huge_pages import restart_with_huge_pages

BACKENDS, PRECISIONS = ("tensorflow", "jax"), ("32-true", "bf16-mixed")
CLEARLY_FASTER = 0.8  # of this configuration's step time: a smaller gain may be noise on a busy machine


class Variant(NamedTuple):
    """One way to train the configuration."""

    backend: str
    precision: str
    device: str  # "cpu" or "gpu"
    devices: int = 1
    xla: bool = False
    lacks_bfloat16: bool = False  # an older GPU, with hardware for float16 but not bfloat16


def advise(arguments: Sequence[str], precision: str) -> int:
    """Measure a few training steps of each variant, in subprocesses; print a table, and the command for a faster run.

    Args:
        arguments: of ``kgenre fit``.
        precision: the one that they request.

    Returns:
        0, or 1 if not even the given configuration could be measured.
    """
    from kgenre.engines.backend import check_backend

    backends = [check_backend(), *BACKENDS]
    found: dict[Variant, float] = {}
    for backend in dict.fromkeys(b for b in backends if importlib.util.find_spec(b)):
        for each in dict.fromkeys((precision, *PRECISIONS)):
            found |= _measure(arguments, backend, each)
            if not found:  # the first one is the given configuration
                return 1
        if any(variant.backend == backend and variant.lacks_bfloat16 for variant in found):
            found |= _measure(arguments, backend, "16-mixed")
    now = next(variant for variant in found if variant[:2] == (backends[0], precision))
    if shared := _on_all_cores(found):
        found |= _measure(arguments, shared.backend, shared.precision, shared.devices)
    _print_table(found, now)
    best = min(found, key=found.__getitem__)
    if found[best] >= CLEARLY_FASTER * found[now]:
        print("No setting here is clearly faster than this configuration.")
        return 0
    words = [f"KERAS_BACKEND={best.backend}"] * (best.backend != now.backend) + ["kgenre fit ..."]
    words += [f"--trainer.precision {best.precision}"] * (best.precision != now.precision)
    words += [f"--trainer.devices {best.devices}"] * (best.devices != now.devices)
    words += ["--trainer.jit_compile true"] * best.xla
    print(f"{found[now] / found[best]:.1f} times as fast: {' '.join(words)}")
    return 0


def _on_all_cores(found: Mapping[Variant, float]) -> Variant | None:
    """Return JAX's fastest variant on the CPU with a device per core, up to a power of two; None if there is none."""
    alone = [one for one in found if one.backend == "jax" and (one.device, one.devices) == ("cpu", 1)]
    cores = os.cpu_count() or 1
    if not alone or cores == 1:
        return None
    return min(alone, key=found.__getitem__)._replace(devices=2 ** (cores.bit_length() - 1))


def _measure(arguments: Sequence[str], backend: str, precision: str, devices: int = 1) -> dict[Variant, float]:
    name = f"{backend}, {precision}" + (f", {devices} devices" if devices > 1 else "")
    print(f"Measuring {name} ...", file=sys.stderr, flush=True)
    # -P: a user's random.py must not shadow Python's; `only_allowed_imports` lets in what options name.
    safe = [] if Path(__file__).parents[2] == Path.cwd() else ["-P"]
    command = [sys.executable, *safe, "-m", "kgenre.cli.advise", *arguments, f"--trainer.precision={precision}"]
    command += [f"--trainer.devices={devices}"] * (devices > 1)
    done = subprocess.run(command, env=os.environ | {"KERAS_BACKEND": backend}, capture_output=True, text=True)
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["no message"])[-1]
        last = re.sub(r"^(kgenre\.[\w.]+|ValueError|TypeError): ", "", said)
        print(f"{name} cannot be measured: {last}", file=sys.stderr)
        return {}
    answer = json.loads(done.stdout.splitlines()[-1])
    place = {name: answer[name] for name in ("device", "devices", "lacks_bfloat16")}
    return {
        Variant(backend, precision, xla=name.endswith("XLA"), **place): seconds
        for name, seconds in answer["seconds"].items()
        if math.isfinite(seconds)  # infinite where XLA cannot compile the step
    }


def _print_table(found: Mapping[Variant, float], now: Variant) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("backend", "precision", "XLA", "devices", "ms per step", "times as fast")
    for variant, seconds in sorted(found.items(), key=lambda item: item[1]):
        compiled = "yes" if variant.xla or variant.backend == "jax" else "no"
        devices = variant.device if variant.devices == 1 else f"{variant.devices} x {variant.device}"
        times = f"{1e3 * seconds:.3g}", f"{found[now] / seconds:.2f}"
        style = "bold" if variant == now else None
        table.add_row(variant.backend, variant.precision, compiled, devices, *times, style=style)
    Console().print(table)


def main(arguments: Sequence[str]) -> int:
    """Run in the subprocess: print the seconds per step, and the device, as a line of JSON."""
    from kgenre.engines.devices import computing_devices, lacks_bfloat16
    from kgenre.training.accelerator import choose_devices
    from kgenre.tuning import Tuner

    parser = configuration.make_parser("fit", "")
    options = configuration.parse(parser, arguments)
    trainer, module, data = configuration.instantiate(parser, options)
    seconds = Tuner(trainer).step_times(module, datamodule=data)
    devices = computing_devices(choose_devices(trainer.accelerator, trainer.devices, trainer.strategy))
    place = {"device": devices[0].partition(":")[0], "devices": len(devices)}
    print(json.dumps(place | {"lacks_bfloat16": lacks_bfloat16(devices[0]), "seconds": seconds}))
    return 0


if __name__ == "__main__":
    restart_with_huge_pages(["fit", *sys.argv[1:]])  # as `kgenre fit` does
    with only_allowed_imports():
        sys.exit(main(sys.argv[1:]))
