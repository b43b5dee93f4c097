"""Films and runs shared by the tests of the command line."""

import csv
import os
import shutil
import sys

import pytest

from kgenre.cli.main import main

SMALL = ["--data.image_size", "[16, 16]", "--data.batch_size", "32", "--trainer.enable_model_summary", "false"]


@pytest.fixture
def allow_import(monkeypatch):
    """Call with the name of a user's module to let options name its classes; it is unloaded after the test."""
    allowed = []

    def allow(name):
        monkeypatch.setenv("KGENRE_ALLOW_IMPORT", name)
        allowed.append(name)

    yield allow
    for name in allowed:
        sys.modules.pop(name, None)


@pytest.fixture
def piped():
    """Call with a text to get the path of a pipe that holds it, as ``<(...)`` does in a shell."""
    if not os.path.exists("/dev/fd"):
        pytest.skip("no /dev/fd here")
    ends = []

    def pipe(text):
        read, write = os.pipe()
        ends.append(read)
        with os.fdopen(write, "w", encoding="latin-1") as file:
            file.write(text)
        return f"/dev/fd/{read}"

    yield pipe
    for end in ends:
        os.close(end)


@pytest.fixture(scope="session")
def films(sample):
    """The folder of the sample films."""
    return sample


@pytest.fixture(scope="session")
def unlabelled(films, tmp_path_factory):
    """A folder with five of the sample films, without their genres."""
    folder = tmp_path_factory.mktemp("unlabelled")
    with (films / "films.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))[:5]
    for row in rows:
        row["genres"] = ""
        (folder / row["poster"]).parent.mkdir(exist_ok=True)
        shutil.copy(films / row["poster"], folder / row["poster"])
    with (folder / "films.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder


@pytest.fixture(scope="session")
def fit(films):
    """Call to run ``kgenre fit`` on the sample films with further arguments; returns the exit code."""

    def run(root, *arguments):
        return main(["fit", "--data.path", str(films), "--trainer.default_root_dir", str(root), *SMALL, *arguments])

    return run


@pytest.fixture(scope="session")
def poster_run(fit, tmp_path_factory):
    """The folder of a two-epoch run of a poster network that compiles quickly."""
    root = tmp_path_factory.mktemp("runs")
    config = root / "posters.yaml"
    config.write_text(
        "model: {init_args: {network: poster_colours, learning_rate: 0.01}}\n"
        "trainer: {name: posters, max_epochs: 2}\ntest: true\n"
    )
    assert fit(root, "--config", str(config), "--data.overviews", "false") == 0
    return root / "posters" / "version_0"


@pytest.fixture(scope="session")
def overview_run(fit, tmp_path_factory):
    """The folder of a two-epoch run of a tiny overview network."""
    root = tmp_path_factory.mktemp("runs")
    network = ["--model.network", "overview_lstm_pooled", "--model.network_args", "{embedding_dim: 8, units: 4}"]
    data = ["--data.posters", "false", "--data.vocabulary_size", "300", "--model.learning_rate", "0.02"]
    assert fit(root, *network, *data, "--trainer.name", "texts", "--trainer.max_epochs", "2", "--test", "true") == 0
    return root / "texts" / "version_0"
