"""Files that replace others only when they are complete."""

import contextlib
import errno
import os

import pytest

from kgenre.checkpoints import Checkpoint, write_checkpoint
from kgenre.checkpoints.files import whole_file
from kgenre.loggers import CSVLogger

pytestmark = pytest.mark.backend_free


def test_a_file_is_replaced_only_by_a_complete_one(tmp_path):
    path = tmp_path / "a.txt"
    with whole_file(path) as partial:
        partial.write_text("first")
    with contextlib.suppress(ZeroDivisionError), whole_file(path) as partial:
        partial.write_text("sec")
        raise ZeroDivisionError
    assert path.read_text() == "first"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_errors_name_the_file_instead_of_the_temporary_one(tmp_path):
    """The temporary names are longer, so here only they are too long."""
    path = tmp_path / ("a" * 250)

    def write():
        with whole_file(path) as partial:
            partial.write_text("x")

    logger = CSVLogger()
    for writes in (write, lambda: write_checkpoint(Checkpoint({}, {}, {}), path), lambda: logger._write_all(path)):
        with pytest.raises(OSError, match="File name too long") as raised:
            writes()
        assert str(raised.value) == f"[Errno {errno.ENAMETOOLONG}] File name too long: {str(path)!r}"


def test_errors_of_writing_name_the_file_too(tmp_path):
    path = tmp_path / "a.txt"
    with pytest.raises(OSError, match="full") as raised, whole_file(path):
        raise OSError(errno.ENOSPC, "the disk is full")  # what a failed write raises
    assert raised.value.filename == str(path)
    with pytest.raises(FileNotFoundError) as raised, whole_file(path):
        pass  # nothing is there to be renamed; Python names both files
    assert str(raised.value) == f"[Errno {errno.ENOENT}] {os.strerror(errno.ENOENT)}: {str(path)!r}"
    with pytest.raises(OSError, match=r"^no space in the cache$"), whole_file(path):
        raise OSError("no space in the cache")


def test_two_processes_that_write_one_file_do_not_mix_their_contents(tmp_path, monkeypatch):
    path = tmp_path / "predictions.csv"
    with whole_file(path) as first, first.open("w") as file:
        file.write("first " * 10_000)
        file.flush()
        monkeypatch.setattr(os, "getpid", lambda: 1)
        with whole_file(path) as second:
            second.write_text("second")
        assert path.read_text() == "second"
        file.write("first " * 10_000)
    assert path.read_text() == "first " * 20_000
    assert os.listdir(tmp_path) == [path.name]
