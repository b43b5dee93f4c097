"""The program around every command."""

import io
import logging

import pytest

from kgenre.cli import main


@pytest.mark.parametrize("on_terminal", [True, False])
def test_a_long_message_breaks_between_words_on_a_terminal(monkeypatch, on_terminal):
    screen = io.StringIO()
    screen.isatty = lambda: on_terminal
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setenv("COLUMNS", "30")
    message = f"{'many words ' * 5}and /a/path/that-is/longer/than-the/terminal: which stays whole"
    with main._log_on_screen():
        logging.getLogger("kgenre").info(message)
    lines = screen.getvalue().splitlines()
    assert " ".join(lines) == message
    assert (len(lines) > 1) == on_terminal
    if on_terminal:
        assert max(len(line) for line in lines if "/" not in line) <= 30
