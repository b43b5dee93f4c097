"""Which checkpoint a path or a word means."""

import os

import numpy as np
import pytest

from kgenre.checkpoints import (
    Checkpoint,
    CheckpointError,
    find_checkpoint,
    newest_checkpoint,
    write_checkpoint,
    write_pointer,
)
from kgenre.checkpoints.read import read_manifest

pytestmark = pytest.mark.backend_free


@pytest.fixture
def run(tmp_path):
    """A run's folder with three checkpoints, the second the best."""
    folder = tmp_path / "experiment" / "version_0" / "checkpoints"
    for step in (1, 2, 3):
        path = write_checkpoint(
            Checkpoint({"a": np.zeros(step, "float32")}, {"a.slot": np.zeros(step, "float32")}),
            folder / f"step={step:06d}",
        )
        os.utime(path / "manifest.json", (step, step))
    write_pointer(folder, "last", folder / "step=000003")
    write_pointer(folder, "best", folder / "step=000002")
    return folder.parent


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (".", 2),
        ("checkpoints", 2),
        ("checkpoints/best", 2),
        ("checkpoints/last", 3),
        ("checkpoints/step=000001", 1),
    ],
)
def test_paths(run, path, found):
    assert find_checkpoint(run / path).name == f"step={found:06d}"


def test_without_a_best_the_last_is_meant(run):
    (run / "checkpoints" / "best").unlink()
    assert find_checkpoint(run).name == "step=000003"


def test_what_its_run_removes_meanwhile_is_passed_over(run, monkeypatch):
    def read(folder):
        if folder.name == "step=000003":
            folder.rename(folder.with_name(".step=000003.1.removed"))
        return read_manifest(folder)

    monkeypatch.setattr("kgenre.checkpoints.find.read_manifest", read)
    checkpoint, refused = newest_checkpoint(run.parent)
    assert (checkpoint.path.name, refused) == ("step=000002", [])


@pytest.mark.parametrize("target", ["", "../step=000001", "/etc", "step=000099", ".", "..", "last"])
def test_pointers_that_leave_their_folder_are_refused(run, target):
    (run / "checkpoints" / "best").write_text(target)
    with pytest.raises(
        CheckpointError, match=r"checkpoints/best points to .* which is not a checkpoint in the same folder"
    ):
        find_checkpoint(run)


def test_pointers_are_replaced_whole(run, monkeypatch):
    folder = run / "checkpoints"
    monkeypatch.setattr(os, "fsync", lambda descriptor: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        write_pointer(folder, "best", folder / "step=000003")
    assert find_checkpoint(folder / "best").name == "step=000002"


def test_what_is_not_there(run, tmp_path):
    with pytest.raises(CheckpointError, match=f"^Checkpoint {tmp_path / 'nowhere'} does not exist"):
        find_checkpoint(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match=r"^Checkpoint ~no-such-user/run does not exist"):
        find_checkpoint("~no-such-user/run")
    with pytest.raises(CheckpointError, match="is neither a checkpoint nor a run with checkpoints"):
        find_checkpoint(tmp_path)


def test_the_newest_that_verifies(run):
    found, refused = newest_checkpoint(run.parent)
    assert (found.path.name, refused) == ("step=000003", [])
    (run / "checkpoints" / "step=000003" / "weights.safetensors").write_bytes(b"half")
    found, refused = newest_checkpoint(run.parent)
    assert found.path.name == "step=000002"
    assert [str(error) for error in refused] == [
        f"Checkpoint {run}/checkpoints/step=000003 is damaged: weights.safetensors has 4 bytes instead of 76."
    ]


def test_a_run_without_pointers_names_its_newest(run):
    for name in ("best", "last"):
        (run / "checkpoints" / name).unlink()
    with pytest.raises(CheckpointError, match=r"has no file best or last .* Choose one, such as .*/step=000003\."):
        find_checkpoint(run)
    assert newest_checkpoint(run)[0].path.name == "step=000003", "of the run alone"


def test_the_time_inside_counts_not_that_of_the_file(run):
    """A run's folder that was copied: its files have any times."""
    for step in (1, 2, 3):
        os.utime(run / "checkpoints" / f"step={step:06d}" / "manifest.json", (9 - step, 9 - step))
    assert newest_checkpoint(run.parent)[0].path.name == "step=000003"


def test_a_clock_that_was_set_back_makes_no_older_checkpoint_the_newest(run, monkeypatch):
    monkeypatch.setattr("time.time", lambda: 3600.0)  # 1970
    for step in (4, 5):
        arrays = {"a": np.zeros(step, "float32")}
        path = write_checkpoint(Checkpoint(arrays, arrays), run / "checkpoints" / f"step={step:06d}")
        assert newest_checkpoint(run.parent)[0].path == path
        write_pointer(path.parent, "last", path)


def test_no_run_goes_on_from_weights_alone(run):
    write_checkpoint(Checkpoint({"a": np.zeros(4, "float32")}), run / "checkpoints" / "step=000004")
    assert newest_checkpoint(run.parent)[0].path.name == "step=000003"


def test_the_trials_of_a_sweep_are_not_runs_of_its_name(run):
    arrays = {"a": np.zeros(4, "float32")}
    trial = run.parent / "trial_000" / "version_0" / "checkpoints"
    write_checkpoint(Checkpoint(arrays, arrays), trial / "step=000004")
    assert newest_checkpoint(run.parent)[0].path.name == "step=000003"


def test_a_run_that_was_renamed_is_meant_by_its_path_alone(run):
    renamed = run.rename(run.with_name("version_0_good"))
    assert newest_checkpoint(run.parent) == (None, [])
    assert newest_checkpoint(renamed)[0].path.name == "step=000003"


def test_a_pointer_that_is_a_link(run, tmp_path):
    (tmp_path / "secret").write_text("secret")
    (run / "checkpoints" / "best").unlink()
    (run / "checkpoints" / "best").symlink_to(tmp_path / "secret")
    with pytest.raises(CheckpointError, match=r"best is a link") as error:
        find_checkpoint(run)
    assert "secret" not in str(error.value).replace(str(run), "")


def test_no_checkpoint_at_all(tmp_path):
    assert newest_checkpoint(tmp_path) == (None, [])
    (tmp_path / "version_0" / "checkpoints" / "plots").mkdir(parents=True)
    assert newest_checkpoint(tmp_path) == (None, [])


@pytest.mark.parametrize("missing", ["state.json", "manifest.json"])
def test_a_damaged_checkpoint_is_not_none_at_all(tmp_path, missing):
    path = write_checkpoint(Checkpoint({}), tmp_path / "version_0" / "checkpoints" / "step=000001")
    (path / missing).unlink()
    found, (error,) = newest_checkpoint(tmp_path)
    assert found is None
    assert missing in str(error)


def test_a_number_is_no_path():
    with pytest.raises(CheckpointError, match=r"must be the path of a folder\. Received: 3"):
        find_checkpoint(3)
