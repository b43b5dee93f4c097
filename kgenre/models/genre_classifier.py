"""The module that trains any network of film genres."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from kgenre.callbacks import Callback
from kgenre.evaluation import multilabel_metrics
from kgenre.evaluation.baseline_comparison import BaselineComparison
from kgenre.training import Module, TrainerError

NETWORKS = ("poster_cnn_2024", "poster_cnn_2025", "overview_lstm")

# No `if TYPE_CHECKING: import keras`: the command line's parser resolves such imports, and would wait for a backend.


class GenreClassifier(Module):
    """Trains a network that gives one probability for each genre, from posters or overviews or both.

    The network's inputs are named after what they read: "poster", float32 (B, H, W, 3) pixels in [0, 1], and
    "overview", int32 (B, T) token ids. The loss is binary cross-entropy, the mean over films and genres; every number
    of an evaluation is exact, over all its films.

    Args:
        network: the name of one of `kgenre.models` ("poster_cnn_2024", "poster_cnn_2025", "overview_lstm"), a function
            that builds a Keras model, or a Keras model. A function is given those of ``genres``, ``image_size`` and
            ``vocabulary_size`` that it takes, once the data are known.
        network_args: more arguments for it, such as ``{"embedding_dim": 265}``.
        learning_rate: of Adam.

    Example:
        >>> module = GenreClassifier("poster_cnn_2024", learning_rate=1e-4)
        >>> Trainer(max_epochs=40).fit(module, datamodule=FilmData("films", overviews=False))
    """

    def __init__(
        self,
        network: str | Callable[..., Any] = "poster_cnn_2024",
        network_args: dict[str, Any] | None = None,
        learning_rate: float = 1e-4,
    ) -> None:
        self.save_hyperparameters()
        if learning_rate <= 0:
            raise TrainerError(f"learning_rate must be above 0. Received: {learning_rate}")
        if isinstance(network, str) and network not in NETWORKS:
            raise TrainerError(f"network is one of {', '.join(NETWORKS)}. Received: {network!r}")
        self.network = network
        self.network_args = network_args or {}
        self.learning_rate = learning_rate
        self.model: Any = None  # a keras.Model, once the data are known
        self.genre_names: tuple[str, ...] = ()
        self._sizes: dict[str, Any] = {}
        self._evaluated: list[dict[str, Any]] = []

    # --- the network ------------------------------------------------------------------------------------------------

    def setup(self, stage: str) -> None:
        """Learn from the data how large the network is."""
        data = self.trainer.datamodule
        if data is not None and hasattr(data, "genre_names"):
            self._take(list(data.genre_names), {"image_size": data.image_size, "vocabulary_size": data.vocabulary_size})

    def _take(self, genre_names: list[str], sizes: dict[str, Any]) -> None:
        if self.model is not None and len(genre_names) != self.model.output_shape[-1]:
            raise TrainerError(
                f"The network has {self.model.output_shape[-1]} outputs, the data have {len(genre_names)} genres. "
                "Build it for as many."
            )
        self.genre_names, self._sizes = tuple(genre_names), sizes

    def configure_model(self) -> None:
        """Build the network for the data's genres."""
        if self.model is None:
            self.model = self._build()
        missing = [name for name in self.inputs if name not in ("poster", "overview")]
        if missing:
            raise TrainerError(
                f"The network's inputs must be named 'poster' or 'overview'. Received: {', '.join(missing)}."
            )
        data = self.trainer.datamodule if self._trainer else None
        for name in self.inputs:
            if data is not None and not getattr(data, f"{name}s", True):
                raise TrainerError(f"The network reads {name}s, but the data leave them out: set --data.{name}s true.")

    def _build(self) -> Any:
        import kgenre.models

        if hasattr(self.network, "layers"):  # a Keras model, built by the user
            return self.network
        builder = self.network if callable(self.network) else getattr(kgenre.models, self.network)
        takes = inspect.signature(builder).parameters
        sizes = {name: value for name, value in self._sizes.items() if name in takes}
        unknown = [name for name in self.network_args if name not in takes]
        if unknown:
            raise TrainerError(f"network_args: {builder.__name__} takes {', '.join(takes)}. Received: {unknown[0]!r}")
        genres = {"genres": len(self.genre_names)} if self.genre_names else {}
        return builder(**genres | sizes | self.network_args)

    @property
    def inputs(self) -> list[str]:
        """What the network reads: "poster", "overview" or both."""
        return [tensor.name for tensor in self.model.inputs]

    # --- steps ------------------------------------------------------------------------------------------------------

    def probabilities(self, batch: dict[str, Any], training: bool = False) -> Any:
        """The network's output for a batch: float32 (B, genres). Pixels are scaled to [0, 1] here and nowhere else."""
        from keras import ops

        read = {name: batch[name] for name in self.inputs}
        if "poster" in read:
            read["poster"] = ops.cast(read["poster"], "float32") / 255.0
        return self.model(read if len(read) > 1 else next(iter(read.values())), training=training)

    def training_step(self, batch: dict[str, Any], batch_idx: Any) -> Any:
        """Mean cross-entropy of the batch's films; rows of weight 0 only fill it up."""
        from keras import losses, ops

        each = losses.binary_crossentropy(batch["genres"], self.probabilities(batch, training=True))
        films = ops.sum(batch["weight"])
        loss = ops.sum(each * batch["weight"]) / ops.maximum(films, 1.0)
        self.log("train/loss", loss, on_step=False, on_epoch=True, prog_bar=True, batch_size=films)
        self.log("train/loss_step", loss)
        return loss

    def validation_step(self, batch: dict[str, Any], batch_idx: Any) -> dict[str, Any]:
        """The predictions with their truth, collected for exact metrics."""
        kept = ("genres", "index", "weight")
        return {"probabilities": self.probabilities(batch), **{name: batch[name] for name in kept}}

    def test_step(self, batch: dict[str, Any], batch_idx: Any) -> dict[str, Any]:
        """As in validation."""
        return self.validation_step(batch, batch_idx)

    def predict_step(self, batch: dict[str, Any], batch_idx: Any) -> dict[str, Any]:
        """As in validation."""
        return self.validation_step(batch, batch_idx)

    def configure_optimizers(self) -> Any:
        """Adam."""
        import keras

        return keras.optimizers.Adam(self.learning_rate)

    def configure_callbacks(self) -> list[Callback]:
        """The baselines stand beside every result."""
        return [BaselineComparison()]

    # --- exact metrics over all films of an evaluation --------------------------------------------------------------

    def on_validation_epoch_start(self) -> None:
        """Forget the last evaluation."""
        self._evaluated = []

    def on_validation_batch_end(self, outputs: dict[str, Any], batch: Any, batch_idx: int) -> None:
        """Collect; the tensors stay on the device."""
        self._evaluated.append(outputs)

    def on_validation_epoch_end(self) -> None:
        """Log the metrics of the validation films."""
        self._log_metrics("val")

    def on_test_epoch_start(self) -> None:
        """Forget the last evaluation."""
        self._evaluated = []

    def on_test_batch_end(self, outputs: dict[str, Any], batch: Any, batch_idx: int) -> None:
        """Collect; the tensors stay on the device."""
        self._evaluated.append(outputs)

    def on_test_epoch_end(self) -> None:
        """Log the metrics of the test films."""
        self._log_metrics("test")

    def _log_metrics(self, stage: str) -> None:
        truth, probabilities = self._collect()
        shown = ("loss", "map") if stage == "val" else ()
        for name, value in multilabel_metrics(truth, probabilities).items():
            self.log(f"{stage}/{name}", value, prog_bar=name in shown)

    def _collect(self) -> tuple[np.ndarray, np.ndarray]:
        evaluated, self._evaluated = self.trainer.engine.to_host(self._evaluated), []
        real = np.concatenate([outputs["weight"] for outputs in evaluated]) > 0
        truth = np.concatenate([outputs["genres"] for outputs in evaluated])
        return truth[real], np.concatenate([outputs["probabilities"] for outputs in evaluated])[real]

    # --- what a checkpoint needs to predict without the films ------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the genres and sizes."""
        checkpoint["classifier"] = {"genre_names": list(self.genre_names), "sizes": self._sizes}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take them back."""
        if "classifier" in checkpoint:
            self._take(checkpoint["classifier"]["genre_names"], checkpoint["classifier"]["sizes"])
