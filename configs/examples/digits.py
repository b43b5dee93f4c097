"""Another task from end to end: handwritten digits, with a custom Module and DataModule."""

import keras
from keras import layers, ops
from sklearn.datasets import load_digits

import kgenre


class Digits(kgenre.DataModule):
    def __init__(self, batch_size: int = 64):
        self.save_hyperparameters()

    def setup(self, stage):
        x, y = load_digits(return_X_y=True)  # 1,797 pictures of 8 x 8 pixels, 0 to 16
        self.x, self.y = x.reshape(-1, 8, 8, 1).astype("float32") / 16, y.astype("int32")

    def batches(self, first, last, shuffle=False):
        rows = {"x": self.x[first:last], "y": self.y[first:last]}
        return kgenre.ArrayDataset(rows, self.hparams.batch_size, shuffle=shuffle)

    def train_dataloader(self):
        return self.batches(0, 1200, shuffle=True)

    def val_dataloader(self):
        return self.batches(1200, 1500)

    def test_dataloader(self):
        return self.batches(1500, 1797)


class DigitNet(kgenre.Module):
    def __init__(self, filters: int = 16, learning_rate: float = 1e-3):
        self.save_hyperparameters()
        hidden = [layers.Conv2D(filters, 3, activation="relu"), layers.Flatten()]
        self.model = keras.Sequential([keras.Input((8, 8, 1)), *hidden, layers.Dense(10, activation="softmax")])

    def training_step(self, batch, batch_idx):
        return self.losses(batch, "train", training=True)

    def validation_step(self, batch, batch_idx):
        self.losses(batch, "val")

    def test_step(self, batch, batch_idx):
        self.losses(batch, "test")

    def losses(self, batch, stage, training=False):
        y, predicted = batch["y"], self.model(batch["x"], training=training)
        loss = ops.mean(keras.losses.sparse_categorical_crossentropy(y, predicted))
        accuracy = ops.mean(keras.metrics.sparse_categorical_accuracy(y, predicted))
        self.log(f"{stage}/loss", loss, on_epoch=True, on_step=False, prog_bar=True)
        self.log(f"{stage}/accuracy", accuracy, on_epoch=True, on_step=False, prog_bar=True)
        return loss

    def configure_optimizers(self):
        return keras.optimizers.Adam(self.hparams.learning_rate)
