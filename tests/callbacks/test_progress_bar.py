"""What a run prints: bars in a terminal or notebook, lines in a log file, results and the model summary."""

import errno
import io
import math
import re
import sys
import types

import pytest
from boring import BoringModule, Lambdas, boring_batches, quiet_trainer
from keras import ops

from kgenre.callbacks import ModelCheckpoint, ModelSummary, ProgressBar, ThroughputMonitor
from kgenre.callbacks.notebook_bar import NotebookBar
from kgenre.callbacks.results_table import print_results
from kgenre.loggers import CSVLogger, InMemoryLogger

pytestmark = [pytest.mark.one_backend("tensorflow"), pytest.mark.usefixtures("in_tmp_path")]


class Shows(BoringModule):
    def training_step(self, batch, batch_idx):
        self.log("shown", ops.cast(batch_idx, "float32"), prog_bar=True, on_step=False, on_epoch=True)
        return self.error(batch)


def test_prints_one_line_per_epoch_without_a_terminal(capsys):
    trainer = quiet_trainer(max_epochs=2, enable_progress_bar=True)
    trainer.fit(Shows(), boring_batches(3), boring_batches(2))
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("epoch")]
    assert len(lines) == 2
    for epoch, line in enumerate(lines, 1):
        assert re.fullmatch(rf"epoch {epoch}/2  step {3 * epoch}  shown 1\.0000  \d+\.\d s", line)


@pytest.mark.parametrize("logger", [True, False, CSVLogger()])
def test_last_lines_name_the_run_folder_and_checkpoint(capsys, logger):
    recent, best = ModelCheckpoint(monitor=None, every_n_train_steps=1), ModelCheckpoint()
    callbacks = [recent, best]
    trainer = quiet_trainer(enable_progress_bar=True, enable_checkpointing=True, callbacks=callbacks, logger=logger)
    trainer.fit(BoringModule(), boring_batches(1), boring_batches(1))
    lines = capsys.readouterr().out.splitlines()[1:]
    assert lines[lines.index(f"Run folder: {trainer.log_dir}") + 1 :] == [
        f"Best checkpoint: {best.best_model_path} (val/loss {best.best_model_score:.4f})",
        *(["Curves: kgenre tensorboard runs"] if logger is True else []),
    ]


def rows_of(table):
    """The cells of each row of a printed table."""
    return [[cell.strip() for cell in re.split("[┃│]", line)[1:-1]] for line in table if line[:1] in ("┃", "│")]


def test_final_values_are_in_one_table(capsys):
    class Logs(BoringModule):
        def training_step(self, batch, batch_idx):
            self.log("train/loss", 0.5, on_step=True, on_epoch=True)
            return self.error(batch)

        def validation_step(self, batch, batch_idx):
            self.log("val/loss", 0.25)
            self.log("val/map", 123456.0)
            self.log("val/baseline_frequency/loss", 1e-5)
            self.log("val/detail", 1.0, logger=False)

        def on_train_epoch_end(self):
            self.log("lr-other", 1.0)

    quiet_trainer(enable_progress_bar=True, callbacks=ThroughputMonitor()).fit(
        Logs(), boring_batches(1), boring_batches(1)
    )
    assert rows_of(capsys.readouterr().out.splitlines()) == [
        ["", "train", "val", "baseline"],
        ["", "last epoch", "last epoch", "frequency"],
        ["loss", "0.5000", "0.2500", "1e-05"],
        ["map", "", "1.235e+05", ""],
    ]


@pytest.fixture
def terminal(monkeypatch):
    """Let rich believe that it writes to a terminal; return what it writes to."""
    import rich.console

    screen = io.StringIO()
    screen.isatty = lambda: True
    real = rich.console.Console

    def console(*arguments, **named):
        return real(file=screen, force_terminal=True, width=screen.width, **named)

    screen.width = 120
    for name in ("JPY_PARENT_PID", "MPLBACKEND"):  # set if the tests are started in a notebook
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("rich.console.Console", console)
    return screen


def plain(screen):
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue())


def test_bar_on_a_terminal(terminal):
    trainer = quiet_trainer(enable_progress_bar=True)
    trainer.fit(Shows(), boring_batches(3), boring_batches(1))
    text = plain(terminal)
    assert "3/3" in text
    assert re.search(r"epoch 1/1 .*━", text)
    # The line stays when the bar is gone.
    assert re.search(r"[\r\n]epoch 1/1  step 3  shown 1\.0000  \d+\.\d s\n", text)
    terminal.truncate(0)
    trainer.test(dataloaders=boring_batches(2), verbose=False)
    trainer.predict(dataloaders=boring_batches(2))
    assert re.search(r"test .*\n?.*predict", plain(terminal), re.DOTALL)


def test_brackets_and_colons_in_names_are_not_markup(terminal):
    class Named(Shows):
        def training_step(self, batch, batch_idx):
            self.log("train/f1[macro]:x:", 0.5, prog_bar=True, on_step=False, on_epoch=True)
            return super().training_step(batch, batch_idx)

    trainer = quiet_trainer(enable_progress_bar=True, max_epochs=2, logger=InMemoryLogger())
    trainer.fit(Named(), boring_batches(3))
    bar, _, table = plain(terminal).rpartition("epoch 2/2  step")
    assert re.search(r"epoch 2/2 .*━.* train/f1\[macro\]:x: 0\.5", bar)
    assert re.search(r"│ f1\[macro\]:x: *│ *0\.5000 │", table)


def test_closed_terminal_does_not_end_training(terminal, monkeypatch):
    def refuse(text):
        raise OSError(errno.EIO, "Input/output error")

    closes = Lambdas(on_train_batch_end=lambda *_: monkeypatch.setattr(terminal, "write", refuse))
    trainer = quiet_trainer(enable_progress_bar=True, max_epochs=2, callbacks=[closes])
    trainer.fit(Shows(), boring_batches(3), boring_batches(1))
    assert (trainer.global_step, "epoch 2/2" in plain(terminal)) == (6, False)


@pytest.mark.parametrize("name", ["JPY_PARENT_PID", "MPLBACKEND"])
def test_no_bar_for_a_shell_command_in_a_notebook(terminal, monkeypatch, capsys, name):
    """``!kgenre fit`` in a cell: the output has no cursor to move, so each redraw would add a line."""
    monkeypatch.setenv(name, "module://matplotlib_inline.backend_inline")
    quiet_trainer(enable_progress_bar=True).fit(Shows(), boring_batches(3))
    assert "\x1b[?25l" not in terminal.getvalue()  # hides the cursor, as a bar does
    assert capsys.readouterr().out.startswith("epoch 1/1  step 3  shown 1.0000")


def test_narrow_terminal_keeps_the_bar_and_whole_numbers(terminal):
    class Many(Shows):
        def training_step(self, batch, batch_idx):
            for i in range(5):
                self.log(f"quantity_{i}", 0.1 + 0.0 * ops.cast(batch_idx, "float32"), prog_bar=True)
            return self.error(batch)

    terminal.width = 60
    quiet_trainer(enable_progress_bar=True, log_every_n_steps=1, max_epochs=2).fit(Many(), boring_batches(3))
    lines = re.split("[\r\n]+", plain(terminal))
    assert max(map(len, lines)) <= 60
    assert any(re.fullmatch(r"epoch 2/2 ━+ \d/3 \S+ quantity_0 0.1.*…", line.rstrip()) for line in lines)
    assert "epoch 2/2  step 6  quantity_0 0.1000  quantity_1 0.1000" in lines
    assert "    quantity_2 0.1000  quantity_3 0.1000  quantity_4 0.1000" in lines
    assert any(re.fullmatch(r"    \d+\.\d s", line) for line in lines)


@pytest.mark.parametrize("setting", [{"FORCE_COLOR": "1"}, {"TERM": "dumb"}], ids=str)
def test_no_bar_in_a_log_file_whatever_the_environment(capsys, monkeypatch, setting):
    for name, value in setting.items():
        monkeypatch.setenv(name, value)
    quiet_trainer(max_epochs=1, enable_progress_bar=True).fit(BoringModule(), boring_batches(30))
    text = capsys.readouterr().out
    assert "\r" not in text
    assert "\x1b[?25l" not in text  # hides the cursor, as a bar does
    assert sum("epoch 1/1" in line for line in text.splitlines()) == 1


@pytest.fixture
def notebook(monkeypatch):
    """The outputs of a notebook's cell: what each shows now and, under "drawn", everything it has shown."""
    outputs, drawn = {}, []

    def display(data, raw=False, display_id=None, update=False):
        if not raw:  # rich's table
            return
        assert update == (display_id in outputs)
        outputs[display_id] = data["text/plain"]
        drawn.append(data["text/plain"])

    outputs["drawn"] = drawn
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    monkeypatch.setattr("kgenre.callbacks.notebook_bar._EVERY", 0)
    monkeypatch.setitem(sys.modules, "IPython", types.ModuleType("IPython"))
    monkeypatch.setitem(sys.modules, "IPython.display", types.SimpleNamespace(display=display))
    return outputs


def test_notebook_bar_becomes_a_line_in_one_output(notebook, capsys):
    trainer = quiet_trainer(max_epochs=2, enable_progress_bar=True)
    trainer.fit(Shows(), boring_batches(3), boring_batches(2))
    drawn = notebook.pop("drawn")
    (text,) = notebook.values()
    assert re.fullmatch(r"epoch 1/2  step 3  shown 1.0000  \d+\.\d s\nepoch 2/2  step 6  shown 1.0000  \d+\.\d s", text)
    bar = re.compile(r"^epoch 1/2.*\nepoch 2/2 ━{11}┄{5} 2/3  \d:\d\d:\d\d  shown 1.0000$")
    assert any(map(bar.search, drawn))
    assert any("validating" in text for text in drawn)
    assert "epoch" not in capsys.readouterr().out


def test_notebook_names_the_commands_of_a_cell_that_shows_curves(notebook, capsys):
    quiet_trainer(enable_progress_bar=True, logger=True).fit(Shows(), boring_batches(1))
    assert capsys.readouterr().out.endswith("\nCurves:\n%load_ext tensorboard\n%tensorboard --logdir runs\n")


def test_notebook_keeps_the_last_state_of_the_bar(notebook):
    class Fails(Shows):
        def on_train_batch_end(self, outputs, batch, batch_idx):
            if batch_idx == 1:
                raise ZeroDivisionError

        def predict_step(self, batch, batch_idx):
            return self.model(batch["x"])

    trainer = quiet_trainer(enable_progress_bar=True)
    with pytest.raises(ZeroDivisionError):
        trainer.fit(Fails(), boring_batches(4))
    trainer.predict(Fails(), boring_batches(2))
    notebook.pop("drawn")
    fit, predict = notebook.values()
    assert re.fullmatch(r"epoch 1/1 ━{8}┄{8} 2/4  \d:\d\d:\d\d", fit)
    assert re.fullmatch(r"predict ━{16} 2/2  \d:\d\d:\d\d", predict)


def test_long_fit_continues_in_another_output(notebook, monkeypatch):
    monkeypatch.setattr("kgenre.callbacks.notebook_bar._LINES", 2)
    quiet_trainer(max_epochs=5, enable_progress_bar=True).fit(Shows(), boring_batches(1))
    notebook.pop("drawn")
    assert [[line[:9] for line in text.splitlines()] for text in notebook.values()] == [
        ["epoch 1/5", "epoch 2/5"],
        ["epoch 3/5", "epoch 4/5"],
        ["epoch 5/5"],
    ]


def test_bar_that_finishes_at_once_is_not_drawn(notebook, monkeypatch):
    monkeypatch.setattr("kgenre.callbacks.notebook_bar._EVERY", 60)
    bar = NotebookBar()
    bar.open("test", 3)
    bar.update(3)
    bar.close()
    assert notebook == {"drawn": []}


def test_bar_without_a_total_counts(notebook):
    bar = NotebookBar()
    bar.open("epoch 1", math.inf)
    bar.update(7, "loss 1")
    assert re.fullmatch(r"epoch 1  7  0:00:00  loss 1", notebook["drawn"][-1])


def test_bar_shows_the_remaining_time(notebook):
    bar = NotebookBar()
    bar.open("epoch 1", 50, completed=10)  # of a resumed run
    bar._started -= 60
    bar.update(30)
    assert notebook["drawn"][-1].endswith(" 30/50  0:01:00")


def test_bar_is_closed_when_training_fails(terminal):
    class Fails(Shows):
        def on_train_batch_end(self, outputs, batch, batch_idx):
            raise ZeroDivisionError

    bar = ProgressBar()
    trainer = quiet_trainer(callbacks=bar, enable_progress_bar=True)
    with pytest.raises(ZeroDivisionError):
        trainer.fit(Fails(), boring_batches(3))
    assert bar._bar._progress is None
    hidden, shown = (terminal.getvalue().rindex(f"\x1b[?25{mode}") for mode in "lh")
    assert hidden < shown, "the cursor is shown again"


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
            self.unused = keras.layers.Dense(3, name="unused")

    quiet_trainer(callbacks=ModelSummary()).fit(Parts(), boring_batches(1))
    printed = capsys.readouterr().out
    assert "Total params: 10" in printed
    assert "extra (Dense): 15 parameters" in printed
    assert "unused (Dense): not used in a step" in printed


@pytest.mark.parametrize("columns", [1, 20, 27])
def test_model_summary_on_a_narrow_terminal(capsys, monkeypatch, columns):
    """Keras refuses to print one of four columns there."""
    import keras

    class Branched(BoringModule):
        def __init__(self):
            super().__init__()
            x = keras.Input((4,))
            self.model = keras.Model(x, keras.layers.add([keras.layers.Dense(2)(x), keras.layers.Dense(2)(x)]))

    monkeypatch.setenv("COLUMNS", str(columns))
    quiet_trainer(callbacks=ModelSummary()).fit(Branched(), boring_batches(1))
    assert "Totalparams:20" in "".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(("max_depth", "shown"), [(0, 0), (1, 1), (2, 2), (-1, 2)])
def test_model_summary_depth(capsys, max_depth, shown):
    import keras

    class Nested(BoringModule):
        def __init__(self):
            super().__init__()
            inside = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4, name="inside")], name="outside")
            self.model = keras.Sequential([keras.Input((4,)), inside, keras.layers.Dense(2)])

    quiet_trainer(callbacks=ModelSummary(max_depth=max_depth)).fit(Nested(), boring_batches(1))
    printed = capsys.readouterr().out
    assert sum(name in printed for name in ("outside", "inside")) == shown
    with pytest.raises(ValueError, match=r"max_depth=...\) must be -1, 0 or more. Received: -2"):
        ModelSummary(max_depth=-2)


def test_result_tables_fit_narrow_terminals(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    baselines = ("", "baseline_frequency/", "baseline_top3/", "baseline_tfidf/", "baseline_colours/")
    print_results({f"test/{whose}tuned_f1_micro": 0.1 for whose in baselines})
    assert "│ tuned_f1_micro │ 0.1000 │" in capsys.readouterr().out
    monkeypatch.setenv("COLUMNS", "20")  # a narrow pane: the numbers must stay
    print_results({f"test/{whose}tuned_f1_micro": 0.1 for whose in baselines})
    assert capsys.readouterr().out.count(" 0.1000 ") == 5
    monkeypatch.setenv("COLUMNS", "80")
    print_results({"train/loss": 0.1, "val/loss": 0.2, "val/baseline_tfidf/loss": 0.3}, when="last epoch")
    printed = capsys.readouterr().out
    assert printed.count("last epoch") == 2, "what a baseline reaches is of no epoch"
    print_results({f"val/{name}/dataloader_idx_{n}": 0.25 for name in ("loss", "auc") for n in (0, 1)})
    printed = capsys.readouterr().out
    assert [line.split()[1] for line in printed.splitlines() if "0.2500" in line] == [
        f"{name}/dataloader_idx_{n}" for name in ("loss", "auc") for n in (0, 1)
    ]
