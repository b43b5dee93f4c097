"""Where kgenre's log messages go, depending on whether the program has set up logging."""

import io
import logging
import sys

import pytest

from kgenre.messages import Messages

pytestmark = pytest.mark.backend_free


def as_imported(monkeypatch):
    """The logger as in a program that has not set up logging; pytest sets it up before each test."""
    logger = logging.getLogger("kgenre")
    (ours,) = (handler for handler in logger.handlers if isinstance(handler, Messages))
    monkeypatch.setattr(logger, "handlers", [ours])
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    assert logger.level == logging.INFO
    return logger


@pytest.mark.parametrize("notebook", [True, False])
def test_messages_are_shown_unchanged(capsys, monkeypatch, notebook):
    log = as_imported(monkeypatch)
    if notebook:
        monkeypatch.setitem(sys.modules, "ipykernel", object())
    else:
        monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    log.info("Stopping early after epoch %d.", 3)
    log.warning("Beware.")
    printed = capsys.readouterr()
    assert printed.out == ("Stopping early after epoch 3.\n" if notebook else "")
    assert printed.err == ("" if notebook else "Stopping early after epoch 3.\n") + "Beware.\n"


def test_broken_stream_is_ignored(monkeypatch):
    log = as_imported(monkeypatch)

    class Gone(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stderr", Gone())
    log.warning("Beware.")


@pytest.mark.parametrize("whose", ["", "kgenre"])
def test_output_is_left_to_the_programs_own_logging(capsys, monkeypatch, whose):
    log = as_imported(monkeypatch)
    logger, seen = logging.getLogger(whose), []
    handler = logging.Handler()
    handler.emit = seen.append
    monkeypatch.setattr(logger, "handlers", [*logger.handlers, handler])
    log.warning("Beware.")
    assert [record.getMessage() for record in seen] == ["Beware."]
    assert capsys.readouterr() == ("", "")
