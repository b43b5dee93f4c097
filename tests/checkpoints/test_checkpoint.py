"""Checkpoints on disk: written completely or not at all, and verified when they are read."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from kgenre.checkpoints import (
    Checkpoint,
    CheckpointError,
    check_weights,
    read_checkpoint,
    read_state,
    wait_for_removals,
    write_checkpoint,
)
from kgenre.checkpoints.files import read_file

pytestmark = pytest.mark.backend_free

FILES = ("weights.safetensors", "optimizer.safetensors", "epoch.safetensors", "state.json")


def example(step=3):
    weights = {"a.kernel": np.arange(6, dtype="float32").reshape(2, 3), "a.count": np.array(step, "int32")}
    optimizer = {"optimizers.0.momentum.a.kernel": np.full((2, 3), 0.5, "float32")}
    return Checkpoint(weights, optimizer, {"global_step": step, "nothing": None})


@pytest.fixture
def saved(tmp_path):
    return write_checkpoint(example(), tmp_path / "step=000003")


def test_whoever_may_read_a_run_may_read_its_checkpoints(tmp_path):
    before = os.umask(0o027)
    try:
        path = write_checkpoint(example(), tmp_path / "step=000003")
    finally:
        os.umask(before)
    (tmp_path / "made").touch(0o640)
    assert {file.stat().st_mode for file in path.iterdir()} == {(tmp_path / "made").stat().st_mode}


def next_descriptor():
    os.close(number := os.dup(1))
    return number


def test_reading_a_folder_as_a_file_closes_it(tmp_path):
    before = next_descriptor()
    for _ in range(3):
        with pytest.raises(OSError, match=r"directory|denied"):
            read_file(tmp_path)
    assert next_descriptor() == before


def test_writing_and_reading_close_all_files(tmp_path):
    wait_for_removals()  # of other tests
    before = next_descriptor()
    read_checkpoint(write_checkpoint(example(), tmp_path / "step=000003"))
    assert next_descriptor() == before


def test_rename_is_retried_while_a_scanner_has_the_file_open(tmp_path, monkeypatch):
    real, refused = os.replace, []

    def replace(path, target):
        if len(refused) < 2:
            refused.append(path)
            raise PermissionError(13, "Permission denied")
        real(path, target)

    monkeypatch.setattr(os, "replace", replace)
    assert read_checkpoint(write_checkpoint(example(), tmp_path / "step=000003")).state["global_step"] == 3
    assert len(refused) == 2


def test_rename_that_stays_refused_is_an_error(saved, monkeypatch):
    def refuse(path, target):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("time.sleep", lambda seconds: None)
    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(PermissionError):
        write_checkpoint(example(4), saved)
    assert read_checkpoint(saved).state["global_step"] == 3


def test_write_and_read_round_trip(saved):
    found = read_checkpoint(saved)
    for name, array in example().arrays.items():
        np.testing.assert_array_equal(found.arrays[name], array)
        assert found.arrays[name].dtype == array.dtype
        assert found.arrays[name].shape == array.shape
    assert found.state == read_state(saved) == {"global_step": 3, "nothing": None}
    assert found.path == saved
    assert read_checkpoint(saved, weights_only=True).optimizer == {}
    assert {path.name for path in saved.iterdir()} == {*FILES, "manifest.json"}
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]


def test_copy_is_whole_and_deep():
    original = Checkpoint(**vars(example()) | {"epoch": {"sum": np.ones(2)}, "path": Path("step=000003")})
    copied = original.copy()
    assert str(copied) == str(original)
    for arrays in (original.weights, original.optimizer, original.epoch):
        for array in arrays.values():
            array[...] = 7
    original.state["global_step"] = 7
    assert str(copied) != str(original)
    assert 7 not in [*np.concatenate([a.ravel() for a in (*copied.arrays.values(), *copied.epoch.values())])]
    assert copied.state["global_step"] == 3


def test_arrays_of_any_memory_order(tmp_path):
    array = np.asfortranarray(np.arange(12, dtype="float32").reshape(3, 4))[::2]
    path = write_checkpoint(Checkpoint({"a": array}), tmp_path / "checkpoint")
    np.testing.assert_array_equal(read_checkpoint(path).weights["a"], array)


# --- damage -----------------------------------------------------------------------------------------------------


def truncate(file):
    file.write_bytes(file.read_bytes()[:-1])


def flip_a_bit(file):
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(bytes(content))


def remove(file):
    file.unlink()


def make_link(file):
    elsewhere = file.parent.parent / f"elsewhere_{file.name}"
    file.rename(elsewhere)
    file.symlink_to(elsewhere)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", [truncate, flip_a_bit, remove, make_link])
def test_damaged_files_are_rejected(saved, damage, name):
    damage(saved / name)
    with pytest.raises(CheckpointError, match=rf"^Checkpoint {saved} is damaged: {name}"):
        read_checkpoint(saved)


def without_an_entry(manifest):
    del manifest["files"]["weights.safetensors"]


def without_files(manifest):
    manifest["files"] = []


def without_hash(manifest):
    del manifest["files"]["state.json"]["sha256"]


def with_another_hash(manifest):
    manifest["files"]["state.json"]["sha256"] = "0123"


@pytest.mark.parametrize("change", [without_an_entry, without_files, without_hash, with_another_hash])
def test_invalid_manifest_is_rejected(saved, change):
    manifest = json.loads((saved / "manifest.json").read_text())
    change(manifest)
    (saved / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(CheckpointError, match=str(saved)):
        read_checkpoint(saved)


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "\xff"])
def test_unreadable_manifest_is_rejected(saved, content):
    (saved / "manifest.json").write_bytes(content.encode("latin1"))
    with pytest.raises(CheckpointError, match=rf"{saved}/manifest.json cannot be read"):
        read_checkpoint(saved)


def test_missing_manifest(saved):
    (saved / "manifest.json").unlink()
    with pytest.raises(CheckpointError, match=rf"^{saved} is not a checkpoint: it has no manifest.json"):
        read_checkpoint(saved)
    with pytest.raises(CheckpointError, match="nowhere"):
        read_checkpoint(saved.parent / "nowhere")


def test_newer_schema_is_rejected(saved):
    manifest = json.loads((saved / "manifest.json").read_text()) | {"schema": 99}
    (saved / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(CheckpointError, match=r"newer kgenre \(schema 99, .*update kgenre"):
        read_checkpoint(saved)


# --- interrupted writing ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fails_at", range(1, 8))
def test_interrupted_write_keeps_the_old_checkpoint(saved, monkeypatch, fails_at):
    """The disk is full at each fsync in turn: five files, the folder, its parent."""
    calls = []

    def fsync(descriptor):
        calls.append(descriptor)
        if len(calls) == fails_at:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match="No space left"):
        write_checkpoint(example(step=4), saved)
    # Only the last fsync comes after the rename, when the new checkpoint is in place.
    assert read_checkpoint(saved).state["global_step"] == (4 if fails_at == 7 else 3)


def test_failed_write_of_a_new_checkpoint_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda descriptor: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        write_checkpoint(example(), tmp_path / "checkpoint")
    assert list(tmp_path.iterdir()) == []


def test_unserializable_state_keeps_the_old_checkpoint(saved):
    checkpoint = Checkpoint({}, {}, {"callbacks": {"mine": {"best": np.float32(0.5)}}})
    for keep in (lambda: write_checkpoint(checkpoint, saved), checkpoint.copy):
        with pytest.raises(TypeError, match=r"cannot hold a float32. Received: '0\.5'. Store .*float\(x\)"):
            keep()
    assert read_checkpoint(saved).state["global_step"] == 3
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]


@pytest.mark.parametrize("name", ["thesis", "thesis/chapter.txt"])
def test_other_files_are_never_replaced(tmp_path, name):
    chapter = tmp_path / "thesis" / "chapter.txt"
    chapter.parent.mkdir()
    chapter.write_text("years of work")
    with pytest.raises(FileExistsError, match="other than a checkpoint is there, so nothing is written"):
        write_checkpoint(example(), tmp_path / name)
    assert chapter.read_text() == "years of work"


@pytest.mark.parametrize("left", [FILES, ["state.json"], [], [*FILES, "manifest.json", "notes.txt"]])
def test_remains_of_a_checkpoint_are_replaced(tmp_path, left):
    path = tmp_path / "step=000003"
    path.mkdir()
    for name in left:
        (path / name).write_text("x")
    assert read_checkpoint(write_checkpoint(example(), path)).state["global_step"] == 3


@pytest.mark.parametrize("kind", ["partial", "replaced"])
def test_leftover_of_a_killed_write_is_replaced(saved, kind):
    leftover = saved.with_name(f".{saved.name}.{os.getpid()}.{kind}")
    leftover.mkdir()
    (leftover / "junk").write_text("x")
    write_checkpoint(example(step=9), saved)
    assert read_checkpoint(saved).state["global_step"] == 9
    wait_for_removals()
    assert not leftover.exists()


# --- other models -------------------------------------------------------------------------------------------------


def test_differences_from_another_model_are_named():
    here = {"a.kernel": np.zeros((2, 4)), "b.kernel": np.zeros(1)}
    with pytest.raises(CheckpointError) as error:
        check_weights(here, example())
    assert str(error.value) == (
        "Checkpoint None belongs to a different model: b.kernel is not in the checkpoint; a.count is not in the model "
        "(and 1 more difference)."
    )
    here = {"a.kernel": np.zeros((2, 4)), "a.count": np.zeros(())}
    with pytest.raises(CheckpointError, match=r"a.kernel is \(2, 3\) in the checkpoint and \(2, 4\) in the model\.$"):
        check_weights(here, example())
    check_weights(example().weights, example())


def test_file_size_limit_keeps_the_old_checkpoint(saved, run_python):
    """A limit on the size of files stands in for a full disk; it is set in a separate process."""
    script = (
        "import resource, numpy as np; from kgenre.checkpoints import Checkpoint, write_checkpoint\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))\n"
        "try: write_checkpoint(Checkpoint({'a': np.zeros(10_000)}), " + repr(str(saved)) + ")\n"
        "except OSError as error: print(error.errno, error)"
    )
    said = run_python(script)
    assert said.startswith("27 ")
    assert "File too large" in said
    assert read_checkpoint(saved).state["global_step"] == 3
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]


def test_folder_that_cannot_be_created(tmp_path):
    """Stands in for a read-only folder, which would not stop root."""
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        write_checkpoint(example(), tmp_path / "file" / "step=000003")
