"""Compares ways to compute one training step under JAX, on this machine's GPU or CPU.

A way is a network, a batch size and a precision, then any of these words:

    several=25            also measure that many steps in one compiled call
    without=dropout,...   Keras's operations in place of these kernels (convolution, dropout, max_pooling, masked_lstm)
    stock                 only Keras's own layers
    undonated             the step's results in new arrays, not in place of its inputs
    words=68              padded length of the overviews

    python benchmarks/step_ways.py "poster_cnn_2024 64 fp32 several=25" "overview_lstm_cudnn 64 fp32" \
        "overview_lstm_cudnn 64 fp32 without=masked_lstm" --output ways.json
    XLA_FLAGS=--xla_gpu_enable_command_buffer= python benchmarks/step_ways.py "poster_cnn_2024 64 fp32"

All run in one process, one after the other, on data that is on the device. Prints a Markdown table; the JSON also has a
profile of ten steps. Each row has the XLA flags of its process, and rows are added to an existing file.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import gc
import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from earlier_results import earlier_results
from machine import cpu_name, driver, git_commit, gpu_name
from table_row import table_row
from throughput_networks import MODELS, build, films, scaled

os.environ.setdefault("KERAS_BACKEND", "jax")

PRECISIONS = {"fp32": "32-true", "bf16": "bf16-mixed"}
_KERNEL = "(convolution|dropout|max_pooling|masked_lstm)"
_PATTERN = re.compile(
    rf"({'|'.join(MODELS)}) \d+ ({'|'.join(PRECISIONS)})"
    rf"( stock| undonated| several=\d+| words=\d+| without={_KERNEL}(,{_KERNEL})*)*"
)


def measure(way: str, seconds: float, profile: bool) -> dict[str, Any]:
    """Measure the milliseconds of a training step, fastest and median of five rounds, and the seconds of the first."""
    import jax

    import kgenre

    model, batch_size, precision, *words = way.split()
    options = dict(word.split("=") for word in words if "=" in word)
    _without(options.get("without", "").split(","))
    made = films(model, int(batch_size), 2, int(options.get("words", 68)))
    batches = [{name: jax.device_put(array) for name, array in batch.items()} for batch in made]
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    trainer = kgenre.Trainer(max_steps=1, precision=PRECISIONS[precision], steps_per_execution=1, **quiet)
    begun = time.perf_counter()
    with _donating("undonated" not in words):
        trainer.fit(module_of(model, "stock" in words), batches)
    engine = trainer.engine
    row = {"way": way, "xla_flags": os.environ.get("XLA_FLAGS"), "first_step_seconds": time.perf_counter() - begun}
    row |= _timed(lambda: engine.train_step(batches[0]), engine, seconds, 1)
    if "several" in options:
        size = int(options["several"])
        begun = time.perf_counter()
        engine.train_steps([batches[0]] * size, size)
        engine.epoch_logs("train")
        row["several_compile_seconds"] = time.perf_counter() - begun
        row["several"] = _timed(lambda: engine.train_steps([batches[0]] * size, size), engine, seconds, size)
    if profile:
        from throughput_device import profile_of

        row["profile"] = profile_of(engine, batches[0])
    return row


def module_of(model: str, stock: bool) -> Any:
    import keras

    import kgenre

    class Network(kgenre.Module):
        def configure_model(self) -> None:
            self.model = build(model, stock=stock)

        def training_step(self, batch: Any, batch_idx: Any) -> Any:
            probabilities = self.model(scaled(model, batch["x"]), training=True)
            loss = keras.ops.mean(keras.losses.binary_crossentropy(batch["genres"], probabilities))
            self.log("train/loss", loss)
            return loss

        def configure_optimizers(self) -> Any:
            return keras.optimizers.Adam(1e-4)

    return Network()


@contextlib.contextmanager
def _donating(wanted: bool) -> Iterator[None]:
    from kgenre.engines.jax import JaxEngine

    own = JaxEngine._jit
    if not wanted:
        JaxEngine._jit = lambda self, step, donate_argnums, **arguments: own(self, step, **arguments)
    try:
        yield
    finally:
        JaxEngine._jit = own


_OWN: dict[str, Any] = {}


def _without(names: list[str]) -> None:
    """Disable these kernels, so that Keras computes instead; restore all others."""
    from kgenre import kernels
    from kgenre.models import bidirectional

    def refuse(*_: Any, **__: Any) -> Any:
        raise NotImplementedError("taken out for a comparison")

    places = {"convolution": kernels, "dropout": kernels, "max_pooling": kernels, "masked_lstm": bidirectional}
    for name, place in places.items():
        _OWN.setdefault(name, getattr(place, name))
        setattr(place, name, refuse if name in names else _OWN[name])


def _timed(step: Callable[[], Any], engine: Any, seconds: float, per: int) -> dict[str, float]:
    def round_of(calls: int) -> float:
        begun = time.perf_counter()
        for _ in range(calls):
            step()
        engine.epoch_logs("train")  # waits for the device
        return time.perf_counter() - begun

    round_of(1)
    calls = max(2, int(seconds / round_of(1)))
    times = [1e3 * round_of(calls) / calls / per for _ in range(5)]
    return {"ms": min(times), "median_ms": float(np.median(times))}


def check_ways(parser: argparse.ArgumentParser, ways: list[str]) -> None:
    """Exit with the syntax of a way, if one does not follow it."""
    for way in ways:
        if not _PATTERN.fullmatch(way):
            parser.error(f'A way is "NETWORK BATCH fp32|bf16 ...", see benchmarks/step_ways.py. Received: "{way}".')


def render(results: dict[str, Any]) -> str:
    """Return the results as a Markdown table."""
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    lines = [f"{results['device']}, driver {results['driver']}; {results['date']}; {versions}.", ""]
    head = [
        "way",
        "XLA flags",
        "ms per step",
        "in a call of several",
        "device busy",
        "kernels per step",
        "first step s",
    ]
    lines += [table_row(head), "|---|---|" + "---:|" * 5]
    for row in results["rows"]:
        profile = row.get("profile") or {}
        cells = [
            row["way"] + (f" ({row['note']})" if "note" in row else ""),
            f"`{row['xla_flags']}`" if row["xla_flags"] else "",
            row.get("failed") or f"{row['ms']:.3g}",
            f"{row['several']['ms']:.3g}" if "several" in row else "",
            f"{profile['busy_share'] * profile['wall_ms_per_step']:.3g} ms" if profile else "",
            f"{profile['launches_per_step']:.0f}" if profile else "",
            f"{row['first_step_seconds']:.1f}" if "first_step_seconds" in row else "",
        ]
        lines.append(table_row(cells))
    return "\n".join(lines)


def main() -> int:
    """Measure each way, print the table, write the JSON after each."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("ways", nargs="*", metavar="WAY", help=f'"NETWORK BATCH fp32|bf16 ..."; {", ".join(MODELS)}')
    parser.add_argument("--seconds", type=float, default=0.2, help="approximate length of each of five rounds")
    parser.add_argument("--no-profile", action="store_true", help="do not trace")
    parser.add_argument("--output", type=Path, metavar="JSON")
    parser.add_argument("--render", type=Path, metavar="JSON", help="only print the table of an earlier run")
    options = parser.parse_args()
    if options.render:
        print(render(json.loads(options.render.read_text())))
        return 0
    check_ways(parser, options.ways)
    import jax
    import keras

    identity = {"device": gpu_name() if jax.default_backend() == "gpu" else cpu_name()}
    results: dict[str, Any] = {"rows": []} | earlier_results(options.output, identity) | identity
    results |= {
        "benchmark": "step_ways",
        "date": datetime.date.today().isoformat(),
        "git_commit": git_commit(),
        "driver": driver(),
        "versions": {"jax": jax.__version__, "keras": keras.__version__, "numpy": np.__version__},
    }
    for way in options.ways:
        try:
            row = measure(way, options.seconds, not options.no_profile)
        except Exception as error:  # go on with the other ways
            row = {"way": way, "xla_flags": os.environ.get("XLA_FLAGS"), "failed": str(error).splitlines()[0][:200]}
        results["rows"].append(row)
        print(row.get("failed") or f"{way}: {row['ms']:.3g} ms", file=sys.stderr, flush=True)
        if options.output:
            options.output.parent.mkdir(parents=True, exist_ok=True)
            options.output.write_text(json.dumps(results, indent=1) + "\n")
        gc.collect()
    print(render(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
