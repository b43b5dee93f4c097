"""The tables and the plot of `throughput.py`, from its JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from table_row import table_row
from throughput_groups import PARTS

SHARES = {"share_of_matrix_rate": "of matrix rate", "share_of_copy_rate": "of copy rate"}


def render(results: dict[str, Any]) -> str:
    """Return the results as Markdown: a table for training, one for inference, and one of the profiles."""
    measured = [row for row in results["rows"] if "not_measured" not in row]
    versions: dict[str, str] = {}
    for row in measured:
        versions |= row["versions"] or {}
    names = sorted({row["device_name"] for row in measured if row.get("device_name")} - {"cpu"})
    device = ", ".join(names) or f"{results['cpu']}, {results['cores']} cores"
    driver = f", driver {results['driver']}" if results.get("driver") else ""
    rates = ", ".join(f"{name} {_si(value)}" for name, value in results["rates"].items())
    lines = [
        f"{device}{driver}; {results['date']}, commit {(results['git_commit'] or 'unknown')[:12]}; "
        + ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))
        + f". Rounds: {results['rounds']}. The device measured by itself: {rates or 'no'}. fp32 is TF32 where the "
        "device has it." + (" Everybody's memory in huge pages." if results.get("huge_pages") else ""),
    ]
    for part in PARTS:
        lines += ["", f"**{part.capitalize()}**", "", *_table(results["rows"], part)]
    lines += _profiles(measured)
    return "\n".join(lines) + "\n"


def _table(rows: list[dict[str, Any]], part: str) -> list[str]:
    bases = ("raw", "keras-fit", "keras-fit-padded", "lightning", "tensorflow")
    bases = [base for base in bases if any(base in row.get(part, {}).get("ratios", {}) for row in rows)]
    head = [
        "network",
        "batch",
        "precision",
        "data",
        "contestant",
        "backend",
        "films/s",
        "ms/step",
    ]
    shares = [share for share in SHARES if any(share in row.get(part, {}) for row in rows)]  # a CPU has no copy share
    head += [SHARES[share] for share in shares] + ["of roofline"] * (len(shares) == len(SHARES))
    head += [f"x {base}" for base in bases]
    head += ["input wait ms", "first step s: import + build + compile", "host GB", "device GB"]
    lines = [table_row(head), table_row(["---"] * 6 + ["---:"] * (len(head) - 6))]
    for row in rows:
        start = [row["model"], row["batch_size"], row["precision"], row["source"], row["contestant"], row["backend"]]
        if "not_measured" in row:
            lines.append(table_row([*start, f"not measured: {row['not_measured']}"] + [""] * (len(head) - 7)))
            continue
        values, first = row[part], row["first_step"]
        ratios = values.get("ratios", {})
        waits = sorted(row["input_wait_ms_per_step"])
        lines.append(
            table_row(
                [
                    *start,
                    f"{values['films_per_second']:,.0f}",
                    "{:.3g} ({:.3g}-{:.3g})".format(values["median_ms"], *values["quartiles_ms"]),
                    *(f"{values[name]:.1%}" if name in values else "" for name in shares),
                    *[roofline(values)] * (len(shares) == len(SHARES)),
                    *("{:.2f} [{:.2f}, {:.2f}]".format(*ratios[base]) if base in ratios else "" for base in bases),
                    f"{waits[len(waits) // 2]:.2g}" if waits else "",
                    "{import_seconds:.1f} + {build_seconds:.1f} + {compile_seconds:.1f}".format(**first),
                    f"{row['host_bytes'] / 1e9:.1f}",
                    f"{row['device_bytes'] / 1e9:.2f}" if row.get("device_bytes") else "",
                ]
            )
        )
    return lines


def roofline(values: dict[str, Any]) -> str:
    """Return the share of the device's limit that is reached: the larger of the shares of the matrix and copy rates.

    Williams, Waterman and Patterson, 2009, "Roofline: an insightful visual performance model".
    """
    return f"{max(values[name] for name in SHARES):.1%}" if all(name in values for name in SHARES) else ""


def _profiles(rows: list[dict[str, Any]]) -> list[str]:
    profiled = [row for row in rows if row.get("profile")]
    if not profiled:
        return []
    lines = ["", "**What limits a training step** (kgenre under JAX, ten steps traced)", ""]
    lines += [
        table_row(["network", "batch", "precision", "limit", "device busy", "kernels per step", "most of the time"])
    ]
    lines += [table_row(["---"] * 4 + ["---:"] * 2 + ["---"])]
    for row in profiled:
        profile = row["profile"]
        kernels = ", ".join(f"{kernel['name']} {kernel['share']:.0%}" for kernel in profile["kernels"][:4])
        lines.append(
            table_row(
                [
                    row["model"],
                    row["batch_size"],
                    row["precision"],
                    limit_of(row),
                    f"{profile['busy_share']:.0%}",
                    f"{profile['launches_per_step']:.0f}",
                    f"`{kernels}`",
                ]
            )
        )
    return lines


def limit_of(row: dict[str, Any]) -> str:
    """Return what limits a step: launches if the device idles, else products, else the recurrence, else memory."""
    profile, share = row["profile"], row["train"].get("share_of_matrix_rate") or 0.0
    if profile["busy_share"] < 0.7:
        return "launches: the device waits for them"
    if share > 0.4:
        return "matrix products"
    if "lstm" in row["model"] and profile["launches_per_step"] > 500:
        return "recurrence: many small kernels, one after another"
    return "memory traffic and kernels below the matrix rate"


def plot(results: list[dict[str, Any]], folder: Path) -> list[Path]:
    """Plot films per second by batch size, a file for each network, TensorFlow and JAX side by side."""
    try:
        import matplotlib
    except ImportError as error:
        raise SystemExit("--plot needs matplotlib: pip install matplotlib") from error
    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = [row for each in results for row in each["rows"] if "not_measured" not in row and row["source"] == "device"]
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for model in dict.fromkeys(row["model"] for row in rows):
        backends = [b for b in ("tensorflow", "jax") if any(r["backend"] == b and r["model"] == model for r in rows)]
        figure, axes = pyplot.subplots(
            1, len(backends), figsize=(5 * len(backends), 4), sharey=True, squeeze=False, layout="constrained"
        )
        for axis, backend in zip(axes[0], backends, strict=True):
            lines: dict[str, list[tuple[int, float]]] = {}
            for row in rows:
                if row["model"] == model and row["backend"] in (backend, "torch"):
                    name = f"{row['contestant']}, {row['precision']}"
                    lines.setdefault(name, []).append((row["batch_size"], row["train"]["films_per_second"]))
            for name, points in lines.items():
                style = "-" if name.startswith("kgenre") else "--"
                axis.plot(*zip(*sorted(points), strict=True), style, marker="o", label=name)
            axis.set(xscale="log", yscale="log", xlabel="batch size", title=f"{model}, {backend}")
            axis.grid(alpha=0.3, which="both")
            axis.legend(fontsize=8)
        axes[0][0].set_ylabel("training, films per second")
        written.append(folder / f"throughput-{model}.png")
        figure.savefig(written[-1], dpi=120)
        pyplot.close(figure)
    return written


def _si(value: float) -> str:
    for unit, size in (("T", 1e12), ("G", 1e9)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.3g}"
