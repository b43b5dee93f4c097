"""How fast is the input? Posters and overviews per second, memory and set-up times of kgenre's data layer.

    python benchmarks/input_pipeline.py --films FILMS --quick                     # a minute: does it run?
    python benchmarks/input_pipeline.py --films FILMS --output input.json --torch-python torch-env/bin/python
    python benchmarks/input_pipeline.py --films FILMS --output input.json --parts single     # or cold, warm
    python benchmarks/input_pipeline.py --render input.json

A quarter of an hour with 2,500 posters and 9 rounds on 2 cores. ``FILMS`` is a folder with posters that ``--data.path``
accepts. In each round every contestant reads all posters once, one after the other, so that other load on the machine
affects all of them; the first round is not counted. Ratios are of wall time, and of CPU time, which does not depend on
other load. At the end of an epoch tf.data waits for its autotuner (course, image_dataset_from_directory): compare their
wall times with the CPU times. The contestants are in input_pipeline_contestants.py:

    kgenre            the table of posters: read, decoded by libjpeg-turbo at the smallest sufficient DCT scale,
                      resized, as uint8 in memory
    bare tf.io        ``tf.io.decode_jpeg`` of the same bytes, already read, at the same scale and without resizing, in
                      tf.data and in threads; targets are about the faster
    bare simplejpeg   the same through libjpeg-turbo: the physical limit, and no more than a decoder
    course            read, full decode, float resize, then batch; AUTOTUNE
    image_dataset_from_directory   Keras's
    torch DataLoader  Pillow, full decode and bilinear resize, 2 workers, batches of uint8; with --torch-python

Memory and set-up are measured in separate processes: peak memory above that of importing the libraries; streaming reads
hard links of the same posters. The set-up of many rows has overviews that no run has seen, and token ids in the cache.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import json
import os
import platform
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from input_pipeline_contestants import (
    Contestants,
    cold_contestants,
    link,
    overview_contestants,
    torch_contestant,
    warm_contestants,
)
from input_pipeline_report import SIZES, Rates, render
from machine import cpu_name, git_commit
from processes import result_of
from result_file import earlier_results, parser_for, print_rendered, write

if TYPE_CHECKING:
    from kgenre.data import FilmTable

PARTS = ("cold", "warm", "single")
os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def measure(contestants: Contestants, rounds: int, count: int) -> Rates:
    """Return each round's items per second of wall and of CPU time; the first round is a warm-up and does not count."""
    rates: Rates = {name: {"wall": [], "cpu": []} for name in contestants}
    for number in range(rounds + 1):
        for name, run in contestants.items():
            begun, cpu = time.perf_counter(), time.process_time()
            own = run()
            seconds = own or (time.perf_counter() - begun, time.process_time() - cpu)
            if number:
                for clock, took in zip(("wall", "cpu"), seconds, strict=True):
                    rates[name][clock].append(count / took)
        print(f"  round {number} of {rounds}", flush=True)
    return rates


# --- in separate processes: memory and set-up -----------------------------------------------------------------------


def child(task: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Run one task of CHILD_TASKS in a fresh process."""
    return result_of(__file__, "--child", task, json.dumps(arguments))


def peak_megabytes() -> float:
    """Return the peak memory of this process in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def child_memory(path: str, place: str, size: list[int]) -> dict[str, Any]:
    """Measure the peak memory of set-up and of one epoch, above that of importing the libraries."""
    import PIL.Image  # noqa: F401
    import scipy.sparse.csgraph  # noqa: F401
    import simplejpeg  # noqa: F401

    import kgenre.data.tensorflow  # noqa: F401
    from kgenre.data import FilmData, FilmTensors

    list(FilmTensors(np.zeros((4, 2), np.uint8)).tables)
    before = peak_megabytes()
    films = FilmData(path, overviews=False, image_size=tuple(size), poster_table=place)
    films.setup("fit")
    after_setup = peak_megabytes()
    source = films.train_dataloader()
    count = sum(len(batch["weight"]) for batch in source.epoch_batches(0))
    table = len(films.table) * size[0] * size[1] * 3 / 1e6
    mega = 1.048576
    return {
        "films": len(films.table),
        "read": count,
        "table_mb": table,
        "setup_mb": (after_setup - before) * mega,
        "peak_mb": (peak_megabytes() - before) * mega,
    }


def child_setup(path: str, posters: bool, known_tokens: bool = False) -> dict[str, Any]:
    """Time set-up and the first batch; unless ``known_tokens``, cached token ids are removed first."""
    import kgenre.data.tensorflow  # noqa: F401
    from kgenre.data import FilmData
    from kgenre.engines.cache_folder import cache_folder

    if not known_tokens:
        shutil.rmtree(cache_folder() / "tokens", ignore_errors=True)
    films = FilmData(path, posters=posters, overviews=not posters)
    begun = time.perf_counter()
    films.setup("fit")
    setup = time.perf_counter() - begun
    begun = time.perf_counter()
    next(iter(films.train_dataloader()))
    return {"films": len(films.table), "setup_s": setup, "first_batch_s": time.perf_counter() - begun}


def child_hashing(path: str) -> dict[str, Any]:
    """Measure files per second, hashed for the first time and known from the cache."""
    from kgenre.data import examine_posters, read_films

    table = read_films(path)
    with tempfile.TemporaryDirectory() as empty:
        os.environ["KGENRE_CACHE"] = empty
        begun = time.perf_counter()
        examine_posters(table.poster_paths, table.root)
        first = time.perf_counter() - begun
        begun = time.perf_counter()
        examine_posters(table.poster_paths, table.root)
        return {"first_per_s": len(table) / first, "known_per_s": len(table) / (time.perf_counter() - begun)}


CHILD_TASKS = {"memory": child_memory, "setup": child_setup, "hashing": child_hashing}


def linked_films(table: Any, count: int, folder: Path, known_hashes: bool = False) -> str:
    """Write a films.csv of ``count`` rows with different overviews, and posters that are hard links of the table's."""
    (folder / "posters").mkdir(parents=True)
    good = [i for i, path in enumerate(table.poster_paths) if path and path.is_file()]
    copies = [folder / f"copy{i}.jpg" for i in good]
    for i, copy in zip(good, copies, strict=True):
        link(table.poster_paths[i], copy)
    paths = []
    with (folder / "films.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "title", "year", "overview", "genres", "poster"])
        for n in range(count):
            i = good[n % len(good)]
            paths.append(folder / "posters" / f"f{n}.jpg")
            os.link(copies[n % len(good)], paths[-1])
            overview = f"{table.overviews[i]} number{n}"
            writer.writerow([f"f{n}", "", "", overview, "|".join(table.genres_of(i)), f"posters/f{n}.jpg"])
    if known_hashes:  # made-up ones that all differ: the split would keep films with equal posters together
        from kgenre.data.known_posters import KnownPosters
        from kgenre.data.poster_files import PosterFile

        rng, known = np.random.default_rng(0), KnownPosters()
        entries = []
        for path in paths:
            status = path.stat()
            found = PosterFile("", rng.bytes(32), 450, 300, True)
            entries.append((str(path.parent), path.name, status.st_size, status.st_mtime_ns, found))
        known.write(entries)
        known.close()
    return str(folder)


# --- the run --------------------------------------------------------------------------------------------------------


def run(options: argparse.Namespace, result: dict[str, Any]) -> None:
    """Measure the requested parts into ``result``, and write it after each."""
    from kgenre.data import examine_posters, read_films

    table = read_films(options.films)
    usable = [i for i, file in enumerate(examine_posters(table.poster_paths)) if file.plain and not file.reason]
    table = table.subset(usable[: 300 if options.quick else options.posters])
    rounds = result["rounds"]
    result |= {"machine": machine(), "posters": len(table)}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        os.environ["KGENRE_CACHE"] = str(folder / "cache")
        if "cold" in options.parts:
            for size in SIZES:
                print(f"cold, {size[0]}x{size[1]}", flush=True)
                contestants = cold_contestants(list(table.poster_paths), size, folder / f"directory-{size[0]}")
                if options.torch_python:
                    contestants["torch DataLoader"] = torch_contestant(
                        options.torch_python, list(table.poster_paths), size, folder
                    )
                result["rates"][f"cold {size[0]}x{size[1]}"] = measure(contestants, rounds, len(table))
                write(options.output, result)
        if "warm" in options.parts:
            print("warm", flush=True)
            measure_warm(table, rounds, result["rates"])
            write(options.output, result)
        if "single" in options.parts:
            print("memory and set-up", flush=True)
            measure_single(table, rounds, options.quick, folder, result["single"])
            write(options.output, result)


def measure_warm(table: FilmTable, rounds: int, rates: dict[str, Rates]) -> None:
    """Measure batches from tables of 20,000 films."""
    from kgenre.data import read_posters
    from kgenre.data.poster_table import aligned_zeros

    pixels, _ = read_posters(table)
    repeats = -(-20_000 // len(pixels))
    many = aligned_zeros((repeats * len(pixels), 64, 64, 3))
    many.reshape(repeats, *pixels.shape)[:] = pixels
    rates["warm 64x64"] = measure(warm_contestants(many), rounds, len(many))
    texts = [text for text in table.overviews if text.strip()] * repeats
    rates["overviews"] = measure(overview_contestants(texts), rounds, len(texts))


def measure_single(table: FilmTable, rounds: int, quick: bool, folder: Path, single: dict[str, Any]) -> None:
    """Measure memory, set-up and hashing, each in a separate process."""
    films = linked_films(table, len(table), folder / "films")
    single["hashing"] = [child("hashing", {"path": films}) for _ in range(min(rounds, 3))]
    single["setup"] = [child("setup", {"path": films, "posters": True}) for _ in range(min(rounds, 5))]
    single["table in memory"] = [child("memory", {"path": films, "place": "memory", "size": s}) for s in SIZES]
    single["streaming"] = []
    for count in (500, 2000) if quick else (500, 5000, 50_000):
        path = linked_films(table, count, folder / f"stream{count}")
        single["streaming"].append(child("memory", {"path": path, "place": "stream", "size": SIZES[0]}))
    path = linked_films(table, 5000 if quick else 100_000, folder / "rows", known_hashes=True)
    for name, known in (("setup of many rows", False), ("setup of many rows, tokens known", True)):
        arguments = {"path": path, "posters": False, "known_tokens": known}
        single[name] = [child("setup", arguments) for _ in range(min(rounds, 3))]


def machine() -> dict[str, str | None]:
    """Return the machine, the date and the versions of the code that was measured."""
    import keras
    import simplejpeg
    import tensorflow as tf

    return {
        "cpu": f"{cpu_name()}, {len(os.sched_getaffinity(0))} cores",
        "date": datetime.date.today().isoformat(),
        "commit": git_commit(),
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "simplejpeg": simplejpeg.__version__,
    }


def main() -> None:
    """Measure or render."""
    parser = parser_for(__doc__)
    parser.add_argument("--films", help="a folder of films with posters")
    parser.add_argument("--posters", type=int, default=2500, help="how many of their posters to use")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--quick", action="store_true", help="300 posters and two rounds: does it run?")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="measure only these")
    parser.add_argument("--torch-python", help="a Python with torch and Pillow, for the DataLoader")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(CHILD_TASKS[options.child[0]](**json.loads(options.child[1]))))
        return
    if print_rendered(options, render, end="\n"):
        return
    if not options.films:
        parser.error("--films DIR is needed: a folder of films with posters, such as one made by kgenre data sample")
    identity = {"cpu": cpu_name(), "rounds": 2 if options.quick else options.rounds}
    result: dict[str, Any] = {"rates": {}, "single": {}} | earlier_results(options.output, identity) | identity
    run(options, result)
    print(render(result))


if __name__ == "__main__":
    main()
