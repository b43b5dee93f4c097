"""``kgenre sweep``: every trial is a run, a table ranks them, and finished trials are not repeated."""

import contextlib
import csv
import gc
import io
import json
import os
import shutil
import signal
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from kgenre.cli.main import main
from kgenre.cli.sweep import _report_ranking, _shown_score
from kgenre.cli.trial import Trial
from kgenre.training.run_lock import RunLock

pytestmark = pytest.mark.one_backend("tensorflow")
EXAMPLES = Path(__file__).parents[2] / "configs" / "examples"
DIGITS = ["--model=digits.DigitNet", "--data=digits.Digits", "--model.learning_rate=0.01", "--trainer.name=batches"]


class InThisProcess:
    """Replaces a trial's `Popen`: runs it in this process, since a new interpreter takes seconds to start."""

    def __init__(self, command, stdout, stderr):
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            self.code = main(command[command.index("kgenre") + 1 :])
        stdout.write(said.getvalue().encode())

    def wait(self):
        return self.code


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """Call to run ``kgenre sweep`` on the digits, in a folder of its own; returns the exit code."""
    folder = tmp_path_factory.mktemp("sweep")

    def run(*arguments):
        return main(["sweep", *DIGITS, *arguments])

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("KGENRE_ALLOW_IMPORT", "digits")
        patch.setenv("PYTHONPATH", f"{EXAMPLES}{os.pathsep}{EXAMPLES.parents[1]}")
        patch.syspath_prepend(EXAMPLES)
        yield run
    sys.modules.pop("digits", None)


@pytest.fixture(scope="module")
def swept(sweep):
    """The folder of a sweep whose last trial failed."""
    Path("sweep.yaml").write_text(
        "sweep: {trainer: {limit_train_batches: [1], max_time: [null]}}\ntrainer: {max_epochs: 1}\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kgenre.cli.trial.subprocess", SimpleNamespace(Popen=InThisProcess, STDOUT=None))
        assert sweep("--config=sweep.yaml", "--sweep.trainer.limit_train_batches", "[1, 8, -2]", "--test=true") == 0
    return Path("runs", "batches").absolute()


def table(folder):
    with (folder / "sweep.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_all_trials_are_checked_before_the_first_one_runs(sweep, monkeypatch):
    shown = []
    monkeypatch.setattr("kgenre.data.progress_line.ProgressLine.__call__", lambda line, *state: shown.append(state))
    assert sweep("--sweep.trainer.max_epochs", '[1, 2, "many"]') == 2
    assert shown == [(0, 3), (1, 3), (2, 3)]
    assert sweep("--sweep.trainer.max_epochs", '["many"]', "--method=random", "--trials=4") == 2
    assert shown[3:] == [(0, 4)]


def test_the_config_may_be_a_pipe(sweep, piped, capsys):
    """It can be read only once, but is parsed for each trial."""
    assert sweep("--config", piped("trainer: {max_epochs: 1}"), "--sweep.trainer.max_steps", '[1, 2, "many"]') == 2
    assert "--trainer.max_steps takes a whole number. Received: many" in capsys.readouterr().err


def test_the_table_ranks_the_trials_and_keeps_the_failed_one(swept):
    rows = table(swept)
    assert [row["trial"] for row in rows] == ["trial_001", "trial_000", "trial_002"]
    assert float(rows[0]["val/loss"]) < float(rows[1]["val/loss"])
    assert [row["status"] for row in rows] == ["finished", "finished", "failed"]
    assert "limit_train_batches" in (swept / "trial_002" / "output.log").read_text()
    assert "limit_train_batches" in rows[2]["reason"]


def test_the_best_configuration_is_written(swept):
    best = yaml.safe_load((swept / "best.yaml").read_text())
    assert best["trainer"]["limit_train_batches"] == 8
    assert best["test"]
    assert "\ntest: false\n" in (swept / "trial_000" / "config.yaml").read_text(), "only the winner sees the test films"
    assert (best["trainer"]["name"], best["trainer"]["default_root_dir"]) == ("batches_best", "runs")
    assert main(["fit", "--config", str(swept / "best.yaml"), "--print_config"]) == 0


def test_trials_are_placed_where_a_logger_says(sweep, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    configs = []

    def run(trial):
        trial.score, trial.status = 0.5, "finished"
        trial.folder.mkdir()
        (trial.folder / "config.yaml").write_text(trial.config)
        configs.append(yaml.safe_load(trial.config))

    monkeypatch.setattr(Trial, "run", run)
    Path("a.yaml").write_text(
        "trainer: {logger: [CSVLogger, {class_path: TensorBoardLogger, init_args: {save_dir: logs, name: mine}}]}\n"
        "sweep: {model.filters: [4]}\n"
    )
    assert sweep("--config=a.yaml") == 0
    (trial,) = configs
    best = yaml.safe_load(Path("logs", "mine", "best.yaml").read_text())
    for config, root, name in ((trial, str(Path("logs", "mine")), "trial_000"), (best, "logs", "mine_best")):
        csv_logger, tensorboard = (logger["init_args"] for logger in config["trainer"]["logger"])
        assert (config["trainer"]["default_root_dir"], config["trainer"]["name"]) == (root, name)
        assert (tensorboard["save_dir"], tensorboard["name"]) == (root, name)
        assert (csv_logger["save_dir"], csv_logger["name"]) == (None, None)


def test_brackets_and_colons_are_not_markup_in_the_table(sweep, tmp_path, monkeypatch, capsys):
    def run(trial):
        trial.reason, trial.status = "no [b]value :x:", "failed"

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Trial, "run", run)
    assert sweep("--sweep.model.filters=[4]", "--monitor=val/[b]loss") == 1
    table = capsys.readouterr().out.partition("┏")[2]
    assert "val/[b]loss" in table
    assert "no [b]value :x:" in table


def test_hparams_are_written_for_tensorboard(swept):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams import metadata

    run = swept / "trial_001" / "version_0"
    events = EventAccumulator(str(run), size_guidance={"tensors": 0})
    events.Reload()
    start, end = (
        events.SummaryMetadata(f"_hparams_/session_{which}_info").plugin_data.content for which in ("start", "end")
    )
    parameters = metadata.parse_session_start_info_plugin_data(start).hparams
    assert parameters["trainer.limit_train_batches"].number_value == 8
    assert parameters["trainer.max_time"].string_value == "None", "not a number in every trial: text in all of them"
    assert metadata.parse_session_end_info_plugin_data(end).status == 1  # STATUS_SUCCESS
    (score,) = events.Tensors("hp_metric")
    assert score.tensor_proto.float_val[0] == pytest.approx(float(table(swept)[0]["val/loss"]))


def test_an_interrupted_sweep_resumes(sweep, swept, tmp_path, monkeypatch, capsys):
    """A trial without a result (killed) resumes from its checkpoint, in a real subprocess; a finished one is kept."""
    monkeypatch.chdir(shutil.copytree(swept.parents[1], tmp_path / "copy"))
    swept = Path("runs", "batches")
    finished = (swept / "trial_000" / "trial.json").read_bytes()
    (swept / "trial_001" / "trial.json").unlink()
    assert sweep("--config=sweep.yaml", "--sweep.trainer.limit_train_batches=[1, 8]") == 0
    _, known, trained, *_ = capsys.readouterr().out.splitlines()
    assert known.startswith("trial_000  limit_train_batches 1  max_time None  val/loss")
    assert known.endswith("  (already finished)")
    assert trained.startswith("trial_001  limit_train_batches 8  max_time None  val/loss")
    assert "already finished" not in trained
    assert (swept / "trial_000" / "trial.json").read_bytes() == finished
    assert not (swept / "trial_001" / "version_1").exists()
    assert json.loads((swept / "trial_001" / "trial.json").read_text())["status"] == "finished"
    assert "Resuming from" in (swept / "trial_001" / "output.log").read_text()
    assert [row["trial"] for row in table(swept)] == ["trial_001", "trial_000"]


@pytest.mark.parametrize(
    ("options", "mode"),
    [
        ([], "min"),
        (["--monitor=val/map"], "max"),
        (["--monitor=val/accuracy"], "max"),
        (["--monitor=val/top3_hit"], "max"),
        (["--monitor=val/genre/War/f1"], "max"),
        (["--monitor=val/hamming_loss"], "min"),
        (["--monitor=val/ece"], "min"),
        (["--monitor=val/map", "--mode=min"], "min"),
        (["--monitor=val/score", "--mode=max"], "max"),
    ],
)
def test_the_name_of_the_value_tells_whether_smaller_is_better(sweep, monkeypatch, options, mode):
    monkeypatch.setattr("kgenre.cli.sweep._search", lambda space, options, *_: found.append(options.mode) or 0)
    found = []
    assert sweep("--sweep.model.filters=[4]", *options) == 0
    assert found == [mode]


@pytest.mark.parametrize(
    ("monitor", "reason"),
    [
        ("val/los", "val/los was not logged; did you mean val/loss?"),
        ("accuracy", "accuracy was not logged"),
        ("val/loss", "val/loss was never finite"),
    ],
)
def test_why_a_finished_trial_has_no_score(tmp_path, monkeypatch, monitor, reason):
    ended = SimpleNamespace(Popen=lambda *arguments, **named: SimpleNamespace(wait=lambda: 0), STDOUT=None)
    monkeypatch.setattr("kgenre.cli.trial.subprocess", ended)
    (tmp_path / "version_0").mkdir()
    (tmp_path / "version_0" / "metrics.csv").write_text("step,val/loss\n1,nan\n")
    (tmp_path / "version_0" / "metrics.json").write_text('{"val/loss": null}')
    (tmp_path / "config.yaml").write_text("")
    trial = Trial(tmp_path, {}, "", monitor, "min")
    trial.run()
    assert (trial.status, trial.score, trial.reason) == ("failed", None, reason)


def test_ctrl_c_at_the_end_of_a_trial_keeps_its_result_and_stops_the_sweep(tmp_path, monkeypatch):
    outcomes = [KeyboardInterrupt, 0]  # of `wait`: the trial ends without noticing Ctrl-C

    def wait():
        if (outcome := outcomes.pop(0)) is KeyboardInterrupt:
            raise outcome
        return outcome

    ended = SimpleNamespace(Popen=lambda *arguments, **named: SimpleNamespace(wait=wait), STDOUT=None)
    monkeypatch.setattr("kgenre.cli.trial.subprocess", ended)
    (tmp_path / "version_0").mkdir()
    (tmp_path / "version_0" / "metrics.csv").write_text("step,val/loss\n1,0.5\n")
    (tmp_path / "config.yaml").write_text("")
    trial = Trial(tmp_path, {}, "", "val/loss", "min")
    with pytest.raises(KeyboardInterrupt):
        trial.run()
    assert (trial.status, trial.score) == ("finished", 0.5)
    assert Trial(tmp_path, {}, "", "val/loss", "min").load_finished()
    (tmp_path / "version_0" / "metrics.csv").unlink()
    (tmp_path / "version_0" / "metrics.json").write_text('{"val/loss": 0.25, "val/map": null}')
    without_table = [Trial(tmp_path, {}, "", name, "min") for name in ("val/loss", "val/map")]  # it has another logger
    assert [(trial.load_finished(), trial.score) for trial in without_table] == [(True, 0.25), (False, None)]
    outcomes.append(130)  # of a trial that has noticed Ctrl-C
    trial.run()
    assert trial.status == json.loads((tmp_path / "trial.json").read_text())["status"] == "interrupted"


def test_ctrl_c_in_a_callback_of_the_garbage_collector_stops_the_sweep(sweep, swept, monkeypatch):
    def interrupted(phase, info):
        gc.callbacks.remove(interrupted)
        signal.raise_signal(signal.SIGINT)

    def load_finished(trial):
        recalled.append(trial)
        gc.callbacks.append(interrupted)
        gc.collect()  # the error is only printed
        return True

    recalled, printed = [], []
    monkeypatch.setattr(sys, "unraisablehook", printed.append)
    monkeypatch.setattr(Trial, "load_finished", load_finished)
    assert sweep("--config=sweep.yaml", "--sweep.trainer.limit_train_batches", "[1, 8]") == 130
    assert (len(recalled), len(printed)) == (1, 1)


def test_trials_on_other_films_are_not_compared_silently(tmp_path, caplog, capsys):
    trials = []
    for number, films in enumerate(("a", "a", "b")):
        (run := tmp_path / f"trial_{number:03d}" / "version_0").mkdir(parents=True)
        (run / "split.json").write_text(f'{{"train": ["{films}"]}}')
        (run.parent / "config.yaml").write_text("trainer: {max_epochs: 1}")
        trials.append(Trial(run.parent, {"x": number}, "", "val/loss", "min", status="finished", score=number + 0.5))
    options = SimpleNamespace(mode="min", monitor="val/loss", test=False)
    _report_ranking(tmp_path, trials[:2], options)
    assert not caplog.messages
    _report_ranking(tmp_path, trials, options)
    assert "not all trained and validated on the same films" in caplog.text


def test_a_result_counts_for_its_own_configuration_only(swept, tmp_path):
    recalled = [
        Trial(swept / "trial_000", {}, config, "val/loss", "min").load_finished()
        for config in ((swept / "trial_000" / "config.yaml").read_text(), "other: 1")
    ]
    assert recalled == [True, False]
    broken = shutil.copytree(swept / "trial_000", tmp_path / "broken")
    (broken / "trial.json").write_text('{"status": "fini')
    config = (broken / "config.yaml").read_text()
    assert not Trial(broken, {}, config, "val/loss", "min").load_finished()
    without_config = shutil.copytree(swept / "trial_000", tmp_path / "without")
    (without_config / "config.yaml").unlink()
    assert not Trial(without_config, {}, config, "val/loss", "min").load_finished()
    without_run = shutil.copytree(swept / "trial_000", tmp_path / "without_run")
    shutil.rmtree(without_run / "version_0")
    assert not Trial(without_run, {}, config, "val/loss", "min").load_finished()


@pytest.mark.parametrize("code", [130, 1, -9])
def test_a_trial_that_ended_before_its_run_began_has_no_part_of_an_earlier_configuration(tmp_path, monkeypatch, code):
    """Neither the run of another sweep's trial with this number is resumed, nor is its score taken."""
    commands, outcomes = [], [code, 0]

    def fit(command, **streams):
        commands.append(command)
        if outcomes[0] == 0:
            (tmp_path / "version_1").mkdir()
            (tmp_path / "version_1" / "metrics.csv").write_text("step,val/loss\n1,0.75\n")
        return SimpleNamespace(wait=lambda: outcomes.pop(0))

    monkeypatch.setattr("kgenre.cli.trial.subprocess", SimpleNamespace(Popen=fit, STDOUT=None))
    (tmp_path / "version_0" / "checkpoints").mkdir(parents=True)
    (tmp_path / "version_0" / "checkpoints" / "last").write_text("step=000001")
    (tmp_path / "version_0" / "metrics.csv").write_text("step,val/loss\n1,0.5\n")
    (tmp_path / "config.yaml").write_text("model: {learning_rate: 0.1}")
    (tmp_path / "trial.json").write_text('{"status": "finished", "score": 0.5, "seconds": 1}')
    for run in (None, tmp_path / "version_1"):
        trial = Trial(tmp_path, {}, "model: {learning_rate: 0.3}", "val/loss", "min")
        assert not trial.load_finished()
        trial.run()
        assert trial.run_dir == run
    assert trial.score == 0.75
    assert not any("--ckpt_path" in command for command in commands)
    assert trial.load_finished()
    shutil.rmtree(tmp_path / "version_1")
    assert not trial.load_finished()


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        ([], 1, "options to vary"),
        (["--sweep.model.learning_rate", "3"], 1, "takes a list"),
        (["--sweep.model.learning_rat", "[3]"], 2, "mean 'learning_rate'?"),
        (["--sweep.model.learning_rate", "[fast]"], 2, "takes a number. Received: fast"),
        (["--sweep.model.learning_rate", "{min: 0.1, max: 1}"], 1, "--method random"),
        (["--method", "grdi"], 2, "grdi"),
        (["--sweep.model.filters", "[1]", "--trials", "0"], 1, "--trials must be from 1 to 10000. Received: 0"),
        (["--sweep.model.filters", "[1]", "--ckpt_path", "last"], 1, "--ckpt_path"),
        (["--sweep.model.filters", "[1]", "--monitor", "val/score"], 1, "val/score does not tell whether smaller or"),
    ],
)
def test_errors_come_before_the_first_trial(sweep, capsys, arguments, code, word):
    assert sweep("--trainer.name=none", *arguments) == code
    assert word in capsys.readouterr().err
    assert not Path("runs", "none").exists()


def test_a_folder_has_one_sweep_at_a_time(sweep, capsys):
    (folder := Path("runs", "shared")).mkdir(parents=True)
    lock_of_the_other = RunLock(folder)
    assert sweep("--trainer.name=shared", "--sweep.model.filters", "[1]") == 1
    assert f"{folder} is being written by process" in (said := capsys.readouterr().err)
    assert "another --trainer.name" in said
    assert not (folder / "trial_000").exists()
    lock_of_the_other.release()


def test_a_long_reason_is_shortened_in_the_table(tmp_path):
    trial = Trial(tmp_path, {}, "", "val/loss", "min")
    trial.reason = "kgenre: network is one of " + "poster_cnn_2024, " * 20
    assert _shown_score(trial) == "network is one of poster_cnn_2024, …"
    (tmp_path / "output.log").write_bytes(b"\xff\nkgenre: no such network\nOptions: kgenre fit --help\n")
    assert trial._last_line() == "kgenre: no such network"


def test_error_optuna_is_not_installed(sweep, capsys, monkeypatch):
    import importlib.util

    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "optuna" else found(name, *rest)
    )
    assert sweep("--sweep.model.filters", "[1, 2]", "--method=optuna") == 1
    assert "pip install 'kgenre[optuna]'" in capsys.readouterr().err
