"""A resumed run equals one that was never stopped, bit for bit, in weights and in logs."""

import csv
import errno
import hashlib
import json
import os
import shutil
import signal
import sys
from collections import namedtuple
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from boring import BoringModule, Lambdas, boring_batches, boring_dataset, quiet_trainer, weights_of

import kgenre
from kgenre.callbacks import EarlyStopping, LearningRateScheduler, ModelCheckpoint, WeightAveraging
from kgenre.checkpoints import CheckpointError, find_checkpoint, read_checkpoint
from kgenre.engines import random_state
from kgenre.loggers import CSVLogger, TensorBoardLogger
from kgenre.training.run_lock import RunLock

pytestmark = pytest.mark.usefixtures("in_tmp_path")


class Dropping(BoringModule):
    """Dropout and Adam: both have state that must be restored."""

    def __init__(self, learning_rate=0.05):
        super().__init__(learning_rate, dropout=0.3)
        self.error_metric = keras.metrics.MeanSquaredError()

    def training_step(self, batch, batch_idx):
        loss = super().training_step(batch, batch_idx)
        self.error_metric.update_state(batch["y"], self.model(batch["x"]))
        self.log("train/metric", self.error_metric)
        return loss

    def configure_optimizers(self):
        return keras.optimizers.Adam(self.learning_rate)


def dataset():
    return boring_dataset(rows=40, batch_size=8, shuffle=True)


def trainer(**arguments):
    common = {"logger": [CSVLogger(), TensorBoardLogger()], "log_every_n_steps": 1, "num_sanity_val_steps": 0}
    return quiet_trainer(**{**common, "enable_checkpointing": True, **arguments})


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """An uninterrupted run: four epochs of five steps."""
    root = tmp_path_factory.mktemp("straight")
    run = trainer(max_epochs=4, default_root_dir=root, enable_checkpointing=False)
    run.fit(Dropping(), dataset(), boring_batches(1))
    return run


def same_state(first, second):
    first, second = first.engine.state_dict(), second.engine.state_dict()
    assert set(first) == set(second)
    return [name for name in first if not np.array_equal(first[name], second[name])]


def rows_of(run, *names):
    names = names or ("step", "train/loss", "val/loss", "train/metric")
    with (run.log_dir / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [{name: row[name] for name in names} for row in rows]


def events_of(run):
    from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator

    curves = {}
    for stage in ("train", "val"):
        events = EventAccumulator(str(run.log_dir / stage), size_guidance={"tensors": 0})
        events.Reload()
        curves[stage] = [(event.step, float(event.tensor_proto.float_val[0])) for event in events.Tensors("loss")]
    return curves


class Freezing(BoringModule):
    """Two layers; in epoch 1 a hook freezes or unfreezes the first. A run resumed later does not repeat that."""

    def __init__(self, thaws):
        super().__init__()
        self.thaws = thaws
        self.norm = keras.Sequential([keras.Input((4,)), keras.layers.BatchNormalization(), keras.layers.Dense(4)])

    def training_step(self, batch, batch_idx):
        return super().training_step({**batch, "x": self.norm(batch["x"], training=True)}, batch_idx)

    def configure_optimizers(self):
        return keras.optimizers.SGD(0.01, momentum=0.9)

    def on_fit_start(self):
        if self.thaws:
            self.norm.trainable = False

    def on_train_epoch_start(self):
        if self.current_epoch == 1:
            self.norm.trainable = self.thaws


@pytest.mark.parametrize("thaws", [False, True], ids=["freezes", "thaws"])
def test_freezing_by_a_hook_survives_resume(thaws, caplog):
    def fit(name, ckpt_path=None, module=None, **arguments):
        kgenre.seed_everything(1)
        run = trainer(**{"max_epochs": 4, "name": name, **arguments})
        run.fit(module or Freezing(thaws), dataset(), ckpt_path=ckpt_path)
        return run

    whole = fit("whole")
    first = fit("parts", max_steps=12)
    shutil.copytree(first.run_dir, first.run_dir.parents[1] / "again" / "version_0")
    with caplog.at_level("INFO", "kgenre"):
        assert not same_state(whole, fit("parts", ckpt_path="last"))
        assert not same_state(whole, fit("again", ckpt_path="last", module=first.module)), "as in a notebook"
    word = "Unfrozen" if thaws else "Frozen"
    assert f"{word} during the fit, and so in the checkpoint: norm.layers.0.gamma, norm.layers.0.beta" in caplog.text


@pytest.mark.parametrize(
    ("hook", "call"), [("on_train_batch_end", 2), ("on_validation_end", 1), ("on_train_epoch_end", 1)]
)
def test_checkpoint_of_a_layer_that_was_just_frozen_while_gradients_are_accumulated(hook, call):
    """The validation comes after the first of the two batches of an update."""

    def fit(name, crashes=False, ckpt_path=None):
        def freeze(trainer, module, *arguments):
            calls.append(hook)
            if len(calls) == call and not trainer.resumed:
                module.norm.trainable = False

        def crash(trainer, module, batch, batch_idx):
            if crashes and len(calls) == call:
                raise RuntimeError("crash")

        calls, seldom = [], {"every_n_train_steps": 1} if "batch" in hook else {}
        callbacks = [Lambdas(**{hook: freeze}, on_train_batch_start=crash), ModelCheckpoint(**seldom)]
        flags = {"accumulate_grad_batches": 2, "val_check_interval": 3, "num_sanity_val_steps": 0}
        kgenre.seed_everything(1)
        run, module = trainer(max_epochs=3, name=name, callbacks=callbacks, **flags), Freezing(thaws=True)
        module.on_fit_start = module.on_train_epoch_start = lambda: None
        with pytest.raises(RuntimeError, match="crash") if crashes else nullcontext():
            run.fit(module, dataset(), boring_batches(1), ckpt_path=ckpt_path)
        return run

    whole = fit("whole")
    fit("parts", crashes=True)
    assert same_state(whole, fit("parts", ckpt_path="last")) == []


# Where the first part of a run stops.
STOPS = {
    "end of epoch": {"max_epochs": 2},
    "middle of epoch": {"max_epochs": 4, "max_steps": 8},
    "last batch of an epoch": {"max_epochs": 4, "max_steps": 10},
}


@pytest.mark.parametrize("by_hand", [False, True], ids=["ModelCheckpoint", "save_checkpoint"])
@pytest.mark.parametrize("stop", STOPS)
def test_resumed_run_equals_uninterrupted_run(straight, stop, by_hand):
    first = trainer(**STOPS[stop], enable_checkpointing=not by_hand)
    first.fit(Dropping(), dataset(), boring_batches(1))
    path = first.save_checkpoint(first.log_dir / "checkpoints" / "mine") if by_hand else "last"

    second = trainer(max_epochs=4, enable_checkpointing=not by_hand)
    second.fit(Dropping(), dataset(), boring_batches(1), ckpt_path=path)

    assert (second.current_epoch, second.global_step) == (4, 20)
    assert same_state(straight, second) == []
    assert second.log_dir.resolve() == first.log_dir.resolve()
    assert rows_of(second) == rows_of(straight)
    assert events_of(second) == events_of(straight)


@pytest.mark.parametrize("stage", ["validate", "predict"])
def test_checkpoint_saved_after_an_evaluation_continues_the_curves_of_the_fit(straight, stage):
    first, second = trainer(max_epochs=2), trainer(max_epochs=4)
    first.fit(Dropping(), dataset(), boring_batches(1))
    getattr(first, stage)(first.module, boring_batches(1))
    path = first.save_checkpoint(first.run_dir / "checkpoints" / "mine")
    second.fit(Dropping(), dataset(), boring_batches(1), ckpt_path=path)
    assert same_state(straight, second) == []
    assert rows_of(second) == rows_of(straight)
    assert events_of(second) == events_of(straight)


def test_resume_after_a_crash_within_an_epoch(straight):
    """Rows logged after the checkpoint are dropped: the resumed run logs them again, once."""

    def crash(trainer, module, outputs, batch, batch_idx):
        if trainer.global_step == 13:
            raise RuntimeError("crash")

    first = trainer(max_epochs=4, callbacks=[ModelCheckpoint(), Lambdas(on_train_batch_end=crash)])
    with pytest.raises(RuntimeError, match="crash"):
        first.fit(Dropping(), dataset(), boring_batches(1))
    assert read_checkpoint(first.log_dir / "checkpoints" / "step=000010").state["global_step"] == 10

    second = trainer(max_epochs=4, callbacks=[ModelCheckpoint()])
    second.fit(Dropping(), dataset(), boring_batches(1), ckpt_path="last")
    assert same_state(straight, second) == []
    assert rows_of(second) == rows_of(straight)
    assert events_of(second) == events_of(straight)


@pytest.mark.parametrize("max_steps", [8, 10], ids=["middle of epoch", "end of epoch"])
def test_resume_runs_the_epoch_end_that_a_stop_skipped(max_steps):
    def stop(trainer, module, batch, batch_idx):
        if trainer.global_step == max_steps - 1:
            signal.raise_signal(signal.SIGTERM)

    def fit(name, ckpt_path=None, callbacks=()):
        run = trainer(max_epochs=4, max_steps=max_steps, name=name, val_check_interval=3, callbacks=list(callbacks))
        run.fit(Means(), dataset(), boring_batches(1), ckpt_path=ckpt_path)
        return run

    straight = fit("straight")
    with pytest.raises(SystemExit):
        fit("stopped", callbacks=[Lambdas(on_train_batch_start=stop)])
    names = ("step", "train/mean", "val/loss")
    assert rows_of(fit("stopped", "last"), *names) == rows_of(straight, *names)
    assert rows_of(fit("straight", "last"), *names) == rows_of(straight, *names)  # nothing was left to do


class Means(BoringModule):
    def training_step(self, batch, batch_idx):
        loss = self.error(batch)
        self.log("train/mean", loss, on_step=False, on_epoch=True)
        return loss


def test_resume_within_an_accumulated_group():
    """The run stops after two of three batches; the third, once resumed, completes the update."""

    def stop(trainer, module, outputs, batch, batch_idx):
        trainer.should_stop = batch_idx == 4

    def fit(ckpt_path=None, callbacks=()):
        run = quiet_trainer(accumulate_grad_batches=3, callbacks=list(callbacks))
        run.fit(BoringModule(), boring_batches(6), ckpt_path=ckpt_path)
        return run

    first = fit(callbacks=[Lambdas(on_train_batch_end=stop)])
    path = first.save_checkpoint("middle")
    saved = read_checkpoint(path).epoch
    assert saved["gradients.count"] == 2
    assert np.abs(saved["gradients.model.layers.0.kernel"]).max() > 0
    assert same_state(fit(), fit(path)) == []


class Counting(BoringModule):
    """Trains a variable that is named as the number of accumulated gradients."""

    def __init__(self):
        super().__init__()
        self.count = keras.Variable(1.0)

    def training_step(self, batch, batch_idx):
        return super().training_step(batch, batch_idx) + self.count * keras.ops.mean(batch["x"])


def test_resume_within_an_accumulated_group_of_a_variable_named_count():
    def stop(trainer, module, outputs, batch, batch_idx):
        trainer.should_stop = batch_idx == 1

    def fit(ckpt_path=None, callbacks=()):
        run = quiet_trainer(accumulate_grad_batches=3, callbacks=list(callbacks))
        run.fit(Counting(), boring_batches(3), ckpt_path=ckpt_path)
        return run

    path = fit(callbacks=[Lambdas(on_train_batch_end=stop)]).save_checkpoint("middle")
    assert same_state(fit(), fit(path)) == []


class BuildsInTest(BoringModule):
    """Its test builds a layer and a metric that its fit does not."""

    def __init__(self):
        super().__init__()
        self.probe, self.f1 = keras.layers.Dense(3), keras.metrics.F1Score(average="macro")

    def test_step(self, batch, batch_idx):
        self.f1.update_state(keras.ops.cast(batch["y"] > 0, "float32"), self.model(batch["x"]))
        self.log("test/f1", self.f1)
        self.log("test/probe", keras.ops.mean(self.probe(batch["x"]) ** 2))


def test_resume_from_a_checkpoint_that_was_saved_after_a_test():
    first, module = quiet_trainer(), BuildsInTest()
    first.fit(module, boring_batches(2))
    [tested] = first.test(module, boring_batches(2), verbose=False)
    path = first.save_checkpoint("tested")
    second, again = quiet_trainer(max_epochs=2), BuildsInTest()
    second.fit(again, boring_batches(2), ckpt_path=path)
    straight = quiet_trainer(max_epochs=2)
    straight.fit(BuildsInTest(), boring_batches(2))
    assert second.global_step == 4
    assert same_state(straight, second) == []
    assert second.test(again, boring_batches(2), verbose=False)[0]["test/probe"] == tested["test/probe"]


def test_resume_restores_random_generators():
    import random

    def draws(trainer, module):
        numbers.append([random.random(), float(np.random.random()), float(keras.random.uniform(()))])

    numbers = []
    for max_epochs, ckpt_path in ((2, None), (1, None), (2, "first")):
        kgenre.seed_everything(3)
        keras.random.uniform(())  # from the global generator
        run = quiet_trainer(max_epochs=max_epochs, callbacks=Lambdas(on_train_epoch_start=draws))
        run.fit(BoringModule(), boring_batches(2), ckpt_path=ckpt_path)
        run.save_checkpoint("first") if max_epochs == 1 else None
        random.random(), np.random.random(), keras.random.uniform(())
    first, second, again, resumed = numbers  # epochs 0 and 1 in one run, and in two
    assert first == again
    assert second == resumed
    assert not set(first) & set(second)


def test_resume_runs_the_validation_that_a_crash_skipped():
    places = []

    def fail(trainer, module):
        places.append(trainer.global_step)
        if not trainer.resumed and trainer.global_step == 4:
            raise RuntimeError("crash")

    def fit(ckpt_path=None):
        callbacks = [Lambdas(on_validation_start=fail), ModelCheckpoint(save_on_exception=True)]
        run = trainer(callbacks=callbacks, val_check_interval=2)
        run.fit(BoringModule(), boring_batches(5), boring_batches(1), ckpt_path=ckpt_path)
        return run

    with pytest.raises(RuntimeError, match="crash"):
        fit()
    assert [row["step"] for row in rows_of(fit("last"), "step")] == ["1", "2", "3", "4", "5"]
    assert places == [2, 4, 4]


def test_validation_that_a_crash_skipped_may_end_the_resumed_fit():
    class Worse(BoringModule):
        def on_validation_epoch_end(self):
            self.log("val/worse", float(self.global_step))

    def interrupt(trainer, module, outputs, batch, batch_idx):
        if trainer.global_step == 4 and not trainer.resumed:
            signal.raise_signal(signal.SIGINT)

    def fit(hook=None, ckpt_path=None):
        stop = EarlyStopping("val/worse", patience=1)
        run = trainer(callbacks=[stop, Lambdas(**({"on_train_batch_end": hook} if hook else {}))], val_check_interval=2)
        run.fit(Worse(), boring_batches(8), boring_batches(1), ckpt_path=ckpt_path)
        return run

    straight = fit()
    assert fit(interrupt).interrupted
    assert (straight.global_step, fit(ckpt_path="last").global_step) == (4, 4)


@pytest.mark.parametrize("spent", [True, False])
def test_resume_at_max_steps_in_an_epoch_of_unknown_length(spent):
    """The run was interrupted in the validation after the last step: the epoch is over only if no batch is left."""

    class Unknown:
        def __iter__(self):
            return iter(boring_batches(3 if spent else 4))

    def interrupt(trainer, module):
        if trainer.global_step == 3 and not trainer.resumed:
            signal.raise_signal(signal.SIGINT)

    def fit(hook=None, ckpt_path=None):
        callbacks = Lambdas(**({"on_validation_start": hook} if hook else {}))
        run = trainer(callbacks=callbacks, max_steps=3, val_check_interval=1.0 if spent else 3)
        run.fit(BoringModule(), Unknown(), boring_batches(1), ckpt_path=ckpt_path)
        return run

    straight = fit()
    assert fit(interrupt).interrupted
    resumed = fit(ckpt_path="last")
    assert resumed.current_epoch == straight.current_epoch == int(spent)
    assert rows_of(resumed, "step", "val/loss") == rows_of(straight, "step", "val/loss")


def test_validation_repeated_on_resume_draws_the_same_numbers():
    """A validation that samples, as a VAE's does: what an interrupted one has drawn does not count."""

    class Sampling(BoringModule):
        def __init__(self):
            super().__init__()
            self.noise = keras.random.SeedGenerator(1)

        def training_step(self, batch, batch_idx):
            return super().training_step(self.noisy(batch), batch_idx)

        def validation_step(self, batch, batch_idx):
            super().validation_step(self.noisy(batch), batch_idx)

        def noisy(self, batch):
            return batch | {"x": batch["x"] + keras.random.normal(batch["x"].shape, seed=self.noise)}

    def interrupt(trainer, module, outputs, batch, batch_idx, dataloader_idx):
        if trainer.global_step == 2 and not trainer.resumed:
            signal.raise_signal(signal.SIGINT)

    def fit(hook=None, ckpt_path=None):
        callbacks = [ModelCheckpoint(), *([Lambdas(on_validation_batch_end=hook)] if hook else [])]
        run = trainer(max_epochs=2, callbacks=callbacks)
        run.fit(Sampling(), boring_batches(2), boring_batches(3), ckpt_path=ckpt_path)
        return run

    straight = fit()
    assert fit(interrupt).interrupted
    resumed = fit(ckpt_path="last")
    assert same_state(straight, resumed) == []
    assert rows_of(straight, "step", "val/loss") == rows_of(resumed, "step", "val/loss")


def test_resume_from_a_schema_1_checkpoint(straight):
    """It has no epoch sums, logged values or random states; everything else is restored."""
    first = trainer(max_epochs=2)
    first.fit(Dropping(), dataset(), boring_batches(1))
    folder = find_checkpoint(first.log_dir / "checkpoints" / "last")
    reseal(folder, lambda state: [state.pop(key) for key in ("logs", "random", "batches")])
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["files"]["epoch.safetensors"], manifest["time"]
    (folder / "manifest.json").write_text(json.dumps(manifest | {"schema": 1}))
    (folder / "epoch.safetensors").unlink()

    second = trainer(max_epochs=4)
    second.fit(Dropping(), dataset(), boring_batches(1), ckpt_path="last")
    assert same_state(straight, second) == []
    assert rows_of(second) == rows_of(straight)


def reseal(folder, change):
    """Change the state of a checkpoint, and update its manifest to match."""
    state = json.loads((folder / "state.json").read_text())
    change(state)
    (folder / "state.json").write_text(json.dumps(state))
    manifest = json.loads((folder / "manifest.json").read_text())
    content = (folder / "state.json").read_bytes()
    manifest["files"]["state.json"] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("key", "value", "named"),
    [
        ("epoch", -1, "epoch=-1"),
        ("batch", "7", "batch=7"),
        ("global_step", 10**400, "global_step=1000"),
        ("validated_at", [1], r"validated_at=\[1\]"),
        ("callbacks", [], "no callbacks"),
        ("callbacks", {"ModelCheckpoint(val/loss)": {"scores": 3}}, "the state of ModelCheckpoint cannot be read"),
        ("random", {"python": 1}, "the random state cannot be read"),
        ("random", {"python": [3, "zz", None]}, "the random state cannot be read"),
        ("logs", {"callback": {"a": "x"}}, "the logged values cannot be read"),
        ("logs", [], "the logged values cannot be read"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_invalid_checkpoint_state_is_named(saved_run, key, value, named):
    folder = Path(shutil.copytree(saved_run, "checkpoint"))
    reseal(folder, lambda state: state.update({key: value}))
    with pytest.raises(CheckpointError, match=f"^Checkpoint checkpoint( is damaged)?: .*{named}"):
        trainer(max_epochs=2).fit(Dropping(), dataset(), boring_batches(1), ckpt_path="checkpoint")


@pytest.fixture(scope="module")
def saved_run(tmp_path_factory):
    """The last checkpoint of a one-epoch run."""
    run = trainer(max_epochs=1, default_root_dir=tmp_path_factory.mktemp("saved_run"))
    run.fit(Dropping(), dataset(), boring_batches(1))
    return run.checkpoint_callback.last_model_path


@pytest.mark.parametrize("hook", ["on_train_batch_end", "on_train_epoch_end", "on_validation_epoch_end"])
def test_checkpoint_includes_variables_assigned_in_hooks(hook):
    """The hook updates a target network at a step where a checkpoint is due too."""

    class Follows(BoringModule):
        def __init__(self):
            super().__init__()
            self.target = keras.Variable(np.zeros((4, 2)), trainable=False)
            setattr(self, hook, self.follow)

        def follow(self, *_):
            self.target.assign((self.target + self.model.layers[0].kernel) / 2)
            self.followed = keras.ops.convert_to_numpy(self.target)

    batches = 2 if hook == "on_train_batch_end" else 5  # the epoch's last batch: saved at its end
    module, checkpoint = Follows(), ModelCheckpoint(every_n_train_steps=batches)
    trainer(max_steps=batches, callbacks=checkpoint).fit(module, dataset(), boring_batches(1))
    saved = read_checkpoint(checkpoint.last_model_path)
    np.testing.assert_array_equal(saved.weights["target"], module.followed)


def test_two_runs_cannot_share_a_folder(run_python):
    first = trainer(max_epochs=1)
    first.fit(Dropping(), dataset(), boring_batches(1))
    second = trainer(max_epochs=2)

    def start_another(trainer, module):
        script = (
            "from kgenre.training.run_lock import RunLock\nfrom pathlib import Path\n"
            f"try: RunLock(Path({str(trainer.log_dir.resolve())!r}))\nexcept Exception as error: print(error)"
        )
        said.append(run_python(script))
        with pytest.raises(kgenre.TrainerError, match=f"is being written by process {os.getpid()}"):
            RunLock(trainer.log_dir)

    said = []
    second.callbacks.append(Lambdas(on_train_start=start_another))
    second.fit(Dropping(), dataset(), boring_batches(1), ckpt_path="last")
    assert f"is being written by process {os.getpid()}. Two runs cannot share a folder" in said[0]
    assert not (second.log_dir / ".lock").exists()
    RunLock(second.log_dir).release()


LOCK_IN = "import os, time, pathlib\nfrom kgenre.training.run_lock import RunLock\nfolder = pathlib.Path({!r})\n"


@pytest.mark.parametrize("use", [shutil.copytree, lambda run, _: (run / ".lock").read_text()])
def test_copying_a_run_in_its_process_keeps_the_lock(tmp_path, run_python, use):
    run = tmp_path / "version_0"
    run.mkdir()
    lock = RunLock(run)
    use(run, tmp_path / "copy")
    said = run_python(LOCK_IN.format(str(run)) + "try: RunLock(folder)\nexcept Exception as error: print(error)")
    assert f"is being written by process {os.getpid()}" in said
    lock.release()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork")
def test_forked_worker_that_outlives_its_run_does_not_keep_the_lock(tmp_path, run_python):
    worker = "lock = RunLock(folder)\nif os.fork() == 0:\n    os.close(1), os.close(2), time.sleep(5)\nos._exit(0)"
    run_python(LOCK_IN.format(str(tmp_path)) + worker)
    RunLock(tmp_path).release()


def test_the_lock_of_a_dead_process_is_taken_over(tmp_path):
    (tmp_path / ".lock").write_text("99999999\n")
    lock = RunLock(tmp_path)
    assert (tmp_path / ".lock").read_text() == f"{os.getpid()}\n"
    lock.release()


def test_lock_on_windows(tmp_path, monkeypatch):
    locked = []

    def locking(number, mode, length):
        place = os.lseek(number, 0, os.SEEK_CUR)
        assert place > 32  # beyond the process id: Windows lets nobody read a locked byte
        if locked:
            raise PermissionError(errno.EACCES, "Permission denied")
        locked.append((mode, length))

    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setitem(sys.modules, "msvcrt", SimpleNamespace(LK_NBLCK=2, locking=locking))
    lock = RunLock(tmp_path)
    assert locked == [(2, 1)]
    assert (tmp_path / ".lock").read_text() == f"{os.getpid()}\n"
    monkeypatch.setattr(RunLock, "_held", {})  # as in another process
    with pytest.raises(kgenre.TrainerError, match=f"is being written by process {os.getpid()}"):
        RunLock(tmp_path)
    lock.release()
    assert not (tmp_path / ".lock").exists()


def test_testing_during_a_fit_leaves_its_files_alone(caplog):
    first = trainer(max_epochs=1)
    first.fit(Dropping(), dataset(), boring_batches(1))
    lock = RunLock(first.log_dir)
    before = (first.log_dir / "metrics.json").read_text()
    values = trainer().test(Dropping(), boring_batches(1), ckpt_path=first.log_dir, verbose=False)
    lock.release()
    assert values[0]["test/loss"] > 0
    assert "The results are not written there" in caplog.text
    assert (first.log_dir / "metrics.json").read_text() == before


def test_best_of_a_run_without_validation_is_explained():
    run = trainer(max_epochs=1)
    run.fit(Dropping(), dataset())
    said = r"no best checkpoint under .*version_0. There is only .*version_0/checkpoints/last: .* Use ckpt_path='last'"
    for tester in (run, trainer()):
        with pytest.raises(CheckpointError, match=said):
            tester.test(Dropping(), boring_batches(1), ckpt_path="best")


def test_best_after_the_working_directory_changed(tmp_path, monkeypatch):
    run, module = trainer(max_epochs=1), BoringModule()
    run.fit(module, boring_batches(1), boring_batches(1))
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    with pytest.raises(CheckpointError, match=r"other/runs/.* does not exist. .*the working directory changed\?"):
        run.test(module, boring_batches(1), ckpt_path="best")


def test_next_run_removes_leftovers_of_a_killed_run():
    first = trainer(max_epochs=1)
    first.fit(Dropping(), dataset(), boring_batches(1))
    leftover = first.log_dir / "checkpoints" / ".step=000007.77.partial"
    leftover.mkdir()
    trainer(max_epochs=1).fit(Dropping(), dataset(), boring_batches(1))  # a new run: version_1
    assert not leftover.exists()


def test_plain_iterables_resume_at_the_right_batch():
    straight, first, second = (quiet_trainer(max_epochs=2, max_steps=steps) for steps in (-1, 3, -1))
    batches = boring_batches(4)
    straight.fit(BoringModule(), batches)
    first.fit(BoringModule(), batches)
    path = first.save_checkpoint("middle")
    assert read_checkpoint(path).state["batch"] == 3
    second.fit(BoringModule(), batches, ckpt_path=path)
    assert second.global_step == 8
    assert same_state(straight, second) == []


@pytest.mark.parametrize("seed", [None, 5])
def test_order_of_an_array_dataset_is_that_of_the_run(monkeypatch, tmp_path, seed):
    """With the run's own seed of `seed_everything`, whatever this process's is."""
    monkeypatch.setattr(random_state, "_global_seed", None)
    (arrays,) = boring_batches(1, rows=32)
    data = kgenre.ArrayDataset(arrays, batch_size=8, shuffle=True)
    if seed is not None:
        kgenre.seed_everything(seed)
    whole, part, rest = BoringModule(), BoringModule(), BoringModule()
    quiet_trainer(max_epochs=2).fit(whole, data)
    trainer = quiet_trainer(max_steps=2)
    trainer.fit(part, data)
    path = trainer.save_checkpoint(tmp_path / "in the middle")
    kgenre.seed_everything(6)
    quiet_trainer(max_epochs=2).fit(rest, data, ckpt_path=path)
    for name, weight in weights_of(whole).items():
        np.testing.assert_array_equal(weights_of(rest)[name], weight)


@pytest.mark.parametrize(
    ("step", "seed", "reshuffles", "is_warned"),
    [(6, 1, True, True), (6, 1, False, False), (2, 1, True, False), (2, None, False, True)],
)
def test_unrepeatable_tf_data_shuffle_is_warned_about(step, seed, reshuffles, is_warned, caplog):
    tf = pytest.importorskip("tensorflow")
    tf.random.set_seed(seed)
    (rows,) = boring_batches(1, rows=32)

    def source():
        data = tf.data.Dataset.from_tensor_slices(rows)
        data = data.shuffle(32, seed=seed, reshuffle_each_iteration=reshuffles)
        return data.batch(8).map(lambda batch: batch).prefetch(1)

    straight, first, second = (quiet_trainer(max_epochs=2, max_steps=steps) for steps in (-1, step, -1))
    straight.fit(BoringModule(), source())
    first.fit(BoringModule(), source())
    second.fit(BoringModule(), source(), ckpt_path=first.save_checkpoint("middle"))
    assert (f"The rest of epoch {1 + step // 4} has a different order than" in caplog.text) is is_warned
    assert (same_state(straight, second) != []) is is_warned


class RandomSampler:
    """Like PyTorch's: draws from its own generator, which starts again with the program, or from the global one."""

    def __init__(self, generator):
        self.generator = generator


@pytest.mark.one_backend("tensorflow")
@pytest.mark.parametrize("kind", ["RandomSampler", "SubsetRandomSampler", "WeightedRandomSampler"])
@pytest.mark.parametrize(
    ("step", "generator", "is_warned"), [(2, None, True), (2, "seeded", False), (6, "seeded", True)]
)
def test_unrepeatable_torch_shuffle_is_warned_about(kind, step, generator, is_warned, caplog):
    class DataLoader(list):
        sampler = type(kind, (RandomSampler,), {})(generator)

    first = quiet_trainer(max_epochs=2, max_steps=step)
    first.fit(BoringModule(), DataLoader(boring_batches(4)))
    path = first.save_checkpoint("middle")
    quiet_trainer(max_epochs=2).fit(BoringModule(), DataLoader(boring_batches(4)), ckpt_path=path)
    assert ("has a different order than without the interruption" in caplog.text) is is_warned


@pytest.mark.parametrize(("step", "shuffles", "is_warned"), [(2, True, False), (6, True, True), (6, False, False)])
def test_unrepeatable_shuffle_of_a_py_dataset_is_warned_about(step, shuffles, is_warned, caplog):
    class Batches(keras.utils.PyDataset):
        def __init__(self):
            super().__init__()
            self.batches, self.rng = boring_batches(4), np.random.default_rng(1)

        def __len__(self):
            return len(self.batches)

        def __getitem__(self, batch):
            return self.batches[batch]

    class Shuffled(Batches):
        def on_epoch_end(self):
            self.rng.shuffle(self.batches)

    straight, first, second = (quiet_trainer(max_epochs=2, max_steps=steps) for steps in (-1, step, -1))
    straight.fit(BoringModule(), (source := Shuffled if shuffles else Batches)())
    first.fit(BoringModule(), source())
    second.fit(BoringModule(), source(), ckpt_path=first.save_checkpoint("middle"))
    assert ("The rest of epoch 2 may have a different order than" in caplog.text) is is_warned
    assert (same_state(straight, second) != []) is is_warned


def test_changed_batch_size_within_an_epoch_is_warned_about(caplog):
    class Data(kgenre.DataModule):
        def __init__(self, batch_size=4):
            self.save_hyperparameters()

        def train_dataloader(self):
            return boring_batches(24 // self.hparams.batch_size)

    first = trainer(max_steps=4)
    first.fit(BoringModule(), datamodule=Data())
    for size, said in ((4, False), (2, True)):
        trainer(max_epochs=2).fit(BoringModule(), datamodule=Data(size), ckpt_path=first.save_checkpoint(f"at_{size}"))
        assert ("divided into batches differently from its beginning (batch_size=2, was 4)" in caplog.text) == said


def test_run_folder_as_ckpt_path_means_its_last_checkpoint(caplog):
    batches = boring_batches(2)
    first = trainer(max_epochs=2, callbacks=[ModelCheckpoint(monitor="train/loss", mode="max")])
    first.fit(BoringModule(), batches)
    best, last = ((first.run_dir / "checkpoints" / name).read_text() for name in ("best", "last"))
    assert best != last
    trainer(max_epochs=1).fit(BoringModule(), batches)  # a newer run
    second = trainer(max_epochs=2)
    second.fit(BoringModule(), batches, ckpt_path=first.run_dir)
    assert (second.ckpt_path.name, second.run_dir) == (last.strip(), first.run_dir)
    assert "Nothing is left to train: epochs done: 2, steps: 4, with" in caplog.text


def test_resume_restores_callbacks():
    first = trainer(max_epochs=2, callbacks=[ModelCheckpoint(), EarlyStopping("val/loss", patience=3, min_delta=99)])
    first.fit(BoringModule(), dataset(), boring_batches(1))
    stopping = EarlyStopping("val/loss", patience=3, min_delta=99)
    checkpoint = ModelCheckpoint()
    second = trainer(max_epochs=10, callbacks=[checkpoint, stopping])
    second.fit(BoringModule(), dataset(), boring_batches(1), ckpt_path="last")
    # The first validation sets the best value; three without improvement by 99 follow, one of them in the first part.
    assert second.current_epoch == 4
    assert stopping.wait_count == 3
    assert checkpoint.best_model_path.name == "step=000020"


def test_callbacks_missing_on_resume_are_named(caplog):
    def fit(*callbacks, **arguments):
        trainer(max_epochs=1, callbacks=callbacks).fit(BoringModule(), boring_batches(2), **arguments)

    fit(EarlyStopping("train/loss"), Lambdas())
    for callbacks, said in [([EarlyStopping("train/loss")], False), ([], True)]:
        caplog.clear()
        fit(*callbacks, ckpt_path="last")
        assert ("is resumed without callbacks that it had: EarlyStopping(train/loss)." in caplog.text) == said


def test_an_optimizer_that_the_module_keeps_resumes_with_the_rate_of_the_checkpoint(caplog):
    """In the same process it has the rate that a scheduler has left it with, which is not one that was configured."""

    class Keeps(BoringModule):
        def __init__(self):
            super().__init__()
            self.optimizer = keras.optimizers.Adam(0.1)

        def configure_optimizers(self):
            return {"optimizer": self.optimizer, "lr_scheduler": lambda epoch, rate: rate / 2}

    trainer, batches = quiet_trainer(enable_checkpointing=True, max_epochs=2), boring_batches(2)
    trainer.fit(module := Keeps(), batches)
    trainer.max_epochs = 4
    trainer.fit(module, batches, ckpt_path="last")
    assert trainer.learning_rates() == pytest.approx([0.1 / 2**4])
    assert "is configured" not in caplog.text
    quiet_trainer(max_epochs=4).fit(whole := Keeps(), batches)
    for name, array in weights_of(whole).items():
        np.testing.assert_array_equal(weights_of(module)[name], array)


def test_changed_learning_rate_is_applied_and_reported(caplog):
    first = quiet_trainer(max_epochs=1, callbacks=[LearningRateScheduler(lambda epoch, rate: rate / 2)])
    first.fit(Dropping(learning_rate=0.5), dataset())
    path = first.save_checkpoint("checkpoint")
    for rate, expected in ((0.5, 0.25), (0.25, 0.125)):
        second = quiet_trainer(max_epochs=2)
        second.fit(Dropping(learning_rate=rate), dataset(), ckpt_path=path)
        assert second.learning_rates() == [expected]
        assert ("0.125: 0.25 is configured, but the run began with 0.5" in caplog.text) == (rate == 0.25)
    again = quiet_trainer(max_epochs=3)
    again.fit(Dropping(learning_rate=0.25), dataset(), ckpt_path=second.save_checkpoint("again"))
    assert again.learning_rates() == [0.125]


def test_contents_of_a_checkpoint_state():
    class Data(kgenre.DataModule):
        def __init__(self, rows=40):
            self.save_hyperparameters()

        def train_dataloader(self):
            return dataset()

        def state_dict(self):
            return {"vocabulary": ["a", "b"]}

    run = quiet_trainer(max_epochs=1)
    run.fit(Dropping(learning_rate=0.01), Data())
    state = read_checkpoint(run.save_checkpoint("checkpoint")).state
    assert (state["epoch"], state["batch"], state["global_step"]) == (1, 0, 5)
    assert state["model"]["hyperparameters"]["learning_rate"] == 0.01
    assert state["model"]["class_path"].endswith("Dropping")
    assert state["data"]["state"] == {"vocabulary": ["a", "b"]}
    assert state["data"]["hyperparameters"] == {"rows": 40}
    assert state["environment"]["backend"] == keras.backend.backend()
    json.dumps(state)


def test_last_without_a_checkpoint_starts_fresh(caplog):
    run = trainer()
    run.fit(BoringModule(), dataset(), ckpt_path="last")
    assert run.global_step == 5
    assert "no checkpoint under" in caplog.text
    with pytest.raises(CheckpointError, match="ckpt_path='best': no best checkpoint under"):
        trainer().fit(BoringModule(), dataset(), ckpt_path="best")


def test_last_falls_back_to_the_newest_valid_checkpoint(caplog):
    run = trainer(max_epochs=3, callbacks=[ModelCheckpoint(save_top_k=-1)])
    run.fit(BoringModule(), dataset(), boring_batches(1))
    (run.log_dir / "checkpoints" / "step=000015" / "weights.safetensors").write_bytes(b"half")
    second = trainer(max_epochs=3, callbacks=[ModelCheckpoint(save_top_k=-1)])
    second.fit(BoringModule(), dataset(), boring_batches(1), ckpt_path="last")
    assert "step=000015 is damaged" in caplog.text
    assert "Falling back to" in caplog.text
    assert second.global_step == 15
    assert same_state(run, second) == []


@pytest.mark.parametrize(("kept", "others"), [(1, "and there is no other under"), (-1, "and no older one verifies")])
def test_last_fails_if_every_checkpoint_is_damaged(kept, others):
    run = trainer(max_epochs=3, callbacks=[ModelCheckpoint(monitor=None, save_top_k=kept)])
    run.fit(BoringModule(), dataset())
    for folder in (run.log_dir / "checkpoints").glob("step=*"):
        content = bytearray((folder / "weights.safetensors").read_bytes())
        content[-1] ^= 1
        (folder / "weights.safetensors").write_bytes(content)
    again, module = trainer(max_epochs=4), BoringModule()
    with pytest.raises(
        CheckpointError,
        match=rf"step=000015 is damaged: weights.safetensors is not the file .*sha256.*{others} .*leave ckpt_path out",
    ):
        again.fit(module, dataset(), ckpt_path="last")
    assert again.global_step == 0
    assert [folder.name for folder in run.log_dir.parent.iterdir()] == ["version_0"]


# --- loading checkpoints, also into other models ------------------------------------------------------------------


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A full and a weights-only checkpoint of a `Dropping`, and its weights."""
    run, module = quiet_trainer(max_steps=2), Dropping(learning_rate=0.01)
    run.fit(module, dataset())
    folder = tmp_path_factory.mktemp("saved")
    weights_only = run.save_checkpoint(folder / "weights", weights_only=True)
    return run.save_checkpoint(folder / "whole"), weights_only, weights_of(module)


def test_load_from_checkpoint(saved):
    path, weights_only, weights = saved
    for folder in (path, weights_only):
        module = Dropping.load_from_checkpoint(folder)
        assert (module.learning_rate, module.hparams.learning_rate) == (0.01, 0.01)
        for name, array in weights_of(module).items():
            np.testing.assert_array_equal(array, weights[name], err_msg=name)
    module = Dropping.load_from_checkpoint(path, learning_rate=0.5)
    assert module.learning_rate == module.hparams.learning_rate == 0.5
    assert quiet_trainer().test(module, boring_batches(1), verbose=False)[0]["test/loss"] > 0


def test_adapted_normalization_is_restored(tmp_path):
    class Normalized(BoringModule):
        def __init__(self, adapts=False):
            super().__init__()
            normal = keras.layers.Normalization()
            if adapts:
                normal.adapt(10 + 3 * boring_batches(1)[0]["x"])
            self.model = keras.Sequential([keras.Input((4,)), normal, *self.model.layers])

    run, module = quiet_trainer(max_steps=1), Normalized(adapts=True)
    run.fit(module, boring_batches(1))
    path = run.save_checkpoint(tmp_path / "saved")
    x = boring_batches(1)[0]["x"]
    expected = keras.ops.convert_to_numpy(module.model(x))
    loaded, fitted, tested = Normalized.load_from_checkpoint(path, adapts=False), Normalized(), Normalized()
    quiet_trainer(max_steps=1).fit(fitted, boring_batches(1), ckpt_path=path)
    quiet_trainer().test(tested, boring_batches(1), ckpt_path=path, verbose=False)
    for other in (loaded, fitted, tested):
        np.testing.assert_allclose(keras.ops.convert_to_numpy(other.model(x)), expected, rtol=1e-5)


def test_adapted_preprocessing_layers_are_restored(tmp_path):
    numbers, words = np.arange(8.0) ** 2, ["cat sat", "dog sat", "cat"]

    class Tabular(BoringModule):
        def __init__(self, adapts=False):
            super().__init__()
            self.buckets = keras.layers.Discretization(num_bins=3)
            self.codes = [keras.layers.IntegerLookup(), keras.layers.StringLookup(num_oov_indices=2)]
            self.texts = keras.layers.TextVectorization(output_mode="tf_idf")
            if adapts:
                self.buckets.adapt(numbers)
                self.codes[0].adapt([7, 7, 3])
                self.codes[1].adapt(["b", "a"])
                self.texts.adapt(words)

        def seen(self):
            given = [self.buckets(numbers), self.codes[0]([3, 7, 5]), self.codes[1](["a", "b"]), self.texts(words)]
            return [keras.ops.convert_to_numpy(array) for array in given]

    run, module = quiet_trainer(max_steps=1), Tabular(adapts=True)
    run.fit(module, boring_batches(1))
    path = run.save_checkpoint(tmp_path / "saved")
    loaded, fitted = Tabular.load_from_checkpoint(path, adapts=False), Tabular()
    quiet_trainer(max_steps=1).fit(fitted, boring_batches(1), ckpt_path=path)
    for other in (loaded, fitted):
        for expected, array in zip(module.seen(), other.seen(), strict=True):
            np.testing.assert_array_equal(array, expected)
    assert len(set(map(float, module.seen()[0]))) == 3
    assert module.seen()[3].any()
    with pytest.raises(CheckpointError, match=r"the state of preprocessing layers .*'Discretization', 'Int"):
        quiet_trainer().validate(BoringModule(), boring_batches(1), ckpt_path=path)


def test_resume_restores_stateful_layers(tmp_path):
    class Stateful(BoringModule):
        def __init__(self):
            super().__init__()
            ones = {"kernel_initializer": "ones", "recurrent_initializer": "ones"}
            layer = keras.layers.SimpleRNN(2, stateful=True, seed=1, **ones)
            self.model = keras.Sequential([keras.Input((4, 1), batch_size=8), layer])

        def training_step(self, batch, batch_idx):
            return keras.ops.mean((self.model(batch["x"][..., None]) - batch["y"]) ** 2)

    straight, first, second = (quiet_trainer(max_steps=steps) for steps in (4, 2, 4))
    straight.fit(Stateful(), boring_batches())
    first.fit(Stateful(), boring_batches())
    path = first.save_checkpoint(tmp_path / "saved")
    second.fit(Stateful(), boring_batches(), ckpt_path=path)
    assert first.engine.state_dict()["model.layers.0.states.0"].any()
    assert same_state(straight, second) == []


def test_load_from_checkpoint_of_a_datamodule(saved, tmp_path):
    class Counted(kgenre.DataModule):
        def __init__(self, batches: int = 1, start: int = 0):
            self.save_hyperparameters()
            self.words = ["a"] * start

        def train_dataloader(self):
            return boring_batches(self.hparams.batches)

        def state_dict(self):
            return {"words": self.words}

        def load_state_dict(self, state):
            self.words = state["words"]

    run = quiet_trainer(max_steps=1)
    run.fit(Dropping(), datamodule=Counted(batches=2, start=3))
    path = run.save_checkpoint(tmp_path / "with data")
    loaded = Counted.load_from_checkpoint(path, start=0)
    assert (loaded.hparams.batches, loaded.hparams.start, loaded.words) == (2, 0, ["a"] * 3)
    with pytest.raises(CheckpointError, match="holds no datamodule: it was trained without one"):
        Counted.load_from_checkpoint(saved[0])
    with pytest.raises(TypeError, match=r"Counted.__init__ has no argument 'size'"):
        Counted.load_from_checkpoint(path, size=1)


def test_load_from_checkpoint_of_a_module_with_kwargs(saved):
    class Anything(Dropping):
        def __init__(self, **given):
            super().__init__()
            self.given = given

    given = Anything.load_from_checkpoint(saved[0], extra=1).given
    assert given["extra"] == 1
    assert "learning_rate" in given


def test_load_from_checkpoint_with_arguments_that_have_no_names(tmp_path):
    class Stacked(BoringModule):
        def __init__(self, units, /, scale=1.0, *layers, name="net"):
            super().__init__(units=units)
            self.save_hyperparameters()
            self.given = units, scale, layers, name

    run = quiet_trainer()
    run.fit(Stacked(2, 0.5, "a", "b", name="stack"), boring_batches(1))
    path = run.save_checkpoint(tmp_path / "stacked")
    assert Stacked.load_from_checkpoint(path).given == (2, 0.5, ("a", "b"), "stack")
    assert Stacked.load_from_checkpoint(path, layers=["c"], name="other").given == (2, 0.5, ("c",), "other")


def test_load_from_checkpoint_names_arguments_that_json_cannot_hold(tmp_path, caplog):
    class Activated(BoringModule):
        def __init__(self, activation=None, colours=None):
            super().__init__()
            self.save_hyperparameters()
            self.activation = activation

    class Required(Activated):
        def __init__(self, activation):
            super().__init__(activation)

    run = quiet_trainer()
    run.fit(Activated(keras.ops.tanh, {"red"}), boring_batches(1))
    path = run.save_checkpoint(tmp_path / "activated")
    caplog.clear()
    assert Activated.load_from_checkpoint(path, colours=None).activation is None
    assert caplog.messages == [
        "Activated.load_from_checkpoint uses the default of activation: JSON, and so the checkpoint, cannot hold the "
        "value that the run had. Give it: Activated.load_from_checkpoint(path, activation=value)."
    ]
    caplog.clear()
    assert Activated.load_from_checkpoint(path, activation=abs, colours=None).activation is abs
    assert not caplog.messages
    with pytest.raises(CheckpointError, match=r"'activation'\). Give the arguments: .*\(path, activation=value\)\.$"):
        Required.load_from_checkpoint(path)


def test_load_from_checkpoint_of_the_base_class(saved):
    with pytest.raises(
        CheckpointError, match=r"^Module.load_from_checkpoint: call it on the class .*, Dropping.load_from_checkpoint"
    ):
        kgenre.Module.load_from_checkpoint(saved[0])


def test_load_from_checkpoint_of_another_model(saved):
    class Wider(Dropping):
        def __init__(self):
            super().__init__()
            self.model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])

    named = "model.layers.0.kernel is not in the checkpoint; model.layers.0.bias is not in the checkpoint"
    with pytest.raises(
        CheckpointError, match=f"^Checkpoint {saved[0]} belongs to a different model: {named} .and 3 more differences."
    ):
        Wider.load_from_checkpoint(saved[0])

    class Needs(BoringModule):
        def __init__(self, colour):
            super().__init__()

    with pytest.raises(CheckpointError, match=r"does not hold the arguments of Needs .*save_hyperparameters\(\)"):
        Needs.load_from_checkpoint(saved[0])


def test_load_from_checkpoint_of_another_model_without_strict(saved, caplog):
    class OtherHead(Dropping):
        def __init__(self, learning_rate):
            super().__init__(learning_rate)
            self.model = keras.Sequential([*self.model.layers, keras.layers.Dense(3, name="head")])
            self.model.build((None, 4))
            del self.error_metric

    module = OtherHead.load_from_checkpoint(saved[0], strict=False)
    loaded = weights_of(module)
    for name in ("model.layers.1.kernel", "model.layers.1.bias"):
        np.testing.assert_array_equal(loaded[name], saved[2][name])
    said = "(strict=False): error_metric.0, error_metric.1, model.layers.2.bias, model.layers.2.kernel."
    assert said in caplog.text

    class Wider(Dropping):
        def __init__(self, learning_rate):
            super().__init__(learning_rate)
            self.model = BoringModule(units=3, dropout=0.3).model

    caplog.clear()
    Wider.load_from_checkpoint(saved[0], strict=False)
    assert "(strict=False): model.layers.1.bias, model.layers.1.kernel." in caplog.text


def test_load_from_checkpoint_with_an_unknown_argument(saved):
    with pytest.raises(TypeError, match=r"Dropping.__init__ has no argument 'nope'\. It has: .*learning_rate"):
        Dropping.load_from_checkpoint(saved[0], nope=5)
    with pytest.raises(TypeError, match=r"has no argument 'map_location'\. It has: .*\. Leave it out"):
        Dropping.load_from_checkpoint(saved[0], map_location="cpu")

    class Fails(Dropping):
        def __init__(self, learning_rate):
            raise TypeError("of its own")

    with pytest.raises(TypeError, match=r"^of its own$"):
        Fails.load_from_checkpoint(saved[0])


@pytest.mark.usefixtures("in_tmp_path")
def test_error_about_another_optimizer_names_the_config_of_the_run():
    """The command line writes one, and does not know the run's --optimizer when it resumes."""

    class Other(BoringModule):
        def configure_optimizers(self):
            return keras.optimizers.Adam(0.1)

    trainer = quiet_trainer(enable_checkpointing=True)
    trainer.fit(Other(), boring_batches(1))
    (config := trainer.run_dir / "config.yaml").touch()
    with pytest.raises(CheckpointError, match=rf"with its own options: --config {config}\. To start from its"):
        quiet_trainer().fit(BoringModule(), boring_batches(1), ckpt_path=trainer.run_dir)


@pytest.mark.parametrize("stage", ["fit", "test"])
def test_ckpt_path_of_another_model(saved, stage):
    told = r"belongs to a different model: model\.layers\.0\.kernel is not .* units=2 \(here: 3\)"
    with pytest.raises(CheckpointError, match=told):
        getattr(quiet_trainer(), stage)(BoringModule(units=3), boring_batches(1, units=3), ckpt_path=saved[0])


def test_ckpt_path_of_another_optimizer(saved):
    class Sgd(Dropping):
        def configure_optimizers(self):
            return keras.optimizers.SGD(0.1, momentum=0.9)

    class Late(Dropping):
        def __init__(self):
            super().__init__()
            del self.model

        def configure_model(self):
            self.model = Dropping().model

        def error(self, batch, training=False):
            return keras.ops.mean(keras.ops.subtract(self.model(batch["x"], training=training), batch["y"]) ** 2)

    there = r"of a different optimizer \(optimizers.0.velocities.model.layers.1.bias is only in the checkpoint and 1 "
    with pytest.raises(CheckpointError, match=there):
        quiet_trainer().fit(Sgd(), dataset(), ckpt_path=saved[0])
    with pytest.raises(CheckpointError, match=r"holds weights only, .* To start from its weights: Dropping\.load_from"):
        quiet_trainer().fit(Dropping(), dataset(), ckpt_path=saved[1])
    with pytest.raises(CheckpointError, match=r"loss_scale.good_steps is not in the checkpoint .* different precision"):
        quiet_trainer(precision="16-mixed").fit(Late(), dataset(), ckpt_path=saved[0])
    with pytest.raises(CheckpointError, match=r"is not in the checkpoint .*, from a run without WeightAveraging, so"):
        quiet_trainer(callbacks=WeightAveraging()).fit(Dropping(), dataset(), ckpt_path=saved[0])


def test_resume_in_an_epoch_that_has_become_shorter(saved):
    """The checkpoint was saved after two batches; the epoch now has one."""
    run = quiet_trainer(max_epochs=2)
    run.fit(Dropping(), boring_batches(1), ckpt_path=saved[0])
    assert (run.current_epoch, run.global_step) == (2, 3)


class Lazy(BoringModule):
    """Keras builds its layers when they see the first batch."""

    def __init__(self, units=2):
        super().__init__()
        self.save_hyperparameters()
        self.model = keras.Sequential([keras.layers.Dense(3), keras.layers.Dense(units)])


def test_load_from_checkpoint_builds_lazy_layers(tmp_path):
    run, module = quiet_trainer(), Lazy()
    run.fit(module, boring_batches(2))
    path = run.save_checkpoint(tmp_path / "lazy")
    loaded = weights_of(Lazy.load_from_checkpoint(path))
    assert {name: array.tolist() for name, array in loaded.items()} == {
        name: array.tolist() for name, array in weights_of(module).items()
    }
    with pytest.raises(
        CheckpointError, match=r"belongs to a different model: model.layers.1.kernel is \(3, 2\) in the checkpoint"
    ):
        BiggerLazy.load_from_checkpoint(path)


@pytest.mark.parametrize(
    ("form", "content"),
    [
        (namedtuple("Batch", ["x", "y"]), lambda batch: (batch.x, batch.y)),
        (lambda x, y: {1: y, 0: x}, lambda batch: (batch[0], batch[1])),
    ],
)
def test_lazy_layers_are_built_from_batches_of_any_form(tmp_path, form, content):
    class OfForm(Lazy):
        def training_step(self, batch, batch_idx):
            x, y = content(batch)
            return self.error({"x": x, "y": y}, training=True)

    run, module = quiet_trainer(), OfForm()
    run.fit(module, [form(**batch) for batch in boring_batches(2)])
    loaded = OfForm.load_from_checkpoint(run.save_checkpoint(tmp_path / "lazy"))
    np.testing.assert_array_equal(loaded.model.get_weights()[0], module.model.get_weights()[0])


class Encodes(kgenre.Module):
    """Predicts with a part of its layers; its metric has no variables before the first batch."""

    def __init__(self):
        self.encoder = keras.Sequential([keras.layers.Dense(3), keras.layers.Dropout(0.5)])  # a fit warns of its mode
        self.decoder = keras.Sequential([keras.layers.Dense(2)])
        self.r2 = [keras.metrics.R2Score()]

    def training_step(self, batch, batch_idx):
        decoded = self.decoder(self.encoder(batch["x"]))
        self.r2[0].update_state(batch["y"], decoded)
        self.log("train/r2", self.r2[0])
        return keras.ops.mean((decoded - batch["y"]) ** 2)

    def predict_step(self, batch, batch_idx):
        return self.encoder(batch["x"])

    def configure_optimizers(self):
        return keras.optimizers.SGD(0.1)


class EncodesMore(Encodes):
    def __init__(self):
        super().__init__()
        self.norm = keras.metrics.Mean()

    def predict_step(self, batch, batch_idx):
        encoded = super().predict_step(batch, batch_idx)
        self.norm.update_state(encoded)
        return encoded


@pytest.mark.parametrize("kind", [Encodes, EncodesMore], ids=["the same", "with another metric"])
def test_metrics_and_layers_that_prediction_does_not_build(tmp_path, kind, recwarn):
    run, module, batches = quiet_trainer(), Encodes(), boring_batches(2)
    run.fit(module, batches)
    expected = run.predict(module, batches)
    path = run.save_checkpoint(tmp_path / "encodes")
    recwarn.clear()
    np.testing.assert_array_equal(quiet_trainer().predict(kind(), batches, ckpt_path=path), expected)
    loaded = kind.load_from_checkpoint(path)
    np.testing.assert_array_equal(quiet_trainer().predict(loaded, batches), expected)
    assert not [warning for warning in recwarn if "training_step" in str(warning.message)]
    resumed = quiet_trainer(max_epochs=2)
    resumed.fit(kind(), batches, ckpt_path=path)
    assert resumed.global_step == 4


class BiggerLazy(Lazy):
    def __init__(self):
        super().__init__()
        self.model = keras.Sequential([keras.layers.Dense(3), keras.layers.Dense(4)])

    def error(self, batch, training=False):
        return keras.ops.mean(self.model(batch["x"]) ** 2)


def test_testing_a_checkpoint(saved):
    path, _, weights = saved
    module = Dropping()
    run = quiet_trainer()
    run.test(module, boring_batches(1), ckpt_path=path, verbose=False)
    np.testing.assert_array_equal(weights_of(module)["model.layers.1.kernel"], weights["model.layers.1.kernel"])
    assert run.global_step == 2


def test_saving_needs_a_run():
    with pytest.raises(kgenre.TrainerError, match=r"call trainer.fit\(\) first"):
        quiet_trainer().save_checkpoint("x")
