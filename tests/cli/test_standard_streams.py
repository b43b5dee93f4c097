"""Commands whose output nobody reads or which cannot be written."""

import io
import os
import subprocess
import sys

import pytest

from kgenre.cli.main import main
from kgenre.cli.standard_streams import BROKEN_PIPE, escape_unencodable_output, fault_tolerant_streams

pytestmark = pytest.mark.backend_free

KGENRE = [sys.executable, "-m", "kgenre"]
FULL = "/dev/full"


def broken_pipe():
    """Return the write end of a pipe whose reader is closed."""
    reading, writing = os.pipe()
    os.close(reading)
    return open(writing, "w")


@pytest.mark.parametrize("lost", ["stdout", "stderr"])
def test_fault_tolerant_streams_survive_a_broken_pipe(lost, monkeypatch):
    other = io.StringIO()
    with broken_pipe() as pipe:
        monkeypatch.setattr(f"sys.{lost}", pipe)
        monkeypatch.setattr("sys.stderr" if lost == "stdout" else "sys.stdout", other)
        with fault_tolerant_streams():
            for line in range(3):
                print(line, file=getattr(sys, lost), flush=True)
            assert not getattr(sys, lost).isatty()
        assert getattr(sys, lost) is pipe
    name = "standard output" if lost == "stdout" else "standard error"
    assert other.getvalue() == f"kgenre: {name} can no longer be written (Broken pipe); the command continues.\n"


@pytest.fixture
def one_film(in_tmp_path):
    (in_tmp_path / "films.csv").write_text("id,title,overview,genres\n1,Alien,A crew meets something.,Horror\n")


PRINTED = pytest.mark.parametrize("command", [["--help"], ["data", "inspect", "films.csv"]])  # by us, and by rich


@PRINTED
def test_a_command_ends_quietly_when_its_reader_is_gone(command, one_film):
    with broken_pipe() as pipe:
        done = subprocess.run([*KGENRE, *command], stdout=pipe, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (BROKEN_PIPE, "")


@pytest.mark.skipif(not os.path.exists(FULL), reason=f"no {FULL} here")
@PRINTED
def test_error_standard_output_on_a_full_disk(command, one_film, capsys, monkeypatch):
    with open(FULL, "w") as full:
        monkeypatch.setattr("sys.stdout", full)
        assert main(command) == 1
    assert capsys.readouterr().err == "kgenre: standard output cannot be written (No space left on device).\n"


@pytest.mark.skipif(os.name == "nt", reason="streams are closed by a POSIX shell here")
def test_missing_streams_are_opened():
    script = (
        "import os, sys\n"
        "from kgenre.cli.standard_streams import open_missing_streams\n"
        "open_missing_streams()\n"
        "print('heard', file=sys.stderr, flush=True)\n"
        "os.write(2, b'by a library')\n"
        "sys.exit(7 if os.open(os.devnull, os.O_RDONLY) > 2 else 1)"
    )
    done = subprocess.run(["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", sys.executable, "-c", script])
    assert done.returncode == 7


def test_unencodable_characters_are_escaped(monkeypatch):
    kept = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(kept, encoding="ascii"))
    escape_unencodable_output()
    print("Amélie, \u6620\udcff", flush=True)
    assert kept.getvalue() == rb"Am\xe9lie, \u6620\udcff" + b"\n"
