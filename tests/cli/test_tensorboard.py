"""``kgenre tensorboard``, and the files that a fit writes for it."""

import importlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import PureWindowsPath
from types import ModuleType

import pytest
from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator

from kgenre.cli.main import main
from kgenre.cli.tensorboard import names_of, start
from kgenre.cli.usage import UsageError


def test_a_fit_writes_every_view(poster_run):
    events = EventAccumulator(str(poster_run), size_guidance={"tensors": 0})
    events.Reload()
    tags = set(events.Tags()["tensors"])
    assert {
        "all genres",
        "films/posters",
        "films/overviews",
        "co-occurrence",
        "probabilities",
        "config",
        "custom_scalars__config__",
    } <= tags
    assert any(tag.startswith("genre/") for tag in tags)
    for kind in ("weights/", "gradients/"):
        assert any(tag.startswith(kind) and tag.endswith("ColoursHead/kernel") for tag in tags)
    assert len(events.Tensors("films/posters")) == 2, "of two epochs both"
    assert events.Graph().node
    genres = (poster_run / "genres.txt").read_text()
    assert (poster_run / "projector_genres_labels.tsv").read_text() == genres
    assert len((poster_run / "projector_genres.tsv").read_text().splitlines()) == len(genres.splitlines())
    sizes = [path.stat().st_size for path in poster_run.rglob("events.out.tfevents.*")]
    assert sum(sizes) < 2e6


def test_word_vectors_are_labelled_by_the_vocabulary(overview_run):
    words = (overview_run / "projector_words_labels.tsv").read_text().splitlines()
    assert words == (overview_run / "vocabulary.txt").read_text().splitlines()[2:2002]
    assert len(words) == len((overview_run / "projector_words.tsv").read_text().splitlines()) > 50
    config = (overview_run / "projector_config.pbtxt").read_text()
    assert re.findall('tensor_name: "(.+)"', config) == ["words", "genres"]


def test_error_folders_that_cannot_be_shown(tmp_path, capsys):
    assert main(["tensorboard", str(tmp_path / "nowhere")]) == 1
    assert "is not a folder" in capsys.readouterr().err
    assert main(["tensorboard", str(tmp_path)]) == 1
    assert "has no event files" in capsys.readouterr().err
    with pytest.raises(UsageError, match="is not a folder"):
        start([str(tmp_path / "nowhere")])
    (tmp_path / "a,b").mkdir()
    (tmp_path / "a,b" / "events.out.tfevents.1").touch()
    with pytest.raises(UsageError, match="separates runs with commas"):
        start([str(tmp_path), str(tmp_path / "a,b")])


def test_run_names_omit_the_common_folder():
    runs = [PureWindowsPath(r"C:\Users\a,b\runs", name) for name in (r"posters\version_0", r"words\version_1")]
    assert names_of(runs) == ["posters/version_0", "words/version_1"]
    assert names_of([PureWindowsPath(r"C:\a"), PureWindowsPath(r"D:\b")]) == ["C_/a", "D_/b"]


def test_several_runs_and_a_port_that_is_taken(poster_run, overview_run, monkeypatch):
    given, program = {}, importlib.import_module("tensorboard.program")

    class Server(program.TensorBoard):
        def launch(self):
            given.update(vars(self.flags))
            raise program.TensorBoardServerException("in use")

    monkeypatch.setattr(program, "TensorBoard", Server)
    monkeypatch.setitem(sys.modules, "tensorboard.compat.notf", ModuleType("notf"))
    with pytest.raises(UsageError, match=r"^TensorBoard cannot start \(in use\): set another --port, or 0 for any"):
        start([str(poster_run), str(overview_run)], port=1)
    (first, of_first), (second, of_second) = (part.split(":") for part in given["logdir_spec"].split(","))
    assert (of_first, of_second) == (str(poster_run), str(overview_run))
    assert first.endswith("/posters/version_0")
    assert second.endswith("/texts/version_0")
    assert (given["port"], given["host"]) == (1, "localhost")
    with pytest.raises(UsageError, match="in use"):
        start([str(poster_run)])
    assert (given["logdir"], given["logdir_spec"]) == (str(poster_run), "")


def test_a_damaged_events_file_is_warned_about(poster_run, tmp_path, capsys):
    def said():
        with pytest.raises(UsageError):  # raised before the server starts
            start([str(run), str(tmp_path / "nowhere")])
        return capsys.readouterr().err

    run = shutil.copytree(poster_run, tmp_path / "run")
    assert said() == ""
    path = next((run / "val").glob("events.out.tfevents.*"))
    path.write_bytes(path.read_bytes()[:-5])
    assert said() == f"{path} is damaged: TensorBoard shows what was logged before the damage.\n"
    path.write_bytes(b"something else")
    assert "is damaged" in said()


def test_no_options_are_named_that_the_command_lacks(poster_run):
    script = f"from kgenre.cli.tensorboard import start\nprint(start([{str(poster_run)!r}], port=0))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.startswith("http://localhost:")
    assert "load_fast" not in done.stderr


@pytest.mark.skipif(
    not any(shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome")),
    reason="no headless Chromium here",
)
def test_the_page_renders_in_a_browser(poster_run, tmp_path):
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    script = (
        "import subprocess, sys\nfrom kgenre.cli.tensorboard import start\n"
        f"url = start([{str(poster_run)!r}], port=0)\n"
        f"subprocess.run([{browser!r}, '--headless', '--no-sandbox', '--disable-gpu', '--window-size=1400,1000',"
        f"'--virtual-time-budget=20000', '--screenshot={tmp_path / 'page.png'}', url], timeout=90, check=True)"
    )
    subprocess.run([sys.executable, "-c", script], env=os.environ, timeout=120, check=True)
    assert (tmp_path / "page.png").stat().st_size > 30_000
