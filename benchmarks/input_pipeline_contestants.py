"""The contestants of `input_pipeline.py`: kgenre's data layer and its alternatives.

A contestant is a function that reads all films once. It returns None, or the (wall, CPU) seconds that it measured.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from processes import Contestant

BATCH = 64
Seconds = tuple[float, float]
Contestants = dict[str, Callable[[], Seconds | None]]

# --- cold: decode and resize ----------------------------------------------------------------------------------------


def cold_contestants(paths: list[Path], size: tuple[int, int], folder: Path) -> Contestants:
    """Return contestants that decode all posters once; the bare ones neither read the files nor resize."""
    import keras
    import simplejpeg
    import tensorflow as tf

    from kgenre.data import FilmTable, examine_posters
    from kgenre.data.poster_resizing import SCALES, fit
    from kgenre.data.poster_table import poster_table

    n, cpus = len(paths), len(os.sched_getaffinity(0))
    table = FilmTable(
        ids=tuple(map(str, range(n))), titles=("",) * n, years=(None,) * n, overviews=("",) * n,
        genres=np.zeros((n, 1), np.uint8), genre_names=("Drama",), poster_paths=tuple(paths),
    )  # fmt: skip
    files = examine_posters(paths)
    data = [path.read_bytes() for path in paths]
    ratios = [SCALES[fit(f.height, f.width, size, "squash").scale] for f in files]
    by_ratio = {
        ratio: tf.data.Dataset.from_tensor_slices([d for d, r in zip(data, ratios, strict=True) if r == ratio]).map(
            lambda d, ratio=ratio: tf.io.decode_jpeg(d, channels=3, ratio=ratio),
            num_parallel_calls=cpus,
            deterministic=False,
        )
        for ratio in set(ratios)
    }

    def kgenre() -> None:
        _, reasons = poster_table(table, files, size, place="memory")
        assert not any(reasons)

    def bare_in_tf_data() -> None:
        for decoded in by_ratio.values():
            decoded.reduce(np.int64(0), lambda count, _: count + 1).numpy()

    def in_threads(decode: Callable[[int], object]) -> None:
        def some(first: int) -> None:
            for i in range(first, min(first + 32, n)):
                decode(i)

        with ThreadPoolExecutor(cpus) as threads:
            list(threads.map(some, range(0, n, 32)))

    def bare_in_threads() -> None:
        in_threads(lambda i: tf.io.decode_jpeg(data[i], channels=3, ratio=ratios[i]))

    def read(path: tf.Tensor) -> tf.Tensor:
        return tf.image.resize(tf.io.decode_jpeg(tf.io.read_file(path), channels=3), size) / 255.0

    names = [str(path) for path in paths]
    course_batches = (
        tf.data.Dataset.from_tensor_slices(names).map(read, num_parallel_calls=tf.data.AUTOTUNE).batch(BATCH)
    )

    def course() -> None:
        for _ in course_batches.prefetch(tf.data.AUTOTUNE):
            pass

    found: Contestants = {
        "kgenre": kgenre,
        "bare tf.io (tf.data)": bare_in_tf_data,
        "bare tf.io (threads)": bare_in_threads,
        "course": course,
    }
    # Given the target size itself, it would also decode at 3/8 or 5/8, which is slower than at 1/2 or in full.
    least = [(-(-f.height // ratio), -(-f.width // ratio)) for f, ratio in zip(files, ratios, strict=True)]
    found["bare simplejpeg"] = lambda: in_threads(
        lambda i: simplejpeg.decode_jpeg(data[i], "RGB", min_height=least[i][0], min_width=least[i][1])
    )
    (folder / "all").mkdir(parents=True, exist_ok=True)
    for i, path in enumerate(paths):
        link(path, folder / "all" / f"{i}.jpg")
    from_directory = keras.utils.image_dataset_from_directory(
        folder, labels=None, image_size=size, batch_size=BATCH, shuffle=False, verbose=False
    )

    def image_dataset_from_directory() -> None:
        for _ in from_directory:
            pass

    found["image_dataset_from_directory"] = image_dataset_from_directory
    return found


def torch_contestant(python: str, paths: list[Path], size: tuple[int, int], folder: Path) -> Callable[[], Seconds]:
    """Start a torch process; each call of the result lets it read all posters and returns its wall and CPU seconds."""
    named = folder / "paths.json"  # thousands of them are too long for a command line
    named.write_text(json.dumps([str(path) for path in paths]))
    work = {"paths": str(named), "size": size}
    process = Contestant("torch DataLoader", "input_pipeline_torch.py", work, folder, dict(os.environ), python)

    def seconds() -> Seconds:
        took = process.go()
        return took["wall"], took["cpu"]

    return seconds


def link(source: Path, target: Path) -> None:
    """Create a hard link, or a copy if the source is on another disk or belongs to another user."""
    try:
        os.link(source, target)
    except OSError:
        target.write_bytes(source.read_bytes())


# --- warm: batches from tables --------------------------------------------------------------------------------------


def warm_contestants(pixels: np.ndarray) -> Contestants:
    """Return contestants that read an epoch of shuffled batches of 256 from a table of posters."""
    from kgenre.data import Augmentation, FilmBatches, FilmTensors

    tensors = FilmTensors(np.zeros((len(pixels), 25), np.uint8), pixels)
    augmented = {"flip": 0.5, "shift": 0.1}
    kinds = {"plain": None, "flip and shift": augmented, "flip, shift and color": augmented | {"color": 0.2}}

    def epoch(batches: FilmBatches) -> Callable[[], None]:
        return lambda: [None for _ in batches.epoch_batches(0).as_numpy_iterator()].clear()

    return {
        name: epoch(
            FilmBatches(tensors, np.arange(len(pixels)), 256, shuffle=True, augment=kind and Augmentation.of(kind))
        )
        for name, kind in kinds.items()
    }


def overview_contestants(overviews: Sequence[str]) -> Contestants:
    """Return contestants that read batches of 64 from a table of token ids, and that create this table."""
    from kgenre.data import FilmBatches, FilmTensors, OverviewVectorizer

    vectorizer = OverviewVectorizer.adapt(overviews, 10_000)
    tokens = vectorizer.encode(overviews)
    tensors = FilmTensors(np.zeros((len(tokens), 25), np.uint8), overviews=tokens)
    batches = FilmBatches(tensors, np.arange(len(tokens)), BATCH, shuffle=True)
    return {
        "warm batches": lambda: [None for _ in batches.epoch_batches(0).as_numpy_iterator()].clear(),
        "tokenising": lambda: vectorizer.encode(overviews).sum() and None,
    }
