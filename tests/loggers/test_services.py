"""The installed packages of Weights & Biases and MLflow: what they record of a fit, a resumed fit and a test."""

import json
import os

import numpy as np
import pytest
from boring import BoringModule, boring_batches, quiet_trainer

from kgenre.callbacks import LambdaCallback
from kgenre.loggers import CSVLogger, LoggerError, MLFlowLogger, WandbLogger, takes_pictures
from kgenre.loggers.service import ServiceLogger, title

RED = np.zeros((4, 6, 3), np.uint8) + np.array([255, 0, 0], np.uint8)


def written():
    """Wait until W&B, which writes in its own process, is done."""
    import wandb

    wandb.finish()
    wandb.teardown()


@pytest.fixture
def mlflow_logger(in_tmp_path):
    pytest.importorskip("mlflow", reason="mlflow is an extra")
    return MLFlowLogger("digits", tracking_uri=f"sqlite:///{in_tmp_path / 'mlflow.db'}", tags={"who": "me"})


@pytest.fixture
def wandb_logger(in_tmp_path):
    pytest.importorskip("wandb", reason="wandb is an extra")
    yield WandbLogger(project="digits", offline=True, tags=["a"])
    written()


def fit(logger, epochs, **arguments):
    trainer = quiet_trainer(
        logger=[logger, CSVLogger()], log_every_n_steps=1, max_epochs=epochs, enable_checkpointing=True
    )
    trainer.fit(BoringModule(), boring_batches(2), boring_batches(2), **arguments)
    return trainer


def records(log):
    """The records of a LevelDB log: blocks of 32 KiB with pieces, each after its checksum, length and kind."""
    at, data = 7, b""  # after the file's own header
    while at + 7 <= len(log):
        if (rest := 2**15 - at % 2**15) < 7:
            at += rest
            continue
        length, kind = int.from_bytes(log[at + 4 : at + 6], "little"), log[at + 6]
        data += log[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last piece
            yield data
            data = b""


def sent(folder):
    """Read W&B's files below a folder: run id -> its history, in the order of the files."""
    from wandb.proto import wandb_internal_pb2

    written()
    found = {}
    for file in sorted(folder.glob("**/run-*.wandb")):
        for data in records(file.read_bytes()):
            record = wandb_internal_pb2.Record.FromString(data)
            if record.HasField("run"):
                history = found.setdefault(record.run.run_id, [])
            if record.HasField("history"):
                items = record.history.item
                history.append({item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items})
    return found


def curve(history, name):
    return [(row["global_step"], row[name]) for row in history if name in row]


def of_csv(trainer, name):
    import csv

    with (trainer.run_dir / "metrics.csv").open() as file:
        return [(int(row["step"]), pytest.approx(float(row[name]))) for row in csv.DictReader(file) if row.get(name)]


def test_wandb_records_a_resumed_fit_and_its_test(wandb_logger):
    trainer = fit(wandb_logger, 2)
    trainer.test(BoringModule(), boring_batches(2), ckpt_path=trainer.run_dir)
    wandb_logger.experiment.finish()  # as at the end of a program
    going_on = fit(WandbLogger(project="digits", offline=True), 3, ckpt_path="last")

    ((run, history),) = sent(trainer.run_dir).items()
    assert run == json.loads((trainer.run_dir / "wandb.json").read_text())["id"]
    # Both fits log the checkpoint's step, with the same values.
    assert list(dict.fromkeys(curve(history, "train/loss"))) == of_csv(going_on, "train/loss")
    assert sorted({step for step, _ in curve(history, "val/loss")}) == [2, 4, 6]
    assert [step for step, _ in curve(history, "test/loss")] == [4]


def test_wandb_logs_images_and_texts(wandb_logger):
    wandb = pytest.importorskip("wandb")
    picture = LambdaCallback(
        on_fit_start=lambda trainer, module: (
            trainer.logger.log_image("red", RED, 0),
            trainer.logger.log_text("note", "<b>", 0),
        )
    )
    trainer = quiet_trainer(logger=wandb_logger, callbacks=picture, max_epochs=1)
    trainer.fit(BoringModule(), boring_batches(2))
    assert takes_pictures(wandb_logger)
    assert not takes_pictures(CSVLogger())
    assert wandb.run is wandb_logger.experiment
    assert wandb.run.name == "boring_module/version_0"
    written()
    (file,) = trainer.run_dir.glob("wandb/**/red_*.png")
    from PIL import Image

    assert np.array_equal(np.asarray(Image.open(file)), RED)
    (file,) = trainer.run_dir.glob("wandb/**/note_*.html")
    assert "<pre>&lt;b&gt;</pre>" in file.read_text()


def test_open_wandb_run_is_used_and_left_open(wandb_logger, in_tmp_path):
    wandb = pytest.importorskip("wandb")
    mine = wandb.init(project="mine", mode="offline", dir=str(in_tmp_path))
    fit(wandb_logger, 1)
    assert wandb_logger.experiment is mine is wandb.run
    fit(wandb_logger, 1)
    assert mine is wandb.run
    ((_, history),) = sent(in_tmp_path).items()
    assert [step for step, _ in curve(history, "train/loss")] == [1, 2, 1, 2]


def test_each_fit_is_a_wandb_run_and_a_failed_one_ends(wandb_logger):
    wandb = pytest.importorskip("wandb")
    first, second = fit(wandb_logger, 1), fit(wandb_logger, 1)
    ids = [json.loads((trainer.run_dir / "wandb.json").read_text())["id"] for trainer in (first, second)]
    assert len(set(ids)) == 2
    assert wandb.run.id == ids[1]

    def fail(trainer, module):
        raise RuntimeError("no")

    failing = quiet_trainer(logger=wandb_logger, callbacks=LambdaCallback(on_train_epoch_end=fail), max_epochs=1)
    with pytest.raises(RuntimeError, match="no"):
        failing.fit(BoringModule(), boring_batches(2))
    assert wandb.run is None


def test_fit_that_fails_before_starting_leaves_no_folder(wandb_logger, in_tmp_path):
    def refuse(trainer, module):
        raise RuntimeError("refused")

    trainer = quiet_trainer(logger=wandb_logger, callbacks=LambdaCallback(on_fit_start=refuse))
    with pytest.raises(RuntimeError, match="refused"):
        trainer.fit(BoringModule(), boring_batches(2))
    assert not (in_tmp_path / "runs").exists()


def test_wandb_without_a_login_error_suggests_offline(wandb_logger, monkeypatch):
    wandb = pytest.importorskip("wandb")

    def init(**arguments):
        raise wandb.errors.UsageError("No API key configured.")

    monkeypatch.setattr(wandb, "init", init)
    with pytest.raises(LoggerError, match=r"No API key configured\. .*offline=True"):
        fit(wandb_logger, 1)


def test_mlflow_records_a_resumed_fit_and_its_test(mlflow_logger):
    trainer = fit(mlflow_logger, 2)
    trainer.test(BoringModule(), boring_batches(2), ckpt_path=trainer.run_dir)
    again = MLFlowLogger(tracking_uri=mlflow_logger.tracking_uri)
    going_on = fit(again, 3, ckpt_path="last")

    assert again.run_id == mlflow_logger.run_id
    client = again.experiment
    run = client.get_run(again.run_id)
    assert (run.info.run_name, run.info.status, run.data.tags["who"]) == ("boring_module/version_0", "FINISHED", "me")
    assert client.get_experiment(run.info.experiment_id).name == "digits"

    def points(name):
        return sorted({(metric.step, metric.value) for metric in client.get_metric_history(again.run_id, name)})

    assert points("train/loss") == of_csv(going_on, "train/loss")
    assert [step for step, _ in points("val/loss")] == [2, 4, 6]
    assert [step for step, _ in points("test/loss")] == [4]


def test_mlflow_logs_odd_names_many_values_and_images(mlflow_logger, in_tmp_path):
    mlflow_logger.open(in_tmp_path)
    mlflow_logger.log_metrics({f"genre/{n}": float(n) for n in range(1500)} | {"Sci-Fi (été)": 0.5}, 7)
    mlflow_logger.log_hyperparams({"model": {"network": "x" * 7000, "args": {"filters": 16}}})
    mlflow_logger.log_hyperparams({"model": {"args": {"filters": 32}}, "new": [1]})
    mlflow_logger.log_text("films/overviews", "text", 7)
    mlflow_logger.log_image("red", RED, 7)
    mlflow_logger.finalize("interrupted")
    client, run_id = mlflow_logger.experiment, mlflow_logger.run_id
    run = client.get_run(run_id)
    assert run.info.status == "KILLED"
    assert len(run.data.metrics) == 1501
    assert run.data.metrics["Sci-Fi _été_"] == 0.5
    assert {name: value for name, value in run.data.params.items() if name != "model.network"} == {
        "model.args.filters": "16",
        "new": "[1]",
    }
    assert len(run.data.params["model.network"]) == 6000
    assert [file.path for file in client.list_artifacts(run_id, "films/overviews")] == [
        "films/overviews/step=000007.md"
    ]
    assert client.list_artifacts(run_id, "images")


def test_lost_mlflow_server_does_not_end_training(mlflow_logger, monkeypatch, caplog):
    from mlflow import MlflowException

    tries = []

    def fail(*arguments, **named):
        tries.append(arguments)
        raise MlflowException("Connection refused")

    def go_away(trainer, module):
        monkeypatch.setattr(mlflow_logger.experiment, "log_batch", fail)

    trainer = quiet_trainer(
        logger=mlflow_logger, callbacks=LambdaCallback(on_train_start=go_away), log_every_n_steps=1, max_epochs=2
    )
    trainer.fit(BoringModule(), boring_batches(2))
    assert trainer.global_step == 4
    assert len(tries) == 1, "each try may take minutes"
    assert caplog.text.count("This run is no longer logged to MLflow: Connection refused") == 1


@pytest.mark.parametrize(("retries", "most"), [(None, 20), ("1", 2)], ids=["by default", "as set"])
def test_a_dead_mlflow_server_delays_training_for_seconds(mlflow_logger, monkeypatch, caplog, retries, most):
    import mlflow
    from urllib3.util import Retry

    def die(trainer, module):
        monkeypatch.setattr(mlflow_logger, "_client", mlflow.MlflowClient("http://127.0.0.1:9"))

    waits = []
    monkeypatch.setattr(Retry, "sleep", lambda self, response=None: waits.append(self.get_backoff_time()))
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", raising=False)
    if retries is not None:
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", retries)
    trainer = quiet_trainer(logger=mlflow_logger, callbacks=LambdaCallback(on_train_start=die), log_every_n_steps=1)
    trainer.fit(BoringModule(), boring_batches(2))
    assert trainer.global_step == 2
    assert waits
    assert sum(waits) < most
    assert caplog.text.count("This run is no longer logged to MLflow: ") == 1
    assert os.environ.get("MLFLOW_HTTP_REQUEST_MAX_RETRIES") == retries


def test_damaged_mlflow_json_starts_a_new_run(mlflow_logger, in_tmp_path):
    (in_tmp_path / "mlflow.json").write_text("{")
    mlflow_logger.open(in_tmp_path)
    assert json.loads((in_tmp_path / "mlflow.json").read_text()) == {"run_id": mlflow_logger.run_id}


def test_unreachable_mlflow_is_an_error(mlflow_logger, in_tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(LoggerError, match=r"MLflow cannot be used: .*127\.0\.0\.1"):
        MLFlowLogger(tracking_uri="http://127.0.0.1:9").open(in_tmp_path)


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("runs/net/version_0", "net/version_0"),
        ("runs/net/version_0/test_other", "net/version_0/test_other"),
        ("runs/wide/trial_003/version_0", "wide/trial_003/version_0"),
        ("runs/wide/trial_003/version_0/test_other", "wide/trial_003/version_0/test_other"),
    ],
)
def test_title_of_a_run(folder, name, tmp_path):
    assert title(tmp_path / folder) == name


class Service(ServiceLogger):
    """A service without a package of its own."""

    package = "json"

    def _begin(self, run_dir, known):
        return {"id": 1}

    def _leave(self):
        pass


def test_a_resume_from_before_the_test_warns_of_its_values(in_tmp_path, caplog):
    trainer = fit(Service(), 1)
    trainer.test(dataloaders=boring_batches(1), ckpt_path="last", verbose=False)
    fit(Service(), 2, ckpt_path=trainer.run_dir)
    assert "services cannot remove" not in caplog.text, "the test was of the checkpoint's own weights"
    tested = json.loads((trainer.run_dir / "metrics.json").read_text()) | {"test/step": 7}
    (trainer.run_dir / "metrics.json").write_text(json.dumps(tested))
    fit(Service(), 3, ckpt_path=trainer.run_dir)
    assert "Service: the test values of step 7 stay, although the run goes on from step 4: services" in caplog.text


@pytest.mark.parametrize("name", ["x" * 300, "ж" * 300])
def test_wandb_shortens_names_of_files(wandb_logger, in_tmp_path, name):
    wandb_logger.open(in_tmp_path)
    wandb_logger.log_image(name, RED, 1)
    wandb_logger.log_text(name, "text", 1)
    wandb_logger.log_metrics({name: 1.0}, 1)
    ((_, history),) = sent(in_tmp_path).items()
    assert curve(history, name) == [(1, 1.0)]
    short = name[: 150 // len(name[0].encode())]
    assert [row[f"{short}/_type"] for row in history[:2]] == ["image-file", "html-file"]


@pytest.mark.parametrize("logger", [WandbLogger, MLFlowLogger])
def test_missing_package_error(logger, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(LoggerError, match=rf"{logger.__name__} needs the package (wandb|mlflow): pip install 'kgenre"):
        logger()


def test_any_name_can_be_logged_to_mlflow(mlflow_logger, in_tmp_path, caplog):
    """MLflow refuses a whole request because of one name, and the logger would take its server for lost."""
    mlflow_logger.open(in_tmp_path)
    names = ["val/loss", "F1@0.5", "жанр/ап", "a//b", "/a", "a/", "..", "a/../b", "", "x" * 300, "ж" * 300]
    mlflow_logger.log_metrics(dict.fromkeys(names, 1.0), 1)
    mlflow_logger.log_hyperparams(dict.fromkeys(names, 1))
    for name in names:
        mlflow_logger.log_text(name, "text", 1)
        mlflow_logger.log_image(name, RED, 1)
    assert [record for record in caplog.records if record.name == "kgenre"] == []
    data = mlflow_logger.experiment.get_run(mlflow_logger.run_id).data
    expected = {"val/loss", "F1_0.5", "жанр/ап", "a/_/b", "_/a", "a/_", "_", "x" * 250, "ж" * 250}
    assert set(data.metrics) == set(data.params) == expected
