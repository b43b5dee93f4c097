import hashlib
import os
import shutil
import sqlite3
import tracemalloc
from contextlib import closing
from pathlib import Path

import pytest
from PIL import Image

from kgenre.data import examine_posters, poster_examination, poster_files
from kgenre.data.known_posters import KnownPosters

pytestmark = pytest.mark.backend_free


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("KGENRE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "films").mkdir()
    for i in range(5):
        Image.new("RGB", (30 + i, 45), (i, 0, 0)).save(tmp_path / "films" / f"{i}.jpg")
    return tmp_path / "films"


def test_header_and_hash(folder):
    (folder / "same.jpg").write_bytes((folder / "0.jpg").read_bytes())
    Image.new("CMYK", (20, 30)).save(folder / "cmyk.jpg")
    Image.new("RGB", (21, 31)).save(folder / "png.jpg", "PNG")
    (folder / "damaged.jpg").write_bytes(b"\xff\xd8\x00\xc0" + b"\x01" * 20)
    names = ("0", "same", "cmyk", "png", "damaged")
    first, same, cmyk, png, damaged = examine_posters([folder / f"{name}.jpg" for name in names])
    assert (first.height, first.width, first.plain, first.reason) == (45, 30, True, "")
    assert same == first
    assert not cmyk.plain
    assert (cmyk.height, cmyk.width) == (30, 20)
    assert (png.height, png.width, png.plain) == (31, 21, False)
    assert (damaged.height, damaged.reason) == (0, "not a picture in a supported format")


def test_a_file_is_opened_once_until_it_changes(folder, monkeypatch):
    paths = sorted(folder.iterdir())
    before = examine_posters(paths)
    with monkeypatch.context() as patch:
        patch.setattr(poster_files, "read_file", lambda path: pytest.fail(f"{path} opened again"))
        assert examine_posters(paths) == before

    opened = []
    monkeypatch.setattr(poster_files, "read_file", lambda path: opened.append(path) or Path(path).read_bytes())
    Image.new("RGB", (64, 32)).save(paths[2])
    os.utime(paths[3], ns=(1, 1))  # touched, not changed
    after = examine_posters(paths)
    assert sorted(opened) == [str(paths[2]), str(paths[3])]
    assert after[2].sha256 != before[2].sha256
    assert [after[i] for i in (0, 1, 3, 4)] == [before[i] for i in (0, 1, 3, 4)]


@pytest.mark.parametrize("time", [10**18, 4 * 10**18, 12 * 10**18])  # in ns: 2001, 2096, 2350
def test_a_replaced_file_of_the_same_size_and_time_is_opened(folder, time):
    path = folder / "0.bmp"
    for colour in ("red", "blue"):
        Image.new("RGB", (8, 8), colour).save(path)
        os.utime(path, ns=(time, time))
        [found] = examine_posters([path])
        assert found.sha256 == hashlib.sha256(path.read_bytes()).digest()


@pytest.mark.parametrize("damage", ["garbage", "below a file", "a file"])
def test_works_without_a_usable_cache(folder, cache, monkeypatch, damage):
    paths = sorted(folder.iterdir())
    expected = examine_posters(paths)
    file = next(cache.iterdir())
    if damage == "garbage":
        file.write_bytes(b"x" * 5000)
    else:
        cache = folder / "0.jpg"  # no folder can be created there
        monkeypatch.setenv("KGENRE_CACHE", str(cache if damage == "a file" else cache / "sub"))
    assert examine_posters(paths) == expected
    assert examine_posters(paths) == expected


def test_a_read_only_cache_is_used(folder, monkeypatch):
    paths = sorted(folder.iterdir())
    examine_posters(paths)
    Image.new("RGB", (64, 32)).save(paths[2])
    connect, opened = sqlite3.connect, []
    monkeypatch.setattr(sqlite3, "connect", lambda path, timeout: connect(f"{path.as_uri()}?mode=ro", uri=True))
    monkeypatch.setattr(poster_files, "read_file", lambda path: opened.append(path) or Path(path).read_bytes())
    for _ in range(2):
        assert examine_posters(paths)[2].width == 64
    assert opened == [str(paths[2])] * 2, "known are the others, and nothing is stored"


@pytest.mark.parametrize(
    ("begins", "whole"), [(b"x", 4000), (b"SQLite format 3\0", 4000), (b"SQLite format 3\0", 4096)]
)
def test_a_damaged_cache_is_replaced(folder, cache, monkeypatch, begins, whole):
    paths = sorted(folder.iterdir())
    expected = examine_posters(paths)
    file = next(cache.iterdir())
    file.write_bytes(begins + file.read_bytes()[len(begins) : whole] + b"x" * 5000)

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refuse)
        assert examine_posters(paths) == expected
    assert examine_posters(paths) == expected
    monkeypatch.setattr(poster_files, "read_file", lambda path: pytest.fail(f"{path} opened again"))
    assert examine_posters(paths) == expected


def test_a_lock_that_another_process_keeps_is_waited_for_once(folder, cache, monkeypatch):
    examine_posters(sorted(folder.iterdir()))
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda path, timeout: connect(path, timeout=0))
    with closing(connect(next(cache.iterdir()))) as other, closing(KnownPosters()) as known:
        other.execute("BEGIN IMMEDIATE")  # by a process that is suspended: others may read, but not write
        assert known.read(str(folder), ["0.jpg"])
        known.write([(str(folder), "new.jpg", 1, 1, poster_files.PosterFile("x"))])
        assert not known.read(str(folder), ["0.jpg"]), "not in use any more"


@pytest.mark.parametrize("is_open", [True, False])
def test_a_cache_locked_by_another_process_is_left_alone(folder, cache, monkeypatch, is_open):
    paths = sorted(folder.iterdir())
    expected = examine_posters(paths)
    file = next(cache.iterdir())
    before, other = file.stat().st_ino, sqlite3.connect(file)
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda path, timeout: connect(path, timeout=0))
    known = KnownPosters()
    other.execute("BEGIN EXCLUSIVE")
    if is_open:
        assert known.read(str(folder), ["0.jpg"]) == {}
        assert known.read(str(folder), ["0.jpg"]) == {}
    else:
        assert examine_posters(paths) == expected
    other.rollback()
    other.close()
    assert file.stat().st_ino == before
    assert len(KnownPosters().read(str(folder), ["0.jpg"])) == 1


def test_posters_of_deleted_folders_are_forgotten(tmp_path, monkeypatch):
    monkeypatch.setenv("KGENRE_CACHE", str(tmp_path / "cache"))
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (8, 8)).save(tmp_path / name / "0.jpg")
        examine_posters([tmp_path / name / "0.jpg"])
        if name == "old":
            shutil.rmtree(tmp_path / name)
    with closing(KnownPosters()) as known:
        assert [len(known.read(str(tmp_path / name), ["0.jpg"])) for name in ("old", "new")] == [0, 1]


def test_error_files_outside_the_root(folder, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    Image.new("RGB", (9, 9)).save(outside / "x.jpg")
    (folder / "link.jpg").symlink_to(outside / "x.jpg")
    (folder / "inside.jpg").symlink_to(folder / "0.jpg")
    (folder / "loop.jpg").symlink_to(folder / "loop.jpg")
    (folder / "sub").symlink_to(outside)
    (tmp_path / "films2").mkdir()
    Image.new("RGB", (9, 9)).save(tmp_path / "films2" / "x.jpg")
    names = ["0.jpg", "inside.jpg", "link.jpg", "sub/x.jpg", "../outside/x.jpg", "../films2/x.jpg", "loop.jpg"]
    found = examine_posters([folder / name for name in names], root=folder)
    assert [bool(file.reason) for file in found] == [False, False, True, True, True, True, True]
    assert found[2].reason == found[3].reason == f"the file is outside {folder}: copy it there"
    assert not any(file.reason for file in examine_posters([folder / name for name in names[:6]]))


def test_the_data_folder_may_be_a_link(folder, tmp_path):
    (tmp_path / "alias").symlink_to(folder)
    [found] = examine_posters([tmp_path / "alias" / "0.jpg"], root=tmp_path / "alias")
    assert not found.reason


def test_a_name_with_a_zero_byte_is_no_file(folder):
    found = examine_posters([folder / "0.jpg", folder / "a\0.jpg", folder / "a\0b" / "0.jpg"], root=folder)
    assert [file.reason for file in found] == ["", "no such file", "no such file"]


def test_a_file_that_comes_in_pieces_is_read_to_its_end(folder, monkeypatch):
    read = os.read
    monkeypatch.setattr(os, "read", lambda descriptor, size: read(descriptor, min(size, 100)))
    assert poster_files.read_file(folder / "0.jpg") == (folder / "0.jpg").read_bytes()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes on this system")
def test_error_a_pipe_is_not_waited_for(folder):
    os.mkfifo(folder / "pipe.jpg")
    [found] = examine_posters([folder / "pipe.jpg"])
    assert found.reason == "not a regular file"
    with pytest.raises(OSError, match="not a regular file"):
        poster_files.read_file(folder / "pipe.jpg")


def test_error_a_file_that_is_too_large_is_not_read(folder):
    with (folder / "huge.jpg").open("wb") as file:
        file.truncate(poster_files.MAX_BYTES + 1)
    [found] = examine_posters([folder / "huge.jpg"])
    assert found.reason == "too large (64 MB, at most 64 are allowed)"
    assert not found.sha256


def test_error_no_permission_to_read(folder, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(poster_files.os, "open", refuse)  # simulated: root may read everything
    [found] = examine_posters([folder / "0.jpg"])
    assert found.reason == "no permission to read the file"


def test_many_files_are_examined_in_several_pieces(folder, monkeypatch):
    monkeypatch.setattr(poster_examination, "MAX_NAMES", 3)
    monkeypatch.setattr(poster_examination, "_FILES_PER_TASK", 1)
    (folder / "sub").mkdir()
    for i in range(3):
        Image.new("RGB", (50 + i, 60)).save(folder / "sub" / f"{i}.jpg")
    paths = [folder / "0.jpg", folder / "sub" / "0.jpg", None, folder / "1.jpg", folder / "gone.jpg", folder / "2.jpg"]
    paths += [folder / "0.jpg", folder / "sub" / "2.jpg", folder / "3.jpg", folder / "sub" / "1.jpg"]
    wanted = [path and poster_files.examine_file(path) for path in paths]
    wanted[2] = poster_files.PosterFile("no poster found")
    calls = []
    assert examine_posters(paths, folder, lambda *call: calls.append(call)) == wanted
    assert calls == [(done, 10) for done in (2, 3, 5, 6, 8, 9, 10)]  # in each piece, known files are counted first
    assert examine_posters(paths[::-1], folder) == wanted[::-1]


def test_examining_a_file_takes_little_memory(folder, monkeypatch):
    (folder / "many").mkdir()
    paths = [str(folder / "many" / f"{i}.jpg") for i in range(1152)]
    for path in paths:
        os.link(folder / "0.jpg", path)

    def peak(count):
        tracemalloc.start()
        examine_posters(paths[:count])
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used

    monkeypatch.setattr(poster_examination, "MAX_NAMES", 192)
    few, many = peak(384), peak(1152)
    assert many - few < 768 * 120  # bytes a file
    assert peak(1152) - peak(384) < 768 * 120  # known from the cache


@pytest.mark.skipif(os.name == "nt", reason="names are Unicode there")
def test_file_names_that_are_not_utf8(folder, monkeypatch):
    name = os.fsdecode(b"caf\xe9")
    try:
        (folder / name).mkdir()
    except OSError:
        pytest.skip("not on this file system")
    paths = [folder / f"{name}.jpg", folder / name / "0.jpg"]
    for path in paths:
        os.link(folder / "0.jpg", path)
    before = examine_posters(paths)
    assert before[0] == before[1] == examine_posters([folder / "0.jpg"])[0]
    monkeypatch.setattr(poster_files, "read_file", lambda path: pytest.fail(f"{path} opened again"))
    assert examine_posters(paths) == before
