"""What evaluation costs: metrics with bootstrap intervals, the report, TensorBoard's views.

    python benchmarks/evaluation.py --only metrics
    python benchmarks/evaluation.py --output evaluation.json     # all: trains the 2024 CNN on the sample films, minutes

One core for the metrics (set before NumPy starts), in seconds of that core. A run with views and one without are
trained in alternation; the difference of their medians is what TensorBoard's views cost.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import numpy as np  # noqa: E402


def measure_metrics(films: int = 8000, genres: int = 25, rounds: int = 200, repeats: int = 3) -> dict[str, float]:
    """CPU seconds of all metrics and of their intervals; of ours and of scikit-learn's for one round of mAP and AUC."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    from kgenre.evaluation import bootstrap_metrics, multilabel_metrics, tune_thresholds
    from kgenre.evaluation.ranking import Ranking

    rng = np.random.default_rng(0)
    true = rng.random((films, genres)) < rng.uniform(0.01, 0.5, genres)
    prob = np.clip(0.5 * rng.random(true.shape) + 0.2 * true, 0, 1)
    thresholds = tune_thresholds(true, prob)

    def seconds(action: object) -> float:
        times = []
        for _ in range(repeats):
            begun = time.process_time()
            action()
            times.append(time.process_time() - begun)
        return statistics.median(times)

    return {
        "metrics_seconds": seconds(lambda: multilabel_metrics(true, prob, thresholds=thresholds)),
        "bootstrap_seconds": seconds(lambda: bootstrap_metrics(true, prob, thresholds, rounds=rounds)),
        "ap_and_auc_once_seconds": seconds(lambda: Ranking(true, prob).scores(np.ones(films))),
        "ap_and_auc_once_scikit_learn_seconds": seconds(
            lambda: [
                (average_precision_score(true[:, g], prob[:, g]), roc_auc_score(true[:, g], prob[:, g]))
                for g in range(genres)
            ]
        ),
    }


def measure_runs(epochs: int, rounds: int) -> dict[str, float]:
    """Train the 2024 CNN with and without views; then the report of two runs."""
    from kgenre import Trainer
    from kgenre.data import FilmData
    from kgenre.evaluation.tensorboard_views import TensorBoardViews
    from kgenre.models import GenreClassifier
    from kgenre.reports import write_report

    class NoViews(TensorBoardViews):
        def on_fit_start(self, *_: object) -> None: ...
        def on_validation_end(self, *_: object) -> None: ...
        def on_fit_end(self, *_: object) -> None: ...

    class Plain(GenreClassifier):
        def configure_callbacks(self) -> list:
            return [NoViews() if isinstance(c, TensorBoardViews) else c for c in super().configure_callbacks()]

    data = FilmData()
    seconds: dict[str, list[float]] = {"views": [], "plain": []}
    folders = []
    with tempfile.TemporaryDirectory() as root:
        for _ in range(rounds):
            for name, kind in (("plain", Plain), ("views", GenreClassifier)):
                trainer = Trainer(
                    max_epochs=epochs,
                    default_root_dir=root,
                    name=name,
                    enable_model_summary=False,
                    enable_progress_bar=False,
                )
                module = kind("poster_cnn_2024")
                begun = time.perf_counter()
                trainer.fit(module, datamodule=data)
                seconds[name].append(time.perf_counter() - begun)
                if name == "views":
                    folders.append(trainer.run_dir)
                    trainer.test(module, datamodule=data, ckpt_path="best", verbose=False)
        size = sum(path.stat().st_size for path in folders[0].rglob("events.out.tfevents.*"))
        begun = time.perf_counter()
        write_report((folders * 2)[:2] if len(folders) > 1 else folders, Path(root) / "report", explain=True)
        report = time.perf_counter() - begun
    plain, views = statistics.median(seconds["plain"]), statistics.median(seconds["views"])
    return {
        "fit_plain_seconds": plain,
        "fit_with_views_seconds": views,
        "views_share": views / plain - 1,
        "event_bytes_per_50_epochs": size * 50 / epochs,
        "report_seconds": report,
    }


def main() -> None:
    """Measure and print, or write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("metrics", "runs"))
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    results = {}
    if options.only != "runs":
        results |= measure_metrics()
    if options.only != "metrics":
        results |= measure_runs(options.epochs, options.rounds)
    for name, value in results.items():
        print(f"| {name} | {value:.4g} |")
    if options.output:
        options.output.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
