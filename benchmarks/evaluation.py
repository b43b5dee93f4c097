"""What do metrics, TensorBoard and the report cost? Seconds of each, beside what they add to.

    python benchmarks/evaluation.py --only metrics                 # a minute
    python benchmarks/evaluation.py --output evaluation.json       # all: trains networks on sample films, ten minutes
    python benchmarks/evaluation.py --render evaluation.json

metrics      CPU seconds of one core, the median of three, beside scikit-learn's average precision and ROC AUC
tensorboard  fits of the 2024 CNN with the default loggers and with the CSV logger only, in turn. Two fits differ by
             more than the effect, so the time in the methods of the logger and the views is also added up and divided
             by the time of the fit. Views are written every fourth epoch, as in the network's 40 epochs and at the end.
report       the whole command: imports, loading both networks, explanations, PDF, HTML and Markdown
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")  # metrics run on one core; backends have their own threads

import numpy as np  # noqa: E402
from kgenre_fit import fit  # noqa: E402
from markdown_table import table_row  # noqa: E402
from processes import run_python  # noqa: E402
from ratio import ratio_with_interval  # noqa: E402
from result_file import about, listed, origin, parser_for, print_rendered, write  # noqa: E402

PARTS = ("metrics", "tensorboard", "report")
CONFIGS = Path(__file__).parent.parent / "configs"


def median_of(action: Callable[[], Any], repeats: int, clock: Callable[[], float]) -> float:
    times = []
    for _ in range(repeats):
        begun = clock()
        action()
        times.append(clock() - begun)
    return float(np.median(times))


def measure_metrics(films: int = 8000, genres: int = 25, rounds: int = 200, repeats: int = 3) -> list[dict[str, Any]]:
    """Measure CPU seconds: all metrics with intervals; average precision and ROC AUC once, ours and scikit-learn's."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    from kgenre.evaluation import bootstrap_metrics, genre_metrics, multilabel_metrics, tune_thresholds
    from kgenre.evaluation.ranking import Ranking

    rng = np.random.default_rng(0)
    true = rng.random((films, genres)) < rng.uniform(0.01, 0.5, genres)
    prob = np.clip(0.5 * rng.random(true.shape) + 0.2 * true, 0, 1)
    thresholds = tune_thresholds(true, prob)

    def everything() -> None:
        multilabel_metrics(true, prob, thresholds=thresholds)
        genre_metrics(true, prob, thresholds=thresholds)
        bootstrap_metrics(true, prob, thresholds, rounds=rounds)

    def scikit_learn() -> None:
        for g in range(genres):
            average_precision_score(true[:, g], prob[:, g])
            roc_auc_score(true[:, g], prob[:, g])

    size = f"{films:,} films x {genres} genres"
    ours = median_of(lambda: Ranking(true, prob).scores(np.ones(films, np.int64)), repeats, time.process_time)
    theirs = median_of(scikit_learn, repeats, time.process_time)
    return [
        {
            "what": f"all metrics with {rounds} bootstrap rounds, {size}, one core",
            "value": median_of(everything, repeats, time.process_time),
            "unit": "CPU s",
            "target": 5.0,
        },
        {"what": f"average precision and ROC AUC once, {size}", "value": ours, "unit": "CPU s"},
        {"what": "the same with scikit-learn", "value": theirs, "unit": "CPU s"},
    ]


def measure_tensorboard(data: Any, root: Path, epochs: int, rounds: int) -> list[dict[str, Any]]:
    """Time fits of the 2024 CNN with and without a `TensorBoardLogger`, in turn.

    The noise between two fits is larger than the difference, so the time in the logger's and the views' own hooks is
    measured too.
    """
    from kgenre import Trainer
    from kgenre.evaluation.tensorboard_views import TensorBoardViews
    from kgenre.loggers import CSVLogger, TensorBoardLogger
    from kgenre.models import GenreClassifier

    seconds: dict[str, list[float]] = {"default": [], "without": []}
    shares, size = [], 0
    for number in range(rounds + 1):
        for arm in seconds:
            spent = [0.0]
            loggers = [CSVLogger(), *([timed(TensorBoardLogger(), spent)] if arm == "default" else [])]
            # Views every fourth epoch, as in the network's usual 40 epochs.
            views = timed(TensorBoardViews(times=max(epochs // 4, 1)), spent)
            trainer = Trainer(
                max_epochs=epochs,
                logger=loggers,
                callbacks=[views],
                default_root_dir=str(root),
                name=arm,
                enable_model_summary=False,
                enable_progress_bar=False,
            )
            begun = time.perf_counter()
            trainer.fit(GenreClassifier("poster_cnn_2024"), datamodule=data)
            took = time.perf_counter() - begun
            if number:  # the first round, which decodes the posters, does not count
                seconds[arm].append(took)
                if arm == "default":
                    shares.append(100 * spent[0] / took)
                    size = sum(path.stat().st_size for path in trainer.run_dir.rglob("events.out.tfevents.*"))
    ratio, low, high = ratio_with_interval(seconds["default"], seconds["without"])
    network = f"the 2024 CNN, {epochs} epochs of {data.split.sizes[0]} films"
    return [
        {
            "what": f"TensorBoard's share of a fit of {network}",
            "value": float(np.median(shares)),
            "range": [min(shares), max(shares)],
            "unit": "%",
            "target": 3.0,
        },
        {
            "what": "time of the fits with TensorBoard / without, ratio of medians",
            "value": ratio,
            "range": [low, high],
            "unit": "",
            "seconds": seconds,
        },
        {"what": "event files of a run of 50 epochs", "value": size / 1e6 * 50 / epochs, "unit": "MB", "target": 20.0},
    ]


def timed(thing: Any, spent: list[float]) -> Any:
    """Make a logger or callback add the seconds in its hooks to ``spent[0]``; a hook within a hook counts once."""

    def wrapped(method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            before, begun = spent[0], time.perf_counter()
            try:
                return method(*args, **kwargs)
            finally:
                spent[0] = before + time.perf_counter() - begun

        return call

    hooks = ("on_fit_start", "on_validation_end", "on_fit_end", "open", "log_metrics", "log_text", "log_hyperparams")
    for name in (*hooks, "finalize"):
        if hasattr(thing, name):
            setattr(thing, name, wrapped(getattr(thing, name)))
    return thing


def measure_report(films: Path, root: Path) -> list[dict[str, Any]]:
    """Time the whole command `kgenre report` for two runs: imports, explanations, three files."""
    few = ["--data.path", films, "--trainer.max_epochs", 2, "--test", "true"]
    names = ("poster_cnn_2024", "overview_lstm_2024")
    runs = [fit("--config", CONFIGS / f"{name}.yaml", *few, root=root, name=name) for name in names]

    def report() -> None:
        run_python("-m", "kgenre", "report", *runs, "--out", root / "report")

    report()  # not timed: fills the disk cache
    before = os.times()
    wall = median_of(report, 3, time.perf_counter)
    after = os.times()
    cpu = (after.children_user + after.children_system - before.children_user - before.children_system) / 3
    what = "kgenre report of two runs (poster CNN, overview LSTM), the whole command"
    return [
        {"what": what, "value": wall, "unit": "s", "target": 20.0},
        {"what": "the same, CPU time", "value": cpu, "unit": "CPU s"},
    ]


def render(results: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    where = origin(results, f"{results['cpu']}, {results['cores']} cores")
    lines = [
        f"{where}; backend {results['backend']}; {listed(results['versions'])}. "
        f"Load of the machine at the start: {results['load']:.1f}.",
        "",
        table_row(["what", "measured", "target"]),
        "|---|---:|---:|",
    ]
    for row in results["rows"]:
        unit = f" {row['unit']}" if row["unit"] else ""
        between = " [{:.3g}, {:.3g}]".format(*row["range"]) if "range" in row else ""
        target = f"≤ {row['target']:g}{unit}" if "target" in row else ""
        lines.append(table_row([row["what"], f"{row['value']:.3g}{between}{unit}", target]))
    return "\n".join(lines) + "\n"


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Measure all requested parts."""
    import keras

    from kgenre.data import FilmData, make_sample_films
    from kgenre.training.run_folder import environment

    results, rows = about("evaluation") | {"load": os.getloadavg()[0]}, []
    if "metrics" in options.only:
        rows += measure_metrics()
    with tempfile.TemporaryDirectory() as folder:
        films = make_sample_films(Path(folder) / "films", n=options.films) if options.only != ["metrics"] else None
        if "tensorboard" in options.only:
            rows += measure_tensorboard(FilmData(films, overviews=False), Path(folder), options.epochs, options.rounds)
        if "report" in options.only:
            rows += measure_report(films, Path(folder))
    versions = environment()["versions"]
    return results | {
        "backend": keras.backend.backend(),
        "versions": {name: versions[name] for name in ("keras", "numpy", "scikit-learn", "tensorboard")},
        **{name: getattr(options, name) for name in ("films", "epochs", "rounds")},
        "rows": rows,
    }


def main() -> None:
    """Measure, print the table, write the JSON."""
    parser = parser_for(__doc__, resumes=False)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--films", type=int, default=1500, help="sample films to train on")
    parser.add_argument("--epochs", type=int, default=8, help="epochs of each fit with and without TensorBoard")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of these fits")
    options = parser.parse_args()
    if print_rendered(options, render):
        return
    results = measure(options)
    write(options.output, results)
    print(render(results), end="")


if __name__ == "__main__":
    main()
