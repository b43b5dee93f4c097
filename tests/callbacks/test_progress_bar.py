"""What a run prints."""

import io
import re

import pytest
from boring import BoringModule, boring_batches, quiet_trainer
from keras import ops

from kgenre.callbacks import ModelSummary, ProgressBar

pytestmark = pytest.mark.usefixtures("in_tmp_path")


class Shows(BoringModule):
    def training_step(self, batch, batch_idx):
        self.log("shown", ops.cast(batch_idx, "float32"), prog_bar=True, on_step=False, on_epoch=True)
        return self.error(batch)


def test_one_line_an_epoch_where_there_is_no_terminal(capsys):
    trainer = quiet_trainer(max_epochs=2, enable_progress_bar=True)
    trainer.fit(Shows(), boring_batches(3), boring_batches(2))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    for epoch, line in enumerate(lines, 1):
        assert re.fullmatch(rf"epoch {epoch}/2  step {3 * epoch}  shown 1  \d+\.\d s", line)


def test_the_last_lines_say_where_things_are(capsys):
    trainer = quiet_trainer(enable_progress_bar=True, enable_checkpointing=True)
    trainer.fit(BoringModule(), boring_batches(1), boring_batches(1))
    lines = capsys.readouterr().out.splitlines()[1:]
    best = trainer.checkpoint_callback
    assert lines == [
        f"Run folder: {trainer.log_dir}",
        f"Best checkpoint: {best.best_model_path} (val/loss {best.best_model_score:.4f})",
        "Curves: tensorboard --logdir runs",
    ]


@pytest.fixture
def terminal(monkeypatch):
    """Rich believes that it writes to a terminal; what it writes."""
    import rich.console

    screen = io.StringIO()
    real = rich.console.Console

    def console(*arguments, **named):
        return real(file=screen, force_terminal=True, width=120, **named)

    monkeypatch.setattr("rich.console.Console", console)
    return screen


def plain(screen):
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue())


def test_a_bar_on_a_terminal(terminal):
    trainer = quiet_trainer(enable_progress_bar=True)
    trainer.fit(Shows(), boring_batches(3), boring_batches(1))
    text = plain(terminal)
    assert "3/3" in text
    assert re.search(r"epoch 1/1 .*━", text)
    assert re.search(r"[\r\n]epoch 1/1  step 3  shown 1  \d+\.\d s\n", text)  # the line stays when the bar is gone
    terminal.truncate(0)
    trainer.test(dataloaders=boring_batches(2), verbose=False)
    trainer.predict(dataloaders=boring_batches(2))
    assert re.search(r"test .*\n?.*predict", plain(terminal), re.DOTALL)


def test_the_bar_is_closed_when_training_fails(terminal):
    class Fails(Shows):
        def on_train_batch_end(self, outputs, batch, batch_idx):
            raise ZeroDivisionError

    bar = ProgressBar()
    trainer = quiet_trainer(callbacks=bar, enable_progress_bar=True)
    with pytest.raises(ZeroDivisionError):
        trainer.fit(Fails(), boring_batches(3))
    assert bar._progress is None
    assert terminal.getvalue().endswith("\x1b[?25h") or "\x1b[?25h" in terminal.getvalue()  # the cursor is back


def test_refresh_rate():
    with pytest.raises(ValueError, match=r"refresh_rate=...\) must be at least 1. Received: 0"):
        ProgressBar(refresh_rate=0)


def test_model_summary(capsys):
    import keras

    class Parts(BoringModule):
        def __init__(self):
            super().__init__()
            self.extra = keras.layers.Dense(3, name="extra")
            self.extra.build((None, 4))

    quiet_trainer(callbacks=ModelSummary()).fit(Parts(), boring_batches(1))
    printed = capsys.readouterr().out
    assert "Total params: 10" in printed
    assert "extra (Dense): 15 parameters" in printed
