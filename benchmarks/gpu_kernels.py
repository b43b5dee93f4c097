"""Counts the kernels that a training step launches on an H200, without a GPU: XLA can compile for one anyway.

Where kernels are short, their number determines the time of a step. Needs JAX with CUDA (`pip install "jax[cuda13]"`).

    JAX_PLATFORMS=cpu python benchmarks/gpu_kernels.py "poster_cnn_2024 64 fp32 several=25" "overview_lstm 64 fp32"

A way is written as in step_ways.py (several=, words=, stock, undonated). XLA chooses kernels without autotuning, which
hardly affects their number: for the CNN above (one step per call), 129 were counted with the code of the day, exactly
as many as XLA had compiled on an H200.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import sys
from collections import Counter
from typing import Any

from step_ways import PRECISIONS, check_ways, module_of
from throughput_networks import films

os.environ.setdefault("KERAS_BACKEND", "jax")

H200 = """
gpu_device_info {
  threads_per_block_limit: 1024 threads_per_warp: 32 shared_memory_per_block: 49152 shared_memory_per_core: 233472
  threads_per_core_limit: 2048 core_count: 132 fpus_per_core: 128 block_dim_limit_x: 2147483647 block_dim_limit_y: 65535
  block_dim_limit_z: 65535 memory_bandwidth: 4800000000000 l2_cache_size: 62914560 clock_rate_ghz: 1.98
  device_memory_size: 150000000000 shared_memory_per_block_optin: 232448 cuda_compute_capability { major: 9 }
  registers_per_core_limit: 65536 registers_per_block_limit: 65536
}
platform_name: "CUDA" dnn_version_info { major: 9 minor: 10 } device_description_str: "NVIDIA H200"
"""
_STARTS_NONE = ("parameter", "get-tuple-element", "bitcast", "tuple", "constant", "while")


def program(way: str) -> str:
    """Return the training step's program as text, as XLA compiles it."""
    import jax
    from jax.experimental import topologies

    import kgenre
    from kgenre.kernels import masked_lstm_jax

    model, batch_size, precision, *words = way.split()
    options = dict(word.split("=") for word in words if "=" in word)
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    trainer = kgenre.Trainer(max_steps=1, precision=PRECISIONS[precision], steps_per_execution=1, **quiet)
    trainer.fit(module_of(model, "stock" in words), films(model, 2, 1, 8))
    (device, *_) = topologies.get_topology_desc("", "cuda", target_config=H200, topology="1 x 1 x 1").devices
    there = jax.sharding.SingleDeviceSharding(device)

    def described(tree: Any) -> Any:
        return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=there), tree)

    engine, (batch,) = trainer.engine, films(model, int(batch_size), 1, int(options.get("words", 68)))
    donated = () if "undonated" in words else 0
    state, batch = described(engine._state), described(batch)
    masked_lstm_jax.platform_loop = lambda: "gpu"
    if "several" in options:
        steps = int(options["several"])
        several = jax.jit(engine._traced_several, donate_argnums=donated, static_argnames=("update", "count"))
        return several.lower(state, [batch] * steps, count=steps, update=True).compile().as_text()
    single = jax.jit(engine._traced_train, donate_argnums=donated, static_argnames="update")
    return single.lower(state, batch, update=True).compile().as_text()


def kernels(text: str) -> tuple[Counter[str], list[tuple[int, Counter[str]]]]:
    """Count kernel launches by kind: outside loops, and in each loop, with its number of iterations (0: unknown)."""
    computations: dict[str, list[str]] = {}
    name = ""
    for line in text.splitlines():
        head = re.match(r"(?:(ENTRY) )?(%[\w.\-]+)[^{]*\{", line)
        if head:
            name = head.group(1) or head.group(2)
        elif line.startswith("  "):
            computations.setdefault(name, []).append(line)

    def counted(lines: list[str]) -> Counter[str]:
        kinds: Counter[str] = Counter()
        for line in lines:
            found = re.match(r"\s*(?:ROOT )?%\S+ = .*? ([a-z][a-z0-9\-]*)\(", re.sub(r"/\*.*?\*/", "", line))
            if found and found.group(1) not in _STARTS_NONE and not found.group(1).endswith("-done"):
                kinds[found.group(1)] += 1
        return kinds

    loops = []
    for line in text.splitlines():
        body = re.search(r" while\(.*body=(%[\w.\-]+)", line)
        if body:
            times = re.search(r'known_trip_count":\{"n":"(\d+)"', line)
            loops.append((int(times.group(1)) if times else 0, counted(computations[body.group(1)])))
    return counted(computations["ENTRY"]), loops


def main() -> int:
    """Print the counts for each way."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("ways", nargs="+", metavar="WAY", help='"NETWORK BATCH fp32|bf16 ...", as in step_ways.py')
    ways = parser.parse_args().ways
    check_ways(parser, ways)
    if not importlib.util.find_spec("jax_plugins"):
        parser.error('JAX has no CUDA here: pip install "jax[cuda13]" in an environment of its own; no GPU is needed.')
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_gpu_autotune_level=0".strip()
    for way in ways:
        outside, loops = kernels(program(way))
        total = outside.total() + sum(times * inside.total() for times, inside in loops)
        print(f"{way}: {total} kernels, {outside.total()} of them outside of loops ({_said(outside)})", flush=True)
        for times, inside in loops:
            print(f"    {times or '?'} times {inside.total()} ({_said(inside)})", flush=True)
    return 0


def _said(kinds: Counter[str]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())


if __name__ == "__main__":
    sys.exit(main())
