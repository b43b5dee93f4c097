"""Options: LightningCLI's conventions, and the precedence of their sources."""

import ntpath
import os
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

import kgenre
from kgenre.checkpoints import read_checkpoint, write_checkpoint
from kgenre.cli import predict
from kgenre.cli.arguments import order_arguments
from kgenre.cli.configuration import _seed_of, dump, instantiate, make_parser, parse
from kgenre.cli.given_checkpoint import checkpoint_path
from kgenre.cli.main import main
from kgenre.cli.optimizer import use_optimizer
from kgenre.cli.usage import UsageError

pytestmark = pytest.mark.one_backend("jax")
EXAMPLES = Path(__file__).parents[2] / "configs" / "examples"


@pytest.fixture
def digits(allow_import, monkeypatch):
    """Make a user's module `digits` importable and allow it; returns the arguments that name its classes."""
    allow_import("digits")
    monkeypatch.syspath_prepend(EXAMPLES)
    return ["--model", "digits.DigitNet", "--data", "digits.Digits"]


def options(*arguments):
    return parse(make_parser("fit", ""), arguments)


def write(path, **content):
    path.write_text(yaml.safe_dump(content))
    return str(path)


def test_precedence_of_sources(poster_run, tmp_path, monkeypatch):
    """Command line, later config, earlier config, environment, checkpoint, default: each is removed in turn."""
    first = write(tmp_path / "a.yaml", model={"init_args": {"learning_rate": 0.3}})
    second = write(tmp_path / "b.yaml", model={"init_args": {"learning_rate": 0.4}})
    words = ["--model.learning_rate", "0.5", "--config", first, "--config", second, "--ckpt_path", str(poster_run)]
    monkeypatch.setenv("KGENRE_MODEL__LEARNING_RATE", "0.2")
    rates = [options(*words[start:]).model.init_args.learning_rate for start in (0, 2)]
    rates.append(options(*words[2:4], *words[6:]).model.init_args.learning_rate)
    rates.append(options(*words[6:]).model.init_args.learning_rate)
    monkeypatch.setenv("KGENRE_MODEL__LEARNING_RATE", "")  # counts as not set
    rates.append(options(*words[6:]).model.init_args.learning_rate)
    rates.append(options().model.init_args.learning_rate)
    assert rates == [0.5, 0.4, 0.3, 0.2, 0.01, 1e-4]


def test_the_last_of_two_checkpoints_wins(poster_run, overview_run):
    given = options("--ckpt_path", str(overview_run), f"--ckpt_path={poster_run}")
    assert (given.ckpt_path, given.model.init_args.network) == (str(poster_run), "poster_colours")
    assert options("--ckpt_path", str(poster_run), "--ckpt_path", "null").model.init_args.learning_rate == 1e-4


def test_a_fit_takes_the_options_of_the_checkpoint_that_it_resumes_from(poster_run, tmp_path, monkeypatch):
    """The newest of the run, wherever its folder is given; an evaluation takes those of the best."""
    run = shutil.copytree(poster_run, tmp_path / "version_0")
    last = read_checkpoint(run / "checkpoints" / (run / "checkpoints" / "last").read_text().strip())
    last.state["model"]["hyperparameters"]["learning_rate"] = 0.7  # as if it had been resumed with another rate
    write_checkpoint(last, run / "checkpoints" / "step=000999")
    config = write(tmp_path / "a.yaml", ckpt_path=str(run))

    def rates(command):
        given = [
            parse(make_parser(command, ""), words, command == "fit")
            for words in (["--ckpt_path", str(run)], ["--config", config])
        ]
        with monkeypatch.context() as patch:
            patch.setenv("KGENRE_CKPT_PATH", str(run))
            given.append(parse(make_parser(command, ""), [], command == "fit"))
        return [found.model.init_args.learning_rate for found in given]

    assert rates("fit") == [0.7, 0.7, 0.7]
    assert rates("test") == [0.01, 0.01, 0.01]


def test_options_not_in_the_config_come_from_the_checkpoint(overview_run, films, tmp_path, capsys):
    network = {"network": "overview_lstm_pooled", "network_args": {"dropout": 0.3}}
    config = write(tmp_path / "a.yaml", model={"init_args": network}, data={"init_args": {"path": None}})
    words = ["--config", config, "--ckpt_path", str(overview_run)]
    found = options(*words)
    assert (found.model.init_args.network_args, found.data.init_args.path) == (
        {"embedding_dim": 8, "units": 4, "dropout": 0.3},
        str(films),
    )
    assert main(["fit", *words, "--print_config"]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["data"]["init_args"]["path"] == str(films), "what would run"
    assert options(*words, "--data.path", "null").data.init_args.path is None
    assert options(*words, "--model.network_args.embedding_dim", "9").model.init_args.network_args == {
        "embedding_dim": 9,
        "units": 4,
        "dropout": 0.3,
    }
    other = options(*words, "--model.network", "overview_lstm").model.init_args
    assert other.network_args == {"dropout": 0.3}


def test_null_in_a_dict_of_arguments_is_none():
    words = ["--model.network_args.weights", "null", "--model.network_args.file=a=None"]
    found = options(*words, "--optimizer.init_args.beta=null")
    assert found.model.init_args.network_args == {"weights": None, "file": "a=None"}
    assert found.optimizer.init_args == {"beta": None}


def test_a_named_checkpoint_is_found_where_a_logger_places_the_run(poster_run, films, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(poster_run, tmp_path / "logs" / "mine" / "version_0")
    loggers = [{"class_path": "CSVLogger"}, {"class_path": "TensorBoardLogger", "init_args": {"save_dir": "logs"}}]
    config = write(tmp_path / "a.yaml", trainer={"logger": loggers})
    words = ["--config", config, "--trainer.logger.name", "mine"]
    for which in ("best", "last"):
        assert options(*words, "--ckpt_path", which).data.init_args.path == str(films)
    assert parse(make_parser("test", ""), words, to_fit=False).data.init_args.path == str(films)
    alone = ["--trainer.logger=CSVLogger", "--trainer.logger.save_dir=logs", "--trainer.name=mine"]
    assert options(*alone, "--ckpt_path=last").data.init_args.path == str(films)


def test_a_config_beside_other_checkpoints_is_no_runs_own(poster_run, films, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    shutil.copytree(poster_run, tmp_path / "runs" / "mine" / "version_0")
    words = ["--config", write(tmp_path / "a.yaml", trainer={"name": "mine"})]
    assert options(*words, "--ckpt_path", "last").data.init_args.path == str(films)
    found = parse(make_parser("test", ""), words, to_fit=False)
    assert (found.data.init_args.path, checkpoint_path("best", found)) == (str(films), "best")


def test_a_run_without_a_config_takes_the_given_seed(tmp_path):
    assert _seed_of(tmp_path, 3) == 3


def test_another_checkpoint_for_the_config_of_a_run(poster_run):
    given = options("--config", str(poster_run / "config.yaml"))
    here = poster_run / "checkpoints"
    assert [checkpoint_path(word, given) for word in ("best", "last", "runs/x")] == [
        here / "best",
        here / "last",
        "runs/x",
    ]
    assert checkpoint_path("last", given, to_fit=True) == poster_run


def test_a_runs_films_may_lie_in_the_home_folder(poster_run, tmp_path, monkeypatch):
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path))
    checkpoint = read_checkpoint(poster_run / "checkpoints" / (poster_run / "checkpoints" / "best").read_text().strip())
    checkpoint.state["data"]["hyperparameters"]["path"] = "~/films"
    words = ["--ckpt_path", str(write_checkpoint(checkpoint, tmp_path / "step=000001"))]
    with pytest.raises(UsageError, match="The run's films, ~/films, cannot be found"):
        options(*words)
    (tmp_path / "films").mkdir()
    assert options(*words).data.init_args.path == "~/films"


def test_error_missing_config_on_a_windows_drive(monkeypatch):
    monkeypatch.setattr(os.path, "splitdrive", ntpath.splitdrive)  # as on Windows: the drive's colon is not YAML
    with pytest.raises(UsageError, match="the file does not exist"):
        order_arguments(["--config", r"C:\absent.yaml"], {})


@pytest.mark.parametrize("option", [["--config", ""], ["--config="]], ids=["word", "equals sign"])
def test_a_config_may_be_a_pipe_or_yaml_itself(digits, piped, option):
    """As in ``--config <(sed ... a.yaml)``; a class other than the default one makes the parser read configs again."""
    pipe = piped("trainer: {max_epochs: 7}\nmodel: digits.DigitNet\ndata: digits.Digits\n")
    given = options(*option[:-1], f"{option[-1]}{pipe}", "--config", "trainer: {name: x}")
    assert (given.trainer.max_epochs, given.trainer.name, given.model.class_path) == (7, "x", "digits.DigitNet")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "--config is empty. An example of a configuration: trainer: {max_epochs: 3}"),
        ("- 1", "--config is not a mapping of options."),
        ("trainer: {max_epochs: 3", "--config, line 1, column 24: expected ',' or '}', but got '<stream end>'"),
        ("trainer: {name: x}\ntrainer: {name: y}", "--config: 'trainer' appears twice, on lines 1 and 2."),
        ("trainer: {name: \xe9}", "special characters are not allowed"),
    ],
)
def test_error_wrong_yaml_without_a_file(piped, text, message):
    for given in (piped(text), text.encode("latin-1").decode("utf-8", "surrogateescape")):
        with pytest.raises(UsageError) as raised:
            order_arguments(["--config", given], {})
        assert message in str(raised.value)


def test_a_config_is_merged_into_the_previous_one(tmp_path):
    first = write(tmp_path / "a.yaml", trainer={"max_epochs": 2, "min_epochs": 1}, data={"init_args": {"seed": 3}})
    second = write(tmp_path / "b.yaml", trainer={"max_epochs": 5})
    given = options("--config", first, f"--config={second}")
    assert (given.trainer.max_epochs, given.trainer.min_epochs, given.data.init_args.seed) == (5, 1, 3)


VARIABLES = ("TRAINER__MAX_EPOCHS", "SEED_EVERYTHING", "DATA__BATCH_SIZE")


@pytest.mark.parametrize("name", VARIABLES)
def test_environment_variables_set_options(monkeypatch, name):
    monkeypatch.setenv(f"KGENRE_{name}", "7")
    given = options()
    found = (given.trainer.max_epochs, given.seed_everything, given.data.init_args.batch_size)
    assert [variable for variable, value in zip(VARIABLES, found, strict=True) if value == 7] == [name]


def test_an_optimizer_in_the_environment(monkeypatch):
    monkeypatch.setenv("KGENRE_OPTIMIZER", "SGD")
    monkeypatch.setenv("KGENRE_OPTIMIZER__MOMENTUM", "0.5")
    assert options().optimizer.as_dict() == {"class_path": "SGD", "init_args": {"momentum": 0.5}}


def test_error_unknown_option_in_the_environment(monkeypatch, capsys):
    monkeypatch.setenv("KGENRE_TRAINER__MAX_EPOCH", "7")
    assert main(["fit", "--print_config"]) == 2
    said = capsys.readouterr().err
    assert "from KGENRE_TRAINER__MAX_EPOCH in the environment" in said
    assert "mean --trainer.max_epochs?" in said


def test_using_sample_films_by_default_is_logged_first(caplog, films):
    for words in ([], ["--data.path", str(films)]):
        caplog.clear()
        instantiate(make_parser("fit", ""), options(*words))
        line = "No --data.path: using generated sample films. For your own films: --data.path FOLDER"
        assert caplog.messages[:1] == ([] if words else [line])


def test_appending_to_lists(tmp_path):
    config = write(tmp_path / "a.yaml", trainer={"callbacks": [{"class_path": "TerminateOnNaN"}]})
    given = options(
        *("--trainer.callbacks+=EarlyStopping", "--trainer.callbacks.patience=9", "--config", config),
        *("--trainer.callbacks+=LearningRateMonitor", "--trainer.logger+=CSVLogger"),
    )
    callbacks = given.trainer.callbacks
    assert [callback.class_path.rpartition(".")[2] for callback in callbacks] == [
        "TerminateOnNaN",
        "EarlyStopping",
        "LearningRateMonitor",
    ]
    assert callbacks[1].init_args.patience == 9
    assert given.trainer.logger[0].class_path == "kgenre.loggers.CSVLogger"


@pytest.mark.parametrize(
    ("option", "home"), [("callbacks", kgenre.callbacks), ("logger", kgenre.loggers)], ids=["callbacks", "loggers"]
)
def test_callbacks_and_loggers_have_short_names(option, home, capsys):
    base = {"Callback", "Logger", "LambdaCallback"}
    names = [name for name in home.__all__ if isinstance(getattr(home, name), type) and name not in base]
    classes = [name for name in names if issubclass(getattr(home, name), (kgenre.Callback, kgenre.loggers.Logger))]
    assert len(classes) >= 3
    for name in classes:
        code, said = main(["fit", f"--trainer.{option}={name}", "--print_config"]), capsys.readouterr()
        # For a class with required arguments the error shows that its name was resolved.
        assert (code, f"{home.__name__}.{name}" in said.out) == (0, True) or f"{name} needs" in said.err, name


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--model.help"], "--model.learning_rate"),
        (["--model.help=GenreClassifier"], "--model.learning_rate"),
        (["--model.help", "kgenre.models.GenreClassifier"], "--model.learning_rate"),
        (["--data.help"], "--data.batch_size"),
        (["--data.help", "--trainer.max_epochs", "3"], "--data.batch_size"),
        (["--trainer.callbacks.help=EarlyStopping"], "--trainer.callbacks.patience"),
    ],
)
def test_help_of_a_class(arguments, expected, capsys):
    assert main(["fit", *arguments]) == 0
    assert expected in capsys.readouterr().out


def test_help_of_an_optimizer(capsys):
    assert main(["fit", "--optimizer.help=SGD"]) == 0
    assert "momentum" in capsys.readouterr().out


def test_an_optimizer_of_an_allowed_module(allow_import, tmp_path, monkeypatch, capsys):
    package = tmp_path / "mypackage"
    package.mkdir()
    (package / "optimizers.py").write_text("import keras\nclass Mine(keras.optimizers.SGD):\n    'My own.'\n")
    monkeypatch.syspath_prepend(tmp_path)
    allow_import("mypackage.optimizers")
    assert main(["fit", "--optimizer.help=mypackage.optimizers.Mine"]) == 0
    assert capsys.readouterr().out.startswith("Mine(learning_rate=")
    allow_import("mypackage.opt")
    assert main(["fit", "--optimizer.help=mypackage.optimizers.Mine"]) == 1
    said = "mypackage.optimizers.Mine may not be imported. If it is yours, allow it: KGENRE_ALLOW_IMPORT="
    assert f"{said}mypackage.opt,mypackage\n" in capsys.readouterr().err


def test_error_help_of_an_unnamed_optimizer(capsys):
    assert main(["fit", "--optimizer.help", "--trainer.max_epochs", "3"]) == 1
    assert "--optimizer.help needs the name of a class. There are: Adadelta," in capsys.readouterr().err


def test_optimizer_and_schedule_options():
    given = options("--optimizer", "SGD", "--optimizer.momentum", "0.9", "--lr_scheduler=CosineDecay")
    assert given.optimizer.class_path == "SGD"
    assert given.optimizer.init_args == {"momentum": 0.9}
    assert given.lr_scheduler.class_path == "CosineDecay"


def test_error_a_schedule_for_several_optimizers():
    given = options(
        "--lr_scheduler=CosineDecay", "--lr_scheduler.initial_learning_rate=1", "--lr_scheduler.decay_steps=1"
    )
    module = SimpleNamespace(configure_optimizers=lambda: {"head.*": "adam", ".*": "sgd"})
    use_optimizer(module, given)
    with pytest.raises(UsageError, match="--lr_scheduler needs a single optimizer: set --optimizer, too"):
        module.configure_optimizers()


def test_user_classes_in_the_printed_config(digits, capsys):
    assert main(["fit", *digits, "--model.filters", "4", "--print_config"]) == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    assert printed["model"] == {"class_path": "digits.DigitNet", "init_args": {"filters": 4, "learning_rate": 0.001}}
    assert printed["data"]["init_args"] == {"batch_size": 64}
    assert main(["fit", *digits, "--print_config=skip_default"]) == 0
    classes = {"model": {"class_path": "digits.DigitNet"}, "data": {"class_path": "digits.Digits"}}
    assert yaml.safe_load(capsys.readouterr().out) == classes


def test_a_module_in_the_working_directory_must_be_allowed(allow_import, tmp_path, monkeypatch, capsys):
    (tmp_path / "mine.py").write_text("import kgenre\nclass Net(kgenre.Module):\n    pass\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    assert main(["fit", "--model", "mine.Net", "--print_config"]) == 2
    assert "If it is yours, allow it: KGENRE_ALLOW_IMPORT=mine\n" in capsys.readouterr().err
    allow_import("mine")
    assert main(["fit", "--model", "mine.Net", "--print_config"]) == 0
    monkeypatch.delenv("KGENRE_ALLOW_IMPORT")
    assert main(["fit", "--model", "mine.Net", "--print_config"]) == 2, "what was allowed once is not for ever"


def test_users_data_are_created_after_seeding(allow_import, tmp_path, monkeypatch):
    imports, method = "import random, kgenre\n", "    def __init__(self):\n        self.n = random.random()\n"
    (tmp_path / "drawn.py").write_text(f"{imports}class Drawn(kgenre.DataModule):\n{method}")
    allow_import("drawn")
    monkeypatch.syspath_prepend(tmp_path)
    parser = make_parser("fit", "")
    numbers = [instantiate(parser, parse(parser, ["--data", "drawn.Drawn"]))[2].n for _ in range(2)]
    assert numbers[0] == numbers[1]


def test_user_data_needs_no_tensorflow(run_python):
    script = (
        "import sys\nfrom kgenre.cli.configuration import make_parser, parse\n"
        "parse(make_parser('fit', ''), ['--model', 'digits.DigitNet', '--data', 'digits.Digits'])\n"
        "print('tensorflow' in sys.modules)"
    )
    environment = {"KGENRE_ALLOW_IMPORT": "digits", "PYTHONPATH": str(EXAMPLES)}
    assert run_python(script, backend="jax", **environment).splitlines()[-1] == "False"


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("[2024]", "./[2024]"),
        ("#1", "./#1"),
        ("1e3", "1e3"),
        ("1.5e3", "1.5e3"),
        ("a: b", "a: b"),
        ("2012", "2012"),
        ("null", "./null"),
    ],
)
def test_a_folder_name_that_is_valid_yaml_stays_a_path(name, path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).mkdir()
    assert options(f"--data.path={name}").data.init_args.path == path
    given = options("--data.path", name, "--data.batch_size", "3")
    (tmp_path / "config.yaml").write_text(dump(make_parser("fit", ""), given))
    read = options("--config", "config.yaml").data.init_args
    assert (read.path, read.batch_size) == (path, 3)


def test_text_that_looks_like_a_number_survives_the_config(tmp_path):
    given = options("--trainer.name", "1e3", "--model.learning_rate", "1e-5")
    (tmp_path / "config.yaml").write_text(dump(make_parser("fit", ""), given))
    read = options("--config", str(tmp_path / "config.yaml"))
    assert (read.trainer.name, read.model.init_args.learning_rate) == ("1e3", 1e-5)


def test_an_overview_may_begin_like_a_yaml_comment():
    given = predict._parser().parse_args(["--ckpt_path", "x", "--overview", "#MeToo: the film"])
    assert given.overview == "#MeToo: the film"


def test_replacing_the_modules_optimizer_is_logged(digits, in_tmp_path, caplog):
    words = [*digits, "--trainer.fast_dev_run", "1", "--optimizer", "SGD"]
    assert main(["fit", *words]) == 0
    assert "--optimizer SGD replaces the module's optimizer, learning rate, schedule and weight decay." in caplog.text
