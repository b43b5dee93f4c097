import pytest
from boring import BoringModule, Lambdas, boring_batches, quiet_trainer

from kgenre.callbacks import DeviceStatsMonitor, ModelCheckpoint
from kgenre.checkpoints import read_checkpoint
from kgenre.loggers import InMemoryLogger

pytestmark = pytest.mark.usefixtures("in_tmp_path")


def logged(monitor, **arguments):
    logger = InMemoryLogger()
    quiet_trainer(logger=logger, callbacks=monitor, **{"log_every_n_steps": 2} | arguments).fit(
        BoringModule(), boring_batches(4)
    )
    return logger


def test_cpu_stats():
    logger = logged(DeviceStatsMonitor(cpu_stats=True))
    percent, memory = logger.history("device/cpu/percent"), logger.history("device/cpu/memory_peak")
    assert [step for step, _ in percent] == [step for step, _ in memory] == [2, 4]
    assert all(0 <= value < 100 * 256 for _, value in percent)
    assert all(2**25 < value < 2**38 for _, value in memory)  # bytes, for a Python process with Keras


def test_accumulated_batches_are_not_steps():
    logger = logged(DeviceStatsMonitor(cpu_stats=True), log_every_n_steps=1, accumulate_grad_batches=2)
    assert [step for step, _ in logger.history("device/cpu/percent")] == [1, 2]


def test_steps_after_a_rollback_are_logged_again():
    def go_back(trainer, module, outputs, batch, batch_idx):
        if trainer.global_step == 5 and not went_back:
            went_back.append(True)
            trainer.pending_rollback = read_checkpoint(trainer.run_dir / "checkpoints" / "step=000003")

    went_back, logger = [], InMemoryLogger()
    callbacks = [DeviceStatsMonitor(), Lambdas(on_train_batch_end=go_back), ModelCheckpoint(every_n_train_steps=3)]
    trainer = quiet_trainer(logger=logger, callbacks=callbacks, log_every_n_steps=2, enable_checkpointing=True)
    trainer.fit(BoringModule(), boring_batches(6))
    assert [step for step, _ in logger.history("device/cpu/percent")] == [2, 4, 6]


def test_cpu_stats_can_be_disabled():
    logger = logged(DeviceStatsMonitor(cpu_stats=False))
    assert not [name for _, metrics in logger.records for name in metrics if name.startswith("device/cpu")]


def test_memory_of_accelerators(monkeypatch):
    import kgenre.engines.device_memory as module

    found = {"gpu_0": {"memory_in_use": 7, "memory_peak": 9}}
    monkeypatch.setattr(module, "device_memory", lambda: found)
    logger = logged(DeviceStatsMonitor())
    assert logger.history("device/gpu_0/memory_in_use") == [(2, 7), (4, 7)]
    assert logger.history("device/gpu_0/memory_peak") == [(2, 9), (4, 9)]
    assert logger.history("device/cpu/percent") == []  # cpu_stats=None: only without an accelerator
