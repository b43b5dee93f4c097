"""What killed writers leave behind, and how it is cleaned up."""

import numpy as np
import pytest

from kgenre.checkpoints import Checkpoint, leftovers, read_checkpoint, remove_leftovers, write_checkpoint, write_pointer

pytestmark = pytest.mark.backend_free


@pytest.fixture
def folder(tmp_path):
    """Two checkpoints and a pointer."""
    for step in (1, 2):
        write(tmp_path / f"step={step:06d}", step)
    write_pointer(tmp_path, "last", tmp_path / "step=000002")
    return tmp_path


def write(path, step):
    return write_checkpoint(Checkpoint({"a": np.zeros(step, "float32")}, state={"global_step": step}), path)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_nothing_to_do(folder):
    (folder / ".gitignore").write_text("*")
    before = names(folder)
    assert leftovers(folder) == []
    remove_leftovers(folder)
    assert names(folder) == before == [".gitignore", "last", "step=000001", "step=000002"]
    remove_leftovers(folder / "nowhere")


def test_partial_and_removed_leftovers_are_deleted(folder):
    half = write(folder / ".step=000003.77.partial", 3)
    (half / "manifest.json").unlink()
    (folder / ".step=000004.77.partial").mkdir()
    write(folder / ".step=000000.77.removed", 1)
    (folder / ".last.77.partial").write_text("step=")
    assert len(leftovers(folder)) == 4
    remove_leftovers(folder)
    assert names(folder) == ["last", "step=000001", "step=000002"]


@pytest.mark.parametrize("kinds", [["partial", "replaced"], ["replaced"]])
def test_kill_between_two_renames(folder, kinds):
    """The old checkpoint was moved aside, the new one not yet into place: the newest complete one gets the name."""
    (folder / "step=000002").rename(folder / ".step=000002.77.replaced")
    if "partial" in kinds:
        write(folder / ".step=000002.77.partial", 5)
    remove_leftovers(folder)
    assert names(folder) == ["last", "step=000001", "step=000002"]
    assert read_checkpoint(folder / "step=000002").state["global_step"] == (5 if "partial" in kinds else 2)


def test_leftover_of_an_existing_checkpoint_is_deleted(folder):
    write(folder / ".step=000002.77.partial", 9)
    remove_leftovers(folder)
    assert names(folder) == ["last", "step=000001", "step=000002"]
    assert read_checkpoint(folder / "step=000002").state["global_step"] == 2
