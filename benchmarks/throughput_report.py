"""The tables and the plot of `throughput.py`, from its JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from markdown_table import table, table_row, with_interval, with_quartiles
from networks import MODELS
from result_file import listed, origin
from throughput_groups import PARTS

BASES = ("raw", "keras-fit", "keras-fit-padded", "lightning", "tensorflow")  # the tables have ratios to these
SHARES = {"share_of_matrix_rate": "of matrix rate", "share_of_copy_rate": "of copy rate"}


def render(results: dict[str, Any]) -> str:
    """Return the results as Markdown: a table for training, one for inference, and one of the profiles."""
    measured = [row for row in results["rows"] if "not_measured" not in row]
    versions: dict[str, str] = {}
    for row in measured:
        versions |= row["versions"] or {}
    device = ", ".join(_gpus(measured)) or f"{results['cpu']}, {results['cores']} cores"
    driver = f", driver {results['driver']}" if results.get("driver") else ""
    rates = ", ".join(f"{name} {_si(value)}" for name, value in results["rates"].items())
    lines = [
        origin(results, f"{device}{driver}")
        + f"; {listed(dict(sorted(versions.items())))}. Rounds: {results['rounds']}. "
        f"The device measured by itself: {rates or 'no'}. fp32 is TF32 where the device has it."
        + (" Everybody's memory in huge pages." if results.get("huge_pages") else ""),
    ]
    for part in PARTS:
        lines += ["", f"**{part.capitalize()}**", "", *_table(results["rows"], part)]
    lines += _profiles(measured)
    return "\n".join(lines) + "\n"


def _gpus(rows: list[dict[str, Any]]) -> list[str]:
    return sorted({row["device_name"] for row in rows if row.get("device_name")} - {"cpu"})


def _table(rows: list[dict[str, Any]], part: str) -> list[str]:
    bases = [base for base in BASES if any(base in row.get(part, {}).get("ratios", {}) for row in rows)]
    shares = [share for share in SHARES if any(share in row.get(part, {}) for row in rows)]  # a CPU has no copy share
    head = ["network", "batch", "precision", "data", "contestant", "backend", "films/s", "ms/step"]
    head += [SHARES[share] for share in shares] + ["of roofline"] * (len(shares) == len(SHARES))
    head += [f"x {base}" for base in bases]
    head += ["input wait ms", "first step s: import + build + compile", "host GB", "device GB"]
    lines = []
    for row in rows:
        start = [row[name] for name in ("model", "batch_size", "precision", "source", "contestant", "backend")]
        if "not_measured" in row:
            lines.append([*start, f"not measured: {row['not_measured']}"])
            continue
        values, waits = row[part], sorted(row["input_wait_ms_per_step"])
        lines.append(
            [
                *start,
                *_speed(values),
                *(f"{values[name]:.1%}" if name in values else "" for name in shares),
                *[roofline(values)] * (len(shares) == len(SHARES)),
                *(with_interval(values.get("ratios", {}).get(base)) for base in bases),
                f"{waits[len(waits) // 2]:.2g}" if waits else "",
                "{import_seconds:.1f} + {build_seconds:.1f} + {compile_seconds:.1f}".format(**row["first_step"]),
                f"{row['host_bytes'] / 1e9:.1f}",
                f"{row['device_bytes'] / 1e9:.2f}" if row.get("device_bytes") else "",
            ]
        )
    return table(head, lines, texts=6)


def _speed(values: dict[str, Any]) -> tuple[str, str]:
    return f"{values['films_per_second']:,.0f}", with_quartiles(values["median_ms"], values["quartiles_ms"], ".3g")


def summary(results: list[dict[str, Any]]) -> str:
    """Return one table of kgenre's training steps in all results, with what limits them where it is known."""
    found = [
        (row, ", ".join([*_gpus([row]), each["date"], *["huge pages"] * bool(each.get("huge_pages"))]))
        for each in results
        for row in each["rows"]
        if row["contestant"].startswith("kgenre") and "not_measured" not in row
    ]
    found.sort(key=lambda one: (MODELS.index(one[0]["model"]), one[0]["batch_size"], one[0]["precision"] != "fp32"))
    bases = [base for base in BASES if any(base in row["train"]["ratios"] for row, _ in found) and base != "tensorflow"]
    conditions = {"batch": "batch_size", "precision": "precision", "data": "source"}  # shown if they differ
    differ = {name: key for name, key in conditions.items() if len({row[key] for row, _ in found}) > 1}
    limited = any(row.get("profile") for row, _ in found)
    head = ["network", *differ, "backend", "measured", *["limit", "of roofline"] * limited]
    lines = []
    for row, measured in found:
        backend = row["backend"] + row["contestant"].removeprefix("kgenre").replace("-", ", ")
        start = [row["model"], *(row[key] for key in differ.values()), backend, measured]
        limits = [limit_of(row) if row.get("profile") else "", roofline(row["train"])] * limited
        ratios = (with_interval(row["train"]["ratios"].get(base)) for base in bases)
        lines.append([*start, *limits, *_speed(row["train"]), *ratios])
    texts = len(head) - limited  # the share of the roofline is a number
    return "\n".join(table([*head, "films/s", "ms/step", *(f"x {base}" for base in bases)], lines, texts))


def roofline(values: dict[str, Any]) -> str:
    """Return the share of the device's limit that is reached: the larger of the shares of the matrix and copy rates.

    Williams, Waterman and Patterson, 2009, "Roofline: an insightful visual performance model".
    """
    return f"{max(values[name] for name in SHARES):.1%}" if all(name in values for name in SHARES) else ""


def _profiles(rows: list[dict[str, Any]]) -> list[str]:
    profiled = [row for row in rows if row.get("profile")]
    if not profiled:
        return []
    head = ["network", "batch", "precision", "limit", "device busy", "kernels per step", "most of the time"]
    rule = ["---"] * 4 + ["---:"] * 2 + ["---"]
    lines = ["", "**What limits a training step** (kgenre under JAX, ten steps traced)", ""]
    lines += [table_row(head), table_row(rule)]
    for row in profiled:
        profile = row["profile"]
        kernels = ", ".join(f"{kernel['name']} {kernel['share']:.0%}" for kernel in profile["kernels"][:4])
        busy, launches = f"{profile['busy_share']:.0%}", f"{profile['launches_per_step']:.0f}"
        cells = [row["model"], row["batch_size"], row["precision"], limit_of(row), busy, launches, f"`{kernels}`"]
        lines.append(table_row(cells))
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
