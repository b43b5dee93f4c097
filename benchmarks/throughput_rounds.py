"""What a contestant of `throughput.py` receives: its cell, a clock that times its rounds, and batches of films."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from networks import OWN, POSTERS, films, overviews
from processes import Script


@dataclass(frozen=True)
class Cell:
    """The work of one process."""

    model: str
    contestant: str
    backend: str
    device: str
    batch_size: int
    precision: str
    source: str  # "device", "pipeline" or "input"
    steps: int  # per round
    rounds: int  # including the first, which compiles
    words: int
    folder: str
    profile: bool = False

    @property
    def is_kgenre(self) -> bool:
        """Whether kgenre's Trainer trains it."""
        return self.contestant.startswith("kgenre")

    @property
    def reads_words(self) -> bool:
        """Whether the network reads overviews."""
        return self.model not in POSTERS


class Clock:
    """Times the parts of a round (contestants call `start` and `stop`), and sends the seconds to the script."""

    def __init__(self, script: Script, started: float) -> None:
        self.script, self.started = script, started
        self.wait: Callable[[], Any] = lambda: None  # waits for the device
        self.input_wait: float | None = None  # seconds of waiting for batches; None: unknown
        self.parts: dict[str, float] = {}
        self.facts: dict[str, Any] = {}  # sent with the last round
        self._begun = 0.0
        self._first = True

    def wait_for_the_script(self) -> None:
        """Wait until the script lets this process go on; the waiting does not count."""
        begun = time.perf_counter()
        self.script.wait()
        self.started += time.perf_counter() - begun

    def start(self, part: str) -> None:
        """Start timing a part, on an idle device; a new round first reports the last one and waits for the script."""
        if part == "train":
            if self._first:
                self.script.answer(ready=True, built_seconds=time.perf_counter() - self.started)
                self._first = False
            else:
                self.script.answer(**self.parts, input_wait=self.input_wait)
            self.wait_for_the_script()
            self.parts, self.input_wait = {}, None
        self._begun = time.perf_counter()

    def stop(self, part: str) -> None:
        """Wait for the device, then record the part's seconds."""
        self.wait()
        self.parts[part] = time.perf_counter() - self._begun


class Batches:
    """The batches of a round, as a source that every contestant accepts; measures how long readers wait for them."""

    def __init__(self, clock: Clock, steps: int, epoch: Callable[[], Iterator[Any]]) -> None:
        self.clock, self.steps, self.epoch = clock, steps, epoch

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[Any]:
        batches = self.epoch()
        for _ in range(self.steps):
            begun = time.perf_counter()
            batch = next(batches)
            self.clock.input_wait = (self.clock.input_wait or 0.0) + time.perf_counter() - begun
            yield batch


def source(cell: Cell, clock: Clock, put: Callable[[Any], Any], form: Callable[[dict[str, Any]], Any]) -> Batches:
    """Return the batches in a contestant's form: a few on the device, over and over, or the film pipeline's."""
    if cell.source == "pipeline":
        return Batches(clock, cell.steps, lambda: map(form, pipeline(cell)))
    held = on_the_device(cell, put, form)

    def again() -> Iterator[Any]:
        while True:
            yield from held

    return Batches(clock, cell.steps, again)


def on_the_device(cell: Cell, put: Callable[[Any], Any], form: Callable[[dict[str, Any]], Any]) -> list[Any]:
    """Return the batches on the device, for rounds without the pipeline."""
    if cell.words == OWN and cell.reads_words:
        padding = "buckets" if cell.is_kgenre else "all" if cell.contestant == "keras-fit-padded" else "longest"
        batches = overviews(cell.batch_size, padding)
    else:
        batches = films(cell.model, cell.batch_size, 3, cell.words)
    return [form({name: put(array) for name, array in batch.items()}) for batch in batches]


def endless_dataset(cell: Cell, form: Callable[[dict[str, Any]], Any]) -> Any:
    """Return the same as a `tf.data.Dataset`, which Keras's ``fit`` reads without Python; its waiting is unknown."""
    import tensorflow as tf

    if cell.source == "pipeline":
        batches, name = film_batches(cell)
        epochs = [
            batches.epoch_batches(epoch).map(lambda b: form({"x": b[name], "genres": b["genres"]}))
            for epoch in range(8)
        ]
    else:
        epochs = [tf.data.Dataset.from_tensors(batch) for batch in on_the_device(cell, tf.convert_to_tensor, form)]
    return functools.reduce(tf.data.Dataset.concatenate, epochs).repeat()


@functools.cache  # no measured round creates the films
def film_batches(cell: Cell) -> tuple[Any, str]:
    """Return kgenre's film pipeline over a table of decoded films, and the network's input key in its batches."""
    import numpy as np

    from kgenre.data.batches import FilmBatches, FilmTensors

    count = max(4 * cell.batch_size, 2048)
    (table,) = films(cell.model, count, 1, cell.words)
    read = {"overviews": table["x"]} if cell.reads_words else {"posters": table["x"]}
    batches = FilmBatches(FilmTensors(table["genres"], **read), np.arange(count), cell.batch_size, shuffle=True)
    return batches, "overview" if cell.reads_words else "poster"


def pipeline(cell: Cell) -> Iterator[dict[str, Any]]:
    """Yield the pipeline's batches, epoch after epoch: tensors under TensorFlow, otherwise arrays."""
    batches, name = film_batches(cell)
    epoch = 0
    while True:
        data = batches.epoch_batches(epoch)
        for batch in data if cell.backend == "tensorflow" else data.as_numpy_iterator():
            yield {"x": batch[name], "genres": batch["genres"]}
        epoch += 1
