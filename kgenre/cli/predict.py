"""``kgenre predict``: the genres of one film, or of a folder of films."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kgenre.cli.usage import UsageError, writing_below

if TYPE_CHECKING:
    import numpy as np
    from jsonargparse import Namespace

    from kgenre.cli.parser import Parser
    from kgenre.data.kept_films import KeptFilms


def run(arguments: Sequence[str]) -> int:
    """Predict with everything that a checkpoint holds: network, genres, vocabulary, picture size."""
    parser = _parser()
    options = parser.parse_args(list(arguments))
    one = options.poster is not None or options.overview is not None
    if one == (options.data.path is not None):
        raise UsageError("kgenre predict takes one film (--poster FILE, --overview TEXT) or many (--data.path FOLDER).")
    if one and options.out is not None:
        raise UsageError("--out FILE is for the table of many films (--data.path): one film's genres are printed.")
    if options.json and not one:
        raise UsageError("--json is for one film (--poster, --overview): many are written into a table, --out FILE.")
    if options.top < 1:
        raise UsageError(f"--top takes 1 or more. Received: {options.top}")
    from kgenre.checkpoints import find_checkpoint, read_state
    from kgenre.cli.quiet_backend import import_backend
    from kgenre.data.kept_films import KeptFilms

    checkpoint = find_checkpoint(options.ckpt_path)
    state = read_state(checkpoint)
    kept = KeptFilms.of_run(state)
    if kept is None or "classifier" not in state:
        raise UsageError(f"{checkpoint} holds no GenreClassifier trained on films: kgenre predict cannot use it.")
    path = None if one else _table_path(checkpoint, options.out)
    import_backend(data=not one, extras=False)  # many films are batched by TensorFlow
    from kgenre.data import FilmData
    from kgenre.models.trained_classifier import load_classifier

    module = load_classifier(checkpoint)
    films = FilmData.load_from_checkpoint(checkpoint, path=options.data.path, format=options.data.format)
    # A poster network needs no overviews to predict, even if its training data had them.
    films.posters, films.overviews = "poster" in module.inputs, "overview" in module.inputs
    if path is not None:
        return _predict_many(module, films, path, options, kept)
    batch = films.encode(
        None if options.poster is None else [options.poster], None if options.overview is None else [options.overview]
    )
    # The trainer compiles the model as a whole: eagerly, JAX would compile some hundred operations one by one.
    predicted = _trainer().predict(module, dataloaders=[batch])[0]
    _print_one(predicted["probabilities"][0], films.genre_names, module, options)
    return 0


def _trainer(progress: bool = False) -> Any:
    from kgenre.training import Trainer

    return Trainer(logger=False, enable_checkpointing=False, enable_progress_bar=progress, enable_model_summary=False)


def _parser() -> Parser:
    from kgenre.cli.parser import Parser

    parser = Parser(
        prog="kgenre predict",
        description="Predict the genres of one film or of every film in a folder: those above their tuned thresholds.",
    )
    parser.add_argument(
        "--ckpt_path", type=str, required=True, help="the folder of a run (its best checkpoint) or of a checkpoint"
    )
    parser.add_argument("--poster", type=str, default=None, help="an image file")
    parser.add_argument("--overview", type=str, default=None, help="the film's plot in a sentence or two")
    parser.add_argument("--data.path", type=str, default=None, help="a folder or table of films")
    parser.add_argument("--data.format", type=str, default="auto", help="the table's layout, if it is not recognised")
    parser.add_argument("--out", type=str, default=None, help="the table of many films (default: RUN/predictions.csv)")
    parser.add_argument("--top", type=int, default=3, help="number of genres to print, or to name in the table")
    parser.add_argument("--json", action="store_true", help="print one film's genres as JSON")
    return parser


def _print_one(probabilities: np.ndarray, names: Sequence[str], module: Any, options: Namespace) -> None:
    from kgenre.evaluation.film_predictions import predicted_genres, top_genres

    predicted = predicted_genres(probabilities[None], module.thresholds)[0]
    best = top_genres(probabilities[None], options.top)[0]
    if options.json:
        genres = [
            {"genre": names[i], "probability": round(float(probabilities[i]), 6), "predicted": bool(predicted[i])}
            for i in best
        ]
        print(json.dumps({"genres": genres}))
        return
    width = max(len(names[i]) for i in best)
    for i in best:
        print(f"{names[i]:<{width}}  {probabilities[i]:.3f}{'  predicted' if predicted[i] else ''}")


def _table_path(checkpoint: Path, out: str | None) -> Path:
    """Return the path of the table of many films; report one that cannot be written before they are predicted."""
    run_dir = checkpoint.parent.parent if checkpoint.parent.name == "checkpoints" else Path()
    path = run_dir / "predictions.csv" if out is None else Path(os.path.expanduser(out))  # the ~ of --out=~/films.csv
    if path.is_dir():
        raise UsageError(f"--out takes a file, such as {path / 'predictions.csv'}. Received a folder: {path}")
    folder = path.parent
    while out is not None and not folder.exists():
        folder = folder.parent
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise UsageError(f"{folder} cannot be written to: choose another file for the table with --out.")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _predict_many(module: Any, films: Any, path: Path, options: Namespace, run: KeptFilms) -> int:
    import numpy as np

    from kgenre.evaluation.film_predictions import write_predictions
    from kgenre.models import GenreClassifier
    from kgenre.models.networks import NETWORKS

    films.setup("predict")
    # Those of kgenre ignore padding; a fused one may contain a user's.
    by_length = type(module) is GenreClassifier and module.network in NETWORKS and module.network != "fused"
    source = films.batches_by_length() if by_length else films.predict_dataloader()
    batches = _trainer(progress=True).predict(module, dataloaders=source)
    real = np.concatenate([batch["weight"] for batch in batches]) > 0
    rows, prob = (np.concatenate([batch[name] for batch in batches])[real] for name in ("index", "probabilities"))
    rows, prob = rows[order := np.argsort(rows)], prob[order]
    predicted = films.table.subset(rows)  # without films whose streamed posters turned out to be bad
    with writing_below(path, "choose another file for the table with --out"):
        write_predictions(path, predicted, prob, module.thresholds, options.top)
    print(f"{len(predicted):,} films: {path}")
    if seen := run.seen_in_training(predicted).sum():
        print(
            f"{seen:,} of them were used to train or tune this model, so it looks better here than it is: judge it by "
            "predictions_test.csv."
        )
    return 0
