import logging
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from kgenre.data import (
    FilmData,
    FilmDataError,
    PosterFile,
    examine_posters,
    make_sample_films,
    poster_decoding,
    poster_table,
    read_films,
    read_poster,
)
from kgenre.data.packed_columns import ExaminedPosters, PosterPaths
from kgenre.data.streamed_posters import StreamedPosters

pytestmark = pytest.mark.one_backend("tensorflow")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("KGENRE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return make_sample_films(tmp_path_factory.mktemp("whole") / "films", n=40)


@pytest.fixture
def folder(whole, tmp_path):
    """40 films; the poster of the second is truncated, that of the third is missing."""
    folder = shutil.copytree(whole, tmp_path / "films")
    cut = folder / "posters" / "sample00001.jpg"
    cut.write_bytes(cut.read_bytes()[:2000])
    (folder / "posters" / "sample00002.jpg").unlink()
    return folder


def made(folder, place, **options):
    table = read_films(folder)
    files = examine_posters(table.poster_paths, table.root)
    return poster_table.poster_table(table, files, (24, 16), place=place, **options)


def test_error_the_posters_do_not_fit_into_memory(folder):
    films = read_films(folder)
    files = examine_posters(films.poster_paths, films.root)
    with pytest.raises(FilmDataError, match=r"take [0-9,]+ MB, more than the free memory. Set a smaller --data.image"):
        poster_table.poster_table(
            films, files, (2_000_000, 2_000_000), place="memory"
        )  # more than any machine's address space


def film_data(folder, place, **options):
    films = FilmData(
        str(folder),
        poster_table=place,
        image_size=(24, 24),  # not the shape of posters, for which all modes would resize alike
        batch_size=8,
        max_bad_fraction=0.1,
        overviews=False,
        **options,
    )
    films.setup("fit")
    return films


def collect(source, epoch=0, start=0):
    return [{n: np.asarray(t) for n, t in batch.items()} for batch in source.epoch_batches(epoch, start)]


def test_tables_in_memory_and_on_disk_are_equal(folder, cache):
    in_memory, reasons = made(folder, "memory")
    on_disk, same_reasons = made(folder, "disk")
    assert isinstance(on_disk, np.memmap)
    np.testing.assert_array_equal(in_memory, on_disk)
    assert reasons == same_reasons
    assert reasons[1].startswith("the picture is damaged")
    assert reasons[2] == "no such file"
    assert not any(reasons[3:])
    np.testing.assert_array_equal(in_memory[5], read_poster(folder / "posters" / "sample00005.jpg", (24, 16)))


def test_the_file_is_reused_until_a_poster_or_a_setting_changes(folder, cache, monkeypatch):
    pixels, reasons = made(folder, "disk")
    first = sorted((cache / "posters").iterdir())
    assert [p.suffix for p in first] == [".json", ".npy"]
    with monkeypatch.context() as patch:
        patch.setattr(poster_table, "decode_posters", lambda *_: pytest.fail("decoded again"))
        again, same_reasons = made(folder, "disk")
        np.testing.assert_array_equal(again, pixels)
        assert same_reasons == reasons
        assert made(folder, "auto")[0].shape == pixels.shape  # uses the existing file
    (folder / "posters" / "sample00009.jpg").write_bytes((folder / "posters" / "sample00008.jpg").read_bytes())
    changed, _ = made(folder, "disk")
    assert (changed[9] == changed[8]).all()
    made(folder, "disk", resize="letterbox")
    assert len(list((cache / "posters").iterdir())) == 6
    second = set((cache / "posters").iterdir()) - {*first}
    for file in second:
        os.utime(file, (0, 0))
    made(folder, "disk")
    used = {file for file in second if file.stat().st_mtime}
    assert len(used) == 2
    monkeypatch.setattr(poster_table, "_MOST_TABLES", 2)
    made(folder, "disk", resize="crop")
    left = sorted((cache / "posters").iterdir())
    assert [p.suffix for p in left] == [".json", ".npy"] * 2
    assert used < {*left}


@pytest.mark.parametrize(
    ("name", "error", "reason"),
    [
        ("read_file", OSError(5, "Input/output error"), "Input/output error"),  # a network drive that was lost
        ("_with_turbo", MemoryError(), "not enough memory to decode the picture"),
    ],
)
def test_a_table_is_not_kept_if_posters_could_not_be_read(folder, cache, monkeypatch, caplog, name, error, reason):
    expected, expected_reasons = made(folder, "memory")
    found, data = getattr(poster_decoding, name), (folder / "posters" / "sample00009.jpg").read_bytes()

    def fail(given, *others):
        if given == data or str(given).endswith("sample00009.jpg"):
            raise error
        return found(given, *others)

    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING, "kgenre"):
        patch.setattr(poster_decoding, name, fail)
        _, reasons = made(folder, "disk")
    assert reasons[9] == reason
    assert "cannot be kept in" in caplog.text
    assert f"1 of the posters could not be read ({reason}). They are held in memory instead." in caplog.text
    pixels, reasons = made(folder, "disk")
    assert isinstance(pixels, np.memmap)
    np.testing.assert_array_equal(pixels, expected)
    assert reasons == expected_reasons


def test_free_memory_where_it_is_unknown_is_the_machines(monkeypatch):
    def read(path, encoding):
        if path.name != "meminfo":
            raise FileNotFoundError
        return "MemTotal: 1 kB\n"

    monkeypatch.setattr(Path, "read_text", read)
    assert poster_table.free_memory() > 1 << 20


@pytest.mark.parametrize("names", [("memory.max", "memory.current"), ("limit_in_bytes", "usage_in_bytes")])
def test_free_memory_is_that_of_the_container(monkeypatch, names):
    def read(path, encoding):
        values = [value for name, value in zip(names, ("5000\n", "2000\n"), strict=True) if path.name.endswith(name)]
        if not values:
            raise FileNotFoundError
        return values[0]

    monkeypatch.setattr(Path, "read_text", read)
    assert poster_table.free_memory() == 3000


def test_auto_chooses_by_free_memory_and_disk(folder, cache, monkeypatch):
    size = 40 * 24 * 16 * 3
    monkeypatch.setattr(poster_table, "free_memory", lambda: 4 * size)
    assert not isinstance(made(folder, "auto")[0], np.memmap)
    monkeypatch.setattr(poster_table, "free_memory", lambda: 4 * size - 1)
    usage = type("Usage", (), {"free": 2 * size - 1})
    monkeypatch.setattr(poster_table.shutil, "disk_usage", lambda _: usage)
    assert made(folder, "auto")[0] is None
    usage.free = 2 * size
    assert isinstance(made(folder, "auto")[0], np.memmap)


def test_auto_uses_memory_if_the_cache_cannot_be_entered(folder, tmp_path, monkeypatch):
    expected, _ = made(folder, "memory")
    monkeypatch.setenv("KGENRE_CACHE", str(tmp_path / ("long" * 100)))  # fails for every user, even for root
    pixels, _ = made(folder, "auto")
    np.testing.assert_array_equal(pixels, expected)


def test_auto_writes_large_tables_to_a_disk_with_much_space(folder, cache, monkeypatch):
    size = 40 * 24 * 16 * 3
    monkeypatch.setattr(poster_table, "_WORTH_KEEPING", size)
    usage = type("Usage", (), {"free": 20 * size - 1})
    monkeypatch.setattr(poster_table.shutil, "disk_usage", lambda _: usage)
    assert not isinstance(made(folder, "auto")[0], np.memmap)
    usage.free = 20 * size
    assert isinstance(made(folder, "auto")[0], np.memmap)


def test_a_full_disk_is_warned_about_and_memory_used(folder, caplog):
    resource = pytest.importorskip("resource", reason="no limits of a file's size on this system")
    from kgenre.data import tensorflow  # noqa: F401 - what an import writes is not cut off

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, before[1]))
    try:
        films = film_data(folder, "disk")
        batch = next(iter(films.train_dataloader()))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert batch["poster"].shape == (8, 24, 24, 3)
    assert "in memory" in films.description
    assert "cannot be kept in" in caplog.text


def test_a_full_disk_leaves_no_files(folder, cache, monkeypatch, caplog):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(poster_table, "_write", full)
    monkeypatch.setattr(poster_table, "free_memory", lambda: 0)
    with caplog.at_level(logging.WARNING, "kgenre"):
        pixels, _ = made(folder, "disk")
    assert pixels is None
    assert "No space left on device" in caplog.text
    assert "decoded again for each batch" in caplog.text
    assert not list((cache / "posters").iterdir())


@pytest.mark.parametrize("suffix", [".npy", ".json"])
@pytest.mark.parametrize("content", [b"", b"x" * 40, b"[]", "cut off", "of other films"])
def test_a_damaged_file_is_replaced(folder, cache, caplog, suffix, content):
    expected, expected_reasons = made(folder, "disk")
    expected = np.array(expected)
    damaged = next((cache / "posters").glob(f"*{suffix}"))
    whole = damaged.read_bytes()
    if content == "of other films":
        np.save(cache / "other.npy", expected[:3])
        content = (cache / "other.npy").read_bytes()
    damaged.write_bytes(whole[:-1] if content == "cut off" else content)
    with caplog.at_level(logging.WARNING, "kgenre"):
        pixels, reasons = made(folder, "disk")
    assert "cannot be kept in" not in caplog.text
    np.testing.assert_array_equal(pixels, expected)
    assert reasons == expected_reasons
    assert damaged.read_bytes() == whole


@pytest.mark.parametrize(
    ("resize", "augment"),
    [
        ("squash", False),
        ("letterbox", {"flip": 0.5, "shift": 0.2, "color": 0.3}),
        ("crop", {"crop": 0.4, "erase": 0.5}),
    ],
)
def test_batches_are_equal_for_all_kinds_of_poster_tables(folder, augment, resize):
    (folder / "posters" / "sample00001.jpg").unlink()  # streaming notices a truncated one only when decoding it
    memory, disk, stream = (
        film_data(folder, place, augment=augment, resize=resize) for place in ("memory", "disk", "stream")
    )
    assert "streamed" in stream.description
    expected, on_disk, streamed = (collect(films.train_dataloader(), epoch=2) for films in (memory, disk, stream))
    resumed = collect(stream.train_dataloader(), epoch=2, start=2)
    assert len(streamed) == len(on_disk) == len(expected) == len(memory.train_dataloader())
    for a, b in (*zip(expected * 2, on_disk + streamed, strict=True), *zip(expected[2:], resumed, strict=True)):
        assert a.keys() == b.keys()
        for name in a:
            np.testing.assert_array_equal(a[name], b[name])


@pytest.mark.parametrize("place", ["memory", "stream"])
def test_batches_do_not_move_the_training_step_to_the_cpu(folder, place):
    from tensorflow.python.eager import context

    for _ in film_data(folder, place).train_dataloader():
        assert context.context().device_name == "", "TensorFlow chooses the device"


def test_a_poster_deleted_during_training_has_no_weight(folder, caplog):
    films = film_data(folder, "stream")
    gone = films.table.ids[films.split.train[3]]
    (folder / "posters" / f"{gone}.jpg").unlink()
    with caplog.at_level(logging.WARNING, "kgenre"):
        first, second = collect(films.train_dataloader(), 0), collect(films.train_dataloader(), 1)
    assert caplog.text.count(f"The poster of film {gone} cannot be used: no such file") == 1
    for batches in (first, second):
        index, weight = (np.concatenate([b[name] for b in batches]) for name in ("index", "weight"))
        bad = {films.table.ids[i] for i in set(index.tolist()) - set(index[weight > 0].tolist())}
        assert gone in bad
        assert bad <= {gone, "sample00001"}


def test_error_too_many_posters_deleted_during_training(folder):
    films = film_data(folder, "stream")
    for path in (folder / "posters").iterdir():
        path.unlink()
    with pytest.raises(FilmDataError, match=r"posters could not be read during training: .*no such file"):
        collect(films.train_dataloader())


def test_training_continues_with_as_many_bad_posters_as_allowed():
    files, paths = ExaminedPosters([PosterFile("gone")] * 100), PosterPaths([None] * 100)
    posters = StreamedPosters([str(i) for i in range(100)], paths, files, (2, 2), max_bad_fraction=0.29)
    allowed = np.arange(29)[None]
    assert not any(weights.any() for _, weights in posters.batches(allowed, np.ones((1, 29), np.float32)))
    with pytest.raises(FilmDataError, match="30 of 100 posters could not be read"):
        list(posters.batches(allowed + 1, np.ones((1, 29), np.float32)))


@pytest.mark.parametrize("size", [(1, 1), (3, 1000), (1000, 3), (64, 64), (65, 63), (128, 128)])
@pytest.mark.parametrize("resize", ["squash", "letterbox", "crop"])
def test_posters_of_any_shape_are_resized(tmp_path, size, resize):
    from PIL import Image

    for format in ("JPEG", "PNG"):
        Image.new("RGB", size, (200, 100, 50)).save(tmp_path / "a.jpg", format)
        pixels = read_poster(tmp_path / "a.jpg", (24, 16), resize)
        coloured = np.abs(pixels.astype(int) - (200, 100, 50)).max(axis=2) < 6
        assert coloured.any()
        assert coloured.all() or (resize == "letterbox" and not pixels[~coloured].any())
