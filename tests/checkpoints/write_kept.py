"""Writes a tiny checkpoint that later versions must be able to load: ``python write_kept.py kept/schema_2``.

Run it once for each schema, with the version of kgenre that introduced it, and commit what it wrote: the checkpoint
and the expected outcome of a run resumed from it.
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import keras
from boring import BoringModule, boring_batches, quiet_trainer, weights_of


class Kept(BoringModule):
    """Without randomness, so that every backend computes the same."""

    def __init__(self, learning_rate=0.05):
        super().__init__(learning_rate)

    def training_step(self, batch, batch_idx):
        loss = super().training_step(batch, batch_idx)
        self.log("train/mean", loss, on_step=False, on_epoch=True)
        return loss

    def configure_optimizers(self):
        return keras.optimizers.Adam(self.learning_rate)


def fit(max_steps, ckpt_path=None):
    trainer = quiet_trainer(max_epochs=2, max_steps=max_steps)
    trainer.fit(Kept(), boring_batches(4), ckpt_path=ckpt_path)
    return trainer


def outcome(trainer):
    """The final weights and metrics of a run, as JSON values."""
    return {
        "weights": {name: array.tolist() for name, array in weights_of(trainer.module).items()},
        "metrics": trainer.callback_metrics,
    }


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    path = fit(max_steps=6).save_checkpoint(folder / "step=000006")
    (folder / "expected.json").write_text(json.dumps(outcome(fit(max_steps=8)), indent=1) + "\n")
    print(path)
