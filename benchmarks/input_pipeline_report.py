"""The tables of `input_pipeline.py`: its results, and the targets."""

from __future__ import annotations

import statistics
from typing import Any

import numpy as np
from markdown_table import table, table_row, with_interval, with_quartiles
from ratio import ratio_with_interval

Rates = dict[str, dict[str, list[float]]]  # contestant -> clock ("wall" or "cpu") -> items per second of each round

SIZES = ((64, 64), (192, 128))  # height, width
# (section, contestant, base, minimum ratio)
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


def ratio_of(rates: Rates, name: str, base: str, clock: str = "wall") -> tuple[float, float, float]:
    """Return the ratio of two contestants' rates, with its interval."""
    return ratio_with_interval(rates[name][clock], rates[base][clock])


def base_of(rates: Rates, base: str) -> str | None:
    """Return the contestant that a target refers to: the fastest of those whose names begin with ``base``."""
    names = [name for name in rates if name.startswith(base)]
    return max(names, key=lambda name: statistics.median(rates[name]["wall"]), default=None)


def render(result: dict[str, Any]) -> str:
    """Return all results as Markdown."""
    m = result["machine"]
    lines = []
    for section, rates in result["rates"].items():
        for name, values in rates.items():
            cells = [section, name]
            for clock in ("wall", "cpu"):
                low, middle, high = np.percentile(values[clock], (25, 50, 75))
                cells.append(with_quartiles(middle, (low, high)))
            if "kgenre" in rates and name != "kgenre":
                cells += [with_interval(ratio_of(rates, "kgenre", name, clock)) for clock in ("wall", "cpu")]
            lines.append(cells)
    head = ["what", "contestant", "per second", "per CPU second", "kgenre / it", "CPU: kgenre / it"]
    rule = ["---"] + ["---:"] * 2 + ["---"]
    met = ([name, wanted, got, "yes" if met else "no"] for name, wanted, got, met in targets(result))
    above = (
        f"{m['cpu']}; {m['date']}; commit {str(m['commit'])[:12]}; tensorflow {m['tensorflow']}, keras {m['keras']}, "
        f"simplejpeg {m['simplejpeg']}. {result['posters']} posters, {result['rounds']} rounds. Per second: median "
        "(quartiles); ratios of medians [95 % interval]."
    )
    under = map(table_row, (["target", "wanted", "measured", "met"], rule, *met))
    return "\n".join([above, "", *table(head, lines, texts=2), "", *under]) + "\n"


def targets(result: dict[str, Any]) -> list[tuple[str, str, str, bool]]:
    """Return a row (what, target, measured, met) for each target."""
    rows: list[tuple[str, str, str, bool]] = []
    for section, name, base, least in RATIO_TARGETS:
        rates = result["rates"].get(section, {})
        if (found := base_of(rates, base)) is not None:
            ratio, low, high = ratio_of(rates, name, found)
            cpu = ratio_of(rates, name, found, "cpu")[0]
            measured = f"{ratio:.2f} [{low:.2f}, {high:.2f}]; CPU {cpu:.2f}"
            if (limit := base_of(rates, "bare simplejpeg")) is not None and not base.startswith("bare"):
                measured += f"; bare libjpeg-turbo {ratio_of(rates, limit, found)[0]:.2f}"
            rows.append((f"{section} / {found}", f">= {least}", measured, ratio >= least))
    for (section, name), least in RATE_TARGETS.items():
        if section not in result["rates"]:
            continue
        rate = statistics.median(result["rates"][section][name]["wall"])
        rows.append((f"{section}, {name}, per second", f">= {least:,}", f"{rate:,.0f}", rate >= least))
    return rows + single_targets(result["single"]) if result["single"] else rows


def single_targets(single: dict[str, list[dict[str, float]]]) -> list[tuple[str, str, str, bool]]:
    """Return the same rows for the measurements in separate processes."""
    rows: list[tuple[str, str, str, bool]] = []
    for entry in single["table in memory"]:
        most = 1.2 * entry["table_mb"] + 150
        name = f"peak memory, table of {entry['table_mb']:.0f} MB in memory"
        rows.append((name, f"<= {most:.0f} MB", f"{entry['peak_mb']:.0f} MB", entry["peak_mb"] <= most))
    first, last = single["streaming"][0], single["streaming"][-1]
    grown = last["peak_mb"] - first["peak_mb"]
    peaks = ", ".join(f"{e['films']:,}: {e['peak_mb']:.0f} MB" for e in single["streaming"])
    rows.append(("peak memory, streaming, by films", "flat", peaks, grown <= 0.25 * first["peak_mb"]))
    few, many = single["setup"], single["setup of many rows"]
    value = statistics.median(e["first_batch_s"] for e in few)
    rows.append((f"first batch after set-up, {few[0]['films']:,} films", "<= 1.5 s", f"{value:.2f} s", value <= 1.5))
    value = statistics.median(e["setup_s"] for e in many)
    measured = f"{value:.2f} s"
    if again := single.get("setup of many rows, tokens known"):
        measured += f"; {statistics.median(e['setup_s'] for e in again):.2f} s with an earlier run's tokens"
    rows.append((f"set-up of {many[0]['films']:,} rows", "<= 5 s", measured, value <= 5))
    value = statistics.median(e["first_per_s"] for e in single["hashing"])
    rows.append(("first hashing, files per second", "", f"{value:,.0f}", True))
    return rows
