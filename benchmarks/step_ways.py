r"""Which way to compute a training step is fastest under JAX? On this machine's GPU or CPU.

    python benchmarks/step_ways.py "poster_cnn_2024 64 fp32 several=25" "overview_lstm_cudnn 64 fp32" \
        "overview_lstm_cudnn 64 fp32 without=masked_lstm" --output ways.json     # half a minute each, mostly compiling
    XLA_FLAGS=--xla_gpu_enable_command_buffer= python benchmarks/step_ways.py "poster_cnn_2024 64 fp32"
    python benchmarks/step_ways.py --render ways.json

A way is a network, a batch size and a precision, then any of these words:

    several=25            also measure that many steps in one compiled call
    without=dropout,...   Keras's operations in place of these kernels (convolution, dropout, max_pooling, masked_lstm)
    stock                 only Keras's own layers
    undonated             the step's results in new arrays, not in place of its inputs
    words=68              padded length of the overviews

All run in one process, one after the other, on data that is on the device. Milliseconds are the fastest of five rounds;
the profile is of ten steps. Each row has the XLA flags of its process, and rows are added to an existing file.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from machine import cpu_name, driver, gpu_name
from markdown_table import table_row
from networks import MODELS, PRECISIONS, QUIET, build, films, module_of
from result_file import about, earlier_results, listed, parser_for, print_rendered, say, write

os.environ.setdefault("KERAS_BACKEND", "jax")

_KERNEL = "(convolution|dropout|max_pooling|masked_lstm)"
_PATTERN = re.compile(
    rf"({'|'.join(MODELS)}) \d+ ({'|'.join(PRECISIONS)})"
    rf"( stock| undonated| several=\d+| words=\d+| without={_KERNEL}(,{_KERNEL})*)*"
)


@dataclass(frozen=True)
class Way:
    """A way to compute a step, as the module's docstring describes it."""

    network: str
    batch_size: int
    precision: str
    several: int | None
    words: int
    without: tuple[str, ...]
    stock: bool
    donated: bool

    @classmethod
    def of(cls, text: str) -> Way:
        """Return the way that a text describes."""
        network, batch_size, precision, *rest = text.split()
        given = dict(word.split("=") for word in rest if "=" in word)
        without = tuple(filter(None, given.get("without", "").split(",")))
        several = int(given["several"]) if "several" in given else None
        words, stock, donated = int(given.get("words", 68)), "stock" in rest, "undonated" not in rest
        return cls(network, int(batch_size), precision, several, words, without, stock, donated)

    def fitted(self, batches: list[Any]) -> Any:
        """Return the engine of a Trainer that has trained one of these batches."""
        import kgenre

        trainer = kgenre.Trainer(max_steps=1, precision=PRECISIONS[self.precision], steps_per_execution=1, **QUIET)
        trainer.fit(module_of(self.network, lambda: build(self.network, stock=self.stock)), batches)
        return trainer.engine


def measure(text: str, seconds: float, profile: bool) -> dict[str, Any]:
    """Measure the milliseconds of a training step, fastest and median of five rounds, and the seconds of the first."""
    import jax

    way = Way.of(text)
    _without(way.without)
    made = films(way.network, way.batch_size, 2, way.words)
    batches = [{name: jax.device_put(array) for name, array in batch.items()} for batch in made]
    begun = time.perf_counter()
    with _donating(way.donated):
        engine = way.fitted(batches)
    row = {"way": text, "xla_flags": os.environ.get("XLA_FLAGS"), "first_step_seconds": time.perf_counter() - begun}
    row |= _timed(lambda: engine.train_step(batches[0]), engine, seconds, 1)
    if size := way.several:
        begun = time.perf_counter()
        engine.train_steps([batches[0]] * size, size)
        engine.epoch_logs("train")
        row["several_compile_seconds"] = time.perf_counter() - begun
        row["several"] = _timed(lambda: engine.train_steps([batches[0]] * size, size), engine, seconds, size)
    if profile:
        from throughput_device import profile_of

        row["profile"] = profile_of(engine, batches[0])
    return row


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


def _without(names: Sequence[str]) -> None:
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
    where = f"{results['device']}, driver {results['driver']}"
    lines = [f"{where}; {results['date']}; {listed(results['versions'])}.", ""]
    head = ["way", "XLA flags", "ms per step", "in a call of several", "device busy", "kernels per step"]
    head.append("first step s")
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
    parser = parser_for(__doc__)
    parser.add_argument("ways", nargs="*", metavar="WAY", help=f'"NETWORK BATCH fp32|bf16 ..."; {", ".join(MODELS)}')
    parser.add_argument("--seconds", type=float, default=0.2, help="approximate length of each of five rounds")
    parser.add_argument("--no-profile", action="store_true", help="do not trace")
    options = parser.parse_args()
    if print_rendered(options, render):
        return 0
    check_ways(parser, options.ways)
    import jax
    import keras

    identity = {"device": gpu_name() if jax.default_backend() == "gpu" else cpu_name()}
    results: dict[str, Any] = {"rows": []} | earlier_results(options.output, identity) | identity
    results |= about("step_ways") | {
        "driver": driver(),
        "versions": {"jax": jax.__version__, "keras": keras.__version__, "numpy": np.__version__},
    }
    for way in options.ways:
        try:
            row = measure(way, options.seconds, not options.no_profile)
        except Exception as error:  # go on with the other ways
            row = {"way": way, "xla_flags": os.environ.get("XLA_FLAGS"), "failed": str(error).splitlines()[0][:200]}
        results["rows"].append(row)
        say(row.get("failed") or f"{way}: {row['ms']:.3g} ms")
        write(options.output, results)
        gc.collect()
    print(render(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
