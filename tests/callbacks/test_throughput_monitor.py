"""ThroughputMonitor: samples and seconds, measured on a fake clock."""

import types

import pytest
from boring import BoringModule, Lambdas, boring_batches, quiet_trainer

from kgenre.callbacks import ThroughputMonitor
from kgenre.loggers import InMemoryLogger

pytestmark = pytest.mark.usefixtures("in_tmp_path")


def test_validation_is_not_training_time(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("kgenre.callbacks.throughput_monitor.time", types.SimpleNamespace(perf_counter=lambda: now[0]))

    def pass_seconds(seconds):
        def hook(*arguments):
            now[0] += seconds

        return hook

    # Two seconds per training batch, fifty for validation.
    clock = Lambdas(on_train_batch_start=pass_seconds(2.0), on_validation_batch_start=pass_seconds(50.0))
    logger = InMemoryLogger()
    trainer = quiet_trainer(max_epochs=2, logger=logger, callbacks=[ThroughputMonitor(), clock])
    trainer.fit(BoringModule(), boring_batches(4, rows=6), boring_batches(1))
    assert logger.history("throughput/seconds_per_epoch") == [(4, 8.0), (8, 8.0)]
    assert logger.history("throughput/samples_per_second") == [(4, 3.0), (8, 3.0)]
    assert logger.history("throughput/seconds_per_step") == [(4, 2.0), (8, 2.0)]


def test_resumed_epoch_counts_as_a_whole(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("kgenre.callbacks.throughput_monitor.time", types.SimpleNamespace(perf_counter=lambda: now[0]))

    def step(trainer, module, batch, batch_idx):
        now[0] += 2.0

    logger = InMemoryLogger()
    for max_steps, ckpt_path in ((3, None), (-1, "middle")):
        callbacks = [ThroughputMonitor(), Lambdas(on_train_batch_start=step)]
        trainer = quiet_trainer(max_epochs=1, max_steps=max_steps, logger=logger, callbacks=callbacks)
        trainer.fit(BoringModule(), boring_batches(4, rows=6), ckpt_path=ckpt_path)
        trainer.save_checkpoint("middle")
        now[0] += 1000.0  # between the two runs
    assert logger.history("throughput/seconds_per_epoch")[-1] == (4, 8.0)
    assert logger.history("throughput/samples_per_second")[-1] == (4, 3.0)
    assert logger.history("throughput/seconds_per_step")[-1] == (4, 2.0)


def test_samples_in_tuple_batches_are_counted():
    class Tuples(BoringModule):
        def training_step(self, batch, batch_idx):
            return self.error({"x": batch[0], "y": batch[1]})

    batches = [(batch["x"], batch["y"]) for batch in boring_batches(3, rows=5)]
    monitor = ThroughputMonitor()
    quiet_trainer(callbacks=monitor).fit(Tuples(), batches)
    assert monitor._samples == 15


def test_epoch_without_updates_has_no_seconds_per_step():
    trainer = quiet_trainer(callbacks=[ThroughputMonitor(), Lambdas(on_train_batch_start=lambda *_: -1)])
    trainer.fit(BoringModule(), boring_batches(1))
    assert trainer.callback_metrics["throughput/samples_per_second"] == 0
    assert "throughput/seconds_per_step" not in trainer.callback_metrics
