"""What profilers measure, print and write."""

import os
import pstats
import re
import sys
import time

import keras
import pytest
from boring import BoringModule, Lambdas, boring_batches, quiet_trainer

from kgenre.engines.device_trace import how_to_view
from kgenre.loggers import CSVLogger
from kgenre.profilers import AdvancedProfiler, Profiler, SimpleProfiler, TraceProfiler

pytestmark = pytest.mark.usefixtures("in_tmp_path")


def rows_of(table):
    """The table's rows by action: mean, calls, total, share."""
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line[:1] == "|"]
    return {row[0]: row[1:] for row in cells}


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_on_a_full_disk_the_error_names_the_file(tmp_path):
    profiler = SimpleProfiler(tmp_path, "speed")
    (file := tmp_path / f"{profiler.stage}-speed.txt").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left") as raised:
        profiler.write("mean")
    assert raised.value.filename == str(file)


def test_simple_profiler_measures_actions():
    profiler = SimpleProfiler()
    for _ in range(3):
        with profiler.profile("sleep"):
            time.sleep(0.01)
    rows = rows_of(profiler.summary())
    mean, calls, total, share = rows["sleep"]
    assert calls == "3"
    assert 0.03 <= float(total) < 1
    assert float(mean) == pytest.approx(float(total) / 3, rel=1e-3)
    assert 50 < float(share) <= 100
    assert list(rows) == ["Action", "Total", "sleep"]
    assert rows["Action"] == ["Mean duration (s)", "Num calls", "Total time (s)", "Percentage %"]
    assert rows_of(SimpleProfiler(extended=False).summary())["Action"] == ["Mean duration (s)", "Total time (s)"]


def test_simple_profiler_leaves_out_short_actions():
    tables = []
    for least in (0.1, 0):
        profiler = SimpleProfiler(least_share=least)
        profiler._begun -= 1000
        profiler.durations |= {"long": [10.0, 1], "short": [0.5, 1]}  # seconds
        tables.append(profiler.summary())
    assert ["short" in rows_of(table) for table in tables] == [False, True]
    assert tables[0].endswith("\n1 action below 0.1 % left out")
    assert "left out" not in tables[1]


def test_simple_profiler_rejects_unmatched_calls():
    profiler = SimpleProfiler()
    profiler.start("a")
    with pytest.raises(ValueError, match="Attempted to start a which has already started"):
        profiler.start("a")
    with pytest.raises(ValueError, match=r"Attempting to stop recording an action \(b\) which was never started"):
        profiler.stop("b")


def test_simple_profiler_of_a_run(capsys):
    note = Lambdas(on_train_batch_end=lambda *_: None)
    trainer = quiet_trainer(profiler=SimpleProfiler(least_share=0), callbacks=note, logger=CSVLogger(), max_epochs=2)
    trainer.fit(BoringModule(), boring_batches(3), boring_batches(1))
    printed = capsys.readouterr().out
    assert printed.startswith("FIT Profiler Report\n")
    rows = rows_of(printed)
    assert rows["[Engine]train_step"][1] == rows["[Callback]LambdaCallback.on_train_batch_end"][1] == "6"
    assert rows["[Engine]eval_step"][1] == "3"  # one in the sanity check
    assert rows["[Data]next"][1] == str(2 * (3 + 1) + 3 * (1 + 1))  # reaching the end of a source counts too
    assert (trainer.log_dir / "fit-profile.txt").read_text() == printed
    trainer.test(dataloaders=boring_batches(2), verbose=False)
    assert rows_of(capsys.readouterr().out)["[Engine]eval_step"][1] == "2"  # each stage is measured separately
    assert (trainer.log_dir / "test-profile.txt").exists()


def test_custom_actions_and_profilers():
    class Counts(Profiler):
        def __init__(self):
            super().__init__()
            self.seen = []

        def start(self, action_name):
            self.seen.append(action_name)

    class Draws(BoringModule):
        def on_train_epoch_end(self):
            with self.trainer.profiler.profile("draw"):
                pass

    profiler = Counts()
    quiet_trainer(profiler=profiler).fit(Draws(), boring_batches(1))
    assert {"draw", "[Module]Draws.on_train_epoch_end", "[Engine]train_step"} <= set(profiler.seen)


def test_advanced_profiler(capsys):
    trainer = quiet_trainer(profiler=AdvancedProfiler(line_count_restriction=5, dump_stats=True), logger=CSVLogger())
    trainer.fit(BoringModule(), boring_batches(2))
    path = trainer.log_dir / "fit-profile.txt"
    assert capsys.readouterr().out == f"Profile: {path}\n"
    assert re.search(r"Profile stats for: \[Engine\]train_step\n +\d+ function calls", path.read_text())
    stats = pstats.Stats(str(trainer.log_dir / "fit-profile-Engine_train_step.prof"))
    assert stats.total_calls > 0


def test_advanced_profiler_separates_inner_actions():
    profiler = AdvancedProfiler()

    def inner():
        with profiler.profile("inner"):
            sum([1])

    with profiler.profile("all"), profiler.profile("outer"):
        inner()
        max([1])
    every, outer, inside = (pstats.Stats(profiler.profiles[name]).stats for name in ("all", "outer", "inner"))
    assert any("sum" in function for *_, function in inside)
    assert not any("sum" in function for *_, function in outer)
    assert any("max" in function for *_, function in outer)
    assert not any("max" in function for *_, function in every)
    with pytest.raises(ValueError, match="never started"):
        profiler.stop("outer")
    profiler.start("outer")
    profiler.start("inner")
    with pytest.raises(ValueError, match=r"stop recording an action \(outer\) before inner, inside it"):
        profiler.stop("outer")
    for action in ("inner", "outer"):  # the refusal changed nothing; a profile left running would measure other tests
        profiler.stop(action)
    assert sys.getprofile() is None


@pytest.mark.parametrize("batches", [6, 3])
def test_trace_profiler_writes_a_trace(capsys, batches):
    trainer = quiet_trainer(profiler=TraceProfiler(skip_steps=2, steps=2), logger=CSVLogger())
    trainer.fit(BoringModule(), boring_batches(batches))
    is_torch = keras.backend.backend() == "torch"
    hint = f"Trace: {trainer.log_dir} (open" if is_torch else f"Trace: kgenre tensorboard {trainer.log_dir} ("
    assert hint in capsys.readouterr().out
    pattern = "*.pt.trace.json" if is_torch else "plugins/profile/*/*.xplane.pb"
    (trace,) = trainer.log_dir.glob(pattern)
    assert trace.stat().st_size > 1000


def test_the_command_that_shows_a_trace_quotes_its_folder(tmp_path):
    if keras.backend.backend() != "torch":
        assert how_to_view(tmp_path / "my runs").startswith(f'kgenre tensorboard "{tmp_path}/my runs" (')


@pytest.fixture
def recorded(monkeypatch):
    """Replaces the backend's trace: a fit returns the steps where it started and stopped, and if calls had several."""
    found = []

    def fit(steps_per_execution, steps, **flags):
        profiler = TraceProfiler(skip_steps=6, steps=8)
        trainer = quiet_trainer(profiler=profiler, steps_per_execution=steps_per_execution, max_steps=steps, **flags)
        for name in ("start_trace", "stop_trace"):
            monkeypatch.setattr(f"kgenre.engines.device_trace.{name}", lambda *_: found.append(trainer.global_step))
        trainer.fit(BoringModule(), boring_batches(40))
        return [*found, trainer.chosen_steps_per_execution > 1]

    return fit


several_in_a_call = pytest.mark.skipif(keras.backend.backend() == "torch", reason="a call of torch makes one step")


@pytest.mark.parametrize(
    ("steps_per_execution", "expected"),
    [(1, [6, 13, False]), pytest.param(4, [8, 12, True], marks=several_in_a_call)],
)
def test_trace_profiler_counts_each_step_of_a_call(recorded, steps_per_execution, expected):
    """A step is counted when its call has ended: a recording that stops at 13 includes the 14th step."""
    assert recorded(steps_per_execution, steps=40) == expected


@pytest.fixture
def several_win(monkeypatch):
    """Let "auto" measure even a fit of 40 steps, and find several steps in a call faster."""
    limits = {"MIN_UPDATES": 1, "MAX_STEP_SECONDS": 1e9, "INPUT_SECONDS_PER_STEP": 1e9}
    for name, value in limits.items():
        monkeypatch.setattr(f"kgenre.training.steps_per_execution.{name}", value)
    fastest = lambda engine, one, several: (one(), several(), 9.0, 1.0)[2:]  # noqa: E731
    monkeypatch.setattr("kgenre.training.steps_per_execution.fastest", fastest)


@several_in_a_call
@pytest.mark.usefixtures("several_win")
def test_trace_profiler_ignores_steps_per_execution_timing(recorded):
    assert recorded("auto", steps=40, log_every_n_steps=4) == [8, 12, True]


@several_in_a_call
@pytest.mark.usefixtures("several_win")
def test_simple_profiler_ignores_steps_per_execution_timing():
    counts = []
    for steps_per_execution in (4, "auto"):
        trainer = quiet_trainer(steps_per_execution=steps_per_execution, log_every_n_steps=4, profiler="simple")
        trainer.fit(BoringModule(), boring_batches(40))
        counts.append({action: count for action, (_, count) in trainer.profiler.durations.items()})
    assert counts[0]["[Engine]train_steps"] == 10
    assert counts[1] == counts[0]


def test_trace_profiler_ends_with_a_failing_fit():
    def fail(trainer, *_):
        def gone(stage):
            raise RuntimeError("the failed step has destroyed the sums")

        trainer.engine.epoch_logs = gone
        raise ValueError("of the step")

    failing = quiet_trainer(profiler=TraceProfiler(skip_steps=0, steps=2), callbacks=Lambdas(on_train_batch_end=fail))
    with pytest.raises(ValueError, match="of the step"):
        failing.fit(BoringModule(), boring_batches(2))
    profiler = TraceProfiler(skip_steps=0, steps=1)
    quiet_trainer(profiler=profiler).fit(BoringModule(), boring_batches(2))  # refused while another records
    assert profiler.trace_dir is not None


def test_trace_profiler_warns_of_a_fit_that_is_too_short(caplog):
    trainer = quiet_trainer(profiler="trace")
    trainer.fit(BoringModule(), boring_batches(2))
    assert "TraceProfiler(skip_steps=10) recorded nothing: the fit ended after 2 steps." in caplog.text
    with pytest.raises(ValueError, match=r"steps >= 1. Received: skip_steps=0, steps=0"):
        TraceProfiler(skip_steps=0, steps=0)


def test_without_a_profiler_nothing_is_wrapped():
    trainer = quiet_trainer()
    trainer.fit(BoringModule(), boring_batches(1))
    assert trainer.profiler is None
    assert not {"train_step", "prefetch"} & set(vars(trainer.engine))
