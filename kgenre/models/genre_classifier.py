"""The module that trains any film-genre network."""

from __future__ import annotations

from typing import Any

from kgenre.callbacks import Callback
from kgenre.evaluation import Thresholds
from kgenre.evaluation.baseline_comparison import BaselineComparison
from kgenre.evaluation.tensorboard_views import TensorBoardViews
from kgenre.models.build_network import adapt_to_films, build_network, check_network, check_shapes, posters_to_adapt_to
from kgenre.models.classifier_arguments import check_arguments
from kgenre.models.exact_evaluation import ExactEvaluation
from kgenre.models.genre_losses import LOSSES
from kgenre.models.learned_meaning import (
    check_same_genres,
    check_same_vocabulary_size,
    check_same_words,
    numbered_genres,
    vocabulary_hash,
)
from kgenre.models.log_odds import frequencies, log_odds
from kgenre.models.mixing import cutmix, mixup
from kgenre.models.named_network import stored_name
from kgenre.models.networks import NETWORKS
from kgenre.models.optimizers import backbones, cosine_rate, make_optimizer, weights_of
from kgenre.training import TrainerError

# No `if TYPE_CHECKING: import keras`: the command line's parser executes such imports, and a backend is slow to import.


class GenreClassifier(ExactEvaluation):
    """Trains a network that predicts one probability for each genre, from posters or overviews or both.

    The network's inputs are named after what they read: "poster", float32 (B, H, W, 3) pixels in [0, 1], and
    "overview", int32 (B, T) token ids. The loss is binary cross-entropy, the mean over films and genres. Before the
    first step of a new network, its layers with a method ``adapt_to_films`` receive `FilmData.training_films`, to
    initialise word vectors, idf and the genres' log-odds; ``adapts_to_posters`` says how many posters a layer needs.
    If the method returns something, the following layers of the network receive that instead.

    A run stores the name of your own function. Programs that read the run import it again if ``KGENRE_ALLOW_IMPORT``
    names its file (a checkpoint may come from a stranger), or if it has been imported already.

    Metrics and thresholds are those of `ExactEvaluation`.

    Args:
        network: poster_cnn_2024, poster_cnn_2025, poster_resnet, poster_resnet_colours, poster_colours, overview_lstm,
            overview_lstm_pooled, overview_lstm_words, overview_words, poster_overview_fusion, fused; or your own
            function that builds a Keras model, as "file.function" (or the function, or the model). It receives
            whichever of ``genres``, ``image_size``, ``vocabulary_size`` and ``pretrained`` it names; the last is True
            for a new network and False if a checkpoint's weights will be loaded, so that it need not load any. The
            model's inputs are ``keras.Input(..., name="poster")``, pixels from 0 to 1, or "overview", token ids, or
            both; its output is one probability for each genre.
        network_args: its other arguments, such as ``{"embedding_dim": 265}``.
        learning_rate: of the optimizer; with "cosine" its peak.
        optimizer: "adam", or "sgd" with momentum 0.9.
        layer_optimizers: other settings for the weights of some layers, by layer name or regular expression: their
            ``optimizer``, ``learning_rate`` and ``weight_decay``, such as ``{"Words": {"optimizer":
            "sgd", "learning_rate": 0.5}}``. The first that matches a layer, or a model that contains it, is used.
        weight_decay: decoupled from the loss, as in AdamW; not for biases and normalisation.
        schedule: "constant", or "cosine": from ``learning_rate`` to 0 over the steps of the fit.
        warmup: share of the steps over which the rate of "cosine" rises from 0.
        loss: the training loss: "binary_crossentropy", "weighted_binary_crossentropy", "focal" or "asymmetric"
            (`kgenre.models.genre_losses`). Validation and test always report the cross-entropy.
        label_smoothing: training targets are ``(1 - label_smoothing) y + label_smoothing f``, f the genre's frequency.
        mirror: validation, test and prediction use the mean log-odds of a poster and its mirror image.
        members: train this many copies of the network side by side, each with its own weights and loss;
            validation, test and prediction use the mean of their log-odds. Training takes that many times as long.
        mixup: alpha of `mixup` on training posters, such as 0.2; 0: off. For networks that read posters only.
        cutmix: alpha of `cutmix`, likewise, such as 1.0. With both, a batch is blended first, then pasted.

    Raises:
        TrainerError: an invalid argument.

    Example:
        >>> module = GenreClassifier("poster_cnn_2024", learning_rate=1e-4)
        >>> Trainer(max_epochs=40).fit(module, datamodule=FilmData("films", overviews=False))
    """

    def __init__(
        self,
        network: Any = "poster_cnn_2024",  # with a function type, the command line would offer to configure one
        network_args: dict[str, Any] | None = None,
        learning_rate: float = 1e-4,
        mixup: float = 0.0,
        cutmix: float = 0.0,
        weight_decay: float = 0.0,
        schedule: str = "constant",
        warmup: float = 0.0,
        loss: str = "binary_crossentropy",
        label_smoothing: float = 0.0,
        mirror: bool = False,
        optimizer: str = "adam",
        layer_optimizers: dict[str, dict[str, Any]] | None = None,
        members: int = 1,
    ) -> None:
        self.save_hyperparameters()
        self.hparams.network = stored_name(network, network_args or {})
        check_arguments(locals())
        check_network(network, network_args or {}, members)
        self.network, self.members = network, members
        self.network_args = network_args or {}
        self.learning_rate, self.optimizer = learning_rate, optimizer
        self.layer_optimizers = layer_optimizers or {}
        self.mixup, self.cutmix = mixup, cutmix
        self.weight_decay, self.schedule, self.warmup = weight_decay, schedule, warmup
        self.loss, self.label_smoothing, self.mirror = loss, label_smoothing, mirror
        self._mixing_seed: Any = None  # a keras.random.SeedGenerator
        self.model: Any = None  # a keras.Model, once the data are known
        self.genre_names: tuple[str, ...] = ()
        self._sizes: dict[str, Any] = {}  # those that the network is built for
        self._vocabulary = ""  # the `vocabulary_hash` that its token ids refer to; "" if unknown
        self._will_load_weights = False  # whether a checkpoint's weights will be loaded
        self._frequencies: Any = None  # (G,), of the genres among the training films

    # --- the network ------------------------------------------------------------------------------------------------

    def setup(self, stage: str) -> None:
        """Get the network's sizes and the training films from the data."""
        if self.trainer.ckpt_path is None:
            self._will_load_weights = False  # those of a run that failed before its network was built
        data: Any = self.trainer.datamodule  # a user's own may have only part of `FilmData`'s attributes
        if hasattr(data, "genre_names"):
            sizes = {name: getattr(data, name) for name in ("image_size", "vocabulary_size") if hasattr(data, name)}
            self._set_sizes(self._checked_genres(data, stage), sizes)
        if stage == "fit" and hasattr(data, "training_films"):
            self._frequencies = frequencies(data.training_films()["genres"])
        elif stage == "fit" and (self.label_smoothing or self.loss == "weighted_binary_crossentropy"):
            raise TrainerError(
                "label_smoothing and weighted_binary_crossentropy need a datamodule with training_films."
            )

    def _checked_genres(self, data: Any, stage: str) -> list[str]:
        """Return the names of the outputs; with weights, check that genres and words are those they were trained on."""
        names, vocabulary = list(data.genre_names), vocabulary_hash(getattr(data, "vocabulary", None))
        has_weights = self.model is not None or self._will_load_weights
        if has_weights and stage == "predict":  # such films may have other genres or none
            names = list(self.genre_names) or names
        elif has_weights:
            check_same_genres(self.genre_names, names)
        if has_weights and (self.model is None or "overview" in self.inputs):
            check_same_words(self._vocabulary, vocabulary)
            if self.model is not None and stage == "fit":
                own, requested = self._sizes.get("vocabulary_size"), getattr(data, "vocabulary_size", None)
                check_same_vocabulary_size(own, requested)
        if not has_weights or stage == "fit":
            self._vocabulary = vocabulary
        return names

    def prepare_for(self, genre_names: list[str], sizes: dict[str, Any]) -> None:
        """Build the network without a trainer.

        Args:
            genre_names: names of the columns of ``genres``.
            sizes: the data's ``image_size`` and ``vocabulary_size``.
        """
        self._set_sizes(genre_names, sizes)
        self.configure_model()

    def _set_sizes(self, genre_names: list[str], sizes: dict[str, Any]) -> None:
        self.genre_names = tuple(genre_names)
        if self.model is None:
            self._sizes = sizes
        else:  # the network keeps its own: data to test with the same words may have another vocabulary_size
            self._check_outputs(len(genre_names))

    def _check_outputs(self, genres: int | None) -> None:
        """Refuse data with another number of genres than the network has outputs; 0 or None: it is not known."""
        outputs = self.model.output_shape[-1]
        if genres and genres != outputs:
            raise TrainerError(
                f"The network has {outputs} outputs, but the data have {genres} genres. "
                "Build it with the function's argument genres."
            )

    def configure_model(self) -> None:
        """Build the network for the data's genres."""
        is_new = self.model is None
        if is_new:
            sizes = self._sizes | ({"genres": len(self.genre_names)} if self.genre_names else {})
            sizes["pretrained"] = not self._will_load_weights
            self.model = build_network(self.network, self.network_args, sizes, self.members)
            self._check_outputs(len(self.genre_names))
        self._check_inputs()
        if is_new and not self._will_load_weights:
            self._adapt_to_films()
        if not self.genre_names:  # unknown for batches without a datamodule
            self.genre_names = numbered_genres(self.model.output_shape[-1])
        self._prepare_mixing()

    def _check_inputs(self) -> None:
        missing = [name for name in self.inputs if name not in ("poster", "overview")]
        if missing:
            raise TrainerError(
                f"The network's inputs must be named 'poster' or 'overview'. Received: {', '.join(missing)}."
            )
        data = self.trainer.datamodule if self._trainer else None
        for name in self.inputs:
            # Of a user's own data, ``posters`` may be an array of them.
            if getattr(data, f"{name}s", True) is False:
                raise TrainerError(
                    f"The network reads {name}s, but the data do not include them: set --data.{name}s true."
                )

    def _adapt_to_films(self) -> None:
        data: Any = self.trainer.datamodule if self._trainer and self.trainer.stage == "fit" else None
        if not hasattr(data, "training_films"):
            return
        posters = posters_to_adapt_to(self.model)
        adapt_to_films(self.model, data.training_films(posters=posters) if posters else data.training_films())

    def _prepare_mixing(self) -> None:
        import keras

        if not (self.mixup or self.cutmix):
            return
        if self.inputs != ["poster"]:
            raise TrainerError(
                "mixup and cutmix need a network that reads posters only. Received: a network that reads "
                f"{' and '.join(f'{name}s' for name in self.inputs)}."
            )
        if self._mixing_seed is None:
            self._mixing_seed = keras.random.SeedGenerator()

    @property
    def inputs(self) -> list[str]:
        """What the network reads: "poster", "overview" or both."""
        return [tensor.name for tensor in self.model.inputs]

    # --- steps ------------------------------------------------------------------------------------------------------

    def probabilities(self, batch: dict[str, Any], training: bool = False, mirror: bool | None = None) -> Any:
        """Return the network's output for a batch, float32 (B, genres). Only here are pixels scaled to [0, 1].

        Args:
            batch: what the network reads, as in the batches of `FilmData`.
            training: with dropout and the like.
            mirror: average with the mirrored poster; None: the module's ``mirror``, except in training.
        """
        read = self._read(batch)
        output = self._output(read, training)
        mirror = self.mirror and not training if mirror is None else mirror
        if not mirror or "poster" not in read:
            return output
        from keras import ops

        mirrored = self._output(read | {"poster": ops.flip(read["poster"], axis=2)}, training)
        return ops.sigmoid((log_odds(output) + log_odds(mirrored)) / 2)

    def _output(self, read: dict[str, Any], training: bool) -> Any:
        from keras import ops

        from kgenre.models.side_by_side import call_inputs

        return ops.cast(self.model(call_inputs(self.model, read), training=training), "float32")

    def _read(self, batch: dict[str, Any]) -> dict[str, Any]:
        from keras import ops

        for name in self.inputs:
            if name not in batch:
                raise TrainerError(f"This model reads {name}s: give the film's {name} (--{name}).")
        read = {name: ops.convert_to_tensor(batch[name]) for name in self.inputs}  # NumPy arrays, too (`encode`)
        check_shapes(self.model, read)
        if "poster" in read:
            read["poster"] = ops.cast(read["poster"], "float32") / 255.0
        return read

    def training_step(self, batch: dict[str, Any], batch_idx: Any) -> Any:
        """Return the mean loss of the batch's films, summed over members; rows of weight 0 are padding.

        A subclass that overrides it should log "train/loss", the mean loss of an epoch, as well: reports draw the
        learning curve from it.
        """
        from keras import ops

        from kgenre.models.side_by_side import each_member

        if missing := [name for name in ("genres", "weight") if name not in batch]:
            names = ", ".join(missing)
            raise TrainerError(f"The loss needs each film's {names}: in the batches, as FilmData's have them.")
        read, genres = self._read(batch), batch["genres"]
        for mix, alpha in ((mixup, self.mixup), (cutmix, self.cutmix)):
            if alpha:
                read["poster"], genres = mix(read["poster"], genres, alpha, self._mixing_seed)
        self._check_outputs(genres.shape[-1])  # of batches without a datamodule
        if self.label_smoothing:
            # Not `+`, for which torch would convert the genres to NumPy, which a GPU's cannot be.
            genres = ops.add((1 - self.label_smoothing) * genres, self.label_smoothing * self._frequencies)
        # A user's network may return half precision, in which 1 - 1e-7 is 1.
        members = [ops.cast(output, "float32") for output in each_member(self.model, read, training=True)]
        costs = sum(LOSSES[self.loss](genres, output, self._frequencies) for output in members)
        films = ops.sum(batch["weight"])
        loss = ops.sum(ops.mean(costs, axis=-1) * batch["weight"]) / ops.maximum(films, 1.0)
        mean = loss / len(members)
        self.log("train/loss", mean, on_step=False, on_epoch=True, prog_bar=True, batch_size=films)
        self.log("train/loss_step", mean)
        if not (self.mixup or self.cutmix):
            self._log_decisions(batch["genres"], sum(members) / len(members), batch["weight"])
        return loss  # the sum: each member receives the gradient that it would receive alone

    def _log_decisions(self, genres: Any, probabilities: Any, weight: Any) -> None:
        """Log micro precision and recall at 0.5. Batch values weighted by their denominators average to the epoch's."""
        from keras import ops

        predicted = ops.cast(probabilities > 0.5, "float32") * weight[:, None]
        right = ops.sum(predicted * genres)
        for name, count in (("precision", ops.sum(predicted)), ("recall", ops.sum(genres * weight[:, None]))):
            value = right / ops.maximum(count, 1.0)
            self.log(f"train/{name}", value, on_step=False, on_epoch=True, batch_size=count)

    def validation_step(self, batch: dict[str, Any], batch_idx: Any) -> dict[str, Any]:
        """Return the predictions and the true genres, collected for exact metrics; films to predict may have none.

        Test and prediction have the same step; overriding this one changes validation only. To change the predictions
        everywhere, override `probabilities`.
        """
        kept = ("genres", "index", "weight")
        return {"probabilities": self.probabilities(batch), **{name: batch[name] for name in kept if name in batch}}

    test_step = predict_step = validation_step

    def configure_optimizers(self) -> Any:
        """Return Adam or SGD, with schedule and weight decay; another for each of ``layer_optimizers`` and backbone."""
        own: dict[str, Any] = {
            "optimizer": self.optimizer,
            "learning_rate": self.learning_rate,
            "weight_decay": self.weight_decay,
            "schedule": self.schedule,
        }
        given = dict(self.layer_optimizers)
        for name in backbones(self):
            given[name] = given.get(name, {}) | {"schedule": "constant"}
        if not given:
            return self._optimizer(**own)
        groups: dict[str, dict[str, Any]] = {}
        for name, settings in given.items():
            groups.setdefault(weights_of(self, name), own | settings)
        return {pattern: self._optimizer(**settings) for pattern, settings in (groups | {".*": own}).items()}

    def _optimizer(self, optimizer: str, learning_rate: float, weight_decay: float, schedule: str) -> Any:
        cosine = schedule == "cosine"
        rate = cosine_rate(learning_rate, self.warmup, self.trainer) if cosine else learning_rate
        return make_optimizer(optimizer, rate, weight_decay)

    def configure_callbacks(self) -> list[Callback]:
        """Compare every result with the baselines, and show more than curves in TensorBoard."""
        return [BaselineComparison(), TensorBoardViews()]

    # --- what a checkpoint needs to predict without the films ------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Store the genres, the vocabulary, the sizes, and the thresholds if they were tuned for these weights."""
        thresholds = self._current_thresholds
        checkpoint["classifier"] = {
            "genre_names": list(self.genre_names),
            "vocabulary": self._vocabulary if "overview" in self.inputs else "",
            "sizes": self._sizes,
            "inputs": self.inputs,
            "thresholds": thresholds and thresholds.to_json(self.genre_names),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the genres, vocabulary, sizes and thresholds.

        Raises:
            TrainerError: the checkpoint belongs to a different network of kgenre's.
        """
        self._will_load_weights = True
        if "classifier" in checkpoint:
            kept = checkpoint["classifier"]
            saved, current = checkpoint.get("model", {}).get("hyperparameters", {}).get("network"), self.hparams.network
            if saved != current and {saved, current} <= set(NETWORKS):
                reads = " and ".join(f"{name}s" for name in kept["inputs"])
                raise TrainerError(
                    f"The checkpoint's network is {saved}, which reads {reads}, but this model's is {current}. Use the "
                    "config of the checkpoint's run or none (--config, --model.network), or a different run's "
                    "checkpoint (--ckpt_path)."
                )
            # JSON has lists only, and a user's function may have ``image_size + (3,)``.
            sizes = {name: tuple(size) if isinstance(size, list) else size for name, size in kept["sizes"].items()}
            self._set_sizes(kept["genre_names"], sizes)
            # Unknown in older checkpoints and fused ones, which still have the words of `FilmData`.
            words = (checkpoint.get("data", {}).get("state") or {}).get("vocabulary")
            of_data = vocabulary_hash(words) if "overview" in kept.get("inputs", ()) else ""
            self._vocabulary = kept.get("vocabulary") or of_data
            self.thresholds = kept.get("thresholds") and Thresholds.from_json(kept["thresholds"], kept["genre_names"])
            self._tuned_at = checkpoint.get("global_step")
