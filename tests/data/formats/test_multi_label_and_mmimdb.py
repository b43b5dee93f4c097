"""Layouts that include a folder of posters: Multi_Label_dataset, Multimodal_IMDB_dataset and MM-IMDb."""

import json

import pytest

from kgenre.data import FilmDataError, read_films

pytestmark = pytest.mark.backend_free

COLUMNS = ["Id", "Genre", "Drama", "N/A", "War"]


@pytest.fixture
def mmimdb(tmp_path):
    """Call to write films, and the split of their ids, in MM-IMDb's layout; returns the folder."""

    def write(films, **split):
        (tmp_path / "dataset").mkdir()
        for film_id, film in films.items():
            (tmp_path / "dataset" / f"{film_id}.json").write_text(film if isinstance(film, str) else json.dumps(film))
        (tmp_path / "split.json").write_text(json.dumps({"train": [], "dev": [], "test": [], **split}))
        return tmp_path

    return write


def test_multi_label(write_csv, tmp_path):
    for name in ("train.csv", "val.csv", "whole.csv"):
        write_csv(name, [COLUMNS, ["tt1", "['War']", 0, 0, 1], ["tt2", "['Drama']", 1, 0, 0]])
    (tmp_path / "Images").mkdir()
    table = read_films(tmp_path)
    assert table.source == f"the Multi_Label_dataset layout, {tmp_path / 'whole.csv'}"
    assert table.genre_names == ("Drama", "N/A", "War")
    assert table.genres.tolist() == [[0, 0, 1], [1, 0, 0]]
    assert table.overviews == ("", "")
    assert table.poster_paths[1] == tmp_path / "Images" / "tt2.jpg"


def test_multi_label_columns_with_overviews_are_the_course_layout(write_csv):
    assert (
        "coursework" in read_films(write_csv("whole2.csv", [[*COLUMNS, "Overview"], ["a", "[]", 0, 0, 0, "x"]])).source
    )


def test_mmimdb(mmimdb):
    film = {"title": "Alien", "year": 1979, "genres": ["Horror", "Sci-Fi ", ""], "plot": ["A ship.", "A long one.::me"]}
    folder = mmimdb(
        {"1": film, "2": {"genres": [], "plot outline": "A &amp; B."}, "3": film},
        train=["2", "1"],
        test=["4", "1"],
    )
    table = read_films(folder)
    assert table.source == f"the MM-IMDb layout, {folder / 'split.json'}"
    assert (table.ids, table.titles, table.years) == (("2", "1"), ("", "Alien"), (None, 1979))
    assert table.overviews == ("A & B.", "A long one.")
    assert table.genre_names == ("Horror", "Sci-Fi")
    assert table.genres.tolist() == [[0, 0], [1, 1]]
    assert table.poster_paths == (folder / "dataset" / "2.jpeg", folder / "dataset" / "1.jpeg")
    assert table.left_out == (("4", "there is no dataset/4.json"), ("1", "it is in split.json twice"))
    assert "2 train, 0 dev, 2 test" in table.notes[0]
    assert table.notes[1] == "1 overview contained HTML, which was converted to text."
    assert table.split == {"train": ["2", "1"], "validation": [], "test": []}, "no film is trained on and tested"


def test_half_a_character_in_mmimdb_is_replaced(mmimdb):
    half = "A \ud83c"  # an emoji cut in half: a lone surrogate, which UTF-8 cannot encode
    table = read_films(mmimdb({"1": {"title": half, "genres": [half], "plot": [half]}}, train=["1"]))
    assert (table.titles[0], table.genre_names, table.overviews[0]) == ("A ?", ("A ?",), "A ?")


def test_mmimdbs_files_are_read_with_progress(mmimdb, monkeypatch):
    shown = []
    monkeypatch.setattr("kgenre.data.progress_line.ProgressLine.__call__", lambda line, *state: shown.append(state))
    read_films(mmimdb({"1": {}, "2": {}}, train=["2", "1"], test=["4"]))
    assert shown == [(0, 3), (1, 3), (2, 3)]


@pytest.mark.parametrize("text", ["{", "[]", '{"genres": "War"}', '{"genres": [1]}', "9" * 5000])
def test_mmimdb_leaves_out_invalid_films(mmimdb, text):
    table = read_films(mmimdb({"1": text, "2": {"genres": ["War"]}}, train=["1", "2"]))
    assert table.ids == ("2",)
    assert "dataset/1.json" in table.left_out[0].reason


@pytest.mark.parametrize("ids", [["../1"], "1", [1], None])
def test_error_mmimdb_ids(mmimdb, ids):
    with pytest.raises(FilmDataError, match="lists of ids named train, dev, test"):
        read_films(mmimdb({"1": {"genres": []}}, train=ids))


def test_error_mmimdb_without_films_or_dataset(mmimdb, tmp_path):
    with pytest.raises(FilmDataError, match=r"has no films \(1: there is no dataset/1.json\)"):
        read_films(mmimdb({}, train=["1"]))
    (tmp_path / "dataset").rmdir()
    with pytest.raises(FilmDataError, match="has no folder named dataset"):
        read_films(tmp_path)


def test_error_the_inner_folder_of_mmimdb(mmimdb):
    folder = mmimdb({str(i): {"genres": ["War"]} for i in range(30)}, train=["1"])
    with pytest.raises(FilmDataError, match=f"Give {folder}"):
        read_films(folder / "dataset")


@pytest.mark.parametrize(("name", "films"), [("", 3417), ("train.csv", 2325), ("val.csv", 485), ("test.csv", 611)])
def test_real_multi_label(real_data, name, films):
    table = read_films(real_data / "raw_formats" / "Multi_Label_dataset" / name)
    assert "Multi_Label_dataset" in table.source
    assert (len(table), len(table.genre_names)) == (films, 25)
    assert all("the same" in reason for _, reason in table.left_out)
    assert not table.notes
    if not name:
        assert sum(path.is_file() for path in table.poster_paths) == 20


def test_real_multimodal(real_data):
    table = read_films(real_data / "raw_formats" / "Multimodal_IMDB_dataset")
    assert "coursework" in table.source
    assert (len(table), len(table.genre_names), sum(map(bool, table.overviews))) == (2500, 25, 2500)
    assert sum(path.is_file() for path in table.poster_paths) == 20


def test_real_mmimdb(real_data):
    table = read_films(real_data / "raw_formats" / "mmimdb_layout_constructed")
    assert (len(table), len(table.genre_names), sum(map(bool, table.overviews))) == (20, 15, 20)
    assert not any("::" in overview for overview in table.overviews)
    assert sum(path.is_file() for path in table.poster_paths) == 19  # one was never published
    assert None not in table.years
