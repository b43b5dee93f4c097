"""Which checkpoint a path means, and which one of a folder is the newest."""

import os
import time

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


def test_run_without_best_means_its_last(run):
    (run / "checkpoints" / "best").unlink()
    assert find_checkpoint(run).name == "step=000003"


def test_checkpoint_removed_meanwhile_is_skipped(run, monkeypatch):
    def read(folder):
        if folder.name == "step=000003":
            folder.rename(folder.with_name(".step=000003.1.removed"))
        return read_manifest(folder)

    monkeypatch.setattr("kgenre.checkpoints.find.read_manifest", read)
    checkpoint, refused = newest_checkpoint(run.parent)
    assert (checkpoint.path.name, refused) == ("step=000002", [])


@pytest.mark.parametrize("target", ["", "../step=000001", "/etc", "step=000099", ".", "..", "last"])
def test_invalid_pointers_are_rejected(run, target):
    (run / "checkpoints" / "best").write_text(target)
    with pytest.raises(
        CheckpointError, match=r"checkpoints/best points to .* which is not a checkpoint in the same folder"
    ):
        find_checkpoint(run)


def test_pointer_that_is_not_text_is_rejected(run):
    (run / "checkpoints" / "best").write_bytes(b"\xff")
    with pytest.raises(CheckpointError, match="checkpoints/best cannot be read"):
        find_checkpoint(run)


@pytest.mark.parametrize(("fails_at", "found"), [(1, 2), (2, 3)])
def test_failed_write_leaves_one_whole_pointer(run, monkeypatch, fails_at, found):
    """The disk is full as the file is synced, or then, under its name, the folder."""
    folder, calls = run / "checkpoints", []
    before = sorted(folder.iterdir())

    def fsync(descriptor):
        calls.append(descriptor)
        if len(calls) == fails_at:
            raise OSError("full")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match="full"):
        write_pointer(folder, "best", folder / "step=000003")
    assert find_checkpoint(folder / "best").name == f"step={found:06d}"
    assert sorted(folder.iterdir()) == before


def test_missing_checkpoints(run, tmp_path):
    with pytest.raises(CheckpointError, match=f"^Checkpoint {tmp_path / 'nowhere'} does not exist"):
        find_checkpoint(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match=r"^Checkpoint ~no-such-user/run does not exist"):
        find_checkpoint("~no-such-user/run")
    with pytest.raises(CheckpointError, match="is neither a checkpoint nor a run with checkpoints"):
        find_checkpoint(tmp_path)


def test_newest_checkpoint_that_verifies(run):
    found, refused = newest_checkpoint(run.parent)
    assert (found.path.name, refused) == ("step=000003", [])
    (run / "checkpoints" / "step=000003" / "weights.safetensors").write_bytes(b"half")
    found, refused = newest_checkpoint(run.parent)
    assert found.path.name == "step=000002"
    assert [str(error) for error in refused] == [
        f"Checkpoint {run}/checkpoints/step=000003 is damaged: weights.safetensors has 4 bytes instead of 76."
    ]


def test_error_without_pointers_suggests_the_newest(run):
    for name in ("best", "last"):
        (run / "checkpoints" / name).unlink()
    with pytest.raises(CheckpointError, match=r"has no file best or last .* Choose one, such as .*/step=000003\."):
        find_checkpoint(run)
    assert newest_checkpoint(run)[0].path.name == "step=000003", "of the run alone"


def test_newest_is_by_the_time_in_the_manifest(run):
    """In a copied run folder, the files' own times are arbitrary."""
    for step in (1, 2, 3):
        os.utime(run / "checkpoints" / f"step={step:06d}" / "manifest.json", (9 - step, 9 - step))
    assert newest_checkpoint(run.parent)[0].path.name == "step=000003"


def test_newest_of_two_runs(run, monkeypatch):
    """The time of a checkpoint is that of the clock, whatever was written before into the same folder."""
    now, arrays = time.time(), {"a": np.zeros(4, "float32")}
    for hour, folder in enumerate((run.with_name("version_1") / "checkpoints", run / "checkpoints"), start=1):
        monkeypatch.setattr("time.time", lambda hour=hour: now + 3600 * hour)
        path = write_checkpoint(Checkpoint(arrays, arrays), folder / "step=000004")
        assert newest_checkpoint(run.parent)[0].path == path


def test_newest_despite_a_clock_set_back(run, monkeypatch):
    monkeypatch.setattr("time.time", lambda: 3600.0)  # 1970
    for step in (4, 5):
        arrays = {"a": np.zeros(step, "float32")}
        path = write_checkpoint(Checkpoint(arrays, arrays), run / "checkpoints" / f"step={step:06d}")
        assert newest_checkpoint(run.parent)[0].path == path
        write_pointer(path.parent, "last", path)


def test_newest_is_never_weights_only(run):
    write_checkpoint(Checkpoint({"a": np.zeros(4, "float32")}), run / "checkpoints" / "step=000004")
    assert newest_checkpoint(run.parent)[0].path.name == "step=000003"


def test_trials_of_a_sweep_are_not_runs_of_its_name(run):
    arrays = {"a": np.zeros(4, "float32")}
    trial = run.parent / "trial_000" / "version_0" / "checkpoints"
    write_checkpoint(Checkpoint(arrays, arrays), trial / "step=000004")
    assert newest_checkpoint(run.parent)[0].path.name == "step=000003"


def test_renamed_run_is_found_only_by_its_path(run):
    renamed = run.rename(run.with_name("version_0_good"))
    assert newest_checkpoint(run.parent) == (None, [])
    assert newest_checkpoint(renamed)[0].path.name == "step=000003"


def test_pointer_that_is_a_link_is_rejected(run, tmp_path):
    (tmp_path / "secret").write_text("secret")
    (run / "checkpoints" / "best").unlink()
    (run / "checkpoints" / "best").symlink_to(tmp_path / "secret")
    with pytest.raises(CheckpointError, match=r"best is a link") as error:
        find_checkpoint(run)
    assert "secret" not in str(error.value).replace(str(run), "")


def test_no_checkpoints(tmp_path):
    assert newest_checkpoint(tmp_path) == (None, [])
    (tmp_path / "version_0" / "checkpoints" / "plots").mkdir(parents=True)
    assert newest_checkpoint(tmp_path) == (None, [])


@pytest.mark.parametrize("missing", ["state.json", "manifest.json"])
def test_single_damaged_checkpoint_is_reported(tmp_path, missing):
    path = write_checkpoint(Checkpoint({}), tmp_path / "version_0" / "checkpoints" / "step=000001")
    (path / missing).unlink()
    found, (error,) = newest_checkpoint(tmp_path)
    assert found is None
    assert missing in str(error)


def test_number_is_not_a_path():
    with pytest.raises(CheckpointError, match=r"must be the path of a folder\. Received: 3"):
        find_checkpoint(3)
    with pytest.raises(CheckpointError, match=r"Received: None\. .* still has a last_model_path"):
        find_checkpoint(None)
