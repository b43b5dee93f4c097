"""The thresholds that a checkpoint of `GenreClassifier` stores were tuned for its weights."""

import keras
import numpy as np
import pytest
from boring import quiet_trainer
from keras import layers

from kgenre import checkpoints
from kgenre.callbacks import EarlyStopping, ModelCheckpoint
from kgenre.data import FilmData, make_sample_films
from kgenre.evaluation import tune_thresholds
from kgenre.models import GenreClassifier

pytestmark = pytest.mark.usefixtures("in_tmp_path")


def classifier():
    pixels = keras.Input((2, 2, 3), name="poster")
    start = keras.initializers.RandomNormal(seed=0)
    output = layers.Dense(2, activation="sigmoid", kernel_initializer=start)(layers.Flatten()(pixels))
    return GenreClassifier(keras.Model(pixels, output), learning_rate=0.3)


def batches(count, seed=0):
    rng = np.random.default_rng(seed)
    return [
        {
            "poster": rng.integers(0, 256, (8, 2, 2, 3), "uint8"),
            "genres": rng.integers(0, 2, (8, 2)).astype("float32"),
            "index": np.arange(8, dtype="int32"),
            "weight": np.ones(8, "float32"),
        }
        for _ in range(count)
    ]


def stored(trainer):
    """Return the stored overall threshold of each checkpoint, by step; None if it has none."""
    states = map(checkpoints.read_state, (trainer.run_dir / "checkpoints").glob("*/"))
    found = {state["global_step"]: state["classifier"]["thresholds"] for state in states}
    return {step: thresholds and thresholds["overall"] for step, thresholds in sorted(found.items())}


def test_only_validated_checkpoints_have_thresholds():
    every_epoch, module = ModelCheckpoint(monitor=None, every_n_epochs=1, save_top_k=-1), classifier()
    options = {"max_epochs": 5, "check_val_every_n_epoch": 2, "enable_checkpointing": True}
    trainer = quiet_trainer(**options, callbacks=every_epoch)
    trainer.fit(module, batches(2), validation := batches(3, seed=1))
    found = stored(trainer)
    assert [step for step, threshold in found.items() if threshold is not None] == [4, 8]
    assert list(found) == [2, 4, 6, 8, 10]
    assert module.thresholds is None, "its weights are those of step 10"
    for step in (4, 8):
        path = next((trainer.run_dir / "checkpoints").glob(f"*{step:06}"))
        quiet_trainer().validate(module, validation, ckpt_path=path, verbose=False)
        assert module.thresholds.overall == pytest.approx(found[step])


def test_a_fit_without_validation_has_no_thresholds_of_an_earlier_one():
    module, trainer = classifier(), quiet_trainer(enable_checkpointing=True)
    trainer.fit(module, batches(2), batches(3))
    assert stored(trainer)[2] == module.thresholds.overall
    trainer.fit(module, batches(2))
    assert stored(trainer) == {2: None}
    assert module.thresholds is None


def test_a_resumed_fit_keeps_the_thresholds_of_its_checkpoint():
    module, trainer = classifier(), quiet_trainer(enable_checkpointing=True)
    trainer.fit(module, batches(2), batches(3))
    again = classifier()
    quiet_trainer().fit(again, batches(2), batches(3), ckpt_path=trainer.run_dir)
    assert again.thresholds == module.thresholds is not None


def test_restored_best_weights_have_no_thresholds_of_the_last_ones():
    module, stop = classifier(), EarlyStopping("val/loss", mode="max", patience=9, restore_best_weights=True)
    quiet_trainer(max_epochs=3, callbacks=stop).fit(module, batches(2), batches(3))
    assert module.thresholds is None


class Logs(GenreClassifier):
    """Also logs a value of each test batch."""

    def test_step(self, batch, batch_idx):
        outputs = super().test_step(batch, batch_idx)
        self.log("test/mean", keras.ops.mean(outputs["probabilities"]))
        return outputs


@pytest.mark.parametrize("limit", [None, 0])
def test_a_test_tunes_thresholds_that_its_checkpoint_lacks(sample, limit):
    films = FilmData(str(sample), image_size=(8, 8), overviews=False, batch_size=16)
    trainer = quiet_trainer(enable_checkpointing=True, limit_val_batches=0)
    trainer.fit(GenreClassifier("poster_colours", learning_rate=0.01), datamodule=films)
    run, module = trainer.run_dir, Logs("poster_colours")
    [found] = quiet_trainer(limit_val_batches=limit).test(module, datamodule=films, ckpt_path=run, verbose=False)
    assert ("test/tuned_f1_micro" in found) == (module.thresholds is not None) == (limit is None)
    assert found["test/films"] == len(films.split.test)
    untuned = Logs("poster_colours")
    [plain] = quiet_trainer(limit_val_batches=0).test(untuned, datamodule=films, ckpt_path=run, verbose=False)
    assert "test/mean" in plain, "only of the test films"
    common = [name for name in plain if name in found and not name.startswith("test/interval/")]
    assert {name: found[name] for name in common} == pytest.approx({name: plain[name] for name in common}, nan_ok=True)
    if limit is None:
        validated = GenreClassifier("poster_colours")
        quiet_trainer().validate(validated, datamodule=films, ckpt_path=run, verbose=False)
        assert module.thresholds == validated.thresholds


def test_a_validation_of_other_films_leaves_the_thresholds_of_the_run(sample, tmp_path):
    other = make_sample_films(tmp_path / "other", n=40, seed=1)
    films, others = (FilmData(str(path), overviews=False, image_size=(8, 8)) for path in (sample, other))
    module, trainer = GenreClassifier("poster_colours", learning_rate=0.01), quiet_trainer()
    trainer.fit(module, datamodule=films)
    own = module.thresholds
    [found] = trainer.validate(module, datamodule=others, verbose=False)
    assert found["val/threshold"] == tune_thresholds(module.evaluation.true, module.evaluation.prob).overall
    assert found["val/threshold"] != own.overall
    assert module.thresholds == own
    [again] = trainer.validate(module, datamodule=films, verbose=False)
    assert again["val/threshold"] == own.overall
