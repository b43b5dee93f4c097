r"""How good are the models? Configurations x splits x backends, and baselines, with paired bootstrap intervals.

    python benchmarks/quality.py --data.path FILMS --out quality --splits 0 1 2 --backends jax tensorflow \
        --configs configs/overview_lstm_words.yaml configs/poster_resnet.yaml*2 \
        --fuse both=overview_lstm_words+poster_resnet "posters=mean(poster_resnet*2)" \
        --mean "posters=poster_resnet.0+poster features" --gains both=overview_lstm_words.0 --plot quality
    python benchmarks/quality.py --render quality.json --differences both=overview_lstm_words

A text network takes one to three minutes per split and backend on one core, a poster network three. Each model is a
``kgenre fit`` or ``kgenre fuse`` in a separate process that writes to ``--out``; finished ones are not repeated, so an
interrupted benchmark can be resumed. Baselines: the genre frequencies, TF-IDF with logistic regression (words, stems,
stems and pairs of them), and logistic regression on colours and layout of posters. Intervals are those of paired
bootstrap samples of a split's test films. Settings must be chosen on validation films: the scores are of test films.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from kgenre_fit import logged
from quality_report import SHOWN, show
from result_file import parser_for, rendering, write

os.environ.setdefault("KERAS_BACKEND", "tensorflow")  # for this process, which reads films and fits baselines

_ROUNDS = 500
Predicted = dict[str, np.ndarray]  # film id -> probabilities, (G,)


def train(options: argparse.Namespace) -> Iterator[tuple[str, int, str, Path]]:
    """Train the models that are missing; yield (backend, split, name, folder of the tested run) for each model."""
    for backend in options.backends:
        for split in options.splits:
            root = Path(options.out) / backend / f"split_{split}"
            for config, members in map(_counted, options.configs):
                for member in range(members):
                    name = f"{config.stem}.{member}"
                    yield backend, split, name, _fit(options, backend, split, config, member, root / name)
            for fusion in options.fuse:
                name, _, parts = fusion.partition("=")
                method = "mean" if parts.startswith("mean(") else "fitted"
                parts = parts.removeprefix("mean(").removesuffix(")")
                members = [root / run for part in parts.split("+") for run in _members(part)]
                yield backend, split, name, _fuse(backend, members, method, root / name)


def _members(part: str) -> list[str]:
    """Return the run folders of a part: for ``poster_resnet*2`` those of poster_resnet.0 and poster_resnet.1."""
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
            shutil.rmtree(folder)
        begun = time.time()
        print(f"{backend} {folder.parent.name} {folder.name} ...", end=" ", flush=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with (folder.parent / f"{folder.name}.log").open("w") as log:
            environment = os.environ | {"KERAS_BACKEND": backend}
            command = [sys.executable, "-m", "kgenre", *arguments]
            done_with = subprocess.run(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
        if done_with.returncode:
            raise SystemExit(f"failed ({done_with.returncode}): see {log.name}")
        done.write_text(json.dumps(time.time() - begun))
        print(f"{time.time() - begun:.0f} s", flush=True)
    return run


def baselines(
    options: argparse.Namespace, split: int
) -> tuple[list[str], Predicted, dict[str, Predicted], dict[str, Any]]:
    """Return genres, truth and baselines' probabilities of a split's test films, and thresholds tuned on validation."""
    import snowballstemmer

    from kgenre.data import FilmData
    from kgenre.data.overviews import normalised_overview
    from kgenre.engines.cache_folder import cache_folder
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
    said = {name: {table.ids[i]: p[i] for i in parts.test} for name, p in said.items()}
    return films.genre_names, truth, said, thresholds


def scores(true: np.ndarray, prob: np.ndarray, thresholds: Any) -> dict[str, float]:
    """Return the metrics of the table; without thresholds, no F1 scores."""
    from kgenre.evaluation import multilabel_metrics

    values = multilabel_metrics(true > 0, prob, thresholds=thresholds)
    return {name: values[name] for name in SHOWN if name in values}


class Drawn:
    """Loss and average precisions of one model on all films and on bootstrap samples, the same for each model.

    Args:
        true: (n, G) truth.
        prob: (n, G) probabilities.
    """

    def __init__(self, true: np.ndarray, prob: np.ndarray) -> None:
        from kgenre.evaluation.metrics import binary_crossentropy
        from kgenre.evaluation.ranking import Ranking

        rng, n = np.random.default_rng(0), len(true)
        draws = [np.ones(n, np.int64), *(np.bincount(rng.integers(0, n, n), minlength=n) for _ in range(_ROUNDS))]
        losses = binary_crossentropy(true > 0, prob.astype(float)).mean(axis=1)
        ranking = Ranking(true > 0, prob.astype(float))
        self.loss = np.array([losses @ w / n for w in draws])  # (1 + rounds,), all films first
        self.ap = np.array([ranking.scores(w)[0] for w in draws])  # (1 + rounds, G)

    def minus(self, other: Drawn) -> dict[str, list[float]]:
        """Return the differences in loss and mAP to another model, each with its 95 % interval."""
        ours, theirs = (np.nanmean(drawn.ap, axis=1) for drawn in (self, other))
        return {"loss": _interval(self.loss - other.loss), "map": _interval(ours - theirs)}

    def gains(self, other: Drawn, names: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Return both average precisions and their difference with its interval, for each genre that the films have."""
        return {
            name: {
                "ap": float(self.ap[0, g]),
                "other": float(other.ap[0, g]),
                "minus": _interval(self.ap[:, g] - other.ap[:, g]),
            }
            for g, name in enumerate(names)
            if np.isfinite(self.ap[0, g])
        }


def _interval(values: np.ndarray) -> list[float]:
    return [float(values[0]), *(float(q) for q in np.nanpercentile(values[1:], [2.5, 97.5]))]


def curve(folder: Path) -> dict[str, list[list[float]]]:
    """Return the training and the validation curve, a pair [step, loss] for each epoch."""
    found = logged(folder, "train/loss", "val/loss")
    return {
        part: [list(pair) for pair in zip(found.get(f"{name}/step", []), found.get(name, []), strict=True)]
        for part, name in (("train", "train/loss"), ("validation", "val/loss"))
    }


def compare(options: argparse.Namespace, runs: list[tuple[str, int, str, Path]]) -> dict[str, Any]:
    """Return the scores of all models and baselines, and the differences of each model to all others."""
    from kgenre.evaluation.film_predictions import read_predictions

    rows: list[dict[str, Any]] = []
    for split in options.splits:
        genres, truth, said, thresholds = baselines(options, split)
        folders = {(backend, name): folder for backend, of_split, name, folder in runs if of_split == split}
        models: dict[tuple[str, str], Predicted] = {}
        for model, folder in folders.items():
            found = read_predictions(folder / "predictions_test.csv")
            models[model] = dict(zip(found.ids, found.prob, strict=True))
        for backend in options.backends:
            for name, parts in options.mean:
                models[backend, name] = mean_log_odds([said.get(part) or models[backend, part] for part in parts])
        ids = [i for i in truth if all(i in predicted for predicted in (*said.values(), *models.values()))]
        true = np.array([truth[i] for i in ids])

        def of(predicted: Predicted, ids: list[str] = ids) -> np.ndarray:
            return np.array([predicted[i] for i in ids])

        drawn = {(None, name): Drawn(true, of(predicted)) for name, predicted in said.items()}
        drawn |= {model: Drawn(true, of(predicted)) for model, predicted in models.items()}
        for name, predicted in said.items():
            about = {"backend": None, "split": split, "model": name, "films": len(ids)}
            rows.append(about | scores(true, of(predicted), thresholds[name]))
        for (backend, name), predicted in models.items():
            others = {n: d for (b, n), d in drawn.items() if b in (None, backend) and n != name}
            ours = drawn[backend, name]
            row = {"backend": backend, "split": split, "model": name, "films": len(ids)}
            folder = folders.get((backend, name))
            if folder is None:
                row |= scores(true, of(predicted), None)
            else:
                metrics = json.loads((folder / "metrics.json").read_text())
                row |= {"seconds": json.loads((folder / "seconds.json").read_text()), "curve": curve(folder)}
                row |= {metric: metrics[f"test/{metric}"] for metric in SHOWN}
            row["minus"] = {other: ours.minus(theirs) for other, theirs in others.items()}
            gains = {other: ours.gains(others[other], genres) for model, other in options.gains if model == name}
            rows.append(row | ({"gains": gains} if gains else {}))
    return {"rows": rows}


def mean_log_odds(predicted: Sequence[Predicted]) -> Predicted:
    """Return the mean of several models' log-odds, as probabilities."""
    both = set.intersection(*(set(one) for one in predicted))
    clipped = {i: np.clip([one[i] for one in predicted], 1e-7, 1 - 1e-7) for i in both}
    return {i: 1 / (1 + np.exp(-np.log(p / (1 - p)).mean(axis=0))) for i, p in clipped.items()}


def main() -> None:
    """Train, compare, print."""
    parser = parser_for(__doc__, resumes=False)
    parser.add_argument("--configs", nargs="+", default=[], help="configurations to train; FILE*N: with N seeds")
    parser.add_argument("--splits", nargs="+", type=int, default=[0, 1, 2], help="values of --data.split_seed")
    parser.add_argument("--backends", nargs="+", default=["tensorflow", "jax"])
    parser.add_argument(
        "--fuse", nargs="*", default=[], help="NAME=CONFIG*2+CONFIG: kgenre fuse; NAME=mean(...): its --method mean"
    )
    parser.add_argument(
        "--mean", nargs="*", default=[], help="NAME=A+B: mean of log-odds of models or baselines; names as printed"
    )
    compared = "MODEL=OTHER, names as printed:"
    parser.add_argument("--gains", nargs="*", default=[], help=f"{compared} average precision of each genre")
    parser.add_argument("--differences", nargs="*", default=[], help=f"{compared} loss and mAP of each split")
    parser.add_argument("--plot", type=Path, default=None, metavar="FOLDER", help="draw losses and learning curves")
    parser.add_argument("--data.path", dest="path", default=None, help="the films; default: the sample set")
    parser.add_argument("--out", default="quality", help="folder for all runs, and for quality.json without --output")
    options = parser.parse_args()
    if options.render:
        with rendering(options.render) as results:
            rows = [row for each in results for row in each["rows"]]
            show({"rows": rows}, options.plot, options.differences, options.rows)
        return
    options.gains = [tuple(pair.split("=", 1)) for pair in options.gains]
    options.mean = [(name, parts.split("+")) for name, parts in (mean.split("=", 1) for mean in options.mean)]
    if not options.configs:
        parser.error("--configs is needed")
    runs = list(train(options))
    from kgenre.training.run_folder import environment

    result = {"date": datetime.date.today().isoformat(), "environment": environment()} | compare(options, runs)
    result["environment"].pop("backend", None)
    output = options.output or Path(options.out) / "quality.json"
    write(output, result)
    show(result, options.plot, options.differences)
    print(f"Written to {output}")


if __name__ == "__main__":
    main()
