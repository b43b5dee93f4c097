"""Logger: what a subclass may define, and what it says about Lightning's attributes."""

import re
from pathlib import Path

import pytest
from boring import BoringModule, boring_batches, quiet_trainer

from kgenre.loggers import CSVLogger, InMemoryLogger, Logger, TensorBoardLogger


class History(Logger):
    """As in Lightning's documentation, where ``name`` and ``version`` must be properties."""

    def __init__(self, calls_base):
        if calls_base:
            super().__init__()
        self.history = []

    @property
    def name(self):
        return "history"

    @property
    def version(self):
        return "0.1"

    def log_metrics(self, metrics, step):
        if "train/loss" in metrics:
            self.history.append((step, metrics["train/loss"]))


@pytest.mark.parametrize("calls_base", [True, False])
@pytest.mark.usefixtures("in_tmp_path")
def test_a_logger_written_for_lightning(calls_base):
    logger, expected = History(calls_base), InMemoryLogger()
    trainer = quiet_trainer(logger=[logger, expected], log_every_n_steps=1)
    trainer.fit(BoringModule(), boring_batches(2))
    assert logger.history == expected.history("train/loss")
    assert trainer.log_dir == Path("runs", "history", "version_0")
    assert (trainer.logger.name, trainer.logger.version, trainer.logger.save_dir) == ("history", "0.1", None)


@pytest.mark.parametrize("make", [CSVLogger, TensorBoardLogger])
@pytest.mark.usefixtures("in_tmp_path")
def test_loggers_leave_the_run_of_another_module_or_checkpoint(make):
    """What hooks log to them then does not get into it."""

    class Logs(BoringModule):
        def on_test_end(self):
            self.logger.log_metrics({"test/other": 1.0}, 9)

    class LogsFirst(BoringModule):
        def setup(self, stage):
            self.logger.log_metrics({"test/other": 1.0}, 9)

    def content():
        return {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}

    trainer, module, batches = quiet_trainer(logger=make()), Logs(), boring_batches(1)
    trainer.fit(module, batches)
    run, inside = trainer.run_dir, trainer.save_checkpoint(trainer.run_dir / "checkpoints" / "mine")
    outside = trainer.save_checkpoint("outside")
    for other, path in ((module, outside), (Logs(), None), (LogsFirst(), None)):
        trainer.test(module, batches, ckpt_path=inside, verbose=False)  # opens the run
        before = content()
        with pytest.raises(RuntimeError, match="none is open"):
            trainer.test(other, batches, ckpt_path=path, verbose=False)
        assert content() == before


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("log_dir", "trainer.log_dir"),
        ("version", "trainer.run_dir.name"),
        ("experiment", "log_image of the logger"),
        ("log_table", "logger.experiment"),
    ],
)
def test_lightning_names_suggest_a_replacement(name, instead):
    with pytest.raises(AttributeError, match=rf"^CSVLogger has no attribute '{name}': .*{re.escape(instead)}"):
        getattr(CSVLogger(), name)
    assert not hasattr(CSVLogger(), name)
    with pytest.raises(AttributeError, match="no SummaryWriter"):
        _ = TensorBoardLogger().experiment
    with pytest.raises(AttributeError, match=r"^'CSVLogger' object has no attribute 'other'$"):
        _ = CSVLogger().other
