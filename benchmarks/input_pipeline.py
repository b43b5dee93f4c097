"""Posters and overviews per second, and memory: kgenre's data layer beside what one would take instead.

    python benchmarks/input_pipeline.py --films DIR --quick
    python benchmarks/input_pipeline.py --films DIR --output input.json --torch-python torch-env/bin/python
    python benchmarks/input_pipeline.py --render input.json

``DIR`` is a folder that `kgenre.data.read_films` knows, with posters. In each round every contestant reads all posters
once, one after the other, so that what else the machine does meets all alike. See benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

SIZES = ((64, 64), (192, 128))  # height, width
BATCH = 64
# (section, contestant, base, ratio at least)
RATIO_TARGETS = [
    *((f"cold {h}x{w}", "kgenre", base, least) for h, w in SIZES for base, least in (
        ("bare tf.io", 0.85), ("course", 2.5), ("torch DataLoader", 4.0), ("image_dataset_from_directory", 1.5))),
]  # fmt: skip
RATE_TARGETS = {
    ("warm 64x64", "plain"): 200_000,
    ("warm 64x64", "flip and shift"): 40_000,
    ("warm 64x64", "flip, shift and color"): 15_000,
    ("overviews", "warm batches"): 150_000,
}


# --- cold: decode and resize ----------------------------------------------------------------------------------------


def cold_contestants(paths: list[Path], size: tuple[int, int], folder: Path) -> dict[str, Callable[[], object]]:
    """{name: read all posters once}."""
    import tensorflow as tf

    from kgenre.data import FilmTable, examine_posters
    from kgenre.data.poster_decoding import SCALES, fit
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

    found: dict[str, Callable[[], object]] = {
        "kgenre": kgenre,
        "bare tf.io (tf.data)": bare_in_tf_data,
        "bare tf.io (threads)": bare_in_threads,
        "course": course,
    }
    try:
        import simplejpeg
    except ImportError:
        print("simplejpeg is not installed: left out")
    else:
        height, width = size
        found["bare simplejpeg"] = lambda: in_threads(
            lambda i: simplejpeg.decode_jpeg(data[i], "RGB", min_height=height, min_width=width)
        )

    import keras

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


TORCH = """
import json, sys, time
import numpy as np, torch
from PIL import Image

class Posters(torch.utils.data.Dataset):
    def __init__(self, paths, size): self.paths, self.size = paths, size
    def __len__(self): return len(self.paths)
    def __getitem__(self, i):
        with Image.open(self.paths[i]) as image:
            image = image.convert("RGB").resize(self.size[::-1], Image.BILINEAR)
        return torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)

if __name__ == "__main__":
    asked = json.loads(sys.stdin.readline())
    loader = torch.utils.data.DataLoader(Posters(asked["paths"], asked["size"]), batch_size=64, num_workers=2)
    print("ready", flush=True)
    for line in sys.stdin:
        begun = time.perf_counter()
        count = sum(len(batch) for batch in loader)
        assert count == len(asked["paths"])
        print(time.perf_counter() - begun, flush=True)
"""


def torch_contestant(python: str, paths: list[Path], size: tuple[int, int], folder: Path) -> Callable[[], float]:
    """A process that reads all posters once each time it is asked; returns its own seconds."""
    script = folder / "torch_loader.py"
    script.write_text(TORCH)
    pipe = subprocess.PIPE
    process = subprocess.Popen([python, str(script)], stdin=pipe, stdout=pipe, text=True)

    def ask(line: str) -> str:
        process.stdin.write(line + "\n")
        process.stdin.flush()
        answer = process.stdout.readline()
        if not answer:
            raise SystemExit(f"{python} ended with code {process.wait()}: is torch with Pillow installed there?")
        return answer

    ask(json.dumps({"paths": [str(path) for path in paths], "size": size}))
    return lambda: float(ask("go"))


def link(source: Path, target: Path) -> None:
    """A hard link, or a copy where the source lies on another disk or is not ours."""
    try:
        os.link(source, target)
    except OSError:
        target.write_bytes(source.read_bytes())


def measure(contestants: dict[str, Callable[[], object]], rounds: int, count: int) -> dict[str, list[float]]:
    """Items per second of each round; the first round, which warms up, does not count."""
    rates: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(rounds + 1):
        for name, run in contestants.items():
            begun = time.perf_counter()
            own = run()
            seconds = own if isinstance(own, float) else time.perf_counter() - begun
            if number:
                rates[name].append(count / seconds)
        print(f"  round {number} of {rounds}", flush=True)
    return rates


# --- warm: batches from tables --------------------------------------------------------------------------------------


def warm_contestants(pixels: np.ndarray) -> dict[str, Callable[[], object]]:
    """An epoch of shuffled batches of 256 from a table of posters."""
    from kgenre.data import Augmentation, FilmBatches, FilmTensors

    tensors = FilmTensors(np.zeros((len(pixels), 25), np.uint8), pixels)
    augmented = {"flip": 0.5, "shift": 0.1}
    kinds = {"plain": None, "flip and shift": augmented, "flip, shift and color": augmented | {"color": 0.2}}

    def epoch(batches: FilmBatches) -> Callable[[], object]:
        return lambda: [None for _ in batches.epoch_batches(0).as_numpy_iterator()].clear()

    return {
        name: epoch(
            FilmBatches(tensors, np.arange(len(pixels)), 256, shuffle=True, augment=kind and Augmentation.of(kind))
        )
        for name, kind in kinds.items()
    }


def overview_contestants(overviews: Sequence[str]) -> dict[str, Callable[[], object]]:
    """Batches of 64 from the table of token ids; and making that table."""
    from kgenre.data import FilmBatches, FilmTensors, OverviewVectorizer

    vectorizer = OverviewVectorizer.adapt(overviews, 10_000)
    tokens = vectorizer.encode(overviews)
    tensors = FilmTensors(np.zeros((len(tokens), 25), np.uint8), overviews=tokens)
    batches = FilmBatches(tensors, np.arange(len(tokens)), BATCH, shuffle=True)
    return {
        "warm batches": lambda: [None for _ in batches.epoch_batches(0).as_numpy_iterator()].clear(),
        "tokenising": lambda: vectorizer.encode(overviews).sum() and None,
    }


# --- processes of their own: memory and set-up ----------------------------------------------------------------------


def child(task: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Run one task of CHILD_TASKS in a fresh process."""
    command = [sys.executable, __file__, "--child", task, json.dumps(arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{task} {arguments} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def peak_megabytes() -> float:
    """The most memory this process had at once."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def child_memory(path: str, place: str, size: list[int]) -> dict[str, Any]:
    """Peak memory of set-up and one epoch, above what importing the libraries takes."""
    import kgenre.data.tensorflow  # noqa: F401
    from kgenre.data import FilmData, FilmTensors, OverviewVectorizer

    OverviewVectorizer.adapt(["a b"])
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


def child_setup(path: str, posters: bool) -> dict[str, Any]:
    """Seconds of set-up and to the first batch."""
    import kgenre.data.tensorflow  # noqa: F401
    from kgenre.data import FilmData

    films = FilmData(path, posters=posters, overviews=not posters)
    begun = time.perf_counter()
    films.setup("fit")
    setup = time.perf_counter() - begun
    begun = time.perf_counter()
    next(iter(films.train_dataloader()))
    return {"films": len(films.table), "setup_s": setup, "first_batch_s": time.perf_counter() - begun}


def child_hashing(path: str) -> dict[str, Any]:
    """Files per second that were never looked at before."""
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
    """A films.csv of ``count`` rows whose posters are hard links of the table's; each with an overview of its own."""
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
    if known_hashes:  # as of posters that all differ: equal ones would make one group of the split
        from kgenre.data.poster_files import PosterFile, _Cache

        rng, cache = np.random.default_rng(0), _Cache()
        entries = []
        for path in paths:
            status = path.stat()
            found = PosterFile("", rng.bytes(32), 450, 300, True)
            entries.append((str(path), status.st_size, status.st_mtime_ns, found))
        cache.write(entries)
        cache.close()
    return str(folder)


# --- the run --------------------------------------------------------------------------------------------------------


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure everything."""
    from kgenre.data import FilmTable, examine_posters, read_films, read_posters
    from kgenre.data.poster_table import aligned_zeros

    table = read_films(options.films)
    usable = [i for i, file in enumerate(examine_posters(table.poster_paths)) if file.plain and not file.reason]
    table = table.subset(usable[: 300 if options.quick else options.posters])
    rounds = 2 if options.quick else options.rounds
    paths = list(table.poster_paths)
    result: dict[str, Any] = {"machine": machine(), "posters": len(paths), "rounds": rounds, "rates": {}, "single": {}}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        os.environ["KGENRE_CACHE"] = str(folder / "cache")
        for size in SIZES:
            print(f"cold, {size[0]}x{size[1]}", flush=True)
            contestants = cold_contestants(paths, size, folder / f"directory-{size[0]}")
            if options.torch_python:
                contestants["torch DataLoader"] = torch_contestant(options.torch_python, paths, size, folder)
            result["rates"][f"cold {size[0]}x{size[1]}"] = measure(contestants, rounds, len(paths))
        print("warm", flush=True)
        pixels, _ = read_posters(table)
        repeats = -(-20_000 // len(pixels))
        many = aligned_zeros((repeats * len(pixels), 64, 64, 3))
        many.reshape(repeats, *pixels.shape)[:] = pixels
        result["rates"]["warm 64x64"] = measure(warm_contestants(many), rounds, len(many))
        texts = [text for text in table.overviews if text.strip()] * repeats
        result["rates"]["overviews"] = measure(overview_contestants(texts), rounds, len(texts))

        print("memory and set-up", flush=True)
        single = result["single"]
        films = linked_films(table, len(paths), folder / "films")
        single["hashing"] = [child("hashing", {"path": films}) for _ in range(rounds)]
        single["setup"] = [child("setup", {"path": films, "posters": True}) for _ in range(rounds)]
        single["table in memory"] = [child("memory", {"path": films, "place": "memory", "size": s}) for s in SIZES]
        counts = (500, 2000) if options.quick else (500, 5000, 50_000)
        single["streaming"] = []
        for count in counts:
            path = linked_films(table, count, folder / f"stream{count}")
            single["streaming"].append(child("memory", {"path": path, "place": "stream", "size": SIZES[0]}))
        rows = 5000 if options.quick else 100_000
        path = linked_films(table, rows, folder / "rows", known_hashes=True)
        single["setup of many rows"] = [child("setup", {"path": path, "posters": False}) for _ in range(min(rounds, 3))]
    assert isinstance(table, FilmTable)
    return result


def machine() -> dict[str, str]:
    """What it was measured on."""
    import keras
    import tensorflow as tf

    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())
    return {
        "cpu": f"{model}, {len(os.sched_getaffinity(0))} cores",
        "date": datetime.date.today().isoformat(),
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
    }


# --- the table ------------------------------------------------------------------------------------------------------


def ratio_of(rates: dict[str, list[float]], name: str, base: str) -> tuple[float, float, float]:
    """The ratio of medians with its bootstrap 95 % interval, rounds drawn in pairs."""
    a, b = np.array(rates[name]), np.array(rates[base])
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, len(a), (2000, len(a)))
    low, high = np.percentile(np.median(a[drawn], 1) / np.median(b[drawn], 1), (2.5, 97.5))
    return float(np.median(a) / np.median(b)), float(low), float(high)


def base_of(rates: dict[str, list[float]], base: str) -> str | None:
    """The contestant a target is about: of several ways to do the same, the fastest."""
    names = [name for name in rates if name.startswith(base)]
    return max(names, key=lambda name: statistics.median(rates[name]), default=None)


def render(result: dict[str, Any]) -> str:
    """Everything as Markdown."""
    m = result["machine"]
    lines = [
        f"{m['cpu']}; {m['date']}; tensorflow {m['tensorflow']}, keras {m['keras']}. {result['posters']} posters, "
        f"{result['rounds']} rounds. Per second: median (quartiles).",
        "",
        "| what | contestant | per second | kgenre / it |",
        "| --- | --- | ---: | ---: |",
    ]
    for section, rates in result["rates"].items():
        for name, values in rates.items():
            low, high = np.percentile(values, (25, 75))
            ratio = ""
            if "kgenre" in rates and name != "kgenre":
                ratio = "{:.2f} [{:.2f}, {:.2f}]".format(*ratio_of(rates, "kgenre", name))
            lines.append(f"| {section} | {name} | {np.median(values):,.0f} ({low:,.0f}-{high:,.0f}) | {ratio} |")
    lines += ["", "| target | wanted | measured | met |", "| --- | ---: | ---: | --- |"]
    lines += [f"| {name} | {wanted} | {got} | {'yes' if met else 'no'} |" for name, wanted, got, met in targets(result)]
    return "\n".join(lines) + "\n"


def targets(result: dict[str, Any]) -> list[tuple[str, str, str, bool]]:
    """(what, wanted, measured, met)."""
    rows: list[tuple[str, str, str, bool]] = []
    for section, name, base, least in RATIO_TARGETS:
        rates = result["rates"][section]
        if (found := base_of(rates, base)) is not None:
            ratio, low, high = ratio_of(rates, name, found)
            rows.append((f"{section} / {found}", f">= {least}", f"{ratio:.2f} [{low:.2f}, {high:.2f}]", ratio >= least))
    for (section, name), least in RATE_TARGETS.items():
        rate = statistics.median(result["rates"][section][name])
        rows.append((f"{section}, {name}, per second", f">= {least:,}", f"{rate:,.0f}", rate >= least))
    single = result["single"]
    for entry in single["table in memory"]:
        most = 1.2 * entry["table_mb"] + 150
        name = f"peak memory, table of {entry['table_mb']:.0f} MB"
        rows.append((name, f"<= {most:.0f} MB", f"{entry['peak_mb']:.0f} MB", entry["peak_mb"] <= most))
    first, last = single["streaming"][0], single["streaming"][-1]
    grown = last["peak_mb"] - first["peak_mb"]
    peaks = ", ".join(f"{e['films']:,}: {e['peak_mb']:.0f} MB" for e in single["streaming"])
    rows.append(("peak memory, streaming, by films", "flat", peaks, grown <= 0.25 * first["peak_mb"]))
    few, many = single["setup"], single["setup of many rows"]
    value = statistics.median(e["first_batch_s"] for e in few)
    rows.append((f"first batch after set-up, {few[0]['films']:,} films", "<= 1.5 s", f"{value:.2f} s", value <= 1.5))
    value = statistics.median(e["setup_s"] for e in many)
    rows.append((f"set-up of {many[0]['films']:,} rows", "<= 5 s", f"{value:.2f} s", value <= 5))
    value = statistics.median(e["first_per_s"] for e in single["hashing"])
    rows.append(("first hashing, files per second", "", f"{value:,.0f}", True))
    return rows


def main() -> None:
    """Measure or render."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--films", help="a folder of films with posters")
    parser.add_argument("--posters", type=int, default=2500, help="how many of them")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--quick", action="store_true", help="300 posters and two rounds: does it run?")
    parser.add_argument("--torch-python", help="a Python with torch and Pillow, for the DataLoader")
    parser.add_argument("--output", type=Path, help="write JSON there, and Markdown beside it")
    parser.add_argument("--render", type=Path, help="print the table of such a JSON file")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(CHILD_TASKS[options.child[0]](**json.loads(options.child[1]))))
        return
    if options.render:
        print(render(json.loads(options.render.read_text())))
        return
    if not options.films:
        parser.error("--films DIR is needed: a folder of films with posters, such as one made by kgenre data sample")
    result = run(options)
    if options.output:
        options.output.write_text(json.dumps(result, indent=1) + "\n")
        options.output.with_suffix(".md").write_text(render(result))
    print(render(result))


if __name__ == "__main__":
    main()
