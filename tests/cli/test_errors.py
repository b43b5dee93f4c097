"""Errors of use: one or two lines with what was given and what to give instead, and exit code 1 or 2."""

import errno
import os
import re
import shutil

import pytest

from kgenre.checkpoints import Checkpoint, read_checkpoint, write_checkpoint
from kgenre.cli.main import main
from kgenre.cli.usage import is_refusal

pytestmark = pytest.mark.one_backend("tensorflow")


@pytest.fixture
def fails(capsys):
    """Call to run a ``kgenre`` command that must fail; returns the exit code and the lines on standard error."""

    def run(*arguments):
        code = main([str(argument) for argument in arguments])
        assert code in (1, 2)
        said = capsys.readouterr().err
        assert "Traceback" not in said
        lines = said.strip().splitlines()
        assert len(re.sub(r"\S+/", "", lines[-1])) < 450, "without the folders of paths"
        return code, lines

    return run


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["fot"], 2, ["'fot'", "fit, validate, test, predict"]),
        (["fit", "--config", "absent.yaml"], 2, ["absent.yaml", "does not exist"]),
        (["fit", "--config", "null"], 2, ["--config null: the file does not exist."]),
        (["fit", "--config", "~nobody-of-this-name/a.yaml"], 2, ["~nobody-of-this-name/a.yaml", "does not exist"]),
        (["fit", "--trainer.max_epoch", "3"], 2, ["mean --trainer.max_epochs? Options: kgenre fit --help"]),
        (["fit", "--max_epochs", "3"], 2, ["mean --trainer.max_epochs?"]),
        (["fit", "--trainer.num_nodes", "2"], 2, ["--trainer.num_nodes: there is only one process: leave it out."]),
        (["fit", "--num_nodes", "2"], 2, ["--num_nodes: there is only one process: leave it out."]),
        (["fit", "--trainer", "{num_nodes: 2}"], 2, ["the config has trainer.num_nodes", "there is only one process"]),
        (["fit", "--learning_rate", "3"], 2, ["mean --model.learning_rate?"]),
        (["fit", "--config", "."], 2, ["config", "not a file"]),
        (
            ["fit", "--trainer", "absent.yaml"],
            2,
            ["--trainer takes a YAML file of its options", "absent.yaml"],
        ),
        (["fit", "--trainer.max_epochs", "1.5"], 2, ["--trainer.max_epochs takes a whole number. Received: 1.5"]),
        (["fit", "--trainer.max_steps.x", "3"], 2, ["--trainer.max_steps takes a whole number. Received: {x: '3'}"]),
        (
            ["fit", "--trainer.accelerator", "mps"],
            2,
            ["--trainer.accelerator takes 'auto' or 'cpu' or 'gpu' (CUDA, or MPS under torch). Received: mps"],
        ),
        (["fit", "--trainer", "{max_epochs: many}"], 2, ["--trainer.max_epochs takes a whole number. Received: many"]),
        (["fit", "--trainer.enable_progress_bar", "yess"], 2, ["true or false", "yess"]),
        (["fit", "--trainer.gradient_clip_algorithm", "l2"], 2, ["'norm' or 'value'", "l2"]),
        (["fit", "--trainer.callbacks", "EarlyStoping"], 2, ["--trainer.callbacks", "mean 'EarlyStopping'?"]),
        (["fit", "--trainer.callbacks=[EarlyStoping]"], 2, ["--trainer.callbacks", "mean 'EarlyStopping'?"]),
        (["fit", "--trainer.callbacks=Timer", "--trainer.callbacks.durations=3"], 2, ["Timer", "mean 'duration'?"]),
        (["fit", "--trainer.callbacks=Timer", "--trainer.callbacks.verbose=1"], 2, ["'verbose': the end is always"]),
        (["fit", "--trainer.callbacks+=ModelCheckpoint", "--trainer.callbacks.dirpath=x"], 2, ["in <run>/checkpoints"]),
        (["fit", "--trainer.logger=CSVLogger", "--trainer.logger.version=3"], 2, ["'version': runs are numbered"]),
        (
            ["fit", "--trainer.callbacks=EarlyStopping", "--trainer.callbacks.patience=x"],
            2,
            ["EarlyStopping's patience"],
        ),
        (
            ["fit", "--trainer.callbacks=EarlyStopping", "--trainer.callbacks.mode=x"],
            2,
            ["'min' or 'max'. Received: x"],
        ),
        (["fit", "--trainer.callbacks+=LearningRateScheduler"], 2, ["needs --trainer.callbacks.schedule"]),
        (
            ["fit", "--trainer.callbacks+=LearningRateScheduler", "--trainer.callbacks.schedule=ConstantThenDecay"],
            2,
            ["LearningRateScheduler's schedule takes the import path", "Received: ConstantThenDecay"],
        ),
        (["fit", "--trainer.logger", "CSVLoger"], 2, ["mean 'CSVLogger'?"]),
        (["fit", "--model", "GenreClasifier"], 2, ["--model", "mean 'GenreClassifier'?"]),
        (["fit", "--model", "MyNet"], 2, ["MyNet", "GenreClassifier", "--model file.Class"]),
        (["fit", "--model", "null"], 2, ["--model takes a class"]),
        (["fit", "--model", "1.5"], 2, ["--model: Unexpected import path format: 1.5"]),
        (
            ["fit", "--data.image_size", "[64]"],
            2,
            ["FilmData's image_size takes a list such as [64, 64]. Rec", ": [64]"],
        ),
        (["fit", "--data", "."], 2, ["--data takes a class; for films, use --data.path ."]),
        (["fit", "--data", __file__], 2, ["for films, use --data.path /"]),
        (["fit", "--seed_everything", "null"], 2, ["--seed_everything takes a whole number"]),
        (["fit", "--model", "FilmData"], 2, ["--model", "FilmData"]),
        (["fit", "--optimizer", "SDG"], 1, ["SDG", "SGD"]),
        (["fit", "--optimizer", "adam"], 1, ["mean 'Adam'?"]),
        (["fit", "--data.path"], 2, ["an option --data.NAME needs a value"]),
        (["fit", "--test", "--data.path", "x"], 2, ["--test needs a value"]),
        (["fit", "--ckpt_path", "--trainer.max_epochs", "3"], 2, ["--ckpt_path needs a value"]),
        (["fit", "--model.network", "poster-cnn2024"], 1, ["mean 'poster_cnn_2024'?"]),
        (["predict", "--ckpt_path", "best", "--overview", "A film"], 1, ["or RUN/checkpoints/best."]),
        (["fit", "--optimizer", "os.system"], 1, ["os.system", "KGENRE_ALLOW_IMPORT=os"]),
        (["fit", "--optimizer", "SGD", "--optimizer.momentm", "1"], 1, ["momentm", "momentum"]),
        (["fit", "--optimizer.momentum", "1"], 1, ["--optimizer NAME"]),
        (["fit", "--lr_scheduler", "CosineDecay"], 1, ["decay_steps"]),
        (["fit", "--trainer.max_epochs", "many"], 2, ["max_epochs", "many"]),
        (["fit", "--trainer.max_epochs", "-2"], 1, ["max_epochs", "-2"]),
        (["fit", "--data.pth", "x"], 2, ["data", "pth"]),
        (["fit", "--data.batch_size", "0"], 1, ["batch_size=0", "64"]),
        (["fit", "--data.path", "absent"], 1, ["absent"]),
        (["fit", "--model.learning_rate", "fast"], 2, ["learning_rate takes a number. Received: fast"]),
        (["fit", "--model.learning_rate", "0"], 1, ["learning_rate", "above 0"]),
        (["fit", "--model.network", "resnet"], 1, ["resnet", "poster_cnn_2024"]),
        (["fit", "--trainer.precision", "8"], 1, ["precision", "bf16-mixed", "8"]),
        (["fit", "--model", "os.system"], 2, ["os.system", "KGENRE_ALLOW_IMPORT"]),
        (["fit", "--trainer.callbacks", "subprocess.Popen"], 2, ["subprocess.Popen", "may not be imported"]),
        (["fit", "--trainer.callbacks", "lightning.pytorch.callbacks.Timer"], 2, ["is PyTorch's", "path: Timer"]),
        (["fit", "--optimizer", "torch.optim.Adam"], 1, ["torch.optim.Adam is PyTorch's", "path: Adam"]),
        (["test", "--ckpt_path", "absent"], 1, ["absent", "does not exist"]),
        (
            ["test", "--trainer.default_root_dir", "absent"],
            1,
            ["--ckpt_path RUN", "in absent: train first"],
        ),
        (["predict", "--poster", "x.jpg"], 2, ["--ckpt_path is required: the folder of a run"]),
        (["report", "a long text " * 22], 1, ["File name too long: 'a long text a long"]),
        (["fuse"], 2, ["give at least one run's folder, such as", "Options: kgenre fuse --help"]),
        (["predict", "--ckpt_path", "x", "--overview", "x", "--out", "x.csv"], 1, ["--out FILE", "--data.path"]),
        (["fit", "--epochs", "3"], 2, ["mean --trainer.max_epochs?"]),
        (["fit", "--trainer.epochs", "3"], 2, ["mean --trainer.max_epochs?"]),
        (["fit", "--lr", "0.1"], 2, ["mean --model.learning_rate?"]),
        (["fit", "--model.lr", "0.1"], 2, ["no argument 'lr'. Did you mean --model.learning_rate?"]),
        (["fit", "--batch-size", "3"], 2, ["mean --data.batch_size?"]),
        (["fit", "--gpus", "1"], 2, ["mean --trainer.devices?"]),
        (["fit", "--device", "cpu"], 2, ["mean --trainer.accelerator?"]),
        (["predict", "--checkpoint", "x"], 2, ["mean --ckpt_path?"]),
        (["fit", "poster.yaml"], 2, ["--config poster.yaml"]),
        (["fit", "."], 2, ["--ckpt_path .", "--data.path ."]),
        (["fit", "now"], 2, ["'now' does not belong to any option"]),
        (["sweep", "--method", "random", "--trials", f"{10**20}"], 1, ["--trials must be from 1 to 10000."]),
        (["data", "sample", "films", "--films", f"{10**20}"], 1, ["must be from 1 to 1000000. Received: 1000"]),
        (["examples", "run", "--n", "0"], 1, ["--n takes 1 or more. Received: 0"]),
        (["examples", "run", "--out", "a.pdf"], 1, ["--out writes HTML, such as a.html. Received: a.pdf"]),
        (["examples", "run", "--seed", "-1"], 1, ["--seed takes 0 or more. Received: -1"]),
        (["sweep", "--seed_everything", "-1"], 2, ["--seed_everything takes a whole number from 0 to 4294967295. Rec"]),
        (["examples", "run", "--top", "0"], 1, ["--top takes 1 or more. Received: 0"]),
        (["report", "run", "--films", "-1"], 1, ["--films takes 0 or more. Received: -1"]),
        (["tensorboard", "run", "--port", "65536"], 1, ["--port takes 0 to 65535. Received: 65536"]),
        (["predict", "--ckpt_path", "absent", "--poster", "x.jpg"], 1, ["absent", "does not exist"]),
        (["predict", "--ckpt_path", "absent"], 1, ["--poster", "--data.path"]),
        (["predict", "--ckpt_path", "x", "--overview", "x", "--top", "0"], 1, ["--top takes 1 or more. Received: 0"]),
        (["test", "--trainer.name", "x", "--ckpt_path", "last"], 1, ["no last checkpoint under runs/x"]),
        (["predict", "--ckpt_path", "x", "--data.path", "x", "--json"], 1, ["--json is for one film", "--out FILE"]),
        (["data", "inspct", "x"], 1, ["takes one of inspect, prepare, sample. Received: 'inspct'"]),
    ],
)
def test_wrong_arguments(fails, arguments, code, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given, lines = fails(*arguments)
    assert given == code
    text = " ".join(lines[-2:])
    assert all(word in text for word in words), text
    assert list(tmp_path.iterdir()) == [], "nothing is left behind"


@pytest.mark.parametrize(
    ("command", "option", "value", "word"),
    [
        ("fit", "network", "poster_cnn_2023", "mean 'poster_cnn_2025'?"),
        ("fit", "loss", "focl", "weighted_binary_crossentropy"),
        ("fit", "schedule", "cosin", "constant, cosine"),
        ("validate", "network", "mine.net", "KGENRE_ALLOW_IMPORT=mine"),
        ("sweep", "network", '["poster_resnet", "poster_resnt"]', "mean 'poster_resnet'?"),
    ],
)
def test_a_misspelled_name_fails_before_the_backend_import(fails, command, option, value, word, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("kgenre.cli.quiet_backend.import_backend", lambda **kinds: pytest.fail("imported"))
    code, lines = fails(command, f"--{'sweep.' * (command == 'sweep')}model.{option}", value)
    assert code == 1
    assert word in lines[-1]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("trainr: {max_epochs: 3}", "mean --trainer.max_epochs?"),
        ("trainer: {max_epoch: 3}", "mean --trainer.max_epochs?"),
        ("trainer: {flag_of_another_version: 3}", "flag_of_another_version, which is not an option. Leave it out."),
        ("trainer: {max_epochs: [3}", "line 1"),
        ("trainer:\n\tmax_epochs: 3", "line 2"),
        ("trainer: {max_epochs: 3}\ndata: null\ntrainer: {}", "'trainer' appears twice, on lines 1 and 3"),
        ("model: {class_path: kgenre.models.GenreClassifier, init_args: {widht: 3}}", "no argument 'widht'"),
        ("trainer:\ndata: {}", "--trainer takes options, such as --trainer.max_epochs 3; omit it if there are none."),
        ("trainer:", "the config has no options below trainer: give some, or leave trainer out."),
        ("trainer: 5", "omit it if there are none. Received: 5"),
        ("trainer: {}\noptimizer:", "--optimizer takes options"),
        ("trainer: {}\nlr_scheduler:", "--lr_scheduler takes options"),
        ("trainer: {}\nseed_everything:", "--seed_everything takes a whole number"),
        ("data: {class_path: kgenre.data.FilmData, init_args: }", "--data: init_args takes FilmData's arguments"),
        (
            "data: {class_path: kgenre.data.FilmData, path: x}",
            "given as {class_path: NAME, init_args: {argument: value}}",
        ),
        ("trainer: {callbacks: [{class_path: EarlyStopping, patience: 3}]}", "class_path: NAME, init_args:"),
        ("trainer: {callbacks: [{EarlyStopping: {patience: 3}}]}", "class_path: NAME, init_args:"),
        ("model: {class_path: null}", "--model: a class is given as {class_path: NAME, init_args:"),
        ("data: {class_path: [FilmData]}", "--data: a class is given as {class_path: NAME, init_args:"),
        ("trainer: {callbacks: [null]}", "--trainer.callbacks: a class is given as {class_path: NAME, init_args:"),
        ("trainer:\n  max_epochs: {{ epochs }}", "line 2: the name of an option must be plain text"),
        ("- 1", "config.yaml is not a mapping of options"),
        ("", "config.yaml is empty. An example of a configuration"),
        ("# nothing yet", "config.yaml is empty"),
        ("epochs: 3", "the config has epochs, which is not an option. Did you mean --trainer.max_epochs?"),
        ("trainer: {name: \x07}", "special characters are not allowed"),
        ("trainer: {name: é}", "config.yaml is not a YAML file: it is not text."),
    ],
)
def test_wrong_config(fails, tmp_path, text, word):
    config = tmp_path / "config.yaml"
    config.write_bytes(text.encode("latin-1"))
    code, lines = fails("fit", "--config", config)
    assert code == 2
    assert word in " ".join(lines[-2:]), lines


@pytest.mark.parametrize("command", ["fit", "test"])
def test_a_configs_checkpoint_is_looked_for_before_the_backend_import(fails, command, tmp_path, monkeypatch):
    monkeypatch.setattr("kgenre.cli.quiet_backend.import_backend", lambda **kinds: pytest.fail("imported"))
    (tmp_path / "config.yaml").write_text("ckpt_path: absent")
    code, lines = fails(command, "--config", tmp_path / "config.yaml")
    assert (code, len(lines)) == (1, 1)
    assert "Checkpoint absent does not exist." in lines[0]


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--model.learning_rate=0", "learning_rate must be finite and above 0. Received: 0.0"),
        ("--model.learning_rate=null", "learning_rate must be finite and above 0. Received: None"),
        ("--model.mixup=-1", "mixup must be finite and at least 0. Received: -1.0"),
        ("--model.warmup=.nan", "warmup must be at least 0 and below 1. Received: nan"),
        ("--model.members=0", "members must be from 1 to 1000. Received: 0"),
        (f"--model.members={10**20}", f"members must be from 1 to 1000. Received: {10**20}"),
        (f"--data.sequence_length={10**20}", f"sequence_length={10**20} is too large. Give at most 1000000."),
        (f"--data.image_size=[{10**20}, 9]", f"image_size=({10**20}, 9) must be height and width in whole pixels"),
        (f"--trainer.devices={10**20}", "devices must be 'auto', a number up to 1024 (-1: all) or"),
        ("--model.layer_optimizers={Words: {learning_rate: .inf}}", "layer_optimizers: Words takes"),
        ("--data.batch_size=0", "batch_size=0 is too small. Give 1 or more, such as 64."),
        ("--trainer.max_steps=-5", "max_steps must be a whole number, at least -1. Received: -5"),
        ("--trainer.profiler=quick", "profiler must be one of 'simple', 'advanced', 'trace', or a Profiler."),
    ],
)
def test_wrong_values_are_reported_before_the_backend_import(fails, option, said, monkeypatch):
    monkeypatch.setattr("kgenre.cli.quiet_backend.import_backend", lambda **kinds: pytest.fail("imported"))
    code, lines = fails("fit", option)
    assert code == 1
    assert lines[-1].startswith(f"kgenre: {said}")


def test_devices_are_chosen_before_an_optimizer_starts_jax(fails, monkeypatch):
    monkeypatch.setattr("kgenre.cli.configuration.use_optimizer", lambda *given: pytest.fail("created"))
    _, lines = fails("fit", "--optimizer", "SGD", "--trainer.accelerator", "cpu", "--trainer.devices", "2")
    assert lines[-1].startswith("kgenre: devices=2: only KERAS_BACKEND=jax trains on several devices together")


def test_a_config_in_the_configs_folder_is_suggested(fails, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "mine.yaml").write_text("trainer: {max_epochs: 3}")
    _, lines = fails("fit", "--config=mine.yaml")
    assert "--config mine.yaml: the file does not exist. Did you mean configs/mine.yaml?" in lines[-1]
    shutil.copy(tmp_path / "configs" / "mine.yaml", tmp_path / "config.yaml")
    _, lines = fails("fit", "--config", tmp_path)
    assert lines[-1].endswith(f"is a folder, not a file. Did you mean {tmp_path / 'config.yaml'}?")


def test_the_newest_runs_are_named_if_none_is_given(fails, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for age in range(4):
        (run := tmp_path / "runs" / f"net{age}" / "version_0").mkdir(parents=True)
        os.utime(run, (1e9 - age, 1e9 - age))
    _, lines = fails("test")
    newest = ", ".join(os.path.join("runs", f"net{age}", "version_0") for age in range(3))
    assert lines[-1].endswith(f"that it was trained with. The newest runs: {newest}.")
    (tmp_path / "runs" / "genre_classifier").mkdir()
    _, lines = fails("test")
    assert "no best checkpoint under" in lines[-1]


def test_a_folder_of_runs_suggests_the_newest(fails, tmp_path):
    for version in (2, 10):
        (tmp_path / f"version_{version}").mkdir()
    code, lines = fails("predict", "--ckpt_path", tmp_path, "--overview", "A film.")
    assert (code, f"The newest run there is {tmp_path / 'version_10'}." in lines[-1]) == (1, True)


@pytest.mark.parametrize(
    "state",
    [
        {"model": {"class_path": "digits.DigitNet"}},
        {
            "classifier": {"genre_names": ["War"]},
            "data": {"class_path": "mine.Posters", "state": {"genre_names": ["War"]}},
        },
    ],
    ids=["another module", "other data"],
)
def test_a_checkpoint_of_another_module_or_other_data_is_rejected(fails, state, tmp_path):
    made = write_checkpoint(Checkpoint({}, {}, state), tmp_path / "step=000001")
    export = ["export", made, tmp_path / "exported", "--format", "keras"]
    for command in (["predict", "--overview", "A ship.", "--ckpt_path", made], ["fuse", made], export):
        code, lines = fails(*command)
        assert code == 1
        assert "holds no GenreClassifier trained on films" in lines[-1]


def test_unwritable_folders(fails, overview_run, films, tmp_path, monkeypatch):
    def refuse(trainer, *arguments, **named):
        raise OSError(errno.EROFS, "Read-only file system", str(refused))

    monkeypatch.setattr("kgenre.training.Trainer.fit", refuse)
    for refused, words in (
        (tmp_path / "runs" / "x", "(Read-only file system): give a folder for runs with --trainer.default_root_dir."),
        (tmp_path, "(Read-only file system): give a folder for runs with --trainer.default_root_dir."),
        (tmp_path / "cache", "(Read-only file system). Make room there, or choose another location."),
    ):
        assert words in fails("fit", "--trainer.default_root_dir", tmp_path / "runs")[1][-1], refused
    for name in (None, str(tmp_path / "runs" / "x")):  # an error while writing to an open file has no file name

        def refuse(trainer, *arguments, name=name, **named):
            raise OSError(errno.ENOSPC, "No space left on device", name)

        monkeypatch.setattr("kgenre.training.Trainer.fit", refuse)
        words = f"kgenre: {name or tmp_path / 'runs'} cannot be written (No space left on device): make room there, or"
        assert words in fails("fit", "--trainer.default_root_dir", tmp_path / "runs")[1][-1]

    def refuse(trainer, *arguments, **named):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("kgenre.training.Trainer.fit", refuse)
    for path in (overview_run, next((overview_run / "checkpoints").glob("step=*"))):  # it writes into its own folder
        words = f"kgenre: {overview_run} cannot be written (No space left on device): make room there, or resume a copy"
        assert words in fails("fit", "--ckpt_path", path)[1][-1]
    monkeypatch.setattr("os.access", lambda path, mode: False)
    _, lines = fails("predict", "--ckpt_path", overview_run, "--data.path", films)
    assert f"{overview_run} cannot be written to: choose another file for the table with --out." in lines[-1]


def test_unknown_backend(run_python):
    script = (
        "import kgenre\nfrom kgenre.cli.main import main\nprint(main(['fit']))\n"
        "try:\n    kgenre.seed_everything(1)\nexcept RuntimeError as error:\n    print(error)"
    )
    code, said = run_python(script, backend="theano").splitlines()[:2]
    assert (code, "KERAS_BACKEND=theano" in said) == ("1", True)


def test_missing_backend_package(run_python):
    script = (
        "import importlib.util as u\n"
        "found = u.find_spec\n"
        "u.find_spec = lambda name, *rest: None if name == 'jax' else found(name, *rest)\n"
        "import kgenre\ntry:\n    kgenre.seed_everything(1)\nexcept RuntimeError as error:\n    print(error)"
    )
    said = run_python(script, backend="jax")
    assert "pip install jax" in said
    assert "KERAS_BACKEND=tensorflow" in said


def test_empty_overview(fails, overview_run):
    code, lines = fails("predict", "--ckpt_path", overview_run, "--overview", "  ")
    assert (code, "no words" in lines[-1]) == (1, True)


def test_poster_instead_of_an_overview(fails, overview_run, films):
    poster = next((films / "posters").glob("*.jpg"))
    code, lines = fails("predict", "--ckpt_path", overview_run, "--poster", poster)
    assert (code, "--overview" in lines[-1]) == (1, True)


def test_zero_byte_poster(fails, poster_run, tmp_path):
    (tmp_path / "empty.jpg").touch()
    code, lines = fails("predict", "--ckpt_path", poster_run, "--poster", tmp_path / "empty.jpg")
    assert (code, "empty.jpg" in lines[-1]) == (1, True)


def test_greyscale_poster_is_accepted(poster_run, tmp_path, capsys):
    from PIL import Image

    Image.linear_gradient("L").save(tmp_path / "grey.jpg")
    assert main(["predict", "--ckpt_path", str(poster_run), "--poster", str(tmp_path / "grey.jpg")]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3


@pytest.mark.parametrize(
    ("option", "said"),
    [
        (
            "--model.network=overview_lstm",
            "network is poster_colours, which reads posters, but this model's is overview_lstm.",
        ),
        ("--model.members=2", "Its run had members=1 (here: 2)."),
        ("--model.optimizer=sgd", "Its run had optimizer='adam' (here: 'sgd')."),
    ],
)
def test_checkpoint_of_another_model(option, said, fails, poster_run, tmp_path):
    code, lines = fails("fit", "--ckpt_path", poster_run, option, "--trainer.default_root_dir", tmp_path)
    assert (code, said in lines[-1]) == (1, True), lines[-1]


def test_checkpoint_of_another_network_with_arguments(fails, overview_run):
    code, lines = fails("test", "--ckpt_path", overview_run, "--model.network=poster_colours", "--data.posters=true")
    assert code == 1
    assert "network is overview_lstm_pooled, which reads overviews, but this model's is poster_colours." in lines[-1]


def test_a_network_whose_inputs_are_switched_off(fails, films):
    code, lines = fails("fit", "--data.path", films, "--model.network", "overview_words", "--data.overviews", "false")
    assert (code, "set --data.overviews true" in lines[-1]) == (1, True)


def test_the_runs_films_cannot_be_found(fails, poster_run, tmp_path):
    run = shutil.copytree(poster_run, tmp_path / "version_0")
    path = run / "checkpoints" / (run / "checkpoints" / "best").read_text().strip()
    checkpoint = read_checkpoint(path)
    checkpoint.state["data"]["hyperparameters"]["path"] = "films/of/mine"
    write_checkpoint(checkpoint, tmp_path / "step=000009")
    code, lines = fails("test", "--ckpt_path", tmp_path / "step=000009")
    assert (code, "The run's films, films/of/mine, cannot be found from this folder" in lines[-1]) == (1, True)


def test_damaged_checkpoint(fails, poster_run, tmp_path):
    shutil.copytree(poster_run / "checkpoints", tmp_path / "checkpoints")
    step = next((tmp_path / "checkpoints").glob("step=*"))
    weights = step / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    code, lines = fails("predict", "--ckpt_path", step, "--overview", "A film.")
    assert (code, "damaged" in lines[-1]) == (1, True)


def test_most_posters_missing(fails, films, tmp_path):
    shutil.copytree(films, tmp_path / "films")
    for poster in sorted((tmp_path / "films" / "posters").iterdir())[10:]:
        poster.unlink()
    code, lines = fails("fit", "--data.path", tmp_path / "films", "--trainer.default_root_dir", tmp_path / "runs")
    assert code == 1
    assert "poster" in lines[-2]
    assert "--data.max_bad_fraction" in lines[-1]


def test_a_callbacks_error_leaves_no_run_folder(fails, films, tmp_path):
    code, lines = fails(
        *("fit", "--data.path", films, "--data.image_size", "[16, 16]", "--model.schedule", "cosine"),
        *("--trainer.callbacks=ReduceLROnPlateau", "--trainer.default_root_dir", tmp_path / "runs"),
    )
    assert (code, "Pass the optimizer a number, or drop the callback." in lines[-1]) == (1, True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("module", "statement", "is_ours"),
    [
        ("kgenre.anywhere", "raise ValueError('give 1')", True),
        ("kgenre.anywhere", "int('a bug of our own')", False),
        ("kgenre.anywhere", "raise KeyError('a bug of our own')", False),
        ("digits", "raise ValueError('of the user')", False),
    ],
)
def test_only_errors_raised_by_kgenre_are_refusals(module, statement, is_ours):
    inner = {"__name__": module}
    exec(f"def called():\n    {statement}", inner)
    outer = {"__name__": "kgenre.cli.main", "called": inner["called"], "is_refusal": is_refusal}
    exec(
        "try:\n    called()\nexcept (ValueError, KeyError) as error:\n    found = is_refusal(error)",
        outer,
    )
    assert outer["found"] == is_ours


def test_csv_without_the_required_columns(fails, tmp_path):
    (tmp_path / "films.csv").write_text("name,plot\nAlien,In space\n")
    code, lines = fails("fit", "--data.path", tmp_path)
    assert code == 1
    assert "genres" in lines[-1]


@pytest.mark.parametrize(
    ("text", "name", "words"),
    [
        ("def", "mine.Net", ["mine.py, line 1"]),
        ("import nonesuch", "mine.Net", ["no module 'nonesuch'"]),
        ("import kgenre\nclass Net(kgenre.Module): ...", "mine.Nett", ["mean 'Net'?"]),
        ("class Net: ...", "mine.Net", ["mine.Net is not a Module"]),
        (
            "import kgenre\nclass Net(kgenre.Module):\n    def __init__(self, width): ...",
            "mine.Net",
            ["def __init__(self, width: int)"],
        ),
        (
            "import kgenre\nclass Net(kgenre.Module):\n    def __init__(self, width: int): ...",
            "mine.Net",
            ["--model.width"],
        ),
    ],
)
def test_errors_in_a_users_module(fails, allow_import, tmp_path, monkeypatch, text, name, words):
    (tmp_path / "mine.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    allow_import("mine")
    code, lines = fails("fit", "--model", name)
    assert code == 2
    assert all(word in lines[-2] for word in words), lines


def test_a_users_keras_callback_must_be_wrapped(fails, allow_import, tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text("import keras\nclass Mine(keras.callbacks.Callback): ...")
    monkeypatch.syspath_prepend(tmp_path)
    allow_import("mine")
    _, lines = fails("fit", "--trainer.callbacks+=mine.Mine")
    assert lines[-2].endswith("is not a Callback. In Python, wrap Keras's: kgenre.callbacks.KerasCallback(Mine()).")


def test_a_bug_in_a_users_module_keeps_its_traceback(allow_import, tmp_path, monkeypatch):
    (tmp_path / "buggy.py").write_text(
        "import kgenre\nclass Net(kgenre.Module):\n    def __init__(self):\n        self.x = undefined\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    allow_import("buggy")
    with pytest.raises(NameError) as caught:
        main(["fit", "--model", "buggy.Net"])
    assert caught.traceback[-1].path.name == "buggy.py"
    assert not any("jsonargparse" in str(entry.path) for entry in caught.traceback)
