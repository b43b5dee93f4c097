"""A callback for a film model's views in TensorBoard, and in other loggers that take pictures, besides its curves."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kgenre.callbacks.callback import Callback
from kgenre.data.film_table import FilmTable
from kgenre.data.overview_text import shortened
from kgenre.evaluation.film_pictures import co_occurrence_image, panel_image
from kgenre.evaluation.film_predictions import predicted_genres, top_genres
from kgenre.evaluation.gradient_sample import GradientSample
from kgenre.evaluation.projector import write_projector
from kgenre.lightning_arguments import explain_arguments
from kgenre.loggers import TensorBoardLogger, takes_pictures

if TYPE_CHECKING:
    from kgenre.evaluation.evaluation import Evaluation
    from kgenre.training.module import Module
    from kgenre.training.trainer import Trainer

_LAYOUT = {
    "Loss and ranking": {"loss": ["^loss$"], "ranking": ["^map$", "^roc_auc$", "^top3_hit$"]},
    "Precision, recall and F1": {
        "precision at 0.5": ["^precision$"],
        "recall at 0.5": ["^recall$"],
        "F1 at 0.5": ["^f1_micro$", "^f1_macro$"],
        "F1 at tuned thresholds": ["^tuned_f1_"],
    },
    "Speed and learning rate": {"speed": ["^throughput/samples_per_second$"], "learning rate": ["^lr-"]},
}


class TensorBoardViews(Callback):
    """Writes pictures and distributions of the validation films to a `TensorBoardLogger`, if there is one.

    The pictures and the text go to every logger that takes pictures (`WandbLogger`, `MLFlowLogger`).

    At the first validation, the last and about eight in between: a precision-recall curve for each genre and for all
    together, histograms of weights, gradients and probabilities, which genres are predicted for the films of each true
    genre, and the same few films with true and predicted genres. Once: the graph of the model, the layout of Custom
    Scalars, and for the Projector the vectors of words and genres.

    Args:
        times: about how often a run writes its views.
        films: number of films in the panel.
        gradients: show the gradients of the last training step; they become part of the compiled step and, up to 4,096
            entries of each weight, of the checkpoint. False: their running mean, if the optimizer keeps it (Adam's
            first moment).

    Example:
        >>> Trainer(callbacks=[TensorBoardViews(gradients=True)]).fit(module, datamodule=films)
    """

    @explain_arguments
    def __init__(self, times: int = 10, films: int = 8, gradients: bool = False) -> None:
        if min(times, films) < 1:
            raise ValueError(f"times and films must be at least 1. Received: times={times}, films={films}")
        self.times = times
        self.films = films
        self.step_part = GradientSample() if gradients else None
        self._validations = 0
        self._left_out: int | None = None  # the step of the latest validation, if its views were not due

    def on_fit_start(self, trainer: Trainer, module: Module) -> None:
        """Write the graph and the layout; a run that continues in its folder has them."""
        self._left_out = None
        if not trainer.resumed:
            self._validations = 0
        elif trainer.ckpt_path is not None and trainer.run_dir in trainer.ckpt_path.parents:
            return
        model = getattr(module, "model", None)
        for logger in _loggers(trainer):
            logger.log_layout(_LAYOUT)
            if model is not None:
                logger.log_graph(model)

    def on_validation_end(self, trainer: Trainer, module: Module) -> None:
        """Write the views at every n-th validation."""
        evaluation = getattr(module, "evaluation", None)
        if trainer.stage != "fit" or trainer.sanity_checking or evaluation is None:
            return
        self._validations += 1
        # Validations of the whole fit at this pace; one per epoch if its number of steps is unknown.
        planned = self._validations * trainer.estimated_stepping_batches / max(trainer.global_step, 1)
        if math.isinf(planned):
            planned = 100 if math.isinf(trainer.max_epochs) else trainer.max_epochs
        due = (self._validations - 1) % max(math.ceil(planned / self.times), 1) == 0
        self._left_out = None if due else trainer.global_step
        if due:
            self._write(trainer, module, evaluation, trainer.global_step)

    def on_fit_end(self, trainer: Trainer, module: Module) -> None:
        """Write the last validation's views, and the Projector's files, with the current weights."""
        # Not if the run was interrupted: once resumed, it shows the same views as a run without interruption.
        evaluation, model = getattr(module, "evaluation", None), getattr(module, "model", None)
        if self._left_out is not None and not trainer.interrupted and evaluation is not None:
            self._write(trainer, module, evaluation, self._left_out)
        if _loggers(trainer) and trainer.run_dir is not None and model is not None:
            vocabulary = getattr(trainer.datamodule, "vocabulary", [])
            genre_names = getattr(module, "genre_names", ())
            write_projector(trainer.run_dir, model, vocabulary, genre_names, trainer.engine.to_host)

    def state_dict(self) -> dict[str, Any]:
        """Return the number of validations so far, so that a resumed run keeps its schedule."""
        return {"validations": self._validations}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue counting."""
        self._validations = state["validations"]

    def _write(self, trainer: Trainer, module: Module, evaluation: Evaluation, step: int) -> None:
        names, true, prob = getattr(module, "genre_names", ()), evaluation.true, evaluation.prob
        for logger in _loggers(trainer):
            curves = {f"genre/{name}": (true[:, g], prob[:, g]) for g, name in enumerate(names) if true[:, g].any()}
            logger.log_pr_curves({"all genres": (true.ravel(), prob.ravel())} | curves, step)
            logger.log_histograms(_weights(trainer, self.step_part) | {"probabilities": prob}, step)
        pictured = [logger for logger in trainer.results.loggers if takes_pictures(logger)]
        if not (pictured and len(names)):
            return
        predicted = predicted_genres(prob, getattr(module, "thresholds", None))
        pictures, panel = {}, None
        if true.any():
            pictures["co-occurrence"] = co_occurrence_image(true, predicted, names)
        if isinstance(table := getattr(trainer.datamodule, "table", None), FilmTable):
            chosen = np.unique(np.linspace(0, len(prob) - 1, self.films).astype(int))
            films = table.subset(evaluation.rows[chosen])
            pictures["films/posters"] = panel_image(films, true[chosen], predicted[chosen], names)
            panel = _panel_text(films, prob[chosen], names)
        for album in pictured:
            for name, picture in pictures.items():
                album.log_image(name, picture, step)
            if panel is not None:
                album.log_text("films/overviews", panel, step)


def _panel_text(films: Any, prob: np.ndarray, names: Sequence[str]) -> str:
    rows = ["| film | overview | true | most probable |", "| --- | --- | --- | --- |"]
    for n, best in enumerate(top_genres(prob, 3)):
        said = ", ".join(f"{names[g]} {prob[n, g]:.2f}" for g in best)
        cells = (films.titles[n] or films.ids[n], shortened(films.overviews[n]), ", ".join(films.genres_of(n)), said)
        rows.append("| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows)


def _weights(trainer: Trainer, sample: GradientSample | None) -> dict[str, np.ndarray]:
    """Return the weights, and the gradients in ``sample``, else their running mean if the optimizer keeps it (Adam)."""
    from keras.optimizers import Adam, Lamb, Lion, Nadam

    built, state, found = trainer.engine.built, trainer.engine.state_dict(), {}
    if sample is not None:
        kept = [sample.prefix]
    else:  # others' momentums, such as SGD's, are steps: scaled by the rate, and opposite to the gradients
        keeps_mean = [isinstance(optimizer, Adam | Lamb | Lion | Nadam) for optimizer in built.optimizers]
        kept = [f"optimizers.{i}.momentums." for i, keeps in enumerate(keeps_mean) if keeps]
    paths: Counter[str] = Counter()
    for name, variable in built.variables.items():
        path = getattr(variable, "path", name)  # with the layer's own name, as "Conv0/kernel"
        paths[path] += 1
        title = f"{path} ({paths[path]})" if paths[path] > 1 else path  # an ensemble's networks have the same layers
        found[f"weights/{title}"] = state[name]
        keys = [f"{prefix}{name}" for prefix in kept]
        found |= {f"gradients/{title}": state[key] for key in keys if key in state}  # untrained weights have none
    return {n: a for n, a in found.items() if a.size > 1 and np.issubdtype(a.dtype, np.floating)}


def _loggers(trainer: Trainer) -> list[TensorBoardLogger]:
    if trainer.run_dir is None:
        return []
    return [logger for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]
