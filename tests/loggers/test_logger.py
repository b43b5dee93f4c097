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
