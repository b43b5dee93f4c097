"""InMemoryLogger: metrics in a list."""

import pytest
from boring import BoringModule, boring_batches, quiet_trainer

from kgenre.loggers import InMemoryLogger


def test_history():
    logger = InMemoryLogger()
    values = {"a": 1.0, "b": 2.0}
    logger.log_metrics(values, 1)
    values["a"] = 9.0  # the logger must have copied them
    logger.log_metrics({"a": 3.0}, 2)
    logger.log_hyperparams({"rate": 0.1})
    logger.log_text("note", "text", 2)
    assert logger.history("a") == [(1, 1.0), (2, 3.0)]
    assert logger.history("b") == [(1, 2.0)]
    assert logger.history("nothing") == []
    assert (logger.hyperparams, logger.texts) == ({"rate": 0.1}, {"note": "text"})


@pytest.mark.usefixtures("in_tmp_path")
def test_alone_needs_no_folder_and_continues_after_resume(in_tmp_path):
    logger = InMemoryLogger()
    trainer = quiet_trainer(logger=logger, log_every_n_steps=1, max_epochs=2)
    trainer.fit(BoringModule(), boring_batches(2))
    path = trainer.save_checkpoint("checkpoint")
    assert trainer.log_dir is None
    assert [folder.name for folder in in_tmp_path.iterdir()] == ["checkpoint"]
    before = logger.history("train/loss")
    trainer.max_epochs = 3
    trainer.fit(BoringModule(), boring_batches(2), ckpt_path=path)
    assert logger.history("train/loss")[:4] == before
    assert [step for step, _ in logger.history("train/loss")] == [1, 2, 3, 4, 5, 6]


def test_a_test_of_the_weights_that_a_fit_is_resumed_with_is_kept():
    logger = InMemoryLogger()
    for step in (1, 2, 3):
        logger.log_metrics({"train/loss": 1.0, "test/loss": float(step)}, step)
    logger.log_metrics({"val/loss": 1.0}, 2)
    logger.open(None, resume_step=2)
    assert logger.records == [(1, {"train/loss": 1.0, "test/loss": 1.0}), (2, {"test/loss": 2.0})]
