"""Hiding what libraries print past Python's own streams."""

import os
import signal
import sys
import tempfile

import pytest

from kgenre.engines.native_output import importing_in_notebook, without_native_output

pytestmark = pytest.mark.backend_free


def test_output_is_hidden_and_shown_after_an_error(capfd):
    with without_native_output():
        os.write(2, b"chatter\n")
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "after\n"
    with pytest.raises(ImportError), without_native_output():
        fail()
    assert capfd.readouterr().err == "why\n"


@pytest.mark.parametrize("lacking", ["stream", "descriptor", "folder"])
def test_missing_resources_are_no_error(capfd, monkeypatch, lacking):
    def refuse(*_):
        raise OSError

    with monkeypatch.context() as patched:
        if lacking == "stream":  # as in a Windows program without a console
            patched.setattr(sys, "stderr", None)
        elif lacking == "descriptor":
            patched.setattr(os, "dup", refuse)
        else:
            patched.setattr(tempfile, "TemporaryFile", refuse)
        with without_native_output():
            os.write(2, b"chatter\n")
    assert capfd.readouterr().err == ("" if lacking == "stream" else "chatter\n")


@pytest.mark.parametrize("where", ["a script", "a notebook"])
def test_output_is_hidden_only_in_a_notebook(capfd, monkeypatch, where):
    if where == "a notebook":
        monkeypatch.setitem(sys.modules, "ipykernel", sys)
    else:
        monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "")  # for monkeypatch to undo
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL")
    with importing_in_notebook():
        os.write(2, b"chatter\n")
    assert os.environ.get("TF_CPP_MIN_LOG_LEVEL") == (None if where == "a script" else "3")
    assert capfd.readouterr().err == ("chatter\n" if where == "a script" else "")


@pytest.mark.parametrize("where", ["a script", "a notebook"])
def test_stop_button_waits_for_the_end_of_an_import(monkeypatch, where):
    """TensorFlow cannot be imported again after half of it was."""
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")
    if where == "a notebook":
        monkeypatch.setitem(sys.modules, "ipykernel", sys)
    else:
        monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    imported, handler = [], signal.getsignal(signal.SIGINT)

    def import_it():
        with importing_in_notebook():
            signal.raise_signal(signal.SIGINT)
            imported.append("tensorflow")

    with pytest.raises(KeyboardInterrupt):
        import_it()
    assert imported == ([] if where == "a script" else ["tensorflow"])
    assert signal.getsignal(signal.SIGINT) is handler


def fail():
    os.write(2, b"why\n")
    raise ImportError
