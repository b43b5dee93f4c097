"""When the command restarts itself with huge memory pages, and that it does so only once."""

import os
import subprocess
import sys

import pytest

from kgenre.cli import huge_pages
from kgenre.cli.huge_pages import TUNABLE, restart_with_huge_pages

pytestmark = pytest.mark.backend_free


@pytest.fixture
def restarts(monkeypatch, tmp_path):
    """GLIBC_TUNABLES at each restart, none of which takes place, on a machine where huge pages help."""
    found = []
    monkeypatch.setattr(huge_pages, "MODE", tmp_path / "enabled")
    huge_pages.MODE.write_text("always [madvise] never\n")
    monkeypatch.setattr(huge_pages, "_glibc", lambda: (2, 36))
    monkeypatch.setattr(huge_pages, "check_backend", lambda: "jax")
    monkeypatch.setattr(sys, "gettrace", lambda: None)
    monkeypatch.setattr(os, "execv", lambda path, words: found.append(os.environ["GLIBC_TUNABLES"]))
    monkeypatch.setenv("GLIBC_TUNABLES", "")
    return found


def test_restarts_only_once(restarts):
    restart_with_huge_pages(["fit", "--config", "a.yaml"])
    restart_with_huge_pages(["fit", "--config", "a.yaml"])
    assert restarts == [f"{TUNABLE}=1"]


def test_other_tunables_are_kept(restarts, monkeypatch):
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.check=0")
    restart_with_huge_pages(["fit"])
    assert restarts == [f"glibc.malloc.check=0:{TUNABLE}=1"]


@pytest.mark.parametrize("words", [["predict"], ["fit", "--help"], ["fit", "--data.help"], ["fit", "--print_config"]])
def test_no_restart_for_short_commands(words, restarts):
    restart_with_huge_pages(words)
    assert restarts == []


@pytest.mark.parametrize("mode", ["[always] madvise never", "always madvise [never]", None])
def test_no_restart_where_the_kernel_decides(mode, restarts):
    huge_pages.MODE.unlink()
    if mode is not None:
        huge_pages.MODE.write_text(mode)
    restart_with_huge_pages(["fit"])
    assert restarts == []


@pytest.mark.parametrize(
    ("name", "value"), [("_glibc", lambda: (2, 34)), ("_glibc", lambda: ()), ("check_backend", lambda: "tensorflow")]
)
def test_no_restart_with_an_old_glibc_or_another_backend(name, value, restarts, monkeypatch):
    monkeypatch.setattr(huge_pages, name, value)
    restart_with_huge_pages(["fit"])
    assert restarts == []


def test_no_restart_where_the_user_forbids_it(restarts, monkeypatch):
    monkeypatch.setenv("GLIBC_TUNABLES", f"{TUNABLE}=0")
    restart_with_huge_pages(["fit"])
    assert restarts == []


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's")
def test_a_restarted_process_keeps_its_id_and_arguments(tmp_path):
    (tmp_path / "enabled").write_text("always [madvise] never")
    script = tmp_path / "script.py"
    script.write_text(
        "import os, sys, pathlib\n"
        "from kgenre.cli import huge_pages\n"
        f"huge_pages.MODE = pathlib.Path({str(tmp_path / 'enabled')!r})\n"
        "huge_pages.check_backend = lambda: 'jax'\n"
        "huge_pages._glibc = lambda: (2, 36)\n"
        "print(os.getpid(), sys.argv[1:], os.environ.get('GLIBC_TUNABLES'))\n"
        "huge_pages.restart_with_huge_pages(sys.argv[1:])\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "GLIBC_TUNABLES"}
    command = [sys.executable, str(script), "fit", "a b"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    before, after = done.stdout.splitlines()
    assert before.endswith("['fit', 'a b'] None")
    assert after == before.replace("None", f"{TUNABLE}=1")  # the same process, with the same arguments
