import os
import sys
import tempfile
import time
from pathlib import Path

import pytest

from kgenre.engines.backend import _configured_backend
from kgenre.engines.cache_folder import cache_folder, keep_most_recent, mark_used, staging_folder, write_cached


def test_cache_folder(monkeypatch, tmp_path):
    monkeypatch.delenv("KGENRE_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert str(cache_folder()) == "/x/kgenre"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "kgenre"


def test_cache_folder_of_an_unknown_user(monkeypatch):
    monkeypatch.setenv("KGENRE_CACHE", "~nobody-of-this-name/cache")
    assert cache_folder() == Path("~nobody-of-this-name/cache")


def test_process_without_a_home(monkeypatch):
    def unknown(user):
        raise KeyError(user)

    for name in ("KGENRE_CACHE", "KERAS_HOME", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pytest.importorskip("pwd"), "getpwuid", unknown)
    assert cache_folder() == Path(tempfile.gettempdir()) / ".cache" / "kgenre"
    monkeypatch.delitem(sys.modules, "keras", raising=False)  # an earlier test may have imported it
    assert _configured_backend() == "tensorflow"


pytestmark = pytest.mark.backend_free


def test_old_unfinished_folders_are_removed(tmp_path):
    old, recent, other = tmp_path / ".making-killed", tmp_path / ".making-by-another", tmp_path / "kept"
    for folder in (old, recent, other):
        folder.mkdir()
        (folder / "part").write_bytes(b"half")
    yesterday = time.time() - 25 * 3600
    for folder in (old, other):
        os.utime(folder, (yesterday, yesterday))
    with staging_folder(tmp_path) as making:
        (making / "whole").write_bytes(b"all")
        (making / "whole").replace(tmp_path / "whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".making-by-another", "kept", "whole"]


def test_failed_write_leaves_nothing(tmp_path):
    parent = tmp_path / "new" / "cache"

    def fail(file):
        file.write(b"half")
        raise ValueError("cut off")

    with pytest.raises(ValueError, match="cut off"):
        write_cached(parent / "file", fail, most=1)
    assert list(parent.iterdir()) == []


def test_most_recently_used_files_stay(tmp_path):
    for number, age in enumerate((50, 40, 30)):
        write_cached(tmp_path / str(number), lambda file: file.write(b"x"), most=9)
        os.utime(tmp_path / str(number), (time.time() - age,) * 2)
    mark_used(tmp_path / "0")
    write_cached(tmp_path / "3", lambda file: file.write(b"x"), most=3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "2", "3"]


def test_most_recently_used_folders_stay(tmp_path):
    for number in range(3):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "poster.jpg").write_bytes(b"x")
        os.utime(tmp_path / str(number), (number, number))
    mark_used(tmp_path / "0")
    (tmp_path / ".making-by-another").mkdir()
    keep_most_recent(tmp_path, most=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".making-by-another", "0", "2"]


def test_an_interrupted_removal_leaves_no_incomplete_folder(tmp_path, monkeypatch):
    def interrupt(folder):
        (folder / "first.jpg").unlink()
        raise KeyboardInterrupt

    for number in range(2):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "first.jpg").touch()
        os.utime(tmp_path / str(number), (number, number))
    monkeypatch.setattr("shutil.rmtree", interrupt)
    with pytest.raises(KeyboardInterrupt):
        keep_most_recent(tmp_path, most=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".making-0", "1"]
