"""Event files, read back with TensorBoard's own reader."""

import pytest
from boring import BoringModule, boring_batches, quiet_trainer
from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator

from kgenre.loggers import TensorBoardLogger


def read(folder):
    events = EventAccumulator(str(folder), size_guidance={"tensors": 0})
    events.Reload()
    return events


def scalars(folder, tag):
    return [(event.step, event.tensor_proto.float_val[0]) for event in read(folder).Tensors(tag)]


@pytest.fixture
def logger(tmp_path):
    logger = TensorBoardLogger()
    logger.open(tmp_path)
    return logger


def test_scalars(logger, tmp_path):
    logger.log_metrics({"train/loss": 0.5, "train/count": 3}, 10)
    logger.log_metrics({"train/loss": 0.25}, 20)
    assert scalars(tmp_path, "train/loss") == [(10, 0.5), (20, 0.25)]
    assert scalars(tmp_path, "train/count") == [(10, 3.0)]
    metadata = read(tmp_path).SummaryMetadata("train/loss")
    assert metadata.plugin_data.plugin_name == "scalars"


def test_text_and_hyperparameters(logger, tmp_path):
    logger.log_text("note", "**bold** ü", 3)
    logger.log_hyperparams({"rate": 0.1, "path": tmp_path})
    events = read(tmp_path)
    assert events.SummaryMetadata("note").plugin_data.plugin_name == "text"
    (note,) = events.Tensors("note")
    assert (note.step, note.tensor_proto.string_val[0].decode()) == (3, "**bold** ü")
    (hyperparameters,) = events.Tensors("hyperparameters")
    assert '"rate": 0.1' in hyperparameters.tensor_proto.string_val[0].decode()


def test_what_is_logged_can_be_read_while_the_run_goes_on(logger, tmp_path):
    logger.log_metrics({"a": 1.0}, 1)
    assert scalars(tmp_path, "a") == [(1, 1.0)]


def test_going_on_drops_later_points(logger, tmp_path):
    for step in (1, 2, 3, 4):
        logger.log_metrics({"a": float(step), "old": 1.0}, step)
    again = TensorBoardLogger()
    again.open(tmp_path, resume_step=2)
    again.log_metrics({"a": 30.0}, 3)
    assert scalars(tmp_path, "a") == [(1, 1.0), (2, 2.0), (3, 30.0)]
    assert scalars(tmp_path, "old") == [(1, 1.0), (2, 1.0)]


def test_a_test_after_the_fit_keeps_the_points(logger, tmp_path):
    logger.log_metrics({"a": 1.0}, 5)
    again = TensorBoardLogger()  # another process opens the run's folder
    again.open(tmp_path)
    again.log_metrics({"test/loss": 2.0}, 5)
    assert scalars(tmp_path, "a") == [(5, 1.0)]
    assert scalars(tmp_path, "test/loss") == [(5, 2.0)]


def test_one_file_a_process(tmp_path):
    trainer = quiet_trainer(logger=TensorBoardLogger(str(tmp_path), name="run"), log_every_n_steps=1)
    trainer.fit(BoringModule(), boring_batches(2), boring_batches(1))
    trainer.test(dataloaders=boring_batches(1), verbose=False)
    assert len(list(trainer.log_dir.glob("events.out.tfevents.*"))) == 1
    assert trainer.log_dir == tmp_path / "run" / "version_0"
    assert [step for step, _ in scalars(trainer.log_dir, "train/loss")] == [1, 2]
    assert [step for step, _ in scalars(trainer.log_dir, "val/loss")] == [2]
    assert [step for step, _ in scalars(trainer.log_dir, "test/loss")] == [2]
