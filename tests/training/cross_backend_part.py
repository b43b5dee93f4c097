"""The two halves of a run that is resumed on another backend; test_cross_backend.py runs them."""

import keras
from boring import BoringModule, Lambdas, boring_dataset, quiet_trainer


class Net(BoringModule):
    """Has state that must carry over: BatchNorm statistics, Adam's slots and a schedule."""

    def __init__(self):
        super().__init__()
        layers = keras.layers
        self.model = keras.Sequential(
            [keras.Input((4,)), layers.Dense(8, activation="relu"), layers.BatchNormalization(), layers.Dense(2)]
        )

    def configure_optimizers(self):
        return keras.optimizers.Adam(keras.optimizers.schedules.ExponentialDecay(0.01, 10, 0.5))


def begin(folder):
    trainer = quiet_trainer(max_epochs=9, max_steps=6)
    trainer.fit(Net(), boring_dataset())
    trainer.save_checkpoint(f"{folder}/checkpoint")


def go_on(folder):
    """Train three more steps; return their losses and the position reached."""
    losses = []
    keep = Lambdas(on_train_batch_end=lambda trainer, module, outputs, *_: losses.append(outputs["loss"]))
    trainer = quiet_trainer(max_epochs=9, max_steps=9, callbacks=keep)
    trainer.fit(Net(), boring_dataset(), ckpt_path=f"{folder}/checkpoint")
    losses = [float(value) for value in trainer.engine.to_host(losses)]
    return {"losses": losses, "step": trainer.global_step, "epoch": trainer.current_epoch}
