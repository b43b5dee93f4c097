"""InputMonitor: the share of time spent waiting for batches, measured on a fake clock."""

import pytest
from boring import BoringModule, Lambdas, boring_batches, quiet_trainer

from kgenre.callbacks import InputMonitor
from kgenre.loggers import InMemoryLogger

pytestmark = pytest.mark.usefixtures("in_tmp_path")


class Slow:
    """Batches that take three seconds each on the fake clock."""

    def __init__(self, now, batches):
        self.now, self.batches = now, batches

    def __len__(self):
        return len(self.batches)

    def __iter__(self):
        for batch in self.batches:
            self.now[0] += 3.0
            yield batch


def test_input_wait_is_the_share_of_training_time(monkeypatch):
    now = [100.0]
    for module in ("kgenre.callbacks.input_monitor", "kgenre.training.fit_loop"):
        monkeypatch.setattr(f"{module}.perf_counter", lambda: now[0])

    def pass_seconds(seconds):
        def hook(*arguments):
            now[0] += seconds

        return hook

    # One second per training step, fifty for validation.
    clock = Lambdas(on_train_batch_start=pass_seconds(1.0), on_validation_batch_start=pass_seconds(50.0))
    logger = InMemoryLogger()
    trainer = quiet_trainer(max_epochs=2, logger=logger, callbacks=[InputMonitor(), clock])
    trainer.fit(BoringModule(), Slow(now, boring_batches(4, rows=6)), boring_batches(1))
    assert logger.history("input_wait") == [(4, 0.75), (8, 0.75)]
