import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
BACKEND = os.environ.get("KERAS_BACKEND", "tensorflow")
PEERS = ["keras-fit"] if BACKEND == "torch" else ["raw", "keras-fit"]  # on torch, Lightning takes raw's place


def run(script, *arguments):
    command = [sys.executable, BENCHMARKS / script, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=900)


@pytest.mark.one_backend("jax")
def test_tiny_run_is_measured_rendered_and_resumed(tmp_path):
    output = tmp_path / "new" / "throughput.json"
    size = ["--steps", "2", "--rounds", "2", "--batch-sizes", "2", "--words", "5", "--output", output]
    one = ["--models", "poster_cnn_2024", "--backends", BACKEND, "--peers", *PEERS]
    done = run("throughput.py", *one, *size)
    assert done.returncode == 0, done.stderr
    results = json.loads(output.read_text())
    assert {"date", "cpu", "git_commit", "rates", "driver"} <= results.keys()
    assert [row["contestant"] for row in results["rows"]] == ["kgenre", *PEERS]
    for row in results["rows"]:
        assert "not_measured" not in row, row
        assert len(row["train"]["ms_per_step"]) == len(row["inference"]["ms_per_step"]) == 2
        assert row["train"]["films_per_second"] == pytest.approx(2e3 / row["train"]["median_ms"])
        assert 0 < row["train"]["share_of_matrix_rate"] < 1
        assert all(seconds >= 0 for seconds in row["first_step"].values())
        assert ("tensorflow" in row["versions"]) == (BACKEND == "tensorflow")
    for peer in PEERS:
        ratio, low, high = results["rows"][0]["train"]["ratios"][peer]
        assert low <= ratio <= high
    assert f"| kgenre | {BACKEND} |" in done.stdout

    again = run("throughput.py", *one, *size, "--minutes", "1e-9")  # already measured: nothing is started
    assert again.returncode == 0
    assert json.loads(output.read_text())["rows"] == results["rows"]
    other = run("throughput.py", "--models", "poster_cnn_2025", *one[2:], *size, "--minutes", "1e-9")
    assert "not measured: the time was up" in other.stdout
    assert len(json.loads(output.read_text())["rows"]) == 2 * (1 + len(PEERS))
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, BENCHMARKS / "throughput.py", "--render", output]
    piped = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    assert (piped.returncode, piped.stderr) == (-signal.SIGPIPE, b""), "as with `| head`"


@pytest.mark.skipif(BACKEND != "tensorflow", reason="the others read no tf.data there")
@pytest.mark.parametrize(("model", "words"), [("poster_cnn_2024", 5), ("overview_lstm", 0)])
def test_keras_fit_reads_the_same_batches_as_the_others(benchmarks, model, words):
    rounds = benchmarks("throughput_rounds")
    cell = rounds.Cell(model, "keras-fit", "tensorflow", "cpu", 2, "fp32", "device", 4, 1, words, folder="")
    read = rounds.endless_dataset(cell, lambda batch: (batch["x"], batch["genres"])).as_numpy_iterator()
    held = rounds.on_the_device(cell, np.asarray, lambda batch: (batch["x"], batch["genres"]))
    for wanted, (x, genres) in zip([*held, held[0]], read, strict=False):
        np.testing.assert_array_equal(x, wanted[0])
        np.testing.assert_array_equal(genres, wanted[1])


once = pytest.mark.skipif(BACKEND == "jax", reason="the networks are the same; JAX compiles each initial weight")


@once
def test_flops_match_the_layers(benchmarks):
    networks = benchmarks("networks")
    assert 3 * networks.flops("poster_cnn_2024", 64) == pytest.approx(17.7e9, rel=0.01)
    for name in networks.MODELS:
        work = 0
        for layer in networks.build(name, stock=True).layers:
            kernels = [w for w in layer.weights if w.name in ("kernel", "recurrent_kernel")]
            if isinstance(layer, keras.layers.Bidirectional):
                positions = 10  # words
            else:
                positions = math.prod(layer.output.shape[1:-1]) if kernels else 0
            work += 2 * positions * sum(math.prod(kernel.shape) for kernel in kernels)
        assert networks.flops(name, 3, words=10) == 3 * work, name


@once
@pytest.mark.parametrize("name", ["overview_lstm", "overview_lstm_cudnn", "overview_lstm_pooled", "poster_resnet"])
def test_stock_network_matches_ours(benchmarks, name):
    networks = benchmarks("networks")
    ours, stock = networks.build(name), networks.build(name, stock=True)
    assert [w.shape for w in ours.trainable_variables] == [w.shape for w in stock.trainable_variables]
    kinds = {type(layer) for layer in stock.layers}
    assert keras.layers.Bidirectional in kinds or name == "poster_resnet"
    assert not any(kind.__module__.startswith("kgenre") for kind in kinds)


@pytest.mark.parametrize("arguments", [["--rounds", "0"], ["--models", "alexnet"], ["--batch-sizes", "0"]])
def test_wrong_options_are_refused(arguments):
    done = run("throughput.py", *arguments)
    assert done.returncode == 2
    assert arguments[0] in done.stderr


def test_limit_of_a_step_follows_from_profile_and_rate(benchmarks):
    limit_of = benchmarks("throughput_report").limit_of

    def row(busy, share, launches):
        return {
            "model": "overview_lstm",
            "profile": {"busy_share": busy, "launches_per_step": launches},
            "train": {"share_of_matrix_rate": share},
        }

    assert "launches" in limit_of(row(0.3, 0.5, 100))
    assert "products" in limit_of(row(0.9, 0.6, 100))
    assert "recurrence" in limit_of(row(0.9, 0.1, 5000))
    assert "memory" in limit_of(row(0.9, 0.1, 100))


def test_the_summary_has_the_share_of_the_roofline_and_the_limit_of_kgenres_cells(benchmarks):
    train = {"films_per_second": 5e5, "median_ms": 8.0, "quartiles_ms": [7.9, 8.1]}
    train |= {"share_of_matrix_rate": 0.2, "share_of_copy_rate": 0.31, "ratios": {"raw": (1.2, 1.1, 1.3)}}
    cell = {"model": "poster_cnn_2024", "batch_size": 4096, "precision": "bf16", "source": "device", "backend": "jax"}
    profile = {"busy_share": 0.99, "launches_per_step": 178}
    rows = [
        cell | {"contestant": "kgenre", "device_name": "NVIDIA H200", "train": train, "profile": profile},
        cell | {"contestant": "raw", "device_name": "NVIDIA H200", "train": train},
        cell | {"contestant": "kgenre", "batch_size": 8192, "not_measured": "out of device memory"},
        cell | {"contestant": "kgenre-several", "batch_size": 64, "device_name": "NVIDIA H200", "train": train},
    ]
    lines = benchmarks("throughput_report").summary([{"date": "2026-12-01", "rows": rows}]).splitlines()
    cells = [[each.strip() for each in line.strip("|").split("|")] for line in lines]
    assert cells[0] == [
        "network",
        "batch",
        "backend",
        "measured",
        "limit",
        "of roofline",
        "films/s",
        "ms/step",
        "x raw",
    ]
    limits = ["", "31.0%"], ["memory traffic and kernels below the matrix rate", "31.0%"]
    speed = ["500,000", "8 (7.9-8.1)", "1.20 [1.10, 1.30]"]
    where = "NVIDIA H200, 2026-12-01"
    assert cells[2:] == [
        ["poster_cnn_2024", "64", "jax, several", where, *limits[0], *speed],
        ["poster_cnn_2024", "4096", "jax", where, *limits[1], *speed],
    ]


@pytest.mark.exhaustive
def test_every_gpu_part_runs_on_the_cpu_if_small(tmp_path):
    environment = os.environ | {"OUT": str(tmp_path), "DEVICE": "cpu", "SMALL": "1", "PYTHON": sys.executable}
    done = subprocess.run(["bash", BENCHMARKS / "gpu.sh", "all"], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    parts = subprocess.run(["bash", BENCHMARKS / "gpu.sh", "list"], capture_output=True, text=True).stdout.split()
    written = {path.name.split("-cpu-")[1] for path in tmp_path.glob("*.json")}
    assert len(written) == len(parts)
