r"""How good the models are: configurations x splits x backends, beside baselines, with paired bootstrap intervals.

    python benchmarks/quality.py --data.path FILMS --out quality --splits 0 1 2 --backends jax tensorflow \
        --configs configs/overview_lstm_pooled.yaml*3 configs/poster_resnet.yaml configs/poster_overview_fusion.yaml \
        --fuse both=overview_lstm_pooled*3+poster_resnet

Each model is a ``kgenre fit`` or ``kgenre fuse`` in a process of its own under ``--out``; what is finished there is not
repeated, so a stopped benchmark goes on. Settings are chosen on validation films: this script looks at test films only.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

os.environ.setdefault("KERAS_BACKEND", "tensorflow")  # of this process, which reads films and fits baselines

_ROUNDS = 500
_SHOWN = ("loss", "map", "tuned_f1_micro", "tuned_f1_macro")
Predicted = dict[str, np.ndarray]  # film id -> probabilities, (G,)


def train(options: argparse.Namespace) -> Iterator[tuple[str, int, str, Path]]:
    """Train what is not there yet; yields (backend, split, name, folder of the tested run)."""
    for backend in options.backends:
        for split in options.splits:
            root = Path(options.out) / backend / f"split_{split}"
            for config, members in map(_counted, options.configs):
                for member in range(members):
                    name = f"{config.stem}.{member}"
                    yield backend, split, name, _fit(options, backend, split, config, member, root / name)
            for fusion in options.fuse:
                name, _, parts = fusion.partition("=")
                members = [root / run for part in parts.split("+") for run in _members(part)]
                method = "mean" if "+" not in parts else "fitted"
                yield backend, split, name, _fuse(backend, members, method, root / name)


def _members(part: str) -> list[str]:
    """``poster_resnet*2`` is poster_resnet.0 and .1."""
    name, count = _counted(part)
    return [f"{name}.{member}/version_0" for member in range(count)]


def _counted(part: str) -> tuple[Path, int]:
    name, _, count = part.partition("*")
    return Path(name), int(count or 1)


def _fit(options: argparse.Namespace, backend: str, split: int, config: Path, member: int, folder: Path) -> Path:
    arguments = ["fit", "--config", str(config), "--data.split_seed", str(split), "--seed_everything", str(member)]
    arguments += ["--trainer.default_root_dir", str(folder.parent), "--trainer.name", folder.name, "--test", "true"]
    arguments += ["--data.seed", str(member)] + (["--data.path", str(options.path)] if options.path else [])
    return _run(backend, arguments, folder)


def _fuse(backend: str, members: list[Path], method: str, folder: Path) -> Path:
    place = ["--method", method, "--root", str(folder.parent), "--name", folder.name]
    return _run(backend, ["fuse", *map(str, members), *place], folder)


def _run(backend: str, arguments: list[str], folder: Path) -> Path:
    run = folder / "version_0"
    done = run / "seconds.json"
    if not done.exists():
        if folder.exists():
            import shutil

            shutil.rmtree(folder)
        begun = time.time()
        print(f"{backend} {folder.parent.name} {folder.name} ...", end=" ", flush=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with (folder.parent / f"{folder.name}.log").open("w") as log:
            environment = os.environ | {"KERAS_BACKEND": backend}
            command = [sys.executable, "-m", "kgenre", *arguments]
            code = subprocess.run(
                command, env=environment, stdout=log, stderr=subprocess.STDOUT, check=False
            ).returncode
        if code:
            raise SystemExit(f"failed ({code}): see {log.name}")
        done.write_text(json.dumps(time.time() - begun))
        print(f"{time.time() - begun:.0f} s", flush=True)
    return run


def baselines(options: argparse.Namespace, split: int) -> tuple[Predicted, dict[str, Predicted], dict[str, Any]]:
    """Truth and baselines' probabilities of the test films of a split, and their thresholds tuned on validation."""
    import snowballstemmer

    from kgenre.data import FilmData
    from kgenre.data.overviews import normalised_overview
    from kgenre.data.sample import cache_folder
    from kgenre.evaluation import tune_thresholds
    from kgenre.evaluation.baseline_predictions import predict_baselines
    from kgenre.evaluation.baselines import TfidfBaseline

    films = FilmData(options.path, split_seed=split)
    films.setup("fit")
    table, parts = films.table, films.split
    kept = predict_baselines(films, cache_folder() / "baselines")
    said = {"frequencies": kept["frequency"], "TF-IDF": kept["tfidf"], "poster features": kept["colours"]}
    stem = snowballstemmer.stemmer("english").stemWords
    stemmed = [" ".join(stem(normalised_overview(text).split())) for text in table.overviews]
    for name, baseline in (
        ("TF-IDF, stems", TfidfBaseline()),
        ("TF-IDF, stems, pairs, C 4", TfidfBaseline(C=4.0, ngram_range=(1, 2))),
    ):
        fitted = baseline.fit([stemmed[i] for i in parts.train], table.genres[parts.train])
        said[name] = fitted.predict_proba(stemmed)
    validation = parts.validation
    thresholds = {name: tune_thresholds(table.genres[validation] > 0, p[validation]) for name, p in said.items()}
    truth = {table.ids[i]: table.genres[i] for i in parts.test}
    return truth, {name: {table.ids[i]: p[i] for i in parts.test} for name, p in said.items()}, thresholds


def scores(true: np.ndarray, prob: np.ndarray, thresholds: Any) -> dict[str, float]:
    """The four numbers of the table."""
    from kgenre.evaluation import multilabel_metrics

    values = multilabel_metrics(true > 0, prob, thresholds=thresholds)
    return {name: values[name] for name in _SHOWN}


def differences(true: np.ndarray, ours: np.ndarray, theirs: np.ndarray) -> dict[str, list[float]]:
    """Loss and mAP of ours minus theirs, and their 95 % intervals over resampled films."""
    from kgenre.evaluation.ranking import Ranking

    def loss(prob: np.ndarray) -> np.ndarray:
        p = np.clip(prob, 1e-7, 1 - 1e-7)
        return -np.where(true > 0, np.log(p), np.log1p(-p)).mean(axis=1)

    rng, n = np.random.default_rng(0), len(true)
    each, rankings = loss(ours) - loss(theirs), [Ranking(true > 0, p.astype(float)) for p in (ours, theirs)]
    draws = [np.bincount(rng.integers(0, n, n), minlength=n).astype(float) for _ in range(_ROUNDS)]
    found = {"loss": [each @ w / n for w in draws]}
    found["map"] = [float(np.subtract(*(np.nanmean(r.scores(w)[0]) for r in rankings))) for w in draws]
    ones = np.ones(n)
    exact = {
        "loss": each.mean(),
        "map": np.nanmean(rankings[0].scores(ones)[0]) - np.nanmean(rankings[1].scores(ones)[0]),
    }
    return {
        name: [float(exact[name]), *(float(q) for q in np.nanpercentile(values, [2.5, 97.5]))]
        for name, values in found.items()
    }


def compare(options: argparse.Namespace, runs: list[tuple[str, int, str, Path]]) -> dict[str, Any]:
    """Scores of all models and baselines, and the differences of each model to all others."""
    from kgenre.evaluation.film_predictions import read_predictions

    rows: list[dict[str, Any]] = []
    for split in options.splits:
        truth, said, thresholds = baselines(options, split)
        models: dict[tuple[str, str], Predicted] = {}
        for backend, of_split, name, folder in runs:
            if of_split == split:
                found = read_predictions(folder / "predictions_test.csv")
                models[backend, name] = dict(zip(found.ids, found.prob, strict=True))
        ids = [i for i in truth if all(i in predicted for predicted in (*said.values(), *models.values()))]
        true = np.array([truth[i] for i in ids])

        def of(predicted: Predicted, ids: list[str] = ids) -> np.ndarray:
            return np.array([predicted[i] for i in ids])

        for name, predicted in said.items():
            rows.append(
                {"backend": None, "split": split, "model": name, "films": len(ids)}
                | scores(true, of(predicted), thresholds[name])
            )
        for backend, of_split, name, folder in runs:
            if of_split != split:
                continue
            prob = of(models[backend, name])
            metrics = json.loads((folder / "metrics.json").read_text())
            own = {name: metrics[f"test/{name}"] for name in _SHOWN}
            against = {other: differences(true, prob, of(theirs)) for other, theirs in said.items()}
            against |= {
                other: differences(true, prob, of(theirs))
                for (of_backend, other), theirs in models.items()
                if of_backend == backend and other != name
            }
            seconds = json.loads((folder / "seconds.json").read_text())
            rows.append(
                {"backend": backend, "split": split, "model": name, "films": len(ids), "seconds": seconds}
                | own
                | {"minus": against}
            )
    return {"rows": rows}


def table(result: dict[str, Any]) -> str:
    """Means over splits, as Markdown."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in result["rows"]:
        model = row["model"]
        stem, _, number = model.rpartition(".")
        groups.setdefault((row["backend"] or "", stem if number.isdigit() else model), []).append(row)
    lines = [
        "| model | backend | loss | mAP | micro-F1 | macro-F1 | loss - TF-IDF, stems | loss - frequencies | seconds |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for (backend, model), rows in groups.items():

        def mean(get: Callable[[dict[str, Any]], float | None], rows: list[dict[str, Any]] = rows) -> float | None:
            values = [get(row) for row in rows]
            return None if any(value is None for value in values) else float(np.mean(values))

        cells = [mean(lambda row, key=key: row[key]) for key in _SHOWN]
        minus = [
            mean(lambda row, other=other: row.get("minus", {}).get(other, {}).get("loss", [None])[0])
            for other in ("TF-IDF, stems", "frequencies")
        ]
        seconds = mean(lambda row: row.get("seconds"))
        shown = [f"{cells[0]:.4f}", *(f"{cell:.3f}" for cell in cells[1:])]
        shown += ["" if value is None else f"{value:+.4f}" for value in minus]
        lines.append(
            f"| {model} | {backend} | " + " | ".join(shown) + f" | {'' if seconds is None else f'{seconds:.0f}'} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Train, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--configs", nargs="+", default=[], help="configurations to train; FILE*N: with N seeds")
    parser.add_argument("--splits", nargs="+", type=int, default=[0, 1, 2], help="values of --data.split_seed")
    parser.add_argument("--backends", nargs="+", default=["tensorflow", "jax"])
    parser.add_argument("--fuse", nargs="*", default=[], help="NAME=CONFIG*N: their mean; NAME=CONFIG+CONFIG: fused")
    parser.add_argument("--data.path", dest="path", default=None, help="the films; default: the sample set")
    parser.add_argument("--out", default="quality", help="folder of all runs")
    parser.add_argument("--output", default=None, help="JSON to write; default: OUT/quality.json")
    parser.add_argument("--render", default=None, help="print the table of this JSON again")
    options = parser.parse_args()
    if options.render:
        print(table(json.loads(Path(options.render).read_text(encoding="utf-8"))))
        return
    if not options.configs:
        parser.error("--configs is needed")
    runs = list(train(options))
    from kgenre.training.run_folder import environment

    result = {"date": datetime.date.today().isoformat(), "environment": environment()} | compare(options, runs)
    result["environment"].pop("backend", None)
    output = Path(options.output or Path(options.out) / "quality.json")
    output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(table(result))
    print(f"Written to {output}")


if __name__ == "__main__":
    main()
