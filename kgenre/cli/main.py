"""``kgenre COMMAND``: runs the command, and turns users' errors into messages of one line."""

from __future__ import annotations

import errno
import importlib
import logging
import os
import re
import shutil
import signal
import sys
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from kgenre.allowed_imports import only_allowed_imports
from kgenre.cli.huge_pages import restart_with_huge_pages
from kgenre.cli.standard_streams import BROKEN_PIPE, drop_output, escape_unencodable_output, open_missing_streams
from kgenre.cli.usage import FULL, is_refusal

_PATH_ERRORS = (FileExistsError, FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError)
# A text in place of a file; links in a circle; a folder that another command has just made.
_NO_PATHS = (errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTEMPTY)
# Each is a module here with ``run(arguments)``, which takes the arguments after the command and returns the exit code.
COMMANDS = {
    "fit": "train a model",
    "validate": "evaluate a checkpoint on the validation films",
    "test": "evaluate a checkpoint on the test films",
    "predict": "predict the genres of one film, or of a folder of films",
    "data": "inspect films, prepare them into shards, or generate sample films",
    "examples": "show test films with the predictions of one or more runs",
    "report": "write a report of two or three pages on tested runs",
    "export": "export a trained model to TensorFlow, ONNX or Keras",
    "fuse": "combine trained runs into one model: poster and overview, or an ensemble",
    "sweep": "train with many combinations of options and rank them",
    "tensorboard": "show curves, films and histograms of runs in the browser",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 0, 1 (it failed), 2 (wrong usage), 130 (Ctrl-C), 141 (a broken pipe)."""
    is_typed = arguments is None
    if is_typed:
        open_missing_streams()
        escape_unencodable_output()
    try:
        code = _run(sys.argv[1:] if arguments is None else list(arguments), is_typed)
        return _print() or code
    except BrokenPipeError:
        drop_output()
        return BROKEN_PIPE
    finally:
        if is_typed and signal.getsignal(signal.SIGINT) == signal.default_int_handler:
            # The backends take a while to shut down, where Python would print a traceback.
            signal.signal(signal.SIGINT, signal.SIG_DFL)


def _print(text: str = "") -> int:
    """Print the text and flush standard output; return 1 if it cannot be written."""
    try:
        print(text, end="", flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        drop_output()
        return _fail(f"standard output cannot be written ({error.strerror}).")
    return 0


def _run(words: list[str], is_typed: bool) -> int:
    if not words or words[0] in ("-h", "--help"):
        return _print(_help()) or (0 if words else 2)
    if words[0] == "--version":
        from kgenre import __version__

        return _print(f"kgenre {__version__}\n")
    if words[0] not in COMMANDS:
        return _fail(f"there is no command {words[0]!r}. The commands are: {', '.join(COMMANDS)}.", code=2)
    try:
        os.getcwd()
    except FileNotFoundError:
        return _fail("the working directory has been removed: cd into another one.")
    if is_typed:
        restart_with_huge_pages(words)
    try:
        with _log_on_screen(), only_allowed_imports():
            return importlib.import_module(f"kgenre.cli.{words[0]}").run(words[1:])
    except KeyboardInterrupt:
        return 130
    except SystemExit as stop:  # of the parser, which has printed what is wrong, or of the user's code
        if isinstance(stop.__context__, BrokenPipeError):  # rich turns a broken pipe into this
            raise stop.__context__ from None
        if stop.code is None or isinstance(stop.code, int):
            return stop.code or 0
        print(stop.code, file=sys.stderr)  # as Python does
        return 1
    except BrokenPipeError:
        raise
    except UnicodeEncodeError as error:
        if (encoding := sys.getfilesystemencoding()) != "utf-8":
            return _fail(f"{error.object!a} has characters that the locale's {encoding} lacks. Set PYTHONUTF8=1.")
        if (
            name := re.search(r"\S*[\udc80-\udcff]\S*", error.object)
        ) is None:  # how Python reads bytes of another encoding
            raise
        return _fail(f"{name[0]!a} is not valid UTF-8: rename the file or folder.")
    except Exception as error:
        full = _full_disk(error)
        if full and (code := _print()):  # standard output is on that disk: reported already
            return code
        if full or _is_for_the_user(error):
            return _fail(full or str(error))
        if (message := _lack_of_memory(error)) is None:
            raise
        return _fail(message)


def _is_for_the_user(error: Exception) -> bool:
    """Return whether the message alone tells the user what to do: kgenre's own errors and the file system's."""
    ours = type(error).__module__.partition(".")[0] == "kgenre"
    is_path = isinstance(error, _PATH_ERRORS) or (isinstance(error, OSError) and error.errno in _NO_PATHS)
    return ours or is_refusal(error) or is_path


def _full_disk(error: Exception) -> str:
    """Return the message for a full or read-only disk; "" for another error."""
    if not isinstance(error, OSError) or error.errno not in (*FULL, errno.EROFS):
        return ""
    where = error.filename or "A file (of the results, of standard output or of the temporary folder)"
    return f"{where} cannot be written ({error.strerror}). Make room there, or choose another location."


def _lack_of_memory(error: Exception) -> str | None:
    """Return the trainer's note on an out-of-memory error, or the error in one line; None for another error."""
    from kgenre.engines.out_of_memory import EXCEEDED, is_out_of_memory

    if not is_out_of_memory(error):
        return None
    notes = (note for note in getattr(error, "__notes__", ()) if note.startswith(EXCEEDED))
    return next(notes, " ".join([f"{EXCEEDED}.", *str(error).split()]))


def _fail(message: str, code: int = 1) -> int:
    print(f"kgenre: {message}", file=sys.stderr)
    return code


def _help() -> str:
    commands = "".join(f"  {name:<13}{what}\n" for name, what in COMMANDS.items())
    return (
        "usage: kgenre COMMAND [options]      (kgenre COMMAND --help for its options)\n\n"
        "Classify films by genre from posters and overviews; KERAS_BACKEND selects the backend.\n\n"
        f"{commands}\nTo get started: kgenre fit --config configs/quickstart.yaml\n"
    )


class _OnScreen(logging.Handler):
    """Prints messages to the current standard error, which may be replaced while a command runs."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print a message."""
        try:
            print(self.format(record), file=sys.stderr, flush=True)
        except Exception:
            self.handleError(record)

    def format(self, record: logging.LogRecord) -> str:
        """Format a message; a terminal would break its lines within words: wrap them, but leave paths whole."""
        text = super().format(record)
        if not sys.stderr.isatty():
            return text
        width = shutil.get_terminal_size().columns
        wrapper = textwrap.TextWrapper(width, break_long_words=False, break_on_hyphens=False)
        return "\n".join(wrapper.fill(line) for line in text.splitlines())


@contextmanager
def _log_on_screen() -> Iterator[None]:
    logger, handler = logging.getLogger("kgenre"), _OnScreen()
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
