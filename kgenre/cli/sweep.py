"""``kgenre sweep``: train with many combinations of options, and rank them."""

from __future__ import annotations

import csv
import importlib.util
import json
import logging
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonargparse import ArgumentParser

from kgenre.checkpoints.files import whole_file
from kgenre.cli import configuration
from kgenre.cli.arguments import read_pipes
from kgenre.cli.monitor_mode import mode_of
from kgenre.cli.run_place import move_runs, run_place
from kgenre.cli.search_space import MOST_TRIALS, Values, grid, is_numeric, optuna_next, random_search, read_space
from kgenre.cli.standard_streams import fault_tolerant_streams
from kgenre.cli.trial import Trial, shown
from kgenre.cli.usage import UsageError, writing_below
from kgenre.quoted_path import quoted_path
from kgenre.training.errors import TrainerError
from kgenre.training.run_lock import RunLock
from kgenre.training.stop_signal import StopSignal

if TYPE_CHECKING:
    from jsonargparse import Namespace

    from kgenre.cli.parser import Parser

_log = logging.getLogger("kgenre")
_REASON = 50  # characters of a failed trial's reason in the table
_SWEEP_OPTIONS = ("sweep", "method", "trials", "monitor", "mode")


def run(arguments: Sequence[str]) -> int:
    """Run the trials that are not finished, then print and write the ranking of all."""
    words, given = _split_sweep_options(read_pipes(arguments))
    options = configuration.parse(_parser(), words)
    if options.ckpt_path is not None:
        raise UsageError("kgenre sweep starts every trial from scratch: leave --ckpt_path out.")
    if options.method == "optuna" and importlib.util.find_spec("optuna") is None:
        raise UsageError("--method optuna needs Optuna: pip install 'kgenre[optuna]'. Without it: --method random.")
    if not 1 <= options.trials <= MOST_TRIALS:
        raise UsageError(f"--trials must be from 1 to {MOST_TRIALS}. Received: {options.trials}")
    options.mode = options.mode or mode_of(options.monitor)
    space = read_space(options.sweep | given)
    if not space:
        raise UsageError('kgenre sweep needs options to vary: --sweep.model.learning_rate "[1e-3, 1e-4]".')

    root, name = run_place(options)
    with fault_tolerant_streams(), writing_below(root, "give a folder for runs with --trainer.default_root_dir"):
        return _search(space, options, words, root / (name or "sweep"))


def _search(space: Mapping[str, Any], options: Namespace, words: Sequence[str], folder: Path) -> int:
    begun: list[Trial] = []
    trials = _trials(space, options, words, folder, begun)
    checked = list(islice(trials, 1))  # checks all trials of a grid or random search
    lock, stop_signal = _lock(folder), StopSignal()
    try:
        # SIGTERM, SIGHUP and Ctrl-Break raise an error too: the running trial is ended, the results so far are written.
        with stop_signal.listening():
            print(f"Each trial's output: {folder / 'trial_<n>' / 'output.log'}", flush=True)
            for trial in chain(checked, trials):
                stop_signal.raise_if_received()  # its own error was lost if a garbage collector's callback was running
                begun.append(trial)
                if trial.load_finished():
                    print(f"{trial}  (already finished)", flush=True)
                    continue
                trial.run()
                print(trial, flush=True)
                if trial.status == "interrupted":
                    return 130
    finally:
        lock.release()
        _report_ranking(folder, begun, options)
    return 0 if any(trial.score is not None for trial in begun) else 1


def _parser() -> Parser:
    parser = configuration.make_parser(
        "sweep",
        "Train with many combinations of options, each in a run of its own, and rank them by a logged value. Repeat "
        "the command to resume an interrupted sweep; finished trials are not repeated.",
    )
    parser.add_argument(
        "--sweep",
        type=dict[str, Any],
        default={},
        help='the options to vary, lists or ranges: --sweep.model.learning_rate "[1e-3, 1e-4]", '
        '--sweep.data.batch_size "{min: 16, max: 128, log: true}"; or a section sweep: of a config',
    )
    parser.add_argument(
        "--method", choices=["grid", "random", "optuna"], default="grid", help="how combinations are chosen"
    )
    parser.add_argument("--trials", type=int, default=10, help="number of trials; a grid runs all its combinations")
    parser.add_argument("--monitor", type=str, default="val/loss", help="the logged value that ranks the trials")
    parser.add_argument(
        "--mode",
        choices=["min", "max"],
        default=None,
        help="whether smaller or larger is better; without it the name of the value tells (min for loss, max for map)",
    )
    return parser


def _split_sweep_options(arguments: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
    """Return the arguments without ``--sweep.OPTION VALUES``, and these as a ``sweep:`` section."""
    reader = ArgumentParser(exit_on_error=False)
    reader.add_argument("--values", type=Any)  # unlike PyYAML, it reads 1e-3 as a number
    rest, varied = [], {}
    words = iter(arguments)
    for word in words:
        if not word.startswith("--sweep."):
            rest.append(word)
            continue
        name, equals, text = word.removeprefix("--sweep.").partition("=")
        varied[name] = reader.parse_args([f"--values={text if equals else next(words, '')}"])["values"]
    return rest, varied


def _trials(
    space: Mapping[str, Any], options: Namespace, words: Sequence[str], folder: Path, begun: list[Trial]
) -> Iterator[Trial]:
    """Yield the trials in order. Those of a grid or random search are all checked before the first one runs."""
    numbers = [name for name, values in space.items() if is_numeric(values)]
    of_fit = configuration.make_parser("fit", "")

    def make(number: int, values: Values) -> Trial:
        place = folder / f"trial_{number:03d}"
        return Trial(place, values, _config_of(words, values, place, of_fit), options.monitor, options.mode, numbers)

    seed = options.seed_everything
    if options.method == "optuna":
        for number in range(options.trials):
            done = [(trial.values, trial.score) for trial in begun if trial.score is not None]
            yield make(number, optuna_next(space, seed, number, options.mode, done))
        return
    from kgenre.data.progress_line import ProgressLine

    chosen = grid(space) if options.method == "grid" else list(random_search(space, options.trials, seed))
    trials = []
    with ProgressLine("Checking trials") as progress:  # a fraction of a second each
        for number, values in enumerate(chosen):
            progress(number, len(chosen))
            trials.append(make(number, values))
    yield from trials


def _config_of(words: Sequence[str], values: Values, folder: Path, of_fit: Parser) -> str:
    """Return the complete configuration of a trial; a wrong option ends the program with a line that names it."""
    chosen = [f"--{name}={value if isinstance(value, str) else json.dumps(value)}" for name, value in values.items()]
    options = configuration.parse(_parser(), [*words, *chosen])
    move_runs(options, folder)
    options.test = False  # only the winner may see the test films
    for name in _SWEEP_OPTIONS:
        options.pop(name)
    return configuration.dump(of_fit, options)


def _lock(folder: Path) -> RunLock:
    """Lock the sweep's folder: of two concurrent sweeps, each would take the other's newest run for its own trial's."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        return RunLock(folder)
    except TrainerError as error:
        who = str(error).partition(" Two runs")[0]
        raise UsageError(f"{who} Wait until that sweep ends, or set another --trainer.name.") from None


def _report_ranking(folder: Path, trials: list[Trial], options: Namespace) -> None:
    """Print and write the table, best first, and write the best trial's configuration as ``best.yaml``."""
    if not trials:
        return
    from rich.console import Console
    from rich.table import Table

    sign = 1 if options.mode == "min" else -1
    ranked = sorted(trials, key=lambda trial: (trial.score is None, sign * (trial.score or 0)))
    names = list(ranked[0].values)
    rows = [
        [trial.folder.name, *(shown(trial.values[name]) for name in names), _shown_score(trial), f"{trial.seconds:.0f}"]
        for trial in ranked
    ]
    folder.mkdir(parents=True, exist_ok=True)
    with whole_file(folder / "sweep.csv") as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["trial", *names, options.monitor, "seconds", "status", "run", "reason"])
        for trial, row in zip(ranked, rows, strict=True):
            score = "" if trial.score is None else repr(trial.score)
            writer.writerow([*row[:-2], score, row[-1], trial.status, trial.run_dir or "", trial.reason])
    table = Table("trial", *(name.rpartition(".")[2] for name in names), options.monitor, "seconds")
    for row in rows:
        table.add_row(*row)
    # A list, or a reason such as "pip install 'kgenre[torch]'", is not markup.
    Console(markup=False, emoji=False).print(table)
    if ranked[0].score is not None:
        of_fit, path = configuration.make_parser("fit", ""), folder / "best.yaml"
        best = configuration.parse(of_fit, ["--config", str(ranked[0].folder / "config.yaml")])
        move_runs(best, folder.with_name(f"{folder.name}_best"))
        best.test = options.test
        with whole_file(path) as partial:
            partial.write_text(configuration.dump(of_fit, best), encoding="utf-8")
        print(f"Best run: {ranked[0].run_dir}\nIts configuration: kgenre fit --config {quoted_path(path)}")
    if len({trial.films for trial in trials if trial.score is not None}) > 1:
        _log.warning(
            "The trials were not all trained and validated on the same films (see split.json of their runs): their "
            "values cannot be compared. If the films have changed, train all trials again: --trainer.name OTHER"
        )
    print(f"All trials: {folder / 'sweep.csv'}, and HPARAMS in kgenre tensorboard {quoted_path(folder)}")


def _shown_score(trial: Trial) -> str:
    if trial.score is not None:
        return f"{trial.score:.4g}"
    # The full reason was printed when the trial ended, and is in sweep.csv.
    return textwrap.shorten(trial.reason.removeprefix("kgenre: ") or str(trial.status), _REASON, placeholder=" …")
