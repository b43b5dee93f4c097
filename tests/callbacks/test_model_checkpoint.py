"""ModelCheckpoint: which checkpoints are written and kept, and what ``best`` and ``last`` point to."""

import contextlib
import errno
import shutil
import signal
import threading
import time
from pathlib import Path

import keras
import numpy as np
import pytest
from boring import BoringModule, Lambdas, boring_batches, quiet_trainer, weights_of

import kgenre
from kgenre.callbacks import LambdaCallback, ModelCheckpoint
from kgenre.callbacks.kept_checkpoints import KeptCheckpoints
from kgenre.callbacks.monitor import MonitorError
from kgenre.checkpoints import find_checkpoint, read_checkpoint, write_checkpoint

pytestmark = [pytest.mark.one_backend("jax"), pytest.mark.usefixtures("in_tmp_path")]
SCORES = [5.0, 3.0, 4.0, 2.0, 6.0]


class Scores(BoringModule):
    """Logs one score per epoch, in the given hook."""

    def __init__(self, scores=SCORES, hook="on_validation_epoch_end"):
        super().__init__()
        self.scores = scores
        setattr(self, hook, self.log_score)

    def log_score(self):
        if not self.trainer.sanity_checking:
            self.log("val/score", self.scores[self.current_epoch])

    def validation_step(self, batch, batch_idx):
        pass


def fit(checkpoint, epochs=5, module=None, val=True, ckpt_path=None, **arguments):
    trainer = quiet_trainer(max_epochs=epochs, callbacks=checkpoint, enable_checkpointing=True, **arguments)
    trainer.fit(module or Scores(), boring_batches(1), boring_batches(1) if val else None, ckpt_path=ckpt_path)
    folder = trainer.log_dir / "checkpoints"
    kept = sorted(int(path.name.removeprefix("step=")) for path in folder.glob("step=*"))
    pointers = {name: (folder / name).read_text().strip() for name in ("best", "last") if (folder / name).exists()}
    assert [path for path in folder.iterdir() if path.name.startswith(".")] == []
    return kept, {name: int(target.removeprefix("step=")) for name, target in pointers.items()}


# With one step per epoch, steps 1 2 3 4 5 have the scores 5 3 4 2 6.
@pytest.mark.parametrize(
    ("arguments", "kept", "best"),
    [
        ({}, [4, 5], 4),
        ({"mode": "max"}, [5], 5),
        ({"save_top_k": 2}, [2, 4, 5], 4),
        ({"save_top_k": 2, "mode": "max"}, [1, 5], 5),
        ({"save_top_k": -1}, [1, 2, 3, 4, 5], 4),
        ({"save_top_k": 0}, [5], None),
        ({"save_last": False}, [4], 4),
        ({"save_last": False, "save_top_k": 3}, [2, 3, 4], 4),
        ({"every_n_epochs": 2}, [4], 4),
        ({"every_n_epochs": 3}, [3], 3),
    ],
    ids=str,
)
def test_kept_checkpoints(arguments, kept, best):
    checkpoint = ModelCheckpoint(**{"monitor": "val/score", **arguments})
    found, pointers = fit(checkpoint)
    assert found == kept
    assert pointers.get("best") == best
    assert pointers["last"] == kept[-1]
    if best is None:
        assert checkpoint.best_model_path is checkpoint.best_model_score is None
    else:
        assert checkpoint.best_model_path.name == f"step={best:06d}"
        assert checkpoint.best_model_score == SCORES[best - 1]


def test_paths_and_scores_of_what_is_kept():
    checkpoint = ModelCheckpoint("val/score", save_top_k=2)
    assert (checkpoint.dirpath, checkpoint.best_k_models) == (None, {})
    fit(checkpoint)
    folder = Path("runs/scores/version_0/checkpoints")
    assert checkpoint.dirpath == folder
    assert list(checkpoint.best_k_models.items()) == [(folder / "step=000004", 2.0), (folder / "step=000002", 3.0)]
    assert checkpoint.best_model_path == folder / "step=000004"
    assert checkpoint.last_model_path == folder / "step=000005"


def test_saving_neither_best_nor_last_keeps_nothing(in_tmp_path):
    trainer = quiet_trainer(
        callbacks=ModelCheckpoint("val/score", save_top_k=0, save_last=False), enable_checkpointing=True
    )
    trainer.fit(Scores(), boring_batches(1), boring_batches(1))
    assert list(in_tmp_path.glob("**/step=*")) == []


@pytest.mark.parametrize("monitor", [None, "val/loss", "val/score"])
def test_newest_is_kept_while_there_is_no_best(monitor):
    module = Scores([float("nan")] * 3)
    assert fit(ModelCheckpoint(monitor, save_last=False), 3, module) == ([3], {"last": 3})


def test_removed_checkpoints_are_forgotten():
    checkpoint = ModelCheckpoint("val/score")
    fit(checkpoint)
    assert checkpoint.kept.names == {"step=000004", "step=000005"}


def test_each_validation_scores_one_checkpoint():
    best = ModelCheckpoint("val/score", save_top_k=3)
    assert fit(best, 5, check_val_every_n_epoch=2) == ([2, 4, 5], {"best": 4, "last": 5})
    assert best.kept.scores == {"step=000002": 3.0, "step=000004": 2.0}


def test_best_is_not_overwritten_by_a_later_batch_of_the_same_update():
    """Validations inside a group of accumulated batches: the weights are the same, BatchNorm statistics are not."""
    scores = {2: 3.0, 4: 1.0, 6: 2.0, 8: 3.0}

    class Inside(Scores):
        def log_score(self):
            if not self.trainer.sanity_checking:
                self.log("val/score", scores[self.trainer.batch_idx])

    checkpoint = ModelCheckpoint("val/score")
    trainer = quiet_trainer(
        accumulate_grad_batches=4, val_check_interval=2, callbacks=checkpoint, enable_checkpointing=True
    )
    trainer.fit(Inside(), boring_batches(8), boring_batches(1))
    assert (checkpoint.best_model_path.name, checkpoint.best_model_score) == ("step=000001", 1.0)
    assert read_checkpoint(checkpoint.best_model_path).state["batch"] == 4
    assert folders() == ["step=000001", "step=000002"]


def test_nan_is_never_the_best():
    assert fit(ModelCheckpoint("val/score"), 3, Scores([4.0, float("nan"), 5.0])) == ([1, 3], {"best": 1, "last": 3})
    assert fit(ModelCheckpoint("val/score"), 2, Scores([float("nan")] * 2)) == ([2], {"last": 2})


def test_monitor_logged_at_the_end_of_the_epoch():
    module = Scores(hook="on_train_epoch_end")
    assert fit(ModelCheckpoint("val/score"), 4, module, val=False) == ([4], {"best": 4, "last": 4})


def test_default_keeps_last_and_best_by_validation_loss():
    trainer = quiet_trainer(max_epochs=2, enable_checkpointing=True)
    trainer.fit(BoringModule(learning_rate=10.0), boring_batches(1), boring_batches(1))  # diverges
    folder = trainer.log_dir / "checkpoints"
    assert (trainer.checkpoint_callback.monitor, (folder / "best").read_text()) == ("val/loss", "step=000001\n")
    assert find_checkpoint(trainer.log_dir).name == "step=000001"
    assert (folder / "last").read_text() == "step=000002\n"


@pytest.mark.parametrize(
    ("logged", "sources", "named"),
    [("val_loss", 1, "val_loss"), ("val_loss", 2, "val_loss/dataloader_idx_0"), ("val/loss", 2, None), ("x", 1, None)],
)
def test_other_spelling_of_the_default_monitor_is_reported(logged, sources, named, caplog):
    class Logs(BoringModule):
        def validation_step(self, batch, batch_idx, dataloader_idx=0):
            self.log(logged, self.error(batch))

    batches = boring_batches(1)
    quiet_trainer(enable_checkpointing=True).fit(Logs(), batches, [batches] * sources)
    said = [message for message in caplog.messages if message.startswith("ModelCheckpoint ranks")]
    assert ["Did you mean " + m.partition("Did you mean ")[2] for m in said] == (
        [f"Did you mean ModelCheckpoint(monitor={named!r})?"] if named else []
    )


@pytest.mark.parametrize("monitor", ["val/loss", None])
def test_newest_is_kept_without_a_monitored_value(monitor):
    assert fit(ModelCheckpoint(monitor), 3) == ([3], {"last": 3})


@pytest.mark.parametrize("save_last", [True, False])
def test_save_top_k_minus_one_keeps_all_even_without_a_value(save_last):
    every = ModelCheckpoint(None, save_top_k=-1, every_n_epochs=2, save_last=save_last)
    assert fit(every, 5) == ([2, 4], {"last": 4})
    nan = ModelCheckpoint("val/score", save_top_k=-1)
    assert fit(nan, 3, Scores([4.0, float("nan"), 5.0])) == ([1, 2, 3], {"best": 1, "last": 3})


def test_missing_monitor_error_lists_the_logged_values():
    class More(Scores):
        def on_train_epoch_start(self):
            self.log("more", 1.0)

    with pytest.raises(MonitorError) as error:
        fit(ModelCheckpoint("val/f1"), module=More())
    assert str(error.value) == (
        "ModelCheckpoint(monitor='val/f1'): no such value was logged. Logged so far: more, train/loss, val/score."
    )


@pytest.mark.parametrize(
    ("monitor", "message"),
    [
        ("val_loss", r"no step logs this value. Did you mean 'val/loss'\? The steps log: train/loss, val/loss."),
        ("val/los", "Did you mean 'val/loss'"),
        ("accuracy", r"no step logs this value. The steps log"),
    ],
)
def test_impossible_monitor_fails_before_the_first_step(monitor, message):
    trainer = quiet_trainer(callbacks=ModelCheckpoint(monitor), enable_checkpointing=True)
    with pytest.raises(MonitorError, match=message):
        trainer.fit(BoringModule(), boring_batches(2), boring_batches(1))
    assert trainer.global_step == 0


@pytest.mark.parametrize("who", ["module", "callback"])
def test_monitor_that_a_hook_may_log_is_accepted(caplog, who):
    module = BoringModule()
    hooks = {"on_validation_epoch_end": lambda *_: module.log("val_loss", 1.0)}
    if who == "module":
        module.on_validation_epoch_end = hooks.pop("on_validation_epoch_end")
    callbacks = [ModelCheckpoint("val_loss"), LambdaCallback(**hooks)]
    assert fit(callbacks, 1, module) == ([1], {"best": 1, "last": 1})
    assert "no step logs this value, so a hook must log it. Did you mean 'val/loss'?" in caplog.text


def test_save_weights_only():
    fit(ModelCheckpoint("val/score", save_weights_only=True), 1)
    folder = find_checkpoint("runs/scores/version_0")
    assert read_checkpoint(folder).optimizer == {}


def test_validation_within_an_epoch_saves_a_checkpoint():
    trainer = quiet_trainer(
        max_epochs=1, val_check_interval=2, enable_checkpointing=True, callbacks=ModelCheckpoint(save_top_k=-1)
    )
    trainer.fit(BoringModule(), boring_batches(5), boring_batches(1))
    folders = sorted((trainer.log_dir / "checkpoints").glob("step=*"))
    assert [path.name for path in folders] == ["step=000002", "step=000004", "step=000005"]
    states = [read_checkpoint(path).state for path in folders]
    assert [(state["epoch"], state["batch"]) for state in states] == [(0, 2), (0, 4), (1, 0)]


@pytest.mark.parametrize("monitor", ["val/loss", None])
def test_sanity_check_saves_nothing(monitor):
    def look(trainer, module):
        seen.append([path.name for path in trainer.log_dir.glob("checkpoints/*")])

    seen, checkpoint = [], ModelCheckpoint(monitor, save_top_k=-1)
    callbacks = [checkpoint, Lambdas(on_sanity_check_end=look, on_train_start=look)]
    trainer = quiet_trainer(enable_checkpointing=True, num_sanity_val_steps=1, callbacks=callbacks)
    trainer.fit(BoringModule(), boring_batches(1), boring_batches(1))
    assert seen == [[], []]
    assert [path.name for path in checkpoint.folder.glob("step=*")] == ["step=000001"]


def test_validate_and_test_after_the_fit_save_nothing():
    trainer = quiet_trainer(enable_checkpointing=True)
    trainer.fit(BoringModule(), boring_batches(1), boring_batches(1))
    before = sorted(path.stat().st_mtime_ns for path in trainer.log_dir.glob("checkpoints/*"))
    trainer.validate(dataloaders=boring_batches(1), verbose=False)
    trainer.test(dataloaders=boring_batches(1), verbose=False)
    assert sorted(path.stat().st_mtime_ns for path in trainer.log_dir.glob("checkpoints/*")) == before


def test_old_checkpoint_stays_until_the_new_one_is_written(monkeypatch):
    """The disk is full at the second save: the first checkpoint and its pointers are untouched."""

    def fill_the_disk(trainer, module):
        if trainer.current_epoch == 1:
            monkeypatch.setattr("os.fsync", lambda descriptor: (_ for _ in ()).throw(OSError("No space left")))

    with pytest.raises(OSError, match="No space left"):
        fit([ModelCheckpoint("val/score"), Lambdas(on_train_epoch_start=fill_the_disk)])
    folder = find_checkpoint("runs/scores/version_0/checkpoints/last")
    assert find_checkpoint("runs/scores/version_0/checkpoints/best") == folder
    assert read_checkpoint(folder).state["global_step"] == 1


def test_resumed_run_knows_the_best():
    fit(ModelCheckpoint("val/score"), 2)
    checkpoint = ModelCheckpoint("val/score")
    trainer = quiet_trainer(max_epochs=3, callbacks=checkpoint, enable_checkpointing=True)
    trainer.fit(Scores(), boring_batches(1), boring_batches(1), ckpt_path="last")
    assert checkpoint.best_model_score == 3.0
    assert checkpoint.best_model_path.name == "step=000002"
    assert sorted(path.name for path in checkpoint.folder.glob("step=*")) == ["step=000002", "step=000003"]
    # A second fit with the same callback is a new run.
    trainer.max_epochs = 1
    trainer.fit(Scores(), boring_batches(1), boring_batches(1))
    assert trainer.log_dir.name == "version_1"
    assert checkpoint.best_model_score == 5.0


@pytest.mark.parametrize(("save_top_k", "best"), [(0, None), (1, "step=000002")])
def test_resuming_with_smaller_save_top_k_keeps_the_earlier_best(save_top_k, best):
    fit(ModelCheckpoint("val/score", save_top_k=3), 3)
    checkpoint = ModelCheckpoint("val/score", save_top_k=save_top_k)
    trainer = quiet_trainer(max_epochs=5, callbacks=checkpoint, enable_checkpointing=True)
    trainer.fit(Scores([5.0, 3.0, 4.0, 6.0, 6.0]), boring_batches(1), boring_batches(1), ckpt_path="last")
    assert folders() == [f"step=00000{n}" for n in (1, 2, 3, 5)]
    assert find_checkpoint("runs/scores/version_0/checkpoints/best").name == "step=000002"
    assert checkpoint.kept.best == best


def test_checkpoints_kept_by_a_larger_save_top_k_survive_two_resumes():
    fit(ModelCheckpoint("val/score", save_top_k=3), 3)
    for epochs in (4, 5):
        module = Scores([5.0, 3.0, 4.0, 6.0, 2.0])
        kept, pointers = fit(ModelCheckpoint("val/score"), epochs, module, ckpt_path="last")
    assert (kept, pointers["best"]) == ([1, 2, 3, 5], 5)


@pytest.mark.parametrize("save_top_k", [1, -1])
def test_pointers_that_a_killed_run_had_not_set_yet(save_top_k, in_tmp_path):
    """The newest checkpoint is on the disk and the best, and the run that is resumed from it has nothing left to do."""
    fit(ModelCheckpoint("val/score", save_top_k=save_top_k), 4)
    for pointer in in_tmp_path.glob("runs/*/*/checkpoints/[bl]*"):
        pointer.write_text("step=000002\n")
    _, pointers = fit(ModelCheckpoint("val/score", save_top_k=save_top_k), 4, ckpt_path="last")
    assert pointers == {"best": 4, "last": 4}


@pytest.mark.parametrize("which", ["best", "last"])
def test_best_and_last_of_the_run_can_be_tested(which):
    trainer = quiet_trainer(max_epochs=3, enable_checkpointing=True, callbacks=ModelCheckpoint("val/score"))
    trainer.fit(Scores(), boring_batches(1), boring_batches(1))
    trainer.test(dataloaders=boring_batches(1), ckpt_path=which, verbose=False)
    assert trainer.global_step == {"best": 2, "last": 3}[which]


@pytest.mark.parametrize(
    "arguments",
    [{"mode": "least"}, {"save_top_k": -2}, {"every_n_epochs": 0}, {"monitor": None, "save_top_k": 2}],
    ids=str,
)
def test_wrong_arguments(arguments):
    *_, (name, value) = arguments.items()
    with pytest.raises(ValueError, match=rf"{name}.*{value}"):
        ModelCheckpoint(**arguments)


def test_is_a_callback():
    assert isinstance(ModelCheckpoint(), kgenre.Callback)


# --- by steps, by time, on exceptions, with file names -------------------------------------------------------------


def folders(root="runs"):
    return sorted(path.name for path in Path(root).glob("**/checkpoints/*") if path.is_dir())


# Two epochs of 4 batches.
@pytest.mark.parametrize(
    ("every", "trainer_arguments", "steps"),
    [
        (3, {}, [3, 6]),
        (4, {}, [4, 8]),
        (100, {}, [8]),  # at the end of the fit, which is shorter
        (2, {"accumulate_grad_batches": 2}, [2, 4]),
        (1, {"max_steps": 2}, [1, 2]),
        (2, {"val_check_interval": 2}, [2, 4, 6, 8]),
    ],
    ids=str,
)
@pytest.mark.parametrize("validates", [True, False])
def test_every_n_train_steps(every, trainer_arguments, steps, validates):
    saved = []
    callbacks = [
        Lambdas(on_save_checkpoint=lambda trainer, module, state: saved.append(trainer.global_step)),
        ModelCheckpoint(save_top_k=-1, every_n_train_steps=every),
    ]
    trainer = quiet_trainer(max_epochs=2, callbacks=callbacks, enable_checkpointing=True, **trainer_arguments)
    trainer.fit(BoringModule(), boring_batches(4), boring_batches(1) if validates else None)
    assert saved == steps  # each once
    last = callbacks[1].last_model_path
    assert (read_checkpoint(last).state["global_step"] if last else None) == (steps[-1] if steps else None)


@pytest.mark.parametrize(
    ("at", "hook"), [(3, "on_train_batch_end"), (8, "on_train_batch_end"), (8, "on_validation_end")]
)
def test_end_of_a_resumed_fit_is_saved(at, hook):
    """As without the interruption, if none was due: those of the interruption and of the first end are not the end."""

    def interrupt(trainer, module, *arguments):
        if trainer.global_step == at and not trainer.resumed:
            signal.raise_signal(signal.SIGINT)

    written = []
    for ckpt_path, epochs, step in ((None, 2, at), ("last", 2, 8), ("last", 2, 8), ("last", 3, 12)):
        checkpoint = ModelCheckpoint(every_n_train_steps=100)
        callbacks = [Lambdas(**{hook: interrupt}), checkpoint]
        trainer = quiet_trainer(max_epochs=epochs, callbacks=callbacks, enable_checkpointing=True)
        trainer.fit(BoringModule(), boring_batches(4), boring_batches(1), ckpt_path=ckpt_path)
        assert folders() == [f"step={step:06d}"]
        is_the_end = not trainer.interrupted or hook == "on_validation_end"  # Ctrl-C waits for the end of the epoch
        assert sorted(checkpoint.kept.scores) == (folders() if is_the_end else [])
        written.append((checkpoint.last_model_path / "manifest.json").stat().st_mtime_ns)
    assert written[1] == written[2]  # a fit that has nothing to train does not write its end again


@pytest.mark.parametrize("arguments", [{"every_n_epochs": 1}, {"every_n_train_steps": 2}], ids=str)
def test_nothing_is_saved_again_where_nothing_was_trained(arguments):
    """Neither by a resumed fit that is complete, nor by one that fails before its first step."""

    def fail(trainer, module, *arguments):
        if trainer.max_steps == 4:
            raise Broken

    def fit(max_steps, ckpt_path):
        log = Lambdas(
            on_train_epoch_end=lambda trainer, module: module.log("train/mean", 1.0), on_train_batch_start=fail
        )
        checkpoint = ModelCheckpoint("train/mean", filename="{epoch}", save_on_exception=True, **arguments)
        trainer = quiet_trainer(max_steps=max_steps, callbacks=[log, checkpoint], enable_checkpointing=True)
        with contextlib.suppress(Broken):
            trainer.fit(BoringModule(), boring_batches(4), ckpt_path=ckpt_path)
        return folders()

    assert fit(2, None) == fit(2, "last") == fit(4, "last") == ["epoch=0"]


def test_waits_for_a_monitor_logged_per_epoch():
    """Within the first epoch, the epoch's mean does not exist yet, although validation has run."""

    class Mean(BoringModule):
        def training_step(self, batch, batch_idx):
            self.log("mean", loss := self.error(batch), on_step=False, on_epoch=True)
            return loss

    checkpoint = ModelCheckpoint("mean", every_n_train_steps=2)
    trainer = quiet_trainer(max_epochs=2, val_check_interval=1, callbacks=checkpoint, enable_checkpointing=True)
    trainer.fit(Mean(), boring_batches(4), boring_batches(1))
    assert checkpoint.best_model_path.name == "step=000008"
    assert checkpoint.best_model_score == trainer.callback_metrics["mean"]


class Rising(Scores):
    """Logs the number of updates as the score."""

    def log_score(self):
        if not self.trainer.sanity_checking:
            self.log("val/score", float(self.global_step))


def test_step_with_validation_due_is_scored_by_it():
    """Only steps 2 and 4 are validated, so only they can be the best."""
    checkpoint = ModelCheckpoint("val/score", mode="max", every_n_train_steps=1, save_top_k=-1)
    trainer = quiet_trainer(val_check_interval=2, callbacks=checkpoint, enable_checkpointing=True)
    trainer.fit(Rising(), boring_batches(4), boring_batches(1))
    assert checkpoint.kept.scores == {"step=000002": 2.0, "step=000004": 4.0}
    assert checkpoint.best_model_path.name == "step=000004"


@pytest.mark.parametrize("every", [1, 2, 3, 5])
def test_run_resumed_mid_epoch_equals_uninterrupted_run(every):
    """Weights and validation steps agree, even if validation was due at the step of the checkpoint."""

    def fit(max_steps, ckpt_path=None):
        places = []
        note = Lambdas(on_validation_end=lambda trainer, module: places.append(trainer.global_step))
        trainer = quiet_trainer(
            max_epochs=3,
            max_steps=max_steps,
            val_check_interval=2,
            num_sanity_val_steps=0,
            callbacks=[note, ModelCheckpoint(monitor=None, every_n_train_steps=every)],
            enable_checkpointing=True,
        )
        module = BoringModule()
        trainer.fit(module, boring_batches(4), boring_batches(1), ckpt_path=ckpt_path)
        return weights_of(module), places

    straight, places = fit(12)
    fit(5)
    went_on, later = fit(12, "last")
    assert all(np.array_equal(straight[name], went_on[name]) for name in straight)
    assert later == [place for place in places if place > 5 // every * every]


@pytest.mark.parametrize("monitor", [None, "val/score"])
def test_checkpoints_kept_by_minus_one_survive_resume(monitor):
    fit(ModelCheckpoint(monitor, save_top_k=-1), epochs=3)
    for epochs in (4, 5):
        kept, _ = fit(ModelCheckpoint(monitor), epochs=epochs, ckpt_path="last")
    assert kept == [1, 2, 3, *([4, 5] if monitor else [5])]


def test_train_time_interval(monkeypatch):
    now = 0.0
    monkeypatch.setattr("kgenre.callbacks.save_times.monotonic", lambda: now)

    def tick(trainer, module, batch, batch_idx):
        nonlocal now
        now += 10

    saved = []
    trainer = quiet_trainer(
        max_epochs=2,
        enable_checkpointing=True,
        callbacks=[
            Lambdas(on_train_batch_start=tick, on_save_checkpoint=lambda t, m, state: saved.append(t.global_step)),
            ModelCheckpoint(train_time_interval={"seconds": 25}),
        ],
    )
    trainer.fit(BoringModule(), boring_batches(4), boring_batches(1))
    assert saved == [3, 6]


class Broken(Exception):
    pass


@pytest.mark.parametrize("error", [Broken, KeyboardInterrupt])
@pytest.mark.parametrize(
    ("hook", "position"),
    [("on_train_batch_end", (0, 2)), ("on_train_batch_start", (0, 1)), ("on_validation_batch_end", (0, 4))],
)
def test_save_on_exception(error, hook, position):
    """The interrupted run continues where it was and ends like an uninterrupted one."""

    def fail(trainer, module, *arguments):
        if arguments[-1] == (1 if hook.startswith("on_train") else 0):
            raise error

    def fit(callback, ckpt_path=None):
        validations = []
        note = Lambdas(on_validation_end=lambda trainer, module: validations.append(trainer.global_step))
        trainer = quiet_trainer(
            max_epochs=2,
            num_sanity_val_steps=0,
            callbacks=[note, callback, ModelCheckpoint(monitor=None, save_on_exception=True)],
            enable_checkpointing=True,
        )
        module = BoringModule()
        try:
            trainer.fit(module, boring_batches(4), boring_batches(1), ckpt_path=ckpt_path)
        except Broken:
            assert error is Broken
        return weights_of(module), validations

    straight, validations = fit(Lambdas())
    fit(Lambdas(**{hook: fail}))
    (path,) = Path("runs/boring_module/version_1/checkpoints").glob("step=*")
    state = read_checkpoint(path).state
    assert (state["epoch"], state["batch"]) == position
    went_on, later = fit(Lambdas(), "last")
    assert all(np.array_equal(straight[name], went_on[name]) for name in straight)
    assert later == validations == [4, 8]


def test_interrupted_validation_still_scores_the_due_checkpoint():
    def fail(trainer, module, *arguments):
        if not trainer.resumed and trainer.global_step == 2:
            raise Broken

    checkpoint = ModelCheckpoint("val/score", save_top_k=-1, every_n_train_steps=2, save_on_exception=True)
    callbacks = [checkpoint, Lambdas(on_validation_batch_end=fail)]
    trainer = quiet_trainer(val_check_interval=2, callbacks=callbacks, enable_checkpointing=True)
    with pytest.raises(Broken):
        trainer.fit(Rising(), boring_batches(5), boring_batches(1))
    trainer.fit(Rising(), boring_batches(5), boring_batches(1), ckpt_path="last")
    assert checkpoint.kept.scores == {"step=000002": 2.0, "step=000004": 4.0}


def test_nothing_is_saved_on_an_exception_if_another_callback_saved_the_epoch():
    """A checkpoint of the new epoch's beginning would repeat its first hooks on resume."""

    def fail(trainer, module, batch, batch_idx):
        if trainer.global_step == 2:
            raise Broken

    callbacks = [
        Lambdas(on_train_batch_start=fail),
        ModelCheckpoint(monitor=None, every_n_train_steps=100, save_on_exception=True),
        ModelCheckpoint(monitor=None),
    ]
    trainer = quiet_trainer(max_epochs=2, callbacks=callbacks, enable_checkpointing=True)
    with pytest.raises(Broken):
        trainer.fit(BoringModule(), boring_batches(2))
    assert folders() == ["step=000002"]
    assert read_checkpoint(callbacks[2].last_model_path).state["epoch"] == 1


def test_error_of_one_callback_leaves_what_another_saved_of_the_epoch(monkeypatch):
    callbacks = [ModelCheckpoint(monitor=None), ModelCheckpoint(monitor=None, save_top_k=-1, save_on_exception=True)]
    monkeypatch.setattr(callbacks[1], "_save", lambda trainer: 1 / 0)
    trainer = quiet_trainer(callbacks=callbacks, enable_checkpointing=True)
    with pytest.raises(ZeroDivisionError):
        trainer.fit(BoringModule(), boring_batches(2))
    assert folders() == ["step=000002"]
    assert read_checkpoint(callbacks[0].last_model_path).state["epoch"] == 1


def test_failed_step_is_not_counted():
    def break_second_step(trainer, module):
        step, calls = trainer.engine.train_step, []

        def train_step(batch, update):
            calls.append(batch)
            if len(calls) == 2:
                raise Broken
            return step(batch, update=update)

        trainer.engine.train_step = train_step

    checkpoint = ModelCheckpoint(save_on_exception=True)
    trainer = quiet_trainer(
        callbacks=[checkpoint, Lambdas(on_train_start=break_second_step)], enable_checkpointing=True
    )
    with pytest.raises(Broken):
        trainer.fit(BoringModule(), boring_batches(4))
    state = read_checkpoint(checkpoint.last_model_path).state
    assert (state["batch"], state["global_step"]) == (1, 1)


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="other backends' steps change the variables in place")
def test_weights_that_lack_steps_are_not_saved_on_exception(caplog):
    """A step that fails in JAX (out of memory, say) destroys the weights; those of the epoch's start lack two steps."""

    def break_third_step(trainer, module):
        whole = trainer.engine._train

        def step(*arguments, **named):
            result = whole(*arguments, **named)
            if trainer.global_step == 6:
                raise Broken
            return result

        trainer.engine._train = step

    checkpoint = ModelCheckpoint(save_on_exception=True)
    callbacks = [checkpoint, Lambdas(on_train_start=break_third_step)]
    trainer = quiet_trainer(max_epochs=2, callbacks=callbacks, enable_checkpointing=True)
    with pytest.raises(Broken):
        trainer.fit(BoringModule(), boring_batches(4))
    assert folders() == ["step=000004"]
    assert "Nothing is saved" in caplog.text


def test_exception_saves_nothing_by_default_or_before_first_step():
    def fail(trainer, module, *arguments):
        raise Broken

    def fit(checkpoint, **hooks):
        trainer = quiet_trainer(callbacks=[checkpoint, Lambdas(**hooks)], enable_checkpointing=True)
        with pytest.raises(Broken):
            trainer.fit(BoringModule(), boring_batches(2))
        return folders()

    assert fit(ModelCheckpoint(), on_train_batch_end=fail) == []
    assert fit(ModelCheckpoint(save_on_exception=True), on_train_start=fail) == []
    assert fit(ModelCheckpoint(save_on_exception=True), on_train_batch_end=fail) == ["step=000001"]


@pytest.mark.parametrize(
    ("hook", "step"), [("on_train_batch_end", 1), ("on_train_batch_start", 1), ("on_validation_batch_end", 2)]
)
def test_keyboard_interrupt_of_a_hook_saves_like_ctrl_c(hook, step):
    def stop(trainer, module, *arguments):
        if trainer.global_step == step:
            raise KeyboardInterrupt

    callbacks = [ModelCheckpoint(), Lambdas(**{hook: stop})]
    trainer = quiet_trainer(callbacks=callbacks, enable_checkpointing=True, val_check_interval=2)
    trainer.fit(BoringModule(), boring_batches(4), boring_batches(1))
    assert trainer.interrupted
    assert folders() == [f"step=00000{step}"]


def test_ctrl_c_of_a_handler_that_the_program_has_set_saves_nothing():
    """It may be raised between any two lines of the loop, where the weights are a step ahead of the counters."""

    def handle(number, frame):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, handle)
    try:
        stop = Lambdas(on_train_batch_end=lambda *arguments: signal.raise_signal(signal.SIGINT))
        trainer = quiet_trainer(callbacks=[ModelCheckpoint(), stop], enable_checkpointing=True)
        trainer.fit(BoringModule(), boring_batches(4), boring_batches(1))
    finally:
        signal.signal(signal.SIGINT, before)
    assert trainer.interrupted
    assert folders() == []


@pytest.mark.parametrize("hook", ["on_fit_start", "on_train_start"])
def test_failed_resume_of_another_run_changes_neither(hook):
    def names(version):
        return sorted(path.name for path in Path(f"runs/boring_module/version_{version}/checkpoints").glob("step=*"))

    def fail(trainer, module):
        if trainer.resumed:
            raise Broken

    for checkpoint in (ModelCheckpoint(save_top_k=-1), ModelCheckpoint(monitor=None, save_on_exception=True)):
        callbacks = [checkpoint, Lambdas(**{hook: fail})]
        trainer = quiet_trainer(max_epochs=3, callbacks=callbacks, enable_checkpointing=True)
        trainer.fit(BoringModule(), boring_batches(1))
    before = names(0), names(1)
    assert before == ([f"step=00000{n}" for n in (1, 2, 3)], ["step=000003"])
    with pytest.raises(Broken):
        trainer.fit(BoringModule(), boring_batches(1), ckpt_path="runs/boring_module/version_0/checkpoints/step=000001")
    assert (names(0), names(1)) == before


@pytest.mark.parametrize(
    ("template", "names"),
    [
        ("{epoch:02d}-{val/score:.1f}", ["epoch=00-val_score=5.0", "epoch=01-val_score=3.0", "epoch=02-val_score=4.0"]),
        ("mine-{step}", ["mine-step=1", "mine-step=2", "mine-step=3"]),
        ("mine", ["mine", "mine-v1", "mine-v2"]),
        ("{unknown:.2f}", ["unknown=nan", "unknown=nan-v1", "unknown=nan-v2"]),
    ],
)
def test_filename_templates(template, names):
    checkpoint = ModelCheckpoint("val/score", save_top_k=-1, filename=template)
    trainer = quiet_trainer(max_epochs=3, callbacks=checkpoint, enable_checkpointing=True)
    trainer.fit(Scores(), boring_batches(1), boring_batches(1))
    assert folders() == names
    assert checkpoint.best_model_path.name == names[1]
    trainer.test(dataloaders=boring_batches(1), ckpt_path="best", verbose=False)
    assert trainer.global_step == 2
    trainer.max_epochs = 4
    trainer.fit(Scores(), boring_batches(1), boring_batches(1), ckpt_path="last")
    assert len(folders()) == 4


@pytest.mark.parametrize(
    ("arguments", "steps"),  # the steps of SCORES' checkpoints, 5 3 4 2 6, by name
    [
        ({"save_last": False}, {"mine": 4}),
        ({}, {"mine": 4, "mine-v1": 5}),
        ({"save_top_k": 2, "save_last": False}, {"mine": 4, "mine-v1": 2}),
        ({"save_top_k": 0}, {"mine": 5}),
    ],
    ids=str,
)
def test_checkpoint_takes_the_name_of_one_that_it_displaces(arguments, steps):
    """As in Lightning: ``checkpoints/mine`` is the best one, however many there were."""
    checkpoint = ModelCheckpoint("val/score", filename="mine", **arguments)
    trainer = quiet_trainer(max_epochs=5, callbacks=checkpoint, enable_checkpointing=True)
    trainer.fit(Scores(), boring_batches(1), boring_batches(1))
    folder = checkpoint.folder
    assert {path.name: read_checkpoint(path).state["global_step"] for path in folder.glob("mine*")} == steps
    assert find_checkpoint(folder / "last").name == max(steps, key=steps.get)


@pytest.mark.parametrize("async_save", [False, True])
def test_failed_replacement_of_a_checkpoint_keeps_its_score(async_save, monkeypatch):
    def fill_the_disk(trainer, module):
        if trainer.current_epoch == 1:
            checkpoint.finish()
            monkeypatch.setattr("os.fsync", lambda descriptor: (_ for _ in ()).throw(OSError("No space left")))

    checkpoint = ModelCheckpoint("val/score", filename="mine", async_save=async_save, on_save_error="warn")
    trainer = quiet_trainer(
        max_epochs=2, callbacks=[checkpoint, Lambdas(on_train_epoch_start=fill_the_disk)], enable_checkpointing=True
    )
    trainer.fit(Scores(), boring_batches(1), boring_batches(1))
    assert checkpoint.best_model_score == 5.0
    assert read_checkpoint(checkpoint.best_model_path).state["global_step"] == 1


@pytest.mark.parametrize("every", [{"every_n_epochs": 1}, {"every_n_epochs": 9}, {"every_n_train_steps": 9}], ids=str)
def test_end_of_fit_is_named_after_the_last_epoch(every):
    checkpoint = ModelCheckpoint(monitor=None, filename="{epoch}", **every)
    quiet_trainer(max_epochs=2, callbacks=checkpoint, enable_checkpointing=True).fit(BoringModule(), boring_batches(2))
    assert folders() == ["epoch=1"]


def test_unknown_name_in_a_template_is_reported(caplog):
    checkpoint = ModelCheckpoint(filename="{epoch}-{val_loss:.2f}-{train/loss:.2f}")
    trainer = quiet_trainer(callbacks=checkpoint, enable_checkpointing=True)
    trainer.fit(BoringModule(), boring_batches(1), boring_batches(1))
    (said,) = [text for text in caplog.messages if "filename" in text]
    assert said == (
        "ModelCheckpoint(filename='{epoch}-{val_loss:.2f}-{train/loss:.2f}'): 'val_loss': no step logs this value, so "
        "it will be nan. Did you mean 'val/loss'? The steps log: train/loss, val/loss."
    )


@pytest.mark.parametrize(
    "template",
    ["a/{epoch}", "a:{epoch}", "", "{epoch}.", "a ", ".hidden", "{epoch", "{val/loss:d}", "{epoch:.q}"],
)
def test_invalid_filename_templates(template):
    with pytest.raises(ValueError, match=r"filename=...\) takes a template such as .*Received:") as error:
        ModelCheckpoint(filename=template)
    assert repr(template) in str(error.value)


@pytest.mark.parametrize("template", ["best", "Last"])
def test_names_of_pointers_are_no_filenames(template):
    with pytest.raises(ValueError, match=rf"filename='{template}'\).*are named 'best' and 'last'.*'{template}_model'"):
        ModelCheckpoint(filename=template)


def test_invalid_save_intervals():
    with pytest.raises(ValueError, match=r"takes only one of .*every_n_epochs=1, every_n_train_steps=5"):
        ModelCheckpoint(every_n_epochs=1, every_n_train_steps=5)
    with pytest.raises(ValueError, match=r"every_n_train_steps=0"):
        ModelCheckpoint(every_n_train_steps=0)
    with pytest.raises(ValueError, match=r"ModelCheckpoint\(train_time_interval=...\) takes .*Received: '1h'"):
        ModelCheckpoint(train_time_interval="1h")


# --- several callbacks in one run--------------------------------------------------------------------------------------


def test_several_callbacks_share_a_folder():
    best = ModelCheckpoint("val/score", save_top_k=2)
    recent = ModelCheckpoint(monitor=None, every_n_train_steps=1)
    light = ModelCheckpoint("val/score", mode="max", save_weights_only=True, filename="light-{step}")
    trainer = quiet_trainer(max_epochs=5, callbacks=[best, recent, light], enable_checkpointing=True)
    trainer.fit(Scores(), boring_batches(1), boring_batches(1))
    assert folders() == ["light-step=5", "step=000002", "step=000004", "step=000005", "step=000005-v1"]
    assert (best.kept.last, recent.kept.last, light.kept.last) == ("step=000005", "step=000005-v1", "light-step=5")
    pointers = {name: (best.folder / name).read_text().strip() for name in ("best", "last")}
    assert pointers == {"best": "step=000004", "last": "step=000005-v1"}  # a run cannot be resumed from weights alone
    # Resuming restores the state of each callback.
    again = [ModelCheckpoint("val/score", save_top_k=2), ModelCheckpoint(monitor=None, every_n_train_steps=1)]
    trainer = quiet_trainer(max_epochs=6, callbacks=again, enable_checkpointing=True)
    trainer.fit(Scores([*SCORES, 1.0]), boring_batches(1), boring_batches(1), ckpt_path="last")
    assert again[0].kept.scores == {"step=000004": 2.0, "step=000006": 1.0}
    assert again[1].kept.last == "step=000006-v1"


def test_resumed_run_knows_checkpoints_of_weights_only():
    """Whichever callback comes first in the list, the checkpoint to resume from is written last."""

    class Fails(Scores):
        def on_train_batch_end(self, outputs, batch, batch_idx):
            if self.trainer.global_step == 3 and not self.trainer.resumed:
                raise Broken

    def fit(module, ckpt_path=None):
        light = ModelCheckpoint("val/score", mode="max", save_weights_only=True, filename="light-{step}")
        callbacks = [ModelCheckpoint(monitor=None), light]
        trainer = quiet_trainer(max_epochs=4, callbacks=callbacks, enable_checkpointing=True)
        with contextlib.suppress(Broken):
            trainer.fit(module, boring_batches(1), boring_batches(1), ckpt_path=ckpt_path)
        return light

    scores = [5.0, 7.0, 4.0, 2.0]
    assert fit(Scores(scores)).best_model_path.name == "light-step=2"
    fit(Fails(scores))
    resumed = fit(Scores(scores), "last")
    assert (resumed.best_model_path.name, resumed.best_model_score) == ("light-step=2", 7.0)
    assert sorted(path.name for path in resumed.folder.glob("light*")) == ["light-step=2", "light-step=4"]


def test_callbacks_with_the_same_monitor_have_separate_states():
    first, second = ModelCheckpoint("val/score"), ModelCheckpoint("val/score", filename="{epoch}")
    trainer = quiet_trainer(max_epochs=1, callbacks=[first, second], enable_checkpointing=True)
    trainer.fit(Scores(), boring_batches(1), boring_batches(1))
    states = read_checkpoint(second.last_model_path).state["callbacks"]
    assert states["ModelCheckpoint(val/score)"]["last"] == "step=000001"
    assert states["ModelCheckpoint(val/score)#2"]["last"] == "epoch=0"


def fit_with(callbacks, epochs, ckpt_path=None):
    trainer = quiet_trainer(max_epochs=epochs, callbacks=callbacks, enable_checkpointing=True)
    trainer.fit(Scores(), boring_batches(1), boring_batches(1), ckpt_path=ckpt_path)


@pytest.mark.parametrize("changed", [{}, {"save_weights_only": True}], ids=str)
def test_callbacks_with_the_same_monitor_find_their_states_in_another_order(changed):
    def callbacks(**arguments):
        often = ModelCheckpoint("val/score", every_n_train_steps=1, filename="often-{step}", save_top_k=2)
        return [often, ModelCheckpoint("val/score", mode="max", filename="seldom-{step}", **arguments)]

    first = callbacks()
    fit_with(first, 3)
    kept = [callback.kept.scores for callback in first]
    assert kept == [{"often-step=2": 3.0, "often-step=3": 4.0}, {"seldom-step=1": 5.0}]
    second, added = callbacks(**changed), ModelCheckpoint("val/score", filename="added-{step}")
    fit_with([*reversed(second), added], 3, ckpt_path="last")
    assert [callback.kept.scores for callback in second] == kept
    assert added.kept.names == {"added-step=3"}


@pytest.mark.parametrize("times", [{"every_n_train_steps": np.int64(1)}, {"every_n_epochs": np.int64(1)}], ids=str)
def test_counts_may_be_numpy_numbers(times):
    checkpoint = ModelCheckpoint("val/score", save_top_k=np.int64(1), **times)
    assert fit(checkpoint, 2) == ([2], {"best": 2, "last": 2})


def test_states_without_arguments_are_found_by_their_place():
    def callbacks():
        return [ModelCheckpoint("val/score", filename=name) for name in ("a-{step}", "b-{step}")]

    first = callbacks()
    fit_with(first, 2)
    path = first[1].last_model_path
    checkpoint = read_checkpoint(path)
    for state in checkpoint.state["callbacks"].values():
        state.pop("arguments", None)
    write_checkpoint(checkpoint, path)
    again = callbacks()
    fit_with(again, 2, ckpt_path=path)
    assert [callback.kept.scores for callback in again] == [{"a-step=2": 3.0}, {"b-step=2": 3.0}]


# --- async saves and write errors ------------------------------------------------------------------------------------


def test_async_save_writes_the_same():
    found = {}
    for in_background in (False, True):
        checkpoint = ModelCheckpoint("val/score", save_top_k=-1, async_save=in_background)
        trainer = quiet_trainer(max_epochs=3, callbacks=checkpoint, enable_checkpointing=True)
        trainer.fit(Scores(), boring_batches(4), boring_batches(1))
        read = [read_checkpoint(path) for path in sorted(checkpoint.folder.glob("step=*"))]
        found[in_background] = [{name: array.tolist() for name, array in each.arrays.items()} for each in read]
        assert checkpoint.best_model_path.name == "step=000008"
        assert (checkpoint.folder / "last").read_text() == "step=000012\n"
    assert found[True] == found[False]
    assert len(found[True]) == 3


def test_training_continues_while_a_checkpoint_is_written(monkeypatch):
    """Writing the checkpoint of step 2 waits for step 3, which training must reach meanwhile."""
    import kgenre.callbacks.checkpoint_saver as room

    went_on, waited, write = threading.Event(), [], room.write_checkpoint
    monkeypatch.setattr(room, "write_checkpoint", lambda *args: (waited.append(went_on.wait(20)), write(*args))[1])
    notice = Lambdas(on_train_batch_end=lambda t, m, o, b, batch_idx: went_on.set() if batch_idx == 2 else None)
    checkpoint = ModelCheckpoint(monitor=None, every_n_train_steps=2, async_save=True)
    trainer = quiet_trainer(callbacks=[notice, checkpoint], enable_checkpointing=True)
    trainer.fit(BoringModule(), boring_batches(3))
    assert waited == [True]
    assert read_checkpoint(checkpoint.last_model_path).state["global_step"] == 2


def test_several_callbacks_write_one_at_a_time(monkeypatch):
    """They share the pointers: if two replaced one at the same time, the second would find its temporary file gone."""
    import kgenre.callbacks.checkpoint_saver as room

    running, most, write = [], [], room.write_checkpoint

    def note(checkpoint, path):
        running.append(path)
        time.sleep(0.02)
        most.append(len(running))
        running.remove(path)
        return write(checkpoint, path)

    monkeypatch.setattr(room, "write_checkpoint", note)
    callbacks = [ModelCheckpoint(async_save=True), ModelCheckpoint(monitor=None)]
    trainer = quiet_trainer(max_epochs=3, callbacks=callbacks, enable_checkpointing=True)
    trainer.fit(BoringModule(), boring_batches(1), boring_batches(1))
    assert most == [1] * 6


def full_disk(monkeypatch, at_step):
    """Let the write of one step's checkpoint fail with a full disk."""
    import kgenre.callbacks.checkpoint_saver as room

    write = room.write_checkpoint

    def write_or_fail(checkpoint, path):
        if checkpoint.state["global_step"] == at_step:
            raise OSError(28, "No space left on device")
        return write(checkpoint, path)

    monkeypatch.setattr(room, "write_checkpoint", write_or_fail)


@pytest.mark.parametrize("in_background", [False, True])
def test_full_disk_raises_by_default(monkeypatch, in_background):
    full_disk(monkeypatch, at_step=2)
    checkpoint = ModelCheckpoint("val/score", save_top_k=-1, async_save=in_background)
    trainer = quiet_trainer(max_epochs=5, callbacks=checkpoint, enable_checkpointing=True)
    with pytest.raises(OSError, match="No space left"):
        trainer.fit(Scores(), boring_batches(1), boring_batches(1))
    assert trainer.global_step == (3 if in_background else 2)  # async: raised at the next save
    assert read_checkpoint(checkpoint.last_model_path).state["global_step"] == 1
    assert folders() == ["step=000001"]


def test_error_of_the_last_async_write_is_raised_at_the_end(monkeypatch):
    full_disk(monkeypatch, at_step=3)
    trainer = quiet_trainer(max_epochs=3, callbacks=ModelCheckpoint(async_save=True), enable_checkpointing=True)
    with pytest.raises(OSError, match="No space left"):
        trainer.fit(BoringModule(), boring_batches(1), boring_batches(1))


@pytest.mark.parametrize("in_background", [False, True])
def test_full_disk_can_be_a_warning(monkeypatch, caplog, in_background):
    full_disk(monkeypatch, at_step=4)
    checkpoint = ModelCheckpoint("val/score", async_save=in_background, on_save_error="warn")
    trainer = quiet_trainer(max_epochs=5, callbacks=checkpoint, enable_checkpointing=True)
    trainer.fit(Scores(), boring_batches(1), boring_batches(1))
    assert "No space left on device). Training continues; newest checkpoint: step=000003." in caplog.text
    assert checkpoint.best_model_path.name == "step=000002"  # not step 4, which has the best score
    assert folders() == ["step=000002", "step=000005"]


@pytest.mark.parametrize("in_background", [False, True])
@pytest.mark.parametrize("error", [TypeError, Broken])
def test_failed_save_is_forgotten_whatever_the_error(error, in_background, caplog):
    """The next save, here because of the exception, must not take the missing checkpoint for one that is there."""
    calls = []

    def add(trainer, module, state):
        calls.append(trainer.global_step)
        if len(calls) == 2:
            if error is Broken:
                raise Broken
            state["mine"] = {1, 2}  # a set, which JSON cannot hold

    checkpoint = ModelCheckpoint(monitor=None, save_on_exception=True, async_save=in_background)
    callbacks = [Lambdas(on_save_checkpoint=add), checkpoint]
    trainer = quiet_trainer(max_epochs=2, callbacks=callbacks, enable_checkpointing=True)
    with pytest.raises(error):
        trainer.fit(BoringModule(), boring_batches(2))
    assert checkpoint.last_model_path.is_dir()
    assert folders() == ["step=000004"]
    assert "Nothing is saved" not in caplog.text


def test_repeated_warnings_of_a_full_disk_are_short(monkeypatch, caplog):
    for step in (2, 3, 4):
        full_disk(monkeypatch, at_step=step)
    checkpoint = ModelCheckpoint("val/score", save_top_k=-1, on_save_error="warn")
    again = "Another checkpoint could not be written (No space left on device)."
    for _ in range(2):  # a second fit describes its first error again
        caplog.clear()
        assert fit(checkpoint)[0] == [1, 5]
        assert caplog.messages[1].endswith("Training continues; newest checkpoint: step=000001.")
        assert caplog.messages[2:] == [again, again]


def test_checkpoint_whose_pointer_cannot_be_written_is_not_forgotten(monkeypatch):
    """It is on the disk, so the next one must remove it."""
    import kgenre.callbacks.checkpoint_saver as room

    pointed = room.write_pointer

    def write_or_fail(folder, name, target):
        if target.name == "step=000002":
            raise OSError(errno.ENOSPC, "No space left on device")
        pointed(folder, name, target)

    monkeypatch.setattr(room, "write_pointer", write_or_fail)
    checkpoint = ModelCheckpoint(monitor=None, on_save_error="warn")
    trainer = quiet_trainer(max_epochs=3, callbacks=checkpoint, enable_checkpointing=True)
    trainer.fit(BoringModule(), boring_batches(1))
    assert folders() == ["step=000003"]


def test_checkpoint_that_another_callback_fails_to_write_is_saved_on_exception(monkeypatch):
    import kgenre.callbacks.checkpoint_saver as room

    written, write = [], room.write_checkpoint

    def fail_slowly_at_first(*arguments):
        written.append(arguments)
        if len(written) == 1:
            time.sleep(0.3)
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(*arguments)

    def fail(trainer, module, batch, batch_idx):
        if trainer.global_step == 2:
            raise Broken

    monkeypatch.setattr(room, "write_checkpoint", fail_slowly_at_first)
    callbacks = [
        Lambdas(on_train_batch_start=fail),
        ModelCheckpoint(monitor=None, every_n_train_steps=100, save_on_exception=True),
        ModelCheckpoint(monitor=None, async_save=True, on_save_error="warn"),
    ]
    trainer = quiet_trainer(max_epochs=2, callbacks=callbacks, enable_checkpointing=True)
    with pytest.raises(Broken):
        trainer.fit(BoringModule(), boring_batches(2))
    assert folders() == ["step=000002"]


def test_undo_add_restores_the_replaced_checkpoint():
    kept = KeptCheckpoints(save_top_k=1, mode="min")
    kept.add("step=1", 0.5, (0, 1, 1))
    before = kept.state_dict()
    kept.add("step=2", 0.4, (0, 2, 2))
    kept.undo_add()
    assert kept.state_dict() == before


def test_deleted_folder_is_created_again():
    def remove(trainer, module):
        if trainer.current_epoch == 2:
            shutil.rmtree(trainer.log_dir / "checkpoints")

    checkpoint = ModelCheckpoint("val/score", save_top_k=2)
    kept, pointers = fit([checkpoint, Lambdas(on_train_epoch_start=remove)])
    assert kept == [3, 4, 5]
    assert pointers == {"best": 4, "last": 5}


def test_checkpoint_deleted_by_hand_frees_a_top_k_slot():
    """Step 4's score is worse than both that are kept; with the best one removed, it is the second best."""

    def remove(trainer, module):
        if trainer.current_epoch == 3:
            shutil.rmtree(checkpoint.best_model_path)

    checkpoint = ModelCheckpoint("val/score", save_top_k=2)
    module = Scores([3.0, 1.0, 5.0, 4.0])
    assert fit([checkpoint, Lambdas(on_train_epoch_start=remove)], 4, module) == ([1, 4], {"best": 1, "last": 4})
    assert checkpoint.kept.scores == {"step=000001": 3.0, "step=000004": 4.0}


def test_on_save_error_must_be_raise_or_warn():
    with pytest.raises(ValueError, match=r"on_save_error=...\) takes 'raise' or 'warn'. Received: 'ignore'"):
        ModelCheckpoint(on_save_error="ignore")
