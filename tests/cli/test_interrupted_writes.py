"""The small files of a run, which a resumed fit writes anew: a kill or a full disk must not leave half of one."""

import errno
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from kgenre.cli import configuration
from kgenre.cli.trial import Trial
from kgenre.data.kept_films import KeptFilms
from kgenre.loggers.service import ServiceLogger
from kgenre.training.run_folder import write_environment


class Service(ServiceLogger):
    package = "json"  # any that is installed

    def _begin(self, run_dir, known):
        return {"id": 1}

    def _leave(self):
        pass


def save_config(folder):
    parser = configuration.make_parser("fit", "")
    options = configuration.parse(parser, [])
    data = SimpleNamespace(hparams=SimpleNamespace())
    configuration.save_config(
        parser, options, SimpleNamespace(run_dir=folder, resumed=False, loggers=[], datamodule=data)
    )


def keep_films(folder, genre_names=(), split=None):
    KeptFilms(genre_names, True, True, (8, 8), [], None, split).write(folder, [])


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("environment.json", write_environment),
        ("config.yaml", save_config),
        ("trial.json", lambda folder: Trial(folder, {}, "max_epochs: 2", "val/loss", "min").run()),
        ("split.json", lambda folder: keep_films(folder, split={"train": ["a"], "validation": [], "test": []})),
        ("genres.txt", lambda folder: keep_films(folder, genre_names=["Drama", "War"])),
        ("json.json", lambda folder: Service().open(folder)),
    ],
)
def test_file_is_replaced_only_as_a_whole(tmp_path, monkeypatch, name, write):
    path, write_text = tmp_path / name, Path.write_text
    path.write_text("{}")

    def write_half(path, text, *arguments, **named):
        write_text(path, text[: len(text) // 2], *arguments, **named)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", write_half)
    with pytest.raises(OSError, match="No space left on device"):
        write(tmp_path)
    assert path.read_text() == "{}"
    assert os.listdir(tmp_path) == [name]
