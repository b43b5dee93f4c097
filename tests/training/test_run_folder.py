"""The files that a run leaves on disk."""

import errno
import json
import os
from pathlib import Path

import keras
import pytest
from boring import BoringModule, boring_batches, quiet_trainer

import kgenre
from kgenre import TrainerError
from kgenre.callbacks import LambdaCallback, PredictionWriter
from kgenre.checkpoints import CheckpointError
from kgenre.loggers import CSVLogger, TensorBoardLogger
from kgenre.training.run_folder import new_run_folder, run_folders, update_metrics

pytestmark = pytest.mark.usefixtures("in_tmp_path")


@pytest.fixture(scope="module")
def trainer(tmp_path_factory):
    """A trainer with its default loggers and callbacks, after a fit and a test."""

    class Data(kgenre.DataModule):
        def __init__(self, rows=8):
            self.save_hyperparameters()

        def train_dataloader(self):
            return boring_batches(3, rows=self.hparams.rows)

        val_dataloader = test_dataloader = train_dataloader

        def save_artifacts(self, directory):
            (directory / "split.json").write_text("{}")

    trainer = kgenre.Trainer(max_epochs=2, default_root_dir=tmp_path_factory.mktemp("runs"), log_every_n_steps=2)
    opened = []
    trainer.on_run_opened(lambda trainer: opened.append(trainer.log_dir))
    trainer.fit(BoringModule(), Data())
    assert opened == [trainer.log_dir]
    trainer.test(verbose=False)
    return trainer


def test_files_of_a_run(trainer):
    names = {path.name for path in trainer.log_dir.iterdir() if "tfevents" not in path.name}
    curves = {"train", "val", "test"}  # a TensorBoard folder each, so that they share charts
    assert names == {"checkpoints", "environment.json", "metrics.csv", "metrics.json", "split.json"} | curves
    files = {path.name for path in trainer.log_dir.glob("events.out.tfevents.*")}
    assert len(files - {"events.out.tfevents.0.hparams"}) == 1
    assert {path.name for path in (trainer.log_dir / "checkpoints").iterdir()} == {"best", "last", "step=000006"}
    assert trainer.log_dir.parts[-2:] == ("boring_module", "version_0")


def test_metrics_json_has_the_final_metrics(trainer):
    numbers = json.loads((trainer.log_dir / "metrics.json").read_text())
    assert list(numbers) == sorted(numbers)
    assert {"train/loss", "val/loss", "test/loss", "throughput/samples_per_second"} <= set(numbers)
    assert numbers["test/loss"] == trainer.callback_metrics["test/loss"]
    assert numbers["test/step"] == trainer.global_step == 6
    trainer.test(ckpt_path="best", verbose=False)
    assert json.loads((trainer.log_dir / "metrics.json").read_text())["test/checkpoint"] == "step=000006"


def test_environment_json(trainer):
    environment = json.loads((trainer.log_dir / "environment.json").read_text())
    assert environment["backend"] == keras.backend.backend()
    assert environment["versions"]["keras"] == keras.__version__
    assert environment["devices"]
    assert {"time", "python", "platform", "cpus", "git_commit"} <= set(environment)
    assert "backends" not in environment


@pytest.mark.parametrize(
    ("content", "backends"),
    [
        ('{"backend": "another"}', ["another", keras.backend.backend()]),
        ('{"backend": "another", "backends": ["a", "another"]}', ["a", "another", keras.backend.backend()]),
        (f'{{"backend": "x", "backends": ["a", "{keras.backend.backend()}"]}}', ["a", keras.backend.backend()]),
        (f'{{"backend": "{keras.backend.backend()}"}}', None),
        ("[1", None),
        ("[1]", None),
    ],
)
def test_all_backends_of_a_resumed_run_are_kept(content, backends):
    trainer = quiet_trainer(logger=CSVLogger(), enable_checkpointing=True, max_epochs=1)
    trainer.fit(BoringModule(), boring_batches(1))
    path = trainer.run_dir / "environment.json"
    path.write_text(content)
    quiet_trainer(logger=CSVLogger(), enable_checkpointing=True, max_epochs=2).fit(
        BoringModule(), boring_batches(1), ckpt_path=trainer.run_dir
    )
    environment = json.loads(path.read_text())
    assert (environment["backend"], environment.get("backends")) == (keras.backend.backend(), backends)


def test_each_fit_has_its_own_folder():
    before = []
    note = LambdaCallback(setup=lambda trainer, module, stage: before.append((trainer.log_dir, trainer.results_dir)))
    trainer = quiet_trainer(logger=CSVLogger(), callbacks=note)
    for version in (0, 1):
        trainer.fit(BoringModule(), boring_batches(1))
        assert before.pop() == (None, None)
        assert trainer.log_dir.name == f"version_{version}"
        assert (trainer.log_dir / "metrics.csv").exists()


def test_the_next_version_follows_the_highest(tmp_path):
    for name in ("version_2", "version_10", "version_x"):
        (tmp_path / name).mkdir()
    assert new_run_folder(tmp_path).name == "version_11"
    assert [path.name for path in run_folders(tmp_path)] == ["version_2", "version_10", "version_11"]


def test_unwritable_root_is_named():
    Path("file").touch()
    with pytest.raises(TrainerError, match=r"file/boring_module \(Not a directory\). Set a writable default_root_dir"):
        quiet_trainer(default_root_dir="file", enable_checkpointing=True).fit(BoringModule(), boring_batches(1))


def test_a_name_that_is_too_long_leaves_no_folder():
    with pytest.raises(TrainerError, match="cannot be created in runs/xxx"):
        quiet_trainer(name="x" * 300, enable_checkpointing=True).fit(BoringModule(), boring_batches(1))
    assert not Path("runs").exists()


def test_tilde_is_expanded_to_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    trainer = quiet_trainer(default_root_dir="~/runs", name="net", enable_checkpointing=True)
    trainer.fit(BoringModule(), boring_batches(1))
    assert trainer.run_dir == tmp_path / "home" / "runs" / "net" / "version_0"
    assert not Path("~").exists()
    trainer.fit(BoringModule(), boring_batches(1), ckpt_path="~/runs/net/version_0")
    assert trainer.ckpt_path.parent.parent == tmp_path / "home" / "runs" / "net" / "version_0"
    trainer.save_checkpoint("~/copies/net")
    BoringModule.load_from_checkpoint("~/copies/net")
    logged = quiet_trainer(logger=CSVLogger("~/logs"), callbacks=PredictionWriter("~/predictions"), name="net")
    logged.fit(BoringModule(), boring_batches(1))
    assert logged.run_dir == tmp_path / "home" / "logs" / "net" / "version_0"
    logged.predict(dataloaders=boring_batches(1))
    assert [path.name for path in (tmp_path / "home" / "predictions").iterdir()] == ["batch_000000.npz"]
    assert not Path("~").exists()
    with pytest.raises(CheckpointError, match="Checkpoint ~nobody-here/net does not exist"):
        logged.test(dataloaders=boring_batches(1), ckpt_path="~nobody-here/net")


def test_tilde_of_an_unknown_user_is_part_of_the_name():
    loggers, writer = CSVLogger("~nobody-here/logs"), PredictionWriter("~nobody-here/predictions")
    trainer = quiet_trainer(default_root_dir="~nobody-here/runs", logger=loggers, callbacks=writer, name="net")
    trainer.fit(BoringModule(), boring_batches(1))
    trainer.predict(dataloaders=boring_batches(1))
    assert sorted(path.name for path in Path("~nobody-here").iterdir()) == ["logs", "predictions"]


def test_metrics_are_merged_and_valid_json(tmp_path):
    update_metrics(tmp_path, {"val/loss": 0.5, "test/loss": 1.0, "test/baseline/loss": 2.0})
    update_metrics(tmp_path, {"a": 1.0})
    assert json.loads((tmp_path / "metrics.json").read_text())["test/baseline/loss"] == 2.0
    update_metrics(tmp_path, {"test/loss": float("nan"), "a": float("inf")})
    assert json.loads((tmp_path / "metrics.json").read_text()) == {"a": None, "test/loss": None, "val/loss": 0.5}
    update_metrics(tmp_path, {"val/map": 0.25})
    assert json.loads((tmp_path / "metrics.json").read_text()) == {"a": None, "test/loss": None, "val/map": 0.25}
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.json"]


def test_validation_outside_a_fit_leaves_the_values_of_the_fit_as_they_are():
    module = BoringModule()
    trainer = quiet_trainer(logger=[CSVLogger(), TensorBoardLogger()], enable_checkpointing=True)
    trainer.fit(module, boring_batches(3), boring_batches(4))
    run = trainer.run_dir
    own = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    for batches, checkpoint in ((boring_batches(1), "last"), (boring_batches(2), None)):
        found = trainer.validate(module, batches, ckpt_path=checkpoint, verbose=False)[0]
        assert {path: path.read_bytes() for path in own} == own
        assert (trainer.run_dir, trainer.results_dir) == (run, run / "validate")
        expected = found | {"val/step": 3} | ({"val/checkpoint": "step=000003"} if checkpoint else {})
        assert json.loads((run / "validate" / "metrics.json").read_text()) == expected, "only of the last validation"
    assert (run / "validate" / "metrics.csv").is_file()


def test_results_on_other_data_have_their_own_folder():
    class Others(kgenre.DataModule):
        results_name = "others"
        results_source = "/a/others"

        def test_dataloader(self):
            return boring_batches(2, seed=7)

    trainer, module = quiet_trainer(logger=CSVLogger(), enable_checkpointing=True), BoringModule()
    trainer.fit(module, boring_batches(3), boring_batches(1))
    run = trainer.run_dir
    own = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    trainer.test(module, datamodule=Others(), ckpt_path="last", verbose=False)
    assert (trainer.run_dir, trainer.results_dir) == (run, run / "test_others")
    assert {path: path.read_bytes() for path in own} == own
    assert {path.name for path in trainer.results_dir.iterdir()} == {"metrics.csv", "metrics.json"}
    more = Others()
    for source, folder in (
        ("/b/others", "test_others_2"),
        ("/c/others", "test_others_3"),
        ("/b/others", "test_others_2"),
    ):
        Others.results_source = source
        trainer.test(module, datamodule=more, ckpt_path="last", verbose=False)
        assert trainer.results_dir == run / folder
        assert json.loads((run / folder / "metrics.json").read_text())["data/source"] == source
    trainer.test(module, boring_batches(1), ckpt_path="last", verbose=False)
    assert trainer.results_dir == run
    assert "test/loss" in json.loads((run / "metrics.json").read_text())


@pytest.mark.parametrize("stage", ["test", "predict"])
def test_run_in_a_read_only_folder_can_be_evaluated(monkeypatch, caplog, stage):
    class Others(kgenre.DataModule):
        results_name = "others"

        def test_dataloader(self):
            return boring_batches(2)

        predict_dataloader = test_dataloader

    trainer = quiet_trainer(logger=[CSVLogger(), TensorBoardLogger()], enable_checkpointing=True)
    trainer.fit(BoringModule(), boring_batches(1))
    before = sorted(trainer.log_dir.rglob("*"))
    # The tests may run as root, who can write everywhere.
    monkeypatch.setattr(os, "access", lambda path, mode: (Path(path), mode) != (trainer.log_dir, os.W_OK))
    for data in (boring_batches(2), Others()):
        caplog.clear()
        assert len(getattr(trainer, stage)(BoringModule(), data, ckpt_path="last")) == {"test": 1, "predict": 2}[stage]
        assert f"{trainer.log_dir} cannot be written. The results are not written there." in caplog.text
        assert (trainer.results_dir, sorted(trainer.log_dir.rglob("*"))) == (None, before)


def test_others_runs_do_not_prevent_a_new_one(monkeypatch):
    trainer = quiet_trainer(enable_checkpointing=True)
    trainer.fit(BoringModule(), boring_batches(1))
    theirs = trainer.log_dir
    left = theirs / "checkpoints" / ".step=000009.7.partial"  # they were killed
    left.mkdir()

    def refuse(path, *arguments, **named):
        if path == theirs.resolve() / ".lock":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return opened(path, *arguments, **named)

    opened = Path.open
    monkeypatch.setattr(Path, "open", refuse)
    trainer.fit(BoringModule(), boring_batches(1))
    assert trainer.log_dir.name == "version_1"
    assert left.exists()


def test_predict_writes_no_metrics():
    trainer = quiet_trainer(enable_checkpointing=True)
    trainer.fit(BoringModule(), boring_batches(1))
    (trainer.run_dir / "metrics.json").unlink()
    trainer.predict(dataloaders=boring_batches(1))
    assert not (trainer.run_dir / "metrics.json").exists()


def test_damaged_metrics_json_is_replaced_and_named(tmp_path, caplog):
    (tmp_path / "metrics.json").write_text('{"a": 1.0, "b')
    update_metrics(tmp_path, {"a": 2.0})
    assert json.loads((tmp_path / "metrics.json").read_text()) == {"a": 2.0}
    assert "metrics.json is damaged" in caplog.text


def test_failed_run_keeps_its_metrics():
    class Fails(BoringModule):
        def on_train_epoch_end(self):
            if self.current_epoch == 1:
                raise ZeroDivisionError

    trainer = quiet_trainer(max_epochs=3, logger=CSVLogger())
    with pytest.raises(ZeroDivisionError):
        trainer.fit(Fails(), boring_batches(1), boring_batches(1))
    assert "val/loss" in json.loads((trainer.log_dir / "metrics.json").read_text())


class Refuses(kgenre.Callback):
    """Raises in the given hook."""

    def __init__(self, hook):
        setattr(self, hook, self.refuse)

    def refuse(self, *arguments):
        raise TrainerError("refused")


def fit_refused(callback, **options):
    """A trainer with the default loggers and checkpoints, after a fit in which the callback raised."""
    trainer = quiet_trainer(
        logger=None, enable_checkpointing=True, num_sanity_val_steps=1, callbacks=callback, **options
    )
    with pytest.raises(TrainerError, match="refused"):
        trainer.fit(BoringModule(), boring_batches(1), boring_batches(1))
    return trainer


@pytest.mark.parametrize("hook", ["on_fit_start", "on_validation_batch_end", "on_train_start", "on_train_batch_start"])
def test_run_that_fails_before_its_first_step_leaves_nothing(hook):
    trainer = fit_refused(Refuses(hook), profiler="simple", default_root_dir="a/runs")
    assert (trainer.log_dir, list(Path().iterdir())) == (None, [])


def test_logged_files_of_a_run_without_steps_are_removed():
    def log(trainer, module):
        trainer.logger.log_text("graph", "of the model", 0)
        trainer.results.log("value", 1.0)
        trainer.results.write(0)

    fit_refused([LambdaCallback(on_fit_start=log), Refuses("on_train_start")])
    assert list(Path().iterdir()) == []


def test_next_run_reuses_the_folder_of_a_run_without_steps():
    Path("runs/boring_module").mkdir(parents=True)
    callback = Refuses("on_fit_start")
    trainer = fit_refused(callback, max_epochs=1)
    assert list(Path("runs/boring_module").iterdir()) == []
    del callback.on_fit_start
    trainer.fit(BoringModule(), boring_batches(1), boring_batches(1))
    assert trainer.log_dir == Path("runs/boring_module/version_0")
    assert {"val", "metrics.csv"} <= {path.name for path in trainer.log_dir.iterdir()}
    assert len(list(trainer.log_dir.glob("events.out.tfevents.*"))) == 2


@pytest.mark.parametrize("name", ["notes.txt", "environment.json"])
@pytest.mark.parametrize("hook", ["on_fit_start", "teardown"])
def test_files_written_or_changed_by_others_are_kept(hook, name):
    def write(trainer, *arguments):
        with (trainer.log_dir / name).open("a") as file:
            file.write("mine")

    fit_refused([LambdaCallback(**{hook: write}), Refuses("on_train_start")])
    assert Path("runs/boring_module/version_0", name).read_text().endswith("mine")


def test_run_that_fails_after_a_step_keeps_its_folder():
    assert fit_refused(Refuses("on_train_batch_end")).log_dir.is_dir()


def test_failing_teardown_releases_the_lock():
    trainer = fit_refused(Refuses("teardown"))
    assert not (trainer.log_dir / ".lock").exists()
