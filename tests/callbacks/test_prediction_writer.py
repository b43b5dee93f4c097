import os

import numpy as np
import pytest
from boring import BoringModule, boring_batches, quiet_trainer
from keras import ops

from kgenre.callbacks import PredictionWriter
from kgenre.loggers import CSVLogger

pytestmark = pytest.mark.usefixtures("in_tmp_path")


class Structured(BoringModule):
    def predict_step(self, batch, batch_idx):
        outputs = self.model(batch["x"])
        return {"outputs": outputs, "more": {"squared": outputs**2}}


def test_writes_each_batch(tmp_path):
    trainer = quiet_trainer(callbacks=PredictionWriter(tmp_path / "here"))
    expected = trainer.predict(BoringModule(), boring_batches(3))
    files = sorted((tmp_path / "here").iterdir())
    assert [file.name for file in files] == ["batch_000000.npz", "batch_000001.npz", "batch_000002.npz"]
    for file, prediction in zip(files, expected, strict=True):
        np.testing.assert_array_equal(np.load(file)["predictions"], prediction)


def test_writes_all_at_the_end(tmp_path):
    writer = PredictionWriter(tmp_path, write_interval="epoch")
    trainer, module = quiet_trainer(callbacks=writer), Structured()
    expected = trainer.predict(module, boring_batches(3))
    assert trainer.predict(module, boring_batches(3), return_predictions=False) is None
    written = np.load(tmp_path / "predictions.npz")
    assert sorted(written) == ["more/squared", "outputs"]
    assert written["outputs"].shape == (24, 2)
    np.testing.assert_array_equal(written["outputs"], np.concatenate([batch["outputs"] for batch in expected]))
    np.testing.assert_array_equal(written["more/squared"], written["outputs"] ** 2)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_on_a_full_disk_the_error_names_the_file(tmp_path):
    (file := tmp_path / "batch_000000.npz").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left") as raised:
        quiet_trainer(callbacks=PredictionWriter(tmp_path)).predict(BoringModule(), boring_batches(1))
    assert raised.value.filename == str(file)


def test_tuple_items_are_numbered(tmp_path):
    class Pairs(BoringModule):
        def predict_step(self, batch, batch_idx):
            outputs = self.model(batch["x"])
            return outputs, {"squared": outputs**2}

    quiet_trainer(callbacks=PredictionWriter(tmp_path)).predict(Pairs(), boring_batches(1))
    assert sorted(np.load(tmp_path / "batch_000000.npz")) == ["0", "1/squared"]


def test_writes_to_the_run_folder_or_fails():
    trainer = quiet_trainer(callbacks=PredictionWriter(write_interval="batch_and_epoch"), logger=CSVLogger())
    module = BoringModule()
    trainer.fit(module, boring_batches(1))
    trainer.predict(module, boring_batches(1))
    names = sorted(file.name for file in (trainer.log_dir / "predictions").iterdir())
    assert names == ["batch_000000.npz", "predictions.npz"]
    with pytest.raises(ValueError, match="has no folder to write to: pass output_dir"):
        quiet_trainer(callbacks=PredictionWriter()).predict(module, boring_batches(1))
    with pytest.raises(ValueError, match=r"'batch' or 'epoch' or 'batch_and_epoch'. Received: 'never'"):
        PredictionWriter(write_interval="never")
    with pytest.raises(ValueError, match=r"the first argument is a folder. Write write_interval='epoch'"):
        PredictionWriter("epoch")


def test_subclass_in_lightning_style(tmp_path):
    seen = []

    class Mine(PredictionWriter):
        def write_on_batch_end(self, trainer, module, prediction, batch_indices, batch, batch_idx, dataloader_idx):
            seen.append((prediction.shape, sorted(batch), batch_idx, dataloader_idx))

    quiet_trainer(callbacks=Mine(tmp_path)).predict(BoringModule(), boring_batches(2))
    assert seen == [((8, 2), ["x", "y"], 0, 0), ((8, 2), ["x", "y"], 1, 0)]
    assert list(tmp_path.iterdir()) == []


def test_bfloat16_is_written_as_float32(tmp_path):
    class Half(BoringModule):
        def predict_step(self, batch, batch_idx):
            return ops.cast(self.model(batch["x"]), "bfloat16")

    writer = PredictionWriter(tmp_path, write_interval="batch_and_epoch")
    (predicted,) = quiet_trainer(callbacks=writer).predict(Half(), boring_batches(1))
    for name in ("batch_000000.npz", "predictions.npz"):
        written = np.load(tmp_path / name)["predictions"]
        assert written.dtype == "float32"
        np.testing.assert_array_equal(written, predicted.astype("float32"))


def test_leftover_files_are_reported(tmp_path, caplog):
    trainer, module = quiet_trainer(callbacks=PredictionWriter(tmp_path)), BoringModule()
    trainer.predict(module, boring_batches(3))
    trainer.predict(module, boring_batches(3))
    assert caplog.messages == []
    trainer.predict(module, boring_batches(1))
    assert caplog.messages == [f"{tmp_path} also contains 2 files of an earlier prediction, from batch_000001.npz on."]
