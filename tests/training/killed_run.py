"""A server that forks a process for each run to be killed (SIGKILL), for test_killed_runs.py.

The libraries are imported once, before any of them has started a thread; every run is then a fork. For each run the
server reads a line of JSON, and writes one that says how the process ended.
"""

import json
import os
import random
import shutil
import signal
import sys
import time
import traceback
from pathlib import Path

import keras
from boring import BoringModule, boring_batches, boring_dataset, quiet_trainer

from kgenre.callbacks import ModelCheckpoint, checkpoint_saver
from kgenre.checkpoints import find
from kgenre.checkpoints import write as writer
from kgenre.loggers import CSVLogger, TensorBoardLogger
from kgenre.training.results import Results


class Net(BoringModule):
    def __init__(self):
        super().__init__(learning_rate=0.05, dropout=0.3)

    def configure_optimizers(self):
        return keras.optimizers.Adam(self.learning_rate)


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def before(function, when=lambda *args: True, nth=1):
    """Wrap ``function``: the process dies at the start of its nth call for which ``when`` is true."""
    left = [nth]

    def called(*args, **kwargs):
        if when(*args, **kwargs):
            left[0] -= 1
            if left[0] == 0:
                die()
        return function(*args, **kwargs)

    return called


def half(room, function, name):
    """Patch ``function`` of the module ``room``: it writes half of a file named ``name...``, then the process dies."""

    def write(*args):
        path = next(arg for arg in args if isinstance(arg, Path))
        original(*args)
        if path.name.startswith(name):
            os.truncate(path, path.stat().st_size // 2)
            die()

    original = getattr(room, function)
    setattr(room, function, write)


def half_removed(path, **options):
    """Remove one file of a checkpoint that is being pruned, then die."""
    if path.name.endswith(".removed") and path.exists():
        next(iter(path.iterdir())).unlink()
        die()
    return shutil_rmtree(path, **options)


shutil_rmtree = shutil.rmtree


class Faults:
    """Each method patches the writer so that the process dies at one point of its nth save."""

    def before_writing(self, nth):
        checkpoint_saver.write_checkpoint = before(checkpoint_saver.write_checkpoint, nth=nth)

    def half_a_file(self, nth):
        self._in_the_nth_save(nth, lambda: half(writer, "_write_file", "optimizer"))

    def before_the_manifest(self, nth):
        writer.write_synced = before(writer.write_synced, lambda path, content: path.name == "manifest.json", nth)

    def half_a_manifest(self, nth):
        self._in_the_nth_save(nth, lambda: half(writer, "write_synced", "manifest"))

    def before_the_rename(self, nth):
        writer._put_in_place = before(writer._put_in_place, nth=nth)

    def after_the_rename(self, nth):
        writer.sync_folder = before(writer.sync_folder, lambda path: path.name == "checkpoints", nth)

    def before_last(self, nth):
        checkpoint_saver.write_pointer = before(
            checkpoint_saver.write_pointer, lambda folder, name, target: name == "last", nth
        )

    def half_a_pointer(self, nth):
        self._in_the_nth_save(nth, lambda: half(find, "write_synced", ".last"))

    def before_best(self, nth):
        write = before(checkpoint_saver.write_pointer, lambda folder, name, target: name == "best")
        self._in_the_nth_save(nth, lambda: setattr(checkpoint_saver, "write_pointer", write))

    def before_pruning(self, nth):
        remove = before(checkpoint_saver.remove_checkpoint)
        self._in_the_nth_save(nth, lambda: setattr(checkpoint_saver, "remove_checkpoint", remove))

    def half_pruned(self, nth):
        self._in_the_nth_save(nth, lambda: setattr(shutil, "rmtree", half_removed))

    def after_saving_before_the_curves(self, nth):
        Results.write = before(Results.write, lambda results, step: step > 0, nth)  # not in the sanity check

    @staticmethod
    def _in_the_nth_save(nth, change):
        left = [nth]
        write = checkpoint_saver.write_checkpoint

        def counted(*args):
            left[0] -= 1
            if left[0] == 0:
                change()
            return write(*args)

        checkpoint_saver.write_checkpoint = counted


FAULTS = [name for name in vars(Faults) if not name.startswith("_")]


def run(root, fault=None, nth=1, in_background=False, started=None):
    """Train, from the last checkpoint if there is one, saving at each step; write the outcome to ``result.json``."""
    if fault is not None:
        getattr(Faults(), fault)(nth)
    trainer = quiet_trainer(
        max_epochs=3,
        callbacks=ModelCheckpoint("val/loss", every_n_train_steps=1, save_top_k=2, async_save=in_background),
        enable_checkpointing=True,
        logger=[CSVLogger(), TensorBoardLogger()],
        log_every_n_steps=1,
        default_root_dir=root,
        name="run",
    )
    if started is not None:
        trainer.on_run_opened(lambda trainer: Path(started).touch())
    trainer.fit(Net(), boring_dataset(), boring_batches(1, seed=7), ckpt_path="last")
    result = {
        "state": {name: array.tolist() for name, array in trainer.engine.state_dict().items()},
        "scores": trainer.checkpoint_callback.kept.scores,
        "step": trainer.global_step,
        "resumed": trainer.resumed,
        "folder": str(trainer.log_dir),
    }
    (Path(root) / "result.json").write_text(json.dumps(result))


def serve():
    for line in sys.stdin:
        order = json.loads(line)
        delay = order.pop("kill_after", None)
        child = os.fork()
        if child == 0:
            try:
                os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
                run(**order)
            except BaseException:
                (Path(order["root"]) / "error.txt").write_text(traceback.format_exc())
                os._exit(1)
            os._exit(0)
        if delay is not None:
            while (
                not Path(order["started"]).exists()
                and os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
            ):
                time.sleep(0.001)
            time.sleep(delay)
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        print(json.dumps({"signal": os.WTERMSIG(status) if os.WIFSIGNALED(status) else None, "status": status}))
        sys.stdout.flush()


if __name__ == "__main__":
    random.seed(0)
    serve()
