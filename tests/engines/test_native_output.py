"""What libraries print past Python's own streams."""

import errno
import os

import pytest

from kgenre.engines.native_output import without_native_output


def test_it_is_hidden_and_comes_back_with_an_error(capfd):
    with without_native_output():
        os.write(2, b"chatter\n")
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "after\n"
    with pytest.raises(ImportError), without_native_output():
        fail()
    assert capfd.readouterr().err == "why\n"


def fail():
    os.write(2, b"why\n")
    raise ImportError


def test_without_standard_error_or_a_temporary_folder(monkeypatch):
    monkeypatch.setattr("sys.stderr", None)
    monkeypatch.setattr("tempfile.TemporaryFile", raise_full_disk)
    with without_native_output():
        pass
    monkeypatch.undo()
    monkeypatch.setattr("tempfile.TemporaryFile", raise_full_disk)
    with without_native_output():
        pass


def raise_full_disk():
    raise OSError(errno.ENOSPC, "No space left on device")
