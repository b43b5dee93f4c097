"""What does a training step do on an H200? Kernels, memory and traffic, counted without a GPU: XLA compiles for one.

    python benchmarks/gpu_kernels.py "poster_cnn_2024 64 fp32 several=25" "overview_lstm 64 fp32" --output counts.json
    python benchmarks/gpu_kernels.py --all --output counts.json           # the table in README.md: ten minutes
    python benchmarks/gpu_kernels.py --render counts.json

Needs JAX with CUDA in an environment of its own (`pip install -e . "jax[cuda13]"`), but neither a GPU nor its driver. A
way is written as in step_ways.py (several=, words=, stock, undonated). Where kernels are short, their number determines
the time of a step; where they are long, the traffic or the products. The last three columns are what these take at
least at the rates of the card's data sheet, as if nothing stayed in a cache; the longest is bold. XLA chooses kernels
without autotuning, which hardly affects their number: for the 2024 CNN, one step per call, as many were counted (129)
as XLA had compiled on an H200, of which some launch two (a trace had 142).
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sys
from collections.abc import Iterator
from typing import Any
from unittest import mock

from gpu_program import Program, Work
from machine import imported_versions
from markdown_table import table
from networks import MODELS, PRECISIONS, films, flops
from result_file import about, earlier_results, listed, parser_for, print_rendered, write
from step_ways import Way, check_ways

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
# The card's data sheet: bytes per second, and operations of dense matrix products (fp32 is computed in TF32).
BYTES, PRODUCTS = 4.8e12, {"fp32": 4.95e14, "bf16": 9.89e14}
LAUNCH = 2e-6  # seconds for a short kernel, as measured on an H200 (README.md)
SIZES = (64, 256, 1024, 4096, 8192)
COUNTED = [name for name in MODELS if name != "overview_lstm_unmasked"]  # the same program as overview_lstm_cudnn's
ALL = [
    *(f"{model} {size} {precision}" for model in COUNTED for precision in PRECISIONS for size in SIZES),
    *(f"{model} 64 fp32 several=25" for model in ("poster_cnn_2024", "poster_cnn_2025", "poster_resnet")),
    *(f"{model} 64 fp32 stock" for model in COUNTED),
]


def count(text: str) -> dict[str, Any]:
    """Compile the training step of a way, and return what is counted in it."""
    import jax
    from jax.experimental import topologies

    way = Way.of(text)
    steps, engine = way.several or 1, way.fitted(films(way.network, 2, 1, 8))
    (device, *_) = topologies.get_topology_desc("", "cuda", target_config=H200, topology="1 x 1 x 1").devices
    there = jax.sharding.SingleDeviceSharding(device)

    def described(tree: Any) -> Any:
        return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=there), tree)

    (batch,) = films(way.network, way.batch_size, 1, way.words)
    donated = 0 if way.donated else ()
    state, batch = described(engine._state), described(batch)
    with _kernels_for_a_gpu():
        if way.several:
            step = jax.jit(engine._traced_several, donate_argnums=donated, static_argnames=("update", "count"))
            compiled = step.lower(state, [batch] * steps, count=steps, update=True).compile()
        else:
            step = jax.jit(engine._traced_train, donate_argnums=donated, static_argnames="update")
            compiled = step.lower(state, batch, update=True).compile()
    program, memory = Program(compiled.as_text()), compiled.memory_analysis()
    held = memory.argument_size_in_bytes + memory.output_size_in_bytes - memory.alias_size_in_bytes
    return {
        "way": text,
        "kernels": program.kernels / steps,
        "parts": [_described(1, program.outside), *(_described(*loop) for loop in program.loops)],
        "traffic_bytes": program.traffic / steps,
        "memory_bytes": held + memory.temp_size_in_bytes,
        "flops": 3 * flops(way.network, way.batch_size, way.words),
    }


@contextlib.contextmanager
def _kernels_for_a_gpu() -> Iterator[None]:
    """Inside the context, kgenre chooses its operations as on a GPU."""
    from kgenre.kernels import jax_platform

    own = jax_platform.platform
    with contextlib.ExitStack() as patches:
        for name, module in list(sys.modules.items()):
            if name.startswith("kgenre.") and getattr(module, "platform", None) is own:
                patches.enter_context(mock.patch.object(module, "platform", return_value="gpu"))
        yield


def _described(times: int, work: Work) -> dict[str, Any]:
    return {"times": times, "kernels": dict(work.kernels), "traffic_bytes": work.traffic}


def render(result: dict[str, Any]) -> str:
    """Return the counts as a Markdown table."""
    head = ["network", "batch", "precision", "way", "kernels", "memory GB", "traffic GB"]
    head += ["launches ms", "traffic ms", "products ms"]
    lines = []
    for row in result["rows"]:
        model, batch, precision, *words = row["way"].split()
        seconds = [row["kernels"] * LAUNCH, row["traffic_bytes"] / BYTES, row["flops"] / PRODUCTS[precision]]
        longest = max(seconds)
        shown = [f"**{1e3 * one:.2f}**" if one == longest else f"{1e3 * one:.2f}" for one in seconds]
        sizes = (f"{row['kernels']:,.0f}", f"{row['memory_bytes'] / 1e9:.2f}", f"{row['traffic_bytes'] / 1e9:.2f}")
        lines.append([model, batch, precision, " ".join(words), *sizes, *shown])
    commit, versions = (result["commit"] or "unknown")[:12], listed(dict(sorted(result["versions"].items())))
    above = f"Compiled for an NVIDIA H200; {result['date']}, commit {commit}; {versions}."
    return "\n".join([above, "", *table(head, lines, texts=4)])


def main() -> int:
    """Count, write and print."""
    parser = parser_for(__doc__)
    parser.add_argument("ways", nargs="*", metavar="WAY", help='"NETWORK BATCH fp32|bf16 ...", as in step_ways.py')
    parser.add_argument("--all", action="store_true", help="all networks, batch sizes and precisions")
    options = parser.parse_args()
    if print_rendered(options, render):
        return 0
    ways = ALL if options.all else options.ways
    check_ways(parser, ways)
    if not ways:
        parser.error("Name at least one way, or pass --all or --render FILE.")
    if not importlib.util.find_spec("jax_plugins"):
        parser.error('JAX has no CUDA here: pip install "jax[cuda13]" in an environment of its own; no GPU is needed.')
    # Tracing and the first weights need a device: the CPU. JAX's plugin for CUDA would look for a driver.
    os.environ |= {"JAX_PLATFORMS": "cpu", "JAX_SKIP_CUDA_CONSTRAINTS_CHECK": "1"}
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_gpu_autotune_level=0".strip()
    result: dict[str, Any] = {"rows": []} | earlier_results(options.output, identity := {"benchmark": "gpu_kernels"})
    now = about("gpu_kernels")
    result |= identity | {"date": now["date"], "commit": now["git_commit"]}
    counted = {row["way"] for row in result["rows"]}
    for way in ways:
        if way in counted:
            continue
        row = count(way)
        result["rows"].append(row)
        result["versions"] = imported_versions()
        for part in row["parts"]:
            kinds = ", ".join(f"{number} {kind}" for kind, number in part["kernels"].items())
            print(f"{way}: {part['times'] or '?'} times {sum(part['kernels'].values())} kernels ({kinds})", flush=True)
        write(options.output, result)
    print(render(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
