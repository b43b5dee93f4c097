"""The main program, which runs every command: its log, and the errors that it reports."""

import errno
import io
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from kgenre.cli import main

pytestmark = pytest.mark.backend_free


@pytest.mark.parametrize("on_terminal", [True, False])
def test_long_messages_break_between_words_on_a_terminal(monkeypatch, on_terminal):
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


def test_a_commands_io_error_is_not_blamed_on_standard_output(monkeypatch):
    def fail(arguments):
        raise OSError(errno.EIO, "Input/output error", "films/posters/a.jpg")

    monkeypatch.setattr("kgenre.cli.data.run", fail)
    with pytest.raises(OSError, match="Input/output"):
        main.main(["data"])


@pytest.mark.parametrize(
    ("note", "line"),
    [
        (None, "Out of memory. Unable to allocate 9 TiB"),
        ("Out of memory in batches of 8. A smaller", "Out of memory in batches of 8. A smaller"),
    ],
)
def test_out_of_memory_is_reported_in_one_line(monkeypatch, capsys, note, line):
    def fail(arguments):
        error = MemoryError("Unable to allocate\n9 TiB")
        for text in filter(None, ("JAX has removed its internal frames.", note)):
            error.add_note(text)
        raise error

    monkeypatch.setattr("kgenre.cli.data.run", fail)
    assert main.main(["data"]) == 1
    assert capsys.readouterr().err == f"kgenre: {line}\n"


@pytest.mark.parametrize(
    ("given", "code", "said"), [(None, 0, ""), (3, 3, ""), ("no films here", 1, "no films here\n")]
)
def test_sys_exit_in_a_users_code_works_as_in_python(monkeypatch, capsys, given, code, said):
    monkeypatch.setattr("kgenre.cli.data.run", lambda words: sys.exit(given))
    assert main.main(["data"]) == code
    assert capsys.readouterr().err == said


def test_user_files_do_not_shadow_library_modules(tmp_path):
    for name in ("random", "json", "yaml", "keras"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('taken for the library')")
    script = [sys.executable, "-m", "kgenre", "fit", "--trainer.max_epochs", "x"]
    env = os.environ | {"PYTHONPATH": str(Path(main.__file__).parents[2])}
    done = subprocess.run(script, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert (done.returncode, "--trainer.max_epochs" in done.stderr) == (2, True), done.stderr


@pytest.mark.skipif(os.name == "nt", reason="a process cannot send itself Ctrl-C on Windows")
def test_ctrl_c_while_the_program_shuts_down_ends_it_quietly():
    script = (
        "import atexit, os, signal, sys\n"
        "from kgenre.cli.main import main\n"
        "atexit.register(lambda: os.kill(os.getpid(), signal.SIGINT))\n"
        "sys.argv = ['kgenre', '--version']\n"
        "sys.exit(main())"
    )
    env = os.environ | {"PYTHONPATH": str(Path(main.__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "")


def test_error_the_working_directory_was_removed(tmp_path):
    script = 'mkdir gone; cd gone; rmdir ../gone; exec "$@"'
    command = ["sh", "-c", script, "sh", sys.executable, "-m", "kgenre", "data", "inspect", "films"]
    env = os.environ | {"PYTHONPATH": str(Path(main.__file__).parents[2])}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (
        1,
        "kgenre: the working directory has been removed: cd into another one.\n",
    )


def test_error_a_name_that_the_locale_cannot_encode(monkeypatch, capsys):
    monkeypatch.setattr("kgenre.cli.report.run", lambda words: "é".encode("ascii"))
    with pytest.raises(UnicodeEncodeError):
        main.main(["report"])
    monkeypatch.setattr("sys.getfilesystemencoding", lambda: "ascii")
    assert main.main(["report"]) == 1
    said = "kgenre: '\\xe9' has characters that the locale's ascii lacks. Set PYTHONUTF8=1.\n"
    assert capsys.readouterr().err == said
    assert main.main(["fit", "--trainer.name", "\udcc3\udca9"]) == 1  # how Python reads é there
    assert capsys.readouterr().err == said.replace("\\xe9", "\\udcc3\\udca9")


def test_error_a_name_that_is_not_utf8(monkeypatch, capsys):
    monkeypatch.setattr("kgenre.cli.report.run", lambda words: "The films in my/fr\udce9e are".encode())
    assert main.main(["report"]) == 1
    assert capsys.readouterr().err == "kgenre: 'my/fr\\udce9e' is not valid UTF-8: rename the file or folder.\n"
    monkeypatch.setattr("kgenre.cli.report.run", lambda words: "half an emoji: \ud83d".encode())
    with pytest.raises(UnicodeEncodeError):
        main.main(["report"])
    for option in ("name", "default_root_dir"):  # refused before it trains: its config.yaml could not be read again
        assert main.main(["fit", f"--trainer.{option}", "fr\udce9e"]) == 1
        assert capsys.readouterr().err == "kgenre: 'fr\\udce9e' is not valid UTF-8: rename the file or folder.\n"
    assert main.main(["fit", "--data.path", "fr\udce9e"]) == 2
    assert "--data: a name is not valid UTF-8: rename the file or folder.\n" in capsys.readouterr().err


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS])
@pytest.mark.parametrize("name", ["runs/x", None])
def test_errors_of_writing_name_the_file(monkeypatch, capsys, number, name):
    def fail(words):
        raise OSError(number, os.strerror(number), name) if name else OSError(number, os.strerror(number))

    monkeypatch.setattr("kgenre.cli.report.run", fail)
    assert main.main(["report"]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"kgenre: {name or 'A file'}")
    assert "[Errno" not in said
    assert f"({os.strerror(number)}). Make room there" in said
