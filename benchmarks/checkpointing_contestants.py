"""The contestants and measurements of `checkpointing.py`, each in a separate process."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from machine import imported_versions
from networks import LEARNING_RATE, QUIET, build, films, module_of
from processes import Script

MODEL = "overview_lstm"


def kgenre_module() -> Any:
    """Return a module whose network is built already, so that `start` does not time that."""
    model = build(MODEL)
    return module_of(MODEL, lambda: model)


def kgenre_trainer(folder: Path, callbacks: list[Any], **arguments: Any) -> Any:
    """Return a Trainer that prints nothing."""
    import kgenre

    saves = any(isinstance(callback, kgenre.callbacks.ModelCheckpoint) for callback in callbacks)
    quiet = QUIET | {"enable_checkpointing": saves}
    return kgenre.Trainer(callbacks=callbacks, default_root_dir=folder, **quiet, **arguments)


# --- how long a save takes --------------------------------------------------------------------------------------------


def ways_to_save(folder: Path) -> dict[str, Callable[[], int]]:
    """Return functions that each save the same model and optimizer once, and return the number of bytes written."""
    import keras

    trainer, module = kgenre_trainer(folder, [], max_steps=1), kgenre_module()
    (first,) = films(MODEL, 2, 1, 4)
    trainer.fit(module, [first])
    content = b"".join(path.read_bytes() for path in sorted(trainer.save_checkpoint(folder / "first").iterdir()))

    def bare() -> int:
        with (folder / "bare").open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        return len(content)

    def ours() -> int:
        return _size(trainer.save_checkpoint(folder / "kgenre"))

    model = keras.models.clone_model(module.model)
    model.compile(optimizer=keras.optimizers.Adam(LEARNING_RATE), loss="binary_crossentropy")
    model.fit(first["x"], first["genres"], verbose=0)
    checkpoint = keras.callbacks.ModelCheckpoint(str(folder / "model.keras"))
    backup = keras.callbacks.BackupAndRestore(str(folder / "backup"), delete_checkpoint=False)
    for callback in (checkpoint, backup):
        callback.set_model(model)
        callback.on_train_begin()

    def keras_checkpoint() -> int:
        checkpoint.on_epoch_end(0, {})
        return _size(folder / "model.keras")

    def keras_backup() -> int:
        backup.on_epoch_end(0, {})
        return _size(folder / "backup")

    return {
        "write + fsync": bare,
        "kgenre": ours,
        "keras ModelCheckpoint": keras_checkpoint,
        "keras BackupAndRestore": keras_backup,
    }


def lightning_way_to_save(folder: Path) -> dict[str, Callable[[], int]]:
    """Return Lightning's ``Trainer.save_checkpoint``, which its ModelCheckpoint calls, for the network in torch."""
    import lightning
    import torch
    from networks_torch import torch_network

    class Overviews(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network = torch_network(MODEL)

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            logits = self.network(batch["x"], lengths=None)
            return torch.nn.functional.binary_cross_entropy_with_logits(logits, batch["genres"])

        def configure_optimizers(self) -> Any:
            return torch.optim.Adam(self.parameters(), LEARNING_RATE)

    trainer = lightning.Trainer(max_steps=1, default_root_dir=folder, accelerator="cpu", **QUIET)
    data = [{name: torch.from_numpy(array) for name, array in batch.items()} for batch in films(MODEL, 2, 1, 4)]
    trainer.fit(Overviews(), torch.utils.data.DataLoader(data, batch_size=None))

    def save() -> int:
        trainer.save_checkpoint(folder / "lightning.ckpt")
        return _size(folder / "lightning.ckpt")

    return {"lightning ModelCheckpoint": save}


def _size(path: Path) -> int:
    return sum(file.stat().st_size for file in path.rglob("*")) if path.is_dir() else path.stat().st_size


def save(work: dict[str, Any], script: Script) -> None:
    """Answer with the names of the ways, then save whenever told one of them, and answer with its seconds and bytes."""
    ways = (lightning_way_to_save if work["lightning"] else ways_to_save)(Path(work["folder"]))
    script.answer(ways=list(ways), versions=imported_versions("safetensors"))
    while True:
        way = ways[script.wait()]
        os.sync()  # data that the previous save left unwritten must not slow this one
        begun = time.perf_counter()
        size = way()
        script.answer(seconds=time.perf_counter() - begun, bytes=size)


# --- what saving costs while training ---------------------------------------------------------------------------------


def train(work: dict[str, Any], script: Script) -> None:
    """Time epochs, each with the save before it ("none", "async" or "sync", in turn); answer with their seconds."""
    from kgenre.callbacks import Callback, ModelCheckpoint

    arms, seconds = ("none", "async", "sync"), []
    period: dict[str, Any] = {"arm": None, "begun": 0.0}

    class Sometimes(ModelCheckpoint):
        def __init__(self, arm: str) -> None:
            super().__init__(monitor=None, every_n_epochs=1, async_save=arm == "async", filename=f"{arm}-{{step}}")
            self.arm = arm

        def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
            if period["arm"] == self.arm:
                super().on_train_epoch_end(trainer, module)

    class Clock(Callback):
        def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
            # The epoch's values have been fetched, so its steps are done; the checkpoint callbacks run after this one.
            now = time.perf_counter()
            if period["arm"] is not None:
                seconds.append((period["arm"], now - period["begun"]))
            period["arm"], period["begun"] = arms[len(seconds) % len(arms)], time.perf_counter()

    steps = work["steps"]
    callbacks = [Clock(), Sometimes("sync"), Sometimes("async")]
    trainer = kgenre_trainer(Path(work["folder"]), callbacks, max_epochs=2 + len(arms) * work["rounds"])
    trainer.fit(kgenre_module(), films(MODEL, work["batch_size"], steps, work["length"]))
    counted = seconds[: len(arms) * work["rounds"]]
    seconds_of = {arm: [t for name, t in counted if name == arm] for arm in arms}
    script.answer(**seconds_of, versions=imported_versions("safetensors"))


# --- how long until the first step ------------------------------------------------------------------------------------


def start(work: dict[str, Any], script: Script) -> None:
    """Answer with the seconds from the call of ``fit`` to the end of its first step, in a new run or a resumed one."""
    from kgenre.callbacks import Callback

    found = []

    class Clock(Callback):
        def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
            trainer.engine.to_host(outputs["loss"])
            found.append(time.perf_counter() - begun)

    folder = Path(work["folder"])
    path = folder / "checkpoint"
    trainer = kgenre_trainer(folder, [Clock()], max_epochs=2, max_steps=-1 if work["resumes"] else 1)
    module, data = kgenre_module(), films(MODEL, work["batch_size"], 2, work["length"])
    begun = time.perf_counter()
    if work["resumes"]:
        trainer.max_steps = 2
    trainer.fit(module, data, ckpt_path=path if work["resumes"] else None)
    if not path.exists():
        trainer.save_checkpoint(path)
    script.answer(seconds=found[0], versions=imported_versions("safetensors"))


if __name__ == "__main__":
    work = json.loads(sys.argv[1])
    {"save": save, "train": train, "start": start}[work["measure"]](work, Script())
