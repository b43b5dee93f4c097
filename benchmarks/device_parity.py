"""Does a GPU compute the same? Losses of 20 steps on a CPU and on a GPU, and a run that moves between the two.

    python benchmarks/device_parity.py --device gpu --output parity.json         # a few minutes
    python benchmarks/device_parity.py --device cpu --steps 3 --batch-size 4     # does it run at all?
    python benchmarks/device_parity.py --render parity.json

Every training is a separate process. All start from the same weights and read the same batches; dropout, if enabled,
uses the same seeds. Relative differences of up to 1e-3 are allowed in full float32, 1e-2 in TF32, 5e-2 in bf16. Exits
with code 1 if a loss is outside its tolerance.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from machine import driver, environment_for, gpu_name
from markdown_table import table_row
from networks import PRECISIONS, QUIET, build, films, module_of
from processes import Failed, result_of
from result_file import about, parser_for, print_rendered, say, write
from throughput_device import gpu_of

BACKENDS = ("jax", "tensorflow", "torch")
PACKAGES = ("keras", "jax", "jaxlib", "numpy", "tensorflow", "torch")

# Relative to the loss on the CPU, after up to 20 steps of Adam, which amplifies rounding.
TOLERANCES = {"fp32 in full": 1e-3, "fp32": 1e-2, "bf16": 5e-2}
# (network, dropout, backends). Dropout is off where the devices would draw different numbers. On a GPU under TensorFlow
# overview_lstm_cudnn uses cuDNN; the other LSTMs use kgenre's loop.
TRAININGS = (
    ("poster_cnn_2024", False, BACKENDS),
    ("poster_cnn_2025", False, BACKENDS),
    ("overview_lstm_cudnn", False, BACKENDS),
    ("overview_lstm", True, ("jax",)),
)


def train(spec: dict[str, Any]) -> list[float]:
    """Train in this process as described by ``spec``; return the loss of every step."""
    import keras

    import kgenre

    if spec["device"] == "gpu" and gpu_of(spec["backend"]) is None:
        raise SystemExit(f"{spec['backend']} sees no GPU here")
    keras.utils.set_random_seed(0)
    if spec["backend"] == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_tensor_float_32_execution(spec["precision"] != "fp32 in full")
    elif spec["backend"] == "torch":
        import torch

        torch.set_float32_matmul_precision("highest" if spec["precision"] == "fp32 in full" else "high")
        torch.backends.cudnn.allow_tf32 = spec["precision"] != "fp32 in full"
    else:
        import jax

        if spec["precision"] == "fp32 in full":
            jax.config.update("jax_default_matmul_precision", "highest")

    def model() -> Any:
        built, weights = build(spec["model"], dropout=spec["dropout"]), Path(spec["weights"])
        if weights.exists():
            with np.load(weights) as kept:
                built.set_weights([kept[name] for name in sorted(kept.files)])
        else:
            np.savez(weights, **{f"{i:04d}": value for i, value in enumerate(built.get_weights())})
        return built

    losses: list[float] = []

    class Losses(kgenre.Callback):
        def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
            losses.append(float(trainer.engine.to_host(outputs["loss"])))

    precision = PRECISIONS[spec["precision"].removesuffix(" in full")]
    trainer = kgenre.Trainer(max_steps=spec["steps"], callbacks=[Losses()], precision=precision, **QUIET)
    batches = films(spec["model"], spec["batch_size"], spec["batches"], spec["words"])
    trainer.fit(module_of(spec["model"], model), batches, ckpt_path=spec.get("begin_at"))
    if spec.get("end_at"):
        trainer.save_checkpoint(spec["end_at"])
    return losses


def run(spec: dict[str, Any]) -> list[float] | str:
    """Run `train` in a separate process; return the losses, or the reason why there are none."""
    environment = environment_for(spec["backend"], spec["device"])
    try:
        return result_of(__file__, "--train", json.dumps(spec), environment=environment)
    except Failed as error:
        return str(error).splitlines()[-1][:200]


def compare(kind: str, model: str, backend: str, tolerance: str, reference: Any, losses: Any) -> dict[str, Any]:
    """Return one row of the results."""
    row = {"kind": kind, "model": model, "backend": backend, "precision": tolerance}
    row |= {"tolerance": TOLERANCES[tolerance], "reference": reference, "losses": losses}
    reason = next((each for each in (reference, losses) if isinstance(each, str)), None)
    if reason is not None:
        return row | {"not_measured": reason}
    worst = float(np.max(np.abs(np.array(losses) / np.array(reference) - 1)))
    return row | {"worst_relative_difference": worst, "holds": worst <= TOLERANCES[tolerance]}


def measure(options: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """Run all trainings, several processes at a time if the machine has the cores: nothing is timed here."""
    chains = [(*training, backend) for *training, backends in TRAININGS for backend in backends]
    chains = [chain for chain in chains if chain[-1] in options.backends]
    cores = os.cpu_count() or 1
    with ThreadPoolExecutor(len(chains)) as outer, ThreadPoolExecutor(max(1, cores // 2)) as inner:
        return [row for rows in outer.map(lambda chain: _chain(options, folder, inner, *chain), chains) for row in rows]


def _chain(
    options: argparse.Namespace, folder: Path, processes: ThreadPoolExecutor, model: str, dropout: bool, backend: str
) -> list[dict[str, Any]]:
    """Compare one network's losses on the CPU and the device, and move a run from one to the other and back."""
    if importlib.util.find_spec(backend) is None:
        reason = f"{backend} is not installed"
        return [compare("losses", model, backend, "fp32", reason, reason)]
    spec = {"model": model, "dropout": dropout, "backend": backend, "weights": str(folder / f"{model}-{backend}.npz")}
    spec |= {"batch_size": options.batch_size, "batches": options.steps, "words": options.words}
    whole = spec | {"steps": options.steps}
    on_cpu = processes.submit(run, whole | {"device": "cpu", "precision": "fp32 in full"}).result()
    found = {
        precision: processes.submit(run, whole | {"device": options.device, "precision": precision})
        for precision in TOLERANCES
    }
    third = max(1, options.steps // 3)
    parts: Any = []
    for number, device in enumerate(("cpu", options.device, "cpu")):
        begin = {"begin_at": str(folder / f"{model}-{backend}-{number - 1}")} if number else {}
        end = str(folder / f"{model}-{backend}-{number}")
        moved = spec | begin | {"device": device, "precision": "fp32 in full", "end_at": end}
        part = processes.submit(run, moved | {"steps": third * (number + 1)}).result()
        if isinstance(part, str):
            parts = part
            break
        parts += part
    rows = [
        compare("losses", model, backend, precision, on_cpu, losses.result()) for precision, losses in found.items()
    ]
    reference = on_cpu[: 3 * third] if isinstance(on_cpu, list) else on_cpu
    rows.append(compare(f"cpu, then {options.device}, then cpu", model, backend, "fp32 in full", reference, parts))
    for row in rows:
        outcome = row.get("not_measured", row.get("worst_relative_difference"))
        say(f"{model} on {backend}, {row['kind']}, {row['precision']}: {outcome}")
    return rows


def render(results: dict[str, Any]) -> str:
    """Return the rows as a Markdown table."""
    lines = ["| training | network | backend | precision | worst relative difference | allowed |", "|" + "---|" * 6]
    for row in results["rows"]:
        if "not_measured" in row:
            found = f"not measured: {row['not_measured']}"
        else:
            found = f"{row['worst_relative_difference']:.1e}{'' if row['holds'] else ' (too much)'}"
        cells = [row["kind"], row["model"], row["backend"], row["precision"], found, f"{row['tolerance']:.0e}"]
        lines.append(table_row(cells))
    return "\n".join(lines)


def main() -> int:
    """Measure, print the table, write the JSON; return 1 if a difference is too large."""
    parser = parser_for(__doc__, resumes=False)
    parser.add_argument("--device", choices=("cpu", "gpu"), default="gpu")
    parser.add_argument("--backends", nargs="+", choices=BACKENDS, default=list(BACKENDS))
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--words", type=int, default=24, help="padded length of the overviews")
    parser.add_argument("--train", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.train:
        losses = train(json.loads(options.train))
        print(json.dumps(losses))
        return 0
    if print_rendered(options, render):
        return 0
    results = about("device_parity") | {
        "device": gpu_name() if options.device == "gpu" else "cpu",
        "driver": driver(),
        "versions": {name: metadata.version(name) for name in PACKAGES if importlib.util.find_spec(name)},
    }
    with tempfile.TemporaryDirectory(prefix="device_parity-") as folder:
        results["rows"] = rows = measure(options, Path(folder))
    write(options.output, results)
    print(render(results))
    return 1 if any(not row.get("holds", True) for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
