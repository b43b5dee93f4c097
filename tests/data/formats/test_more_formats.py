"""Folders by genre, JSONL, Parquet, MM-IMDb's HDF5 file, and one name for each genre."""

import json
import os
import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from kgenre.data import FilmDataError, FilmTable, read_films, read_poster
from kgenre.data.genres import GENRES, SAME, common_name, with_common_names

pytestmark = pytest.mark.backend_free


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("KGENRE_CACHE", str(tmp_path / "cache"))


# --- folders by genre -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("above", [0, 1])
def test_folders_by_genre(tmp_path, above):
    root = tmp_path / "unpacked" / "by-genre"
    for genre, names in (("Horror", "ab"), ("science fiction", "bc"), ("empty", "")):
        (root / genre).mkdir(parents=True)
        for name in names:
            Image.new("RGB", (8, 12), (ord(name), 0, 0)).save(root / genre / f"{name}.jpg")
    if not above:
        (root / "by-genre.zip").touch()
    table = read_films(root.parent if above else root)
    assert (table.ids, table.genre_names) == (("a", "b", "c"), ("Horror", "Sci-Fi"))
    assert table.genres.tolist() == [[1, 0], [1, 1], [0, 1]]
    assert "in folders by genre" in table.source
    assert all(path.is_file() for path in table.poster_paths)


def test_different_pictures_of_one_name_are_noted(tmp_path):
    for genre, name, size in (("Drama", "1", 8), ("Drama", "2", 8), ("War", "1", 8), ("War", "2", 9), ("War", "3", 8)):
        (tmp_path / genre).mkdir(exist_ok=True)
        Image.new("RGB", (size, size)).save(tmp_path / genre / f"{name}.bmp")
    table = read_films(tmp_path)
    assert table.ids == ("1", "2", "3")
    [note] = table.notes
    assert note.startswith(f"1 name in several genre folders, such as {Path('Drama/2.bmp')} and {Path('War/2.bmp')}, ")
    (tmp_path / "War" / "2.bmp").unlink()
    assert read_films(tmp_path).notes == ()
    (tmp_path / "War" / "1.bmp").unlink()
    (tmp_path / "War" / "1.bmp").symlink_to("gone.bmp")
    assert "1.bmp, are of different pictures" in read_films(tmp_path).notes[0]


def test_pictures_in_formats_that_are_not_read_are_counted(tmp_path):
    for name in ("a.jpg", "b.TIFF", "c.heic", "notes.txt"):
        (tmp_path / name).touch()
    table = read_films(tmp_path)
    assert table.ids == ("a",)
    where = tmp_path / "b.TIFF"
    assert table.notes == (f"Pictures whose format is not read: 2, such as {where}: save them as JPEG or PNG.",)


@pytest.mark.parametrize("genres", [1, 2])
def test_a_second_picture_of_a_name_in_one_folder_is_left_out(tmp_path, genres):
    for genre in range(genres):
        (tmp_path / f"{genre}").mkdir()
        Image.new("RGB", (8, 8)).save(tmp_path / f"{genre}" / f"{genre}.bmp")
    Image.new("RGB", (9, 9)).save(tmp_path / "0" / "0.png")
    table = read_films(tmp_path)
    assert table.ids == ("0", "1")[:genres]
    assert table.left_out == (("0", "0.png: 0.bmp is a picture of the same name"),)


@pytest.mark.parametrize("genres", [1, 2])
def test_file_names_that_are_not_utf8_become_valid_ids(tmp_path, genres):
    for genre in range(genres):
        (tmp_path / f"{genre}").mkdir()
        for name in (b"caf\xe9", b"caf\xe8"):
            try:
                (tmp_path / f"{genre}" / f"{os.fsdecode(name)}.jpg").touch()
            except OSError:
                pytest.skip("not on this file system")
    table = read_films(tmp_path)
    assert table.ids == ("caf\\xe8", "caf\\xe9")
    assert all(path.is_file() for path in table.poster_paths)


def test_an_unreadable_folder_is_no_genre(tmp_path, monkeypatch):
    """Such as lost+found at the root of a disk."""
    for folder in ("Drama", "Horror", "lost+found"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"{folder}.jpg").touch()
    listdir = os.listdir

    def refuse(path):  # simulated: root may list every folder
        if path == tmp_path / "lost+found":
            raise PermissionError(13, "Permission denied", str(path))
        return listdir(path)

    monkeypatch.setattr(os, "listdir", refuse)

    assert read_films(tmp_path).genre_names == ("Drama", "Horror")


def test_a_folder_of_posters_alone_is_no_genre(tmp_path):
    (tmp_path / "posters").mkdir()
    Image.new("RGB", (8, 12)).save(tmp_path / "posters" / "a.jpg")
    table = read_films(tmp_path)
    assert (table.ids, table.genre_names) == (("a",), ())
    assert table.poster_paths == (tmp_path / "posters" / "a.jpg",)
    (tmp_path / "films.xlsx").touch()
    with pytest.raises(FilmDataError, match=r"no film data in a known layout.*\nSave films.xlsx"):
        read_films(tmp_path)


# --- JSONL and Parquet ----------------------------------------------------------------------------------------------

ROWS = [
    {"id": "tt1", "title": "Alien", "year": 1979, "genres": "Horror|Science Fiction", "overview": "A ship."},
    {"id": "tt2", "title": "Heat", "year": 1995, "genres": ["Crime"], "overview": "A heist."},
]


def check(table):
    assert (table.ids, table.titles, table.years) == (("tt1", "tt2"), ("Alien", "Heat"), (1979, 1995))
    assert table.overviews == ("A ship.", "A heist.")
    assert table.genre_names == ("Crime", "Horror", "Sci-Fi")
    assert table.genres.tolist() == [[0, 1, 1], [1, 0, 0]]


def test_jsonl(tmp_path):
    (tmp_path / "films.jsonl").write_text("\n\n".join(map(json.dumps, ROWS)) + "\n")
    check(read_films(tmp_path))
    check(read_films(tmp_path / "films.jsonl"))


def test_the_first_film_in_jsonl_may_lack_fields(tmp_path):
    rows = [{"title": "New", "year": 2030}, *ROWS]
    (tmp_path / "films.jsonl").write_text("\n".join(map(json.dumps, rows)))
    table = read_films(tmp_path)
    assert table.ids == ("New (2030)", "tt1", "tt2")
    assert table.genres.sum(axis=1).tolist() == [0, 2, 1]


@pytest.mark.parametrize(
    ("text", "message"), [('{"id": 1}\n{', "line 2 is not valid JSON"), ("7\n8", "lacks the columns")]
)
def test_error_jsonl(tmp_path, text, message):
    (tmp_path / "films.jsonl").write_text(text)
    with pytest.raises(FilmDataError, match=message):
        read_films(tmp_path / "films.jsonl")


def test_parquet(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    rows = [{**row, "genres": ["Horror", "Science Fiction"] if row["id"] == "tt1" else ["Crime"]} for row in ROWS]
    pyarrow.parquet = pytest.importorskip("pyarrow.parquet")
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "films.parquet")
    check(read_films(tmp_path))
    (tmp_path / "films.parquet").write_bytes((tmp_path / "films.parquet").read_bytes()[:200])
    with pytest.raises(FilmDataError, match="cannot be read as Parquet"):
        read_films(tmp_path)


# --- MM-IMDb's HDF5 file --------------------------------------------------------------------------------------------

NAMES = ["Drama", "Horror"]


def write_hdf5(folder, words=True, ids=("0000001", "0000002", "0000003")):
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (3, 1, 1, 3)) * np.ones((1, 32, 20, 1))  # red, green, blue
    means = np.array([103.939, 116.779, 123.68], np.float32)
    with h5py.File(folder / "multimodal_imdb.hdf5", "w") as file:
        genres = file.create_dataset("genres", data=np.array([[1, 0], [0, 1], [1, 1]], np.int32))
        genres.attrs["target_names"] = json.dumps(NAMES)
        file["imdb_ids"] = np.array(ids, "S7")
        file["images"] = (pictures[..., ::-1] - means).transpose(0, 3, 1, 2).astype(np.int32)
        sequences = file.create_dataset("sequences", (3,), dtype=h5py.special_dtype(vlen=np.dtype("int32")))
        for i, text in enumerate(([1, 2], [2], [1, 1, 2])):
            sequences[i] = np.array(text, np.int32)
        kind = [("split", "S5"), ("source", "S8"), ("start", "i8"), ("stop", "i8")]
        rows = [
            (part, source, i, i + 1)
            for i, part in enumerate(("train", "dev", "test"))
            for source in ("genres", "images")
        ]
        file.attrs["split"] = np.array(rows, kind)
    if words:
        np.save(folder / "metadata.npy", {"ix_to_word": {0: "_UNK_", 1: "old", 2: "ship"}, "lookup": np.zeros(2)})
    return pictures.astype(int)


def test_mmimdb_hdf5(tmp_path):
    pictures = write_hdf5(tmp_path)
    table = read_films(tmp_path)
    assert table.ids == ("0000001", "0000002", "0000003")
    assert table.overviews == ("old ship", "ship", "old old ship")
    assert table.genre_names == tuple(NAMES)
    assert table.genres.tolist() == [[1, 0], [0, 1], [1, 1]]
    assert table.split == {"train": ["0000001"], "validation": ["0000002"], "test": ["0000003"]}
    for path, picture in zip(table.poster_paths, pictures, strict=True):
        assert np.abs(read_poster(path, (32, 20)) - picture).max() <= 1  # the file has truncated integers


def test_mmimdb_hdf5_is_unpacked_once_with_progress(tmp_path, monkeypatch):
    """26,000 posters take more than a minute."""
    write_hdf5(tmp_path)
    shown = []
    monkeypatch.setattr("kgenre.data.progress_line.ProgressLine.__call__", lambda line, *state: shown.append(state))
    read_films(tmp_path)
    read_films(tmp_path)
    assert shown == [(0, 3), (1, 3), (2, 3)]


def test_mmimdb_hdf5_replaced_by_a_file_of_the_same_size_and_time(tmp_path):
    write_hdf5(tmp_path)
    file = tmp_path / "multimodal_imdb.hdf5"
    before, first = file.stat(), read_films(tmp_path)
    with h5py.File(file, "a") as opened:
        opened["images"][...] = opened["images"][...][::-1]
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    again = read_films(tmp_path)
    for old, new in zip(first.poster_paths, reversed(again.poster_paths), strict=True):
        assert (read_poster(old) == read_poster(new)).all()


def test_mmimdb_hdf5_without_words_and_split(tmp_path):
    write_hdf5(tmp_path, words=False)
    with h5py.File(tmp_path / "multimodal_imdb.hdf5", "a") as file:
        del file.attrs["split"]
    table = read_films(tmp_path / "multimodal_imdb.hdf5")
    assert (set(table.overviews), table.split) == ({""}, None)
    assert "no metadata.npy" in table.notes[0]


class Evil:
    def __reduce__(self):
        return print, ("owned",)


def test_a_pickle_cannot_execute_code(tmp_path, capsys):
    write_hdf5(tmp_path, words=False)
    array = np.empty((), object)
    array[()] = Evil()
    np.save(tmp_path / "metadata.npy", array, allow_pickle=True)
    assert b"print" in pickle.dumps(Evil())
    with pytest.raises(FilmDataError, match=r"^\S*metadata\.npy is not .*metadata\.npy \(it contains builtins\.print"):
        read_films(tmp_path)
    assert "owned" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "break_it", [lambda p: p.write_bytes(p.read_bytes()[:900]), lambda p: p.write_bytes(b"x" * 999)]
)
def test_error_hdf5(tmp_path, break_it):
    write_hdf5(tmp_path)
    break_it(tmp_path / "multimodal_imdb.hdf5")
    with pytest.raises(FilmDataError, match="hdf5"):
        read_films(tmp_path / "multimodal_imdb.hdf5")


@pytest.mark.parametrize("name", ["images", "sequences"])
def test_error_hdf5_arrays_of_different_lengths(tmp_path, name):
    write_hdf5(tmp_path)
    with h5py.File(tmp_path / "multimodal_imdb.hdf5", "a") as file:
        del file[name]
        file[name] = np.zeros((2, 3, 32, 20), np.int32)
    with pytest.raises(FilmDataError, match=rf"is not multimodal_imdb\.hdf5 .*lengths of its arrays: .*'{name}': 2"):
        read_films(tmp_path)


def test_error_hdf5_posters_cannot_be_unpacked(tmp_path, monkeypatch):
    write_hdf5(tmp_path)
    monkeypatch.setenv("KGENRE_CACHE", str(tmp_path / "multimodal_imdb.hdf5" / "below a file"))
    with pytest.raises(FilmDataError, match=r"^Posters cannot be unpacked to .*Set KGENRE_CACHE"):
        read_films(tmp_path)


@pytest.mark.parametrize(
    ("first", "message"), [("../evil", "letters and digits"), ("0000002", "2 different ids and 2 names for genres")]
)
def test_error_hdf5_id_that_is_a_path_or_occurs_twice(tmp_path, first, message):
    write_hdf5(tmp_path, ids=(first, "0000002", "0000003"))
    with pytest.raises(FilmDataError, match=message):
        read_films(tmp_path)


# --- names ----------------------------------------------------------------------------------------------------------


def test_every_genre_has_one_name():
    assert {common_name(name) for name in GENRES} == set(GENRES)
    assert set(SAME.values()) <= set(GENRES)
    assert [common_name(name) for name in ("Science Fiction", "sci-fi", "SCI FI", "Foreign", "dramedy")] == [
        "Sci-Fi", "Sci-Fi", "Sci-Fi", "Foreign", "dramedy",
    ]  # fmt: skip


def test_columns_of_one_genre_are_merged_with_a_note():
    table = FilmTable(
        ids=("a", "b", "c"), titles=("",) * 3, years=(None,) * 3, overviews=("",) * 3, poster_paths=(None,) * 3,
        genres=np.array([[1, 0, 1], [0, 1, 0], [0, 0, 1]], np.uint8), genre_names=("Science Fiction", "SF", "War"),
    )  # fmt: skip
    joined = with_common_names(table)
    assert joined.genre_names == ("Sci-Fi", "War")
    assert joined.genres.tolist() == [[1, 1], [1, 0], [0, 1]]
    assert joined.notes == ("Genres under one name: Science Fiction = Sci-Fi, SF = Sci-Fi.",)


@pytest.mark.parametrize(
    ("rare", "usual"),
    [("Noir Western", "noir western"), ("Come\u0301die", "Com\u00e9die")],
    ids=["capitals", "accents"],
)
def test_genres_that_differ_in_capitals_or_encoding_are_the_usual_one(rare, usual):
    table = FilmTable(
        ids=("a", "b", "c"), titles=("",) * 3, years=(None,) * 3, overviews=("",) * 3, poster_paths=(None,) * 3,
        genres=np.array([[1, 0, 0], [0, 1, 1], [0, 1, 0]], np.uint8), genre_names=(rare, usual, "x"),
    )  # fmt: skip
    joined = with_common_names(table)
    assert joined.genre_names == (usual, "x")
    assert joined.genres.tolist() == [[1, 0], [1, 1], [1, 0]]
    assert joined.notes == (), "nothing that a reader would not expect"
